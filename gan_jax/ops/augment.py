"""Image transformations before the discriminator: augmentation and noise.

Every random number is keyed by its sample's index in the global batch. The
augmentations are differentiable, so that G's gradient passes through them. This
module knows neither networks nor losses.
"""

import jax
import jax.numpy as jnp

from gan_jax.ops import ada


def instance_noise(images, key, sample_index, std):
    """Add Gaussian noise to each image, real or generated.

    Real and generated images may lie on low-dimensional manifolds that hardly
    intersect, which a discriminator can separate perfectly. Noise of decreasing
    strength makes the two distributions overlap.

    Args:
        images: [B, ...] float in [-1, 1].
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch.
        std: scalar >= 0, standard deviation in units of the images.

    Returns:
        [B, ...]; values may exceed [-1, 1].

    References:
        Sønderby et al., Amortised MAP Inference for Image Super-resolution,
        https://arxiv.org/abs/1610.04490, 2016.
        Arjovsky and Bottou, Towards Principled Methods for Training
        Generative Adversarial Networks, https://arxiv.org/abs/1701.04862,
        2017.
    """

    def noise(index):
        return jax.random.normal(jax.random.fold_in(key, index), shape)

    shape = images.shape[1:]
    return images + std * jax.vmap(noise)(sample_index)


def mirror(images, key, sample_index):
    """Mirror each image left to right with probability 1/2.

    For real images only: it doubles a data set whose mirror images are
    plausible, such as faces, and G learns both. (`shift_and_flip` transforms
    real and fake images alike.)

    Args:
        images: [B, H, W, C] of any dtype.
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch.

    Returns:
        [B, H, W, C].

    References:
        Karras et al., A Style-Based Generator Architecture for Generative
        Adversarial Networks, https://arxiv.org/abs/1812.04948, 2018.
    """

    def is_mirrored(index):
        sample_key = jax.random.fold_in(key, index)
        return jax.random.bernoulli(sample_key, jnp.float32(0.5))

    mirrored = jax.vmap(is_mirrored)(sample_index).reshape(-1, 1, 1, 1)
    return jnp.where(mirrored, images[:, :, ::-1], images)


def random_crop(images, key, sample_index, size):
    """Crop each image to a random part of a size.

    The place is uniform, and drawn per sample: the images of a pair that are
    cut with the same key have the same place.

    Args:
        images: [B, H, W, C] of any dtype.
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch.
        size: (height, width), at most (H, W); static.

    Returns:
        [B, height, width, C].

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial
        Networks, https://arxiv.org/abs/1611.07004, 2016: 256x256 of 286x286.
    """
    _, height, width, channels = images.shape

    def crop(image, index):
        y_key, x_key = jax.random.split(jax.random.fold_in(key, index))
        y = jax.random.randint(y_key, (), 0, height - size[0] + 1, jnp.int32)
        x = jax.random.randint(x_key, (), 0, width - size[1] + 1, jnp.int32)
        return jax.lax.dynamic_slice(
            image, (y, x, jnp.int32(0)), (*size, channels)
        )

    return jax.vmap(crop)(images, sample_index)


def dequantize(images, key, sample_index):
    """Add uniform noise of one gray level, and scale images to [-1, 1].

    x -> (x + u - 1/2) / 127.5 - 1 with u uniform in [0, 1), drawn per value.
    Rounding to the nearest level recovers the image, so values can exceed
    [-1, 1] by half a level, 1/255.

    Args:
        images: [B, H, W, C] uint8.
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch.

    Returns:
        [B, H, W, C] float32.

    References:
        Theis et al., A note on the evaluation of generative models,
        https://arxiv.org/abs/1511.01844, 2015. Its noise is [0, 1) over 256
        levels; here it is centred, so that the mean is unchanged.
    """

    def noise(index):
        sample_key = jax.random.fold_in(key, index)
        return jax.random.uniform(sample_key, images.shape[1:], jnp.float32)

    noisy = images.astype(jnp.float32) + jax.vmap(noise)(sample_index) - 0.5
    return noisy / 127.5 - 1


