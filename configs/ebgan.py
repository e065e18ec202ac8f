"""EBGAN: an autoencoder as discriminator.

Paper: Zhao, Mathieu, LeCun, Energy-based Generative Adversarial Network,
https://arxiv.org/abs/1609.03126, 2016. From it: D's reconstruction error as
energy, a margin that fakes need not exceed, the pulling-away term on the code
with weight 0.1. Differs: DCGAN's layers; the Euclidean energy of a 32x32 image
is near 16 at the start, so the margin is 10.

    python -m gan_jax.main --config=configs/ebgan.py
    python -m gan_jax.main --config=configs/ebgan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('ebgan', argument)
    config.loss.name = 'energy_based'
    config.penalties.pulling_away.weight = 0.1
    return config
