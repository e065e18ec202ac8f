"""The first GAN: dense networks.

Paper: Goodfellow et al., Generative Adversarial Networks,
https://arxiv.org/abs/1406.2661, 2014. From it: dense networks, z into G and
images into D as vectors, the non-saturating loss of its section 3; the loss of
its equation 1 is --config.loss.name=minimax. Differs: Adam and LeakyReLU, where
the authors have momentum, maxout and dropout.

    python -m gan_jax.main --config=configs/gan.py
    python -m gan_jax.main --config=configs/gan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('gan', argument)
    for player in (config.generator, config.discriminator):
        player.name, player.norm, player.width = 'mlp', 'none', 256
    config.discriminator.dropout = 0.3
    return config
