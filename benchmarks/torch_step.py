"""Training step in PyTorch, for `step_throughput.py --against=torch`.

It follows good practice: channels_last, gradients set to None, no gradients of
D's parameters in G's step, Adam and the average of weights as fused operations
over all parameters, data resident on the device. The networks are those of
`gan_jax/networks/` layer by layer. The tests compare the numbers of parameters.

    python benchmarks/torch_step.py --config=configs/dcgan.py:cifar10 \
        --shape=32x32x3 --variant=channels_last

answers questions on standard input. Variants are those of torch_base.py.
"""

import functools
import math
import re

import torch
from torch import nn
from torch.nn import functional

import beside_torch
import torch_base
import torch_biggan
import torch_stylegan2
from gan_jax.config import defaults as defaults_lib
from gan_jax.config import run_identity
from gan_jax.networks import dcgan
from gan_jax.networks import r3gan
from gan_jax.networks import resnet

# Keys that the step below follows, or that do not affect it. For all others it
# implements the default only.
FOLLOWED = re.compile(
    r'batch_size|d_steps|dtype|ema_decay|latent_size|loss\.name|seed'
    r'|reuse_fakes|data\.(?!flip|dequantize).*|[gd]_optimizer\.(b1|b2'
    r'|learning_rate)|(generator|discriminator)\.(depth|kernel_size|name'
    r'|negative_slope|norm|spectral_norm|width|full_side|group_size'
    r'|num_blocks|mapping_layers|style_mixing|residual|stddev_group|output)'
    r'|penalties\.(gradient_penalty|path_length|r1|r2)\.(weight|every)'
)
OF_BIGGAN = re.compile(
    r'(generator|discriminator)\.(attention|condition|shared_embedding'
    r'|small_factor)'
)

# {name: (loss of D, loss of G)} of (real logits, fake logits). The real logits
# are None in G's step, except for RELATIVE.
LOSSES = {
    'hinge': (
        lambda real, fake: (
            functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
        ),
        lambda _, fake: -fake.mean(),
    ),
    'least_squares': (
        lambda real, fake: (
            (real - 1).square().mean() + fake.square().mean()
        ) / 2,
        lambda _, fake: (fake - 1).square().mean() / 2,
    ),
    'non_saturating': (
        lambda real, fake: (
            functional.softplus(-real).mean() + functional.softplus(fake).mean()
        ),
        lambda _, fake: functional.softplus(-fake).mean(),
    ),
    'relativistic': (
        lambda real, fake: functional.softplus(fake - real).mean(),
        lambda real, fake: functional.softplus(real - fake).mean(),
    ),
    'wasserstein': (
        lambda real, fake: fake.mean() - real.mean(),
        lambda _, fake: -fake.mean(),
    ),
}
RELATIVE = ('relativistic',)


def _norm(options, channels, flat=False):
    if options.norm == 'none':
        return nn.Identity()
    if options.norm == 'batch':
        return (nn.BatchNorm1d if flat else nn.BatchNorm2d)(channels)
    if options.norm == 'layer':
        return nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels)
    torch_base.refuse(f'norm={options.norm!r}')


def _bend(options):
    return (
        nn.LeakyReLU(options.negative_slope) if options.negative_slope
        else nn.ReLU()
    )


class _Shape(nn.Module):
    """Reshape a vector to a feature map."""

    def __init__(self, *shape):
        super().__init__()
        self._shape = shape

    def forward(self, x):
        """Map [B, F] to [B, *shape]."""
        return x.view(-1, *self._shape)


def mlp_generator(options, latent_size, shape):
    """Return the layers of `networks.mlp.Generator`."""
    wrap, layers, inputs = torch_base.wrapper(options), [], latent_size
    for _ in range(options.depth):
        layers += [
            wrap(nn.Linear(inputs, options.width)),
            _norm(options, options.width, flat=True), _bend(options),
        ]
        inputs = options.width
    layers.append(wrap(nn.Linear(inputs, math.prod(shape))))
    if len(shape) == 1:
        return nn.Sequential(*layers)
    height, width, channels = shape
    return nn.Sequential(*layers, nn.Tanh(), _Shape(channels, height, width))


def mlp_discriminator(options, shape):
    """Return the layers of `networks.mlp.Discriminator`."""
    wrap, inputs = torch_base.wrapper(options), math.prod(shape)
    layers = [] if len(shape) == 1 else [nn.Flatten()]
    for layer in range(options.depth):
        layers.append(wrap(nn.Linear(inputs, options.width)))
        if layer:
            layers.append(_norm(options, options.width, flat=True))
        layers.append(_bend(options))
        inputs = options.width
    return nn.Sequential(*layers, wrap(nn.Linear(inputs, 1)))


