"""Generators that translate an image into an image: `ResNet` and `UNet`.

They are those of CycleGAN and of pix2pix:

Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks, https://arxiv.org/abs/1703.10593, 2017.

Isola et al., Image-to-Image Translation with Conditional Adversarial Networks,
https://arxiv.org/abs/1611.07004, 2016.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import convolutions
from gan_jax.networks import fields
from gan_jax.networks import layers

SLOPE = 0.2  # of LeakyReLU, where maps become smaller
WIDEST = 8  # largest number of channels, in units of the width
SMALLEST = 8  # smallest side of the images of `ResNet`
# Outer blocks of `UNet` without dropout, as in the authors' code.
WITHOUT_DROPOUT = 4

PAD_1 = {
    'padding': ((1, 1), (1, 1)),
    'conv_general_dilated': convolutions.conv_general_dilated,
}
HALVE = {**PAD_1, 'strides': (2, 2)}
REFLECT = {
    'padding': 'VALID', 'conv_general_dilated': convolutions.reflected,
}


def norm(network, x, *, train):
    """Normalize as CycleGAN and pix2pix do.

    'instance' is `layers.instance_norm`, without a scale or a bias. 'batch' is
    BatchNorm with initial scales from N(1, 0.02^2). Others are `layers.Norm`.

    Args:
        network: module with the fields norm and dtype.
        x: [B, H, W, C].
        train: whether 'batch' uses the statistics of the batch.

    Returns:
        Array of the shape of x.
    """
    if network.norm == 'instance':
        return layers.instance_norm(x)
    if network.norm == 'batch':
        return layers.batch_norm(
            train=train, dtype=network.dtype,
            scale_init=lambda *args: 1 + layers.dcgan_init(*args),
        )(x)
    return layers.Norm(network.norm, dtype=network.dtype)(x, train=train)


def conv(network, x, features, size, *, train, **options):
    """Apply a convolution with weights from N(0, 0.02^2).

    It has no bias if a batch norm is used. With an instance norm, which removes
    it, it has one, as in the authors' code.

    Args:
        network: module with the fields norm, spectral_norm and dtype.
        x: [B, H, W, C].
        features: channels of the result.
        size: side of the square kernel.
        train: whether the forward pass is one of training.
        **options: further fields of `flax.linen.Conv`.

    Returns:
        [B, h, w, features].
    """
    return _apply(network, nn.Conv, x, features, size, train, options)


def _double(network, x, features, size, *, train, **options):
    """Apply a transposed convolution that doubles the side, as `conv`."""
    return _apply(
        network, layers.ConvTranspose, x, features, size, train, options
    )


def _apply(network, layer, x, features, size, train, options):
    """Apply a layer with the fields that all of them share."""
    wrap = layers.wrapper(network.spectral_norm, train=train)
    options = {'use_bias': network.norm != 'batch', **options}
    return wrap(layer(
        features, (size, size), dtype=network.dtype,
        kernel_init=layers.dcgan_init, **options,
    ))(x)


def _finish(network, x):
    """Apply the activation of the last layer, in float32."""
    last = activations.last_layer(network.output, points=False)
    return last.activation(x.astype(jnp.float32))


def check_images(network, images):
    """Return the height and width of images [B, H, W, C].

    Raises:
        ValueError: if these are not images.
    """
    if images.ndim != 4:
        raise ValueError(
            f'the {type(network).__name__} needs images, not data of shape '
            f'{list(images.shape[1:])}'
        )
    return images.shape[1:3]


class ResNet(fields.Layers, kw_only=True):
    """Generator with residual blocks at a quarter of the side.

    A convolution of size 7, two of size 3 that halve the side and double the
    channels, residual blocks, two transposed convolutions of size 3 that double
    the side and halve the channels, a convolution of size 7, and tanh. Norm and
    ReLU follow every layer outside the blocks but the last.

    block(x) = x + norm(conv(dropout(relu(norm(conv(x))))))

    Convolutions of stride 1 pad by reflection, the others with zeros. With the
    instance norm, a scale > 0 and an offset of each channel of the image do not
    change the result, up to the norm's epsilon. Sides are multiples of 4 and at
    least 8, and may differ from those in training. Weights start from
    N(0, 0.02^2).

    Attributes (others: see `gan_jax.networks`):
        width: channels after the first layer; blocks have 4 times as many.
        num_blocks: residual blocks; the paper has 9 for sides from 256, and 6
            for 128.
        norm: 'instance' as in CycleGAN, see `norm`; pix2pix has 'batch'.
        dropout: probability that a unit within a block is dropped in training;
            the authors' is 0, or 0.5 in pix2pix.

    References:
        Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent
        Adversarial Networks, https://arxiv.org/abs/1703.10593, 2017, section 4
        and appendix; after Johnson et al., Perceptual Losses for Real-Time
        Style Transfer and Super-Resolution, https://arxiv.org/abs/1603.08155,
        2016.
    """

    channels: int
    width: int = 64
    num_blocks: int = 9
    norm: str = 'instance'
    dropout: float = 0.0
    output: str = 'auto'

    side_multiple, smallest_side = 4, SMALLEST  # of images

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Translate images.

        Args: see `gan_jax.networks`.

        Returns:
            [B, H, W, channels] float32, by default in [-1, 1].
        """
        sides = check_images(self, inputs)
        if any(
            side % self.side_multiple or side < SMALLEST for side in sides
        ):
            raise ValueError(
                f'image size {sides[0]}x{sides[1]} does not fit the ResNet: '
                f'both sides must be multiples of 4 and at least {SMALLEST}'
            )

        def hidden(x, factor, size, layer=conv, **options):
            x = layer(
                self, x, factor * self.width, size, train=train, **options
            )
            return norm(self, x, train=train)

        x = nn.relu(hidden(inputs, 1, 7, **REFLECT))
        x = nn.relu(hidden(x, 2, 3, **HALVE))
        x = nn.relu(hidden(x, 4, 3, **HALVE))
        for block in range(self.num_blocks):
            y = nn.relu(hidden(x, 4, 3, **REFLECT))
            y = activations.dropout(y, self.dropout, keys, block, train=train)
            x = x + hidden(y, 4, 3, **REFLECT)
        centred = {'conv_transpose': convolutions.centred_transpose}
        x = nn.relu(hidden(x, 2, 3, _double, **centred))
        x = nn.relu(hidden(x, 1, 3, _double, **centred))
        return _finish(self, conv(
            self, x, self.channels, 7, train=train, use_bias=True, **REFLECT
        ))


