"""Autoencoder on handwritten digits (39 s on 2 CPU cores).

There is no discriminator. The decoder is DCGAN's generator and the encoder has
the layers of its discriminator, so that the samples can be compared with those
of dcgan.py, vae.py and glo.py.
Papers: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with
Neural Networks, Science 313, 2006; for sampling by a Gaussian fitted to the
codes: Ghosh et al., From Variational to Deterministic Autoencoders,
https://arxiv.org/abs/1903.12436, 2019. --config.latent=gaussian samples from
N(0, I) instead, of which most samples are noise, since no loss asks the codes
to have that distribution.

Expected on the digits with --config.data.test_share=0.2 after 2,000 steps, seed
0: smeared digits, FID 113
(benchmarks/README.md, "How do autoencoder, VAE and GAN compare?").
Time: 39 s on 2 CPU cores (2026-11-23).

The option reconstruction.error is l2, l1 or huber. The pictures
reconstructed-*.png have real images in odd rows and their reconstructions
below, held-out images if data.test_share or the data set provides any.

    python -m gan_jax.main --config=configs/autoencoder.py
    python -m gan_jax.main --config=configs/autoencoder.py:mnist
    python -m gan_jax.main --config=configs/autoencoder.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('autoencoder', argument)
    config.algorithm = 'autoencoder'
    config.latent, config.latent_size = 'fitted', 32
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1 = 1e-3, 0.9
    return config
