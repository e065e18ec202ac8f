"""Relativistic pairs with both gradient penalties.

Papers: Jolicoeur-Martineau, The relativistic discriminator: a key element
missing from standard GAN, https://arxiv.org/abs/1807.00734, 2018; Huang et
al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
https://arxiv.org/abs/2501.05441, 2025, which adds R1 and R2. From them: each
real image ranked above one fake, and D's slope penalised on both. Differs:
DCGAN's networks with layer norm in D, without which the digits collapse
(configs/README.md); penalty weights of 0.1, ours.

    python -m gan_jax.main --config=configs/relativistic.py
    python -m gan_jax.main --config=configs/relativistic.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('relativistic', argument)
    config.loss.name = 'relativistic'
    config.discriminator.norm = 'layer'
    config.penalties.r1.weight = config.penalties.r2.weight = 0.1
    return config
