"""SNGAN: a discriminator of spectral norm 1.

Paper: Miyato et al., Spectral Normalization for Generative Adversarial
Networks, https://arxiv.org/abs/1802.05957, 2018. From it: spectral
normalisation of every layer of D, no BatchNorm there, hinge loss, Adam(2e-4,
b1 0, b2 0.9). Differs: DCGAN's networks, one update of D to one of G where the
paper also tries 5.

    python -m gan_jax.main --config=configs/sngan.py
    python -m gan_jax.main --config=configs/sngan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('sngan', argument)
    config.loss.name = 'hinge'
    config.discriminator.norm = 'none'
    config.discriminator.spectral_norm = True
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.b2 = 0.0, 0.9
    return config
