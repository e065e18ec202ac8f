"""StyleGAN2's networks in PyTorch, for the steps of torch_step.py.

In the same form as `gan_jax/networks/stylegan2.py`: styles scale activations
before and after a convolution (authors' training form), and the resampler
[1, 3, 3, 1] is a depthwise convolution, as without a CUDA extension. float32,
without classes.
"""

import math

import torch
from torch import nn
from torch.nn import functional

import torch_base
from gan_jax.networks import equalised
from gan_jax.networks import r3gan
from gan_jax.networks import stylegan2

SQRT2 = math.sqrt(2)


def _leaky(x, gain=1.0):
    return functional.leaky_relu(x, equalised.SLOPE) * (SQRT2 * gain)


def _normalise(x):
    mean = x.square().mean(1, keepdim=True)
    return x * (mean + equalised.EPSILON).rsqrt()


class Dense(nn.Module):
    """`equalised.Dense`."""

    def __init__(self, inputs, features, rate=1.0, first_bias=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs) / rate)
        self.bias = nn.Parameter(torch.full((features,), first_bias / rate))
        self._scale, self._rate = rate / math.sqrt(inputs), rate

    def forward(self, x):
        """Apply to [B, F]."""
        return functional.linear(
            x, self.weight * self._scale, self.bias * self._rate
        )


class Blur(nn.Module):
    """Filter [1, 3, 3, 1] times a gain, as a depthwise convolution."""

    def __init__(self, channels, padding, gain=1.0, stride=1):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps) / 64 * gain
        self.register_buffer('_kernel', kernel.repeat(channels, 1, 1, 1))
        self._padding, self._stride = padding, stride

    def forward(self, x):
        """Apply to [B, C, H, W]."""
        return functional.conv2d(
            x, self._kernel, padding=self._padding, stride=self._stride,
            groups=len(self._kernel),
        )


class UpImage(nn.Module):
    """`fir.upsample` of RGB."""

    def __init__(self, channels):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps) / 16
        self.register_buffer('_kernel', kernel.repeat(channels, 1, 1, 1))

    def forward(self, x):
        """Double the sides of [B, C, H, W]."""
        return functional.conv_transpose2d(
            x, self._kernel, stride=2, padding=1, groups=len(self._kernel)
        )


