"""DCGAN on handwritten digits, or on a set of TensorFlow Datasets.

Paper: Radford, Metz, Chintala, Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks,
https://arxiv.org/abs/1511.06434, 2015. From it: all-convolutional networks
with BatchNorm, Adam(2e-4, b1 0.5), z of 100, weights from N(0, 0.02^2),
non-saturating loss.

    python -m gan_jax.main --config=configs/dcgan.py
    python -m gan_jax.main --config=configs/dcgan.py:mnist
    python -m gan_jax.main --config=configs/dcgan.py:images \
        --config.data.path=my/images

| argument      | data                   | G width | D width | kernel | batch |
|---------------|------------------------|---------|---------|--------|-------|
| digits        | 1,797 of 32x32x1       | 24      | 16      | 4      | 64    |
| mnist         | 28x28x1                | 64      | 64      | 4      | 64    |
| fashion_mnist | 28x28x1                | 64      | 64      | 4      | 64    |
| stacked_mnist | 28x28x3, 1,000 modes   | 64      | 64      | 4      | 64    |
| cifar10       | 32x32x3                | 64      | 64      | 4      | 64    |
| images        | yours, cropped to 64   | 64      | 64      | 4      | 64    |
| celeb_a       | cropped to 64x64x3     | 128     | 64      | 5      | 128   |

celeb_a has the paper's 64x64 generator (1024, 512, 256, 128, 3 channels, figure
1), its authors' discriminator (64, 128, 256, 512), their kernel of 5 and batch
of 128. The others differ from the paper: smaller images, so fewer layers and
smaller widths; kernel 4, a multiple of the stride, so that every pixel is
covered equally often; batch 64. All differ in z, which is N(0, I) where the
paper has U(-1, 1), and in sampling from a moving average of the generator,
which the paper does not have. The paper scales images to [-1, 1] and does
nothing else to them; on the digits alone we show the discriminator images
with Gaussian noise of standard deviation 0.4 that falls to 0 by the end: with
1,797 images it learns to tell real from fake by detail before shape, and the
samples without it are further from digits (configs/README.md).

Expected, and where it was measured: configs/README.md.
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Give the config for one data set."""
    config = recipes.on_images('dcgan', argument)
    if argument == 'digits':
        config.num_steps = 7500
        config.instance_noise.std = 0.4
        config.instance_noise.decay_steps = config.num_steps
    if argument == 'celeb_a':
        config.batch_size = 128
        config.generator.width = 128
        config.generator.kernel_size = config.discriminator.kernel_size = 5
    return config
