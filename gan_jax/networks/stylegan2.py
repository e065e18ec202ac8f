"""StyleGAN2: a mapping from z to styles, and convolutions that they modulate.

Karras et al., Analyzing and Improving the Image Quality of StyleGAN,
https://arxiv.org/abs/1912.04958, 2019; sizes and the mapping of classes are
those of Karras et al., Training Generative Adversarial Networks with Limited
Data, https://arxiv.org/abs/2006.06676, 2020, and its code.
"""

import math
from typing import Any, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import dcgan
from gan_jax.networks import equalised
from gan_jax.networks import fir
from gan_jax.networks import layers
from gan_jax.networks import minibatch
from gan_jax.networks import r3gan

MAPPING_RATE = 0.01  # factor of the learning rate of the mapping
MEAN_DECAY = 0.995  # of the running mean of w
LOW_PRECISION = 4  # largest number of resolutions in bfloat16
MIXING_KEY, NOISE_KEY = 0, 1  # folded into the key of a sample
STYLES, NOISE = 'styles', 'noise'  # collections: mean of w, fixed noise maps


class Mapping(nn.Module):
    """Dense layers from z and the class to w, of one length.

    z is divided by its root mean square, so that its length does not matter.
    A linear function of the class is scaled in the same way, and appended to
    z. Each layer is followed by LeakyReLU.

    Attributes:
        num_layers: number of dense layers.
        num_classes: number of classes; 0 if w does not depend on the class.
        features: length of w; 0 is that of z.
    """

    num_layers: int
    num_classes: int = 0
    features: int = 0

    @nn.compact
    def __call__(self, z, labels=None):
        """Return w: [B, features] of z: [B, latent_size] or None, and labels.
        """
        features = self.features or z.shape[-1]
        parts = [] if z is None else [equalised.normalise(z)]
        if self.num_classes:
            one_hot = jax.nn.one_hot(labels, self.num_classes)
            embedded = equalised.Dense(features, name='embed')(one_hot)
            parts.append(equalised.normalise(embedded))
        x = jnp.concatenate(parts, -1)
        for number in range(self.num_layers):
            x = equalised.leaky_relu(equalised.Dense(
                features, rate=MAPPING_RATE, name=f'dense_{number}'
            )(x))
        return x


class RunningMean(nn.Module):
    """Running mean of w over the batches of training, which starts at 0.

    m <- 0.995 m + 0.005 mean(w)
    """

    @nn.compact
    def __call__(self, w, *, update):
        """Return the mean [F] after an update by w: [B, F], or before it."""
        mean = self.variable(
            STYLES, 'mean', jnp.zeros, w.shape[-1:], jnp.float32
        )
        if not update or self.is_initializing():
            return mean.value
        batch = jax.lax.stop_gradient(w.mean(0))
        new = batch + MEAN_DECAY * (mean.value - batch)
        if self.is_mutable_collection(STYLES):
            mean.value = new
        return new


