"""pix2pix: edges to digits, or one image of each of your pairs to the other.

Paper: Isola et al., Image-to-Image Translation with Conditional Adversarial
Networks, https://arxiv.org/abs/1611.07004, 2016. From the paper: a U-Net, a
PatchGAN that judges the pair of input and output, cross-entropy plus 100 times
the mean absolute error, Adam with 2e-4 and b1 of 0.5. From the authors' code: a
rate that is held for half of the steps and then falls linearly.

    python -m gan_jax.main --config=configs/pix2pix.py
    python -m gan_jax.main --config=configs/pix2pix.py:images \
        --config.data.a.path=my/maps --config.data.b.path=my/photos \
        --workdir=runs/maps
    python -m gan_jax.main --config=configs/pix2pix.py:images \
        --config.data.path=my/flowers --config.data.task=edges
    python -m gan_jax translate --workdir=runs/maps \
        --input=map.png --out=photo.png

| argument   | U-Net | D           | size | batch | steps  |
|------------|-------|-------------|------|-------|--------|
| digits     | 16    | 16, depth 2 | 32   | 4     | 6,000  |
| images     | 32    | 32, depth 3 | 64   | 4     | 50,000 |
| images_256 | 64    | 64, depth 3 | 256  | 1     | 80,000 |

U-Net and D: channels of the first layer; depth of D: layers that halve the
side. `images` and `images_256` are your own: two folders or archives with the
same file names, pictures of two halves, or one set with data.task. They are
resized to 72 and 286 pixels and cropped to the size at random, and mirrored,
both images of a pair alike. images_256 is the authors' setting for facades, for
accelerators; it was not run.

Expected on the digits (the default) after 6,000 steps, seed 0: clear digits,
with a mean error of 0.019 to the held-out ones, of a range of 1; the mean digit
has 0.097, and the same network trained by L1 alone 0.018
(benchmarks/README.md, "How well are images translated?").
Time: 57 s on 2 CPU cores (AMD EPYC, 2026-11-27).

Differences: digits and `images` have smaller networks, batches of 4 and
instance norm, which is batch norm for one image. G's moving average translates.
A U-Net for 32x32 has no layers with dropout, as in the authors' code, and so
the digits have no noise. D's loss is not halved.
"""

from gan_jax.config import recipes

SIZES = {  # as of `recipes.between_domains`
    'digits': (16, 16, 2, '', '', 4, 6000),
    'images': (32, 32, 3, '72', '64', 4, 50_000),
    'images_256': (64, 64, 3, '286', '256', 1, 80_000),
}


def get_config(argument='digits'):
    """Build the config for two domains of pairs."""
    config = recipes.between_domains('pix2pix', argument, SIZES)
    config.generator.name, config.generator.dropout = 'unet', 0.5
    # The authors' batch norm with one image per batch is an instance norm.
    for player in (config.generator, config.discriminator):
        player.norm = 'batch' if argument == 'images_256' else 'instance'
    if argument == 'digits':
        config.data.task = 'edges'
    return config
