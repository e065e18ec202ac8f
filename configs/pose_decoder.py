"""Decoder from class and pose to handwritten digits (38 s on 2 CPU cores).

There is no discriminator: the network learns images from a description of what
they show, and can interpolate between two descriptions.
Paper: Dosovitskiy, Springenberg, Brox, Learning to Generate Chairs with
Convolutional Neural Networks, https://arxiv.org/abs/1411.5928, 2014. From the
paper: images from a description, by the squared error.
Differences: the description is class, angle and scale. Many digits share one,
so that the decoder makes their mean. The decoder is DCGAN's generator.

Expected on the digits with --config.data.test_share=0.2 after 2,000 steps, seed
0: means of digits, FID 270
(benchmarks/README.md, "How do autoencoder, VAE and GAN compare?").
Time: 38 s on 2 CPU cores (2026-11-23).

Each image is rotated by up to reconstruction.angle radians and scaled by a
factor of up to 1 plus or minus reconstruction.scale, at random each time. A
seed samples class, angle and scale. A picture of interpolations:

    python benchmarks/codes.py --pose_decoder=runs/pose_decoder \
        --picture=runs/codes.png

    python -m gan_jax.main --config=configs/pose_decoder.py
    python -m gan_jax.main --config=configs/pose_decoder.py:mnist
    python -m gan_jax.main --config=configs/pose_decoder.py:images \
        --config.data.path=my/images

Arguments: digits (the default), mnist, fashion_mnist, cifar10, stacked_mnist,
and images for your own images, at 64x64, in one subfolder for each class.
celeb_a has no classes, so this recipe cannot train on it.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.on_images('pose_decoder', argument, players=('generator',))
    config.algorithm = 'pose_decoder'
    config.g_optimizer.learning_rate, config.g_optimizer.b1 = 1e-3, 0.9
    return config
