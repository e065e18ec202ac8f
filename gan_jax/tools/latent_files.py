"""Files of latents, as the commands sample and reconstruct write them."""

from typing import NamedTuple, Optional

import numpy as np

from gan_jax.core import errors
from gan_jax.core import files

MAX_BYTES = 2**30  # of a file


class Latents(NamedTuple):
    """Latents read from a file.

    Attributes:
        name: 'w' for styles, or 'z'.
        values: float32 [N, num_styles, D] or [N, latent_size].
        labels: int32 [N], or None.
    """

    name: str
    values: np.ndarray
    labels: Optional[np.ndarray]


def load(path, algorithm):
    """Load the latents of an .npz file: `w` of a style-based generator, or `z`.

    Args:
        path: of the file, with an array `w` [N, num_styles, D] or `z`
            [N, latent_size], and `labels` [N] if the generator is conditional
            and there is no `w`.
        algorithm: `algorithm.Algorithm` of the run that is to use them.

    Returns:
        `Latents`.

    Raises:
        errors.DataError: if it cannot be read, or does not fit the run.
    """
    named = _read(path, ('w', 'z', 'labels') if algorithm.num_styles else (
        'z', 'labels'
    ))
    name = 'w' if 'w' in named else 'z'
    if name not in named:
        raise errors.DataError(f'{path} holds no latents, an array named z')
    shape = (algorithm.latent_size,) if name == 'z' else (
        algorithm.num_styles, algorithm.latent_size
    )
    values = named[name]
    if values.shape[1:] != shape or not len(values):
        raise errors.DataError(
            f'{path}: {name} has the shape {list(values.shape)}, but the run '
            f'needs [N, {", ".join(map(str, shape))}]'
        )
    if values.dtype.kind != 'f' or not np.isfinite(values).all():
        raise errors.DataError(f'{path}: {name} has values that are no numbers')
    labels = named.get('labels')
    if name == 'w' or not algorithm.num_classes:
        labels = None
    elif labels is None:
        raise errors.DataError(
            f'{path} holds no labels, which this conditional generator needs'
        )
    elif labels.dtype.kind not in 'iu' or labels.shape != (len(values),) or (
            not ((0 <= labels) & (labels < algorithm.num_classes)).all()):
        raise errors.DataError(
            f'{path}: labels are not {len(values)} integers in [0, '
            f'{algorithm.num_classes})'
        )
    return Latents(name, values.astype(np.float32), labels)


def _read(path, names):
    """Return those arrays of an .npz file that it holds, {name: array}."""
    try:
        with files.open_regular(files.to_path(path)) as file:
            if file.seek(0, 2) > MAX_BYTES:
                raise ValueError(f'it has more than {MAX_BYTES:,} bytes')
            file.seek(0)
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise ValueError('it is not an .npz file')
            with content:
                held = [name for name in names if name in content]
                sizes = (content.zip.getinfo(f'{name}.npy') for name in held)
                if sum(each.file_size for each in sizes) > MAX_BYTES:
                    raise ValueError(f'it unpacks to over {MAX_BYTES:,} bytes')
                return {name: content[name] for name in held}
    # For damaged files NumPy raises OSError, ValueError, BadZipFile,
    # TokenError, MemoryError and others.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise errors.DataError(f'{path} cannot be read: {reason}') from error
