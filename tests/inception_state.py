"""Random weights for Inception-v3, under the names of the port's file."""

import numpy as np

from gan_jax.cli import convert_inception
from gan_jax.features import inception
from gan_jax.features import weights

SHAPE = (2, 139, 107, 3)  # leaves 3 x 2 pixels in the last block


def images():
    """Give float32 images of `SHAPE` in [-1, 1]: noise, and dark colours."""
    random = np.random.RandomState(1)
    noise = random.uniform(-1, 1, SHAPE[1:])
    slope = np.linspace(-1, 0, SHAPE[1])[:, None, None] * [1, 0.5, 0.2]
    dark = slope + random.uniform(-0.05, 0, SHAPE[1:])
    return np.stack([noise, dark.clip(-1, 1)]).astype(np.float32)


def random_state(seed=0):
    """Give {name: float32 array} in the port's layout, statistics positive.

    Kernels keep the size of what passes through; scales, means and variances
    differ from channel to channel, so that none may be left out or swapped.
    """
    random = np.random.RandomState(seed)
    state = {}
    for name, form in sorted(weights.flatten(inception.expected()).items()):
        shape = [0] * form.ndim
        for ours, theirs in enumerate(weights.torch_axes(form.ndim)):
            shape[theirs] = form.shape[ours]
        state[convert_inception.torch_name(name)] = _draw(random, name, shape)
    return state


def _draw(random, name, shape):
    if name.endswith('/kernel'):
        fan_in = np.prod(shape[1:])
        value = random.standard_normal(shape) * np.sqrt(2 / fan_in)
    elif name.endswith(('/scale', '/var')):
        value = random.uniform(0.5, 1.5, shape)
    else:
        value = random.uniform(-0.2, 0.2, shape)
    return value.astype(np.float32)
