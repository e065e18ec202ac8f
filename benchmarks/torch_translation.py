"""Training step of CycleGAN in PyTorch, for `translation_speed.py`.

It is written as its users write it, after the authors' code at
https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix: reflection and instance
norm by PyTorch's modules, both generators in one Adam, then both discriminators
in another, which receive images of a pool of 50 past fakes. Beyond that it
follows the practice of `torch_step.py`: fused Adam, gradients set to None, no
gradients of discriminators in the generators' step, resident data. The pool is
of tensors, so that the device need not wait for the host.

    python benchmarks/torch_translation.py --config=configs/cyclegan.py \
        --shape=64x64x3 --variant=channels_last

Variants are those of `torch_base.py`. With `joined`, a generator translates the
images of both domains in one pass, and a discriminator judges real and fake
images in one; the instance norm treats each image apart.
"""

import re

import torch
from torch import nn
from torch.nn import functional

import torch_base
import torch_step
from gan_jax.config import defaults as defaults_lib
from gan_jax.config import run_identity
from gan_jax.networks import translators

# As of `torch_step`; there is one size of both domains.
FOLLOWED = re.compile(
    r'algorithm|batch_size|dtype|ema_decay|loss\.name|seed|translation\..*'
    r'|history\.size|data\.(?!flip|random_crop).*'
    r'|[gd]_optimizer\.(b1|b2|learning_rate|schedule.*|hold_steps)'
    r'|generator\.(name|norm|num_blocks|width)'
    r'|discriminator\.(depth|name|norm|width)'
)
NETWORKS = {
    'generator.name': 'resnet_translator', 'generator.norm': 'instance',
    'discriminator.name': 'patchgan', 'discriminator.norm': 'instance',
}
GROUPED = re.compile(r'data\.[ab]\.')
STD = 0.02  # of initial weights


class _Residual(nn.Module):
    """The block of `networks.translators.ResNet`."""

    def __init__(self, channels):
        super().__init__()
        self._branch = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels), nn.ReLU(True),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x):
        """Keep the shape."""
        return x + self._branch(x)


def generator(channels, width, num_blocks):
    """Return the layers of `networks.translators.ResNet`.

    Args:
        channels: of the images of both domains.
        width: channels after the first layer.
        num_blocks: residual blocks.
    """
    layers = [
        nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7),
        nn.InstanceNorm2d(width), nn.ReLU(True),
    ]
    for features in (width, 2 * width):
        layers += [
            nn.Conv2d(features, 2 * features, 3, 2, 1),
            nn.InstanceNorm2d(2 * features), nn.ReLU(True),
        ]
    layers += [_Residual(4 * width) for _ in range(num_blocks)]
    for features in (4 * width, 2 * width):
        layers += [
            nn.ConvTranspose2d(features, features // 2, 3, 2, 1, 1),
            nn.InstanceNorm2d(features // 2), nn.ReLU(True),
        ]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
    return _initialised(nn.Sequential(*layers))


def discriminator(channels, width, depth, normed=True):
    """Return the layers of `networks.patchgan.Discriminator`.

    Args:
        channels: of the images.
        width: channels of the first layer.
        depth: number of layers that halve the side.
        normed: whether it has instance norms.
    """
    slope = translators.SLOPE
    layers = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(slope, True)]
    before = width
    for number in range(1, depth + 1):
        features = width * min(2**number, translators.WIDEST)
        stride = 2 if number < depth else 1
        layers += [
            nn.Conv2d(before, features, 4, stride, 1),
            nn.InstanceNorm2d(features) if normed else nn.Identity(),
            nn.LeakyReLU(slope, True),
        ]
        before = features
    return _initialised(nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1)))


def _initialised(network):
    for name, parameter in network.named_parameters():
        if name.endswith('weight'):
            nn.init.normal_(parameter, 0.0, STD)
        else:
            nn.init.zeros_(parameter)
    return network


class Pool:
    """Past fakes, some of which a discriminator receives for new ones.

    Until it is full, new fakes are stored and returned. Then each is returned,
    or stored in place of a random past one that is returned, each with 1/2.
    """

    def __init__(self, size, shape, device):
        """Create an empty pool of images [C, H, W]."""
        self._images = torch.zeros(size, *shape, device=device)
        self._count = torch.zeros((), dtype=torch.long, device=device)
        self._order = torch.arange(size, device=device)

    @torch.no_grad()
    def query(self, images):
        """Return images of the shape of `images`: [B, C, H, W], B <= size."""
        size, device = len(self._images), images.device
        number = self._order[:len(images)]
        full = self._count >= size
        # Different random places. `randperm` cannot be captured in a graph.
        chosen = torch.rand(size, device=device).argsort()[:len(images)]
        places = torch.where(full, chosen, (self._count + number) % size)
        swap = torch.rand(len(images), device=device) < 0.5
        past = self._images[places]
        old = (swap & full)[:, None, None, None]
        stored = (swap | ~full)[:, None, None, None]
        returned = torch.where(old, past, images)
        self._images[places] = torch.where(stored, images, past)
        self._count += len(images)
        return returned


def _check(config):
    """Check that the step below does what a config says."""
    for key, value in {'algorithm': 'cyclegan', **NETWORKS}.items():
        if defaults_lib.flatten(config)[key] != value:
            torch_base.refuse(
                f'{key}={defaults_lib.flatten(config)[key]!r}, only for '
                f'{value!r}'
            )
    if config.loss.name not in torch_step.LOSSES or (
        config.loss.name in torch_step.RELATIVE
    ):
        torch_base.refuse(f'loss.name={config.loss.name!r}')
    default = defaults_lib.flatten(defaults_lib.default_config())
    for key, value in defaults_lib.flatten(config).items():
        expected = default[GROUPED.sub('data.', key)]
        if value != expected and not FOLLOWED.fullmatch(
                GROUPED.sub('data.', key)) and (
            key not in run_identity.FREE_KEYS
        ):
            torch_base.refuse(f'{key}={value!r}, only for {expected!r}')


