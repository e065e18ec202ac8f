"""The adversarial game as an algorithm, and its schedules: who moves when.

`updates` moves one player; `sights` shows it what it learns by.
"""

from typing import Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gan_jax.algorithms import adversarial_monitors
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G
from gan_jax.algorithms import latents
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import snapshots
from gan_jax.algorithms import updates
from gan_jax.core import options
from gan_jax.objectives import losses

REAL = 'real'  # the source
MOST_UPDATES = 100  # of a player in a step: each is compiled by itself
# Parts of a step, beside the whole, for a host that decides between them.
CRITIC, GUARDED_D, GUARDED_G, FINISH = 'critic', 'd', 'g', 'finish'


class Adversarial(NamedTuple):
    """Two players, G from z to samples and D that judges them; static.

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
        together: whether real and fake images pass through D as one batch:
            asked for, or because it changes nothing but the time.
        reuse_fakes: whether both updates of a step learn by the same fakes.
        packing: samples that D judges as one, side by side in its channels.
        history: number of past fakes that D is reminded of; 0 is none.
        snapshots: number of the last snapshots of G that are kept; 0 is none.
        snapshot_every: steps between them.
        treat_labels: whether D's targets are drawn by
            `game.Hyperparams.label_treatment`.
        clip_weights: whether D's weights are clipped after each update.
        penalties: names of `penalties.PENALTIES`.
        lazy: (penalty, k) for those that join every k-th step alone, at k
            times their weight.
        burst_steps, burst_first, burst_every: of the schedule 'wgan', see
            `is_burst`; `burst_steps` are the critic's updates of such a step.
        g_name, d_name: of the networks, for people.
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
    joint_batch: bool = False
    reuse_fakes: bool = False
    packing: int = 1
    history: int = 0
    snapshots: int = 0
    snapshot_every: int = 100
    treat_labels: bool = False
    clip_weights: bool = False
    penalties: Tuple[str, ...] = ()
    lazy: Tuple[Tuple[str, int], ...] = ()
    burst_steps: int = 100
    burst_first: int = 25
    burst_every: int = 500
    g_name: str = ''
    d_name: str = ''

    name = 'adversarial'
    players = (D, G)
    sources = {REAL: REAL}
    encodes = False
    searchable = True

    @property
    def draws(self):
        """Real batches of one step: D's updates share them with G's."""
        return max(self.d_steps, self.g_steps)

    @property
    def weight_names(self):
        """Names of G's weights that can be sampled from."""
        return latents.weight_names(self.snapshots)

    @property
    def monitors(self):
        """What may be asked of D and G beside training."""
        return adversarial_monitors.Monitors(self)

    @property
    def summary(self):
        """Both networks."""
        return ('G', G, self.g_name), ('D', D, self.d_name)

    @property
    def moves(self):
        """Who moves in one step."""
        return f'{self.d_steps} of D and {self.g_steps} of G ({self.schedule})'

    def init(self, key, shapes, hyperparams):
        """Return the state at step 0."""
        return game.init(self, key, shapes[REAL], hyperparams.clip_limit)

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=algorithm.Variant(), across=algorithm.ALONE, loop=None,
    ):
        """Make one step, or one of `PARTS` of it."""
        return PARTS[variant.part](
            self, hyperparams, state, batch, key, number, across=across,
            loop=loop or discriminator_inputs.one_by_one, due=variant.due,
        )

    def plan(self, step, device_decides, read):
        """Yield the calls of one step."""
        due = None if device_decides else frozenset(
            name for name, every in self.lazy if step % every == 0
        )
        if self._is_burst(step):
            first = self.d_steps + self.g_steps  # the step's own are below
            count = self.burst_steps - self.d_steps
            for number in range(0, count, self.d_steps):
                yield algorithm.Call(
                    algorithm.Variant(CRITIC, due), self.d_steps,
                    number=first + number,
                )
        if self.schedule == 'adaptive' and not device_decides:
            return (yield from self._adapt(due, read))
        yield algorithm.Call(
            algorithm.Variant(algorithm.STEP, due), self.draws
        )

    def is_plain(self, step, device_decides):
        """Return whether the plan of a step is one call."""
        return not self._is_burst(step) and (
            device_decides or not self.lazy and self.schedule != 'adaptive'
        )

    def cadences(self):
        """Return the ints at whose multiples a plan differs; 0 is none."""
        return (self.burst_every if self.schedule == 'wgan' else 0,)

    def _is_burst(self, step):
        return self.schedule == 'wgan' and is_burst(
            step, self.burst_first, self.burst_every
        )

    def _adapt(self, due, read):
        """Yield the calls of a step of the adaptive schedule."""
        d_metrics, d_made = yield from self._while_above(
            GUARDED_D, range(self.d_steps), 0, due, read
        )
        first = self.draws - self.g_steps
        g_metrics, g_made = yield from self._while_above(
            GUARDED_G, range(first, self.draws), self.d_steps, due, read,
            forced=not d_made,
        )
        yield algorithm.Call(algorithm.Variant(FINISH), 0)
        made = {'d/updates': d_made, 'g/updates': g_made}
        return {**d_metrics, **g_metrics, **made}

    def _while_above(self, part, places, first, due, read, forced=False):
        """Yield a guarded part for each batch until it does not move.

        Returns:
            (metrics of the last that moved or of the first, how many).
        """
        kept = None
        for made, place in enumerate(places):
            always = (('g_threshold', -float('inf')),)
            metrics = yield algorithm.Call(
                algorithm.Variant(part, due),
                self.draws if part == GUARDED_D and not made else 0,
                (place, place + 1), first + made,
                always if forced and not made else (),
            )
            moved = read(metrics[f'{part}/updates']) > 0
            kept = metrics if moved or kept is None else kept
            if not moved:
                return kept, made
        return kept, len(places)

    def inputs(self, seeds, labels=None, truncation=None):
        """Return z, and the class of each, for seeds."""
        return latents.inputs(self, seeds, labels, truncation)

    def weights(self, state, name):
        """Return G's `algorithm.Weights`: as averaged, as it is, of snapshots.
        """
        return latents.weights(state, G, name)

    def apply(self, weights, inputs):
        """Return the samples of z, with the running statistics."""
        return algorithm.evaluate(self.generator, weights, inputs)

    def collections(self, weights):
        """Return the parameters and statistics of G."""
        return algorithm.collections(weights)

    def pictures(self, state, examples, apply):
        """Return a grid of samples, of as many seeds as there are examples."""
        inputs = self.inputs(range(len(examples[REAL])))
        return {'': algorithm.Picture(
            apply(self, self.weights(state, 'ema'), inputs)
        )}


