"""Training step of a KL autoencoder in PyTorch, for `step_throughput.py`.

The game is that of latent diffusion's first stage
(https://github.com/CompVis/latent-diffusion): residual networks with GroupNorm,
a PatchGAN, the adaptive weight by gradients at the decoder's last layer. The
practice is that of `torch_step.py`. In the autoencoder's update D is passed
forward once and backward once, since the gradient of its images serves the
adaptive weight and the step; the authors' code passes backward twice.

    python benchmarks/torch_autoencoder.py \
        --config=configs/kl_autoencoder.py:cifar10 --shape=32x32x3 \
        --config.reconstruction.start=0

Variants are those of `torch_base.py`. It keeps no moments of the codes, which
ours does for its samples.
"""

import re

import torch
from torch import nn
from torch.nn import functional

import torch_base
import torch_step
import torch_translation
from gan_jax.algorithms import autoencoder_updates
from gan_jax.algorithms import codes as codes_lib
from gan_jax.config import defaults as defaults_lib
from gan_jax.config import run_identity
from gan_jax.networks import resnet_autoencoder

FOLLOWED = re.compile(  # as of `torch_step`
    r'algorithm|batch_size|dtype|ema_decay|latent|latent_size|loss\.name|seed'
    r'|data\.(?!flip|dequantize).*|[gd]_optimizer\.(b1|b2|learning_rate)'
    r'|generator\.(name|norm|num_blocks|num_downs|width)'
    r'|discriminator\.(depth|name|norm|width)'
    r'|reconstruction\.(adversarial|error|kl|pixels)'
)
NEEDED = {
    'algorithm': 'kl_autoencoder', 'discriminator.name': 'patchgan',
    'discriminator.norm': 'none', 'generator.name': 'resnet_autoencoder',
    'generator.norm': 'group', 'reconstruction.adaptive': True,
}
ERRORS = {'l1': functional.l1_loss, 'l2': functional.mse_loss}
EPSILON = 1e-6  # of flax's GroupNorm


def _norm(channels):
    groups = resnet_autoencoder.num_groups(channels)
    return nn.GroupNorm(groups, channels, EPSILON)


def _conv(inputs, features, size=3):
    return nn.Conv2d(inputs, features, size, padding=size // 2)


class _Block(nn.Module):
    """Residual block: norm, swish and a convolution, twice."""

    def __init__(self, inputs, features):
        super().__init__()
        self._branch = nn.Sequential(
            _norm(inputs), nn.SiLU(True), _conv(inputs, features),
            _norm(features), nn.SiLU(True), _conv(features, features),
        )
        self._short = (
            nn.Identity() if inputs == features else _conv(inputs, features, 1)
        )

    def forward(self, x):
        """Keep the sides."""
        return self._branch(x) + self._short(x)


def _halve(channels):
    """Pad by one more behind, as XLA does, and halve the sides."""
    return nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, 2)


def _double(channels):
    return nn.Upsample(scale_factor=2), _conv(channels, channels)


def _channels(options, level):
    return options.width * min(2**level, resnet_autoencoder.WIDEST)


def _downs(options, shape):
    return resnet_autoencoder.num_downs(shape, options.num_downs)


def encoder(options, code_size, shape):
    """Return the layers of `networks.resnet_autoencoder.Encoder`."""
    downs, channels = _downs(options, shape), options.width
    layers = [_conv(shape[2], channels)]
    for level in range(downs + 1):
        for _ in range(options.num_blocks):
            layers.append(_Block(channels, _channels(options, level)))
            channels = _channels(options, level)
        if level < downs:
            layers += _halve(channels)
    return nn.Sequential(
        *layers, _Block(channels, channels), _Block(channels, channels),
        _norm(channels), nn.SiLU(True), _conv(channels, code_size),
    )


def decoder(options, code_size, shape):
    """Return the layers of `networks.resnet_autoencoder.Decoder`."""
    downs = _downs(options, shape)
    channels = _channels(options, downs)
    layers = [
        _conv(code_size, channels), _Block(channels, channels),
        _Block(channels, channels),
    ]
    for level in range(downs, -1, -1):
        for _ in range(options.num_blocks + 1):
            layers.append(_Block(channels, _channels(options, level)))
            channels = _channels(options, level)
        if level:
            layers += _double(channels)
    return nn.Sequential(
        *layers, _norm(channels), nn.SiLU(True), _conv(channels, shape[2]),
        nn.Tanh(),
    )


def _check(config):
    """Check that the step below does what a config says."""
    flat = defaults_lib.flatten(config)
    for key, value in NEEDED.items():
        if flat[key] != value:
            torch_base.refuse(f'{key}={flat[key]!r}, only for {value!r}')
    for key, known in (
        ('loss.name', set(torch_step.LOSSES) - set(torch_step.RELATIVE)),
        ('reconstruction.error', ERRORS),
    ):
        if flat[key] not in known:
            torch_base.refuse(f'{key}={flat[key]!r}')
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    for key, value in flat.items():
        if value != defaults[key] and key not in run_identity.FREE_KEYS and (
            not FOLLOWED.fullmatch(key)
        ):
            torch_base.refuse(f'{key}={value!r}, only for {defaults[key]!r}')


