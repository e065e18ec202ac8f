"""Train GANs on 2-D points in the browser and watch them learn.

    pip install -e '.[lab]'
    python -m gan_jax lab
    python -m gan_jax lab --record=page.html --link='data=ring&0.loss=hinge'

The second command serves a page on this machine only and opens it in the
browser; Ctrl-C stops the server. Draw a distribution or choose one, and press
Play. The training steps are those of `gan_jax.main`. The third command trains
the settings of a link without a server, and writes the recording as one HTML
file.
"""

import os
import sys

from absl import flags

from gan_jax.cli import app

HOST = flags.DEFINE_string(
    'host', '127.0.0.1', 'Address to listen on, one of this machine. The lab '
    'has no password, so anyone who can reach the address can use it.'
)
PORT = flags.DEFINE_integer(
    'port', 0, 'Port to listen on; 0 chooses a free one.', lower_bound=0,
    upper_bound=65535,
)
BROWSER = flags.DEFINE_boolean('browser', True, 'Open the page in a browser.')
LINK = flags.DEFINE_string(
    'link', '', 'Settings to start with: a link that the page copied, or the '
    'part after its #.'
)
RECORD = flags.DEFINE_string(
    'record', '', 'HTML file to write a recording to, instead of serving.'
)
STEPS = flags.DEFINE_integer(
    'steps', 3000, 'Training steps to record.', lower_bound=1,
    upper_bound=1_000_000
)
PICTURES = flags.DEFINE_integer(
    'pictures', 100, 'Pictures in the recording.', lower_bound=2,
    upper_bound=1000
)


def main(argv):
    """Serve the lab, or write a recording."""
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
        # A normal exit waits for all threads, and a compilation of XLA cannot
        # be cancelled.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _serve(link):
    """Serve until SIGINT or SIGTERM; return whether threads still compile."""
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
                f'warning: other machines can reach --host={HOST.value}, and '
                'the lab has no password', sys.stderr,
            )
        app.say(f'The lab is at {address} (press Ctrl-C to stop)')
        if BROWSER.value:
            threading.Thread(
                target=webbrowser.open, args=(address,), daemon=True
            ).start()
        await stop.wait()
    return lab.busy


def _record(settings):
    """Train `settings` and write the recording to --record."""
    from gan_jax.lab import recording

    with app.written('--record', RECORD.value):
        size = recording.record(
            RECORD.value, settings, STEPS.value, PICTURES.value
        )
    app.say(
        f'Wrote {PICTURES.value} pictures of {STEPS.value} steps to '
        f'{RECORD.value} ({size / 1e6:.1f} MB)'
    )