def alternating(gan, hyperparams, state, update_d, update_g):
    """Move D `d_steps` times, then G `g_steps` times through the new D.

    Goodfellow et al., Generative Adversarial Networks,
    https://arxiv.org/abs/1406.2661, 2014, algorithm 1.

    Args:
        gan: an `Adversarial`.
        hyperparams: a `game.Hyperparams`.
        state: an `algorithm.TrainState`.
        update_d, update_g: (state, number of the update) -> (state, metrics).

    Returns:
        (state, metrics), those of each player from its last update.
    """
    del hyperparams
    for number in range(gan.d_steps):
        state, d_metrics = update_d(state, number)
    for number in range(gan.g_steps):
        state, g_metrics = update_g(state, number)
    return state, {**d_metrics, **g_metrics}


def simultaneous(gan, hyperparams, state, update_d, update_g):
    """Move each player as though the other stood still.

    G learns through D as it was before the step, so with one update of each
    both gradients are taken at the same point.

    Args, returns: as `alternating`.

    References:
        Mescheder et al., The Numerics of GANs,
        https://arxiv.org/abs/1705.10461, 2017.
    """
    del hyperparams
    start = state.players[D]
    for number in range(gan.d_steps):
        state, d_metrics = update_d(state, number)
    moved = state.players[D]
    state = algorithm.replace_player(state, D, start)
    for number in range(gan.g_steps):
        state, g_metrics = update_g(state, number)
    state = algorithm.replace_player(state, D, moved)
    return state, {**d_metrics, **g_metrics}


