"""One update of a GAN: D d_steps times, then G through the new D, then EMA.

Pure: arrays and a static `GAN` in, arrays out. It knows no config, no clock and
no device; means over devices reach it as the function `mean`.
"""

import functools
from typing import Any, Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from gan_jax import augment
from gan_jax import labels
from gan_jax import losses
from gan_jax import regularizers
from gan_jax import transforms


# What a key of one update is folded with, beside its split into z and noise.
LABEL_KEY = 3
FIRST_PENALTY_KEY = 16


class GAN(NamedTuple):
    """What a training step is made of; static, hashable by identity.

    Attributes:
        generator: module, (z [B, latent_size], train) -> images [B, H, W, C].
        discriminator: module, (images, train) -> `layers.Output`.
        g_tx, d_tx: optax transforms that give a direction; the step multiplies
            it by minus the learning rate.
        loss: the pair of losses.
        latent_size: length of z, drawn from N(0, I).
        d_steps: discriminator updates per generator update.
        simultaneous: whether G learns through the D from before this step's
            updates, so that both gradients are taken at the same point.
        g_schedule, d_schedule: step -> factor of the learning rate, or None.
        instance_noise: whether D sees images with noise.
        treat_labels: whether D's targets are drawn by
            `Hyperparams.label_treatment`.
        clip_weights: whether D's weights are clipped after each update.
        regularizers: names of `regularizers.REGULARIZERS`.
    """

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    latent_size: int
    d_steps: int = 1
    simultaneous: bool = False
    g_schedule: Optional[Callable] = None
    d_schedule: Optional[Callable] = None
    instance_noise: bool = False
    treat_labels: bool = False
    clip_weights: bool = False
    regularizers: Tuple[str, ...] = ()


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


class Batch(NamedTuple):
    """The real side of one update, as one device sees it.

    Attributes:
        images: [d_steps, b, H, W, C] uint8, or points [d_steps, b, D] float32.
        labels: [d_steps, b] int32, or None.
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
        step: int32, generator updates made.
        position: int32, real batches drawn.
        generator, discriminator: the players.
        ema_params, ema_stats: averages of the generator's params and stats.
        memory: {'loss' or a regularizer: what it remembers}.
    """

    step: jax.Array
    position: jax.Array
    generator: NetworkState
    discriminator: NetworkState
    ema_params: Any
    ema_stats: Any
    memory: Any


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
    return memory


def _init_player(module, tx, key, inputs):
    variables = dict(module.init(key, inputs, train=False))
    params = variables.pop('params')
    return NetworkState(
        params=params, stats=variables, opt_state=tx.init(params)
    )


def _forward(module, params, stats, inputs):
    """Apply a module in training mode; returns (output, new stats)."""
    return module.apply(
        {'params': params, **stats}, inputs, train=True, mutable=list(stats)
    )


def _rate(learning_rate, schedule, state):
    """Give the learning rate of this step."""
    return learning_rate if schedule is None else (
        learning_rate * schedule(state.step)
    )


def _descend(player, tx, grads, learning_rate, stats):
    """Apply one optax update to a player."""
    direction, opt_state = tx.update(grads, player.opt_state, player.params)
    params = jax.tree.map(
        lambda p, d: p - learning_rate * d, player.params, direction
    )
    return player.replace(params=params, stats=stats, opt_state=opt_state)


def _view(gan, hyperparams, state, images, key, slots):
    """Give images as D sees them."""
    if not gan.instance_noise:
        return images
    std = augment.linear_decay(
        state.step, hyperparams.noise_std, hyperparams.noise_steps
    )
    return augment.instance_noise(images, key, slots, std)


def _loss_arguments(gan, hyperparams, state):
    """Give the keyword arguments that both sides of the loss take."""
    arguments = {
        name: hyperparams.loss_options[name] for name in gan.loss.options
    }
    if gan.loss.memory is not None:
        arguments['memory'] = state.memory['loss']
    return arguments


def _own(gan, player):
    """Give (place, name, regularizer) of those that join a player's loss."""
    for place, name in enumerate(gan.regularizers):
        regularizer = regularizers.REGULARIZERS[name]
        if regularizer.player == player:
            yield place, name, regularizer