def linear_decay(step, start, num_steps):
    """Compute a linear decay from `start` at step 0 to 0 at `num_steps`.

    Args:
        step: int scalar.
        start: scalar.
        num_steps: scalar; 0 for no decay.

    Returns:
        float32 scalar in [0, start]; 0 after `num_steps`.
    """
    factor = 1 - jnp.asarray(step, jnp.float32) / jnp.maximum(num_steps, 1)
    return start * jnp.where(num_steps > 0, jnp.clip(factor, 0, 1), 1.0)


def shift_and_flip(images, key, sample_index):
    """Shift each image by up to an eighth of its sides; mirror half of them.

    Shifted images are padded with their edge values.

    Args:
        images: [B, H, W, C].
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch.

    Returns:
        [B, H, W, C].

    References:
        Zhang et al., Consistency Regularization for Generative Adversarial
        Networks, https://arxiv.org/abs/1910.12027, 2019: flips, and shifts by
        a few pixels.
    """
    _, height, width, _ = images.shape
    max_shift = (height // 8, width // 8)

    def transform(image, index):
        sample_key = jax.random.fold_in(key, index)
        y_key, x_key, flip_key = jax.random.split(sample_key, 3)
        y = jax.random.randint(y_key, (), 0, 2 * max_shift[0] + 1, jnp.int32)
        x = jax.random.randint(x_key, (), 0, 2 * max_shift[1] + 1, jnp.int32)
        pads = tuple((side, side) for side in (*max_shift, 0))
        padded = jnp.pad(image, pads, mode='edge')
        shifted = jax.lax.dynamic_slice(
            padded, (y, x, jnp.int32(0)), image.shape
        )
        flip = jax.random.bernoulli(flip_key, jnp.float32(0.5))
        return jnp.where(flip, shifted[:, ::-1], shifted)

    return jax.vmap(transform)(images, sample_index)


def color(image, key):
    """Apply random brightness, saturation and contrast.

    Brightness is shifted by U[-0.5, 0.5), saturation scaled by U[0, 2) and
    contrast by U[0.5, 1.5). Saturation is the distance of each channel from the
    pixel's mean, contrast that of each value from the image's mean.

    Args:
        image: [H, W, C] in [-1, 1].
        key: PRNG key.

    Returns:
        [H, W, C]; values may exceed [-1, 1].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020.
    """
    shift, saturation, contrast = jax.random.uniform(key, (3,), jnp.float32)
    image = image + (shift - 0.5)
    gray = image.mean(-1, keepdims=True)
    image = gray + 2 * saturation * (image - gray)
    mean = image.mean()
    return mean + (0.5 + contrast) * (image - mean)


def translation(image, key):
    """Shift by up to an eighth of each side; pad with 0, which is mid-gray.

    Args:
        image: [H, W, C].
        key: PRNG key.

    Returns:
        [H, W, C].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020.
    """
    max_shift = [int(side / 8 + 0.5) for side in image.shape[:2]]
    padded = jnp.pad(image, [(s, s) for s in max_shift] + [(0, 0)])
    starts = [
        jax.random.randint(k, (), 0, 2 * s + 1, jnp.int32)
        for k, s in zip(jax.random.split(key), max_shift)
    ]
    return jax.lax.dynamic_slice(
        padded, (*starts, jnp.int32(0)), image.shape
    )


def cutout(image, key):
    """Set a rectangle of half of each side to 0, at a random place.

    Args:
        image: [H, W, C].
        key: PRNG key.

    Returns:
        [H, W, C].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020.
    """
    inside = True
    for axis, axis_key in enumerate(jax.random.split(key)):
        side = image.shape[axis]
        size = int(side / 2 + 0.5)
        # Up to half of the rectangle may lie outside, at either end.
        start = jax.random.randint(
            axis_key, (), 0, side + (1 - size % 2), jnp.int32
        ) - size // 2
        position = jnp.arange(side)
        within = (position >= start) & (position < start + size)
        shape = [1, 1, 1]
        shape[axis] = side
        inside = inside & within.reshape(shape)
    return jnp.where(inside, 0, image)


def with_probability(function):
    """Return a change that is applied to an image with a probability.

    Args:
        function: (image, key) -> image.

    Returns:
        (image, key, probability) -> image.
    """

    def augment(image, key, probability):
        draw_key, choice_key = jax.random.split(key)
        applied = jax.random.uniform(choice_key, (), jnp.float32) < probability
        return jnp.where(applied, function(image, draw_key), image)

    return augment


# (image, key, probability) -> image. The last three are in the order in which
# DiffAugment's code applies them.
AUGMENTATIONS = {
    'bgc': ada.bgc,
    'color': with_probability(color),
    'translation': with_probability(translation),
    'cutout': with_probability(cutout),
}
# To fold into the key of a sample; another augmentation gets the next number.
KEY_NUMBERS = {'color': 0, 'cutout': 1, 'translation': 2, 'bgc': 3}


def apply(images, key, sample_index, names, probability):
    """Apply augmentations to each image with a probability.

    'bgc' is first. Color comes before translation, so that the padding is
    mid-gray, and translation before cutout, so that the rectangle is not
    shifted.

    Args:
        images: [B, H, W, C] in [-1, 1].
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch.
        names: names of `AUGMENTATIONS`; applied in the order of the dict.
        probability: scalar in [0, 1], of each augmentation of each image; with
            'bgc' of each of its changes.

    Returns:
        [B, H, W, C].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020;
        https://github.com/mit-han-lab/data-efficient-gans. For 'bgc', see
        `ada.bgc`.
    """

    def augment(image, index):
        sample_key = jax.random.fold_in(key, index)
        for name, function in AUGMENTATIONS.items():
            if name in names:
                change_key = jax.random.fold_in(sample_key, KEY_NUMBERS[name])
                image = function(image, change_key, probability)
        return image

    return jax.vmap(augment)(images, sample_index)


def adapt(probability, signs, target, speed):
    """Update the augmentation probability by D's overfitting (ADA).

    p <- clip(p + sign(r - target) speed, 0, 1), r = E sign D(x), which is near
    1 if D overfits to the real images. The paper's target is 0.6, and its speed
    lets p change from 0 to 1 within 500,000 images. The authors' code has no
    upper bound, since above 1 the augmentations do not change further, and
    updates p after every fourth step, by the mean of their signs.

    Args:
        probability: p.
        signs: r, mean over all devices, in [-1, 1].
        target: in [-1, 1].
        speed: change of p in one update.

    Returns:
        float32 scalar in [0, 1].

    References:
        Karras et al., Training Generative Adversarial Networks with Limited
        Data, https://arxiv.org/abs/2006.06676, 2020.
    """
    return jnp.clip(probability + jnp.sign(signs - target) * speed, 0, 1)


def pose(images, angles, scales):
    """Rotate and scale images about their centre.

    Bilinear interpolation; the outside is filled with the nearest edge value.

    Args:
        images: [B, H, W, C] float32.
        angles: [B], radians, anticlockwise.
        scales: [B] > 0; above 1 enlarges the content.

    Returns:
        [B, H, W, C] float32.
    """
    _, height, width, _ = images.shape
    center = jnp.array([(height - 1) / 2, (width - 1) / 2])
    positions = jnp.stack(jnp.meshgrid(
        jnp.arange(height), jnp.arange(width), indexing='ij'
    ))

    def one(image, angle, scale):
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        # Rows run downwards, so this maps each position to its source.
        inverse = jnp.array([[cosine, sine], [-sine, cosine]]) / scale
        sources = jnp.einsum(
            'ij,jhw->ihw', inverse, positions - center[:, None, None]
        ) + center[:, None, None]
        return jax.vmap(
            lambda channel: jax.scipy.ndimage.map_coordinates(
                channel, list(sources), order=1, mode='nearest'
            ), in_axes=2, out_axes=2,
        )(image)

    return jax.vmap(one)(images, angles, scales)
