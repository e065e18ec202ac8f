"""PatchGAN: a discriminator with a logit for each of many patches.

Isola et al., Image-to-Image Translation with Conditional Adversarial Networks,
https://arxiv.org/abs/1611.07004, 2016, section 3.3.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import translators


class Discriminator(fields.Layers, kw_only=True):
    """Discriminator whose output is a map of logits.

    Convolutions of size 4 and padding 1: `depth` ones that halve the side, then
    two of stride 1. LeakyReLU(0.2) follows all but the last, a norm all but the
    first and the last. Channels are 1, 2, 4, 8, 8, ... times the width. Weights
    start from N(0, 0.02^2). Without an instance norm, which depends on the
    whole image, a logit depends on a square of side

        16, 34, 70, 142, 286 for depth 1, 2, 3, 4, 5.

    The map has side floor(s / 2^depth) - 2 for images of side s: 30 for 256 and
    depth 3. The loss is a mean over the map.

    As in the authors' code, with the norms of `translators.norm`. The paper's
    patches of one pixel, a network of its own, are not possible.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the first layer.
        depth: number of layers that halve the side; the paper's is 3.
        norm: 'instance' as in CycleGAN; pix2pix has 'batch'.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial
        Networks, https://arxiv.org/abs/1611.07004, 2016; Zhu et al., Unpaired
        Image-to-Image Translation using Cycle-Consistent Adversarial Networks,
        https://arxiv.org/abs/1703.10593, 2017.
    """

    width: int = 64
    depth: int = 3
    norm: str = 'instance'

    @nn.compact
    def __call__(self, inputs, *, condition=None, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`; `keys` is unused.
            condition: [B, H, W, C'], images from which `inputs` are translated,
                or None. Their channels precede those of `inputs`.

        Returns:
            `layers.Output`. Its logits are a map [B, h, w], its features the
            mean of the last hidden layer over the map.
        """
        del keys
        self._check(inputs, condition)
        x = inputs
        if condition is not None:
            x = jnp.concatenate([condition, inputs], -1)

        def convolve(x, number, features, **options):
            window = (
                translators.HALVE if number < self.depth else translators.PAD_1
            )
            return translators.conv(
                self, x, features, 4, train=train, **window, **options
            )

        x = nn.leaky_relu(
            convolve(x, 0, self.width, use_bias=True), translators.SLOPE
        )
        for number in range(1, self.depth + 1):
            features = self.width * min(2**number, translators.WIDEST)
            x = convolve(x, number, features)
            x = translators.norm(self, x, train=train)
            x = nn.leaky_relu(x, translators.SLOPE)
        logits = convolve(x, self.depth, 1, use_bias=True)
        return layers.Output(logits[..., 0].astype(jnp.float32), x.mean((1, 2)))

    def _check(self, images, condition):
        """Check the depth and the shapes of both images.

        Raises:
            ValueError: if they do not fit.
        """
        height, width = translators.check_images(self, images)
        smallest = 3 * 2**self.depth
        if self.depth < 1 or min(height, width) < smallest:
            raise ValueError(
                f'image size {height}x{width} does not fit a PatchGAN of depth '
                f'{self.depth}: both sides must be at least {smallest}, and '
                'the depth at least 1'
            )
        if condition is not None and condition.shape[:3] != images.shape[:3]:
            raise ValueError(
                f'a condition of shape {list(condition.shape)} does not fit '
                f'images of shape {list(images.shape)}: batch and sides must '
                'be equal'
            )
