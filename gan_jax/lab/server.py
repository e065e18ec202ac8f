"""Web server of the lab: static files, and a session for each open tab.

The event loop only passes messages; training runs in worker threads. README.md
in this folder lists the messages and the limits.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
from importlib import resources
import json
import logging
import threading
import time
import traceback
from typing import NamedTuple

from websockets.asyncio import server as sockets
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from gan_jax.core import errors
from gan_jax.lab import addresses
from gan_jax.lab import compiled_steps
from gan_jax.lab import session as session_lib
from gan_jax.lab import settings as settings_lib

FILES = {
    '/': ('page.html', 'text/html; charset=utf-8'),
    '/page.css': ('page.css', 'text/css; charset=utf-8'),
    '/pictures.js': ('pictures.js', 'text/javascript; charset=utf-8'),
    '/page.js': ('page.js', 'text/javascript; charset=utf-8'),
}
SOCKET = '/socket'
HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
MOST_BYTES = 64 * 2**10  # of a message from a page
MOST_PENDING = 100  # single steps requested and not yet run
MOST_UNSEEN = 2  # pictures sent and not yet acknowledged
MIN_INTERVAL = 1 / 40  # seconds between pictures
CLOSE_SECONDS = 2.0  # that connections have to close when the server stops
STEP_SECONDS = 0.04  # target for the training steps of one picture


class Limits(NamedTuple):
    """Limits of the server.

    Attributes:
        tabs: largest number of open tabs.
        idle: seconds without a message after which a tab's session ends.
    """

    tabs: int = 8
    idle: float = 1800.0


class Workers:
    """Worker threads: two for training, and one for each compiling tab.

    Training never waits for a compilation, and no compilation waits for that of
    another tab.
    """

    def __init__(self, tabs):
        """Create the pools; threads start when they are needed."""
        pool = concurrent.futures.ThreadPoolExecutor
        self._training, self._compiling = pool(2), pool(tabs)
        self._calls = set()

    async def train(self, function, *args):
        """Call a short function in a training thread."""
        return await self._call(self._training, function, *args)

    async def compile(self, function, *args):
        """Call a function that may compile in a compiling thread."""
        return await self._call(self._compiling, function, *args)

    async def _call(self, pool, function, *args):
        call = pool.submit(function, *args)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.wrap_future(call)

    def close(self):
        """Stop waiting calls; running ones finish."""
        for pool in (self._training, self._compiling):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self):
        """Return whether a call is still running."""
        return bool(self._calls)


class Tab:
    """One open page: its requests and its session."""

    def __init__(self, socket, workers):
        """Initialize a tab without a session."""
        self._socket, self._workers = socket, workers
        self._session, self._closed = None, threading.Event()
        self._settings = None  # requested, not yet applied
        self._reset, self._redraw = False, False
        self._playing, self._steps = False, 0
        self._sent, self._seen = 0, 0
        self._seconds = 0.0  # per step, lately
        self._wake = asyncio.Event()
        self.last_message = time.monotonic()

    async def receive(self, message):
        """Apply a message of the page, or reply with the reason why not.

        Args:
            message: str or bytes, anything.
        """
        try:
            content = _parse(message)
            kind = content.pop('type', None)
            if type(kind) is not str or kind not in MESSAGES:
                raise errors.ConfigError(
                    f'type of a message must be one of {sorted(MESSAGES)}'
                )
            names, handler = MESSAGES[kind]
            if set(content) != set(names):
                raise errors.ConfigError(
                    f'{kind} takes {sorted(names) or "nothing"}'
                )
            handler(self, *(content[name] for name in names))
        except errors.UserError as error:
            await self.send('refused', reason=str(error)[:500])
            return
        if kind != 'seen':
            self.last_message = time.monotonic()
        self._wake.set()

    def _open(self, link):
        self._settings = settings_lib.from_link(link)

    def _set(self, settings):
        self._settings = settings_lib.from_json(settings)

    def _play(self):
        self._playing = True

    def _pause(self):
        self._playing, self._steps = False, 0

    def _step(self):
        self._playing = False
        self._steps = min(self._steps + 1, MOST_PENDING)

    def _request_reset(self):
        self._reset, self._steps = True, 0

    def _acknowledge(self, number):
        if type(number) is not int or not 0 <= number <= self._sent:
            raise errors.ConfigError('no picture of this number was sent')
        self._seen = max(self._seen, number)

    def close(self):
        """Stop the work of its threads as soon as possible."""
        self._closed.set()

    async def run(self):
        """Run all requests, until the task is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._run_next():
                pass

    async def _run_next(self):
        """Run the next request; return whether there was one."""
        if self._settings is not None:
            settings, self._settings = self._settings, None
            await self._change(settings)
        elif self._session is None or self._sent - self._seen >= MOST_UNSEEN:
            return False
        elif self._reset:
            self._reset = False
            await self._workers.train(self._session.reset)
            await self._send_picture(0)
        elif self._steps or self._playing:
            await self._train()
        elif self._redraw:
            await self._send_picture(0)
        else:
            return False
        return True

    async def _change(self, settings):
        """Apply settings, and notify the page if that compiles."""
        slow = self._session is None or (
            self._session.needs_compiling(settings)
        )
        if slow:
            await self.send('compiling')
            call = self._workers.compile
        else:
            call = self._workers.train
        if self._session is None:
            self._session = await call(
                session_lib.Session, settings, self._closed.is_set
            )
        else:
            await call(self._session.change, settings)
        real = await call(self._session.real)
        self._seconds, self._redraw = 0.0, True
        await self.send(
            'settings', settings=settings_lib.to_json(settings),
            link=settings_lib.to_link(settings), real=real,
            compiled=compiled_steps.compiled_count(),
        )

    async def _train(self):
        """Run the steps of one picture, and send it."""
        start = time.monotonic()
        count = 1
        if self._steps:
            self._steps -= 1
        else:
            count = self._session.settings.speed
            # The first picture takes one step, to measure its time.
            most = int(STEP_SECONDS / self._seconds) if self._seconds else 1
            count = max(1, min(count, most))
        await self._send_picture(count)
        seconds = time.monotonic() - start
        self._seconds = seconds / count
        if not self._session.alive:
            self._playing, self._steps = False, 0
            await self._send_picture(0)
        if seconds < MIN_INTERVAL and self._playing:
            await asyncio.sleep(MIN_INTERVAL - seconds)

    async def _send_picture(self, count):
        self._redraw = False
        self._sent += 1
        head = {
            'type': 'picture', 'number': self._sent, 'playing': self._playing,
            'compiled': compiled_steps.compiled_count(),
        }
        picture = await self._workers.train(
            _picture, self._session, count, head
        )
        await self._socket.send(picture)

    async def send(self, kind, **content):
        """Send a text message to the page."""
        await self._socket.send(
            session_lib.to_text({'type': kind, **content})
        )


