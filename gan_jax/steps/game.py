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

# Collections of statistics that may be averaged. Spectral normalisation's unit
# vectors would not stay so in between.
AVERAGED_STATS = ('batch_stats',)

ENCODED = ('autoencoder', 'vae')  # baselines that bring any image to a code


class GAN(NamedTuple):
    """What a training step is made of; static, hashable by identity.

    Attributes:
        generator: module, (z [B, latent_size], train) -> images [B, H, W, C].
        discriminator: module, (images, train) -> `layers.Output`.
        g_tx, d_tx: optax transforms that give a direction; the step multiplies
            it by minus the learning rate.
        loss: the pair of losses.
        latent_size: length of z.
        latent: one of `latents.LATENTS`: what z is drawn from.
        schedule: one of `adversarial.SCHEDULES`: who moves when.
        d_steps, g_steps: updates of each player in one step.
        unroll_steps: updates of D that G looks ahead; 0 is none.
        num_microbatches: parts of a batch whose gradients are averaged before
            an update.
        g_schedule, d_schedule: step -> factor of the learning rate, or None.
        instance_noise: whether D sees images with noise.
        flip: whether each real image is mirrored with chance 1/2.
        dequantize: whether real images have noise of one grey level.
        augmentations: names of `augment.AUGMENTATIONS` that D sees images by.
        adaptive_augmentation: whether their probability follows D's outputs.
        num_classes: classes that G is asked for and D may tell; 0 where the
            GAN has no condition.
        g_dropout, d_dropout: whether units of a player are dropped.
        together: whether real and fake images pass through D as one batch:
            asked for, or because it changes nothing but the time.
        share_fakes: whether both updates of a step learn by the same fakes.
        packing: samples that D judges as one, side by side in its channels.
        history: number of past fakes that D is reminded of; 0 is none.
        snapshots: number of the last snapshots of G that are kept; 0 is none.
        snapshot_every: steps between them.
        treat_labels: whether D's targets are drawn by
            `Hyperparams.label_treatment`.
        clip_weights: whether D's weights are clipped after each update.
        regularizers: names of `regularizers.REGULARIZERS`.
        lazy: (regularizer, k) for those that join every k-th step alone, at k
            times their weight.
        baseline: one of `baselines.BASELINES`, in place of the game: then
            `discriminator` gives codes and no logits; '' for a GAN.
        reconstruction: one of `reconstructions.RECONSTRUCTIONS`, of a baseline.
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
    flip: bool = False
    dequantize: bool = False
    augmentations: Tuple[str, ...] = ()
    adaptive_augmentation: bool = False
    num_classes: int = 0
    g_dropout: bool = False
    d_dropout: bool = False
    together: bool = False
    share_fakes: bool = False
    packing: int = 1
    history: int = 0
    snapshots: int = 0
    snapshot_every: int = 100
    treat_labels: bool = False
    clip_weights: bool = False
    regularizers: Tuple[str, ...] = ()
    lazy: Tuple[Tuple[str, int], ...] = ()
    baseline: str = ''
    reconstruction: str = 'l2'


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
        huber_delta: see `reconstructions.huber`.
        beta: weight of a VAE's KL divergence.
        decoder_std: standard deviation of a VAE's Gaussian decoder.
        most_turned, most_scaled: of images whose codes are given: angle in
            radians, difference of the scale from 1.
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
    huber_delta: Any = 0.1
    beta: Any = 1.0
    decoder_std: Any = 1.0
    most_turned: Any = 0.0
    most_scaled: Any = 0.0


class Batch(NamedTuple):
    """The real side of one step, as one device sees it.

    Attributes:
        images: [K, b, H, W, C] uint8, or points [K, b, D] float32; K is
            `draws_per_step`, b this device's share of batch size x packing.
        labels: [K, b] int32; None where the GAN has no condition.
        slots: [b] int32, each sample's place in the global batch; every
            per-sample draw is keyed by it, so the number of devices changes
            nothing.
        numbers: [K, b] int32, of the images in their data set; None where no
            code belongs to each.
    """

    images: jax.Array
    labels: Optional[jax.Array]
    slots: jax.Array
    numbers: Optional[jax.Array] = None


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
        alive: bool, whether every number so far was finite. Once one is not,
            steps change nothing: this is the state before it.
        generator, discriminator: the players.
        ema_params, ema_stats: averages of the generator's params and stats.
        memory: {'loss' or a regularizer: what it remembers}; where the loss
            does, under 'real_logits' the mean of D's outputs on real images in
            its last update; under 'latest' the last values of lazy penalties,
            under 'augment' the probability that adapts, under 'history' past
            fakes, which are the same on every device, under 'snapshots' rings
            of G's params and stats and the number taken, under 'codes' moments
            of a baseline's codes.
    """

    step: jax.Array
    position: jax.Array
    alive: jax.Array
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
        gan.discriminator, gan.d_tx, d_key, _judged(gan, image_shape), labels
    )
    if gan.clip_weights:
        # The authors clip before each critic step, the first one included.
        discriminator = discriminator.replace(
            params=transforms.clip_weights(discriminator.params, clip_limit)
        )
    return GANState(
        step=jnp.zeros((), jnp.int32),
        position=jnp.zeros((), jnp.int32),
        alive=jnp.ones((), bool),
        generator=generator,
        discriminator=discriminator,
        ema_params=jax.tree.map(jnp.copy, generator.params),
        ema_stats=jax.tree.map(jnp.copy, generator.stats),
        memory=_init_memory(
            gan, generator, discriminator.params, image_shape
        ),
    )


