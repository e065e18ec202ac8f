"""DCGAN on handwritten digits (2 minutes on 2 CPU cores) or other images.

Paper: Radford, Metz, Chintala, Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks,
https://arxiv.org/abs/1511.06434, 2015. From the paper: convolutional networks
with BatchNorm, Adam(2e-4, b1 0.5), z of size 100, weights from N(0, 0.02^2),
non-saturating loss.

    python -m gan_jax.main --config=configs/dcgan.py
    python -m gan_jax.main --config=configs/dcgan.py:mnist
    python -m gan_jax.main --config=configs/dcgan.py:images \
        --config.data.path=my/images

| argument      | data                    | G width | D width | kernel | batch |
|---------------|-------------------------|---------|---------|--------|-------|
| digits        | 1,797 of 32x32x1        | 24      | 16      | 4      | 64    |
| mnist         | 28x28x1                 | 64      | 64      | 4      | 64    |
| fashion_mnist | 28x28x1                 | 64      | 64      | 4      | 64    |
| stacked_mnist | 28x28x3, 1,000 modes    | 64      | 64      | 4      | 64    |
| cifar10       | 32x32x3                 | 64      | 64      | 4      | 64    |
| images        | your images, at 64x64   | 64      | 64      | 4      | 64    |
| celeb_a       | cropped to 64x64x3      | 128     | 64      | 5      | 128   |

Expected on the digits (the default) after 7,500 steps, seed 0: clear digits.
Digits score (1 is as real digits, configs/GLOSSARY.md): confidence 0.971,
nearest 1.185, spread 1.003; rarest class 7.9 %.
Time: 141 s on 2 CPU cores (AMD EPYC, 2026-11-23), compilation included.

Differences: celeb_a has the paper's 64x64 generator (1024, 512, 256, 128 and 3
channels, figure 1), its authors' discriminator (64, 128, 256, 512), their
kernel of 5 and batch of 128. The others have smaller images, so fewer layers
and smaller widths; kernel 4, a multiple of the stride, so that every pixel is
covered equally often; and batch 64. For all, z is N(0, I), where the paper has
U(-1, 1), and samples come from a moving average of G, which the paper does not
have.
The paper scales images to [-1, 1] and does nothing else to them. On the digits
alone, D gets images with Gaussian noise of standard deviation 0.4, which falls
to 0 at the end: with 1,797 images D learns to distinguish real from fake by
detail before shape, and samples without the noise are further from digits
(benchmarks/README.md).
"""

from gan_jax.config import recipes


def get_config(argument='digits'):
    """Build the config for one data set."""
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
