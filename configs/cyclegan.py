"""CycleGAN: digits to colored, striped digits and back, without pairs.

Paper: Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks, https://arxiv.org/abs/1703.10593, 2017. From the paper:
two generators with residual blocks, two PatchGANs, instance norm, least
squares, the cycle and the identity error, a history of 50 fakes for each
discriminator, Adam with 2e-4 and b1 of 0.5, and a rate that is held for half of
the steps and then falls linearly.

    python -m gan_jax.main --config=configs/cyclegan.py
    python -m gan_jax.main --config=configs/cyclegan.py:images \
        --config.data.path=my/horse2zebra --workdir=runs/zebras
    python -m gan_jax.main --config=configs/cyclegan.py:images \
        --config.data.a.path=my/horses --config.data.b.path=my/zebras
    python -m gan_jax translate --workdir=runs/zebras \
        --direction=a_to_b --input=horse.jpg --out=zebra.png

| argument       | G                | D               | size | batch | steps   |
|----------------|------------------|-----------------|------|-------|---------|
| digits         | 16, 6 blocks     | 16, depth 2     | 32   | 4     | 6,000   |
| images         | 32, 6 blocks     | 32, depth 3     | 64   | 4     | 50,000  |
| images_256     | 64, 9 blocks     | 64, depth 3     | 256  | 1     | 200,000 |

G: channels of the first layer and residual blocks. D: channels of the first
layer and layers that halve the side. `images` and `images_256` are your own: a
folder with trainA and trainB, or one folder or archive for each domain. They
are resized to 72 and 286 pixels and cropped to the size at random, and
mirrored. images_256 is the authors' setting, for accelerators; it was not run.

Expected on the digits (the default) after 6,000 steps, seed 0: held-out digits
are colored and striped as they should be, and back. The error to the true image
is 0.12 and 0.15 of the distance between the domains; all keep their class
(benchmarks/README.md, "How well are images translated?").
Time: 3.3 minutes on 2 CPU cores (AMD EPYC, 2026-11-27).

Differences: digits and `images` have smaller networks and batches of 4; users
of the authors' code found one image better (its issues 213 and 616). The digits
have no identity error, because their domains have one and three channels. The
generators' moving averages translate; the authors have none.
"""

from gan_jax.config import recipes

SIZES = {  # as of `recipes.between_domains`
    'digits': (16, 16, 2, '', '', 4, 6000),
    'images': (32, 32, 3, '72', '64', 4, 50_000),
    'images_256': (64, 64, 3, '286', '256', 1, 200_000),
}
NUM_BLOCKS = {'digits': 6, 'images': 6, 'images_256': 9}


def get_config(argument='digits'):
    """Build the config for two domains."""
    config = recipes.between_domains('cyclegan', argument, SIZES)
    config.generator.name = 'resnet_translator'
    config.generator.num_blocks = NUM_BLOCKS[argument]
    for player in (config.generator, config.discriminator):
        player.norm = 'instance'
    config.loss.name = 'least_squares'
    config.history.size = 50
    # Half of the authors' 10 and 5, as their squares are twice those here.
    config.translation.cycle, config.translation.identity = 5.0, 2.5
    if argument == 'digits':
        config.data.task = 'stripes'
        config.translation.identity = 0.0  # gray images against color
    return config
