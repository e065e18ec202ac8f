"""DRAGAN on handwritten digits.

Paper: Kodali et al., On Convergence and Stability of GANs,
https://arxiv.org/abs/1705.07215, 2017. From the paper: a gradient penalty of
weight 10 at noisy real images, one update of each player. From the authors'
notebook: the noise, which the paper does not specify.
Differences: DCGAN's networks and learning rates, with layer norm in D.
BatchNorm would mix the images whose gradients are penalised, and without any
norm the digits collapse (benchmarks/README.md).

Expected on the digits after 2,000 steps, seed 0: readable digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.963,
nearest 1.338, spread 1.050; rarest class 8.2 %.
Time: 129 s on 2 CPU cores (2026-11-22), before the noise was mended.

    python -m gan_jax.main --config=configs/dragan.py
    python -m gan_jax.main --config=configs/dragan.py:mnist
    python -m gan_jax.main --config=configs/dragan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('dragan', argument)
    config.penalties.dragan.weight = 10.0
    config.discriminator.norm = 'layer'
    return config
