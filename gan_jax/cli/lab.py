"""Draw a distribution in the browser and watch real training steps learn it.

    python -m gan_jax lab
    python -m gan_jax lab --record=page.html --link='data=ring&0.loss=hinge'

The first serves one page on 127.0.0.1 and opens it; Ctrl-C ends it. Every step
that it shows is a compiled step of the library. The second plays a setting, as
the page's link holds it, and writes one page that needs no server.

`pip install -e '.[lab]'` brings the one library that it needs besides.
"""

import os
import sys

from absl import flags

from gan_jax.cli import app

HOST = flags.DEFINE_string(
    'host', '127.0.0.1', 'Address to listen on, as people would type it. Who '
    'reaches it may use the lab: there is no password.'
)
PORT = flags.DEFINE_integer(
    'port', 0, 'Port to listen on; 0 takes a free one.', lower_bound=0,
    upper_bound=65535,
)
BROWSER = flags.DEFINE_boolean('browser', True, 'Open the page in a browser.')
LINK = flags.DEFINE_string(
    'link', '', "Settings to begin with: a link of the page, or what is behind "
    'its #.'
)
RECORD = flags.DEFINE_string(
    'record', '', 'HTML file to write in place of serving.'
)
STEPS = flags.DEFINE_integer(
    'steps', 3000, 'Steps to record.', lower_bound=1, upper_bound=1_000_000
)
PICTURES = flags.DEFINE_integer(
    'pictures', 100, 'Pictures to record.', lower_bound=2, upper_bound=1000
)


def main(argv):
    """Serve the page, or record one."""
    import asyncio

    from gan_jax.core import errors
    from gan_jax.lab import settings as settings_lib
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    link = LINK.value.rpartition('#')[2]
    settings = settings_lib.from_link(link)
    environment.prepare()
    if RECORD.value:
        _record(settings)
        return
    if asyncio.run(_serve(link)):
        # Interpreters wait for their threads, and nothing stops XLA.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _serve(link):
    """Serve until a signal comes; returns whether threads still compile."""
    import asyncio
    import signal
    import threading
    import webbrowser

    from gan_jax.core import errors
    from gan_jax.core import redact

    try:
        from gan_jax.lab import server
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"the lab needs {error.name}: pip install -e '.[lab]'"
        ) from error
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    lab = server.Lab(HOST.value)
    async with lab.serving(PORT.value) as address:
        address += f'#{link}' if link else ''
        if not lab.local:
            redact.say(
                f'warning: --host={HOST.value} is reached from other machines, '
                'and the lab has no password', sys.stderr,
            )
        app.say(f'The lab is at {address} (Ctrl-C ends it)')
        if BROWSER.value:
            threading.Thread(
                target=webbrowser.open, args=(address,), daemon=True
            ).start()
        await stop.wait()
    return lab.busy


def _record(settings):
    from gan_jax.lab import recording

    with app.written('--record', RECORD.value):
        size = recording.record(
            RECORD.value, settings, STEPS.value, PICTURES.value
        )
    app.say(
        f'{PICTURES.value} pictures of {STEPS.value} steps are in '
        f'{RECORD.value} ({size / 1e6:.1f} MB)'
    )
