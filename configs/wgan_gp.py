"""WGAN-GP: a critic held to slope 1.

Paper: Gulrajani et al., Improved Training of Wasserstein GANs,
https://arxiv.org/abs/1704.00028, 2017. From it: penalty weight 10, 5 critic
updates to one of G, Adam(1e-4, b1 0, b2 0.9), no BatchNorm in the critic but
layer norm. Differs: DCGAN's networks; --config.generator.name=resnet and
--config.discriminator.name=resnet have the paper's blocks.

    python -m gan_jax.main --config=configs/wgan_gp.py
    python -m gan_jax.main --config=configs/wgan_gp.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('wgan_gp', argument)
    config.loss.name, config.d_steps = 'wasserstein', 5
    config.penalties.gradient_penalty.weight = 10.0
    config.discriminator.norm = 'layer'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1, optimizer.b2 = 1e-4, 0.0, 0.9
    return config
