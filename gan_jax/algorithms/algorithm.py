"""The interface between an algorithm and the rest of the package.

An algorithm is a static value (hashable, for `jax.jit`) with the attributes
and methods of `Algorithm`. The training loop, sampler, tools, report and
diagnosis use it through this interface only and never name a network. This
module also holds the state, the batch and the helpers that all algorithms
share; it knows neither losses nor penalties.
"""

from typing import Any, Callable, FrozenSet, NamedTuple, Optional, Protocol

import chex
from flax import struct
import jax
import jax.numpy as jnp

from gan_jax.algorithms import freezing
from gan_jax.networks import layers
from gan_jax.ops import averaging

BATCH_STATS = 'batch_stats'  # Flax collection of BatchNorm's statistics
# Flax collections that may be averaged. The average of unit vectors, which
# spectral normalisation keeps, is not a unit vector.
AVERAGED_STATS = (BATCH_STATS,)
ALIVE = 'alive'  # internal metric, not logged: `TrainState.alive`


class PlayerState(struct.PyTreeNode):
    """The parameters, statistics and optax state of one trained network."""

    params: Any
    stats: Any
    opt_state: Any


class Weights(NamedTuple):
    """The variables of a network: parameters and the other collections."""

    params: Any
    stats: Any


class TrainState(struct.PyTreeNode):
    """The complete state of training, equal on every device.

    A run that is resumed from it continues bit for bit.

    Attributes:
        step: int32, number of completed steps.
        position: int32, number of batches drawn from each source.
        alive: bool, whether every metric so far was finite. After the first
            one that is not, steps no longer change the state: this is the last
            finite one.
        players: {name: `PlayerState`}.
        averages: {name of a player: `Weights`}, moving averages.
        memory: {owner: pytree}, state of losses, penalties and other methods.
    """

    step: jax.Array
    position: jax.Array
    alive: jax.Array
    players: Any
    averages: Any
    memory: Any


class Source(NamedTuple):
    """Samples of one data source on one device in one step.

    Attributes:
        images: [K, b, H, W, C] uint8, or float32 in [-1, 1]; or points [K, b,
            D] float32. K is the number of batches, `Algorithm.draws` for a
            whole step and another number for some parts of a step; b is this
            device's share of a batch.
        labels: [K, b] int32; None if the source has none.
        numbers: [K, b] int32, indices of the images in their data set; None if
            the feed does not know them.
    """

    images: jax.Array
    labels: Optional[jax.Array] = None
    numbers: Optional[jax.Array] = None


class Batch(NamedTuple):
    """The data of one step on one device.

    Attributes:
        sources: {name: `Source`}.
        sample_index: [b] int32, index of each sample in the global batch. All
            random numbers of a sample are keyed by it, so results do not
            depend on the number of devices.
    """

    sources: Any
    sample_index: jax.Array


class Inputs(NamedTuple):
    """The inputs of a network, one row per sample.

    Attributes:
        main: latents [B, D], styles [B, num_styles, D], images
            [B, H, W, C], or codes [B, h, w, c].
        labels: [B] int32, the class of each sample.
        condition: [B, H, W, C], an image that each sample is conditioned on,
            in pix2pix.
        keys: [B] PRNG keys of the network's own noise.
        numbers: {name: scalar}, such as the truncation of styles; they apply
            to all samples.
    """

    main: jax.Array
    labels: Optional[jax.Array] = None
    condition: Optional[jax.Array] = None
    keys: Optional[jax.Array] = None
    numbers: Any = None

    def kwargs(self):
        """Return the keyword arguments of a module: all set fields but `main`.
        """
        named = {
            'labels': self.labels, 'condition': self.condition,
            'keys': self.keys, **(self.numbers or {}),
        }
        return {name: v for name, v in named.items() if v is not None}

    def rows(self, index):
        """Return the inputs of some samples, selected by an index of rows."""
        arrays = jax.tree.map(
            lambda array: array[index], self._replace(numbers=None)
        )
        return arrays._replace(numbers=self.numbers)


class Collectives(NamedTuple):
    """Collective operations over devices; the defaults are for one device.

    Attributes:
        mean: averages a pytree over devices.
        gather: concatenates [b, ...] of each device to [B, ...], in the order
            of devices.
    """

    mean: Callable = lambda tree: tree
    gather: Callable = lambda array: array


