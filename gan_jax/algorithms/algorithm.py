"""What an algorithm is: its state, its batches, and what others may ask of it.

An algorithm is a static value (hashable, for `jax.jit`) with the attributes
and methods of `Algorithm`. Training loop, sampler, tools, report and diagnosis
ask it by these alone, and none of them names a network.
"""

from typing import Any, Callable, FrozenSet, NamedTuple, Optional, Protocol

from flax import struct
import jax
import jax.numpy as jnp

from gan_jax.ops import transforms

# Collections of statistics that may be averaged. Spectral normalisation's unit
# vectors would not stay so in between.
AVERAGED_STATS = ('batch_stats',)
ALIVE = 'alive'  # the metric that is not for showing: `TrainState.alive`


class PlayerState(struct.PyTreeNode):
    """One network that is trained: parameters, statistics, optax state."""

    params: Any
    stats: Any
    opt_state: Any


class Weights(NamedTuple):
    """What a network is applied with: parameters and other collections."""

    params: Any
    stats: Any


class TrainState(struct.PyTreeNode):
    """Everything that a kill must not lose; equal on every device.

    Attributes:
        step: int32, steps made.
        position: int32, batches drawn from each source.
        alive: bool, whether every number so far was finite. Once one is not,
            steps change nothing: this is the state before it.
        players: {name: `PlayerState`}.
        averages: {name of a player: `Weights`}, moving averages.
        memory: {owner: pytree}, what losses, penalties and tricks remember.
    """

    step: jax.Array
    position: jax.Array
    alive: jax.Array
    players: Any
    averages: Any
    memory: Any


class Source(NamedTuple):
    """Samples of one source of data, as one device sees them in one step.

    Attributes:
        images: [K, b, H, W, C] uint8, or points [K, b, D] float32; K is
            `Algorithm.draws`, b this device's share of the batch.
        labels: [K, b] int32; None where the source has none.
        numbers: [K, b] int32, of the images in their data set; None where the
            feed does not know them.
    """

    images: jax.Array
    labels: Optional[jax.Array] = None
    numbers: Optional[jax.Array] = None


class Batch(NamedTuple):
    """The data of one step, as one device sees them.

    Attributes:
        sources: {name: `Source`}.
        sample_index: [b] int32, each sample's place in the global batch; every
            draw for a sample is keyed by it, so the number of devices changes
            nothing.
    """

    sources: Any
    sample_index: jax.Array


class Inputs(NamedTuple):
    """What a network is given, one row a sample.

    Attributes:
        main: latents [B, D], or images [B, H, W, C].
        labels: [B] int32, the class asked for or told.
        condition: [B, H, W, C], an image that is asked for or told.
        keys: [B] PRNG keys, of noise of the network's own.
        numbers: {name: scalar}, such as the share of a growing layer.
    """

    main: jax.Array
    labels: Optional[jax.Array] = None
    condition: Optional[jax.Array] = None
    keys: Optional[jax.Array] = None
    numbers: Any = None

    def given(self):
        """Return the keyword arguments of those beside `main` that are set."""
        named = {
            'labels': self.labels, 'condition': self.condition,
            'keys': self.keys, **(self.numbers or {}),
        }
        return {name: v for name, v in named.items() if v is not None}


class Across(NamedTuple):
    """What a step may ask of all devices together.

    Attributes:
        mean: average of a pytree over devices.
        gather: [b, ...] of each device -> [B, ...] of all, in their order.
    """

    mean: Callable = lambda tree: tree
    gather: Callable = lambda array: array


ALONE = Across()  # on one device


class Variant(NamedTuple):
    """What is compiled into one program; hashable.

    Attributes:
        part: of a step, one of those that the algorithm knows; `STEP` is the
            whole.
        due: names of the lazy penalties that join, chosen by the host; None
            where the step's number decides on the device.
    """

    part: str = 'step'
    due: Optional[FrozenSet[str]] = None


STEP, TRACE = 'step', 'trace'  # parts that every algorithm has


class Call(NamedTuple):
    """One call of a compiled program, in the plan of a step.

    Attributes:
        variant: a `Variant`.
        reads: batches that are read for it; 0 for those of the call before.
        places: (start, stop) among the batches read; None for all.
        number: of the first update that it makes, among those of the step.
        changes: ((name of a hyper-parameter, value), ...) for this call.
    """

    variant: Variant
    reads: int
    places: Optional[tuple] = None
    number: int = 0
    changes: tuple = ()


class Picture(NamedTuple):
    """Images for a picture file.

    Attributes:
        images: [N, H, W, C] float in [-1, 1] or uint8, or points [N, D].
        columns: side by side; None for about as many as rows.
    """

    images: Any
    columns: Optional[int] = None


