"""Features of an untrained convolutional network.

They favour no data set. The weights come from `numpy.random.RandomState`, whose
stream NumPy keeps fixed, so they are the same on every machine.
"""

import functools

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors

VERSION = 1  # increase it if the features of a seed change
WIDTHS = (32, 64, 128)
NUM_FEATURES = 2 * WIDTHS[-1]
SMALLEST = 4  # pixels of a side


def weights(seed, channels):
    """Draw the kernels from N(0, 2 / fan-in).

    Args:
        seed: of the weights.
        channels: C of the images.

    Returns:
        List of float32 [3, 3, C, width] for the `WIDTHS`.

    References:
        He et al., Delving Deep into Rectifiers,
        https://arxiv.org/abs/1502.01852, 2015.
    """
    random = np.random.RandomState(seed)
    kernels = []
    for width in WIDTHS:
        std = np.sqrt(2 / (9 * channels))
        kernel = std * random.standard_normal((3, 3, channels, width))
        kernels.append(kernel.astype(np.float32))
        channels = width
    return kernels


@jax.jit
def apply(kernels, images):
    """Compute the mean and the maximum of each channel of the last map.

    Three convolutions of 3 x 3 with ReLU; the last two halve the side.

    Args:
        kernels: of `weights`.
        images: [B, H, W, C] float32 in [-1, 1].

    Returns:
        [B, `NUM_FEATURES`] float32.
    """
    x = images
    for number, kernel in enumerate(kernels):
        x = nn.relu(lax.conv_general_dilated(
            x, kernel, (1, 1) if number == 0 else (2, 2), 'SAME',
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            # Full float32 on accelerators, for the same features as on a CPU.
            precision=lax.Precision.HIGHEST,
        ))
    return jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], 1)


def extractor(seed):
    """Build a function of images [B, H, W, C] in [-1, 1] to features.

    Args:
        seed: of the weights.

    Returns:
        Function of images of at least 4 x 4 pixels with any channels. It raises
        `errors.DataError` for points and smaller images.
    """
    draw = functools.lru_cache(functools.partial(weights, seed))

    def features(images):
        if images.ndim != 4 or min(images.shape[1:3]) < SMALLEST:
            raise errors.DataError(
                f'the random network takes images of {SMALLEST} x {SMALLEST} '
                f'pixels or more, not data of shape {list(images.shape[1:])}'
            )
        return apply(draw(images.shape[-1]), images)

    return features
