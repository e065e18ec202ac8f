"""ACGAN: a discriminator that also tells the class.

Paper: Odena, Olah, Shlens, Conditional Image Synthesis With Auxiliary
Classifier GANs, https://arxiv.org/abs/1610.09585, 2016. From it: the label
beside z, class logits of D, their cross-entropy in both losses, dropout in D.
Differs: DCGAN's networks; in G's loss the cross-entropy has weight 0.5 and
dropout is 0.25, where the paper has 1 and 0.5: with those each class of the
digits becomes one image (configs/README.md).

    python -m gan_jax.main --config=configs/acgan.py
    python -m gan_jax.main --config=configs/acgan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('acgan', argument)
    config.generator.condition = 'concat'
    config.discriminator.condition = 'auxiliary'
    config.discriminator.dropout = 0.25
    config.penalties.d_classification.weight = 1.0
    config.penalties.g_classification.weight = 0.5
    return config
