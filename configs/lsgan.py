"""LSGAN: least squares in place of cross-entropy.

Paper: Mao et al., Least Squares Generative Adversarial Networks,
https://arxiv.org/abs/1611.04076, 2016. From it: the loss with 0-1 coding (a 0,
b and c 1; Pearson's is --config.loss.a=-1 --config.loss.c=0) and a linear
output of D. Differs: DCGAN's networks, smaller than the paper's.

    python -m gan_jax.main --config=configs/lsgan.py
    python -m gan_jax.main --config=configs/lsgan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('lsgan', argument)
    config.loss.name = 'least_squares'
    return config
