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
separate fakes, unless the config says otherwise (`reuse_fakes`). A relativistic
loss of G needs D's output for real images too.
"""

from typing import NamedTuple

from gan_jax.networks import biggan
from gan_jax.networks import dcgan
from gan_jax.networks import r3gan
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


def _growing(widths, high, wide, channels, attention=0):
    """Count the residual blocks of G that double the side, and its end."""
    total = 0
    for features, after in zip(widths, widths[1:]):
        total += _conv(1, features, after, high, wide)
        high, wide = 2 * high, 2 * wide
        total += _conv(3, features, after, high, wide)
        total += _conv(3, after, after, high, wide)
        if min(high, wide) == attention:
            total += _attention(after, high * wide)
    return total + _conv(3, widths[-1], channels, high, wide)


def resnet_pair(config, shape):
    """Return (cost of G, cost of D)."""
    height, width, channels = shape
    features, *rest = resnet.generator_channels(
        shape, config.generator.width
    )
    high, wide = height // 2 ** len(rest), width // 2 ** len(rest)
    first = _dense(config.latent_size, high * wide * features)
    total = first + _growing((features, *rest), high, wide, channels)
    generator = Cost(total, first)

    total, inputs, high, wide = 0, channels, height, width
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


def _r3gan_stages(options, shape):
    """Return (FLOPs of all stages, channels of the smallest, of the largest).
    """
    total, before = 0, None
    widths = r3gan.stage_widths(shape, options.width, options.full_side)
    for rank, channels in enumerate(widths):
        halvings = len(widths) - 1 - rank
        sides = shape[0] >> halvings, shape[1] >> halvings
        if before not in (None, channels):  # at half the sides
            total += _conv(1, before, channels, *sides) // 4
        wide = 2 * channels
        group = wide // max(wide // options.group_size, 1)
        total += options.num_blocks * (
            2 * _conv(1, channels, wide, *sides)
            + _conv(3, group, wide, *sides)
        )
        before = channels
    return total, widths[0], widths[-1]


def r3gan_pair(config, shape):
    """Return (cost of G, cost of D), without the filters."""
    height, width, channels = shape
    stages, low, high = _r3gan_stages(config.generator, shape)
    first = _dense(config.latent_size, low)
    last = _conv(1, high, channels, height, width)
    generator = Cost(first + stages + last, first)
    stages, low, high = _r3gan_stages(config.discriminator, shape)
    first = _conv(1, channels, high, height, width)
    return generator, Cost(first + stages + _dense(low, 1), first)


def _attention(channels, pixels):
    """Count `attention.SelfAttention`, whose keys are a quarter of pixels."""
    narrow, half = channels // 8, channels // 2
    return pixels * (
        2 * _dense(channels, narrow) + 2 * _dense(channels, half)
        + 2 * (pixels // 4) * (narrow + half)
    )


def biggan_pair(config, shape):
    """Return (cost of G, cost of D), without the scales and biases of norms."""
    g, d = config.generator, config.discriminator
    features, *rest = biggan.generator_channels(shape, g.width)
    high, wide = shape[0] >> len(rest), shape[1] >> len(rest)
    chunk = -(-config.latent_size // (len(rest) + 1))
    first = _dense(chunk, high * wide * features)
    total = first + _growing(
        (features, *rest), high, wide, shape[2], g.attention
    )
    generator = Cost(total, first)

    total, first, (high, wide, inputs) = 0, 0, shape
    for block, (features, halves) in enumerate(
        biggan.discriminator_channels(shape, d.width, d.small_factor)
    ):
        layers = [_conv(3, inputs, features, high, wide)]
        total += layers[0] + _conv(3, features, features, high, wide)
        if halves:
            high, wide = high // 2, wide // 2
        if halves or inputs != features:
            layers.append(_conv(1, inputs, features, high, wide))
            total += layers[1]
        first += 0 if block else sum(layers)
        if halves and min(high, wide) == d.attention:
            total += _attention(features, high * wide)
        inputs = features
    return generator, Cost(total + _dense(inputs, 1), first)


FAMILIES = {
    'biggan': biggan_pair, 'dcgan': dcgan_pair, 'mlp': mlp,
    'r3gan': r3gan_pair, 'resnet': resnet_pair,
}


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
    if config.loss.name.startswith('relativistic'):
        g_update += d.total  # of real images
    return config.batch_size * (config.d_steps * d_update + g_update)
