"""VAE-GAN: a VAE that compares images by the layers of a discriminator.

Paper: Larsen et al., Autoencoding beyond pixels using a learned similarity
metric, https://arxiv.org/abs/1512.09300, 2015. From the paper: the error of a
reconstruction is that of D's layers and not of pixels; D judges reconstructions
and samples of the prior; the encoder gets no adversarial loss.

    python -m gan_jax.main --config=configs/vae_gan.py
    python -m gan_jax.main --config=configs/vae_gan.py:mnist
    python -m gan_jax.main --config=configs/vae_gan.py:images \
        --config.data.path=my/images

Expected on the digits (the default) after 2,000 steps, seed 0: reconstructions
and samples as sharp as the digits; most samples can be read.
Time: not measured.

Differences: the error is of all layers of D but the last, each in units of its
size, while the paper has one layer; reconstructions and samples share the
weight that each has in the paper, and G's loss is non-saturating; KL is divided
by the number of values of an image; reconstruction.decoder_error, the paper's
gamma, is 1; the optimizer is Adam(2e-4, b1 0.5), not RMSProp.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('vae_gan', argument)
    config.algorithm = 'vae_gan'
    config.latent_size = 32
    config.reconstruction.pixels = 0.0
    config.reconstruction.features = 1.0
    config.reconstruction.kl = 1.0
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1 = 0.5
    return config
