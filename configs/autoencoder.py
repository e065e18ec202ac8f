"""An autoencoder: DCGAN's generator as decoder, its discriminator as encoder.

The first of three that have no discriminator; vae.py and glo.py are the others.
Paper: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural
Networks, Science 313, 2006. Sampled by a Gaussian fitted to the codes: Ghosh et
al., From Variational to Deterministic Autoencoders,
https://arxiv.org/abs/1903.12436, 2019; --config.latent=gaussian samples N(0, I)
instead, which no loss asks of the codes. Differs: DCGAN's layers, so the
decoder is the generator of dcgan.py and the two can be compared.

    python -m gan_jax.main --config=configs/autoencoder.py
    python -m gan_jax.main --config=configs/autoencoder.py:mnist \
        --config.reconstruction.error=l1

reconstruction.error is l2, l1 or huber. The pictures reconstructed-*.png
have real images in odd rows and what is made of their codes below, held-out
ones where data.test_share or the data set has any.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a, images.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('autoencoder', argument)
    config.algorithm = 'autoencoder'
    config.latent, config.latent_size = 'fitted', 32
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1 = 1e-3, 0.9
    return config