MESSAGES = {  # type: (names of its contents, handler)
    'open': (('link',), Tab._open),
    'set': (('settings',), Tab._set),
    'play': ((), Tab._play),
    'pause': ((), Tab._pause),
    'step': ((), Tab._step),
    'reset': ((), Tab._request_reset),
    'seen': (('number',), Tab._acknowledge),
}


def _picture(session, count, head):
    """Run steps, and pack a picture of the result."""
    if count:
        session.advance(count)
    return session_lib.pack(head, session.views())


def _parse(message):
    """Parse a message as a JSON object.

    Raises:
        errors.ConfigError: for anything else.
    """
    def refuse(constant):
        raise ValueError(f'{constant} is not a number')

    if type(message) is not str:
        raise errors.ConfigError('a message must be text, not bytes')
    try:
        content = json.loads(message, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise errors.ConfigError('a message must be JSON') from error
    if type(content) is not dict:
        raise errors.ConfigError('a message must be a JSON object')
    return content


class Lab:
    """Server of the lab: access control, and the open tabs."""

    def __init__(self, host='127.0.0.1', limits=Limits()):
        """Initialize; it does not listen yet.

        Args:
            host: name or address to listen on.
            limits: `Limits`.
        """
        self._host, self._limits = host, limits
        self._hosts, self.local = frozenset(), True
        self.tabs = set()

    @contextlib.asynccontextmanager
    async def serving(self, port=0):
        """Serve the page within a `with` block; yield its address.

        `local` is then whether only this machine can reach it.

        Args:
            port: 0 chooses a free one.

        Raises:
            errors.ConfigError: if the address or port cannot be used.
        """
        listening = addresses.resolve(self._host)
        self.local = listening.local
        quiet = logging.Logger('gan_jax.lab', logging.CRITICAL + 1)
        quiet.addHandler(logging.NullHandler())
        self._workers = Workers(self._limits.tabs)
        try:
            server = await sockets.serve(
                self._handle, listening.addresses, port, compression=None,
                process_request=self._respond, server_header=None,
                max_size=MOST_BYTES, max_queue=16, logger=quiet,
            )
        except OSError as error:
            raise errors.ConfigError(
                f'cannot listen on --host={self._host} --port={port}: '
                f'{error.strerror or error}'
            ) from error
        port = server.sockets[0].getsockname()[1]
        first, *others = hosts(listening.name, port)
        self._hosts = frozenset((first, *others))
        try:
            yield f'http://{first}/'
        finally:
            server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), CLOSE_SECONDS)
            self._workers.close()

    @property
    def busy(self):
        """Return whether threads still work for closed tabs."""
        return self._workers.busy

    def _respond(self, connection, request):
        """Serve a file, or accept a socket of the lab's own page.

        A page of another site whose name resolves to this machine (DNS
        rebinding) sends another Host, and its scripts another Origin.
        """
        if (self._header(request, 'Host') or '').lower() not in self._hosts:
            return _response(403, 'The lab answers only at its own address.')
        path = request.path.partition('?')[0]
        if path == SOCKET:
            origin = (self._header(request, 'Origin') or '').lower()
            ours = origin.removeprefix('http://') in self._hosts
            return None if ours and origin.startswith('http://') else (
                _response(403, 'The lab accepts only its own page.')
            )
        if path not in FILES:
            return _response(404, 'Not found.')
        name, kind = FILES[path]
        return _response(200, read(name), kind)

    def _header(self, request, name):
        """Return the value of a header that occurs once, else None."""
        values = request.headers.get_all(name)
        return values[0] if len(values) == 1 else None

    async def _handle(self, socket):
        """Serve one tab until it closes."""
        if len(self.tabs) >= self._limits.tabs:
            await _end(socket, (
                f'{self._limits.tabs} tabs of the lab are open, which is the '
                'limit. Close one, then reload this page.'
            ), 1013)
            return
        tab = Tab(socket, self._workers)
        self.tabs.add(tab)
        tasks = [
            asyncio.create_task(task) for task in (
                self._listen(socket, tab), tab.run(), self._watch(tab)
            )
        ]
        try:
            await tab.send('hello', schema=settings_lib.schema())
            done, _ = await asyncio.wait(
                tasks, return_when=asyncio.FIRST_COMPLETED
            )
            await self._end_tab(socket, done)
        except ConnectionClosed:
            pass
        finally:
            tab.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.tabs.discard(tab)

    async def _listen(self, socket, tab):
        """Wait for messages of a page and apply them, until it closes."""
        async for message in socket:
            await tab.receive(message)

    async def _watch(self, tab):
        """Wait until a tab is idle for too long; return the reason to end."""
        while True:
            rest = tab.last_message + self._limits.idle - time.monotonic()
            if rest <= 0:
                return (
                    'This tab was idle for '
                    f'{self._limits.idle / 60:.0f} minutes, so its session '
                    'ended. Reload the page to start again with the same '
                    'settings.'
                )
            await asyncio.sleep(rest)

    async def _end_tab(self, socket, done):
        """Send the reason why a session ended, if the tab is still open."""
        for task in done:
            error = task.exception()
            if error is None and task.result():
                await _end(socket, task.result(), 1000)
            elif error and not isinstance(error, ConnectionClosed):
                traceback.print_exception(error)
                await _end(socket, (
                    'The session ended by an error of the program: '
                    f'{" ".join(str(error).split())[:300]}'
                ), 1011)


def hosts(name, port):
    """Return the values of Host that a browser may send to this server.

    Args:
        name: `name` of `addresses.Listening`.
        port: int.

    Returns:
        List in lower case; the first is used in the page's address.
    """
    names = [name, 'localhost'] if name == '127.0.0.1' else [name]
    # Browsers omit the default port of http.
    return [f'{name}:{port}' for name in names] + names * (port == 80)


async def _end(socket, reason, code):
    await socket.send(session_lib.to_text({'type': 'ended', 'reason': reason}))
    await socket.close(code)


@functools.cache
def read(name):
    """Read one of the page's files as bytes."""
    return resources.files('gan_jax.lab').joinpath(name).read_bytes()


def _response(status, body, kind='text/plain; charset=utf-8'):
    body = body if isinstance(body, bytes) else body.encode()
    headers = Headers({
        **HEADERS, 'Content-Type': kind, 'Content-Length': str(len(body)),
        'Connection': 'close',
    })
    reasons = {200: 'OK', 403: 'Forbidden', 404: 'Not Found'}
    return Response(status, reasons[status], headers, body)
