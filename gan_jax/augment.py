"""Changes of images before the discriminator sees them: images, key -> images.

Every draw is keyed by a sample's place in the global batch.
"""

import jax
import jax.numpy as jnp


def instance_noise(images, key, slots, std):
    """Add Gaussian noise to each image, real or generated.

    Where real and generated images lie on thin sheets that hardly meet, a
    discriminator can tell them apart by anything; noise of falling strength
    makes them overlap, and it has to look at shape before detail.

    Args:
        images: [B, ...] float in [-1, 1].
        key: PRNG key.
        slots: [B] int32, places in the global batch.
        std: scalar >= 0, standard deviation in units of the images.

    Returns:
        [B, ...]; it may leave [-1, 1].

    References:
        Sønderby et al., Amortised MAP Inference for Image Super-resolution,
        https://arxiv.org/abs/1610.04490, 2016, section 4.
        Arjovsky and Bottou, Towards Principled Methods for Training
        Generative Adversarial Networks, https://arxiv.org/abs/1701.04862,
        2017.
    """

    def noise(slot):
        return jax.random.normal(jax.random.fold_in(key, slot), shape)

    shape = images.shape[1:]
    return images + std * jax.vmap(noise)(slots)


def linear_decay(step, start, num_steps):
    """Fall from `start` at step 0 to 0 at `num_steps`, and stay there.

    Args:
        step: int scalar.
        start: scalar.
        num_steps: scalar; 0 never falls.

    Returns:
        float32 scalar in [0, start].
    """
    left = 1 - jnp.asarray(step, jnp.float32) / jnp.maximum(num_steps, 1)
    return start * jnp.where(num_steps > 0, jnp.clip(left, 0, 1), 1.0)
