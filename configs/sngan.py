"""SNGAN: spectral norm, on handwritten digits (60 s on 2 CPU cores).

Paper: Miyato et al., Spectral Normalization for Generative Adversarial
Networks, https://arxiv.org/abs/1802.05957, 2018. From the paper: spectral
normalisation of every layer of D, no BatchNorm in D, hinge loss, Adam(2e-4,
b1 0, b2 0.9).
Differences: DCGAN's networks; one update of D for each of G, where the paper
also tries 5.

Expected on the digits after 2,000 steps, seed 0: readable digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.963,
nearest 1.348, spread 1.067; rarest class 6.8 %.
Time: 60 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/sngan.py
    python -m gan_jax.main --config=configs/sngan.py:mnist
    python -m gan_jax.main --config=configs/sngan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('sngan', argument)
    config.loss.name = 'hinge'
    config.discriminator.norm = 'none'
    config.discriminator.spectral_norm = True
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.b2 = 0.0, 0.9
    return config
