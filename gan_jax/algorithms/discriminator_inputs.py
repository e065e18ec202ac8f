"""What the players are shown in one update: z, fakes, and D's view of images.

Pure, like all of algorithms/; every draw belongs to a sample's slot.
"""

from typing import Any, Callable, FrozenSet, NamedTuple, Optional

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms import latents
from gan_jax.ops import augment

# What a key of one update is folded with, beside its split into z and noise.
LABEL_KEY = 3
AUGMENT_KEY = 4  # and one more, for fakes
HISTORY_KEY = 6
DROPOUT_KEY = 8  # of G, then of D on real and on fake images
FLIP_KEY = 11
DEQUANTIZE_KEY = 12
CODE_KEY = 13
POSE_KEY = 14
FIRST_PENALTY_KEY = 16


def one_by_one(body, carry, parts):
    """Call body(carry, part) for each part, as `jax.lax.scan` does."""
    for index in range(len(jax.tree.leaves(parts)[0])):
        carry, _ = body(carry, jax.tree.map(lambda part: part[index], parts))
    return carry, None


class Fakes(NamedTuple):
    """Fakes that both players of a step learn by.

    Attributes:
        z: [b, latent_size].
        images: [b, ...] float32, of G as it is before the step.
        stats: G's, as generating them left it.
        pullback: gradient by the images -> (gradient by G's params,).
    """

    z: jax.Array
    images: jax.Array
    stats: Any
    pullback: Callable


class UpdateContext(NamedTuple):
    """What is fixed during one update of one player.

    Attributes:
        gan: the algorithm: an `adversarial.Adversarial`, or another with the
            attributes that are asked.
        hyperparams: its hyper-parameters.
        state: the `algorithm.TrainState` that the update starts from.
        key: PRNG key of this update.
        across: `algorithm.Across`, of all devices.
        loop: (body, carry, parts) -> (carry, ...), over microbatches:
            `one_by_one` or `jax.lax.scan`.
        due: names of the lazy penalties that join this update, chosen by the
            host; None where the step's number decides on the device.
        fakes: `Fakes` that are already there; None where this update makes
            its own.
    """

    gan: Any
    hyperparams: Any
    state: algorithm.TrainState
    key: jax.Array
    across: algorithm.Across = algorithm.ALONE
    loop: Callable = one_by_one
    due: Optional[FrozenSet[str]] = None
    fakes: Optional[Fakes] = None


class DiscriminatorInputs(NamedTuple):
    """Both sides of a batch as D is shown them.

    Attributes:
        real_images, fake_images: [b, ...] float32, changed and packed.
        raw_real_images, raw_fake_images: [b x packing, ...] float32 in [-1, 1],
            before augmentation, noise and packing.
        view_fn: (raw images, fake) -> images as D sees them, by the draws that
            made `real_images` or, where `fake`, `fake_images`.
        sample_index: [b] int32, of what D judges as one.
        labels: [b] int32, of the real images and asked of the fakes; None
            where the GAN has no condition.
        z: [b x packing, latent_size] of the fakes.
        z_sample_index: [b x packing] int32.
        generator_fn: z -> images as D sees them.
    """

    real_images: jax.Array
    fake_images: jax.Array
    raw_real_images: jax.Array
    raw_fake_images: jax.Array
    view_fn: Callable
    sample_index: jax.Array
    labels: Optional[jax.Array]
    z: jax.Array
    z_sample_index: jax.Array
    generator_fn: Callable


def draw_latents(ctx, sample_index):
    """Draw the z of this update."""
    z_key = jax.random.split(ctx.key, 3)[0]
    return latents.draw(
        z_key, sample_index, ctx.gan.latent_size, ctx.gan.latent
    )


def sample_keys(ctx, number, sample_index):
    """Give the keys of a network's own noise, one for each slot."""
    key = jax.random.fold_in(ctx.key, DROPOUT_KEY + number)
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(sample_index)


def generate(ctx, params, stats, z, sample_index, labels):
    """Apply G in training mode; returns (images, new stats)."""
    module, keys = ctx.gan.generator, None
    if algorithm.takes_keys(module):
        keys = sample_keys(ctx, 0, sample_index)
    return algorithm.forward(
        module, (params, stats),
        algorithm.Inputs(z, labels, keys=keys),
    )


def make_fakes(ctx, sample_index, labels):
    """Generate, and keep what G's gradient will need; returns `Fakes`."""
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
    """Show D both sides: real images, and G's of these z."""
    gan, real = ctx.gan, real_images(ctx, images, sample_index)

    def view_fn(images, fake):
        return _preprocess(ctx, images, sample_index, fake=fake)

    def generator_fn(z):
        near, _ = generate(ctx, g_params, g_stats, z, sample_index, labels)
        return view_fn(near, True)

    return DiscriminatorInputs(
        real_images=view_fn(real, False), fake_images=view_fn(fakes, True),
        raw_real_images=real, raw_fake_images=fakes, view_fn=view_fn,
        sample_index=sample_index if gan.packing == 1 else (
            sample_index[::gan.packing] // gan.packing
        ),
        labels=labels, z=z, z_sample_index=sample_index,
        generator_fn=generator_fn,
    )


def real_images(ctx, images, sample_index):
    """Bring real images to [-1, 1], mirrored and dequantised where asked."""
    gan = ctx.gan
    if gan.flip:
        key = jax.random.fold_in(ctx.key, FLIP_KEY)
        images = augment.mirror(images, key, sample_index)
    if gan.dequantize:
        key = jax.random.fold_in(ctx.key, DEQUANTIZE_KEY)
        return augment.dequantize(images, key, sample_index)
    return algorithm.to_unit_range(images)


def _preprocess(ctx, images, sample_index, *, fake):
    """Give images as D sees them: augmented, then noisy, then packed."""
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
    """Swap some new fakes for past ones.

    Each slot has a place of its own in the history. With the chance of
    `history_share` D is shown what lies there, and the new fake is put there
    instead; a place that is still empty takes the new fake, which D sees too.

    Args:
        ctx: an `UpdateContext`.
        fakes: [b, ...], new.
        sample_index: [b] int32.

    Returns:
        (fakes [b, ...] to show, new history, equal on every device).

    References:
        Shrivastava et al., Learning from Simulated and Unsupervised Images
        through Adversarial Training, https://arxiv.org/abs/1612.07828, 2016,
        with the swap of CycleGAN's code in place of its half batches.
    """
    history = ctx.state.memory['history']
    place_key, swap_key = jax.random.split(
        jax.random.fold_in(ctx.key, HISTORY_KEY)
    )
    places = jax.random.permutation(
        place_key, len(history['filled'])
    )[sample_index]
    swap = jax.vmap(lambda index: jax.random.uniform(
        jax.random.fold_in(swap_key, index)
    ))(sample_index) < ctx.hyperparams.history_share
    filled = history['filled'][places]
    past = history['images'][places]

    def where(condition, first, second):
        shape = (-1,) + (1,) * (fakes.ndim - 1)
        return jnp.where(condition.reshape(shape), first, second)

    shown = where(swap & filled, past, fakes)
    kept = where(swap | ~filled, fakes, past)
    everywhere = ctx.across.gather(places)
    kept = ctx.across.gather(kept)
    return shown, {
        'images': history['images'].at[everywhere].set(kept),
        'filled': history['filled'].at[everywhere].set(True),
    }


def discriminator_keys(ctx, d_inputs, *, fake):
    """Give the keys of D's dropout on one side, None where it has none."""
    if not algorithm.takes_keys(ctx.gan.discriminator):
        return None
    return sample_keys(ctx, 1 + fake, d_inputs.sample_index)
