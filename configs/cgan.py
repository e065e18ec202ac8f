"""Conditional GAN: images by class.

Papers: Mirza and Osindero, Conditional Generative Adversarial Nets,
https://arxiv.org/abs/1411.1784, 2014, for the label beside the inputs of both
players, the default; Miyato and Koyama, cGANs with Projection Discriminator,
https://arxiv.org/abs/1802.05637, 2018, for
--config.generator.condition=batch_norm
--config.discriminator.condition=projection. Differs: DCGAN's networks. Samples
have class seed modulo number of classes, so that a grid of 10 columns has one
class in each.

    python -m gan_jax.main --config=configs/cgan.py
    python -m gan_jax.main --config=configs/cgan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('cgan', argument)
    config.generator.condition = config.discriminator.condition = 'concat'
    return config
