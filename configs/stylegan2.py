"""StyleGAN2 on handwritten digits (7 minutes on 2 CPU cores) or other images.

Papers: Karras et al., Analyzing and Improving the Image Quality of StyleGAN,
https://arxiv.org/abs/1912.04958, 2019, and Training Generative Adversarial
Networks with Limited Data, https://arxiv.org/abs/2006.06676, 2020, whose code
has the settings of the last rows. From the papers: a mapping from z to styles
which modulate convolutions (gan_jax/networks/stylegan2.py), noise, style
mixing, R1 at every 16th step, path length at every 4th, Adam with b1 0, and an
average of G with a half-life in images, which is short at first.

    python -m gan_jax.main --config=configs/stylegan2.py
    python -m gan_jax.main --config=configs/stylegan2.py:images \
        --config.data.path=my/images
    python -m gan_jax.main --config=configs/stylegan2.py:auto_256 \
        --config.data.path=my/images

| argument             | width   | z   | batch | R1        | steps     |
|----------------------|---------|-----|-------|-----------|-----------|
| digits               | 32-16   | 64  | 32    | 0.1       | 6,500     |
| mnist, fashion_mnist | 32-16   | 64  | 32    | 0.1       | 20,000    |
| stacked_mnist        | 32-16   | 64  | 32    | 0.1       | 20,000    |
| images, celeb_a      | 128-64  | 128 | 32    | 0.1       | 100,000   |
| cifar10, with class  | 512     | 512 | 64    | 0.01      | 1,562,500 |
| auto_R, auto_R_B     | 512-    | 512 | B     | by R, B   | 25 M / B  |
| paper_256            | 512-64  | 512 | 64    | 1         | 390,625   |
| stylegan2_1024       | 512-32  | 512 | 32    | 10        | 781,250   |

Width: channels of the smallest maps and of the largest. `images`, `auto_R`,
`paper_256` and `stylegan2_1024` (config F of the paper) are your own images,
resized to 64x64 or to the side R.
MNIST is resized to 32x32. `auto_R` has the authors' rules for any side R and
batch B: rate 0.0025 (0.002 from 1024 on), weight of R1 0.0002 R^2 / B,
half-life 10,000 B / 32 images; B is 32 up to 128x128 and less above. The
settings of the authors are in bfloat16, for accelerators; they were not run.
Your own images, celeb_a and cifar10 are mirrored at random; for text, or
objects that face one side, take --config.data.flip=False.

Expected on the digits (the default) after 6,500 steps, seed 0: clear digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.978,
nearest 1.160, spread 0.942; rarest class 6.4 %.
Time: 6.4 minutes on 2 cores of an AMD EPYC (2026-11-27), with programs that
were compiled before.

Differences: on the digits D gets images with Gaussian noise of standard
deviation 0.4, which falls to 0 at the end, as in dcgan.py. The small sizes,
up to MNIST, have no path length. Widths and R1 of the small sizes are our
choice. If the pictures of a set have few variants, the weight of R1 is the
first to vary: try a quarter, a half, twice and four times. For less than 5,000
images see few_images.py.
"""

import re

from gan_jax.config import recipes

AUTO = re.compile(r'auto_([1-9]\d{0,3})(?:_([1-9]\d{0,5}))?')
# Of the authors: largest side with the full width, batch size, weight of R1,
# half-life of the average in images, images, layers of the mapping, group of
# the deviation.
AUTHORS = {
    'cifar10': (64, 64, 0.01, 500_000, 100_000_000, 2, 32),
    'paper_256': (32, 64, 1.0, 20_000, 25_000_000, 8, 8),
    'stylegan2_1024': (64, 32, 10.0, 10_000, 25_000_000, 8, 4),
}
PAPER = ('paper_256', 'stylegan2_1024')
RAMP = 0.05  # largest half-life of the average as a share of the images so far


def get_config(argument='digits'):
    """Build the config for one data set."""
    auto = AUTO.fullmatch(argument)
    config = recipes.on_images(
        'stylegan2', argument, sizes=(*PAPER, auto[0] if auto else 'auto_256')
    )
    config.data.flip = config.data.name in ('', 'celeb_a', 'cifar10')
    config.generator.output = 'linear'
    for player in (config.generator, config.discriminator):
        player.name = 'stylegan2'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.b2 = 0.0, 0.99
    config.penalties.r1.every = 16
    config.penalties.path_length.weight = 2.0
    config.penalties.path_length.every = 4
    if auto:
        return _auto(config, int(auto[1]), int(auto[2] or 0))
    if argument in AUTHORS:
        return _authors(config, argument)
    if argument in ('images', 'celeb_a'):
        _size(config, width=128, full_side=32, batch_size=32, weight=0.1)
        config.num_steps = 100_000
    else:
        _size(config, width=32, full_side=16, batch_size=32, weight=0.1)
        config.latent_size = 64
        _without_path_length(config)
    if argument == 'digits':
        config.num_steps = 6500
        config.instance_noise.std = 0.4
        config.instance_noise.decay_steps = config.num_steps
    elif argument in ('mnist', 'fashion_mnist', 'stacked_mnist'):
        config.data.image_size = '32'
    _average(config, config.num_steps * config.batch_size // 20)
    return config


def _size(config, *, width, full_side, batch_size, weight, rate=0.0025):
    """Set the networks, and what goes with their size."""
    for player in (config.generator, config.discriminator):
        player.width, player.full_side = width, full_side
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = rate
    config.latent_size, config.batch_size = width, batch_size
    config.penalties.r1.weight = weight


def _average(config, half_life, ramp=RAMP):
    """Set the average of G.

    Without a ramp its half-life "moves" to itself, so that it has no warm-up
    either, as in the authors' code.
    """
    config.ema_half_life, config.ema_ramp = half_life, ramp
    if not ramp:
        config.anneal.images, config.anneal.ema_half_life = 1, half_life


def _auto(config, side, batch_size):
    """Set the authors' rules for images of a side."""
    batch_size = batch_size or max(1, min(4096 // side, 32))
    _size(
        config, width=512, full_side=64 if side >= 512 else 32,
        batch_size=batch_size, weight=0.0002 * side**2 / batch_size,
        rate=0.002 if side >= 1024 else 0.0025,
    )
    _average(config, 10_000 * batch_size // 32)
    config.data.image_size, config.dtype = str(side), 'bfloat16'
    config.num_steps = -(-25_000_000 // batch_size)
    return config


def _authors(config, argument):
    """Set the authors' constants."""
    (
        full_side, batch_size, weight, half_life, images, layers, group
    ) = AUTHORS[argument]
    _size(
        config, width=512, full_side=full_side, batch_size=batch_size,
        weight=weight, rate=0.002 if argument == PAPER[1] else 0.0025,
    )
    _average(config, half_life, 0.0 if argument in PAPER else RAMP)
    config.dtype, config.num_steps = 'bfloat16', -(-images // batch_size)
    config.generator.mapping_layers = layers
    config.discriminator.stddev_group = group
    if argument == 'cifar10':
        config.generator.condition = 'concat'
        config.discriminator.condition = 'projection'
        config.discriminator.residual = False
        config.generator.style_mixing = 0.0
        _without_path_length(config)
    return config


def _without_path_length(config):
    config.penalties.path_length.weight = 0.0
    config.penalties.path_length.every = 1