SINGLE_DEVICE = Collectives()  # a single device


class Variant(NamedTuple):
    """The static choices that select one compiled program; hashable.

    Attributes:
        part: name of a part of a step that the algorithm defines; `STEP` is the
            whole step.
        due: names of the lazy penalties to apply, chosen by the host; None if
            the device chooses them by the step's number.
    """

    part: str = 'step'
    due: Optional[FrozenSet[str]] = None


STEP, TRACE = 'step', 'trace'  # parts that every algorithm defines


class Call(NamedTuple):
    """One call of a compiled program in the plan of a step.

    Attributes:
        variant: a `Variant`.
        reads: number of batches to read; 0 reuses those of the previous call.
        batch_slice: (start, stop), slice of the batches read; None for all.
        number: index, within the step, of the first update in this call.
        changes: ((name of a hyper-parameter, value), ...), overrides for this
            call.
    """

    variant: Variant
    reads: int
    batch_slice: Optional[tuple] = None
    number: int = 0
    changes: tuple = ()


class Picture(NamedTuple):
    """A grid of images to be written to a file.

    Attributes:
        images: [N, H, W, C] float in [-1, 1] or uint8, or points [N, D].
        columns: number of columns; None for a nearly square grid.
    """

    images: Any
    columns: Optional[int] = None


class Algorithm(Protocol):
    """The interface of an algorithm; implementations need not inherit it.

    Attributes:
        players: names of the networks that it trains.
        sources: {name of a source: name of the source that it is paired with},
            its own name if there is none. Paired sources have the same number
            of samples and are shuffled alike, others independently.
        draws: number of batches drawn from each source in a step.
        num_classes: number of classes that can be sampled; 0 if unconditional.
        latent, latent_size: distribution of z, one of `latents.LATENTS`, and
            its length; '' and 0 if images are generated from images only.
        num_styles: number of vectors w from which a style-based generator
            makes an image; 0 for other generators.
        weight_names: names that `weights` accepts; the first is the default.
        encodes: whether `encode` maps images to latents. If so, it has
            `decode`, its inverse, and `code_weights`, the name of the weights
            of both. One that also has `code_shape` and `num_codes` (0 without
            a codebook) makes codes of that shape, and `indices` with a
            codebook.
        searchable: whether the z of an image can be found by optimisation.
        monitors: interface of probes, diagnosis and checks before a run, an
            `adversarial_monitors.Monitors`; None if they do not apply.
        summary: ((label, player, description), ...), for the first lines of a
            run.
        moves: description of the updates in one step.
        name: one of `ALGORITHMS` in `config.builders`.
    """

    def init(self, key, shapes, hyperparams):
        """Return the `TrainState` at step 0.

        Args:
            key: PRNG key.
            shapes: {source: shape of one sample}.
            hyperparams: NamedTuple, a pytree of float32 scalars.
        """

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=Variant(), collectives=SINGLE_DEVICE, loop=None,
    ):
        """Run one step, or one part of it; pure.

        Args:
            hyperparams: as in `init`.
            state: `TrainState`.
            batch: `Batch`.
            key: PRNG key of the run; the step is folded in here.
            number: int32, `Call.number`.
            variant: `Variant`.
            collectives: `Collectives`.
            loop: (body, carry, parts) -> (carry, ...) over microbatches, such
                as `jax.lax.scan`; unrolled by default.

        Returns:
            (`TrainState`, {'group/name': float32 scalar}), with `ALIVE`. For
            the part `TRACE`: (state, {name: 0 or NaN, or a metric}), in the
            order of computation.
        """

    def plan(self, step, fast_control_flow, read):
        """Yield the `Call`s of one step; the metrics of each are sent back.

        Args:
            step: int, number of completed steps.
            fast_control_flow: whether programs may contain control flow,
                because it is fast on the device; else the host decides.
            read: metric -> float.

        Returns:
            The metrics of the step; None for those of the last call.
        """

    def is_single_call(self, step, fast_control_flow):
        """Return whether the plan of a step is a single call of `STEP`.

        Only such steps can be scanned in one call.
        """

    def cadences(self):
        """Return the periods, in steps, at which the plan differs; 0: none."""

    def inputs(self, seeds, labels=None, **options):
        """Return the `Inputs` that belong to seeds.

        Args:
            seeds, labels, options: as of `latents.inputs`.

        Raises:
            errors.ConfigError: for an option that the algorithm lacks.
        """

    def weights(self, state, name):
        """Return the pytree that `apply` takes, for one of `weight_names`."""

    def apply(self, weights, inputs):
        """Return float32 samples [B, ...] in [-1, 1] for `Inputs`; pure.

        Where `num_styles` is not 0, `Inputs.main` may also be styles, of which
        labels and numbers are part already.
        """

    def styles(self, weights, inputs):
        """Return [B, num_styles, D] of z, if `num_styles` is not 0; pure."""

    def standing_statistics(self, weights, inputs, number):
        """Return `weights` with BatchNorm's mean statistics over batches; pure.

        Args:
            weights: as of `weights` for the first batch, then as returned.
            inputs: `Inputs` of one batch.
            number: of the batch, from 1.

        Returns:
            Weights; None if the network has no BatchNorm.
        """

    def collections(self, weights):
        """Return `weights` as {name: pytree}, for files."""

    def encode(self, state, images):
        """Return the latents [B, F] of images, if `encodes`; pure."""

    def pictures(self, state, examples, apply):
        """Return {name: `Picture`}; '' is the grid of samples.

        Args:
            state: `TrainState` of NumPy arrays.
            examples: {source: training samples}, uint8 images or float32
                points. If `encodes`, 'held_out' has samples outside the
                training set, or training samples if no others are available.
            apply: `Algorithm.apply` in chunks of one size.
        """


