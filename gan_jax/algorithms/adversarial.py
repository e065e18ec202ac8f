"""The GAN as an `algorithm.Algorithm`.

`update_order` decides which player is updated when, `updates` computes one
update of one player, `discriminator_inputs` the images that D receives in it.
Pure: this module knows neither files nor collectives.
"""

from typing import Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gan_jax.algorithms import adversarial_monitors
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import annealing
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G
from gan_jax.algorithms import latents
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import snapshots
from gan_jax.algorithms import update_order
from gan_jax.algorithms import updates
from gan_jax.objectives import losses

REAL = 'real'  # the source
# Parts of a step that the host calls one by one: extra updates of D, and the
# updates of the adaptive schedule, after each of which the host decides how to
# continue.
CRITIC, GUARDED_D, GUARDED_G, FINISH = 'critic', 'd', 'g', 'finish'


class Adversarial(NamedTuple):
    """A generator G and a discriminator D with their training method; static.

    Attributes:
        generator: module, (z [B, latent_size], train) -> images [B, H, W, C].
        discriminator: module, (images, train) -> `layers.Output`.
        g_tx, d_tx: optax transforms without a learning rate; the step
            multiplies their updates by minus the learning rate.
        loss: the `losses.Loss` of both players.
        latent_size: length of z.
        latent: distribution of z, one of `latents.LATENTS`.
        schedule: order of the updates, one of
            `update_order.SCHEDULES`.
        d_steps, g_steps: updates of each player in one step.
        unroll_steps: updates of D that G differentiates through; 0 is none.
        num_microbatches: parts of a batch whose gradients are averaged before
            an update.
        g_schedule, d_schedule: step -> factor of the learning rate, or None.
        instance_noise: whether noise is added to the images before D.
        flip: whether each real image is mirrored with probability 1/2.
        dequantize: whether noise of one grey level is added to real images.
        augmentations: names of `augment.AUGMENTATIONS`, applied before D.
        adaptive_augmentation: whether their probability adapts to D's outputs.
        num_classes: number of classes; 0 for an unconditional GAN.
        joint_batch: whether real and fake images pass through D as one batch,
            because the config says so or because only the speed differs.
        reuse_fakes: whether both players are updated on the same fakes.
        fresh_reals: whether G's updates get real images that D has not seen in
            the same step.
        packing: number of samples that D judges together, concatenated along
            the channels.
        history: number of past fakes kept for D; 0 is none.
        snapshots: number of the last snapshots of G that are kept; 0 is none.
        snapshot_every: steps between snapshots.
        treat_labels: whether D's targets are drawn by
            `game.Hyperparams.label_treatment`.
        clip_weights: whether D's weights are clipped after each update.
        annealed: names of `annealing.MOVING`, the hyper-parameters that move.
        ema_ramp: whether the half-life of G's average is limited by a share of
            the images so far.
        penalties: names of `penalties.PENALTIES`.
        lazy: ((penalty, k), ...), penalties applied at every k-th step only,
            with k times their weight.
        burst_steps, burst_first, burst_every: of the schedule 'wgan', see
            `update_order.is_burst`; `burst_steps` is the number of critic
            updates in a burst.
        frozen: patterns of layers that do not move, see `freezing`.
        g_name, d_name: names of the networks, for display.
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
    fresh_reals: bool = False
    packing: int = 1
    history: int = 0
    snapshots: int = 0
    snapshot_every: int = 100
    treat_labels: bool = False
    clip_weights: bool = False
    annealed: Tuple[str, ...] = ()
    ema_ramp: bool = False
    penalties: Tuple[str, ...] = ()
    lazy: Tuple[Tuple[str, int], ...] = ()
    burst_steps: int = 100
    burst_first: int = 25
    burst_every: int = 500
    frozen: Tuple[str, ...] = ()
    g_name: str = ''
    d_name: str = ''

    name = 'adversarial'
    players = (D, G)
    sources = {REAL: REAL}
    encodes = False
    searchable = True

    @property
    def draws(self):
        """Return the number of real batches in one step.

        D and G share them, unless `fresh_reals`.
        """
        if self.fresh_reals:
            return self.d_steps + self.g_steps
        return max(self.d_steps, self.g_steps)

    @property
    def num_styles(self):
        """Return the number of styles of a style-based G, else 0."""
        if getattr(self.generator, 'has_styles', False):
            return self.generator.num_styles
        return 0

    @property
    def weight_names(self):
        """Return the names of G's weights that `weights` accepts."""
        return latents.weight_names(self.snapshots)

    @property
    def monitors(self):
        """Return the measurements for probes, diagnosis and checks."""
        return adversarial_monitors.Monitors(self)

    @property
    def summary(self):
        """Return labels, players and names of both networks."""
        return ('G', G, self.g_name), ('D', D, self.d_name)

    @property
    def moves(self):
        """Describe the updates in one step."""
        return f'{self.d_steps} of D and {self.g_steps} of G ({self.schedule})'

    def init(self, key, shapes, hyperparams):
        """Return the state at step 0."""
        return game.init(self, key, shapes[REAL], hyperparams.clip_limit)

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=algorithm.Variant(), collectives=algorithm.SINGLE_DEVICE,
        loop=None,
    ):
        """Run one step, or one of its `PARTS`."""
        if self.annealed:
            hyperparams = annealing.at(self, hyperparams, state.step)
        return PARTS[variant.part](
            self, hyperparams, state, batch, key, number,
            collectives=collectives,
            loop=loop or discriminator_inputs.unrolled_scan, due=variant.due,
        )

    def plan(self, step, fast_control_flow, read):
        """Yield the calls of one step."""
        due = None if fast_control_flow else frozenset(
            name for name, every in self.lazy if step % every == 0
        )
        if self._is_burst(step):
            # After the numbers of the step's own updates.
            first_number = self.d_steps + self.g_steps
            count = self.burst_steps - self.d_steps
            for number in range(0, count, self.d_steps):
                yield algorithm.Call(
                    algorithm.Variant(CRITIC, due), self.d_steps,
                    number=first_number + number,
                )
        if self.schedule == 'adaptive' and not fast_control_flow:
            return (yield from self._adapt(due, read))
        yield algorithm.Call(
            algorithm.Variant(algorithm.STEP, due), self.draws
        )

    def is_single_call(self, step, fast_control_flow):
        """Return whether the plan of a step is a single call."""
        return not self._is_burst(step) and (
            fast_control_flow
            or (not self.lazy and self.schedule != 'adaptive')
        )

    def cadences(self):
        """Return the periods, in steps, at which the plan differs; 0: none."""
        return (self.burst_every if self.schedule == 'wgan' else 0,)

    def _is_burst(self, step):
        return self.schedule == 'wgan' and update_order.is_burst(
            step, self.burst_first, self.burst_every
        )

    def _adapt(self, due, read):
        """Yield the calls of a step of the adaptive schedule."""
        d_metrics, d_updates = yield from self._plan_while_above(
            GUARDED_D, range(self.d_steps), 0, due, read
        )
        first_batch = self.draws - self.g_steps  # G's are the last ones
        g_metrics, g_updates = yield from self._plan_while_above(
            GUARDED_G, range(first_batch, self.draws), self.d_steps, due, read,
            forced=not d_updates,
        )
        yield algorithm.Call(algorithm.Variant(FINISH), 0)
        counts = {'d/updates': d_updates, 'g/updates': g_updates}
        return {**d_metrics, **g_metrics, **counts}

    def _plan_while_above(
        self, part, batches, first_number, due, read, forced=False
    ):
        """Yield a guarded part per batch until one of them does not update.

        Args:
            part: `GUARDED_D` or `GUARDED_G`.
            batches: range of the indices of the batches in the step.
            first_number: `algorithm.Call.number` of the first update.
            due: names of the lazy penalties to apply.
            read: metric -> float.
            forced: whether the first update is applied at any loss.

        Returns:
            (metrics of the last update, or of the first call if there was
            none; number of updates).
        """
        kept = None
        always_update = (('g_threshold', -float('inf')),)
        for count, index in enumerate(batches):
            metrics = yield algorithm.Call(
                algorithm.Variant(part, due),
                self.draws if part == GUARDED_D and not count else 0,
                (index, index + 1), first_number + count,
                always_update if forced and not count else (),
            )
            updated = read(metrics[f'{part}/updates']) > 0
            kept = metrics if updated or kept is None else kept
            if not updated:
                return kept, count
        return kept, len(batches)

    def inputs(self, seeds, labels=None, **options):
        """Return the z and the class of each seed."""
        return latents.inputs(self, seeds, labels, **options)

    def weights(self, state, name):
        """Return G's `algorithm.Weights`, see `latents.weights`."""
        return latents.weights(state, G, name)

    def apply(self, weights, inputs):
        """Return G's samples, computed with the running statistics.

        `inputs.main` is z [B, latent_size], or styles [B, num_styles, D].
        """
        of_styles = self.num_styles and inputs.main.ndim == 3
        return algorithm.evaluate(
            self.generator, weights, inputs,
            method='synthesize' if of_styles else None,
        )

    def styles(self, weights, inputs):
        """Return the styles [B, num_styles, D] of z, by G's mapping network."""
        return algorithm.evaluate(
            self.generator, weights, inputs, method='map'
        )

    def standing_statistics(self, weights, inputs, number):
        """Return G's weights with BatchNorm's mean statistics over batches."""
        return algorithm.standing_statistics(
            self.generator, weights, inputs, number
        )

    def collections(self, weights):
        """Return the parameters and statistics of G."""
        return algorithm.collections(weights)

    def pictures(self, state, examples, apply):
        """Return a grid of samples, one per example."""
        inputs = self.inputs(range(len(examples[REAL])))
        return {'': algorithm.Picture(
            apply(self, self.weights(state, 'ema'), inputs)
        )}


