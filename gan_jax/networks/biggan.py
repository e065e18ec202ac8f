"""BigGAN: residual networks whose norms depend on the class and on z.

Brock et al., Large Scale GAN Training for High Fidelity Natural Image
Synthesis, https://arxiv.org/abs/1809.11096, 2018, appendix B. Sizes that the
paper leaves open are those of the authors' code for PyTorch,
https://github.com/ajbrock/BigGAN-PyTorch, 2019.
"""

from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import attention
from gan_jax.networks import conditioning
from gan_jax.networks import dcgan
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import resampling

# Channels in units of the width, by the number of halvings to 4 to 7 pixels: of
# G before the first block and after each block, of D after each block.
GENERATOR = {
    4: (16, 16, 8, 4, 2),  # 64 x 64
    5: (16, 16, 8, 4, 2, 1),  # 128 x 128
    6: (16, 16, 8, 8, 4, 2, 1),  # 256 x 256
}
DISCRIMINATOR = {
    4: (1, 2, 4, 8, 16),
    5: (1, 2, 4, 8, 16, 16),
    6: (1, 2, 4, 8, 8, 16, 16),
}
SMALL = 4  # channels of G in units of the width, for fewer halvings


def _num_blocks(image_shape):
    """Count the halvings that reduce the shorter side to 4 to 7 pixels.

    Raises:
        ValueError: if the images do not fit, or are larger than the networks.
    """
    blocks = dcgan.num_blocks(image_shape)
    if blocks > max(GENERATOR):
        height, width, _ = image_shape
        raise ValueError(
            f'image size {height}x{width} is too large: the biggan networks '
            f'are for shorter sides below {2 ** (max(GENERATOR) + 3)}'
        )
    return blocks


def generator_channels(image_shape, width):
    """List the channels before the first block and after each block.

    Args:
        image_shape: (height, width, channels).
        width: unit of the channels.

    Returns:
        List of int; each block doubles the side.
    """
    blocks = _num_blocks(image_shape)
    units = GENERATOR.get(blocks, (SMALL,) * (blocks + 1))
    return [width * unit for unit in units]


def discriminator_channels(image_shape, width, small_factor):
    """List the channels after each block, and whether it halves the side.

    32 x 32: always the same, and the first two of four blocks halve the side;
    larger: all blocks but the last halve it.

    Args:
        image_shape: (height, width, channels).
        width: unit of the channels.
        small_factor: channels at 32 x 32, in units of the width.

    Returns:
        List of (int, bool).
    """
    blocks = _num_blocks(image_shape)
    if blocks not in DISCRIMINATOR:
        features = width * small_factor
        return [(features, True)] * min(blocks, 2) + [(features, False)] * 2
    units = DISCRIMINATOR[blocks]
    return [(width * unit, n < blocks) for n, unit in enumerate(units)]


def split_latents(z, count):
    """Split z into chunks of equal length.

    If they cannot be equal, the first ones are longer by 1.

    Args:
        z: [B, F].
        count: number of chunks.

    Returns:
        List of [B, f] arrays.

    Raises:
        ValueError: if z is shorter than `count`.
    """
    if z.shape[1] < count:
        raise ValueError(
            f'a latent of length {z.shape[1]} cannot be split into {count} '
            'chunks; use a longer one or hierarchical_latent=False'
        )
    return jnp.array_split(z, count, axis=1)


def _initializer(network):
    """Return the initialiser of kernels: orthogonal, or N(0, init_std^2).

    References:
        Saxe et al., Exact Solutions to the Nonlinear Dynamics of Learning in
        Deep Linear Neural Networks, https://arxiv.org/abs/1312.6120, 2013.
    """
    if network.init_std:
        return nn.initializers.normal(network.init_std)
    return nn.initializers.orthogonal()


class ModulatedNorm(nn.Module):
    """Norm with a scale and a bias that are linear functions of a vector.

    (1 + A c) norm(x) + B c, A and B without a bias of their own. With c = 0 it
    is the norm itself. BatchNorm's own scale and bias are left out.

    Attributes:
        kind: one of `layers.NORMS`.
        spectral_norm: whether A and B have spectral norm 1.
        kernel_init: initialiser of A and B.
        dtype: dtype of the result; the computation is in float32.

    References:
        Brock et al., Large Scale GAN Training for High Fidelity Natural Image
        Synthesis, https://arxiv.org/abs/1809.11096, 2018, section 3.
    """

    kind: str
    spectral_norm: bool
    kernel_init: Any
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, vector, *, train):
        """Normalize x: [B, H, W, C] with the vector: [B, F]."""
        wrap = layers.wrapper(self.spectral_norm, train=train)

        def linear(name):
            return wrap(nn.Dense(
                x.shape[-1], use_bias=False, kernel_init=self.kernel_init,
                name=name,
            ))(vector)[:, None, None]

        if self.kind == 'batch':
            normed = layers.batch_norm(
                train=train, use_scale=False, use_bias=False, dtype=jnp.float32
            )(x)
        else:
            normed = layers.Norm(self.kind)(x, train=train)
        y = normed * (1 + linear('scale')) + linear('bias')
        return y.astype(self.dtype)


