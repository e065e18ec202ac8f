"""R3GAN on handwritten digits (10 minutes on 2 CPU cores) or other images.

Paper: Huang et al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
https://arxiv.org/abs/2501.05441, 2025. From the paper: residual networks
without normalisation (gan_jax/networks/r3gan.py), the relativistic loss, R1 and
R2 in every step. From the authors' code: G is updated on real images that D has
not just seen. Until `anneal.images` images were shown, learning rates fall to a
quarter, the weights of R1 and R2 to a tenth, b2 of Adam rises from 0.9 to 0.99,
and the half-life of G's average from 0; all along a cosine.

    python -m gan_jax.main --config=configs/r3gan.py
    python -m gan_jax.main --config=configs/r3gan.py:mnist
    python -m gan_jax.main --config=configs/r3gan.py:images \
        --config.data.path=my/images

| argument             | width   | blocks | batch | R1, R2        | steps   |
|----------------------|---------|--------|-------|---------------|---------|
| digits               | 64-8    | 1      | 32    | 1 to 0.1      | 7,000   |
| mnist, fashion_mnist | 64-8    | 1      | 32    | 1 to 0.1      | 20,000  |
| stacked_mnist        | 64-8    | 1      | 32    | 1 to 0.1      | 20,000  |
| images, celeb_a      | 192-48  | 1      | 64    | 2 to 0.2      | 100,000 |
| cifar10, with class  | 768     | 2      | 512   | 0.05 to 0.005 | 39,063  |
| images_64            | 768-384 | 2      | 256   | 2 to 0.2      | 78,125  |
| images_256           | 768-96  | 2      | 256   | 150 to 15     | 78,125  |

Width: channels of the smallest maps and of the largest. Blocks: of a stage. The
last three rows are the authors' settings for CIFAR-10, FFHQ at 64x64 and FFHQ
at 256x256, in bfloat16, for accelerators; they were not run. `images`,
`images_64` and `images_256` are your own images, resized to 64x64, 64x64 and
256x256. MNIST is resized to 32x32.

Expected on the digits (the default) after 7,000 steps, seed 0: clear digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.975,
nearest 1.190, spread 0.934; rarest class 7.5 %.
Time: 13 minutes on one core of an AMD EPYC, about 10 on 2 (2026-11-27).
With the full width up to 8x8 (`full_side=8` of both), at 2.4 times the CPU
time: 0.985, 1.131, 0.944 and 7.6 %.
On MNIST FID 10.6 and 86 % clear digits (benchmarks/README.md).

Differences: on the digits D gets images with Gaussian noise of standard
deviation 0.4, which falls to 0 at the end, as in dcgan.py. The authors augment
by blitting, geometry, color and cutout; here by color, translation and cutout,
in their three settings alone. Learning rates and weights of the small settings
are our choice.
"""

from gan_jax.config import recipes

# Of the authors: width, batch size, weight of R1 and R2, last half-life of the
# average in images, last probability of augmentation.
AUTHORS = {
    'cifar10': (768, 512, 0.05, 5_000_000, 0.55),
    'images_64': (768, 256, 2.0, 500_000, 0.3),
    'images_256': (768, 256, 150.0, 500_000, 0.3),
}
LARGE = ('images_64', 'images_256')


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('r3gan', argument, sizes=LARGE)
    config.loss.name, config.fresh_reals = 'relativistic', True
    config.latent_size = 64
    config.generator.output = 'linear'
    for player in (config.generator, config.discriminator):
        player.name, player.norm = 'r3gan', 'none'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.b2 = 0.0, 0.9
    config.anneal.b2 = 0.99
    config.anneal.learning_rate, config.anneal.penalties = 0.25, 0.1
    if argument in AUTHORS:
        return _authors(config, argument)
    if argument in ('images', 'celeb_a'):
        _size(config, width=192, full_side=16, rate=2e-4, weight=2.0)
        config.batch_size, config.num_steps = 64, 100_000
    else:
        _size(config, width=64, full_side=4, rate=5e-4, weight=1.0)
        config.batch_size = 32
    if argument == 'digits':
        config.num_steps = 7000
        config.instance_noise.std = 0.4
        config.instance_noise.decay_steps = config.num_steps
    elif argument in ('mnist', 'fashion_mnist', 'stacked_mnist'):
        config.data.image_size = '32'
    config.anneal.images = config.num_steps * config.batch_size
    config.anneal.ema_half_life = config.anneal.images // 20
    return config


def _size(config, *, width, full_side, rate, weight, num_blocks=1):
    """Set the networks, and what goes with their size."""
    for player in (config.generator, config.discriminator):
        player.width, player.full_side = width, full_side
        player.num_blocks = num_blocks
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = rate
    config.penalties.r1.weight = config.penalties.r2.weight = weight


def _authors(config, argument):
    """Set the authors' constants."""
    width, batch_size, weight, half_life, probability = AUTHORS[argument]
    _size(
        config, width=width, full_side=32, rate=2e-4, weight=weight,
        num_blocks=2,
    )
    config.dtype, config.batch_size = 'bfloat16', batch_size
    config.anneal.images = 20_000_000
    config.num_steps = -(-config.anneal.images // batch_size)
    config.anneal.ema_half_life = half_life
    config.augment.color = config.augment.cutout = True
    config.augment.translation, config.augment.probability = True, 0.0
    config.anneal.augment = probability
    config.data.flip = True
    if argument == 'cifar10':
        config.generator.condition = 'concat'
        config.discriminator.condition = 'projection'
    return config
