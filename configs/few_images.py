"""StyleGAN2 with ADA, for 100 to 5,000 images of your own.

Paper: Karras et al., Training Generative Adversarial Networks with Limited
Data, https://arxiv.org/abs/2006.06676, 2020. With few images D overfits to
them, and samples get worse (section 2 there). ADA changes all images that
D sees, real and fake, with a probability that follows how sure D is of the real
ones, so that the changes do not appear in samples (gan_jax/ops/ada.py).

    python -m gan_jax.main --config=configs/few_images.py:images \
        --config.data.path=my/images
    python -m gan_jax.main --config=configs/few_images.py:auto_256 \
        --config.data.path=my/images
    python -m gan_jax.main --config=configs/few_images.py

Networks, losses and arguments are those of stylegan2.py: `images` resizes your
images to 64x64, `auto_256` to 256x256, for an accelerator; `digits`, the
default, needs no download. A tenth of the digits, or of your images, is held
out from training, to see what D has learned by heart. Mirror images are added,
but not of digits and the like. If your images show text, or always face one
side, take `--config.data.flip=False`.

`--config.augment.adaptive=False` turns augmentation off. With that and
`--config.augment.color=True --config.augment.translation=True
--config.augment.cutout=True` it is DiffAugment (Zhao et al.,
https://arxiv.org/abs/2006.10738, 2020) in place of ADA.

Watch `d/augment_probability`: it stays at 0 while D is unsure, and above 0.8
the changes can appear in samples. `probe/d_memory`, the chance that D ranks a
training image above a held-out one, is 0.5 if D remembers nothing.

Difference: the probability can go from 0 to 1 in 100,000 images, as the authors
have it for the training of a trained GAN, and not in 500,000: runs here are
shorter.

This recipe was not run at its own lengths (100,000 steps for images, 6,500 on
the digits). benchmarks/few_images.py compares ADA, DiffAugment and no
augmentation on 500 photographs (benchmarks/README.md).
"""

import pathlib

from gan_jax.config import recipes

STYLEGAN2 = pathlib.Path(__file__).with_name('stylegan2.py')


def get_config(argument='digits'):
    """Build the config for one data set."""
    config = recipes.load(STYLEGAN2, argument)
    config.augment.adaptive = True
    config.augment.adaptive_images = 100_000
    if argument == 'digits' or not config.data.name:
        config.data.test_share = 0.1
    return config