def _penalties(gan, hyperparams, state, player, context, key):
    """Sum a player's weighted penalties; returns (sum, metrics)."""
    total, metrics = 0.0, {}
    for place, name, regularizer in _own(gan, player):
        value = regularizer.penalty(
            context,
            state.memory.get(name),
            jax.random.fold_in(key, FIRST_PENALTY_KEY + place),
        )
        metrics[f'{player[0]}/{name}'] = value
        total += hyperparams.penalty_weights[name] * value
    return total, metrics


def _remember(gan, state, player, network, metrics):
    """Let a player's penalties look at its new parameters and the means."""
    memory = dict(state.memory)
    for _, name, regularizer in _own(gan, player):
        if regularizer.update is not None:
            memory[name] = regularizer.update(
                memory[name], network.params, metrics
            )
    return state.replace(memory=memory)


def discriminator_update(gan, hyperparams, state, images, slots, key, mean):
    """Update D once on real images and on fakes of the present G.

    Real and fake images pass through D apart, so that BatchNorm normalises
    each with its own statistics.

    Args:
        gan: a `GAN`.
        hyperparams: a `Hyperparams`.
        state: a `GANState`.
        images: [b, H, W, C] uint8, real.
        slots: [b] int32.
        key: PRNG key of this update.
        mean: average of a pytree over devices.

    Returns:
        (state with a new discriminator, metrics).
    """
    player = state.discriminator
    z_key, real_key, fake_key = jax.random.split(key, 3)
    z = latents(z_key, slots, gan.latent_size)
    fake_images, _ = _forward(
        gan.generator, state.generator.params, state.generator.stats, z
    )
    fake_images = jax.lax.stop_gradient(fake_images)
    view = functools.partial(_view, gan, hyperparams, state, slots=slots)
    real_view = view(to_unit_range(images), key=real_key)
    fake_view = view(fake_images, key=fake_key)

    arguments = _loss_arguments(gan, hyperparams, state)
    if gan.treat_labels:
        arguments['targets'] = labels.draw(
            jax.random.fold_in(key, LABEL_KEY),
            slots,
            hyperparams.label_treatment,
        )

    def loss_fn(params):
        real, stats = _forward(
            gan.discriminator, params, player.stats, real_view
        )
        fake, stats = _forward(gan.discriminator, params, stats, fake_view)
        loss = gan.loss.discriminator(real.logits, fake.logits, **arguments)
        metrics = {
            'd/loss': loss,
            'd/real_logits': real.logits.mean(),
            'd/fake_logits': fake.logits.mean(),
        }
        context = regularizers.Context(
            params=params,
            discriminator_fn=lambda x: _forward(
                gan.discriminator, params, player.stats, x
            )[0],
            generator_fn=lambda z: view(
                _forward(gan.generator, state.generator.params,
                         state.generator.stats, z)[0],
                key=fake_key,
            ),
            real_images=real_view, fake_images=fake_view,
            real=real, fake=fake, z=z, slots=slots,
        )
        total, penalties = _penalties(
            gan, hyperparams, state, 'discriminator', context, key
        )
        return loss + total if penalties else loss, (
            stats, {**metrics, **penalties}
        )

    grads, aux = jax.grad(loss_fn, has_aux=True)(player.params)
    grads, (stats, metrics) = mean((grads, aux))
    metrics['d/grad_norm'] = optax.tree.norm(grads)
    rate = _rate(hyperparams.d_learning_rate, gan.d_schedule, state)
    player = _descend(player, gan.d_tx, grads, rate, stats)
    if gan.clip_weights:
        player = player.replace(params=transforms.clip_weights(
            player.params, hyperparams.clip_limit
        ))
    state = state.replace(discriminator=player)
    return _remember(gan, state, 'discriminator', player, metrics), metrics


