"""ACGAN, class-conditional, on handwritten digits (107 s on 2 CPU cores).

Paper: Odena, Olah, Shlens, Conditional Image Synthesis With Auxiliary
Classifier GANs, https://arxiv.org/abs/1610.09585, 2016. From the paper: the
label is an input of G, D also classifies images, both losses have the
cross-entropy of that, and D has dropout.
Differences: DCGAN's networks. In G's loss the cross-entropy has weight 0.5, and
dropout is 0.25, where the paper has 1 and 0.5: with those each class of the
digits collapses to one image (benchmarks/README.md).

Expected on the digits after 2,000 steps, seed 0: clear digits, alike within a
class; a classifier finds the requested class in 99.7 % of them.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 1.009,
nearest 1.012, spread 0.562; rarest class 9.7 %.
Time: 107 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/acgan.py
    python -m gan_jax.main --config=configs/acgan.py:mnist
    python -m gan_jax.main --config=configs/acgan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
and images for your own images, at 64x64, in one subfolder for each class.
celeb_a has no classes, so this recipe cannot train on it.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('acgan', argument)
    config.generator.condition = 'concat'
    config.discriminator.condition = 'auxiliary'
    config.discriminator.dropout = 0.25
    config.penalties.d_classification.weight = 1.0
    config.penalties.g_classification.weight = 0.5
    return config
