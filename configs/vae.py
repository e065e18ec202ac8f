"""A variational autoencoder with DCGAN's networks.

Paper: Kingma and Welling, Auto-Encoding Variational Bayes,
https://arxiv.org/abs/1312.6114, 2013; reconstruction.beta other than 1 makes it
that of Higgins et al., beta-VAE, ICLR 2017. The decoder is a Gaussian of
deviation reconstruction.std about its output, 0.25 for images in [-1, 1], ours:
the smaller it is, the more a reconstruction counts beside the KL divergence.
Differs: DCGAN's layers, so the decoder is the generator of dcgan.py and the two
can be compared.

    python -m gan_jax.main --config=configs/vae.py
    python -m gan_jax.main --config=configs/vae.py:mnist \
        --config.reconstruction.beta=4

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a, images.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('vae', argument)
    config.algorithm = 'vae'
    config.latent_size = 32
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1 = 1e-3, 0.9
    return config
