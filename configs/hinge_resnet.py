"""ResNet GAN with hinge loss and spectral norm on handwritten digits.

Paper: Miyato et al., Spectral Normalization for Generative Adversarial
Networks, https://arxiv.org/abs/1802.05957, 2018. From the paper: residual
networks, no BatchNorm in D, spectral normalisation of every layer of D, hinge
loss, Adam(2e-4, b1 0, b2 0.9), 5 updates of D for each of G.
Differences on the digits: widths 24 and 16, where the paper has 256 and 128 on
images of 32x32.

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
    if argument != 'digits':
        config.generator.width, config.discriminator.width = 256, 128
    return config
