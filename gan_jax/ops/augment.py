"""Changes of images before the discriminator sees them: images, key -> images.

Every draw is keyed by a sample's place in the global batch. All are
differentiable, so G learns through them.
"""

import jax
import jax.numpy as jnp


def instance_noise(images, key, sample_index, std):
    """Add Gaussian noise to each image, real or generated.

    Where real and generated images lie on thin sheets that hardly meet, a
    discriminator can tell them apart by anything; noise of falling strength
    makes them overlap, and it has to look at shape before detail.

    Args:
        images: [B, ...] float in [-1, 1].
        key: PRNG key.
        sample_index: [B] int32, places in the global batch.
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

    def noise(index):
        return jax.random.normal(jax.random.fold_in(key, index), shape)

    shape = images.shape[1:]
    return images + std * jax.vmap(noise)(sample_index)


def mirror(images, key, sample_index):
    """Mirror each image left to right with chance 1/2.

    For real images alone: it doubles a data set whose mirror images are as
    real, such as faces, and G learns both. (`shift_and_flip` changes all that D
    sees, so that G need not.)

    Args:
        images: [B, H, W, C] of any dtype.
        key: PRNG key.
        sample_index: [B] int32, places in the global batch.

    Returns:
        [B, H, W, C].

    References:
        Karras et al., A Style-Based Generator Architecture for Generative
        Adversarial Networks, https://arxiv.org/abs/1812.04948, 2018.
    """

    def turned(index):
        sample_key = jax.random.fold_in(key, index)
        return jax.random.bernoulli(sample_key, jnp.float32(0.5))

    chosen = jax.vmap(turned)(sample_index).reshape(-1, 1, 1, 1)
    return jnp.where(chosen, images[:, :, ::-1], images)


def dequantize(images, key, sample_index):
    """Spread each of 256 levels evenly over its width, as [-1, 1] images.

    x -> (x + u - 1/2) / 127.5 - 1 with u uniform in [0, 1), drawn for each
    value. Rounding to the nearest level gives the image back, so the values
    reach half a level, 1/255, beyond [-1, 1].

    Args:
        images: [B, H, W, C] uint8.
        key: PRNG key.
        sample_index: [B] int32, places in the global batch.

    Returns:
        [B, H, W, C] float32.

    References:
        Theis et al., A note on the evaluation of generative models,
        https://arxiv.org/abs/1511.01844, 2015, whose noise is [0, 1) over 256
        levels; here it is centred, so that the mean stays.
    """

    def noise(index):
        sample_key = jax.random.fold_in(key, index)
        return jax.random.uniform(sample_key, images.shape[1:], jnp.float32)

    spread = images.astype(jnp.float32) + jax.vmap(noise)(sample_index) - 0.5
    return spread / 127.5 - 1


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


def shift_and_flip(images, key, sample_index):
    """Shift each image by up to an eighth of its sides; mirror half of them.

    What a shift brings in repeats the edge.

    Args:
        images: [B, H, W, C].
        key: PRNG key.
        sample_index: [B] int32, places in the global batch.

    Returns:
        [B, H, W, C].

    References:
        Zhang et al., Consistency Regularization for Generative Adversarial
        Networks, https://arxiv.org/abs/1910.12027, 2019: flips, and shifts by
        a few pixels.
    """
    _, height, width, _ = images.shape
    reach = (height // 8, width // 8)

    def change(image, index):
        sample_key = jax.random.fold_in(key, index)
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

    return jax.vmap(change)(images, sample_index)


def color(image, key):
    """Shift brightness by U[-0.5, 0.5), scale saturation by U[0, 2) and
    contrast by U[0.5, 1.5).

    Saturation is the distance of each channel from the pixel's mean, contrast
    that of each value from the image's mean.

    Args:
        image: [H, W, C] in [-1, 1].
        key: PRNG key.

    Returns:
        [H, W, C]; it may leave [-1, 1].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020.
    """
    shift, saturation, contrast = jax.random.uniform(key, (3,), jnp.float32)
    image = image + (shift - 0.5)
    grey = image.mean(-1, keepdims=True)
    image = grey + 2 * saturation * (image - grey)
    mean = image.mean()
    return mean + (0.5 + contrast) * (image - mean)


def translation(image, key):
    """Shift by up to an eighth of each side; 0, mid-grey, comes in.

    Args:
        image: [H, W, C].
        key: PRNG key.

    Returns:
        [H, W, C].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020.
    """
    reach = [int(side / 8 + 0.5) for side in image.shape[:2]]
    padded = jnp.pad(image, [(r, r) for r in reach] + [(0, 0)])
    starts = [
        jax.random.randint(k, (), 0, 2 * r + 1, jnp.int32)
        for k, r in zip(jax.random.split(key), reach)
    ]
    return jax.lax.dynamic_slice(
        padded, (*starts, jnp.int32(0)), image.shape
    )


def cutout(image, key):
    """Set a rectangle of half of each side to 0, its centre anywhere.

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
        # From half outside on one end to half outside on the other.
        start = jax.random.randint(
            axis_key, (), 0, side + (1 - size % 2), jnp.int32
        ) - size // 2
        place = jnp.arange(side)
        within = (place >= start) & (place < start + size)
        shape = [1, 1, 1]
        shape[axis] = side
        inside = inside & within.reshape(shape)
    return jnp.where(inside, 0, image)