def train_step(gan, hyperparams, state, batch, key, number=0, **options):
    """Run one step of the GAN's schedule.

    The loop over updates is unrolled, because on CPU a convolution inside an
    XLA loop is many times slower.

    Args:
        gan: an `Adversarial`.
        hyperparams: a `game.Hyperparams`.
        state: an `algorithm.TrainState`.
        batch: an `algorithm.Batch`.
        key: PRNG key of the run; the step is folded in here.
        number: unused; the updates of a whole step are numbered from 0.
        options: `collectives`, `loop`, `due` of
            `discriminator_inputs.UpdateContext`.

    Returns:
        (state, metrics): `step` grows by one, `position` by the batches drawn;
        metrics are float32 scalars. If one is not finite, the state is
        unchanged except that its `alive` is False; the metric `alive` is 0.
    """
    del number
    new, metrics = run_updates(gan, hyperparams, state, batch, key, **options)
    new = snapshots.finish(gan, new.alive, new, G)
    return algorithm.keep_if_finite(state, new, metrics)


def run_updates(
    gan, hyperparams, state, batch, key, *,
    note=lambda player, number, after, metrics: None, **options,
):
    """Apply the updates of one step, even if values are not finite.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`.
        note: called after each update with the player's name, the update's
            index, the state after it, and its metrics.

    Returns:
        (state, metrics); `step` and `position` are unchanged.
    """
    context_fn = _make_context_fn(gan, hyperparams, key, **options)
    if gan.reuse_fakes:
        _, sample_index, labels = _real_batch(gan, batch, 0)
        fakes = discriminator_inputs.make_fakes(
            context_fn(state, 0), sample_index, labels
        )
        context_fn = _make_context_fn(
            gan, hyperparams, key, fakes=fakes, **options
        )

    def update_d(state, number):
        new, metrics = updates.discriminator_update(
            context_fn(state, number), *_real_batch(gan, batch, number)
        )
        note(D, number, new, metrics)
        return new, metrics

    def update_g(state, number):
        new, metrics = updates.generator_update(
            context_fn(state, gan.d_steps + number),
            *_real_batch(gan, batch, number - gan.g_steps),
        )
        note(G, number, new, metrics)
        return new, metrics

    return update_order.SCHEDULES[gan.schedule](
        gan, hyperparams, state, update_d, update_g
    )


