"""Useful FLOPs of a training step, counted from the layers.

XLA counts the FLOPs of an implementation, with its padding and what it computes
twice; this is the count of the layers themselves. A multiplication and an
addition are two FLOPs. Convolutions include the taps on the padding. Norms,
activations and optimizers, a few percent, are not counted. For each sample:

  D's update  forward pass of G; for real and fake the forward pass of D, the
              gradient of its weights and that of its inputs except the first
  G's update  forward pass of G and D, gradients of D's inputs, of G's weights
              and of G's inputs except the first

Each gradient of a layer costs as much as its forward pass. The two updates have
separate fakes, unless the config says otherwise (`reuse_fakes`).
"""

from typing import NamedTuple

from gan_jax.networks import dcgan
from gan_jax.networks import resnet


class Cost(NamedTuple):
    """FLOPs of one sample's forward.

    Attributes:
        total: of all layers.
        first: of those whose input is the network's.
    """

    total: int
    first: int


def _dense(inputs, outputs):
    return 2 * inputs * outputs


def _conv(kernel, inputs, outputs, height, width):
    """Count a convolution to height x width, or a transposed one from it."""
    return 2 * kernel**2 * inputs * outputs * height * width


def _mlp(sizes):
    layers = [_dense(*pair) for pair in zip(sizes, sizes[1:])]
    return Cost(sum(layers), layers[0])


def _pixels(shape):
    product = 1
    for side in shape:
        product *= side
    return product


def mlp(config, shape):
    """Return (cost of G, cost of D)."""
    g, d = config.generator, config.discriminator
    size = _pixels(shape)
    return (
        _mlp([config.latent_size, *[g.width] * g.depth, size]),
        _mlp([size, *[d.width] * d.depth, 1]),
    )


def dcgan_pair(config, shape):
    """Return (cost of G, cost of D)."""
    height, width, channels = shape
    blocks = dcgan.num_blocks(shape)
    g, d = config.generator, config.discriminator
    high, wide = height // 2**blocks, width // 2**blocks
    features = g.width * 2 ** (blocks - 1)
    first = _dense(config.latent_size, high * wide * features)
    total = first
    for block in range(blocks):
        after = channels if block == blocks - 1 else features // 2
        total += _conv(g.kernel_size, features, after, high, wide)
        high, wide, features = 2 * high, 2 * wide, after
    layers, inputs = [], channels
    for block in range(blocks):
        high, wide, features = high // 2, wide // 2, d.width * 2**block
        layers.append(_conv(d.kernel_size, inputs, features, high, wide))
        inputs = features
    layers.append(_dense(high * wide * inputs, 1))
    return Cost(total, first), Cost(sum(layers), layers[0])


def resnet_pair(config, shape):
    """Return (cost of G, cost of D)."""
    height, width, channels = shape
    features, *rest = resnet.generator_channels(
        shape, config.generator.width
    )
    high, wide = height // 2 ** len(rest), width // 2 ** len(rest)
    first = _dense(config.latent_size, high * wide * features)
    total = first
    for after in rest:
        total += _conv(1, features, after, high, wide)
        high, wide = 2 * high, 2 * wide
        total += _conv(3, features, after, high, wide)
        total += _conv(3, after, after, high, wide)
        features = after
    total += _conv(3, features, channels, high, wide)
    generator = Cost(total, first)

    total, inputs = 0, channels
    for block, (features, halves) in enumerate(
        resnet.discriminator_channels(shape, config.discriminator.width)
    ):
        hidden = inputs if block else features
        total += _conv(3, inputs, hidden, high, wide)
        if not block:
            first = total
        total += _conv(3, hidden, features, high, wide)
        if halves:
            high, wide = high // 2, wide // 2
        if halves or inputs != features:
            short = _conv(1, inputs, features, high, wide)
            total += short
            first += 0 if block else short
        inputs = features
    return generator, Cost(total + _dense(inputs, 1), first)


FAMILIES = {'dcgan': dcgan_pair, 'mlp': mlp, 'resnet': resnet_pair}


def step(config, shape):
    """Count the FLOPs of one step of a config's GAN.

    Args:
        config: ConfigDict; both players of one of `FAMILIES`.
        shape: of the data.

    Returns:
        int.

    Raises:
        KeyError: for a family that is not counted.
    """
    g, d = FAMILIES[config.generator.name](config, shape)
    d_update = g.total + 2 * (3 * d.total - d.first)
    for penalty in (config.penalties.r1, config.penalties.r2):
        if penalty.weight:
            # The gradient of images, and through it: of its two factors.
            d_update += d.first + 2 * d.total
    if config.penalties.gradient_penalty.weight:
        # The same at interpolated images, with an additional forward pass.
        d_update += 6 * d.total - d.first
    if config.reuse_fakes:
        d_update -= g.total  # a forward of G serves both
    g_update = 3 * g.total - g.first + 2 * d.total
    return config.batch_size * (config.d_steps * d_update + g_update)