def num_halvings(sides):
    """Count how often both sides can be halved: 256 -> 8, 96 x 64 -> 5."""
    return min((side & -side).bit_length() - 1 for side in sides)


class UNet(fields.Layers, kw_only=True):
    """Generator that concatenates maps of equal size from its two halves.

    Convolutions of size 4 halve the side, to 1 if it is a power of 2. As many
    transposed convolutions of size 4 double it again. Before each of these but
    the first, the map of the same size is concatenated. LeakyReLU(0.2) precedes
    each convolution but the first, ReLU each transposed one, and tanh is last.
    Channels are 1, 2, 4, 8, 8, ... times the width. Weights start from
    N(0, 0.02^2).

    A norm follows every layer but the first, the last, and the convolution to
    the smallest map. If that has one pixel, an instance norm would set it to 0,
    as would a batch norm of one sample.

    Dropout follows the transposed convolutions but the innermost and the four
    outermost: three of 8, none of 5. It is the only noise, as there is no z.
    pix2pix keeps dropout, and the batch's own statistics, in its samples: they
    need train=True and `keys`.

    As in the authors' PyTorch code. Differs from the paper, whose dropout
    includes the innermost layer.

    Attributes (others: see `gan_jax.networks`):
        width: channels after the first layer.
        num_downs: number of layers that halve the side; 0 for as many as the
            sides allow, which gives the paper's 8 at 256.
        norm: 'batch' as in pix2pix, see `norm`.
        dropout: probability that a unit is dropped in training.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial
        Networks, https://arxiv.org/abs/1611.07004, 2016, section 3.2 and
        appendix; after Ronneberger et al., U-Net: Convolutional Networks for
        Biomedical Image Segmentation, https://arxiv.org/abs/1505.04597, 2015.
    """

    channels: int
    width: int = 64
    num_downs: int = 0
    norm: str = 'batch'
    dropout: float = 0.5
    output: str = 'auto'

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Translate images.

        Args: see `gan_jax.networks`.

        Returns:
            [B, H, W, channels] float32, by default in [-1, 1].
        """
        depth = self._depth(check_images(self, inputs))
        widths = [self.width * min(2**k, WIDEST) for k in range(depth)]
        maps = []
        x = inputs
        for level, features in enumerate(widths):
            if level:
                x = nn.leaky_relu(x, SLOPE)
            x = conv(self, x, features, 4, train=train, **HALVE)
            if 0 < level < depth - 1:
                x = norm(self, x, train=train)
            maps.append(x)
        maps.pop()  # x itself
        for level in range(depth - 1, 0, -1):
            x = _double(self, nn.relu(x), widths[level - 1], 4, train=train)
            x = norm(self, x, train=train)
            if WITHOUT_DROPOUT <= level < depth - 1:
                x = activations.dropout(
                    x, self.dropout, keys, level, train=train
                )
            x = jnp.concatenate([maps.pop(), x], -1)
        return _finish(self, _double(
            self, nn.relu(x), self.channels, 4, train=train, use_bias=True
        ))

    @property
    def side_multiple(self):
        """Return the number that sides are multiples of, if num_downs is set.
        """
        return 2 ** self.num_downs

    smallest_side = side_multiple

    def _depth(self, sides):
        """Return the number of halvings, at least 2."""
        depth = self.num_downs or num_halvings(sides)
        if depth < 2 or num_halvings(sides) < depth:
            raise ValueError(
                f'image size {sides[0]}x{sides[1]} does not fit the UNet: both '
                f'sides must be multiples of {2 ** max(depth, 2)}, and '
                f'num_downs={self.num_downs} 0 or at least 2'
            )
        return depth
