"""Setups that run but cannot learn, of a config and of its first batch."""

import math

import numpy as np

from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax import networks
from gan_jax.networks import activations


def config_problems(config, points=None):
    """List problems that let a setup run but not learn, from the config alone.

    Args:
        config: ConfigDict with known names.
        points: as of `validation.validate`.

    Returns:
        List of messages: key, value, reason, what is allowed.
    """
    if points is None:
        points = defaults.has_points(config)
    low, high = (-math.inf, math.inf) if points else (-1, 1)

    def covers(name):
        layer = activations.last_layer(name, points=points)
        return layer.low <= low and high <= layer.high

    name = config.generator.output
    if covers(name):
        return []
    layer = activations.last_layer(name, points=points)
    data = 'points have no bounds' if points else 'images are in [-1, 1]'
    return [
        f'generator.output={name!r} has values from {layer.low:g} to '
        f'{layer.high:g}, and {data}; use one of '
        f'{sorted(filter(covers, activations.OUTPUTS))}'
    ]


def batch_problems(config, real_images, samples):
    """List problems that let a setup run but not learn, from a batch.

    Networks with the key `output`, as all of this package, are left to
    `config_problems`. Of others, the samples of an untrained network whose last
    layer can be negative are so about half of the time. If no sample is
    negative and some data are, the last layer probably ends in ReLU, a sigmoid
    or the like. Samples that are all equal are not judged.

    Args:
        config: ConfigDict of the run.
        real_images: [N, ...] float, as D sees them.
        samples: [M, ...] float, of the untrained generator.

    Returns:
        As `config_problems`.
    """
    if hasattr(networks.FAMILIES[config.generator.name].generator, 'output'):
        return []
    least, most, real_least = samples.min(), samples.max(), real_images.min()
    if not real_least < 0 <= least or not np.ptp(samples, axis=0).any():
        return []
    return [
        f'generator.name={config.generator.name!r} starts with {len(samples)} '
        f'samples from {least:.3g} to {most:.3g}, and the data go down to '
        f'{real_least:.3g}: its last layer does not seem to reach them; use '
        'one that can be negative, such as tanh or a linear layer'
    ]


def raise_first(config, messages):
    """Raise the first problem, unless the config allows a bad setup.

    Args:
        config: ConfigDict.
        messages: of `config_problems` or `batch_problems`.

    Raises:
        errors.ConfigError: with the first message and the key that allows it.
    """
    if messages and not config.allow_bad_setup:
        raise errors.ConfigError(
            f'{messages[0]}; allow_bad_setup=True only warns'
        )