def _padding(size):
    """Return the padding of each side with which stride 2 halves the side.

    XLA pads an odd kernel by one more on one side; PyTorch's users as here.
    """
    return (size - 1) // 2


def dcgan_generator(options, latent_size, shape):
    """Return the layers of `networks.dcgan.Generator`."""
    blocks, wrap = dcgan.num_blocks(shape), torch_base.wrapper(options)
    height, width, channels = shape
    start = height // 2**blocks, width // 2**blocks
    features = options.width * 2 ** (blocks - 1)
    bias, size = options.norm == 'none', options.kernel_size
    layers = [
        wrap(nn.Linear(latent_size, math.prod(start) * features, bias=bias)),
        _Shape(features, *start),
    ]
    for block in range(blocks):
        layers += [_norm(options, features), _bend(options)]
        last = block == blocks - 1
        after = channels if last else features // 2
        layers.append(wrap(nn.ConvTranspose2d(
            features, after, size, 2, _padding(size), size % 2,
            bias=bias or last,
        )))
        features = after
    return nn.Sequential(*layers, nn.Tanh())


def dcgan_discriminator(options, shape):
    """Return the layers of `networks.dcgan.Discriminator`."""
    blocks, wrap = dcgan.num_blocks(shape), torch_base.wrapper(options)
    height, width, inputs = shape
    layers = []
    for block in range(blocks):
        features = options.width * 2**block
        normed = block > 0 and options.norm != 'none'
        size = options.kernel_size
        layers.append(wrap(nn.Conv2d(
            inputs, features, size, 2, _padding(size), bias=not normed
        )))
        if normed:
            layers.append(_norm(options, features))
        layers.append(_bend(options))
        inputs = features
    pixels = height * width // 4**blocks
    return nn.Sequential(
        *layers, nn.Flatten(), wrap(nn.Linear(pixels * inputs, 1))
    )


class _Up(nn.Module):
    """The block of `networks.resnet.Generator`."""

    def __init__(self, options, inputs, features):
        super().__init__()
        wrap = torch_base.wrapper(options)
        self._norms = nn.ModuleList(
            [_norm(options, inputs), _norm(options, features)]
        )
        self._first = wrap(nn.Conv2d(inputs, features, 3, padding=1))
        self._second = wrap(nn.Conv2d(features, features, 3, padding=1))
        self._short = wrap(nn.Conv2d(inputs, features, 1))

    def forward(self, x):
        """Double the side."""
        double = functools.partial(functional.interpolate, scale_factor=2)
        y = self._first(double(functional.relu(self._norms[0](x))))
        y = self._second(functional.relu(self._norms[1](y)))
        return double(self._short(x)) + y


class _Down(nn.Module):
    """The block of `networks.resnet.Discriminator`."""

    def __init__(self, options, inputs, features, halves, first):
        super().__init__()
        wrap = torch_base.wrapper(options)
        hidden = features if first else inputs
        self._norms = nn.ModuleList([
            nn.Identity() if first else _norm(options, inputs),
            nn.Identity() if first else _norm(options, hidden),
        ])
        self._first = wrap(nn.Conv2d(inputs, hidden, 3, padding=1))
        self._second = wrap(nn.Conv2d(hidden, features, 3, padding=1))
        short = halves or inputs != features
        self._short = wrap(nn.Conv2d(inputs, features, 1)) if short else None
        self._halves, self._is_first = halves, first

    def forward(self, x):
        """Halve the side, or keep it."""
        y = x if self._is_first else functional.relu(self._norms[0](x))
        y = functional.relu(self._norms[1](self._first(y)))
        y = self._second(y)
        if self._halves:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        return (x if self._short is None else self._short(x)) + y


class _SumOfPixels(nn.Module):
    """The end of `networks.resnet.Discriminator`."""

    def forward(self, x):
        """Map [B, C, H, W] to [B, C]."""
        return functional.relu(x).sum((2, 3))


def resnet_generator(options, latent_size, shape):
    """Return the layers of `networks.resnet.Generator`."""
    wrap = torch_base.wrapper(options)
    first, *rest = resnet.generator_channels(shape, options.width)
    start = shape[0] // 2 ** len(rest), shape[1] // 2 ** len(rest)
    layers = [
        wrap(nn.Linear(latent_size, math.prod(start) * first)),
        _Shape(first, *start),
    ]
    for features in rest:
        layers.append(_Up(options, first, features))
        first = features
    return nn.Sequential(
        *layers, _norm(options, first), nn.ReLU(),
        wrap(nn.Conv2d(first, shape[2], 3, padding=1)), nn.Tanh(),
    )


