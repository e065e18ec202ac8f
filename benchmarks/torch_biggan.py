"""BigGAN's networks in PyTorch, for the steps of torch_step.py.

In the form of `gan_jax/networks/biggan.py`, as users of the authors' code
(https://github.com/ajbrock/BigGAN-PyTorch) and of PyTorch-StudioGAN write them:
PyTorch's spectral norm around each layer, BatchNorm without a scale of its own,
attention by `scaled_dot_product_attention`. Class-conditional: chunks of z and
a shared embedding in the norms of G, a projection in D.
"""

import functools
import math

import torch
from torch import nn
from torch.nn import functional

import beside_torch
import torch_base
from gan_jax.networks import biggan

_double = functools.partial(functional.interpolate, scale_factor=2)


def _layers(options):
    """Return (convolution, dense layer, embedding), with spectral norm or not.

    Each is a function of PyTorch's arguments. Kernels start orthogonal.
    """
    wrap = torch_base.wrapper(options)

    def make(kind, *sizes, **fields):
        layer = kind(*sizes, **fields)
        nn.init.orthogonal_(layer.weight)
        return wrap(layer)

    return (functools.partial(make, kind) for kind in (
        nn.Conv2d, nn.Linear, nn.Embedding
    ))


class SelfAttention(nn.Module):
    """`attention.SelfAttention`."""

    def __init__(self, options, channels):
        super().__init__()
        conv, _, _ = _layers(options)
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.f = conv(channels, narrow, 1, bias=False)
        self.g = conv(channels, narrow, 1, bias=False)
        self.h = conv(channels, half, 1, bias=False)
        self.v = conv(half, channels, 1, bias=False)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        """Keep the shape [B, C, H, W]."""
        keys, values = (
            functional.max_pool2d(layer(x), 2) for layer in (self.f, self.h)
        )
        queries, keys, values = (  # [B, pixels, channels]
            part.flatten(2).transpose(1, 2)
            for part in (self.g(x), keys, values)
        )
        mean = functional.scaled_dot_product_attention(
            queries, keys, values, scale=1.0
        )
        mean = mean.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.weight * self.v(mean)


class ModulatedNorm(nn.Module):
    """`biggan.ModulatedNorm` of BatchNorm."""

    def __init__(self, options, channels, size):
        super().__init__()
        _, dense, _ = _layers(options)
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = dense(size, channels, bias=False)
        self.bias = dense(size, channels, bias=False)

    def forward(self, x, vector):
        """Normalize x: [B, C, H, W] with the vector: [B, F]."""
        scale, bias = (
            layer(vector)[:, :, None, None] for layer in (self.scale, self.bias)
        )
        return self.norm(x) * (1 + scale) + bias


class Up(nn.Module):
    """The block of `biggan.Generator`."""

    def __init__(self, options, inputs, features, size):
        super().__init__()
        conv, _, _ = _layers(options)
        self.norms = nn.ModuleList(
            ModulatedNorm(options, channels, size)
            for channels in (inputs, features)
        )
        self.first = conv(inputs, features, 3, padding=1)
        self.second = conv(features, features, 3, padding=1)
        self.short = conv(inputs, features, 1)

    def forward(self, x, vector):
        """Double the sides of [B, C, H, W] with the vector: [B, F]."""
        first, second = self.norms
        y = self.first(_double(functional.relu(first(x, vector))))
        y = self.second(functional.relu(second(y, vector)))
        return y + _double(self.short(x))


class Generator(nn.Module):
    """`biggan.Generator` with the condition 'batch_norm'."""

    def __init__(self, options, latent_size, shape):
        super().__init__()
        height, width, channels = shape
        conv, dense, _ = _layers(options)
        first, *rest = biggan.generator_channels(shape, options.width)
        rank = 2 ** len(rest)
        self._start = first, height // rank, width // rank
        self._count = len(rest) + 1  # of chunks
        sizes = [
            len(chunk)
            for chunk in torch.zeros(latent_size).tensor_split(self._count)
        ]
        # It alone has no spectral norm.
        self.embedding = nn.Embedding(
            beside_torch.NUM_CLASSES, options.shared_embedding
        )
        self.dense = dense(sizes[0], math.prod(self._start))
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleList()
        inputs, side = first, min(self._start[1:])
        for features, size in zip(rest, sizes[1:]):
            self.blocks.append(Up(
                options, inputs, features, options.shared_embedding + size
            ))
            inputs, side = features, 2 * side
            self.attention.append(
                SelfAttention(options, features)
                if side == options.attention else nn.Identity()
            )
        self.norm = nn.BatchNorm2d(inputs)
        self.last = conv(inputs, channels, 3, padding=1)

    def forward(self, z, labels):
        """Generate images [B, C, H, W] from z: [B, F] and labels: [B]."""
        first, *chunks = z.tensor_split(self._count, 1)
        embedded = self.embedding(labels)
        x = self.dense(first).unflatten(1, self._start)
        for block, attend, chunk in zip(self.blocks, self.attention, chunks):
            x = attend(block(x, torch.cat([embedded, chunk], 1)))
        return self.last(functional.relu(self.norm(x))).tanh()


class Down(nn.Module):
    """The block of `biggan.Discriminator` without a norm."""

    def __init__(self, options, inputs, features, halves, first):
        super().__init__()
        conv, _, _ = _layers(options)
        self.first = conv(inputs, features, 3, padding=1)
        self.second = conv(features, features, 3, padding=1)
        self.short = (
            conv(inputs, features, 1) if halves or inputs != features
            else nn.Identity()
        )
        self._halves, self._is_first = halves, first

    def forward(self, x):
        """Halve the sides of [B, C, H, W], or keep them."""
        y = self.first(x if self._is_first else functional.relu(x))
        y = self.second(functional.relu(y))
        if self._halves:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        return self.short(x) + y


class Discriminator(nn.Module):
    """`biggan.Discriminator` with the condition 'projection'."""

    def __init__(self, options, shape):
        super().__init__()
        _, dense, embedding = _layers(options)
        layers, inputs, side = [], shape[2], min(shape[:2])
        for number, (features, halves) in enumerate(
            biggan.discriminator_channels(
                shape, options.width, options.small_factor
            )
        ):
            layers.append(Down(options, inputs, features, halves, not number))
            inputs = features
            if halves:
                side //= 2
                if side == options.attention:
                    layers.append(SelfAttention(options, features))
        self.blocks = nn.Sequential(*layers)
        self.output = dense(inputs, 1)
        self.embedding = embedding(beside_torch.NUM_CLASSES, inputs)

    def forward(self, x, labels):
        """Return logits [B, 1] of images: [B, C, H, W] and labels: [B]."""
        features = functional.relu(self.blocks(x)).sum((2, 3))
        projection = (self.embedding(labels) * features).sum(1, keepdim=True)
        return self.output(features) + projection


def _check(options, **needed):
    for name, value in needed.items():
        if options[name] != value:
            torch_base.refuse(f'biggan with {name}={options[name]!r}')


def generator(options, latent_size, shape):
    """Return `Generator`."""
    _check(options, condition='batch_norm', norm='batch')
    return Generator(options, latent_size, shape)


def discriminator(options, shape):
    """Return `Discriminator`."""
    _check(options, condition='projection', norm='none')
    return Discriminator(options, shape)
