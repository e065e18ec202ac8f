"""Convert the Inception-v3 weights of FID to a file without pickled code.

    pip install -e '.[convert]'
    python -m gan_jax convert_inception \\
      --weights=pt_inception-2015-12-05-6726825d.pth

This is needed once, before `evaluate --features=inception`. Download the file
of pytorch-fid (95.6 MB) from
https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights first. Its
SHA-256 is checked before PyTorch opens it. Only this command needs PyTorch.
"""

import hashlib
import io
import os

from absl import flags

from gan_jax.cli import app

WEIGHTS = flags.DEFINE_string('weights', '', 'Downloaded file to convert.')
OUT = flags.DEFINE_string(
    'out', '', "File to write; by default in the user's cache folder, where "
    '`evaluate` looks for it.'
)
OTHER = flags.DEFINE_bool(
    'allow_other_weights', False, 'Accept a file with another SHA-256 than '
    "the published file's; use it only if you trust its source. Names and "
    'shapes must be the same.'
)

MAX_BYTES = 2**28  # the published file has 95,628,359


def torch_name(name):
    """Return the name that pytorch-fid has for one of our variables.

    'batch_stats/Mixed_5b/branch1x1/bn/mean' is
    'Mixed_5b.branch1x1.bn.running_mean' there.
    """
    from gan_jax.features import weights

    _, *modules, leaf = name.split('/')
    return '.'.join([*modules, weights.TORCH_LEAVES[leaf]])


def to_variables(path, state):
    """Convert pytorch-fid's tensors to variables of `inception.Inception`.

    Args:
        path: file that they are from, for error messages.
        state: {name: float32 array}; `num_batches_tracked` is ignored.

    Returns:
        Tree of arrays.

    Raises:
        errors.DamagedError: if a tensor is missing, unexpected, not finite, or
            has another shape or type.
    """
    from gan_jax.features import inception
    from gan_jax.features import weights

    return weights.from_torch(path, state, inception.expected(), torch_name)


def load_state(path, data):
    """Read the tensors of a file that `torch.save` wrote.

    The file is read with `weights_only`, so no pickled code runs.

    Args:
        path: file name, for error messages.
        data: content of the file, bytes.

    Returns:
        {name: array}.

    Raises:
        errors.ConfigError: if PyTorch is not installed.
        errors.DamagedError: if the content is not a dict of tensors.
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
    except Exception as error:  # a damaged file can raise anything
        raise errors.DamagedError(
            f'{path} holds no named tensors that PyTorch can read '
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
            f'--weights is missing, such as --weights={inception.SOURCE}; '
            f'download it from {inception.URL}'
        )
    if not os.path.exists(os.path.expanduser(path)):
        raise errors.ConfigError(f'--weights={path} does not exist')
    data = weights.read_file(path, MAX_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    published = digest == inception.SHA256
    if not published and not OTHER.value:
        raise errors.DamagedError(
            f'{path} has SHA-256 {digest[:16]}…, but the published file has '
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
    origin = 'the published weights' if published else (
        'NOT the published weights'
    )
    app.say(f'Wrote {out}: {origin}, fingerprint {fingerprint}')