def _conv(network, x, features, size=3, **options):
    """Apply `layers.conv` with this initialiser."""
    return layers.conv(
        network, x, features, size, kernel_init=_initializer(network), **options
    )


def _up_block(network, x, features, *, norm, train):
    """Apply a block that doubles the side: [B, H, W, C] to [B, 2H, 2W, F]."""
    y = _conv(
        network, nn.relu(norm(x)), features, train=train,
        convolve=resampling.after_nearest,
    )
    y = _conv(network, nn.relu(norm(y)), features, train=train)
    # A convolution of size 1 after `nearest` is equal, at 4 times the cost.
    return y + resampling.nearest(_conv(network, x, features, 1, train=train))


def _down_block(network, x, features, *, halves, first, norm, train):
    """Apply a block that halves the side, or keeps it: C to F channels.

    The first block applies neither norm nor ReLU to the image.
    """
    channels = x.shape[-1]
    y = _conv(
        network, x if first else nn.relu(norm(x)), features, train=train
    )
    y = nn.relu(y if first else norm(y))
    options = {'convolve': resampling.before_average_pool} if halves else {}
    y = _conv(network, y, features, train=train, **options)
    if halves:
        # Pooling commutes with a convolution of size 1, and is cheaper first.
        x = resampling.average_pool(x)
    if halves or channels != features:
        x = _conv(network, x, features, 1, train=train)
    return x + y


def _vectors(network, chunks, labels):
    """List the vectors on which the norms of each block depend.

    Args:
        network: a `Generator`.
        chunks: for each block, a list of the chunks of z that it gets.
        labels: [B] int32, or None.

    Returns:
        List of [B, F], or None for a block with plain norms.
    """
    shared = []
    if network.condition == 'batch_norm' and network.shared_embedding:
        shared = [nn.Embed(
            network.num_classes, network.shared_embedding,
            embedding_init=_initializer(network),
        )(labels)]
    return [
        jnp.concatenate(shared + own, 1) if shared + own else None
        for own in chunks
    ]


def _modulation(network, vector, labels, *, train):
    """Return the norm of a block, as a function of x that adds a layer."""
    if vector is None:
        return conditioning.norm(network, labels, train=train)
    return lambda x: ModulatedNorm(
        network.norm, network.spectral_norm, _initializer(network),
        network.dtype,
    )(x, vector, train=train)


