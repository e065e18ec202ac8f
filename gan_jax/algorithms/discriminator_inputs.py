"""The inputs of one update: latents, fakes, and the images as D receives them.

Pure: the random numbers of a sample are keyed by its index in the global batch;
the places of the history are drawn once for all samples. This module knows
neither losses nor optimizers.
"""

from typing import Any, Callable, FrozenSet, NamedTuple, Optional

import jax

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms import history
from gan_jax.algorithms import latents
from gan_jax.ops import augment

# Constants to fold into the key of an update, one per purpose. They begin at 3,
# because folding in 0, 1 and 2 gives the keys of `split(key, 3)`, which are
# those of z and of instance noise.
LABEL_KEY = 3
AUGMENT_KEY = 4  # 5 for fakes
HISTORY_KEY = 6
ENCODER_KEY = 7
NETWORK_NOISE_KEY = 8  # 8 for G, 9 and 10 for D on real and on fake images
FLIP_KEY = 11
DEQUANTIZE_KEY = 12
CODE_KEY = 13
POSE_KEY = 14
CROP_KEY = 15
FIRST_PENALTY_KEY = 16


def unrolled_scan(body, carry, parts):
    """Call body(carry, part) for each part: `jax.lax.scan`, unrolled."""
    for index in range(len(jax.tree.leaves(parts)[0])):
        carry, _ = body(carry, jax.tree.map(lambda part: part[index], parts))
    return carry, None


class Fakes(NamedTuple):
    """Generated images that both players of a step are updated on.

    Attributes:
        z: [b, latent_size].
        images: [b, ...] float32, generated before the step.
        stats: G's statistics after generating them.
        pullback: gradient of the images -> (gradient of G's params,).
    """

    z: jax.Array
    images: jax.Array
    stats: Any
    pullback: Callable


class UpdateContext(NamedTuple):
    """The constants of one update of one player.

    Attributes:
        gan: the algorithm, such as an `adversarial.Adversarial`.
        hyperparams: its hyper-parameters.
        state: the `algorithm.TrainState` before the update.
        key: PRNG key of this update.
        collectives: `algorithm.Collectives`.
        loop: (body, carry, parts) -> (carry, ...), over microbatches:
            `unrolled_scan` or `jax.lax.scan`.
        due: names of the lazy penalties to apply, chosen by the host; None if
            the device chooses them by the step's number.
        fakes: `Fakes` to reuse; None if this update generates its own.
    """

    gan: Any
    hyperparams: Any
    state: algorithm.TrainState
    key: jax.Array
    collectives: algorithm.Collectives = algorithm.SINGLE_DEVICE
    loop: Callable = unrolled_scan
    due: Optional[FrozenSet[str]] = None
    fakes: Optional[Fakes] = None


class DiscriminatorInputs(NamedTuple):
    """The real and the fake images of a batch, preprocessed for D.

    b is the number of samples before packing, as elsewhere in this module. D
    judges b / packing tuples of samples.

    Attributes:
        real_images, fake_images: [b / packing, ...] float32, augmented, noisy
            and packed.
        raw_real_images, raw_fake_images: [b, ...] float32 in [-1, 1], before
            augmentation, noise and packing.
        preprocess_fn: (raw images, fake) -> preprocessed images, with the
            random numbers of `fake_images` if `fake`, else of `real_images`.
        sample_index: [b / packing] int32, of the tuples that D judges.
        labels: [b] int32, of real and fake images alike; None if the GAN is
            unconditional. With labels, packing is 1.
        z: [b, latent_size] of the fakes.
        z_sample_index: [b] int32.
        generator_fn: z -> preprocessed fake images.
    """

    real_images: jax.Array
    fake_images: jax.Array
    raw_real_images: jax.Array
    raw_fake_images: jax.Array
    preprocess_fn: Callable
    sample_index: jax.Array
    labels: Optional[jax.Array]
    z: jax.Array
    z_sample_index: jax.Array
    generator_fn: Callable


def draw_latents(ctx, sample_index):
    """Sample the z of this update, float32 [b, latent_size]."""
    z_key = jax.random.split(ctx.key, 3)[0]
    return latents.draw(
        z_key, sample_index, ctx.gan.latent_size, ctx.gan.latent
    )


def sample_keys(ctx, number, sample_index):
    """Return the PRNG keys [b] of a network's own noise, one per sample.

    Args:
        ctx: an `UpdateContext`.
        number: 0 for G, 1 for D on real images, 2 for D on fakes.
        sample_index: [b] int32.
    """
    key = jax.random.fold_in(ctx.key, NETWORK_NOISE_KEY + number)
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(sample_index)


