"""PacGAN: a discriminator that judges several samples as one.

Paper: Lin et al., PacGAN: The power of two samples in generative adversarial
networks, https://arxiv.org/abs/1712.04086, 2017. From it: two samples side by
side in D's channels, all else as without. On points, where modes are counted:
--config=configs/mixtures.py:ring --config.packing=2.

    python -m gan_jax.main --config=configs/pacgan.py
    python -m gan_jax.main --config=configs/pacgan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('pacgan', argument)
    config.packing = 2
    return config
