"""PacGAN on handwritten digits (92 s on 2 CPU cores).

Paper: Lin et al., PacGAN: The power of two samples in generative adversarial
networks, https://arxiv.org/abs/1712.04086, 2017. From the paper: D gets two
samples at once, side by side in its channels; networks, loss and rates are
DCGAN's. Unlike dcgan.py it has no noise on the digits. On points,
where modes can be counted:
--config=configs/mixtures.py:ring --config.packing=2.

Expected on the digits after 2,000 steps, seed 0: readable digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.960,
nearest 1.400, spread 1.072; rarest class 7.5 %.
Time: 92 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/pacgan.py
    python -m gan_jax.main --config=configs/pacgan.py:mnist
    python -m gan_jax.main --config=configs/pacgan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('pacgan', argument)
    config.packing = 2
    return config
