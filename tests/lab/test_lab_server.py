"""The lab's server: who may come in, what it refuses, what it survives."""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser

import numpy as np
import pytest

from gan_jax.cli import lab as command
from gan_jax.core import errors
from gan_jax.lab import addresses
from gan_jax.lab import compiled_steps
from gan_jax.lab import session as session_lib
from gan_jax.lab import settings as settings_lib
import helpers
import test_lab

pytest.importorskip('websockets', reason="pip install -e '.[lab]'")
from gan_jax.lab import server as server_lib  # noqa: E402
from websockets import exceptions  # noqa: E402
from websockets.sync import client  # noqa: E402

TINY = settings_lib.to_link(test_lab.tiny())
MEGABYTE = 2**20


@contextlib.contextmanager
def serving(host='127.0.0.1', **limits):
    """Run a lab in a thread; gives (address, `server.Lab`)."""
    lab = server_lib.Lab(host, server_lib.Limits(**limits))
    ready, told = threading.Event(), {}

    async def run():
        told['stop'], told['loop'] = asyncio.Event(), asyncio.get_event_loop()
        async with lab.serving() as told['address']:
            ready.set()
            await told['stop'].wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait(30)
    try:
        yield told['address'], lab
    finally:
        told['loop'].call_soon_threadsafe(told['stop'].set)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope='module')
def lab():
    with serving() as (address, lab):
        yield address, lab


class Page:
    """A page's side of the socket."""

    def __init__(self, address, link=TINY):
        """Come in and open a link; None sends nothing."""
        self._stack = contextlib.ExitStack()
        self.socket = self._stack.enter_context(client.connect(
            address.replace('http', 'ws') + 'socket', compression=None,
            origin=address.rstrip('/'),
        ))
        self.hello = self.word()
        if link is not None:
            self.say('open', link=link)
            self.settings = self.word('settings')

    def say(self, kind, **content):
        self.socket.send(json.dumps({'type': kind, **content}))

    def next(self):
        """Give the next message, a picture as `test_lab.unpack` reads it."""
        message = self.socket.recv(timeout=120)
        if isinstance(message, str):
            return json.loads(message)
        picture = test_lab.unpack(message)
        # A tab that ended may be closed while its last word lies unread.
        with contextlib.suppress(exceptions.ConnectionClosed):
            self.say('seen', number=picture['number'])
        return picture

    def word(self, kind=None):
        """Skip to the next message of words, or of a kind."""
        while True:
            said = self.next()
            if said['type'] != 'picture' and kind in (None, said['type']):
                return said

    def picture(self):
        while True:
            said = self.next()
            if said['type'] == 'picture':
                return said

    def __enter__(self):
        """Be a page for a block."""
        return self

    def __exit__(self, *error):
        """Leave."""
        self.leave()

    def leave(self):
        self._stack.close()