class ModulatedConv(nn.Module):
    """Convolution whose kernel is scaled by a style for each sample.

    The style s scales the input channels. With demodulation, each output
    channel is then divided by the norm of its scaled kernel:

        y_o = d_o sum_i w_oi * (s_i x_i), d_o = rsqrt(sum_ik (s_i w_oik)^2)

    Attributes:
        features: channels of the output.
        size: side of the kernel, 1 or 3.
        up: whether the sides are doubled, by `fir.conv_up`.
        demodulate: whether outputs are divided by norms; else the style is
            divided by the square root of the number of weights of a channel.
        dtype: dtype of the computation; parameters are float32.
    """

    features: int
    size: int = 3
    up: bool = False
    demodulate: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, style):
        """Apply to x: [B, H, W, C] with style: [B, w]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param(
            'kernel', nn.initializers.normal(1.0), shape, jnp.float32
        )
        scale = equalised.Dense(
            shape[2], first_bias=1.0, name='style'
        )(style)
        if self.demodulate:
            scale, kernel, divisor = self._demodulation(scale, kernel)
        else:
            scale = scale / math.sqrt(math.prod(shape[:3]))
        x = x.astype(self.dtype) * scale[:, None, None].astype(self.dtype)
        kernel = kernel.astype(self.dtype)
        x = fir.conv_up(x, kernel) if self.up else equalised.convolve(x, kernel)
        if self.demodulate:
            x = x * divisor[:, None, None].astype(self.dtype)
        return x

    def _demodulation(self, scale, kernel):
        """Return style, kernel and the factor [B, features] of the outputs.

        In bfloat16 both are first divided by their largest entries, which
        changes nothing but the range of the intermediate values.
        """
        if self.dtype != jnp.float32:
            kernel = kernel / (
                math.sqrt(math.prod(kernel.shape[:3]))
                * jnp.abs(kernel).max((0, 1, 2))
            )
            scale = scale / jnp.abs(scale).max(-1, keepdims=True)
        squares = jnp.square(scale) @ jnp.square(kernel).sum((0, 1))
        return scale, kernel, jax.lax.rsqrt(squares + equalised.EPSILON)


class StyledConv(nn.Module):
    """Modulated convolution of size 3, noise, bias and LeakyReLU.

    The noise is one map, multiplied by a learned number that starts at 0. If
    none is given, it is a fixed map of the collection 'noise', drawn when the
    network is initialised.

    Attributes:
        features: channels of the output.
        up: whether the sides are doubled.
        dtype: dtype of the computation; parameters are float32.
    """

    features: int
    up: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, style, noise=None):
        """Apply to x: [B, H, W, C] with style: [B, w]; noise: [B, H, W]."""
        x = ModulatedConv(
            self.features, up=self.up, dtype=self.dtype, name='modulated'
        )(x, style)
        sides = x.shape[1:3]
        strength = self.param(
            'noise_strength', nn.initializers.zeros, (), jnp.float32
        )
        fixed = self.variable(
            NOISE, 'noise',
            lambda: jax.random.normal(self.make_rng('params'), sides),
        ).value
        noise = fixed[None] if noise is None else noise
        bias = self.param(
            'bias', nn.initializers.zeros, (self.features,), jnp.float32
        )
        x = x + (strength * noise)[..., None].astype(self.dtype)
        return equalised.leaky_relu(x + bias.astype(self.dtype))


class ToRGB(nn.Module):
    """Modulated convolution of size 1 to the channels of images, and a bias.

    Attributes:
        channels: channels of the images.
        dtype: dtype of the computation; parameters are float32.
    """

    channels: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, style):
        """Return [B, H, W, channels] float32."""
        x = ModulatedConv(
            self.channels, size=1, demodulate=False, dtype=self.dtype,
            name='modulated',
        )(x, style)
        bias = self.param(
            'bias', nn.initializers.zeros, (self.channels,), jnp.float32
        )
        x = equalised.clamp(x + bias.astype(self.dtype))
        return x.astype(jnp.float32)


class Stage(nn.Module):
    """The layers of one resolution of the synthesis.

    All stages but the first double the sides by a styled convolution. One more
    follows, and `ToRGB`, whose image is added to that of the stage before.

    Attributes:
        features: channels of the feature maps.
        channels: channels of the images.
        dtype: dtype of the computation; parameters are float32.
    """

    features: int
    channels: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, images, styles, noise):
        """Return (feature maps, images) of the next resolution.

        Args:
            x: [B, h, w, C] feature maps.
            images: [B, h, w, channels] float32; None before the first stage.
            styles: one [B, w] for each layer, the last one of `ToRGB`.
            noise: one [B, H, W] for each convolution of size 3, or None.
        """
        fields = {'features': self.features, 'dtype': self.dtype}
        x = x.astype(self.dtype)
        if images is not None:
            images = fir.upsample(images)
            x = StyledConv(**fields, up=True, name='conv_up')(
                x, styles[0], noise[0]
            )
        x = StyledConv(**fields, name='conv')(x, styles[-2], noise[-1])
        rgb = ToRGB(self.channels, self.dtype, name='to_rgb')(x, styles[-1])
        return x, rgb if images is None else images + rgb


def stage_dtypes(count, dtype):
    """List the dtypes of a network's stages, from the smallest maps.

    Only the four largest resolutions have another than float32, and never the
    smallest maps.
    """
    full = max(1, count - LOW_PRECISION)
    return [jnp.float32] * full + [dtype] * (count - full)


class Synthesis(nn.Module):
    """Stages from a learned constant to images, modulated by styles.

    Attributes:
        image_shape: (height, width, channels).
        width, full_side: as of the `Generator`.
        dtype: dtype of the stages with the largest maps.
    """

    image_shape: Tuple[int, int, int]
    width: int
    full_side: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, styles, keys=None):
        """Return images of styles: [B, num_styles, w]; keys: [B] or None."""
        widths = r3gan.stage_widths(
            self.image_shape, self.width, self.full_side
        )
        height, width, channels = self.image_shape
        sides = [
            (height // 2**k, width // 2**k) for k in range(len(widths))
        ][::-1]
        constant = self.param(
            'constant', nn.initializers.normal(1.0), (*sides[0], widths[0]),
            jnp.float32,
        )
        noise = _draw_noise(keys, [sides[0], *np.repeat(sides[1:], 2, 0)])
        x = jnp.broadcast_to(constant, (styles.shape[0], *constant.shape))
        images = None
        dtypes = stage_dtypes(len(widths), self.dtype)
        for number, (features, dtype) in enumerate(zip(widths, dtypes)):
            first, last = max(2 * number - 1, 0), 2 * number + 1
            own = [styles[:, k] for k in range(first, last + 1)]
            x, images = Stage(
                features, channels, dtype, name=f'stage_{number}'
            )(x, images, own, noise[first:last])
        return images


def _draw_noise(keys, sides):
    """Draw the noise maps of samples, by one call for all layers.

    Args:
        keys: [B] PRNG keys; None for no noise.
        sides: (H, W) of each layer.

    Returns:
        List of [B, H, W] for each layer, or of None.
    """
    if keys is None:
        return [None] * len(sides)
    ends = np.cumsum([height * width for height, width in sides])
    noise = jax.vmap(lambda key: jax.random.normal(
        jax.random.fold_in(key, NOISE_KEY), (ends[-1],)
    ))(keys)
    return [
        part.reshape(-1, *shape)
        for part, shape in zip(jnp.split(noise, ends[:-1], 1), sides)
    ]


class Generator(nn.Module, kw_only=True):
    """Generator of a mapping from z to w, and a synthesis from w to images.

    There are two styles for each resolution, each an own copy of w: 8 for 32 x
    32 pixels, 10 for 64 x 64. The last layer of a resolution, to RGB, shares
    its style with the first convolution of the next.

    In training some samples get the styles of a second z from a random layer
    on (style mixing), and a running mean of w is kept in the collection
    'styles', which is not averaged with G's weights. Samples may be truncated
    towards that mean. Noise maps are drawn if keys are given, and else fixed.

    In the authors' networks the output is linear: `output` 'linear'.

    Differs from the authors' code: 'auto' is tanh, as in the other networks;
    styles are mixed, or not, for each sample on its own, where the authors draw
    once for the batch; the mean of w is updated when G is, and not when fakes
    are made for D; bfloat16 in place of float16; sides need not be equal or
    powers of 2, and the first maps have 4 to 7 pixels on the shorter side. w
    has the length of z.

    Attributes (others: see `gan_jax.networks`):
        width: largest number of channels; the authors' is 512.
        full_side: largest shorter side of maps with that many channels, which
            are halved for each doubling beyond it; the authors' is 64 from 512
            x 512 pixels on, and 32 below.
        mapping_layers: dense layers from z to w; 8 in the paper, 2 in the later
            code for most sizes.
        style_mixing: probability that a sample has the styles of two z; 0 is
            off.
        num_classes: number of classes; unused if `condition` is 'none'.
        condition: 'none' or 'concat', where w depends on the class.
        dtype: dtype of the largest four resolutions, but never of the smallest
            maps; parameters and outputs are float32.
    """

    image_shape: Tuple[int, int, int]
    width: int = 512
    full_side: int = 32
    mapping_layers: int = 2
    style_mixing: float = 0.9
    output: str = 'auto'
    num_classes: int = 0
    condition: str = 'none'
    dtype: Any = jnp.float32

    draws_noise = True
    has_styles = True

    @property
    def num_styles(self):
        """Return the number of styles of a sample."""
        return 2 * (dcgan.num_blocks(self.image_shape) + 1)

    def setup(self):
        """Create the mapping, the mean of its results, and the synthesis."""
        self.mapping = Mapping(
            self.mapping_layers,
            self.num_classes if self.condition != 'none' else 0,
        )
        self.mean = RunningMean()
        self.synthesis = Synthesis(
            self.image_shape, self.width, self.full_side, self.dtype
        )

    def __call__(
        self, inputs, labels=None, *, train, keys=None, truncation=None,
        truncated_styles=None,
    ):
        """Generate images from z.

        Args: see `map`, `synthesize` and `gan_jax.networks`.

        Returns:
            [B, H, W, C] float32, by default in [-1, 1].
        """
        styles = self.map(
            inputs, labels, keys, train=train, truncation=truncation,
            truncated_styles=truncated_styles,
        )
        return self.synthesize(styles, keys, train=train)

    def map(
        self, inputs, labels=None, keys=None, *, train=False, truncation=None,
        truncated_styles=None,
    ):
        """Map z to styles.

        Args:
            inputs: z [B, latent_size].
            labels: [B] int32, or None if the condition needs none.
            keys: [B] PRNG keys of style mixing, or None for no mixing.
            train: whether the mean of w is updated, and styles are mixed.
            truncation: scalar psi, for mean + psi (w - mean); None for w.
            truncated_styles: number of first styles that are truncated; None
                for all.

        Returns:
            [B, num_styles, latent_size].
        """
        conditioning.check(self, inputs, labels, ('none', 'concat'))
        inputs = inputs.astype(jnp.float32)
        w = self.mapping(inputs, labels)
        mean = self.mean(w, update=train)
        styles = jnp.broadcast_to(
            w[:, None], (w.shape[0], self.num_styles, w.shape[-1])
        )
        if train and keys is not None and self.style_mixing:
            styles = self._mix(styles, inputs, labels, keys)
        if truncation is None:
            return styles
        truncated = mean + truncation * (styles - mean)
        if truncated_styles is None:
            return truncated
        layer = jnp.arange(self.num_styles)[:, None]
        return jnp.where(layer < truncated_styles, truncated, styles)

    def _mix(self, styles, inputs, labels, keys):
        """Replace styles from a random layer on by those of another z."""

        def draw(key):
            z_key, cut_key = jax.random.split(
                jax.random.fold_in(key, MIXING_KEY)
            )
            z = jax.random.normal(z_key, inputs.shape[1:], jnp.float32)
            return z, jax.random.uniform(cut_key, (2,), jnp.float32)

        z, uniform = jax.vmap(draw)(keys)
        cuts = jnp.where(
            uniform[:, 0] < self.style_mixing,
            1 + jnp.floor(uniform[:, 1] * (self.num_styles - 1)),
            self.num_styles,
        )
        others = self.mapping(z, labels)[:, None]
        layer = jnp.arange(self.num_styles)
        return jnp.where((layer < cuts[:, None])[..., None], styles, others)

    def synthesize(self, styles, keys=None, *, train=False):
        """Generate images from styles.

        Args:
            styles: [B, num_styles, w].
            keys: [B] PRNG keys of the noise; None for the fixed maps.
            train: unused.

        Returns:
            [B, H, W, C] float32, by default in [-1, 1].
        """
        del train
        return activations.finish(self, self.synthesis(styles, keys))


class Halving(nn.Module):
    """The layers of one resolution of the discriminator.

    Attributes:
        features: channels of the result.
        residual: whether there is a skip connection.
        dtype: dtype of the computation; parameters are float32.
    """

    features: int
    residual: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Apply to x: [B, 2H, 2W, C]; returns [B, H, W, features]."""
        gain = math.sqrt(0.5) if self.residual else 1.0
        down = {
            'features': self.features, 'down': True, 'gain': gain,
            'dtype': self.dtype,
        }
        y = equalised.Conv(x.shape[-1], dtype=self.dtype, name='conv')(x)
        y = equalised.Conv(**down, name='conv_down')(y)
        if not self.residual:
            return y
        return y + equalised.Conv(
            **down, size=1, use_bias=False, activate=False, name='skip'
        )(x)