def generate(ctx, params, stats, z, sample_index, labels):
    """Apply G in training mode; return (images, new stats)."""
    module, keys = ctx.gan.generator, None
    if algorithm.takes_keys(module):
        keys = sample_keys(ctx, 0, sample_index)
    return algorithm.forward(
        module, (params, stats),
        algorithm.Inputs(z, labels, keys=keys),
    )


def make_fakes(ctx, sample_index, labels):
    """Return `Fakes` for both updates of a step, with G's pullback."""
    player, z = ctx.state.players[game.G], draw_latents(ctx, sample_index)
    images, pullback, stats = jax.vjp(
        lambda params: generate(
            ctx, params, player.stats, z, sample_index, labels
        ), player.params, has_aux=True,
    )
    return Fakes(z, images, stats, pullback)


def make_discriminator_inputs(
    ctx, g_params, g_stats, images, sample_index, labels, z, fakes
):
    """Return the `DiscriminatorInputs` of real images and of fakes.

    Args:
        ctx: an `UpdateContext`.
        g_params, g_stats: of G, for `DiscriminatorInputs.generator_fn`.
        images: [b, H, W, C] uint8, real; b is the number before packing.
        sample_index: [b] int32.
        labels: [b] int32, or None.
        z: [b, latent_size] of the fakes.
        fakes: [b, ...] float32.
    """
    gan, real = ctx.gan, real_images(ctx, images, sample_index)

    def preprocess_fn(images, fake):
        return _preprocess(ctx, images, sample_index, fake=fake)

    def generator_fn(z):
        fakes, _ = generate(ctx, g_params, g_stats, z, sample_index, labels)
        return preprocess_fn(fakes, True)

    return DiscriminatorInputs(
        real_images=preprocess_fn(real, False),
        fake_images=preprocess_fn(fakes, True),
        raw_real_images=real, raw_fake_images=fakes,
        preprocess_fn=preprocess_fn,
        sample_index=sample_index if gan.packing == 1 else (
            sample_index[::gan.packing] // gan.packing
        ),
        labels=labels, z=z, z_sample_index=sample_index,
        generator_fn=generator_fn,
    )


def real_images(ctx, images, sample_index):
    """Scale real images to [-1, 1]; mirror and dequantise them if enabled."""
    gan = ctx.gan
    if gan.flip:
        key = jax.random.fold_in(ctx.key, FLIP_KEY)
        images = augment.mirror(images, key, sample_index)
    if gan.dequantize:
        key = jax.random.fold_in(ctx.key, DEQUANTIZE_KEY)
        return augment.dequantize(images, key, sample_index)
    return algorithm.to_unit_range(images)


def _preprocess(ctx, images, sample_index, *, fake):
    """Apply augmentation, instance noise and packing, in this order."""
    gan, hyperparams = ctx.gan, ctx.hyperparams
    if gan.augmentations:
        probability = hyperparams.augment_probability
        if gan.adaptive_augmentation:
            probability = ctx.state.memory['augment']
        key = jax.random.fold_in(ctx.key, AUGMENT_KEY + fake)
        images = augment.apply(
            images, key, sample_index, gan.augmentations, probability
        )
    if gan.instance_noise:
        std = augment.linear_decay(
            ctx.state.step, hyperparams.noise_std, hyperparams.noise_steps
        )
        key = jax.random.split(ctx.key, 3)[1 + fake]
        images = augment.instance_noise(images, key, sample_index, std)
    return game.pack(images, gan.packing)


def replay_fakes(ctx, fakes, sample_index):
    """Replace some new fakes by those of the history, see `history.replay`.

    Args:
        ctx: an `UpdateContext`.
        fakes: [b, ...], new.
        sample_index: [b] int32.

    Returns:
        (fakes [b, ...] for D, new history, equal on every device).
    """
    return history.replay(
        ctx.state.memory['history'], fakes,
        jax.random.fold_in(ctx.key, HISTORY_KEY), sample_index,
        ctx.hyperparams.history_share, ctx.collectives.gather,
    )


def discriminator_keys(ctx, d_inputs, *, fake):
    """Return the PRNG keys of D on real or fake images, None if it has none.
    """
    if not algorithm.takes_keys(ctx.gan.discriminator):
        return None
    return sample_keys(ctx, 1 + fake, d_inputs.sample_index)