def ask(address, path='', **headers):
    """Ask for a file; returns (status, headers, text)."""
    request = urllib.request.Request(address + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_page_and_its_files_are_served(lab):
    address, _ = lab
    for path in ('', 'page.css', 'pictures.js', 'page.js'):
        status, headers, text = ask(address, path)
        assert status == 200 and len(text) > 1000
        assert "default-src 'none'" in headers['Content-Security-Policy']
        assert 'http://' not in text and 'https://' not in text.replace(
            'https://arxiv.org/abs/1406.2661', ''
        )
    assert ask(address, 'socket.py')[0] == 404
    assert ask(address, '../settings.py')[0] == 404


@pytest.mark.parametrize('host', [
    'evil.example', 'evil.example:{}', '127.0.0.1', '127.0.0.1:1', '',
    '127.0.0.1:{}.evil.example', '10.0.0.1:{}',
])
def test_other_hosts_are_refused(lab, host):
    address, _ = lab
    host = host.format(address.rpartition(':')[2].rstrip('/'))
    assert ask(address, Host=host)[0] == 403


@pytest.mark.parametrize('host', [
    '', '*', '0.0.0.0', '0', '0x0', '0.0', '000.000.000.000', '0x00000000',
    '::', '::0', '0:0:0:0:0:0:0:0', '::ffff:0.0.0.0', '::ffff:0:0', 'every',
])
def test_all_addresses_at_once_are_refused_in_any_spelling(host, monkeypatch):
    def look_up(name, *args, **kwargs):
        return LOOK_UP('0.0.0.0' if name == 'every' else name, *args, **kwargs)

    monkeypatch.setattr(sockets, 'getaddrinfo', look_up)
    with pytest.raises(errors.ConfigError, match='would type; it stands for'):
        addresses.resolve(host)


LOOK_UP = sockets.getaddrinfo


@pytest.mark.parametrize('host', ['no.such.invalid', 'ü' * 80, '\udc80', '::g'])
def test_host_that_is_no_address_is_told(host):
    with pytest.raises(errors.ConfigError, match='is no address: '):
        addresses.resolve(host)


@pytest.mark.parametrize('host, local', [
    ('127.0.0.1', True), ('127.1', True), ('0x7f000002', True), ('::1', True),
    ('localhost', True), ('::ffff:127.0.0.1', True), ('10.0.0.1', False),
    ('fd00::a', False), ('::ffff:10.0.0.1', False),
])
def test_address_that_others_reach_is_known(host, local):
    assert addresses.resolve(host).local == local


def test_name_is_bound_where_it_was_judged(monkeypatch):
    found = [['127.0.0.1'], ['0.0.0.0']]  # each look-up has another answer
    monkeypatch.setattr(addresses, '_look_up', lambda host, flags=0: (
        tuple(found.pop(0)) if not flags else _refuse()
    ))
    with serving('rebound') as (address, lab):
        assert address.startswith('http://rebound:') and lab.local
        port = int(address.rpartition(':')[2].rstrip('/'))
        with pytest.raises(OSError):
            sockets.create_connection(('127.0.0.2', port), timeout=5)
    assert found == [['0.0.0.0']]


def _refuse():
    raise errors.ConfigError('no number')


@pytest.mark.parametrize('local', [True, False])
def test_lab_that_others_reach_is_warned_of(local, monkeypatch, capsys):
    class Lab:
        busy = False

        def __init__(self, host):
            self.local = local

        @contextlib.asynccontextmanager
        async def serving(self, port):
            yield 'http://host:1/'
            os.kill(os.getpid(), signal.SIGTERM)

    class Flag:
        value = 'host'

    monkeypatch.setattr(server_lib, 'Lab', Lab)
    for name in ('HOST', 'PORT', 'BROWSER'):
        monkeypatch.setattr(command, name, Flag)
    monkeypatch.setattr(webbrowser, 'open', lambda address: os.kill(
        os.getpid(), signal.SIGTERM
    ))
    assert asyncio.run(command._serve('')) is False
    told = capsys.readouterr()
    assert 'The lab is at http://host:1/' in told.out
    assert ('has no password' in told.err) == (not local)


@pytest.mark.parametrize('host, port, expected', [
    ('127.0.0.1', 81, ['127.0.0.1:81', 'localhost:81']),
    ('127.0.0.1', 80, [
        '127.0.0.1:80', 'localhost:80', '127.0.0.1', 'localhost',
    ]),
    ('::1', 81, ['[::1]:81']),
    ('0:0:0:0:0:0:0:1', 80, ['[::1]:80', '[::1]']),
    ('FD00::A', 81, ['[fd00::a]:81']), ('LocalHost', 81, ['localhost:81']),
    ('127.1', 81, ['127.0.0.1:81', 'localhost:81']),
])
def test_hosts_are_those_that_browsers_say(host, port, expected):
    assert server_lib.hosts(addresses.resolve(host).name, port) == expected


@pytest.mark.parametrize('host, own', [
    ('::1', 'http://[::1]:'), ('LocalHost', 'http://localhost:'),
])
def test_page_is_served_on_addresses_of_other_forms(host, own):
    if ':' in host and not ipv6():
        pytest.skip('this machine has no IPv6')
    with serving(host) as (address, _):
        assert address.startswith(own)
        said = address.removeprefix('http://').rstrip('/')
        for name in (said, said.upper()):
            assert ask(address, Host=name)[0] == 200
        with Page(address, None) as page:
            assert page.hello['type'] == 'hello'


def ipv6():
    """Say whether the machine listens on ::1."""
    try:
        sockets.create_server(('::1', 0), family=sockets.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize('origin', [
    None, 'null', 'http://evil.example', 'https://{}', 'http://127.0.0.1:1',
])
def test_pages_of_others_open_no_socket(lab, origin):
    address, _ = lab
    own = address.removeprefix('http://').rstrip('/')
    with pytest.raises(exceptions.InvalidStatus, match='403'):
        with client.connect(
            f'ws://{own}/socket', origin=origin and origin.format(own)
        ):
            pass


def test_port_is_closed_on_other_addresses(lab):
    address, _ = lab
    port = int(address.rpartition(':')[2].rstrip('/'))
    own = sockets.gethostbyname_ex(sockets.gethostname())[2]
    for other in {'127.0.0.2', '::1', *own} - {'127.0.0.1'}:
        with pytest.raises(OSError):
            sockets.create_connection((other, port), timeout=5)
    sockets.create_connection(('127.0.0.1', port), timeout=5).close()


def test_tab_plays_pauses_steps_and_resets(lab):
    with Page(lab[0]) as page:
        assert page.picture()['gans'][0]['step'] == 0
        page.say('step')
        page.say('step')
        assert [page.picture()['gans'][0]['step'] for _ in '12'] == [1, 2]
        page.say('play')
        steps = [page.picture()['gans'][0]['step'] for _ in range(6)]
        assert steps == sorted(set(steps)) and steps[-1] > 6
        page.say('pause')
        page.say('reset')
        while page.picture()['gans'][0]['step']:
            pass
        page.say('step')
        assert page.picture()['gans'][0]['step'] == 1


def test_stepped_game_is_the_session_of_these_settings(lab):
    expected = session_lib.Session(test_lab.tiny())
    expected.advance(3)
    with Page(lab[0]) as page:
        for _ in range(3):
            page.say('step')
        seen = [page.picture() for _ in range(4)][-1]['gans'][0]
    assert seen['step'] == 3
    np.testing.assert_array_equal(
        seen['points'], expected.looks()[0]['points']
    )


def test_page_is_told_what_compiles_and_numbers_compile_nothing(lab):
    settings = settings_lib.to_json(test_lab.tiny(b1=0.25))
    with Page(lab[0]) as page:
        page.say('play')
        page.say('set', settings=settings)
        assert page.word()['type'] == 'compiling'
        assert page.word('settings')['settings'] == settings
        count = compiled_steps.compiled_count()
        settings['gans'][0]['g_rate'] = 0.5
        page.say('set', settings=settings)
        said = page.word()  # no 'compiling' in between
        assert said['type'] == 'settings' and said['compiled'] == count
        assert '0.g_rate=0.5' in said['link']
        assert page.picture()['compiled'] == count


def test_tab_that_compiles_holds_up_no_other(lab, monkeypatch):
    compiled, go_on = compiled_steps.compiled, threading.Event()

    def slow(key):
        if '"b1": 0.125' in key:
            assert go_on.wait(60)
        return compiled(key.replace('"b1": 0.125', '"b1": 0.5'))

    monkeypatch.setattr(compiled_steps, 'compiled', slow)
    link = settings_lib.to_link(test_lab.tiny(b1=0.125))
    with Page(lab[0]) as old, Page(lab[0], None) as first:
        first.say('open', link=link)
        assert first.word()['type'] == 'compiling'
        old.say('step')
        while old.picture()['gans'][0]['step'] != 1:
            pass
        with Page(lab[0]) as new:
            new.say('step')
            while new.picture()['gans'][0]['step'] != 1:
                pass
        go_on.set()
        assert first.word()['type'] == 'settings'


def test_threads_wait_for_one_program_and_for_no_other(monkeypatch):
    running, most, both = [], [], threading.Barrier(2)

    def compile(key):
        running.append(key)
        most.append(running.count(key))
        if len(most) <= 2:
            both.wait(10)  # two at once, of two keys
        running.remove(key)

    monkeypatch.setattr(compiled_steps, '_compiled', compile)
    threads = [
        threading.Thread(target=compiled_steps.compiled, args=(key,))
        for key in 'ababab'
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1] * 6 and not compiled_steps._contexts


def test_first_picture_is_of_one_step(lab, monkeypatch):
    counts, advance = [], session_lib.Session.advance

    def count(session, num_steps):
        counts.append(num_steps)
        if len(counts) > 1:
            time.sleep(0.02 * num_steps)  # so that two fit into a picture
        advance(session, num_steps)

    monkeypatch.setattr(session_lib.Session, 'advance', count)
    settings = dataclasses.replace(test_lab.tiny(), speed=200)
    with Page(lab[0], settings_lib.to_link(settings)) as page:
        page.say('play')
        while page.picture()['gans'][0]['step'] < 40:
            pass
    assert counts[0] == 1 and max(counts[2:]) <= 2


def test_games_of_a_tab_that_left_are_compiled_no_further(lab, monkeypatch):
    compiled, keys, go_on = compiled_steps.compiled, [], threading.Event()

    def slow(key):
        keys.append(key)
        assert go_on.wait(60)
        return compiled(key)

    monkeypatch.setattr(compiled_steps, 'compiled', slow)
    settings = test_lab.tiny()
    settings = dataclasses.replace(settings, gans=settings.gans * 3)
    with Page(lab[0], None) as page:
        page.say('open', link=settings_lib.to_link(settings))
        wait_until(lambda: keys)
    wait_until(lambda: not lab[1].tabs)
    assert lab[1].busy
    go_on.set()
    wait_until(lambda: not lab[1].busy)
    assert len(keys) == 1


COMPILES_FOR_LONG = """
import sys, time
from gan_jax.cli import app, lab
from gan_jax.lab import compiled_steps
compiled_steps.compiled = lambda key: time.sleep(120)
sys.argv = ['lab', '--nobrowser']
app.run(lab.main)
"""


def test_lab_ends_soon_while_it_compiles():
    lab = subprocess.Popen(
        [sys.executable, '-c', COMPILES_FOR_LONG], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=helpers.environment(),
    )
    try:
        address = lab.stdout.readline().split()[4]
        port = int(address.rpartition(':')[2].rstrip('/'))
        with Page(address, None) as page, sockets.create_connection(
            ('127.0.0.1', port)  # and one that says nothing
        ):
            page.say('open', link=TINY)
            assert page.word()['type'] == 'compiling'
            lab.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, told = lab.communicate(timeout=20)
            assert time.monotonic() - began < 5
        assert lab.returncode == 0 and told == ''
    finally:
        lab.kill()
        lab.wait()


def test_page_that_looks_at_nothing_is_sent_no_more(lab):
    with Page(lab[0]) as page:
        page.say('play')
        page.next = lambda: page.socket.recv(timeout=1)
        got = []
        with pytest.raises(TimeoutError):
            while len(got) < 20:
                got.append(page.next())
        assert 1 <= len(got) <= server_lib.UNSEEN + 1


@pytest.mark.parametrize('message, words', [
    ('', 'JSON'), ('x', 'JSON'), (b'{}', 'text'), ('[]', 'object'),
    ('{"type": "hack"}', 'of type'), ('{"type": ["play"]}', 'of type'),
    ('{}', 'of type'), ('{"type": "play", "x": 1}', 'takes nothing'),
    ('{"type": "set"}', "takes ['settings']"), ('NaN', 'JSON'),
    ('{"type": "seen", "number": 1e9}', 'no such picture'),
    ('{"type": "seen", "number": 999}', 'no such picture'),
    ('{"type": "seen", "number": NaN}', 'JSON'), ('[' * 60_000, 'JSON'),
    ('{"type": "set", "settings": {"gans": 1}}', 'gans'),
    ('{"type": "open", "link": "0.loss=\\ud800"}', 'loss'),
    ('{"type": "open", "link": "0.loss=hinge&0.loss.x=1"}', 'no setting'),
    ('{"type": "set", "settings": {"seed": ' + '9' * 400 + '}}', 'digits'),
    ('{"type": "open", "link": 7}', 'link'), ('9' * 9999, 'JSON'),
])
def test_malformed_messages_are_refused_in_words(lab, message, words):
    with Page(lab[0]) as page:
        page.socket.send(message)
        said = page.word()
        assert said['type'] == 'refused' and words in said['reason']
        page.say('step')
        while page.picture()['gans'][0]['step'] != 1:
            pass


def test_message_that_is_too_long_ends_its_own_tab_alone(lab):
    with Page(lab[0]) as other, Page(lab[0]) as page:
        page.socket.send('x' * (server_lib.MOST_BYTES + 1))
        with pytest.raises(exceptions.ConnectionClosed) as caught:
            while True:
                page.next()
        assert caught.value.rcvd.code == 1009
        other.say('step')
        while other.picture()['gans'][0]['step'] != 1:
            pass


def test_tabs_are_bounded_and_room_comes_back():
    with serving(tabs=2) as (address, lab):
        with Page(address, None), Page(address, None):
            with Page(address, None) as third:
                assert third.hello['type'] == 'ended'
                assert '2 tabs of the lab are open' in third.hello['reason']
        wait_until(lambda: not lab.tabs)
        with Page(address, None) as again:
            assert again.hello['type'] == 'hello'


def test_tab_that_nobody_touches_ends():
    with serving(idle=1.0) as (address, lab):
        with Page(address) as page:
            page.say('play')
            began = time.monotonic()
            assert 'Nobody touched' in page.word('ended')['reason']
            assert time.monotonic() - began >= 0.9
        wait_until(lambda: not lab.tabs)


def test_fault_ends_its_own_tab_alone(lab, monkeypatch, capsys):
    with Page(lab[0]) as other, Page(lab[0]) as page:
        with monkeypatch.context() as patch:
            patch.setattr(session_lib.Session, 'reset', fail)
            page.say('reset')
            assert 'no luck' in page.word('ended')['reason']
        other.say('step')
        while other.picture()['gans'][0]['step'] != 1:
            pass
    assert 'no luck' in capsys.readouterr().err


def fail(session):
    raise RuntimeError('no luck')


def wait_until(holds):
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError('it never held')


def resident():
    """Give the bytes of memory that this process holds."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096


def garbage(draw):
    """Make a message that no page sends."""
    kind = draw.choice(sorted(server_lib.HEARD))
    whole = json.dumps({'type': 'set', 'settings': settings_lib.to_json(
        test_lab.tiny()
    )})
    return draw.choice([
        lambda: draw.randbytes(draw.randrange(2000)),
        lambda: ''.join(chr(draw.randrange(32, 1000)) for _ in range(99)),
        lambda: whole[:draw.randrange(len(whole) - 1)],
        lambda: whole.replace('0', draw.choice(['-1', '1e999', '""', '[]'])),
        lambda: json.dumps({'type': kind, 'junk': draw.random()}),
        lambda: '[' * draw.randrange(1, 50_000),
        lambda: json.dumps({'type': 'open', 'link': 'x' * 9000}),
        lambda: json.dumps({'type': 'seen', 'number': -draw.randrange(1, 9)}),
    ])()


def batter(address, count, draw):
    """Send garbage by many sockets, and leave most of them rudely."""
    sent = 0
    while sent < count:
        page = Page(address, draw.choice([TINY, None]))
        for _ in range(min(10, count - sent)):
            page.socket.send(garbage(draw))
            sent += 1
        if draw.random() < 0.5:  # without a parting word
            page.socket.socket.shutdown(sockets.SHUT_RDWR)
        page.leave()


@pytest.mark.parametrize('count', [
    100, pytest.param(1000, marks=pytest.mark.slow),
])
def test_garbage_and_rude_partings_harm_nobody(count):
    draw = random.Random(0)
    with serving() as (address, lab):
        with Page(address) as other:
            other.say('play')
            batter(address, count, draw)  # to warm up
            other.picture()
            wait_until(lambda: len(lab.tabs) == 1)
            before, compiled = resident(), compiled_steps.compiled_count()
            batter(address, count, draw)
            wait_until(lambda: len(lab.tabs) == 1)
            grown = resident() - before
            first = other.picture()['gans'][0]['step']
            assert other.picture()['gans'][0]['step'] > first
            assert other.picture()['gans'][0]['alive']
            assert compiled_steps.compiled_count() == compiled
        assert grown < 8 * MEGABYTE, f'{grown / MEGABYTE:.1f} MB'
        with Page(address) as page:
            assert page.hello['type'] == 'hello'


@pytest.mark.parametrize('arguments, words', [
    (('--host=0.0.0.0',), 'no address that people would type'),
    (('--host=',), 'no address'), (('x',), "unexpected argument 'x'"),
    (('--link=seed=-1',), 'seed of settings is -1'),
    (('--host=203.0.113.7',), 'cannot be listened on'),
    (('--host=0x0',), "--host='0x0' is no address that people would type"),
    (('--record=/proc/none/x.html', '--steps=1', '--pictures=2',
      f'--link={TINY}'), 'cannot be written'),
])
def test_mistakes_are_told_in_one_line(arguments, words):
    done = helpers.run('gan_jax', 'lab', '--nobrowser', *arguments)
    assert done.returncode == 2 and done.stdout == ''
    (told,) = done.stderr.splitlines()
    assert told.startswith('error: ') and words in told


def test_port_that_is_taken_is_told(lab):
    port = lab[0].rpartition(':')[2].rstrip('/')
    with pytest.raises(errors.ConfigError, match='cannot be listened on'):
        asyncio.run(_serve_on(int(port)))
    assert command.PORT.default == 0


async def _serve_on(port):
    async with server_lib.Lab().serving(port):
        pass