def checked_step(algorithm, hyperparams, state, batch, key, number, **options):
    """Call `train_step` and check what it is given and what it returns.

    Everything is checked while the step is traced, at no cost when it runs.

    Args, returns: as `Algorithm.train_step`.

    Raises:
        AssertionError: if the batch is not as described in `Batch`, the shapes
            or dtypes of the state change, or a metric is no float32 scalar.
    """
    size = len(batch.sample_index)
    chex.assert_type(batch.sample_index, jnp.int32)
    for source in batch.sources.values():
        if source.images.ndim == 3 or source.images.dtype != jnp.uint8:
            chex.assert_type(source.images, jnp.float32)
        chex.assert_shape(source.images, (None, size, ...))
        for integers in (source.labels, source.numbers):
            if integers is not None:
                chex.assert_type(integers, jnp.int32)
                chex.assert_shape(integers, (len(source.images), size))
    new, metrics = algorithm.train_step(
        hyperparams, state, batch, key, number, **options
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new)
    chex.assert_tree_shape(metrics, ())
    chex.assert_type([*metrics.values()], jnp.float32)
    return new, metrics


def init_player(module, tx, key, inputs):
    """Return the initial `PlayerState` of a module.

    Args:
        module: flax module, (main, train, ...) -> output.
        tx: optax transform.
        key: PRNG key.
        inputs: `Inputs` of two samples.
    """
    variables = dict(
        module.init(key, inputs.main, train=False, **inputs.kwargs())
    )
    params = variables.pop('params', {})
    return PlayerState(params, variables, tx.init(params))


def copy_weights(player):
    """Copy the `Weights` of a player to new buffers.

    A step donates its state, and a buffer cannot be donated twice.
    """
    return jax.tree.map(jnp.copy, weights_of(player))


def weights_of(player):
    """Return the `Weights` of a `PlayerState`."""
    return Weights(player.params, player.stats)


def initial_state(players, averages, memory):
    """Return the `TrainState` at step 0."""
    return TrainState(
        step=jnp.zeros((), jnp.int32), position=jnp.zeros((), jnp.int32),
        alive=jnp.ones((), bool), players=players, averages=averages,
        memory=memory,
    )


def collections(weights):
    """Return {'params': …, 'batch_stats': …, …} of `Weights`."""
    return {'params': weights.params, **weights.stats}


def replace_player(state, name, player):
    """Return a state with the `PlayerState` of one name replaced."""
    return state.replace(players={**state.players, name: player})