class Algorithm(Protocol):
    """What the rest of the package may ask; no class needs to inherit it.

    Attributes:
        players: names of the networks that it trains.
        sources: {name of a source: name of its order}. Sources of one order are
            drawn in pairs, others are shuffled apart.
        draws: batches of each source in a step.
        num_classes: classes that a sampler may ask for; 0 for none.
        latent, latent_size: what z is drawn from, one of `latents.LATENTS`,
            and its length; '' and 0 where images are made of images alone.
        weight_names: names that `weights` knows; the first is the default.
        encodes: whether `encode` brings any image to a code.
        searchable: whether the z of an image can be searched for.
        monitors: what probes, diagnosis and checks before a run may ask, as
            `monitors.Monitors`; None where nothing applies.
        summary: ((label, player, what it is), ...) for the first lines of a
            run.
        moves: words that say who moves in one step.
        name: one of `ALGORITHMS` in `build`.
    """

    def init(self, key, shapes, hyperparams):
        """Return the `TrainState` at step 0.

        Args:
            key: PRNG key.
            shapes: {source: shape of one sample}.
            hyperparams: NamedTuple of float32 scalars.
        """

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=Variant(), across=ALONE, loop=None,
    ):
        """Make one step, or one part of it; pure.

        Args:
            hyperparams: as of `init`.
            state: `TrainState`.
            batch: `Batch`.
            key: PRNG key of the run; the step is folded in here.
            number: int32, `Call.number`.
            variant: `Variant`.
            across: `Across`.
            loop: (body, carry, parts) -> (carry, ...) over microbatches, such
                as `jax.lax.scan`; by default one after another.

        Returns:
            (`TrainState`, {'group/name': float32 scalar}), with `ALIVE`. For
            the part `TRACE`: (state, {name: 0 or NaN, or a metric}), in the
            order in which one thing follows from another.
        """

    def plan(self, step, device_decides, read):
        """Yield the `Call`s of one step; the metrics of each are sent back.

        Args:
            step: int, steps made.
            device_decides: whether programs may hold control flow.
            read: metric -> float.

        Returns:
            The metrics of the step; None for those of the last call.
        """

    def is_plain(self, step, device_decides):
        """Return whether the plan of a step is the one call of `STEP`.

        Only such steps are scanned in one call.
        """

    def inputs(self, seeds, labels=None, truncation=None):
        """Return the `Inputs` that seeds name.

        Raises:
            errors.ConfigError: for what the algorithm does not have.
        """

    def weights(self, state, name):
        """Return the pytree that `apply` needs, by one of `weight_names`."""

    def apply(self, weights, inputs):
        """Return float32 samples [B, ...] of `Inputs`, in [-1, 1]; pure."""

    def collections(self, weights):
        """Return {name: pytree} of what `weights` holds, for files."""

    def encode(self, state, images):
        """Return the codes [B, F] of images, where `encodes`; pure."""

    def pictures(self, state, examples, apply):
        """Return {name: `Picture`}; '' is the grid of samples.

        Args:
            state: `TrainState` of NumPy arrays.
            examples: {source: uint8 samples of it, 'held_out': others}.
            apply: `Algorithm.apply` in chunks of one size.
        """


def init_player(module, tx, key, inputs):
    """Return the first `PlayerState` of a module.

    Args:
        module: flax module, (main, train, ...) -> output.
        tx: optax transform.
        key: PRNG key.
        inputs: `Inputs` of two samples.
    """
    variables = dict(
        module.init(key, inputs.main, train=False, **inputs.given())
    )
    params = variables.pop('params', {})
    return PlayerState(params, variables, tx.init(params))


def copy(player):
    """Return the `Weights` of a player in buffers of their own.

    The step donates its state, and a buffer cannot be donated twice.
    """
    return jax.tree.map(jnp.copy, weights_of(player))


def weights_of(player):
    """Return the `Weights` of a `PlayerState`."""
    return Weights(player.params, player.stats)


def start(players, averages, memory):
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
    """Return a state with another `PlayerState` under a name."""
    return state.replace(players={**state.players, name: player})


def takes_keys(module):
    """Return whether a network draws at random in training, and needs keys.

    It does for dropout, and where it says `draws_noise = True`.
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
        mutable=list(stats), **inputs.given(),
    )


def evaluate(module, weights, inputs):
    """Apply a module with its running statistics; returns its output."""
    params, stats = weights
    return module.apply(
        {'params': params, **stats}, inputs.main, train=False,
        **inputs.given(),
    )


def average(state, names, decay):
    """Move the averages of some players towards what they are now.

    BatchNorm's statistics are averaged too; what is no average is copied.
    """
    averages = dict(state.averages)
    for name in names:
        player, old = state.players[name], state.averages[name]
        averages[name] = Weights(
            transforms.ema(old.params, player.params, decay), {
                kind: transforms.ema(old.stats[kind], value, decay)
                if kind in AVERAGED_STATS else value
                for kind, value in player.stats.items()
            },
        )
    return state.replace(averages=averages)


def choose(condition, first, second):
    """Take one of two pytrees."""
    return jax.tree.map(
        lambda a, b: jnp.where(condition, a, b), first, second
    )


def while_finite(state, new, metrics):
    """Take the new state where all metrics are finite; else end its life.

    Losses, penalties and norms of gradients are metrics, so nothing that is not
    finite enters a state unseen.

    Returns:
        (state, metrics with `ALIVE`).
    """
    alive = state.alive & jnp.isfinite(jnp.stack([*metrics.values()])).all()
    kept = choose(alive, new, state).replace(alive=alive)
    return kept, {**metrics, ALIVE: jnp.float32(alive)}


def to_unit_range(images):
    """Map uint8 images to float32 in [-1, 1]; points stay as they are."""
    if images.dtype != jnp.uint8:
        return images
    return images.astype(jnp.float32) / 127.5 - 1


def size(player):
    """Count the parameters of a `PlayerState`."""
    return sum(leaf.size for leaf in jax.tree.leaves(player.params))
