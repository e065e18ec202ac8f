"""The lab's server: one page, and a game for each tab that is open.

The event loop only passes messages; games move in worker threads. README.md
beside this file tells the messages and the limits.
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
MOST_WAITING = 100  # single steps that were asked for and not made
UNSEEN = 2  # pictures that a page may be behind
FASTEST = 1 / 40  # seconds between pictures
PARTING = 2.0  # seconds that pages have to part when the lab ends
LONGEST = 0.04  # seconds that a picture's steps should take


class Limits(NamedTuple):
    """How much the server takes on.

    Attributes:
        tabs: open at once.
        idle: seconds without a touch after which a tab's games end.
    """

    tabs: int = 8
    idle: float = 1800.0


class Workers:
    """Threads: two that move games, and one for each tab that compiles.

    So neither a move nor a picture waits for a compilation, and no
    compilation for another tab's.
    """

    def __init__(self, tabs):
        """Start none yet; they start when they are needed."""
        make = concurrent.futures.ThreadPoolExecutor
        self._moving, self._compiling = make(2), make(tabs)
        self._calls = set()

    async def move(self, function, *args):
        """Call a function in a thread for what is short."""
        return await self._call(self._moving, function, *args)

    async def compile(self, function, *args):
        """Call a function in a thread for what may compile."""
        return await self._call(self._compiling, function, *args)

    async def _call(self, pool, function, *args):
        call = pool.submit(function, *args)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.wrap_future(call)

    def close(self):
        """Drop what waits; what runs comes to its end."""
        for pool in (self._moving, self._compiling):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self):
        """Return whether a call still runs."""
        return bool(self._calls)


class Tab:
    """One open page: what it asked for, and its games."""

    def __init__(self, socket, workers):
        """Begin with nothing asked."""
        self._socket, self._workers = socket, workers
        self._session, self._left = None, threading.Event()
        self._wanted, self._reset, self._look = None, False, False
        self._playing, self._steps = False, 0
        self._sent, self._seen = 0, 0
        self._seconds = 0.0  # of a step, lately
        self._wake = asyncio.Event()
        self.touched = time.monotonic()

    async def hear(self, message):
        """Take one message; refuse in words what is none.

        Args:
            message: str or bytes, anything.
        """
        try:
            said = _parse(message)
            kind = said.pop('type', None)
            if type(kind) is not str or kind not in HEARD:
                raise errors.ConfigError(
                    f'a message is of type {sorted(HEARD)}'
                )
            takes, act = HEARD[kind]
            if set(said) != set(takes):
                raise errors.ConfigError(
                    f'{kind} takes {sorted(takes) or "nothing"}'
                )
            act(self, *(said[name] for name in takes))
        except errors.UserError as error:
            await self.tell('refused', reason=str(error)[:500])
            return
        if kind != 'seen':
            self.touched = time.monotonic()
        self._wake.set()

    def _open(self, link):
        self._wanted = settings_lib.from_link(link)

    def _set(self, settings):
        self._wanted = settings_lib.from_json(settings)

    def _play(self):
        self._playing = True

    def _pause(self):
        self._playing, self._steps = False, 0

    def _step(self):
        self._playing = False
        self._steps = min(self._steps + 1, MOST_WAITING)

    def _begin_anew(self):
        self._reset, self._steps = True, 0

    def _see(self, number):
        if type(number) is not int or not 0 <= number <= self._sent:
            raise errors.ConfigError('no such picture was sent')
        self._seen = max(self._seen, number)

    def leave(self):
        """Let what its threads do end where it can."""
        self._left.set()

    async def run(self):
        """Do what is asked, until the task is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._do_next():
                pass

    async def _do_next(self):
        """Do one thing that is asked; returns whether there was one."""
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            await self._change(wanted)
        elif self._session is None or self._sent - self._seen >= UNSEEN:
            return False
        elif self._reset:
            self._reset = False
            await self._workers.move(self._session.reset)
            await self._show(0)
        elif self._steps or self._playing:
            await self._move()
        elif self._look:
            await self._show(0)
        else:
            return False
        return True

    async def _change(self, wanted):
        """Take other settings on, and say so while it compiles."""
        slow = self._session is None or (
            self._session.needs_compiling(wanted)
        )
        if slow:
            await self.tell('compiling')
            work = self._workers.compile
        else:
            work = self._workers.move
        if self._session is None:
            self._session = await work(
                session_lib.Session, wanted, self._left.is_set
            )
        else:
            await work(self._session.change, wanted)
        real = await work(self._session.real)
        self._seconds, self._look = 0.0, True
        await self.tell(
            'settings', settings=settings_lib.to_json(wanted),
            link=settings_lib.to_link(wanted), real=real,
            compiled=compiled_steps.compiled_count(),
        )

    async def _move(self):
        """Make the steps of one picture, and show it."""
        began = time.monotonic()
        count = 1
        if self._steps:
            self._steps -= 1
        else:
            count = self._session.settings.speed
            # The first picture is of one step, which tells what more take.
            most = int(LONGEST / self._seconds) if self._seconds else 1
            count = max(1, min(count, most))
        await self._show(count)
        taken = time.monotonic() - began
        self._seconds = taken / count
        if not self._session.alive:
            self._playing, self._steps = False, 0
            await self._show(0)
        if taken < FASTEST and self._playing:
            await asyncio.sleep(FASTEST - taken)

    async def _show(self, count):
        self._look = False
        self._sent += 1
        head = {
            'type': 'picture', 'number': self._sent, 'playing': self._playing,
            'compiled': compiled_steps.compiled_count(),
        }
        picture = await self._workers.move(
            _picture, self._session, count, head
        )
        await self._socket.send(picture)

    async def tell(self, kind, **content):
        """Send a message of words."""
        await self._socket.send(
            session_lib.to_text({'type': kind, **content})
        )