def resnet_discriminator(options, shape):
    """Return the layers of `networks.resnet.Discriminator`."""
    layers, inputs = [], shape[2]
    for block, (features, halves) in enumerate(
        resnet.discriminator_channels(shape, options.width)
    ):
        layers.append(_Down(options, inputs, features, halves, not block))
        inputs = features
    return nn.Sequential(
        *layers, _SumOfPixels(),
        torch_base.wrapper(options)(nn.Linear(inputs, 1)),
    )


class _Grouped(nn.ModuleList):
    """Convolution of size 3 as one convolution for each group: `split`."""

    def __init__(self, channels, groups):
        size = channels // groups
        super().__init__(
            nn.Conv2d(size, size, 3, padding=1) for _ in range(groups)
        )

    def forward(self, x):
        """Keep the shape."""
        parts = zip(self, x.chunk(len(self), 1))
        return torch.cat([layer(part) for layer, part in parts], 1)


class _Residual(nn.Module):
    """The block of `networks.r3gan`, whose activations have the biases here of
    the convolutions before them.
    """

    def __init__(self, options, channels, split):
        super().__init__()
        wide = 2 * channels
        groups = max(wide // options.group_size, 1)
        self._branch = nn.Sequential(
            nn.Conv2d(channels, wide, 1), nn.LeakyReLU(r3gan.SLOPE),
            _Grouped(wide, groups) if split else
            nn.Conv2d(wide, wide, 3, padding=1, groups=groups),
            nn.LeakyReLU(r3gan.SLOPE),
            nn.Conv2d(wide, channels, 1, bias=False),
        )

    def forward(self, x):
        """Keep the shape."""
        return x + self._branch(x)


class _Filter(nn.Module):
    """`networks.fir` as a depthwise convolution."""

    def __init__(self, channels, convolve, scale):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps) / scale
        self.register_buffer('_kernel', kernel.repeat(channels, 1, 1, 1))
        self._convolve = convolve

    def forward(self, x):
        """Double or halve the side."""
        return self._convolve(
            x, self._kernel, stride=2, padding=1, groups=len(self._kernel)
        )


class _Basis(nn.Module):
    """`networks.r3gan.Basis`."""

    def __init__(self, channels, sides):
        super().__init__()
        self._maps = nn.Parameter(torch.randn(1, channels, *sides))

    def forward(self, x):
        """Map [B, C] to [B, C, H, W]."""
        return x[:, :, None, None] * self._maps


class _WeightedSum(nn.Module):
    """`networks.r3gan.WeightedSum`."""

    def __init__(self, channels, sides):
        super().__init__()
        self._weights = nn.Parameter(
            torch.randn(1, channels, *sides) / math.prod(sides) ** 0.5
        )

    def forward(self, x):
        """Map [B, C, H, W] to [B, C]."""
        return (x.float() * self._weights).sum((2, 3))


