"""Relativistic GAN with R1 and R2, on digits (185 s on 2 CPU cores).

Papers: Jolicoeur-Martineau, The relativistic discriminator: a key element
missing from standard GAN, https://arxiv.org/abs/1807.00734, 2018; Huang et
al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
https://arxiv.org/abs/2501.05441, 2025, which adds R1 and R2. From the papers:
the loss compares each real image with one fake, and gradients of D are
penalised on both.
Differences: DCGAN's networks with layer norm in D, without which the digits
collapse (benchmarks/README.md); penalty weights of 0.1, our choice; G sees the
real images that D has just seen (--config.fresh_reals=True changes that).

Expected on the digits after 2,000 steps, seed 0: readable digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.966,
nearest 1.328, spread 1.040; rarest class 7.5 %.
Time: 185 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/relativistic.py
    python -m gan_jax.main --config=configs/relativistic.py:mnist
    python -m gan_jax.main --config=configs/relativistic.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('relativistic', argument)
    config.loss.name = 'relativistic'
    config.discriminator.norm = 'layer'
    config.penalties.r1.weight = config.penalties.r2.weight = 0.1
    return config