def adaptive(gan, hyperparams, state, update_d, update_g):
    """Move each player while its loss is above its threshold.

    D at most `d_steps` times, then G at most `g_steps` times. Where neither
    would move, G does once, so that the game cannot stand still. A loss that is
    no number counts as above, so that it is met. The updates that are not made
    are computed and dropped: no control flow.

    Args, returns: as `alternating`; the metrics have the number of updates
    made, `d/updates` and `g/updates`.
    """
    state, d_metrics, d_made = _while_above(
        update_d, state, gan.d_steps,
        lambda metrics, number: _above(
            metrics['d/loss'], hyperparams.d_threshold
        ),
    )
    state, g_metrics, g_made = _while_above(
        update_g, state, gan.g_steps,
        lambda metrics, number: (
            _above(metrics['g/loss'], hyperparams.g_threshold)
            | ((number == 0) & (d_made == 0))
        ),
    )
    made = {'d/updates': d_made, 'g/updates': g_made}
    return state, {**d_metrics, **g_metrics, **made}


def _above(loss, threshold):
    return ~(loss <= threshold)


def _while_above(update, state, count, above):
    """Make updates up to the first whose loss is not above.

    Returns:
        (state, metrics of the last update made or of the first, number made).
    """
    active, made, kept = True, jnp.float32(0), None
    for number in range(count):
        new, metrics = update(state, number)
        active &= above(metrics, number)
        state = algorithm.choose(active, new, state)
        if kept is None:
            kept = metrics
        else:
            kept = algorithm.choose(active, metrics, kept)
        made += active
    return state, kept, made


# 'unrolled' is 'simultaneous' with `Adversarial.unroll_steps`: G looks ahead
# from the D that its opponent moves from. 'wgan' is 'alternating' with more
# critic updates at some steps, which the plan adds as calls of `CRITIC`.
SCHEDULES = {
    'adaptive': adaptive,
    'alternating': alternating,
    'simultaneous': simultaneous,
    'unrolled': simultaneous,
    'wgan': alternating,
}
DEMANDS = tuple(  # of a schedule on other keys
    options.Demand(options.equal('unrolled'), key, bounds, reason)
    for key, bounds, reason in (
        ('num_microbatches', options.equal(1),
         "differentiates through D's updates on whole batches"),
        ('d_optimizer.clip_norm', options.equal(0),
         "differentiates through D's optimizer, and the norm that is divided "
         'by has no gradient at 0'),
    )
)
OPTIONS = {  # of the group schedule
    'adaptive': (
        options.Option('d_threshold', 0.0, 'D moves while its loss is above',
                       options.FINITE),
        options.Option('g_threshold', 0.0, 'G likewise', options.FINITE),
    ),
    'unrolled': (options.Option(
        'unroll_steps', 5, "D's updates that G foresees",
        options.count(most=MOST_UPDATES),
    ),),
    'wgan': (
        options.Option(
            'burst_steps', 100, "D's updates, in place of d_steps,",
            options.COUNT,
        ),
        options.Option(
            'burst_first', 25, '... in each of so many steps at first',
            options.STEPS,
        ),
        options.Option(
            'burst_every', 500, '... and again every so many; 0: never',
            options.STEPS,
        ),
    ),
}


def is_burst(step, first, every):
    """Return whether D makes more updates before a step of the schedule 'wgan'.

    Args:
        step: int, steps made.
        first: steps at the start that all have them.
        every: steps between later ones; 0 for none.
    """
    return step < first or (every > 0 and step % every == 0)


def train_step(gan, hyperparams, state, batch, key, number=0, **options):
    """Make one step of the GAN's schedule.

    The loop over updates is unrolled: on CPU a convolution inside an XLA loop
    is many times slower.

    Args:
        gan: an `Adversarial`.
        hyperparams: a `game.Hyperparams`.
        state: an `algorithm.TrainState`.
        batch: an `algorithm.Batch`.
        key: PRNG key of the run; the step is folded in here.
        number: unused: the updates of a whole step are numbered from 0.
        options: `across`, `loop`, `due` of
            `discriminator_inputs.UpdateContext`.

    Returns:
        (state, metrics): `step` is one higher, `position` by the batches
        drawn; metrics are float32 scalars. Where one is not finite, the state
        is as it was, and no longer `alive`, which the metrics tell too.
    """
    del number
    new, metrics = play(gan, hyperparams, state, batch, key, **options)
    new = snapshots.finish(gan, new.alive, new, G)
    return algorithm.while_finite(state, new, metrics)