class _Single(nn.Sequential):
    """Layers in float32 under autocast too."""

    def forward(self, x):
        """Apply the layers."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def _r3gan_stages(options, shape, split):
    """Return the sides of the smallest maps, their channels and G's stages.

    Each stage is (channels before it, channels, module of its blocks).
    """
    if options.norm != 'none' or options.spectral_norm:
        torch_base.refuse('r3gan with a norm')
    widths = r3gan.stage_widths(shape, options.width, options.full_side)
    doublings = 2 ** (len(widths) - 1)
    sides = shape[0] // doublings, shape[1] // doublings
    stages = []
    for rank, channels in enumerate(widths):
        low = rank >= max(1, len(widths) - r3gan.LOW_PRECISION)
        stages.append((
            widths[max(0, rank - 1)], channels,
            (nn.Sequential if low else _Single)(*(
                _Residual(options, channels, split)
                for _ in range(options.num_blocks)
            )),
        ))
    return sides, widths[0], stages


def r3gan_generator(options, latent_size, shape, split=False):
    """Return the layers of `networks.r3gan.Generator`."""
    sides, first, stages = _r3gan_stages(options, shape, split)
    layers = [nn.Linear(latent_size, first, bias=False), _Basis(first, sides)]
    for rank, (before, channels, blocks) in enumerate(stages):
        if before != channels:
            layers.append(nn.Conv2d(before, channels, 1, bias=False))
        if rank:
            layers.append(_Filter(channels, functional.conv_transpose2d, 16))
        layers.append(blocks)
    last = nn.Conv2d(channels, shape[2], 1, bias=False)
    return nn.Sequential(*layers, last, nn.Tanh())


def r3gan_discriminator(options, shape, split=False):
    """Return the layers of `networks.r3gan.Discriminator`."""
    sides, last, stages = _r3gan_stages(options, shape, split)
    layers = [nn.Conv2d(shape[2], stages[-1][1], 1, bias=False)]
    for before, channels, blocks in stages[:0:-1]:
        layers += [blocks, _Filter(channels, functional.conv2d, 64)]
        if before != channels:
            layers.append(nn.Conv2d(channels, before, 1, bias=False))
    return nn.Sequential(
        *layers, stages[0][2], _WeightedSum(last, sides),
        nn.Linear(last, 1, bias=False),
    )


NETWORKS = {
    'biggan': (torch_biggan.generator, torch_biggan.discriminator),
    'dcgan': (dcgan_generator, dcgan_discriminator),
    'mlp': (mlp_generator, mlp_discriminator),
    'r3gan': (r3gan_generator, r3gan_discriminator),
    'resnet': (resnet_generator, resnet_discriminator),
    'stylegan2': (torch_stylegan2.generator, torch_stylegan2.discriminator),
}


def _check(config):
    """Refuse what the step below does not do."""
    if config.generator.name != config.discriminator.name or (
        config.generator.name not in NETWORKS
    ):
        torch_base.refuse(
            f'generator.name={config.generator.name!r} with '
            f'discriminator.name={config.discriminator.name!r}'
        )
    if config.reuse_fakes and config.penalties.path_length.weight:
        torch_base.refuse('path length of fakes that both updates share')
    if config.loss.name not in LOSSES:
        torch_base.refuse(f'loss.name={config.loss.name!r}')
    patterns = [FOLLOWED]
    if config.generator.name == 'biggan':
        patterns.append(OF_BIGGAN)
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    for key, value in defaults_lib.flatten(config).items():
        if value != defaults[key] and key not in run_identity.FREE_KEYS and (
            not any(pattern.fullmatch(key) for pattern in patterns)
        ):
            torch_base.refuse(f'{key}={value!r}, only for {defaults[key]!r}')


class Step(torch_base.TimedStep):
    """Both players, their optimizers, resident data and the step itself.

    Attributes:
        generator, discriminator: the networks.
    """

    def __init__(self, config, shape, variant, tf32=True):
        """Build all that a step needs, on CUDA where there is one.

        Args:
            config: validated ConfigDict.
            shape: (H, W, C) of images, or (D,) of points.
            variant: of torch_base.py.
            tf32: whether CUDA's products of float32 may be of TF32.

        Raises:
            errors.ConfigError: for what is not written here.
        """
        _check(config)
        super().__init__(config, variant, tf32)
        self._shape = shape
        make_g, make_d = NETWORKS[config.generator.name]
        split = {'split': True} if 'split' in self._words else {}
        self.generator = self._place(make_g(
            config.generator, config.latent_size, shape, **split
        ))
        self.discriminator = self._place(
            make_d(config.discriminator, shape, **split)
        )
        self._average = [
            p.detach().clone() for p in self.generator.parameters()
        ]
        self._g_optimizer, self._d_optimizer = (
            self._optimizer(network.parameters(), options)
            for network, options in (
                (self.generator, config.g_optimizer),
                (self.discriminator, config.d_optimizer),
            )
        )
        self._d_loss, self._g_loss = LOSSES[config.loss.name]
        self._real = self._place_data()
        self._joined = 'joined' in self._words
        self._count = 0  # of steps
        self._path_length = torch_stylegan2.PathLength(self._device)
        self._update_d = self._compiled(self._d_gradients)
        self._update_g = self._compiled(self._g_gradients)
        self._start(self.generator)

    def _place_data(self):
        """Return images of noise as uint8, or points, on the device."""
        if len(self._shape) == 1:
            return torch.randn(
                torch_base.NUM_IMAGES, *self._shape, device=self._device
            )
        images = torch_base.noise_images(self._shape, self._words)
        return images.to(self._device)

    def _reals(self):
        places = torch.randint(
            len(self._real), (self._config.batch_size,), device=self._device
        )
        images = self._real[places]
        return images if len(self._shape) == 1 else images.float() / 127.5 - 1

    def _latents(self):
        return torch.randn(
            self._config.batch_size, self._config.latent_size,
            device=self._device,
        )

    def _labels(self):
        """Return (a class for each sample,), or () for plain networks."""
        if self._config.generator.condition == 'none':
            return ()
        return torch.randint(
            beside_torch.NUM_CLASSES, (self._config.batch_size,),
            device=self._device,
        ),

    def _weight(self, name):
        """Return the weight of a penalty in this step; 0 if it is not due."""
        penalty = self._config.penalties[name]
        due = self._count % penalty.every == 0
        return penalty.weight * penalty.every if due else 0.0

    def _d_gradients(self, real, z, r1=0.0, r2=0.0, labels=()):
        """Store gradients of D's loss in its parameters; return the fakes."""
        config, weights = self._config, self._config.penalties
        with torch.set_grad_enabled(config.reuse_fakes), self._autocast():
            images = self.generator(z, *labels)
        fake = images.detach().float()
        real.requires_grad_(bool(r1))
        if r2:
            fake.requires_grad_()
        with self._autocast():
            if self._joined:
                both = self.discriminator(
                    torch.cat([real, fake]), *(one.tile(2) for one in labels)
                ).float()
                real_logits, fake_logits = both.chunk(2)
            else:
                real_logits = self.discriminator(real, *labels).float()
                fake_logits = self.discriminator(fake, *labels).float()
        loss = self._d_loss(real_logits, fake_logits)
        penalised = [
            (weight, inputs) for weight, inputs in (
                (r1, real), (r2, fake)
            ) if weight
        ]
        if penalised:
            # At once, since joined logits have one graph.
            squares = self._squares(
                [real_logits, fake_logits], [inputs for _, inputs in penalised]
            )
            for (weight, _), square in zip(penalised, squares):
                loss = loss + weight * square.mean() / 2
        weight = weights.gradient_penalty.weight
        if weight:
            shares = torch.rand(
                len(real), *[1] * len(self._shape), device=self._device
            )
            interpolates = torch.lerp(fake, real, shares).requires_grad_()
            with self._autocast():
                logits = self.discriminator(interpolates, *labels).float()
            square, = self._squares([logits], [interpolates])
            slopes = square.sqrt()
            loss = loss + weight * (slopes - 1).square().mean()
        loss.backward()
        return images

    def _squares(self, logits, inputs):
        """Compute each sample's squared gradient norm, for each input."""
        gradients = torch.autograd.grad(
            sum(one.sum() for one in logits), inputs, create_graph=True
        )
        return [one.flatten(1).square().sum(1) for one in gradients]

    def _g_gradients(
        self, real, z, images=None, path_length=0.0, labels=()
    ):
        """Store gradients of G's loss in its parameters."""
        real_logits = None
        with self._autocast():
            if real is not None:
                real_logits = self.discriminator(real, *labels).float()
            logits = self.discriminator(
                self.generator(z, *labels) if images is None else images,
                *labels,
            )
        loss = self._g_loss(real_logits, logits.float())
        if path_length:
            loss = loss + path_length * self._path_length(self.generator, z)
        loss.backward()

    def step(self):
        """Run `d_steps` updates of D and one of G."""
        for _ in range(self._config.d_steps):
            self._d_optimizer.zero_grad(set_to_none=True)
            real, labels = self._reals(), self._labels()
            images = self._update_d(
                real, self._latents(), self._weight('r1'), self._weight('r2'),
                labels,
            )
            self._d_optimizer.step()
        self.discriminator.requires_grad_(False)
        self._g_optimizer.zero_grad(set_to_none=True)
        relative = self._config.loss.name in RELATIVE
        real = real.detach() if relative else None
        if self._config.reuse_fakes:
            self._update_g(real, None, images, labels=labels)
        else:
            self._update_g(
                real, self._latents(),
                path_length=self._weight('path_length'), labels=labels,
            )
        self._count += 1
        self._g_optimizer.step()
        self.discriminator.requires_grad_(True)
        if self._config.ema_decay:
            torch._foreach_lerp_(
                self._average, list(self.generator.parameters()),
                1 - self._config.ema_decay,
            )

    @torch.no_grad()
    def sample(self):
        """Generate a batch."""
        with self._autocast():
            return self.generator(self._latents(), *self._labels())

    def about(self):
        """Return the version, and the number of parameters of each network."""
        return self._described(self.generator, self.discriminator)


if __name__ == '__main__':
    torch_base.run(Step)
