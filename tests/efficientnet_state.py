"""Random weights for EfficientNet-Lite0, under the names of the package's file.

`picture` is an image without a file, for golden features of any weights.
"""

import numpy as np

from gan_jax.features import efficientnet
from gan_jax.features import weights


def random_state(seed=0):
    """Return {name: float32 array} in PyTorch's layout, statistics positive.

    Kernels keep the size of what passes through; scales, means and variances
    differ from channel to channel, so that none may be left out or swapped.
    """
    random = np.random.RandomState(seed)
    state = {}
    flat = weights.flatten(efficientnet.expected())
    for name, form in sorted(flat.items()):
        shape = [0] * form.ndim
        for ours, theirs in enumerate(weights.torch_axes(form.ndim)):
            shape[theirs] = form.shape[ours]
        state[efficientnet.torch_name(name)] = _draw(random, name, shape)
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


def picture():
    """Return uint8 [1, 224, 224, 3]: a bright disc on a slope of colors."""
    rows, columns = np.indices((224, 224))
    image = np.stack([rows, columns, 223 - rows], -1)
    disc = (rows - 90) ** 2 + (columns - 130) ** 2 < 50 ** 2
    image[disc] = 255 - image[disc] // 3
    return image[None].astype(np.uint8)
