"""Hyper-parameters, initial state and packing of the adversarial game.

Pure: arrays and a static `adversarial.Adversarial` in, arrays out. This module
knows neither schedules nor updates.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import annealing
from gan_jax.algorithms import history
from gan_jax.algorithms import snapshots
from gan_jax.objectives import penalties
from gan_jax.objectives import targets
from gan_jax.ops import transforms

D, G = 'discriminator', 'generator'  # the players


class Hyperparams(NamedTuple):
    """Hyper-parameters that can change without recompilation: float32 scalars.

    Attributes:
        g_learning_rate, d_learning_rate: learning rates of the two players.
        ema_decay: decay of the generator's average after the warm-up, if its
            half-life neither moves nor has a ramp.
        noise_std: standard deviation of instance noise at step 0.
        noise_steps: step at which it reaches 0; 0 keeps it constant.
        loss_options: {option: scalar}, the options that the loss declares.
        label_treatment: distribution of D's targets.
        penalty_weights: {penalty: scalar}.
        clip_limit: c of weight clipping.
        augment_probability: probability of each augmentation of each image;
            unused if it is adaptive.
        augment_target, augment_speed: see `augment.adapt`.
        history_share: probability that D receives a past fake instead of a new
            one.
        d_threshold, g_threshold: losses above which the adaptive schedule
            updates each player.
        g_b2, d_b2: b2 of Adam, if it moves.
        ema_half_life: of that average, in steps.
        ema_ramp: largest half-life as a share of the steps so far.
        anneal_steps: steps in which values move to `anneal_to`, an
            `annealing.Last`.
    """

    g_learning_rate: Any
    d_learning_rate: Any
    ema_decay: Any
    noise_std: Any = 0.0
    noise_steps: Any = 0.0
    loss_options: Any = None
    label_treatment: targets.Treatment = targets.Treatment()
    penalty_weights: Any = None
    clip_limit: Any = 0.01
    augment_probability: Any = 1.0
    augment_target: Any = 0.6
    augment_speed: Any = 0.0
    history_share: Any = 0.5
    d_threshold: Any = 0.0
    g_threshold: Any = 0.0
    g_b2: Any = 0.999
    d_b2: Any = 0.999
    ema_half_life: Any = 0.0
    ema_ramp: Any = 0.0
    anneal_steps: Any = 1.0
    anneal_to: Any = annealing.Last()


def pack(images, packing):
    """Concatenate neighbouring samples along the last axis, as PacGAN does.

    D of a packed GAN judges tuples of samples that are all real or all fake.

    Args:
        images: [packing * B, ..., C].
        packing: number of samples in a tuple.

    Returns:
        [B, ..., packing * C].

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial
        networks, https://arxiv.org/abs/1712.04086, 2017.
    """
    if packing == 1:
        return images
    images = images.reshape(-1, packing, *images.shape[1:])
    images = jnp.moveaxis(images, 1, -2)  # [B, ..., packing, C]
    return images.reshape(*images.shape[:-2], -1)


def init(gan, key, image_shape, clip_limit=0.01):
    """Return the initial state of both players.

    Args:
        gan: an `adversarial.Adversarial`.
        key: PRNG key.
        image_shape: (height, width, channels) of the real images.
        clip_limit: c of weight clipping, if the GAN clips weights.

    Returns:
        `algorithm.TrainState` at step 0.
    """
    g_key, d_key = jax.random.split(key)
    labels = jnp.zeros(2, jnp.int32) if gan.num_classes else None
    images = pack(jnp.zeros((2 * gan.packing, *image_shape)), gan.packing)
    generator = algorithm.init_player(
        gan.generator, gan.g_tx, g_key,
        algorithm.Inputs(jnp.zeros((2, gan.latent_size)), labels),
    )
    discriminator = algorithm.init_player(
        gan.discriminator, gan.d_tx, d_key, algorithm.Inputs(images, labels)
    )
    if gan.clip_weights:
        # The authors clip before each critic step, including the first.
        discriminator = discriminator.replace(
            params=transforms.clip_weights(discriminator.params, clip_limit)
        )
    players = {D: discriminator, G: generator}
    return algorithm.initial_state(
        players, {G: algorithm.copy_weights(generator)},
        _init_memory(gan, players, image_shape),
    )


def _init_memory(gan, players, image_shape):
    """Return the initial {owner: pytree} of `algorithm.TrainState.memory`."""
    memory = {}
    if gan.loss.memory is not None:
        memory['loss'] = gan.loss.memory.init()
        memory['real_logits'] = jnp.float32(0)  # of D's last update
    for name in gan.penalties:
        penalty = penalties.PENALTIES[name]
        if penalty.init is not None:
            memory[name] = penalty.init(players[penalty.player].params)
    if gan.lazy:
        memory['latest'] = {name: jnp.float32(0) for name, _ in gan.lazy}
    if gan.adaptive_augmentation:
        memory['augment'] = jnp.float32(0)
    if gan.history:
        memory['history'] = history.init(gan.history, image_shape)
    if gan.snapshots:
        memory['snapshots'] = snapshots.init(gan.snapshots, players[G])
    return memory
