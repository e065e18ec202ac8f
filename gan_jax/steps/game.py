"""The parts of a GAN's training: what is static, what changes, how it starts.

Pure: arrays and a static `GAN` in, arrays out. `updates.py` moves one player,
`adversarial.py` decides who moves when.
"""

from typing import Any, Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from gan_jax import labels
from gan_jax import losses
from gan_jax import regularizers
from gan_jax import transforms


class GAN(NamedTuple):
    """What a training step is made of; static, hashable by identity.

    Attributes:
        generator: module, (z [B, latent_size], train) -> images [B, H, W, C].
        discriminator: module, (images, train) -> `layers.Output`.
        g_tx, d_tx: optax transforms that give a direction; the step multiplies
            it by minus the learning rate.
        loss: the pair of losses.
        latent_size: length of z, drawn from N(0, I).
        schedule: one of `adversarial.SCHEDULES`: who moves when.
        d_steps, g_steps: updates of each player in one step.
        unroll_steps: updates of D that G looks ahead; 0 is none.
        num_microbatches: parts of a batch whose gradients are averaged before
            an update.
        g_schedule, d_schedule: step -> factor of the learning rate, or None.
        instance_noise: whether D sees images with noise.
        treat_labels: whether D's targets are drawn by
            `Hyperparams.label_treatment`.
        clip_weights: whether D's weights are clipped after each update.
        regularizers: names of `regularizers.REGULARIZERS`.
        lazy: (regularizer, k) for those that join every k-th step alone, at k
            times their weight.
    """

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    latent_size: int
    schedule: str = 'alternating'
    d_steps: int = 1
    g_steps: int = 1
    unroll_steps: int = 0
    num_microbatches: int = 1
    g_schedule: Optional[Callable] = None
    d_schedule: Optional[Callable] = None
    instance_noise: bool = False
    treat_labels: bool = False
    clip_weights: bool = False
    regularizers: Tuple[str, ...] = ()
    lazy: Tuple[Tuple[str, int], ...] = ()


class Hyperparams(NamedTuple):
    """Numbers that may change without a compilation: float32 scalars.

    Attributes:
        g_learning_rate, d_learning_rate: step sizes of the two players.
        ema_decay: of the generator's average, in the long run.
        noise_std: of instance noise at step 0.
        noise_steps: step at which that has fallen to 0; 0 never falls.
        loss_options: {option: scalar}, those that the loss names.
        label_treatment: how D's targets are drawn.
        penalty_weights: {regularizer: scalar}.
        clip_limit: c of weight clipping.
        d_threshold, g_threshold: losses above which the adaptive schedule
            trains each player.
    """

    g_learning_rate: Any
    d_learning_rate: Any
    ema_decay: Any
    noise_std: Any = 0.0
    noise_steps: Any = 0.0
    loss_options: Any = None
    label_treatment: labels.Treatment = labels.Treatment()
    penalty_weights: Any = None
    clip_limit: Any = 0.01
    d_threshold: Any = 0.0
    g_threshold: Any = 0.0


class Batch(NamedTuple):
    """The real side of one step, as one device sees it.

    Attributes:
        images: [K, b, H, W, C] uint8, or points [K, b, D] float32; K is
            `draws_per_step`.
        labels: [K, b] int32, or None.
        slots: [b] int32, each sample's place in the global batch; every
            per-sample draw is keyed by it, so the number of devices changes
            nothing.
    """

    images: jax.Array
    labels: Optional[jax.Array]
    slots: jax.Array


class NetworkState(struct.PyTreeNode):
    """One player: parameters, other collections and its own optax state."""

    params: Any
    stats: Any
    opt_state: Any


class GANState(struct.PyTreeNode):
    """Everything that a kill must not lose; equal on every device.

    Attributes:
        step: int32, steps made: each has `g_steps` generator updates.
        position: int32, real batches drawn.
        generator, discriminator: the players.
        ema_params, ema_stats: averages of the generator's params and stats.
        memory: {'loss' or a regularizer: what it remembers}, and under
            'latest' the last values of lazy penalties.
    """

    step: jax.Array
    position: jax.Array
    generator: NetworkState
    discriminator: NetworkState
    ema_params: Any
    ema_stats: Any
    memory: Any


def draws_per_step(gan):
    """Count the real batches of one step: D's updates share them with G's."""
    return max(gan.d_steps, gan.g_steps)


def to_unit_range(images):
    """Map uint8 images to float32 in [-1, 1]; points stay as they are."""
    if images.dtype != jnp.uint8:
        return images
    return images.astype(jnp.float32) / 127.5 - 1


def latents(key, slots, latent_size):
    """Draw one z from N(0, I) for each slot, keyed by the slot.

    Args:
        key: PRNG key.
        slots: [B] int32.
        latent_size: length of each z.

    Returns:
        [B, latent_size] float32.
    """

    def draw(slot):
        return jax.random.normal(jax.random.fold_in(key, slot), (latent_size,))

    return jax.vmap(draw)(slots)


def init(gan, key, image_shape, clip_limit=0.01):
    """Make the initial state.

    Args:
        gan: a `GAN`.
        key: PRNG key.
        image_shape: (height, width, channels) of the real images.
        clip_limit: c of weight clipping, where the GAN clips.

    Returns:
        `GANState` at step 0. The EMA holds copies: the step donates its state,
        and a buffer cannot be donated twice.
    """
    g_key, d_key = jax.random.split(key)
    generator = _init_player(
        gan.generator, gan.g_tx, g_key, jnp.zeros((2, gan.latent_size))
    )
    discriminator = _init_player(
        gan.discriminator, gan.d_tx, d_key, jnp.zeros((2, *image_shape))
    )
    if gan.clip_weights:
        # The authors clip before each critic step, the first one included.
        discriminator = discriminator.replace(
            params=transforms.clip_weights(discriminator.params, clip_limit)
        )
    return GANState(
        step=jnp.zeros((), jnp.int32),
        position=jnp.zeros((), jnp.int32),
        generator=generator,
        discriminator=discriminator,
        ema_params=jax.tree.map(jnp.copy, generator.params),
        ema_stats=jax.tree.map(jnp.copy, generator.stats),
        memory=_init_memory(gan, generator.params, discriminator.params),
    )


def _init_memory(gan, g_params, d_params):
    memory = {}
    if gan.loss.memory is not None:
        memory['loss'] = gan.loss.memory.init()
    for name in gan.regularizers:
        regularizer = regularizers.REGULARIZERS[name]
        if regularizer.init is not None:
            own = {'discriminator': d_params, 'generator': g_params}
            memory[name] = regularizer.init(own[regularizer.player])
    if gan.lazy:
        memory['latest'] = {name: jnp.float32(0) for name, _ in gan.lazy}
    return memory


def _init_player(module, tx, key, inputs):
    variables = dict(module.init(key, inputs, train=False))
    params = variables.pop('params')
    return NetworkState(
        params=params, stats=variables, opt_state=tx.init(params)
    )


def sample(gan, state, z, *, ema=True):
    """Generate images with the running statistics.

    Args:
        gan: a `GAN`.
        state: a `GANState`.
        z: [B, latent_size].
        ema: whether the averaged generator is used.

    Returns:
        [B, H, W, C] float32 in [-1, 1].
    """
    params, stats = state.generator.params, state.generator.stats
    if ema:
        params, stats = state.ema_params, state.ema_stats
    return gan.generator.apply({'params': params, **stats}, z, train=False)
