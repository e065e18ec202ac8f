"""Inception-v3 of FID and IS: images to 2048 features and 1008 logits.

The network of the TensorFlow graph of 2015-12-05, after the port of
pytorch-fid. `python -m gan_jax convert_inception` converts the weights once
from that port's file. The published weights were not available to the tests,
which compare random weights of the same names and shapes with PyTorch; see
README.md in this folder.

Like the graph, it differs from Szegedy et al., Rethinking the Inception
Architecture for Computer Vision, https://arxiv.org/abs/1512.00567, 2015: 1008
classes, no auxiliary classifier, and max pooling in the last block. Mean
pooling at the border excludes the padding.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.features import check_inputs
from gan_jax.features import weights

SIDE = 299
SMALLEST = 75  # side that leaves one pixel in the last block
NUM_FEATURES = 2048
NUM_CLASSES = 1008
SOURCE = 'pt_inception-2015-12-05-6726825d.pth'
URL = (
    'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
    f'{SOURCE}'
)
SHA256 = '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2'


class Output(NamedTuple):
    """Output of the network.

    Attributes:
        features: [B, 2048] float32, the means over the last feature map, pool_3
            in TensorFlow; FID and KID use them.
        logits: [B, 1008] float32; IS uses them.
    """

    features: jax.Array
    logits: jax.Array


class Conv(nn.Module):
    """Convolution without bias, BatchNorm with stored statistics, ReLU.

    Attributes:
        features: channels of the output.
        size: side of the kernel, or (height, width).
        strides: of the convolution, in pixels.
        padding: 'SAME' or 'VALID'.
    """

    features: int
    size: Any = 1
    strides: int = 1
    padding: str = 'SAME'

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H', W', features]."""
        size = self.size if isinstance(self.size, tuple) else (self.size,) * 2
        x = nn.Conv(
            self.features,
            size,
            self.strides,
            self.padding,
            use_bias=False,
            # Full float32 on accelerators too, for the same features as on a
            # CPU.
            precision=lax.Precision.HIGHEST,
            name='conv',
        )(x)
        return nn.relu(nn.BatchNorm(
            use_running_average=True, epsilon=1e-3, name='bn'
        )(x))


_halving = functools.partial(Conv, strides=2, padding='VALID')


def _chain(x, name, *layers):
    """Apply convolutions name_1, name_2, … of (features, size)."""
    for number, (features, size) in enumerate(layers, 1):
        x = Conv(features, size, name=f'{name}_{number}')(x)
    return x


def _mean_pool(x):
    """Average 3 x 3 pixels, or fewer at the border."""
    return nn.avg_pool(x, (3, 3), padding='SAME', count_include_pad=False)


def _max_pool(x):
    return nn.max_pool(x, (3, 3), padding='SAME')


def _halving_pool(x):
    return nn.max_pool(x, (3, 3), (2, 2))


class BlockA(nn.Module):
    """Four branches: kernels of 1, 5 and twice 3, and mean pooling.

    Attributes:
        pool_features: channels of the pooling branch.
    """

    pool_features: int

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H, W, 224 + pool_features]."""
        return jnp.concatenate([
            Conv(64, name='branch1x1')(x),
            _chain(x, 'branch5x5', (48, 1), (64, 5)),
            _chain(x, 'branch3x3dbl', (64, 1), (96, 3), (96, 3)),
            Conv(self.pool_features, name='branch_pool')(_mean_pool(x)),
        ], -1)


class BlockB(nn.Module):
    """Reduction between the blocks A and C: halves the sides."""

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H', W', 480 + C]."""
        double = _chain(x, 'branch3x3dbl', (64, 1), (96, 3))
        return jnp.concatenate([
            _halving(384, 3, name='branch3x3')(x),
            _halving(96, 3, name='branch3x3dbl_3')(double),
            _halving_pool(x),
        ], -1)


