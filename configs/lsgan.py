"""Least-squares GAN on handwritten digits (78 s on 2 CPU cores).

Paper: Mao et al., Least Squares Generative Adversarial Networks,
https://arxiv.org/abs/1611.04076, 2016. From the paper: the loss with 0-1 coding
(a 0, b and c 1) and a linear output of D. The coding that minimizes the Pearson
divergence is --config.loss.a=-1 --config.loss.c=0.
Differences: DCGAN's networks, smaller than the paper's.

Expected on the digits after 2,000 steps, seed 0: readable digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.961,
nearest 1.328, spread 1.014; rarest class 6.1 %.
Time: 78 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/lsgan.py
    python -m gan_jax.main --config=configs/lsgan.py:mnist
    python -m gan_jax.main --config=configs/lsgan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('lsgan', argument)
    config.loss.name = 'least_squares'
    return config
