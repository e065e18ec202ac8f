"""Self-attention GAN (SAGAN) on handwritten digits.

Paper: Zhang et al., Self-Attention Generative Adversarial Networks,
https://arxiv.org/abs/1805.08318, 2018. From the paper: self-attention and
spectral normalisation in both networks, hinge loss, Adam(b1 0, b2 0.9) with
learning rates 1e-4 for G and 4e-4 for D, one update of each.
Differences: residual networks of width 64 (24 and 16 on the digits) for images
of 32x32 and 64x64; attention as in the authors' code, with pooled keys, at side
16 (14 for mnist, fashion_mnist and stacked_mnist); z of 100; no classes.

This recipe was not run to the end. With DCGAN's generator, after 2,000 steps on
the digits: digits with few of one class, in 289 s on 2 CPU cores (2026-11-22,
benchmarks/README.md).

    python -m gan_jax.main --config=configs/sagan.py
    python -m gan_jax.main --config=configs/sagan.py:cifar10
    python -m gan_jax.main --config=configs/sagan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('sagan', argument)
    config.loss.name = 'hinge'
    for player in (config.generator, config.discriminator):
        player.name, player.spectral_norm = 'resnet', True
        player.attention = 14 if 'mnist' in argument else 16
    config.discriminator.norm = 'none'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.b2 = 0.0, 0.9
    config.g_optimizer.learning_rate = 1e-4
    config.d_optimizer.learning_rate = 4e-4
    return config