def traced_step(
    gan, hyperparams, state, batch, key, number, *, collectives, **options
):
    """Run a step and record all its values; see `nan_trace.trace`."""
    del number
    return nan_trace.trace(state, batch, collectives, lambda note: run_updates(
        gan, hyperparams, state, batch, key, note=note, collectives=collectives,
        **options,
    )[0])


def _real_batch(gan, batch, number):
    """Return one real batch of a step as (images, sample_index, labels).

    The labels are None for an unconditional GAN, even if the data have some.
    """
    images, labels, _ = batch.sources[REAL]
    labels = labels[number] if gan.num_classes else None
    return images[number], batch.sample_index, labels


def finish_step(gan, hyperparams, state, batch, key, number, **options):
    """Update the counters after a step whose updates were separate calls."""
    del hyperparams, batch, key, number, options
    return snapshots.finish(gan, state.alive, state, G), {}


def critic_step(gan, hyperparams, state, batch, key, number, **options):
    """Update D once per real batch, without G: a burst of critic updates.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`.
        number: int32, index, within the step, of the first of these updates;
            their keys depend on it.

    Returns:
        (state, metrics of the last update): `position` grows by the batches,
        `step` is unchanged.
    """
    context_fn = _make_context_fn(gan, hyperparams, key, **options)
    start = state
    count = len(batch.sources[REAL].images)
    for place in range(count):
        state, metrics = updates.discriminator_update(
            context_fn(state, number + place), *_real_batch(gan, batch, place)
        )
    new = state.replace(position=state.position + count)
    return algorithm.keep_if_finite(start, new, metrics)