# In the order in which the authors' code applies them.
AUGMENTATIONS = {
    'color': color, 'translation': translation, 'cutout': cutout,
}


def apply(images, key, sample_index, names, probability):
    """Change each image by each of some augmentations with a probability.

    Colour comes before translation, so that what comes in is mid-grey, and
    translation before cutout, so that no part of the rectangle is moved out.

    Args:
        images: [B, H, W, C] in [-1, 1].
        key: PRNG key.
        sample_index: [B] int32, places in the global batch.
        names: some of `AUGMENTATIONS`; they are applied in the dict's order.
        probability: scalar in [0, 1], of each for each image.

    Returns:
        [B, H, W, C].

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN
        Training, https://arxiv.org/abs/2006.10738, 2020;
        https://github.com/mit-han-lab/data-efficient-gans.
    """
    numbers = {name: n for n, name in enumerate(sorted(AUGMENTATIONS))}

    def change(image, index):
        for name, function in AUGMENTATIONS.items():
            if name in names:
                draw_key, choice_key = jax.random.split(jax.random.fold_in(
                    jax.random.fold_in(key, index), numbers[name]
                ))
                chosen = jax.random.uniform(
                    choice_key, (), jnp.float32
                ) < probability
                image = jnp.where(chosen, function(image, draw_key), image)
        return image

    return jax.vmap(change)(images, sample_index)


def adapt(probability, signs, target, speed):
    """Move the augmentations' probability towards what overfitting asks for.

    p <- clip(p + sign(r - target) speed, 0, 1), r = E sign D(x): near 1 where
    D is sure of every real image, so near that it knows them by heart. The
    paper's target is 0.6, and p may cross [0, 1] in 500,000 images. The
    authors' code has no upper bound.

    Args:
        probability: p.
        signs: r, mean over all devices, in [-1, 1].
        target: in [-1, 1].
        speed: change of p in one update.

    Returns:
        float32 scalar in [0, 1].

    References:
        Karras et al., Training Generative Adversarial Networks with Limited
        Data, https://arxiv.org/abs/2006.06676, 2020. Its augmentations are
        more than these.
    """
    return jnp.clip(probability + jnp.sign(signs - target) * speed, 0, 1)


def pose(images, angles, scales):
    """Turn and scale images about their centre.

    Bilinear, and where an image does not reach, the value of its nearest edge.

    Args:
        images: [B, H, W, C] float32.
        angles: [B], radians, anticlockwise.
        scales: [B] > 0; above 1 what is shown becomes larger.

    Returns:
        [B, H, W, C] float32.
    """
    _, height, width, _ = images.shape
    center = jnp.array([(height - 1) / 2, (width - 1) / 2])
    places = jnp.stack(jnp.meshgrid(
        jnp.arange(height), jnp.arange(width), indexing='ij'
    ))

    def one(image, angle, scale):
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        # Rows go down, so this matrix brings each place back to its source.
        back = jnp.array([[cosine, sine], [-sine, cosine]]) / scale
        sources = jnp.einsum(
            'ij,jhw->ihw', back, places - center[:, None, None]
        ) + center[:, None, None]
        return jax.vmap(
            lambda channel: jax.scipy.ndimage.map_coordinates(
                channel, list(sources), order=1, mode='nearest'
            ), in_axes=2, out_axes=2,
        )(image)

    return jax.vmap(one)(images, angles, scales)
