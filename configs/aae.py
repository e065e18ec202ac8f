"""Adversarial autoencoder: D judges codes, and makes them those of the prior.

Paper: Makhzani et al., Adversarial Autoencoders,
https://arxiv.org/abs/1511.05644, 2015. From the paper: a deterministic encoder,
a squared error, and a dense D that tells codes from samples of the prior.

    python -m gan_jax.main --config=configs/aae.py
    python -m gan_jax.main --config=configs/aae.py:mnist
    python -m gan_jax.main --config=configs/aae.py:images \
        --config.data.path=my/images

Expected on the digits (the default) after 2,000 steps, seed 0: samples and
reconstructions are readable digits, a little blurred.
Time: 1.6 minutes on 2 CPU cores that were shared with other work (2026-11-27).

Differences: DCGAN's encoder and decoder, where the paper's are dense; Adam with
1e-3 for both and 3e-4 for D, where the paper has SGD; the adversarial loss has
weight 0.03; one update in place of two phases. z has 16 numbers, D two layers
of 128.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64. The prior is
--config.latent=gaussian, uniform or sphere.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('aae', argument)
    config.algorithm = 'aae'
    config.latent_size = 16
    config.discriminator.name, config.discriminator.norm = 'mlp', 'none'
    config.discriminator.width = 128
    config.reconstruction.adversarial = 0.03
    config.g_optimizer.learning_rate = 1e-3
    config.d_optimizer.learning_rate = 3e-4
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1 = 0.5
    return config
