"""DRAGAN: a slope of 1 around the data.

Paper: Kodali et al., On Convergence and Stability of GANs,
https://arxiv.org/abs/1705.07215, 2017. From it: penalty weight 10 at noisy real
images, one update of each player. From its authors' notebook: the noise, which
the paper does not fix. Differs: layer norm in D, as BatchNorm would mix the
images whose slopes are taken, and without any norm the digits collapse
(configs/README.md); DCGAN's rates.

    python -m gan_jax.main --config=configs/dragan.py
    python -m gan_jax.main --config=configs/dragan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('dragan', argument)
    config.penalties.dragan.weight = 10.0
    config.discriminator.norm = 'layer'
    return config