class Step(torch_base.TimedStep):
    """Four networks, their optimizers, resident data and the step itself.

    Attributes:
        generators: from a to b, and from b to a.
        discriminators: of b, and of a.
    """

    def __init__(self, config, shape, variant, tf32=True):
        """Build all that a step needs.

        Args:
            config: validated ConfigDict.
            shape: (H, W, C) of the images of both domains.
            variant: of torch_base.py.
            tf32: whether CUDA's products of float32 may be of TF32.

        Raises:
            errors.ConfigError: for what is not written here.
        """
        _check(config)
        super().__init__(config, variant, tf32)
        height, width, channels = shape
        self.generators = self._place(nn.ModuleList(
            generator(
                channels, config.generator.width, config.generator.num_blocks
            ) for _ in range(2)
        ))
        self.discriminators = self._place(nn.ModuleList(
            discriminator(
                channels, config.discriminator.width, config.discriminator.depth
            ) for _ in range(2)
        ))
        self._g_optimizer = self._optimizer(
            self.generators.parameters(), config.g_optimizer
        )
        self._d_optimizer = self._optimizer(
            self.discriminators.parameters(), config.d_optimizer
        )
        self._average = [
            p.detach().clone() for p in self.generators.parameters()
        ]
        self._pools = [
            Pool(config.history.size, (channels, height, width), self._device)
            for _ in range(2)
        ] if config.history.size else []
        self._d_loss, self._g_loss = torch_step.LOSSES[config.loss.name]
        self._real = [
            torch_base.noise_images(shape, self._words, seed).to(self._device)
            for seed in range(2)
        ]
        self._joined = 'joined' in self._words
        self._update_g = self._compiled(self.g_gradients)
        self._update_d = self._compiled(self.d_gradients)
        self._start(*self.generators)

    def _reals(self):
        """Draw a batch of each domain, in an order of its own."""
        batches = []
        for images in self._real:
            places = torch.randint(
                len(images), (self._config.batch_size,), device=self._device
            )
            batches.append(images[places].float() / 127.5 - 1)
        return batches

    def _translated(self, network, first, second):
        """Return the translations of two batches."""
        if self._joined:
            return network(torch.cat([first, second])).chunk(2)
        return network(first), network(second)

    def g_gradients(self, a, b):
        """Store gradients of the generators' loss in their parameters.

        Args:
            a, b: [B, C, H, W] in [-1, 1], of each domain.

        Returns:
            (loss, fakes of b, fakes of a), without gradients.
        """
        weights = self._config.translation
        to_b, to_a = self.generators
        of_b, of_a = self.discriminators
        loss = 0.0
        with self._autocast():
            if weights.identity:
                fake_b, same_b = self._translated(to_b, a, b)
                fake_a, same_a = self._translated(to_a, b, a)
                loss = weights.identity * (
                    functional.l1_loss(same_b.float(), b)
                    + functional.l1_loss(same_a.float(), a)
                )
            else:
                fake_b, fake_a = to_b(a), to_a(b)
            cycled_a, cycled_b = to_a(fake_b), to_b(fake_a)
            logits = of_b(fake_b), of_a(fake_a)
        loss = loss + weights.cycle * (
            functional.l1_loss(cycled_a.float(), a)
            + functional.l1_loss(cycled_b.float(), b)
        ) + sum(self._g_loss(None, one.float()) for one in logits)
        loss.backward()
        return loss.detach(), fake_b.detach().float(), fake_a.detach().float()

    def d_gradients(self, reals, fakes):
        """Store gradients of the discriminators' loss in their parameters.

        Args:
            reals, fakes: pairs of [B, C, H, W], of b and of a.

        Returns:
            The loss, without gradients.
        """
        loss = 0.0
        for network, real, fake in zip(self.discriminators, reals, fakes):
            with self._autocast():
                if self._joined:
                    logits = network(torch.cat([real, fake])).float().chunk(2)
                else:
                    logits = network(real).float(), network(fake).float()
            loss = loss + self._d_loss(*logits)
        loss.backward()
        return loss.detach()

    def step(self):
        """Update both generators, then both discriminators."""
        a, b = self._reals()
        self.discriminators.requires_grad_(False)
        self._g_optimizer.zero_grad(set_to_none=True)
        _, *fakes = self._update_g(a, b)
        self._g_optimizer.step()
        self.discriminators.requires_grad_(True)
        if self._pools:
            fakes = [pool.query(f) for pool, f in zip(self._pools, fakes)]
        self._d_optimizer.zero_grad(set_to_none=True)
        self._update_d((b, a), fakes)
        self._d_optimizer.step()
        if self._config.ema_decay:
            torch._foreach_lerp_(
                self._average, list(self.generators.parameters()),
                1 - self._config.ema_decay,
            )

    @torch.no_grad()
    def sample(self):
        """Translate a batch from a to b."""
        with self._autocast():
            return self.generators[0](self._reals()[0])

    def about(self):
        """Return the version, and the number of parameters of each network."""
        return self._described(*self.generators, *self.discriminators)


if __name__ == '__main__':
    torch_base.run(Step)
