"""WGAN with gradient penalty on handwritten digits (457 s on 2 CPU cores).

Paper: Gulrajani et al., Improved Training of Wasserstein GANs,
https://arxiv.org/abs/1704.00028, 2017. From the paper: penalty weight 10, 5
critic updates for each of G, Adam(1e-4, b1 0, b2 0.9), layer norm in place of
BatchNorm in the critic.
Differences: DCGAN's networks; --config.generator.name=resnet and
--config.discriminator.name=resnet give the paper's residual blocks.

Expected on the digits after 2,000 steps, seed 0: readable digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.973,
nearest 1.354, spread 1.039; rarest class 7.8 %.
Time: 457 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/wgan_gp.py
    python -m gan_jax.main --config=configs/wgan_gp.py:mnist
    python -m gan_jax.main --config=configs/wgan_gp.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('wgan_gp', argument)
    config.loss.name, config.d_steps = 'wasserstein', 5
    config.penalties.gradient_penalty.weight = 10.0
    config.discriminator.norm = 'layer'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1, optimizer.b2 = 1e-4, 0.0, 0.9
    return config
