"""Training of several seeds at once, by `vmap` over a stacked state.

Seed s gives the same run as `train.train` with config.seed=s, up to float
rounding. Data are points generated on the device or images resident there, and
on CPU the networks must be dense, because a convolution inside a loop is slow.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import latents
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.runtime import parallel
from gan_jax.training import dispatch


class MemberFeed:
    """The feeds of one data source for several runs, stacked.

    Attributes:
        axis: of the runs in `resident`; None where all runs share it.
    """

    def __init__(self, feeds):
        """Stack feeds that differ in their seeds alone."""
        self._feeds, first = feeds, feeds[0]
        self.kind, self.select = first.kind, first.select
        self.bytes_per_batch = sum(feed.bytes_per_batch for feed in feeds)
        self.axis, self.resident = None, first.resident
        if self.kind != 'resident':
            self.axis = 0
            self.resident = np.stack([feed.resident for feed in feeds])

    def read(self, position, count):
        """Read `count` batches of each run, [runs, count, b]."""
        return np.stack([feed.read(position, count) for feed in self._feeds])


class Population:
    """Several runs that differ in seeds and, possibly, in hyper-parameters.

    Under `vmap` a lazy penalty is computed at every step, even where it is not
    applied.

    Attributes:
        algorithm: `algorithm.Algorithm` of all runs.
        mixture: `mixtures.Mixture` of the data, or None for images.
        seeds: tuple of ints, of weights, noise and data.
    """

    def __init__(self, config, seeds, *, hyperparams=None, dataset=None):
        """Create the runs; initializes and compiles nothing yet.

        Args:
            config: validated ConfigDict; its own seed is not used.
            seeds: sequence of ints in [0, 2^63), one for each run.
            hyperparams: as of `builders.hyperparams`, with a leading axis of
                runs; by default those of the config for all runs.
            dataset: `sources.Dataset` in memory; None for generated points.

        Raises:
            errors.ConfigError: without a dataset for images, or for networks
                with convolutions on CPU.
        """
        self.mixture = builders.mixture(config)
        if (self.mixture is None and dataset is None) or (
            not parallel.has_fast_control_flow(defaults.convolutional(config))
        ):
            raise errors.ConfigError(
                'a population needs generated points or images in memory, and '
                'on CPU dense networks; not '
                f'data.name={defaults.source(config)!r} with '
                f'networks {defaults.network_names(config)}'
            )
        self.seeds, self._config = tuple(seeds), config
        if self.mixture is not None:
            self._specs = builders.single_source_specs((self.mixture.ambient,))
        else:
            self._specs = builders.data_specs({builders.REAL: dataset})
        self.algorithm = builders.algorithm(
            config, self._specs, parallel.device_memory() / len(self.seeds)
        )
        self._hyperparams, axis = hyperparams, 0
        if hyperparams is None:
            self._hyperparams, axis = builders.hyperparams(config), None
        self._keys, self._axis = _keys(self.seeds), axis
        self._init = jax.jit(jax.vmap(lambda key, numbers: self.algorithm.init(
            key, builders.shapes(self._specs), numbers
        ), (0, axis)))
        self._dataset, self._dispatch = dataset, None
        self._apply = jax.jit(jax.vmap(self.algorithm.apply, (0, None)))

    def init(self):
        """Initialize the states.

        Returns:
            `algorithm.TrainState` with a leading axis of seeds.
        """
        return self._init(self._keys[0], self._hyperparams)

    def abstract(self):
        """Return the states' shapes and dtypes, as `jax.ShapeDtypeStruct`s."""
        return jax.eval_shape(self._init, self._keys[0], self._hyperparams)

    def advance(self, states, num_steps):
        """Train every run for some steps; a run that is not alive stays.

        Args:
            states: as of `init`; donated.
            num_steps: >= 1.

        Returns:
            (states, {name: [seeds] float32}, metrics of the last step), NumPy
            arrays.
        """
        if self._dispatch is None:
            self._dispatch = self._make_dispatch()
        step, position = int(np.max(states.step)), int(np.max(states.position))
        until, states = step + num_steps, parallel.replicate(states)
        size = parallel.largest_call(num_steps)
        while step < until:
            states, metrics, step, position = self._dispatch.advance(
                states, step, position, size, until
            )
        return parallel.unreplicate(states), parallel.unreplicate(metrics)

    def _make_dispatch(self):
        """Build the `Dispatch` of all runs."""
        seeded = []
        for seed in self.seeds:
            seeded.append(self._config.copy_and_resolve_references())
            seeded[-1].seed = seed
        each = [
            builders.feeds(config, {builders.REAL: self._dataset})
            for config in seeded
        ]
        feeds = {
            name: MemberFeed([feeds[name] for feeds in each])
            for name in each[0]
        }
        constants = parallel.constants(
            {name: feed.resident for name, feed in feeds.items()},
            self._hyperparams, self._keys[1],
            defaults.images_per_batch(self._config),
        )
        members = parallel.Constants(
            {name: feed.axis for name, feed in feeds.items()}, self._axis,
            0, None, None,
        )
        return dispatch.Dispatch(
            self._config, self.algorithm, feeds, constants, (), members
        )

    def sample(self, states, numbers, weights='raw'):
        """Generate samples from the same latents in every run.

        Args:
            states: as of `init`.
            numbers: sequence of ints in [0, 2^31), seeds of the latents as in
                `sampling.sample`.
            weights: one of `Algorithm.weight_names`.

        Returns:
            float32 [seeds, len(numbers), ...], a NumPy array.
        """
        algorithm = self.algorithm
        inputs = algorithm_lib.Inputs(latents.draw(
            jax.random.key(0), jnp.asarray(numbers, jnp.int32),
            algorithm.latent_size, algorithm.latent,
        ))
        each = jax.vmap(lambda state: algorithm.weights(state, weights))(
            jax.tree.map(jnp.asarray, states)
        )
        return np.asarray(self._apply(each, inputs))


def _keys(seeds):
    """Return PRNG keys [seeds] of weights and of noise, as in `train`."""
    base = [jax.random.key(seed) for seed in seeds]
    return tuple(
        jnp.stack([jax.random.fold_in(key, use) for key in base])
        for use in range(2)
    )
