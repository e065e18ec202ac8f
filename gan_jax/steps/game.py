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
        latent_size: length of z.
        latent: one of `LATENTS`: what z is drawn from.
        schedule: one of `adversarial.SCHEDULES`: who moves when.
        d_steps, g_steps: updates of each player in one step.
        unroll_steps: updates of D that G looks ahead; 0 is none.
        num_microbatches: parts of a batch whose gradients are averaged before
            an update.
        g_schedule, d_schedule: step -> factor of the learning rate, or None.
        instance_noise: whether D sees images with noise.
        augmentations: names of `augment.AUGMENTATIONS` that D sees images by.
        adaptive_augmentation: whether their probability follows D's outputs.
        num_classes: classes that G is asked for and D may tell; 0 where the
            GAN has no condition.
        g_dropout, d_dropout: whether units of a player are dropped.
        together: whether real and fake images pass through D as one batch.
        packing: samples that D judges as one, side by side in its channels.
        history: number of past fakes that D is reminded of; 0 is none.
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
    latent: str = 'gaussian'
    schedule: str = 'alternating'
    d_steps: int = 1
    g_steps: int = 1
    unroll_steps: int = 0
    num_microbatches: int = 1
    g_schedule: Optional[Callable] = None
    d_schedule: Optional[Callable] = None
    instance_noise: bool = False
    augmentations: Tuple[str, ...] = ()
    adaptive_augmentation: bool = False
    num_classes: int = 0
    g_dropout: bool = False
    d_dropout: bool = False
    together: bool = False
    packing: int = 1
    history: int = 0
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
        augment_probability: of each augmentation for each image; where it
            adapts, unused.
        augment_target, augment_speed: see `augment.adapt`.
        history_share: chance that D sees a past fake in place of a new one.
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
    augment_probability: Any = 1.0
    augment_target: Any = 0.6
    augment_speed: Any = 0.0
    history_share: Any = 0.5
    d_threshold: Any = 0.0
    g_threshold: Any = 0.0


class Batch(NamedTuple):
    """The real side of one step, as one device sees it.

    Attributes:
        images: [K, b, H, W, C] uint8, or points [K, b, D] float32; K is
            `draws_per_step`, b this device's share of batch size x packing.
        labels: [K, b] int32; None where the GAN has no condition.
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
        memory: {'loss' or a regularizer: what it remembers}; under 'latest'
            the last values of lazy penalties, under 'augment' the probability
            that adapts, under 'history' past fakes, which are the same on
            every device.
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


def gaussian(key, size):
    """Draw from N(0, I)."""
    return jax.random.normal(key, (size,))


def uniform(key, size):
    """Draw each value from U[-1, 1), as Radford et al., 1511.06434, 2015."""
    return jax.random.uniform(key, (size,), minval=-1)


def sphere(key, size):
    """Draw uniformly from the sphere of radius sqrt(size).

    N(0, I) lies close to it in many dimensions. White, Sampling Generative
    Networks, https://arxiv.org/abs/1609.04468, 2016.
    """
    z = jax.random.normal(key, (size,))
    return z * (jnp.sqrt(size) / jnp.linalg.norm(z))


LATENTS = {'gaussian': gaussian, 'sphere': sphere, 'uniform': uniform}


def latents(key, slots, latent_size, name='gaussian'):
    """Draw one z for each slot, keyed by the slot.

    Args:
        key: PRNG key.
        slots: [B] int32.
        latent_size: length of each z.
        name: one of `LATENTS`.

    Returns:
        [B, latent_size] float32.
    """

    def draw(slot):
        return LATENTS[name](jax.random.fold_in(key, slot), latent_size)

    return jax.vmap(draw)(slots)


def lerp(first, last, shares):
    """Go from one latent to another on a line.

    Args:
        first, last: [D].
        shares: [N] in [0, 1], of the way.

    Returns:
        [N, D].
    """
    shares = shares[:, None]
    return (1 - shares) * first + shares * last


def slerp(first, last, shares):
    """Go from one latent to another on an arc, not through the centre.

    sin((1 - t) w) / sin w z_0 + sin(t w) / sin w z_1, w their angle. Gaussian
    latents lie close to a sphere, and a line between them leaves it.

    Args, returns: as `lerp`.

    References:
        White, Sampling Generative Networks,
        https://arxiv.org/abs/1609.04468, 2016.
    """
    cosine = jnp.vdot(first, last) / (
        jnp.linalg.norm(first) * jnp.linalg.norm(last)
    )
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    shares = shares[:, None]
    arc = (
        jnp.sin((1 - shares) * angle) * first + jnp.sin(shares * angle) * last
    ) / jnp.sin(angle)
    straight = (1 - shares) * first + shares * last
    return jnp.where(jnp.sin(angle) > 1e-4, arc, straight)


PATHS = {'lerp': lerp, 'slerp': slerp}


def pack(images, packing):
    """Lay neighbouring samples side by side in the last axis.

    What D of a packed GAN judges: all of one tuple are real, or all fake.

    Args:
        images: [packing * B, ..., C].
        packing: samples in a tuple.

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
    labels = jnp.zeros(2, jnp.int32) if gan.num_classes else None
    generator = _init_player(
        gan.generator, gan.g_tx, g_key, jnp.zeros((2, gan.latent_size)), labels
    )
    discriminator = _init_player(
        gan.discriminator, gan.d_tx, d_key,
        pack(jnp.zeros((2 * gan.packing, *image_shape)), gan.packing), labels,
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
        memory=_init_memory(
            gan, generator.params, discriminator.params, image_shape
        ),
    )


def _init_memory(gan, g_params, d_params, image_shape):
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
    if gan.adaptive_augmentation:
        memory['augment'] = jnp.float32(0)
    if gan.history:
        memory['history'] = {
            'images': jnp.zeros((gan.history, *image_shape)),
            'filled': jnp.zeros(gan.history, bool),
        }
    return memory


def _init_player(module, tx, key, inputs, labels):
    given = {} if labels is None else {'labels': labels}
    variables = dict(module.init(key, inputs, train=False, **given))
    params = variables.pop('params')
    return NetworkState(
        params=params, stats=variables, opt_state=tx.init(params)
    )


def sample(gan, state, z, labels=None, *, ema=True):
    """Generate images with the running statistics.

    Args:
        gan: a `GAN`.
        state: a `GANState`.
        z: [B, latent_size].
        labels: [B] int32, the classes asked for; None without a condition.
        ema: whether the averaged generator is used.

    Returns:
        [B, H, W, C] float32 in [-1, 1].
    """
    params, stats = state.generator.params, state.generator.stats
    if ema:
        params, stats = state.ema_params, state.ema_stats
    given = {} if labels is None else {'labels': labels}
    return gan.generator.apply(
        {'params': params, **stats}, z, train=False, **given
    )