def _judged(gan, image_shape):
    """Give two inputs of what stands in the discriminator's place."""
    if gan.baseline == 'glo':
        return jnp.zeros(2, jnp.int32)  # numbers of images
    if gan.baseline == 'given':
        return jnp.zeros((2, gan.latent_size))
    return pack(jnp.zeros((2 * gan.packing, *image_shape)), gan.packing)


def _init_memory(gan, generator, d_params, image_shape):
    memory = {}
    if gan.loss.memory is not None:
        memory['loss'] = gan.loss.memory.init()
        memory['real_logits'] = jnp.float32(0)
    for name in gan.regularizers:
        regularizer = regularizers.REGULARIZERS[name]
        if regularizer.init is not None:
            own = {'discriminator': d_params, 'generator': generator.params}
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
    if gan.snapshots:
        memory['snapshots'] = {
            'params': _ring(gan, generator.params),
            'stats': _ring(gan, generator.stats),
            'taken': jnp.int32(0),
        }
    if gan.baseline:
        size = gan.latent_size
        memory['codes'] = {'mean': jnp.zeros(size), 'second': jnp.eye(size)}
    return memory


def _ring(gan, tree):
    """Make an empty ring for the last snapshots of a pytree."""
    return jax.tree.map(
        lambda leaf: jnp.zeros((gan.snapshots, *leaf.shape), leaf.dtype), tree
    )


def take_snapshot(gan, state):
    """Keep the generator of each `snapshot_every`-th step.

    Args:
        gan: a `GAN` with `snapshots`.
        state: `GANState` whose `step` counts the step just made.

    Returns:
        `GANState`, at other steps as it was.
    """
    kept = state.memory['snapshots']
    due = state.step % gan.snapshot_every == 0
    new = {
        name: transforms.keep_last(
            kept[name], getattr(state.generator, name), kept['taken'], due
        )
        for name in ('params', 'stats')
    }
    new['taken'] = kept['taken'] + due
    return state.replace(memory={**state.memory, 'snapshots': new})


def _init_player(module, tx, key, inputs, labels):
    given = {} if labels is None else {'labels': labels}
    variables = dict(module.init(key, inputs, train=False, **given))
    params = variables.pop('params', {})
    return NetworkState(
        params=params, stats=variables, opt_state=tx.init(params)
    )


def ema(state):
    """Give (params, stats) of the exponential moving average of G."""
    return state.ema_params, state.ema_stats


def raw(state):
    """Give (params, stats) of G as it is."""
    return state.generator.params, state.generator.stats


def snapshots(state):
    """Give (params, stats) of the plain average of G's last snapshots.

    Izmailov et al. measure the statistics of BatchNorm anew on data; here they
    are averaged too, as in the EMA, and what is no average is that of the
    newest snapshot. NaN before the first one.
    """
    kept = state.memory['snapshots']
    return transforms.average(kept['params'], kept['taken']), {
        name: (
            transforms.average if name in AVERAGED_STATS else transforms.newest
        )(ring, kept['taken'])
        for name, ring in kept['stats'].items()
    }


WEIGHTS = {'ema': ema, 'raw': raw, 'snapshots': snapshots}


def sample(gan, state, z, labels=None, *, weights='ema'):
    """Generate images with the running statistics.

    Args:
        gan: a `GAN`.
        state: a `GANState`.
        z: [B, latent_size].
        labels: [B] int32, the classes asked for; None without a condition.
        weights: one of `WEIGHTS`: which of G's weights are used.

    Returns:
        [B, H, W, C] float32 in [-1, 1].
    """
    return generate(gan, *WEIGHTS[weights](state), z, labels)


def generate(gan, params, stats, z, labels=None):
    """Generate images of these weights, with the running statistics.

    Args:
        gan: a `GAN`.
        params, stats: of its generator.
        z, labels: as `sample`.

    Returns:
        As `sample`.
    """
    given = {} if labels is None else {'labels': labels}
    return gan.generator.apply(
        {'params': params, **stats}, z, train=False, **given
    )


def like_codes(gan, state, z):
    """Give N(0, I) the mean and covariance of a baseline's codes.

    Ghosh et al., From Variational to Deterministic Autoencoders,
    https://arxiv.org/abs/1903.12436, 2019, sample an autoencoder so. The
    moments are averages over the last batches. Where the GAN draws from another
    latent, z stays as it is. Where codes are given, z gives one: the class of
    its largest of the first values, and an even angle and scale from the rest.

    Args:
        gan: a `GAN`.
        state: a `GANState`.
        z: [B, latent_size].

    Returns:
        [B, latent_size].
    """
    if gan.baseline == 'given':
        even = 2 * jax.scipy.stats.norm.cdf(z[:, -2:]) - 1
        return given_codes(gan, z[:, :-2].argmax(1), *even.T)
    if gan.latent != 'fitted':
        return z
    moments = state.memory['codes']
    mean = moments['mean']
    covariance = moments['second'] - jnp.outer(mean, mean)
    values, vectors = jnp.linalg.eigh(covariance)  # some may be 0, or just less
    return mean + (z * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T


def given_codes(gan, labels, turned, scaled):
    """Make the codes of images of a class, turned and scaled.

    Args:
        gan: a `GAN` with the baseline 'given'.
        labels: [B] int32.
        turned, scaled: [B] in [-1, 1], shares of the most.

    Returns:
        [B, latent_size]: one for the class and 0 for the others, then both
        shares.
    """
    classes = jax.nn.one_hot(labels, gan.latent_size - 2)
    return jnp.concatenate([classes, jnp.stack([turned, scaled], 1)], 1)