class BlockC(nn.Module):
    """Four branches: kernels of 1, factorised 7 once and twice, mean pooling.

    Attributes:
        width: channels inside the branches with kernels of 7.
    """

    width: int

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H, W, 768]."""
        row, column, width = (1, 7), (7, 1), self.width
        return jnp.concatenate([
            Conv(192, name='branch1x1')(x),
            _chain(x, 'branch7x7', (width, 1), (width, row), (192, column)),
            _chain(
                x, 'branch7x7dbl', (width, 1), (width, column), (width, row),
                (width, column), (192, row),
            ),
            Conv(192, name='branch_pool')(_mean_pool(x)),
        ], -1)


class BlockD(nn.Module):
    """Reduction between the blocks C and E: halves the sides."""

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H', W', 512 + C]."""
        single = _chain(x, 'branch3x3', (192, 1))
        cross = _chain(
            x, 'branch7x7x3', (192, 1), (192, (1, 7)), (192, (7, 1))
        )
        return jnp.concatenate([
            _halving(320, 3, name='branch3x3_2')(single),
            _halving(192, 3, name='branch7x7x3_4')(cross),
            _halving_pool(x),
        ], -1)


class BlockE(nn.Module):
    """Four branches, two of which end in parallel 1 x 3 and 3 x 1 kernels.

    Attributes:
        pool: function of [B, H, W, C] to the same shape.
    """

    pool: Any

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H, W, 2048]."""
        single = _chain(x, 'branch3x3', (384, 1))
        double = _chain(x, 'branch3x3dbl', (448, 1), (384, 3))
        return jnp.concatenate([
            Conv(320, name='branch1x1')(x),
            Conv(384, (1, 3), name='branch3x3_2a')(single),
            Conv(384, (3, 1), name='branch3x3_2b')(single),
            Conv(384, (1, 3), name='branch3x3dbl_3a')(double),
            Conv(384, (3, 1), name='branch3x3dbl_3b')(double),
            Conv(192, name='branch_pool')(self.pool(x)),
        ], -1)


class Inception(nn.Module):
    """Inception-v3 of FID; modules have the names of pytorch-fid's port.

    Attributes:
        logits_bias: whether the bias of the last layer is added. IS does not
            use it: its authors' code multiplies by the weights alone (Salimans
            et al., Improved Techniques for Training GANs,
            https://arxiv.org/abs/1606.03498, 2016), as do StyleGAN3
            (no_output_bias) and torch-fidelity (logits_unbiased).
    """

    logits_bias: bool = False

    @nn.compact
    def __call__(self, images):
        """Map images to an `Output`.

        Args:
            images: [B, H, W, 3] float32 in [-1, 1]; 299 x 299 for FID, at least
                75 x 75.
        """
        x = _halving(32, 3, name='Conv2d_1a_3x3')(images)
        x = Conv(32, 3, padding='VALID', name='Conv2d_2a_3x3')(x)
        x = Conv(64, 3, name='Conv2d_2b_3x3')(x)
        x = Conv(80, name='Conv2d_3b_1x1')(_halving_pool(x))
        x = Conv(192, 3, padding='VALID', name='Conv2d_4a_3x3')(x)
        x = BlockA(32, name='Mixed_5b')(_halving_pool(x))
        x = BlockA(64, name='Mixed_5c')(x)
        x = BlockA(64, name='Mixed_5d')(x)
        x = BlockB(name='Mixed_6a')(x)
        x = BlockC(128, name='Mixed_6b')(x)
        x = BlockC(160, name='Mixed_6c')(x)
        x = BlockC(160, name='Mixed_6d')(x)
        x = BlockC(192, name='Mixed_6e')(x)
        x = BlockD(name='Mixed_7a')(x)
        x = BlockE(_mean_pool, name='Mixed_7b')(x)
        x = BlockE(_max_pool, name='Mixed_7c')(x)
        features = x.mean((1, 2))
        return Output(features, Classes(self.logits_bias, name='fc')(features))


class Classes(nn.Module):
    """The last layer; its bias is always stored, and added on request.

    Attributes:
        use_bias: whether the bias is added.
    """

    use_bias: bool

    @nn.compact
    def __call__(self, features):
        """Map [B, 2048] to logits [B, 1008]."""
        kernel = self.param(
            'kernel', nn.initializers.lecun_normal(),
            (NUM_FEATURES, NUM_CLASSES),
        )
        bias = self.param('bias', nn.initializers.zeros, (NUM_CLASSES,))
        logits = jnp.matmul(features, kernel, precision='highest')
        return logits + bias if self.use_bias else logits


def expected():
    """Return the tree of shapes of the variables."""
    images = jax.ShapeDtypeStruct((1, SMALLEST, SMALLEST, 3), jnp.float32)
    return jax.eval_shape(Inception().init, jax.random.key(0), images)


def prepare(images):
    """Resize and scale images to the input of the network.

    As in pytorch-fid, both sides are resized to 299, whatever the aspect ratio,
    by bilinear interpolation with half-pixel centres and without antialiasing
    (`F.interpolate(mode='bilinear', align_corners=False)`). uint8 becomes
    x / 127.5 - 1.

    Other implementations differ, and so do their values. The TensorFlow graph,
    torch-fidelity and StyleGAN's metrics interpolate like TensorFlow 1, with
    pixel centres at integers, and use (x - 128) / 128. clean-fid uses the
    latter too, after a bicubic interpolation with antialiasing (Parmar et al.,
    On Aliased Resizing and Surprising Subtleties in GAN Evaluation,
    https://arxiv.org/abs/2104.11222, 2021).

    Args:
        images: [B, H, W, C] uint8, or float in [-1, 1]; C is 1 or 3.

    Returns:
        [B, 299, 299, 3] float32 in [-1, 1].
    """
    check_inputs.check_channels('Inception-v3', images.shape)
    pixels = images.astype(jnp.float32)
    if images.dtype == jnp.uint8:
        pixels = pixels / 127.5 - 1
    shape = (len(images), SIDE, SIDE, images.shape[-1])
    # `resize` computes in full float32 by default.
    pixels = jax.image.resize(pixels, shape, 'bilinear', antialias=False)
    return jnp.broadcast_to(pixels, (*shape[:-1], 3))


def check_values(images):
    """Check that images are uint8, or floats in [-1, 1].

    Raises:
        errors.DataError: if not.
    """
    if images.dtype == np.uint8:
        return
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise errors.DataError(
            f'Inception-v3 takes uint8 or floats, not {images.dtype}'
        )
    low, high = float(images.min()), float(images.max())
    if not -1 <= low <= high <= 1:  # NaN fails this too
        raise errors.DataError(
            f'Inception-v3 takes floats in [-1, 1], not from {low:.3g} to '
            f'{high:.3g}; clip them or convert them to uint8'
        )


# Compiled apart, so that a new image size does not compile the network again.
_prepare = jax.jit(prepare)
_apply = jax.jit(Inception().apply)


class Extractor(NamedTuple):
    """A map from images to `Output`, with loaded weights.

    Attributes:
        variables: of `Inception`.
        fingerprint: first 12 hex digits of the SHA-256 of the file of weights,
            to be reported with every metric.
        about: origin of the weights: 'source' and its 'sha256'.
    """

    variables: Any
    fingerprint: str
    about: dict

    def __call__(self, images):
        """Compute features and logits.

        Floats are not rounded to 8 bits. Images on disk are, so round images
        that are compared with them. Every new batch size compiles the network
        again, which takes longer than many batches: pad the last one.

        Args:
            images: [B, H, W, C] uint8, or float in [-1, 1]; a single channel is
                repeated.

        Returns:
            `Output`.

        Raises:
            errors.DataError: for an alpha channel, or other shapes, types or
                values.
        """
        check_inputs.check_channels('Inception-v3', images.shape)
        check_values(images)
        return _apply(self.variables, _prepare(jnp.asarray(images)))


def load(path=''):
    """Load the converted weights.

    Args:
        path: file that `convert_inception` wrote; '' for its default path in
            the user's cache folder.

    Returns:
        `Extractor`.

    Raises:
        errors.CheckpointError: if the file is missing or cannot be read.
        errors.DamagedError: if it does not hold this network.
    """
    file = weights.default_path('inception') if not path else path
    try:
        loaded = weights.read(file, expected())
    except errors.DamagedError:
        raise
    except errors.CheckpointError as error:
        out = f' --out={path}' if path else ''
        raise errors.CheckpointError(
            f'{error}; download {URL} and convert it: '
            f'python -m gan_jax convert_inception --weights={SOURCE}{out}'
        ) from error
    return Extractor(
        jax.device_put(loaded.variables), loaded.fingerprint, loaded.about
    )