class Discriminator(nn.Module, kw_only=True):
    """Discriminator of residual blocks, with the deviation of the batch.

    A convolution of size 1 from RGB; for each resolution a convolution of size
    3 and one that halves the sides by `fir.conv_down`; then the standard
    deviation of groups of samples (`minibatch.minibatch_stddev`), a convolution
    and two dense layers. The sum of a residual block is divided by sqrt(2); its
    skip connection is a convolution of size 1, after `fir.downsample`.

    With the condition 'projection', the logit is <f(h), map(label)> / sqrt(F),
    map being dense layers to F numbers, and f the last layer.

    Differs from the authors' code as the `Generator` does, and in the groups of
    the deviation (see there). They are of one device's samples.

    Attributes (others: see the `Generator` and `gan_jax.networks`):
        residual: whether there are skip connections; the authors have none for
            CIFAR-10 ('orig').
        stddev_group: samples of a group whose standard deviation is a feature;
            0 is off. The authors' is 4 to 8, and 32 for CIFAR-10.
        mapping_layers: dense layers of the mapping of classes; with 0 it is a
            linear function, divided by its root mean square.
        condition: 'none' or 'projection'.
    """

    width: int = 512
    full_side: int = 32
    mapping_layers: int = 8
    residual: bool = True
    stddev_group: int = 4
    num_classes: int = 0
    condition: str = 'none'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`; `train` and `keys` are unused.

        Returns:
            `layers.Output`, whose features are those of the hidden dense layer.
        """
        del train, keys
        conditioning.check(self, inputs, labels, ('none', 'projection'))
        widths = r3gan.stage_widths(
            inputs.shape[1:], self.width, self.full_side
        )[::-1]
        dtypes = stage_dtypes(len(widths), self.dtype)[::-1]
        x = equalised.Conv(
            widths[0], size=1, dtype=dtypes[0], name='from_rgb'
        )(inputs)
        for number, (features, dtype) in enumerate(zip(widths[1:], dtypes)):
            x = Halving(
                features, self.residual, dtype, name=f'stage_{number}'
            )(x)
        x = x.astype(jnp.float32)
        if self.stddev_group:
            x = minibatch.minibatch_stddev(x, self.stddev_group)
        x = equalised.Conv(widths[-1], name='conv')(x)
        x = equalised.leaky_relu(equalised.Dense(
            widths[-1], name='dense'
        )(x.reshape(len(x), -1)))
        conditional = self.condition != 'none'
        logits = equalised.Dense(
            widths[-1] if conditional else 1, name='output'
        )(x)
        if conditional:
            w = Mapping(
                self.mapping_layers, self.num_classes, widths[-1],
                name='mapping',
            )(None, labels)
            logits = (logits * w) / math.sqrt(widths[-1])
        return layers.Output(logits.sum(-1), x.astype(self.dtype))