class Generator(fields.Conditional, kw_only=True):
    """Generator of residual blocks whose norms depend on the class and on z.

    block(x) = conv1(up(x)) + conv3(relu(norm(conv3(up(relu(norm(x)))))))
    norm(x) = (1 + A c) BatchNorm(x) + B c

    z is split into one chunk more than there are blocks. A dense layer makes
    the first feature map from the first chunk. Each other chunk, after the
    class's embedding, is the c of both norms of a block. The embedding is the
    same in all blocks and has no spectral norm; A and B differ in each norm and
    have it. up repeats pixels. BatchNorm, ReLU, a convolution and tanh follow
    the blocks. Kernels and embedding start orthogonal.

    The class enters with the condition 'batch_norm'; without a condition, c is
    the chunk. `hierarchical_latent` and `shared_embedding` off, as in the
    authors' script for CIFAR-10, is a `conditioning.ConditionalBatchNorm`.

    Differs from the paper: BatchNorm has epsilon 1e-5 instead of 1e-4, and the
    statistics of one device; spectral norm has epsilon 1e-12 instead of 1e-4.
    Differs from the authors' code: spectral norm has 1e-12 instead of 1e-6, and
    does not iterate in evaluation; if z cannot be split evenly, its chunks
    differ by 1, while there its end is left out; attention has Glorot's
    initialisation.

    Attributes (others: see `gan_jax.networks`):
        width: unit of the channels, "ch" in the paper, where it is 96. The
            last block has 1, 2 and 4 times as many at 128 x 128, 64 x 64 and
            32 x 32.
        spectral_norm: whether every kernel has spectral norm 1, as in the
            paper.
        attention: shorter side of the feature map with self-attention, after a
            block; 0 for none. 64 for ImageNet in the paper.
        hierarchical_latent: whether z is split into chunks; if not, all of it
            makes the first feature map.
        shared_embedding: length of the class's embedding; 0 for a scale and a
            bias of each class in every norm.
        init_std: standard deviation of normal initial weights; 0 is orthogonal
            initialisation.
    """

    image_shape: Tuple[int, int, int]
    width: int = 64
    norm: str = 'batch'
    attention: int = 0
    hierarchical_latent: bool = True
    shared_embedding: int = 128
    init_std: float = 0.0
    output: str = 'auto'

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Generate images from z.

        Args: see `gan_jax.networks`; `keys` is unused.

        Returns:
            [B, H, W, C] float32, by default in [-1, 1].
        """
        del keys
        conditioning.check(
            self, inputs, labels, conditioning.GENERATOR_CONDITIONS
        )
        self._check_embedding()
        first, *rest = generator_channels(self.image_shape, self.width)
        height, width, channels = self.image_shape
        start = (height // 2 ** len(rest), width // 2 ** len(rest))
        side = min(height, width)
        attention.check(self, [side // 2**k for k in range(len(rest))])

        z, chunks = inputs, [[] for _ in rest]
        if self.hierarchical_latent:
            z, *others = split_latents(inputs, len(rest) + 1)
            chunks = [[chunk] for chunk in others]
        wrap = layers.wrapper(self.spectral_norm, train=train)
        x = wrap(nn.Dense(
            start[0] * start[1] * first,
            dtype=self.dtype,
            kernel_init=_initializer(self),
        ))(conditioning.concat(self, z, labels))
        x = x.reshape(-1, *start, first)
        for features, vector in zip(rest, _vectors(self, chunks, labels)):
            norm = _modulation(self, vector, labels, train=train)
            x = _up_block(self, x, features, norm=norm, train=train)
            x = attention.attend(self, x, train=train)
        x = layers.Norm(self.norm, dtype=self.dtype)(x, train=train)
        x = _conv(self, nn.relu(x), channels, train=train)
        return activations.finish(self, x.astype(jnp.float32))

    def _check_embedding(self):
        """Check that the class and the chunks of z can enter the norms."""
        if (self.condition == 'batch_norm' and self.hierarchical_latent
                and not self.shared_embedding):
            raise ValueError(
                'shared_embedding=0 of the Generator needs '
                'hierarchical_latent=False: its norms depend on the class alone'
            )


class Discriminator(fields.Conditional, kw_only=True):
    """Discriminator of residual blocks, a sum over pixels, and a dense layer.

    block(x) = down(conv1(x)) + down(conv3(relu(conv3(relu(x)))))

    down averages 2 x 2 pixels. The first convolution of a block already has the
    channels of its result. If a block changes neither the side nor the
    channels, its shortcut is x itself. The first block has no ReLU before its
    first convolution. ReLU, a sum over pixels and a dense layer follow; with
    the condition 'projection', <embedding(label), sums> is added.

    Differs from the paper: a norm, if any, precedes each ReLU within blocks
    except the first. Differs from the authors' code: the embedding starts from
    N(0, 1 / features) instead of orthogonal; at 32 x 32, attention follows one
    block instead of all four; and as in `Generator`.

    Attributes (others: see `gan_jax.networks`):
        width: unit of the channels, "ch" in the paper, where it is 96: the
            channels of the first block for images larger than 32 x 32.
        small_factor: channels of all blocks for images up to 32 x 32, in units
            of the width: 4 in the authors' code, 2 in compare_gan and in
            PyTorch-StudioGAN.
        spectral_norm: whether every kernel and the embedding have spectral norm
            1, as in the paper.
        attention: shorter side of the feature map with self-attention, after a
            block that halves it; 0 for none. 64 for ImageNet in the paper.
        init_std: as in `Generator`.
    """

    width: int = 64
    small_factor: int = 4
    attention: int = 0
    init_std: float = 0.0

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`; `keys` is unused.

        Returns:
            `layers.Output`, whose features are the sums over pixels.
        """
        del keys
        conditioning.check(
            self, inputs, labels, conditioning.DISCRIMINATOR_CONDITIONS
        )
        blocks = discriminator_channels(
            inputs.shape[1:], self.width, self.small_factor
        )
        halvings = sum(halves for _, halves in blocks)
        side = min(inputs.shape[1:3])
        attention.check(self, [side // 2 ** (k + 1) for k in range(halvings)])

        norm = conditioning.norm(self, labels, train=train)
        x = conditioning.concat_map(self, inputs, labels).astype(self.dtype)
        for block, (features, halves) in enumerate(blocks):
            x = _down_block(
                self, x, features,
                halves=halves, first=not block, norm=norm, train=train,
            )
            if halves:
                x = attention.attend(self, x, train=train)
        return conditioning.head(
            self, nn.relu(x).sum((1, 2)), labels, train=train,
            kernel_init=_initializer(self),
        )
