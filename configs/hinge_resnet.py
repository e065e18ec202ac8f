"""ResNet GAN with hinge loss and spectral norm on handwritten digits.

Paper: Miyato et al., Spectral Normalization for Generative Adversarial
Networks, https://arxiv.org/abs/1802.05957, 2018. From the paper: residual
networks, no BatchNorm in D, spectral normalisation of every layer of D, hinge
loss, Adam(2e-4, b1 0, b2 0.9), 5 updates of D for each of G.
Widths are the paper's for images up to 32x32, 256 and 128, but 24 and 16 on the
digits and 64 for celeb_a and your own images. z has 100 numbers, where the
paper has 128.

This recipe was not run to the end. With DCGAN's generator, after 2,000 steps on
the digits: clear digits, in 895 s on 2 CPU cores (2026-11-22,
benchmarks/README.md).

    python -m gan_jax.main --config=configs/hinge_resnet.py
    python -m gan_jax.main --config=configs/hinge_resnet.py:cifar10
    python -m gan_jax.main --config=configs/hinge_resnet.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
celeb_a, and images for your own images, at 64x64.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('hinge_resnet', argument)
    config.loss.name, config.d_steps = 'hinge', 5
    config.generator.name = config.discriminator.name = 'resnet'
    config.discriminator.norm = 'none'
    config.discriminator.spectral_norm = True
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.b1, optimizer.b2 = 0.0, 0.9
    # Above 32x32 the networks have up to 16 times their width.
    if argument not in ('digits', 'celeb_a', 'images'):
        config.generator.width, config.discriminator.width = 256, 128
    return config
