"""Variational autoencoder on handwritten digits (42 s on 2 CPU cores).

There is no discriminator. The decoder is DCGAN's generator, so that the samples
can be compared with those of dcgan.py, autoencoder.py and glo.py.
Papers: Kingma and Welling, Auto-Encoding Variational Bayes,
https://arxiv.org/abs/1312.6114, 2013; with reconstruction.beta other than 1
Higgins et al., beta-VAE, ICLR 2017. The decoder is a Gaussian around its
output, with the standard deviation reconstruction.std of 0.5 for images in
[-1, 1], our choice. A smaller one weights reconstruction more than the KL
divergence.

Expected on the digits with --config.data.test_share=0.2 after 2,000 steps, seed
0: blurred digits, FID 114
(benchmarks/README.md, "How do autoencoder, VAE and GAN compare?").
Time: 42 s on 2 CPU cores (2026-11-23).

    python -m gan_jax.main --config=configs/vae.py
    python -m gan_jax.main --config=configs/vae.py:mnist
    python -m gan_jax.main --config=configs/vae.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('vae', argument)
    config.algorithm = 'vae'
    config.latent_size = 32
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1 = 1e-3, 0.9
    return config