def takes_keys(module):
    """Return whether a network is random in training and takes PRNG keys.

    It does with dropout, or if it declares `draws_noise = True`.
    """
    return bool(
        getattr(module, 'dropout', 0) or getattr(module, 'draws_noise', False)
    )


def forward(module, weights, inputs):
    """Apply a module in training mode.

    Args:
        module: flax module.
        weights: `Weights`.
        inputs: `Inputs`.

    Returns:
        (output, new statistics).
    """
    params, stats = weights
    return module.apply(
        {'params': params, **stats}, inputs.main, train=True,
        mutable=list(stats), **inputs.kwargs(),
    )


def evaluate(module, weights, inputs, method=None):
    """Apply a module, or a method of it, with its running statistics.

    Args:
        module, weights, inputs: as of `forward`.
        method: name of the method; None is the call.

    Returns:
        The output.
    """
    params, stats = weights
    return module.apply(
        {'params': params, **stats}, inputs.main, train=False, method=method,
        **inputs.kwargs(),
    )


def standing_statistics(module, weights, inputs, number):
    """Return weights with BatchNorm's mean statistics over batches.

    Args:
        module: flax module.
        weights: `Weights`; after the first batch, with the mean so far.
        inputs: `Inputs` of one batch.
        number: of the batch, from 1.

    Returns:
        `Weights`: BatchNorm has the mean over the first `number` batches of
        their means and variances, all else is unchanged. None if the module has
        no BatchNorm.

    References:
        Brock et al., Large Scale GAN Training for High Fidelity Natural Image
        Synthesis, https://arxiv.org/abs/1809.11096, 2018, section 4.1.
    """
    if BATCH_STATS not in weights.stats:
        return None
    if takes_keys(module):
        inputs = inputs._replace(
            keys=jax.random.split(jax.random.key(0), len(inputs.main))
        )
    so_far = weights.stats[BATCH_STATS]
    zeros = jax.tree.map(jnp.zeros_like, so_far)
    _, new = forward(
        module, weights._replace(stats={**weights.stats, BATCH_STATS: zeros}),
        inputs,
    )
    share = 1 - getattr(module, 'norm_momentum', layers.MOMENTUM)
    mean = jax.tree.map(
        lambda old, moved: old + (moved / share - old) / number,
        so_far, new[BATCH_STATS],
    )
    return weights._replace(stats={**weights.stats, BATCH_STATS: mean})


def update_averages(state, names, decay, frozen=()):
    """Update the exponential moving averages of players.

    BatchNorm's statistics are averaged too; other collections are copied. What
    the patterns `frozen` name, as of `freezing.hold`, stays.
    """
    averages = dict(state.averages)
    for name in names:
        player, old = state.players[name], state.averages[name]
        averages[name] = freezing.hold(frozen, name, old, Weights(
            averaging.ema(old.params, player.params, decay), {
                kind: averaging.ema(old.stats[kind], value, decay)
                if kind in AVERAGED_STATS else value
                for kind, value in player.stats.items()
            },
        ))
    return state.replace(averages=averages)


def select(condition, first, second):
    """Return one of two pytrees, by a condition on the device."""
    return jax.tree.map(
        lambda a, b: jnp.where(condition, a, b), first, second
    )


def keep_if_finite(state, new, metrics):
    """Return the new state if all metrics are finite, else the old, not alive.

    Losses, penalties and norms of gradients are metrics, so most values that
    are not finite are detected before they enter a state. Before a save,
    `nan_guard.check_state` checks the state itself.

    Returns:
        (state, metrics with `ALIVE`).
    """
    alive = state.alive & jnp.isfinite(jnp.stack([*metrics.values()])).all()
    kept = select(alive, new, state).replace(alive=alive)
    return kept, {**metrics, ALIVE: jnp.float32(alive)}


def to_unit_range(images):
    """Map uint8 images to float32 in [-1, 1]; floats are unchanged."""
    if images.dtype != jnp.uint8:
        return images
    return images.astype(jnp.float32) / 127.5 - 1


def count_params(player):
    """Count the parameters of a `PlayerState`."""
    return sum(leaf.size for leaf in jax.tree.leaves(player.params))
