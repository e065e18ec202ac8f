"""Checks by tracing that networks fit each other, the data and memory."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.runtime import parallel


def check_sizes(config, gan, image_shape):
    """Refuse networks that do not meet, by tracing both on one batch.

    Returns:
        {player: `_Traced`}.
    """
    count = 2 * gan.packing  # samples of which D judges two
    made = check_samples(
        config, gan.generator, gan.latent_size, image_shape, count,
        gan.num_classes,
    )
    *sides, channels = image_shape
    judged = (*sides, channels * gan.packing)
    told = _trace(
        config, gan.discriminator, 'discriminator', (2, *judged),
        f'cannot read {_size(judged)}', gan.num_classes,
    )
    logits = told.output.logits
    if logits.shape[:1] != (2,) or logits.shape == (2, 1):
        raise _misfit(
            config, 'discriminator',
            f'gives logits of shape {list(logits.shape)} for 2 inputs of '
            f'{_size(judged)}; one for each, [2], or a map for each is asked',
        )
    return {'generator': made, 'discriminator': told}


def check_samples(config, module, latent_size, image_shape, count, classes=0):
    """Refuse a generator whose samples are not of the data's form.

    Returns:
        `_Traced`.
    """
    made = _trace(
        config, module, 'generator', (count, latent_size),
        f'cannot make {_size(image_shape)}', classes,
    )
    samples = made.output
    if samples.shape[1:] != tuple(image_shape):
        raise _misfit(
            config, 'generator',
            f'makes {_size(samples.shape[1:])} and the data are '
            f'{_size(image_shape)}; both must be of one size',
        )
    if len(samples) != count:
        raise _misfit(
            config, 'generator',
            f'makes {len(samples)} samples of {count} latents; one of each is '
            'asked',
        )
    return made


def check_memory(config, image_shape, players, memory):
    """Refuse what no program could train in so much memory.

    Counted is what must be there at once at least: weights, gradients and the
    average; the images of an update, real and generated, and the largest layer
    of each player; what is kept of images and of snapshots.
    """
    pixels = math.prod(image_shape)
    images = defaults.images_per_batch(config)
    here = images / parallel.device_count() / config.num_microbatches
    item = jnp.dtype(config.dtype).itemsize
    weights = players['generator'].parameters
    parts = {
        ('batch_size', 'packing'): here * (
            8 * pixels + item * sum(p.widest for p in players.values())
        ),
        ('generator.width', 'discriminator.width', 'latent_size'): 4 * (
            weights + 2 * sum(p.parameters for p in players.values())
        ),
        ('history.size',): 4 * pixels * config.history.size,
        ('snapshots.count',): 4 * weights * config.snapshots.count,
    }
    total, most = sum(parts.values()), max(parts, key=parts.get)
    if total > memory:
        values = defaults.flatten(config)
        told = ', '.join(f'{key}={values[key]}' for key in most)
        raise errors.ConfigError(
            f'{told} with images of {_size(image_shape)}: training takes at '
            f'least {total / 2**30:,.1f} GiB, and a device has '
            f'{memory / 2**30:,.1f}'
        )


class _Traced(NamedTuple):
    """What tracing a network tells without running it.

    Attributes:
        output: its form.
        parameters: their number.
        widest: numbers of a sample in its largest layer.
    """

    output: Any
    parameters: int
    widest: int


def _trace(config, module, player, shape, failure, classes=0):
    """Trace a network on inputs of a shape; returns `_Traced`."""
    given = {'labels': jnp.zeros(shape[0], jnp.int32)} if classes else {}
    try:
        program, (output, variables) = jax.make_jaxpr(
            lambda key: module.init_with_output(
                key, jnp.zeros(shape), train=False, **given
            ), return_shape=True,
        )(jax.random.key(0))
    except (OverflowError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise _misfit(config, player, f'{failure}: {reason}') from error
    leaves = jax.tree.leaves(variables.get('params', {}))
    return _Traced(
        output, sum(math.prod(leaf.shape) for leaf in leaves),
        _widest(program.jaxpr) // shape[0],
    )


def _widest(program):
    """Count the numbers in the largest result of a product or convolution."""
    found = [0]
    for equation in program.eqns:
        if equation.primitive.name in ('conv_general_dilated', 'dot_general'):
            found += [math.prod(v.aval.shape) for v in equation.outvars]
        for part in equation.params.values():
            part = getattr(part, 'jaxpr', part)
            if hasattr(part, 'eqns'):
                found.append(_widest(part))
    return max(found)


def _misfit(config, player, reason):
    """Make the error of a network that does not meet the other or the data."""
    line = f'{player}.name={config[player].name!r} {reason}'
    if config.allow_bad_setup:
        line += '; allow_bad_setup=True is for setups that can run'
    return errors.ConfigError(line)


def _size(shape):
    """Show (28, 28, 1) as 28x28x1, and (2,), of points, as [2]."""
    return 'x'.join(map(str, shape)) if len(shape) > 1 else str(list(shape))