def guarded_discriminator_step(
    gan, hyperparams, state, batch, key, number, **options
):
    """Update D once if its loss is above the threshold (schedule 'adaptive').

    Args, returns: as `critic_step`, for one batch; `d/updates` is 1 if D was
    updated. `position` is unchanged: `finish_step` counts the whole step.
    """
    ctx = _make_context_fn(gan, hyperparams, key, **options)(state, number)
    return _guarded(state, 'd', hyperparams.d_threshold, *(
        updates.discriminator_update(ctx, *_real_batch(gan, batch, 0))
    ))


def guarded_generator_step(
    gan, hyperparams, state, batch, key, number, **options
):
    """Update G once if its loss is above the threshold (schedule 'adaptive').

    Args, returns: as `guarded_discriminator_step`, with `g/updates`.
    """
    ctx = _make_context_fn(gan, hyperparams, key, **options)(state, number)
    return _guarded(state, 'g', hyperparams.g_threshold, *(
        updates.generator_update(ctx, *_real_batch(gan, batch, 0))
    ))


def _guarded(state, player, threshold, new, metrics):
    """Return the new state if the player's loss is above, else the old."""
    active = update_order.is_above(metrics[f'{player}/loss'], threshold)
    count = {f'{player}/updates': active.astype(jnp.float32)}
    return algorithm.keep_if_finite(
        state, algorithm.select(active, new, state), {**metrics, **count}
    )


PARTS = {
    algorithm.STEP: train_step, algorithm.TRACE: traced_step,
    CRITIC: critic_step, GUARDED_D: guarded_discriminator_step,
    GUARDED_G: guarded_generator_step, FINISH: finish_step,
}


def _make_context_fn(gan, hyperparams, key, **options):
    """Return a function (state, index of the update) -> `UpdateContext`."""

    def context_fn(state, number):
        update_key = jax.random.fold_in(
            jax.random.fold_in(key, state.step), number
        )
        return discriminator_inputs.UpdateContext(
            gan, hyperparams, state, update_key, **options
        )

    return context_fn
