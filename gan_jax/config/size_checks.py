"""Checks that networks fit each other, the data and the memory of a device.

Networks are traced on abstract inputs, so nothing is computed and no memory is
used.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.runtime import parallel


def check_sizes(config, gan, image_shape):
    """Check that G makes images of the data's shape and D returns logits.

    Args:
        config: ConfigDict.
        gan: `adversarial.Adversarial`.
        image_shape: (height, width, channels), or (dimension,) for points.

    Returns:
        {player: `_Traced`}.

    Raises:
        errors.ConfigError: where a network does not fit.
    """
    count = 2 * gan.packing  # G's samples for two outputs of D
    generator = check_samples(
        config, gan.generator, gan.latent_size, image_shape, count,
        gan.num_classes,
    )
    *sides, channels = image_shape
    input_shape = (*sides, channels * gan.packing)
    discriminator = _trace(
        config, gan.discriminator, 'discriminator', (2, *input_shape),
        f'cannot read {_size(input_shape)}', gan.num_classes,
    )
    logits = discriminator.output.logits
    if logits.shape[:1] != (2,) or logits.shape == (2, 1):
        raise _misfit(
            config, 'discriminator',
            f'returns logits of shape {list(logits.shape)} for 2 inputs of '
            f'{_size(input_shape)}; expected one for each, [2], or a map for '
            'each',
        )
    return {'generator': generator, 'discriminator': discriminator}


def check_domains(config, shapes):
    """Check that two domains have images of the same size.

    Args:
        config: ConfigDict.
        shapes: (height, width, channels) of both.

    Raises:
        errors.ConfigError: where the sizes differ, or an identity error would
            compare images of other channels.
    """
    (*first, a), (*second, b) = shapes
    if first != second:
        raise errors.ConfigError(
            f'images of data.a have {first[0]}x{first[1]} pixels and those of '
            f'data.b {second[0]}x{second[1]}; set data.image_size or '
            'data.random_crop'
        )
    if a != b and config.algorithm == 'cyclegan' and (
            config.translation.identity):
        raise errors.ConfigError(
            f'translation.identity={config.translation.identity} compares '
            f'images of {a} and {b} channels; use 0, or set data.channels'
        )


def check_translation(config, built):
    """Check that the networks of a translation take its images.

    Args:
        config: ConfigDict.
        built: `translation.Translation`.

    Returns:
        {player: `_Traced`}, of the first direction.

    Raises:
        errors.ConfigError: where they do not.
    """
    source, target = built.shapes
    condition = {}
    if built.paired:
        condition['condition'] = jnp.zeros((2, *source))
    return {
        'generator': _trace(
            config, built.generators[0], 'generator', (2, *source),
            f'cannot read {_size(source)}',
        ),
        'discriminator': _trace(
            config, built.discriminators[0], 'discriminator', (2, *target),
            f'cannot read {_size(target)}', **condition,
        ),
    }


def check_encoder(config, module, image_shape):
    """Check that an encoder takes the images of the data.

    Args:
        config: ConfigDict.
        module: of the encoder, of the generator's family.
        image_shape: of one sample of the data.

    Returns:
        `_Traced`.

    Raises:
        errors.ConfigError: where it does not.
    """
    return _trace(
        config, module, 'generator', (2, *image_shape),
        f'cannot encode {_size(image_shape)}',
    )


def check_autoencoder(config, built, image_shape):
    """Check that a decoder takes codes, and a discriminator what it judges.

    Args:
        config: ConfigDict.
        built: `adversarial_autoencoder.AdversarialAutoencoder`.
        image_shape: of one sample of the data.

    Returns:
        {player: `_Traced`}.

    Raises:
        errors.ConfigError: where they do not.
    """
    decoder = _trace(
        config, built.generator, 'generator', (2, *built.code_shape),
        f'cannot make {_size(image_shape)}',
    )
    if decoder.output.shape[1:] != tuple(image_shape):
        raise _misfit(
            config, 'generator',
            f'makes {_size(decoder.output.shape[1:])} and the data are '
            f'{_size(image_shape)}; both must have the same size',
        )
    judged = image_shape
    if built.parts.judges == 'codes':
        judged = (built.code_size,)
    return {'generator': decoder, 'discriminator': _trace(
        config, built.discriminator, 'discriminator', (2, *judged),
        f'cannot read {_size(judged)}',
    )}


def check_samples(config, module, latent_size, image_shape, count, classes=0):
    """Check that a generator makes one sample of the data's shape per latent.

    Args:
        config: ConfigDict.
        module: of the generator.
        latent_size: length of z.
        image_shape: of one sample of the data.
        count: of latents to trace.
        classes: number of classes; 0 for a generator without labels.

    Returns:
        `_Traced`.

    Raises:
        errors.ConfigError: where the samples have another shape.
    """
    traced = _trace(
        config, module, 'generator', (count, latent_size),
        f'cannot make {_size(image_shape)}', classes,
    )
    samples = traced.output
    if samples.shape[1:] != tuple(image_shape):
        raise _misfit(
            config, 'generator',
            f'makes {_size(samples.shape[1:])} and the data are '
            f'{_size(image_shape)}; both must have the same size',
        )
    if len(samples) != count:
        raise _misfit(
            config, 'generator',
            f'makes {len(samples)} samples from {count} latents; expected one '
            'from each',
        )
    return traced


def check_memory(config, image_shape, players, memory):
    """Check that training could fit into the memory of a device.

    The estimate is a lower bound. It counts parameters, gradients and the
    moving average; the real and generated images of an update; the largest
    layer of each network; and the replayed images and snapshots that are kept.

    Args:
        config: ConfigDict.
        image_shape: of one sample of the data.
        players: {player: `_Traced`}.
        memory: of a device, in bytes.

    Raises:
        errors.ConfigError: where it needs more.
    """
    pixels = math.prod(image_shape)
    images = defaults.images_per_batch(config)
    local_images = images / parallel.device_count() / config.num_microbatches
    item = jnp.dtype(config.dtype).itemsize
    weights = players['generator'].parameters
    parts = {
        ('batch_size', 'packing'): local_images * (
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
        causes = ', '.join(f'{key}={values[key]}' for key in most)
        raise errors.ConfigError(
            f'{causes} with images of {_size(image_shape)}: training needs at '
            f'least {total / 2**30:,.1f} GiB, and a device has '
            f'{memory / 2**30:,.1f}'
        )


class _Traced(NamedTuple):
    """Properties of a network, found by tracing it without running it.

    Attributes:
        output: `jax.ShapeDtypeStruct`s of its output.
        parameters: number of its parameters.
        widest: size of its largest layer's output for one sample.
    """

    output: Any
    parameters: int
    widest: int


def _trace(config, module, player, shape, failure, classes=0, **inputs):
    """Trace a network on inputs of a shape; returns `_Traced`."""
    if classes:
        inputs['labels'] = jnp.zeros(shape[0], jnp.int32)
    try:
        program, (output, variables) = jax.make_jaxpr(
            lambda key: module.init_with_output(
                key, jnp.zeros(shape), train=False, **inputs
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
    """Return the size of the largest output of a product or convolution."""
    sizes = [0]
    for equation in program.eqns:
        if equation.primitive.name in ('conv_general_dilated', 'dot_general'):
            sizes += [math.prod(v.aval.shape) for v in equation.outvars]
        for part in equation.params.values():
            part = getattr(part, 'jaxpr', part)
            if hasattr(part, 'eqns'):
                sizes.append(_widest(part))
    return max(sizes)


def _misfit(config, player, reason):
    """Return the error for a network that does not fit."""
    line = f'{player}.name={config[player].name!r} {reason}'
    if config.allow_bad_setup:
        line += '; allow_bad_setup=True is for setups that can run'
    return errors.ConfigError(line)


def _size(shape):
    """Format (28, 28, 1) as 28x28x1, and (2,), of points, as [2]."""
    return 'x'.join(map(str, shape)) if len(shape) > 1 else str(list(shape))
