"""Codes of a run's data as a file, and images from a file of codes.

The file of codes is a table that `data.path` reads: another model can be
trained on it, and its samples decoded.
"""

import jax
import numpy as np

from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.evaluation import reference
from gan_jax.runs import sampling

ARRAYS = ('samples', 'x')  # of a file to decode: of `sample`, of `encode`


def check_encodes(algorithm):
    """Check that an algorithm has an encoder.

    Raises:
        errors.ConfigError: where it has none.
    """
    if not algorithm.encodes:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no encoder and no codes'
        )


def load_images(workdir, split='train'):
    """Load the images of a run.

    Args:
        workdir: folder of the run.
        split: 'train', or 'test' for those that were held out.

    Returns:
        `sources.Dataset`.

    Raises:
        errors.DataError: where they cannot be loaded, none were held out, or
            they have other units than in training.
    """
    sampling.check_data(workdir)
    config = sampling.load_data_config(workdir)
    if split == 'train':
        dataset = builders.dataset(config)
    else:
        dataset = reference.held_out_of(config)
    if dataset is None:
        raise errors.DataError('the run held out no images of its data')
    sampling.check_units(workdir, dataset)
    return dataset


def encode(algorithm, state, images):
    """Encode images.

    Args:
        algorithm: `algorithm.Algorithm` with an encoder.
        state: `algorithm.TrainState`.
        images: [N, H, W, C] uint8, an array or an object whose slices are
            arrays; or points [N, D].

    Returns:
        {'x': float32 [N, code size], 'shape': of one code; 'indices': int32
        [N, h, w] of a codebook, if there is one}.
    """
    size = sampling.batch_size(images.shape[1:])
    rows = {}
    for start in range(0, len(images), size):
        part = np.asarray(images[start:start + size])
        count = len(part)
        part = np.pad(
            part, [(0, size - count)] + [(0, 0)] * (part.ndim - 1), mode='edge'
        )  # one size compiles only once
        for name, value in _encode(algorithm, state, part).items():
            rows.setdefault(name, []).append(np.asarray(value)[:count])
    arrays = {name: np.concatenate(parts) for name, parts in rows.items()}
    return {**arrays, 'shape': np.array(algorithm.code_shape)}


def _encode_one(algorithm, state, images):
    arrays = {'x': algorithm.encode(state, images)}
    if algorithm.num_codes:
        arrays['indices'] = algorithm.indices(state, images)
    return arrays


_encode = jax.jit(_encode_one, static_argnums=0)


def load_codes(path, algorithm):
    """Load the codes of an .npy file, or of an .npz file of `ARRAYS`.

    Args:
        path: of the file.
        algorithm: of the run that is to decode them.

    Returns:
        float32 [N, code size].

    Raises:
        errors.DataError: where it cannot be read, or has another shape.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.ndarray):
            with content:
                names = [name for name in ARRAYS if name in content]
                if not names:
                    raise ValueError(f'it holds none of {list(ARRAYS)}')
                content = content[names[0]]
    # For damaged files NumPy raises many types.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise errors.DataError(f'{path} cannot be read: {reason}') from error
    size = algorithm.code_size
    if content.dtype.kind != 'f' or content.shape[1:] != (size,) or (
            not len(content) or not np.isfinite(content).all()):
        raise errors.DataError(
            f'{path} has {content.dtype} {list(content.shape)}; codes of this '
            f'run are finite numbers [N, {size}]'
        )
    return content.astype(np.float32)


def decode(algorithm, state, codes):
    """Decode codes [N, code size]; return float32 images [N, ...]."""
    outputs = []
    for start in range(0, len(codes), sampling.BATCH):
        part = codes[start:start + sampling.BATCH]
        padded = np.pad(
            part, [(0, sampling.BATCH - len(part)), (0, 0)], mode='edge'
        )
        outputs.append(np.asarray(
            _decode(algorithm, state, padded))[:len(part)])
    return np.concatenate(outputs)


def _decode_one(algorithm, state, codes):
    return algorithm.decode(state, codes)


_decode = jax.jit(_decode_one, static_argnums=0)
