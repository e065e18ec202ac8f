"""BigGAN on handwritten digits (8 minutes on one CPU core) or other classes.

Paper: Brock et al., Large Scale GAN Training for High Fidelity Natural Image
Synthesis, https://arxiv.org/abs/1809.11096, 2018. From the paper: networks
whose norms depend on the class and on a chunk of z (gan_jax/networks/biggan.py)
with self-attention, projection, spectral norm in both players, hinge loss, Adam
with b1 0, samples from a moving average of G.

    python -m gan_jax.main --config=configs/biggan.py
    python -m gan_jax.main --config=configs/biggan.py:mnist
    python -m gan_jax.main --config=configs/biggan.py:images \
        --config.data.path=my/images
    python -m gan_jax sample --workdir=runs/biggan --truncation=0.7 \
        --standing=16 --out=grid.png

The last command narrows z, and computes BatchNorm's statistics for such z.

| argument             | width: G, D | z   | attention | batch | steps   |
|----------------------|-------------|-----|-----------|-------|---------|
| digits               | 8, 16       | 32  | 16        | 32    | 2,500   |
| mnist, fashion_mnist | 8, 16       | 32  | 16        | 32    | 7,000   |
| stacked_mnist        | 8, 16       | 32  | 16        | 32    | 7,000   |
| cifar10              | 96, 96      | 80  | 16        | 64    | 100,000 |
| images               | 32, 32      | 100 | 32        | 256   | 100,000 |
| images_128           | 96, 96      | 120 | 64        | 2,048 | 138,000 |

`images` and `images_128` are your own images, in a subfolder for each class,
resized to 64x64 and 128x128. MNIST is resized to 32x32. The settings of cifar10
are those of PyTorch-StudioGAN, those of images_128 of the paper's networks with
the rates of its authors' code for PyTorch, in bfloat16, with gradients averaged
over 8 parts of a batch; the last three rows are for accelerators and were not
run. celeb_a has no classes, so this recipe cannot train on it.

Expected on the digits (the default) after 2,500 steps, seed 0: clear digits; a
classifier finds the requested class in 99.9 % of them.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 1.009,
nearest 0.962, spread 0.845; rarest class 9.9 %.
Time: 8 minutes on one core of an AMD EPYC (2026-11-26).
On MNIST FID 7.1 and 98.9 % clear digits (benchmarks/README.md).

Differences: attention at 16x16, and at 32x32 for `images`, where the paper has
it at 64x64; images_128 has one update of D, the paper two; on the digits D gets
images with Gaussian noise of standard deviation 0.4, which falls to 0 at the
end, as in dcgan.py. Rates and widths of the small settings are our choice: 4e-4
for G and 8e-4 for D, two updates of D. The orthogonal penalty is off, as in the
runs of the authors' code for PyTorch; its option of 1e-4 is
--config.penalties.g_orthogonal.weight=5e-5 here.
"""

from typing import NamedTuple

from gan_jax.config import recipes


class Setting(NamedTuple):
    """The settings of one argument.

    Attributes:
        g_width, d_width: channels, in the networks' units.
        latent_size: length of z.
        embedding: length of the class's embedding.
        attention: side of the maps with self-attention.
        batch_size, num_steps, d_steps: as the keys.
        g_rate, d_rate: learning rates.
        decay: of G's average.
    """

    g_width: int
    d_width: int
    latent_size: int
    embedding: int
    attention: int
    batch_size: int
    num_steps: int
    d_steps: int = 1
    g_rate: float = 1e-4
    d_rate: float = 4e-4
    decay: float = 0.9999


SMALL = Setting(
    8, 16, 32, 32, 16, 32, 7000, d_steps=2, g_rate=4e-4, d_rate=8e-4,
    decay=0.999,
)
OWN = Setting(32, 32, 100, 128, 32, 256, 100_000)  # 64x64
SETTINGS = {
    'digits': SMALL._replace(num_steps=2500),
    'mnist': SMALL, 'fashion_mnist': SMALL, 'stacked_mnist': SMALL,
    'cifar10': Setting(
        96, 96, 80, 128, 16, 64, 100_000, d_steps=5, g_rate=2e-4, d_rate=2e-4,
    ),
    'images': OWN, 'celeb_a': OWN,
    'images_128': Setting(96, 96, 120, 128, 64, 2048, 138_000),
}


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('biggan', argument, sizes=('images_128',))
    setting = SETTINGS[argument]
    config.loss.name = 'hinge'
    config.generator.condition = 'batch_norm'
    config.discriminator.condition = 'projection'
    config.discriminator.norm = 'none'
    config.discriminator.small_factor = 2
    for player in (config.generator, config.discriminator):
        player.name, player.spectral_norm = 'biggan', True
        player.attention = setting.attention
    config.generator.width = setting.g_width
    config.discriminator.width = setting.d_width
    config.generator.shared_embedding = setting.embedding
    config.latent_size = setting.latent_size
    for optimizer, rate in (
        (config.g_optimizer, setting.g_rate),
        (config.d_optimizer, setting.d_rate),
    ):
        optimizer.learning_rate = rate
        optimizer.b1 = 0.5 if argument == 'cifar10' else 0.0
    config.batch_size, config.num_steps = setting.batch_size, setting.num_steps
    config.d_steps, config.ema_decay = setting.d_steps, setting.decay
    if argument == 'digits':
        config.instance_noise.std = 0.4
        config.instance_noise.decay_steps = config.num_steps
    elif setting is SMALL:  # MNIST and the like, of 28x28
        config.data.image_size = '32'
    elif argument == 'images_128':
        config.dtype, config.num_microbatches = 'bfloat16', 8
    return config
