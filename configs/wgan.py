"""WGAN with weight clipping on handwritten digits (219 s on 2 CPU cores).

Paper: Arjovsky, Chintala, Bottou, Wasserstein GAN,
https://arxiv.org/abs/1701.07875, 2017. From the paper: weights of the critic
clipped to 0.01, RMSProp(5e-5), 5 critic updates for each of G, batch 64. From
the authors' code: decay 0.99; 100 critic updates in each of the first 25 steps
and in every 500th; DCGAN's networks with BatchNorm in the critic, whose scales
are clipped too.
Differences: fewer layers and smaller widths. wgan_gp.py differs from this
recipe in optimizer, learning rate, norm and schedule, not in the penalty alone.

Expected on the digits after 2,000 steps, seed 0: strokes, many of them
digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.966,
nearest 1.544, spread 1.093; rarest class 4.9 %.
Time: 219 s on 2 CPU cores (2026-11-22).

    python -m gan_jax.main --config=configs/wgan.py
    python -m gan_jax.main --config=configs/wgan.py:mnist
    python -m gan_jax.main --config=configs/wgan.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('wgan', argument)
    config.loss.name = 'wasserstein'
    config.schedule.name, config.d_steps = 'wgan', 5
    config.clip_weights = 0.01
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.name, optimizer.learning_rate = 'rmsprop', 5e-5
    return config
