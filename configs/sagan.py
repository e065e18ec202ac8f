"""SAGAN: self-attention in both players.

Paper: Zhang et al., Self-Attention Generative Adversarial Networks,
https://arxiv.org/abs/1805.08318, 2018. From it: self-attention in both players,
spectral normalisation of both, hinge loss, two time scales: Adam(b1 0, b2 0.9)
with 1e-4 for G and 4e-4 for D, one update of each. Differs: residual networks
for images of 32x32 and 64x64, attention at side 16, no classes.

    python -m gan_jax.main --config=configs/sagan.py
    python -m gan_jax.main --config=configs/sagan.py:cifar10

Arguments: digits (the default), mnist, fashion_mnist (attention at side 14),
cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
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