class Conv(nn.Module):
    """`equalised.Conv`."""

    def __init__(
        self, inputs, features, size=3, down=False, bias=True, activate=True,
        gain=1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None
        self._scale = 1 / math.sqrt(inputs * size * size)
        self._activate, self._gain = activate, gain
        self._blur = None
        self._options = {'padding': size // 2}
        if down and size == 3:
            self._blur = Blur(inputs, padding=2)
            self._options = {'stride': 2}
        elif down:
            self._blur = Blur(inputs, padding=1, stride=2)

    def forward(self, x):
        """Apply to [B, C, H, W]."""
        if self._blur is not None:
            x = self._blur(x)
        x = functional.conv2d(
            x, self.weight * self._scale, self.bias, **self._options
        )
        return _leaky(x, self._gain) if self._activate else x * self._gain


class ModulatedConv(nn.Module):
    """`stylegan2.ModulatedConv`."""

    def __init__(self, inputs, features, style, size=3, up=False, demod=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs, size, size))
        self.style = Dense(style, inputs, first_bias=1.0)
        self._size, self._demod = size, demod
        self._scale = 1 if demod else 1 / math.sqrt(inputs * size * size)
        self._blur = Blur(features, padding=1, gain=4.0) if up else None

    def forward(self, x, w):
        """Apply to [B, C, H, W] with w: [B, F]."""
        style = self.style(w) * self._scale
        x = x * style[:, :, None, None]
        if self._blur is None:
            x = functional.conv2d(x, self.weight, padding=self._size // 2)
        else:
            x = self._blur(functional.conv_transpose2d(
                x, self.weight.transpose(0, 1), stride=2
            ))
        if self._demod:
            squares = style.square() @ self.weight.square().sum((2, 3)).t()
            x = x * (squares + equalised.EPSILON).rsqrt()[:, :, None, None]
        return x


class StyledConv(nn.Module):
    """`stylegan2.StyledConv`."""

    def __init__(self, inputs, features, style, sides, up=False):
        super().__init__()
        self.conv = ModulatedConv(inputs, features, style, up=up)
        self.strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer('noise', torch.randn(sides))

    def forward(self, x, w):
        """Apply to [B, C, H, W] with w: [B, F]."""
        x = self.conv(x, w)
        noise = self.noise
        if self.training:
            noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device)
        return _leaky(x + noise * self.strength + self.bias[:, None, None])


class Generator(nn.Module):
    """`stylegan2.Generator` without classes."""

    def __init__(self, options, latent_size, shape):
        super().__init__()
        height, width, channels = shape
        widths = r3gan.stage_widths(shape, options.width, options.full_side)
        rank = 2 ** (len(widths) - 1)
        sides = height // rank, width // rank
        self.mapping = nn.ModuleList(
            Dense(latent_size, latent_size, stylegan2.MAPPING_RATE)
            for _ in range(options.mapping_layers)
        )
        self.constant = nn.Parameter(torch.randn(widths[0], *sides))
        self.convs, self.rgbs = nn.ModuleList(), nn.ModuleList()
        for number, features in enumerate(widths):
            if number:
                sides = 2 * sides[0], 2 * sides[1]
                self.convs.append(StyledConv(
                    widths[number - 1], features, latent_size, sides, up=True
                ))
            self.convs.append(
                StyledConv(features, features, latent_size, sides)
            )
            self.rgbs.append(ModulatedConv(
                features, channels, latent_size, size=1, demod=False
            ))
        self.rgb_biases = nn.Parameter(torch.zeros(len(widths), channels))
        self.enlarge = UpImage(channels)
        self.register_buffer('mean', torch.zeros(latent_size))
        self.num_styles = 2 * len(widths)
        self._mixing = options.style_mixing
        self._linear = options.output == 'linear'

    def _w(self, z):
        x = _normalise(z)
        for layer in self.mapping:
            x = _leaky(layer(x))
        return x

    def map(self, z):
        """Return styles [B, num_styles, F], mixed in training."""
        w = self._w(z)
        styles = w[:, None].expand(-1, self.num_styles, -1)
        if not self.training:
            return styles
        with torch.no_grad():
            self.mean.lerp_(w.float().mean(0), 1 - stylegan2.MEAN_DECAY)
        if not self._mixing:
            return styles
        cut = torch.randint(1, self.num_styles, (), device=z.device)
        cut = torch.where(
            torch.rand((), device=z.device) < self._mixing, cut,
            self.num_styles,
        )
        layer = torch.arange(self.num_styles, device=z.device)[:, None]
        other = self._w(torch.randn_like(z))[:, None]
        return torch.where(layer < cut, styles, other)

    def synthesize(self, styles):
        """Return images of styles."""
        x = self.constant.expand(len(styles), -1, -1, -1)
        images, first = None, 0
        for number, rgb in enumerate(self.rgbs):
            count = 2 if number else 1
            for conv in self.convs[first:first + count]:
                x = conv(x, styles[:, first])
                first += 1
            new = rgb(x, styles[:, first])
            new = new + self.rgb_biases[number][:, None, None]
            images = new if images is None else self.enlarge(images) + new
        return images if self._linear else images.tanh()

    def forward(self, z):
        """Generate images [B, C, H, W] from z: [B, F]."""
        return self.synthesize(self.map(z))


class _Stage(nn.Module):
    """`stylegan2.Halving`."""

    def __init__(self, inputs, features, residual):
        super().__init__()
        gain = math.sqrt(0.5) if residual else 1.0
        self.conv = Conv(inputs, inputs)
        self.down = Conv(inputs, features, down=True, gain=gain)
        self.skip = Conv(
            inputs, features, size=1, down=True, bias=False, activate=False,
            gain=gain,
        ) if residual else None

    def forward(self, x):
        """Halve the sides of [B, C, H, W]."""
        y = self.down(self.conv(x))
        return y if self.skip is None else y + self.skip(x)


class Discriminator(nn.Module):
    """`stylegan2.Discriminator` without classes."""

    def __init__(self, options, shape):
        super().__init__()
        widths = r3gan.stage_widths(
            shape, options.width, options.full_side
        )[::-1]
        last, rank = widths[-1], 2 ** (len(widths) - 1)
        self._group = options.stddev_group
        self.first = Conv(shape[2], widths[0], size=1)
        self.stages = nn.Sequential(*(
            _Stage(before, after, options.residual)
            for before, after in zip(widths, widths[1:])
        ))
        self.conv = Conv(last + bool(self._group), last)
        self.dense = Dense(shape[0] // rank * (shape[1] // rank) * last, last)
        self.output = Dense(last, 1)

    def _with_deviation(self, x):
        groups = x.reshape(self._group, -1, *x.shape[1:])
        variance = groups.var(0, correction=0) + equalised.EPSILON
        deviation = variance.sqrt().mean((1, 2, 3))
        deviation = deviation.repeat(self._group)[:, None, None, None]
        return torch.cat([x, deviation.expand(-1, 1, *x.shape[2:])], 1)

    def forward(self, x):
        """Return logits [B, 1] of images: [B, C, H, W]."""
        x = self.stages(self.first(x))
        if self._group:
            x = self._with_deviation(x)
        x = self.conv(x).flatten(1)
        return self.output(_leaky(self.dense(x)))


def _check(options):
    if options.condition != 'none':
        torch_base.refuse('stylegan2 with classes')


def generator(options, latent_size, shape):
    """Return `Generator`."""
    _check(options)
    return Generator(options, latent_size, shape)


def discriminator(options, shape):
    """Return `Discriminator`."""
    _check(options)
    return Discriminator(options, shape)


class PathLength:
    """`objectives.path_length`, with its running mean."""

    def __init__(self, device):
        self._mean = torch.zeros([], device=device)

    def __call__(self, network, z):
        """Return the penalty of a generator, of every second z."""
        styles = network.map(z[::2])
        images = network.synthesize(styles)
        noise = torch.randn_like(images) / math.sqrt(
            images.shape[2] * images.shape[3]
        )
        grads, = torch.autograd.grad(
            (images * noise).sum(), styles, create_graph=True
        )
        lengths = grads.square().sum(2).mean(1).sqrt()
        mean = self._mean.lerp(lengths.float().mean(), 0.01)
        self._mean.copy_(mean.detach())
        return (lengths - mean).square().mean()