def generator_update(gan, hyperparams, state, images, slots, key, mean):
    """Update G once through the present D, then its moving average.

    D normalises with the statistics of this batch of fakes, and its running
    statistics stay as its own updates left them.

    Args:
        gan: a `GAN`.
        hyperparams: a `Hyperparams`.
        state: a `GANState`.
        images: [b, H, W, C] uint8, real; used by relativistic losses alone.
        slots: [b] int32.
        key: PRNG key of this update.
        mean: average of a pytree over devices.

    Returns:
        (state with a new generator and EMA, metrics).
    """
    player = state.generator
    z_key, real_key, fake_key = jax.random.split(key, 3)
    z = latents(z_key, slots, gan.latent_size)
    view = functools.partial(_view, gan, hyperparams, state, slots=slots)
    real_view = view(to_unit_range(images), key=real_key)

    arguments = _loss_arguments(gan, hyperparams, state)

    def discriminator_fn(images):
        output, _ = _forward(
            gan.discriminator,
            state.discriminator.params,
            state.discriminator.stats,
            images,
        )
        return output

    def loss_fn(params):
        fake_images, stats = _forward(gan.generator, params, player.stats, z)
        fake_view = view(fake_images, key=fake_key)
        real, fake = discriminator_fn(real_view), discriminator_fn(fake_view)
        loss = gan.loss.generator(real.logits, fake.logits, **arguments)
        context = regularizers.Context(
            params=params,
            discriminator_fn=discriminator_fn,
            generator_fn=lambda z: _forward(
                gan.generator, params, player.stats, z
            )[0],
            real_images=real_view, fake_images=fake_view,
            real=real, fake=fake, z=z, slots=slots,
        )
        total, penalties = _penalties(
            gan, hyperparams, state, 'generator', context, key
        )
        return loss + total if penalties else loss, (
            stats, {'g/loss': loss, **penalties}
        )

    grads, aux = jax.grad(loss_fn, has_aux=True)(player.params)
    grads, (stats, metrics) = mean((grads, aux))
    metrics['g/grad_norm'] = optax.tree.norm(grads)
    rate = _rate(hyperparams.g_learning_rate, gan.g_schedule, state)
    player = _descend(player, gan.g_tx, grads, rate, stats)
    decay = transforms.ema_decay_at(state.step, hyperparams.ema_decay)
    state = state.replace(
        generator=player,
        ema_params=transforms.ema(state.ema_params, player.params, decay),
        ema_stats=transforms.ema(state.ema_stats, player.stats, decay),
    )
    return _remember(gan, state, 'generator', player, metrics), metrics


def train_step(gan, hyperparams, state, batch, key, *, mean=lambda tree: tree):
    """Make one update of the game: D `d_steps` times, then G, then the EMA.

    The loop over D is unrolled: on CPU a convolution inside an XLA loop is
    many times slower.

    Args:
        gan: a `GAN`.
        hyperparams: a `Hyperparams`.
        state: a `GANState`.
        batch: a `Batch`.
        key: PRNG key of the run; the step is folded in here.
        mean: average of a pytree over devices.

    Returns:
        (state, metrics): `step` is one higher, `position` `d_steps` higher;
        metrics are float32 scalars, those of D from its last update.
    """
    step_key = jax.random.fold_in(key, state.step)
    start = state.discriminator
    for update in range(gan.d_steps):
        state, d_metrics = discriminator_update(
            gan, hyperparams, state, batch.images[update], batch.slots,
            jax.random.fold_in(step_key, update), mean,
        )
    updated = state.discriminator
    if gan.simultaneous:
        state = state.replace(discriminator=start)
    state, g_metrics = generator_update(
        gan, hyperparams, state, batch.images[-1], batch.slots,
        jax.random.fold_in(step_key, gan.d_steps), mean,
    )
    state = state.replace(discriminator=updated)
    metrics = {**d_metrics, **g_metrics}
    if gan.loss.memory is not None:
        memory, more = gan.loss.memory.update(
            state.memory['loss'], metrics['d/real_logits'],
            metrics['d/fake_logits'], **hyperparams.loss_options,
        )
        state = state.replace(memory={**state.memory, 'loss': memory})
        metrics.update(more)
    state = state.replace(
        step=state.step + 1, position=state.position + gan.d_steps
    )
    return state, metrics


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
