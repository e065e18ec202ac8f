"""GLO: optimized latents, on handwritten digits (27 s on 2 CPU cores).

There is no discriminator: each training image has a code, which is learnt.
Paper: Bojanowski, Joulin, Lopez-Paz, Szlam, Optimizing the Latent Space of
Generative Networks, https://arxiv.org/abs/1707.05776, 2017. From the paper:
codes start at random on the unit sphere, are trained by SGD together with the
decoder, and are kept within the unit ball; samples come from a Gaussian fitted
to the codes.
Differences: the L1 loss of images, where the paper has that of their Laplacian
pyramids; Adam(1e-3) for the decoder, which is the generator of dcgan.py. The
codes have 32 numbers and SGD with a rate of 100.

Expected on the digits with --config.data.test_share=0.2 after 2,000 steps, seed
0: blurred digits of little variety, FID 137
(benchmarks/README.md, "How do autoencoder, VAE and GAN compare?").
Time: 27 s on 2 CPU cores (2026-11-23).

The images must fit in the device's memory (data.resident_share), where the
codes are.

    python -m gan_jax.main --config=configs/glo.py
    python -m gan_jax.main --config=configs/glo.py:mnist
    python -m gan_jax.main --config=configs/glo.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('glo', argument, players=('generator',))
    config.algorithm = 'glo'
    config.reconstruction.error = 'l1'
    config.latent, config.latent_size = 'fitted', 32
    config.g_optimizer.learning_rate, config.g_optimizer.b1 = 1e-3, 0.9
    config.d_optimizer.name, config.d_optimizer.learning_rate = 'sgd', 100.0
    return config