class Step(torch_base.TimedStep):
    """Three networks, their optimizers, resident data and the step itself.

    Attributes:
        encoder, decoder, discriminator: the networks.
    """

    def __init__(self, config, shape, variant, tf32=True):
        """Build all that a step needs.

        Args:
            config: validated ConfigDict.
            shape: (H, W, C) of the images.
            variant: of torch_base.py.
            tf32: whether CUDA's products of float32 may be of TF32.

        Raises:
            errors.ConfigError: for what is not written here.
        """
        _check(config)
        super().__init__(config, variant, tf32)
        options, size = config.generator, config.latent_size
        self.encoder = self._place(encoder(options, 2 * size, shape))
        self.decoder = self._place(decoder(options, size, shape))
        self.discriminator = self._place(torch_translation.discriminator(
            shape[2], config.discriminator.width, config.discriminator.depth,
            normed=False,
        ))
        self._last = self.decoder[-2].weight
        self._moved = [*self.encoder.parameters(), *self.decoder.parameters()]
        self._average = [p.detach().clone() for p in self._moved]
        self._g_optimizer = self._optimizer(self._moved, config.g_optimizer)
        self._d_optimizer = self._optimizer(
            self.discriminator.parameters(), config.d_optimizer
        )
        self._d_loss, self._g_loss = torch_step.LOSSES[config.loss.name]
        self._error = ERRORS[config.reconstruction.error]
        self._real = torch_base.noise_images(shape, self._words).to(
            self._device
        )
        self._code_shape = (
            size, *resnet_autoencoder.code_sides(shape, options.num_downs)
        )
        self._joined = 'joined' in self._words
        self._update_g = self._compiled(self.g_gradients)
        self._update_d = self._compiled(self.d_gradients)
        self._start(self.encoder, self.decoder)

    def _noise(self):
        return torch.randn(
            self._config.batch_size, *self._code_shape, device=self._device
        )

    def g_gradients(self, real, noise):
        """Store gradients of the autoencoder's loss in its parameters.

        Args:
            real: [B, C, H, W] in [-1, 1].
            noise: [B, *code], of the codes.

        Returns:
            (loss, adaptive weight, reconstructions), without gradients.
        """
        weights = self._config.reconstruction
        with self._autocast():
            outputs = self.encoder(real).float()
        mean, log_variance = outputs.chunk(2, 1)
        log_variance = log_variance.clamp(*codes_lib.LOG_VARIANCES)
        codes = mean + (log_variance / 2).exp() * noise
        kl = (
            mean.square() + log_variance.exp() - 1 - log_variance
        ).sum() / 2 / len(real)
        cost = weights.kl * kl / real[0].numel()
        with self._autocast():
            images = self.decoder(codes).float()
        fakes = images.detach().requires_grad_()
        error = weights.pixels * self._error(fakes, real)
        error_slope, = torch.autograd.grad(error, fakes)
        with self._autocast():
            logits = self.discriminator(fakes).float()
        judged = self._g_loss(None, logits)
        slope, = torch.autograd.grad(judged, fakes)
        norms = [
            torch.autograd.grad(
                images, self._last, one, retain_graph=True
            )[0].norm() for one in (error_slope, slope)
        ]
        weight = weights.adversarial * (
            norms[0] / (norms[1] + autoencoder_updates.LEAST_NORM)
        ).clamp(0, autoencoder_updates.MOST_WEIGHT)
        torch.autograd.backward(
            [images, cost], [error_slope + weight * slope, None]
        )
        loss = error + cost + weight * judged
        return loss.detach(), weight.detach(), fakes.detach()

    def d_gradients(self, real, fakes):
        """Store gradients of D's loss; return it without gradients."""
        with self._autocast():
            if self._joined:
                logits = self.discriminator(torch.cat([real, fakes])).float()
                logits = logits.chunk(2)
            else:
                logits = [
                    self.discriminator(one).float() for one in (real, fakes)
                ]
        loss = self._d_loss(*logits)
        loss.backward()
        return loss.detach()

    def step(self):
        """Update encoder and decoder, then D."""
        places = torch.randint(
            len(self._real), (self._config.batch_size,), device=self._device
        )
        real = self._real[places].float() / 127.5 - 1
        self.discriminator.requires_grad_(False)
        self._g_optimizer.zero_grad(set_to_none=True)
        _, _, fakes = self._update_g(real, self._noise())
        self._g_optimizer.step()
        self.discriminator.requires_grad_(True)
        self._d_optimizer.zero_grad(set_to_none=True)
        self._update_d(real, fakes)
        self._d_optimizer.step()
        if self._config.ema_decay:
            torch._foreach_lerp_(
                self._average, self._moved, 1 - self._config.ema_decay
            )

    @torch.no_grad()
    def sample(self):
        """Decode a batch of noise."""
        with self._autocast():
            return self.decoder(self._noise())

    def about(self):
        """Return the version, and the number of parameters of each network."""
        return self._described(self.encoder, self.discriminator, self.decoder)


if __name__ == '__main__':
    torch_base.run(Step)
