"""WGAN: a critic with clipped weights.

Paper: Arjovsky, Chintala, Bottou, Wasserstein GAN,
https://arxiv.org/abs/1701.07875, 2017. From it: weights clipped to 0.01,
RMSProp with 5e-5, 5 critic updates to one of G, batch 64; from the authors'
code: decay 0.99, and 100 critic updates in each of the first 25 steps and
every 500th; DCGAN's networks, BatchNorm in the critic included, whose scales
are clipped like all else. Differs: fewer layers and smaller widths.

    python -m gan_jax.main --config=configs/wgan.py
    python -m gan_jax.main --config=configs/wgan.py:mnist

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('wgan', argument)
    config.loss.name = 'wasserstein'
    config.schedule.name, config.d_steps = 'wgan', 5
    config.clip_weights = 0.01
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.name, optimizer.learning_rate = 'rmsprop', 5e-5
    return config
