"""One page that plays a game of the lab again, with no server.

The page's own drawing code and style are in it, known to its policy by their
hashes; the pictures are those that the server would have sent.
"""

import base64
import hashlib
from importlib import resources
import pathlib
import string

import numpy as np

from gan_jax.core import files
from gan_jax.lab import session as session_lib
from gan_jax.lab import settings as settings_lib


def record(path, settings, num_steps, num_pictures):
    """Play settings and write a page of it.

    Args:
        path: file to write.
        settings: `settings.Settings`.
        num_steps: to make.
        num_pictures: of them, the first before any step, evenly apart.

    Returns:
        Bytes written.
    """
    text = page(settings, play(settings, num_steps, num_pictures))
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)
    return path.stat().st_size


def play(settings, num_steps, num_pictures):
    """Play settings.

    Args:
        settings, num_steps, num_pictures: as of `record`.

    Returns:
        (what a picture shows of the data, list of bytes as of `pack`).
    """
    session, pictures = session_lib.Session(settings), []
    made = 0
    for number, step in enumerate(
        np.linspace(0, num_steps, num_pictures).round().astype(int)
    ):
        if step > made:
            session.advance(step - made)
            made = step
        pictures.append(session_lib.pack(
            {'type': 'picture', 'number': number, 'playing': False},
            session.looks(),
        ))
    return session.real(), pictures


def page(settings, played):
    """Write the page.

    Args:
        settings: `settings.Settings`.
        played: as of `play`.

    Returns:
        str, a whole HTML document.
    """
    real, pictures = played
    data = session_lib.to_text({
        'settings': settings_lib.to_json(settings),
        'schema': settings_lib.schema(),
        'link': settings_lib.to_link(settings), 'real': real,
        'pictures': [base64.b64encode(data).decode() for data in pictures],
    }).replace('<', '\\u003c')
    style = _read('page.css')
    scripts = [_read('pictures.js'), _read('player.js')]
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; style-src {_hash(style)}; "
        f"script-src {' '.join(map(_hash, scripts))}"
    )
    return string.Template(_read('player.html')).substitute(
        policy=policy, style=style, data=data, pictures=scripts[0],
        player=scripts[1],
    )


def _read(name):
    return resources.files('gan_jax.lab').joinpath(name).read_text()


def _hash(text):
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
