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
        https://arxiv.org/abs/1610.04490, 2016.
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


def shift_and_flip(images, key, slots):
    """Shift each image by up to an eighth of its sides; mirror half of them.

    What a shift brings in repeats the edge.

    Args:
        images: [B, H, W, C].
        key: PRNG key.
        slots: [B] int32, places in the global batch.

    Returns:
        [B, H, W, C].

    References:
        Zhang et al., Consistency Regularization for Generative Adversarial
        Networks, https://arxiv.org/abs/1910.12027, 2019: flips, and shifts by
        a few pixels.
    """
    _, height, width, _ = images.shape
    reach = (height // 8, width // 8)

    def change(image, slot):
        sample_key = jax.random.fold_in(key, slot)
        y_key, x_key, flip_key = jax.random.split(sample_key, 3)
        y = jax.random.randint(y_key, (), 0, 2 * reach[0] + 1, jnp.int32)
        x = jax.random.randint(x_key, (), 0, 2 * reach[1] + 1, jnp.int32)
        pads = tuple((side, side) for side in (*reach, 0))
        padded = jnp.pad(image, pads, mode='edge')
        shifted = jax.lax.dynamic_slice(
            padded, (y, x, jnp.int32(0)), image.shape
        )
        flip = jax.random.bernoulli(flip_key, jnp.float32(0.5))
        return jnp.where(flip, shifted[:, ::-1], shifted)

    return jax.vmap(change)(images, slots)
