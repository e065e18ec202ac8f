"""Generative latent optimisation: a generator on codes that are learnt.

Paper: Bojanowski, Joulin, Lopez-Paz, Szlam, Optimizing the Latent Space of
Generative Networks, https://arxiv.org/abs/1707.05776, 2017. From it: a code for
each image, random on the unit sphere at first, moved by SGD along with the
decoder and kept within the unit ball; samples by a Gaussian fitted to the
codes. Differs: the L1 loss of images in place of that of their Laplacian
pyramids; Adam for the decoder; DCGAN's generator at the widths of dcgan.py.

    python -m gan_jax.main --config=configs/glo.py
    python -m gan_jax.main --config=configs/glo.py:mnist

The set must lie in memory (data.feed=resident): its codes do.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a, images.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('glo', argument, players=('generator',))
    config.algorithm = 'glo'
    config.reconstruction.error = 'l1'
    config.latent, config.latent_size = 'fitted', 32
    config.g_optimizer.learning_rate, config.g_optimizer.b1 = 1e-3, 0.9
    config.d_optimizer.name, config.d_optimizer.learning_rate = 'sgd', 100.0
    return config
