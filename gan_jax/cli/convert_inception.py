"""Convert the Inception-v3 weights of FID, once, to a file that is only data.

    pip install -e '.[convert]'
    python -m gan_jax convert_inception \\
      --weights=pt_inception-2015-12-05-6726825d.pth

The file is that of pytorch-fid, at
https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights, 95.6 MB. Its
SHA-256 is compared before torch opens it. PyTorch is needed here alone.
"""

import hashlib
import io
import os

from absl import flags

from gan_jax.cli import app

WEIGHTS = flags.DEFINE_string('weights', '', 'The downloaded file.')
OUT = flags.DEFINE_string(
    'out', '', "File to write; by default in the user's cache folder, where "
    'it is found without being named.'
)
OTHER = flags.DEFINE_bool(
    'allow_other_weights', False, 'Take a file that is not the published one, '
    'from someone you trust: the same names and shapes, other values.'
)

MAX_BYTES = 2**28  # the published file has 95,628,359
LEAVES = {
    'kernel': 'weight', 'scale': 'weight', 'bias': 'bias',
    'mean': 'running_mean', 'var': 'running_var',
}


def torch_name(name):
    """Give the port's name of a variable.

    'batch_stats/Mixed_5b/branch1x1/bn/mean' is
    'Mixed_5b.branch1x1.bn.running_mean'.
    """
    _, *modules, leaf = name.split('/')
    return '.'.join([*modules, LEAVES[leaf]])


def torch_axes(rank):
    """Give the axes of the port's tensor in the order in which ours has them.

    Kernels are [out, in, height, width] there and [height, width, in, out]
    here; the last layer's are [out, in] and [in, out].
    """
    return {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[rank]


def to_variables(path, state):
    """Turn the port's tensors into variables of `inception.Inception`.

    Args:
        path: where they are from, for the message.
        state: {name: float32 array}; counts of batches are left out.

    Returns:
        Tree of arrays.

    Raises:
        errors.DamagedError: where a tensor lacks, differs in shape or type, is
            too much, or is not finite.
    """
    import numpy as np
    from flax import traverse_util

    from gan_jax.features import inception
    from gan_jax.features import weights

    expected = weights.flatten(inception.expected())
    names = {torch_name(name): name for name in expected}
    weights.check_tensors(
        path,
        {
            name: (str(array.dtype), tuple(array.shape))
            for name, array in state.items()
            if not name.endswith('.num_batches_tracked')
        },
        {
            theirs: ('float32', _torch_shape(expected[ours].shape))
            for theirs, ours in names.items()
        },
    )
    weights.check_finite(path, {name: state[name] for name in names})
    return traverse_util.unflatten_dict({
        ours: np.transpose(state[theirs], torch_axes(state[theirs].ndim))
        for theirs, ours in names.items()
    }, sep='/')


def _torch_shape(shape):
    places = torch_axes(len(shape))
    return tuple(shape[places.index(axis)] for axis in range(len(shape)))


def load_state(path, data):
    """Read the tensors of a file that `torch.save` wrote, as data alone.

    Args:
        path: of the file, for the message.
        data: its bytes.

    Returns:
        {name: array}.

    Raises:
        errors.ConfigError: where PyTorch is not installed.
        errors.DamagedError: where it is no such file.
    """
    from gan_jax.core import errors

    try:
        import torch
    except ImportError as error:
        raise errors.ConfigError(
            "reading the file needs PyTorch: pip install -e '.[convert]'"
        ) from error
    try:
        state = torch.load(
            io.BytesIO(data), map_location='cpu', weights_only=True
        )
        return {str(k): v.detach().numpy() for k, v in state.items()}
    except Exception as error:  # whatever a file that is none brings about
        raise errors.DamagedError(
            f'{path} holds no named tensors that torch reads '
            f'({type(error).__name__})'
        ) from error


def main(argv):
    """Convert --weights to --out."""
    from gan_jax.core import errors
    from gan_jax.features import inception
    from gan_jax.features import weights

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    path = WEIGHTS.value
    if not path:
        raise errors.ConfigError(
            f'name the file, such as --weights={inception.SOURCE}; it is at '
            f'{inception.URL}'
        )
    if not os.path.exists(os.path.expanduser(path)):
        raise errors.ConfigError(f'--weights={path} is not there')
    data = weights.read_file(path, MAX_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    published = digest == inception.SHA256
    if not published and not OTHER.value:
        raise errors.DamagedError(
            f'{path} has SHA-256 {digest[:16]}… and the published file '
            f'{inception.SHA256[:16]}…: download it again from '
            f'{inception.URL}, or pass --allow_other_weights'
        )
    variables = to_variables(path, load_state(path, data))
    out = OUT.value or weights.default_path('inception')
    try:
        fingerprint = weights.write(
            out, variables, sha256=digest,
            source=inception.SOURCE if published else 'other weights',
        )
    except OSError as error:
        raise errors.ConfigError(
            f'{out} cannot be written: {error.strerror}'
        ) from error
    whose = 'as published' if published else 'NOT the published ones'
    app.say(f'{out}: weights {whose}, fingerprint {fingerprint}')