HEARD = {
    'open': (('link',), Tab._open),
    'set': (('settings',), Tab._set),
    'play': ((), Tab._play),
    'pause': ((), Tab._pause),
    'step': ((), Tab._step),
    'reset': ((), Tab._begin_anew),
    'seen': (('number',), Tab._see),
}


def _picture(session, count, head):
    """Make steps and a picture of them."""
    if count:
        session.advance(count)
    return session_lib.pack(head, session.looks())


def _parse(message):
    """Read a message as a JSON object.

    Raises:
        errors.ConfigError: for anything else.
    """
    def refuse(constant):
        raise ValueError(f'{constant} is no number')

    if type(message) is not str:
        raise errors.ConfigError('a message is text, not bytes')
    try:
        said = json.loads(message, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise errors.ConfigError('a message is JSON') from error
    if type(said) is not dict:
        raise errors.ConfigError('a message is an object')
    return said


class Lab:
    """The server: who may come in, and the tabs that are open."""

    def __init__(self, host='127.0.0.1', limits=Limits()):
        """Prepare; nothing listens yet.

        Args:
            host: name or address to listen on, and nothing else.
            limits: `Limits`.
        """
        self._host, self._limits = host, limits
        self._hosts, self.local = frozenset(), True
        self.tabs = set()

    @contextlib.asynccontextmanager
    async def serving(self, port=0):
        """Listen; gives the page's address.

        `local` tells from then on whether this machine alone reaches it.

        Args:
            port: 0 for one that is free.

        Raises:
            errors.ConfigError: where it cannot be listened on.
        """
        listening = addresses.resolve(self._host)
        self.local = listening.local
        quiet = logging.Logger('gan_jax.lab', logging.CRITICAL + 1)
        quiet.addHandler(logging.NullHandler())
        self._workers = Workers(self._limits.tabs)
        try:
            server = await sockets.serve(
                self._visit, listening.addresses, port, compression=None,
                process_request=self._answer, server_header=None,
                max_size=MOST_BYTES, max_queue=16, logger=quiet,
            )
        except OSError as error:
            raise errors.ConfigError(
                f'--host={self._host} --port={port} cannot be listened on: '
                f'{error.strerror or error}'
            ) from error
        port = server.sockets[0].getsockname()[1]
        own, *others = hosts(listening.name, port)
        self._hosts = frozenset((own, *others))
        try:
            yield f'http://{own}/'
        finally:
            server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), PARTING)
            self._workers.close()

    @property
    def busy(self):
        """Return whether threads still work for tabs that have left."""
        return self._workers.busy

    def _answer(self, connection, request):
        """Give a file, or let a page of ours open its socket.

        A page of another site that has its name lead here (DNS rebinding)
        names another host, and its scripts another origin.
        """
        if (self._header(request, 'Host') or '').lower() not in self._hosts:
            return _response(403, 'The lab answers to its own address alone.')
        path = request.path.partition('?')[0]
        if path == SOCKET:
            origin = (self._header(request, 'Origin') or '').lower()
            ours = origin.removeprefix('http://') in self._hosts
            return None if ours and origin.startswith('http://') else (
                _response(403, 'The lab answers to its own page alone.')
            )
        if path not in FILES:
            return _response(404, 'There is no such page.')
        name, kind = FILES[path]
        return _response(200, read(name), kind)

    def _header(self, request, name):
        """Give a header that is there once, or None."""
        values = request.headers.get_all(name)
        return values[0] if len(values) == 1 else None

    async def _visit(self, socket):
        """Play with one tab until it leaves."""
        if len(self.tabs) >= self._limits.tabs:
            await _end(socket, (
                f'{self._limits.tabs} tabs of the lab are open, and that is '
                'all it has room for: close one, then load this page again.'
            ), 1013)
            return
        tab = Tab(socket, self._workers)
        self.tabs.add(tab)
        tasks = [
            asyncio.create_task(work) for work in (
                self._listen(socket, tab), tab.run(), self._watch(tab)
            )
        ]
        try:
            await tab.tell('hello', schema=settings_lib.schema())
            done, _ = await asyncio.wait(
                tasks, return_when=asyncio.FIRST_COMPLETED
            )
            await self._part(socket, done)
        except ConnectionClosed:
            pass
        finally:
            tab.leave()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.tabs.discard(tab)

    async def _listen(self, socket, tab):
        """Hear what a page says until it leaves."""
        async for message in socket:
            await tab.hear(message)

    async def _watch(self, tab):
        """Wait until nobody has touched a tab for long; returns why it ends."""
        while True:
            left = tab.touched + self._limits.idle - time.monotonic()
            if left <= 0:
                return (
                    'Nobody touched this tab for '
                    f'{self._limits.idle / 60:.0f} minutes, so its games '
                    'ended. Load the page again to begin anew with the same '
                    'settings.'
                )
            await asyncio.sleep(left)

    async def _part(self, socket, done):
        """Say why a tab's games ended, where it is still there to hear."""
        for task in done:
            error = task.exception()
            if error is None and task.result():
                await _end(socket, task.result(), 1000)
            elif error and not isinstance(error, ConnectionClosed):
                traceback.print_exception(error)
                await _end(socket, (
                    'The games ended by a fault: '
                    f'{" ".join(str(error).split())[:300]}'
                ), 1011)


def hosts(name, port):
    """Return what a browser may send as Host to a page's own address.

    Args:
        name: of `addresses.Listening`.
        port: int.

    Returns:
        List of lower case, the one for a link first.
    """
    names = [name, 'localhost'] if name == '127.0.0.1' else [name]
    # Browsers leave out the port that http has anyway.
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
