"""Recording of a lab session as one HTML page that needs no server.

The page holds the lab's style and drawing code, which its content security
policy allows by their hashes, and the pictures that a server would have sent.
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
    """Train settings and write a page of pictures.

    Args:
        path: file to write.
        settings: `settings.Settings`.
        num_steps: training steps.
        num_pictures: pictures at even intervals, the first one before step 1.

    Returns:
        Number of bytes written.
    """
    text = page(settings, train(settings, num_steps, num_pictures))
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)
    return path.stat().st_size


def train(settings, num_steps, num_pictures):
    """Train settings and take pictures.

    Args:
        settings, num_steps, num_pictures: as `record`.

    Returns:
        (dict of `Session.real`, list of bytes of `session.pack`).
    """
    session, pictures = session_lib.Session(settings), []
    current = 0
    for number, step in enumerate(
        np.linspace(0, num_steps, num_pictures).round().astype(int)
    ):
        if step > current:
            session.advance(step - current)
            current = step
        pictures.append(session_lib.pack(
            {'type': 'picture', 'number': number, 'playing': False},
            session.views(),
        ))
    return session.real(), pictures


def page(settings, recorded):
    """Return the page as text.

    Args:
        settings: `settings.Settings`.
        recorded: as from `train`.

    Returns:
        str, a complete HTML document.
    """
    real, pictures = recorded
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
