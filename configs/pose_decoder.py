"""A decoder on codes that are given: class, angle and scale of a digit.

Paper: Dosovitskiy, Springenberg, Brox, Learning to Generate Chairs with
Convolutional Neural Networks, https://arxiv.org/abs/1411.5928, 2014. From it: a
network learns images from a description of what they show, by the squared
error, and then makes what lies between two descriptions. Differs: digits, of
which many share a description, so that it makes their mean; DCGAN's generator.

    python -m gan_jax.main --config=configs/pose_decoder.py
    python benchmarks/codes.py --given=runs/given --picture=runs/codes.png

Each image is turned by up to reconstruction.angle radians and scaled by up to
1 plus or minus reconstruction.scale, anew each time. A seed samples a class,
angle and scale.

Arguments: digits (the default), mnist, fashion_mnist, cifar10, celeb_a, images.
Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('pose_decoder', argument, players=('generator',))
    config.algorithm = 'pose_decoder'
    config.g_optimizer.learning_rate, config.g_optimizer.b1 = 1e-3, 0.9
    return config
