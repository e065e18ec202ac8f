"""EBGAN on handwritten digits (109 s on 2 CPU cores).

Paper: Zhao, Mathieu, LeCun, Energy-based Generative Adversarial Network,
https://arxiv.org/abs/1609.03126, 2016. From the paper: D is an autoencoder
whose reconstruction error is the energy; a margin above which the energy of
fakes has no gradient; the pulling-away term on the codes, with weight 0.1.
Differences: DCGAN's layers. The margin is 10 for all arguments. The Euclidean
energy is near 16 at the start on the digits and grows with the root of the
number of values, to some 55 for 64x64x3: take a larger loss.margin there.

Expected on the digits after 2,000 steps, seed 0: clear digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.974,
nearest 1.195, spread 0.970; rarest class 8.7 %.
Time: 109 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/ebgan.py
    python -m gan_jax.main --config=configs/ebgan.py:mnist
    python -m gan_jax.main --config=configs/ebgan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('ebgan', argument)
    config.loss.name = 'energy_based'
    config.penalties.pulling_away.weight = 0.1
    return config