def play(
    gan, hyperparams, state, batch, key, *,
    note=lambda player, number, after, metrics: None, **options,
):
    """Make the updates of one step, whatever numbers come of them.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`.
        note: called after each update with the player's name, the update's
            number, the state after it, and its metrics.

    Returns:
        (state, metrics); no step is counted.
    """
    ctx = _contexts(gan, hyperparams, key, **options)
    if gan.reuse_fakes:
        _, sample_index, labels = _real(gan, batch, 0)
        fakes = discriminator_inputs.make_fakes(
            ctx(state, 0), sample_index, labels
        )
        ctx = _contexts(gan, hyperparams, key, fakes=fakes, **options)

    def update_d(state, number):
        new, metrics = updates.discriminator_update(
            ctx(state, number), *_real(gan, batch, number)
        )
        note(D, number, new, metrics)
        return new, metrics

    def update_g(state, number):
        new, metrics = updates.generator_update(
            ctx(state, gan.d_steps + number),
            *_real(gan, batch, number - gan.g_steps),
        )
        note(G, number, new, metrics)
        return new, metrics

    return SCHEDULES[gan.schedule](
        gan, hyperparams, state, update_d, update_g
    )


def traced_step(
    gan, hyperparams, state, batch, key, number, *, across, **options
):
    """Make a step and note all it gives; see `nan_trace.trace`."""
    del number
    return nan_trace.trace(state, batch, across, lambda note: play(
        gan, hyperparams, state, batch, key, note=note, across=across,
        **options,
    )[0])


def _real(gan, batch, number):
    """Take one real batch of a step: (images, sample_index, labels).

    A GAN without a condition is told no labels, whatever the data have.
    """
    images, labels, _ = batch.sources[REAL]
    labels = labels[number] if gan.num_classes else None
    return images[number], batch.sample_index, labels


def finish_step(gan, hyperparams, state, batch, key, number, **options):
    """Count a step whose updates were calls of their own."""
    del hyperparams, batch, key, number, options
    return snapshots.finish(gan, state.alive, state, G), {}


def critic_step(gan, hyperparams, state, batch, key, number, **options):
    """Move D once for each real batch, and no G: more critic for this step.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`.
        number: int32, of the first of these updates among those of the step;
            their keys follow from it.

    Returns:
        (state, metrics of the last update): `position` counts the batches,
        `step` is as before.
    """
    ctx, start = _contexts(gan, hyperparams, key, **options), state
    count = len(batch.sources[REAL].images)
    for place in range(count):
        state, metrics = updates.discriminator_update(
            ctx(state, number + place), *_real(gan, batch, place)
        )
    new = state.replace(position=state.position + count)
    return algorithm.while_finite(start, new, metrics)


def guarded_discriminator_step(
    gan, hyperparams, state, batch, key, number, **options
):
    """Make one update of D of the adaptive schedule, where its loss is above.

    Args, returns: as `critic_step`, of one batch; `d/updates` is 1 where D
    moved. `position` is as before: `finish_step` counts the whole step.
    """
    ctx = _contexts(gan, hyperparams, key, **options)(state, number)
    return _guarded(state, 'd', hyperparams.d_threshold, *(
        updates.discriminator_update(ctx, *_real(gan, batch, 0))
    ))


def guarded_generator_step(
    gan, hyperparams, state, batch, key, number, **options
):
    """Make one update of G of the adaptive schedule, where its loss is above.

    Args, returns: as `guarded_discriminator_step`.
    """
    ctx = _contexts(gan, hyperparams, key, **options)(state, number)
    return _guarded(state, 'g', hyperparams.g_threshold, *(
        updates.generator_update(ctx, *_real(gan, batch, 0))
    ))


def _guarded(state, player, threshold, new, metrics):
    active = _above(metrics[f'{player}/loss'], threshold)
    made = {f'{player}/updates': active.astype(jnp.float32)}
    return algorithm.while_finite(
        state, algorithm.choose(active, new, state), {**metrics, **made}
    )


PARTS = {
    algorithm.STEP: train_step, algorithm.TRACE: traced_step,
    CRITIC: critic_step, GUARDED_D: guarded_discriminator_step,
    GUARDED_G: guarded_generator_step, FINISH: finish_step,
}


def _contexts(gan, hyperparams, key, **options):
    """Return a function (state, number of the update in its step) ->
    `UpdateContext`.
    """

    def ctx(state, number):
        update_key = jax.random.fold_in(
            jax.random.fold_in(key, state.step), number
        )
        return discriminator_inputs.UpdateContext(
            gan, hyperparams, state, update_key, **options
        )

    return ctx
