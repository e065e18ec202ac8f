"""Several GANs of one config at once: each one row of a stacked state.

The existing step under `vmap`, inside one compiled scan: points that are made
on the device, or images that lie there, for networks that a scan bears (on CPU
dense ones). Seed s gives the run of `train.train` with config.seed=s, up to
float rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import build
from gan_jax import config as config_lib
from gan_jax import errors
from gan_jax import mixtures
from gan_jax.data import feed as feed_lib
from gan_jax.runtime import parallel
from gan_jax.steps import adversarial
from gan_jax.steps import game
from gan_jax.steps import latents

MAX_CALL = 64  # steps whose images are named to one call
scan = parallel.loop(convolutional=False)


class Population:
    """GANs that differ in their seeds, and in hyperparameters where they may.

    Under `vmap` a lazy penalty is computed at each step, joined or not.

    Attributes:
        gan: `game.GAN`, the static parts that all share.
        mixture: `mixtures.Mixture` that they learn, or None for images.
        seeds: tuple of ints, of weights, noise and data.
    """

    def __init__(self, config, seeds, *, hyperparams=None, dataset=None):
        """Prepare; nothing is drawn or compiled yet.

        Args:
            config: validated ConfigDict; its own seed is not used.
            seeds: sequence of ints in [0, 2^63), one for each GAN.
            hyperparams: `game.Hyperparams` whose leaves have one row for each
                GAN; by default those of the config for all.
            dataset: `sources.Dataset` in memory, where config names no points.

        Raises:
            errors.ConfigError: for images that are not given, or networks that
                a scan does not bear here.
        """
        self.mixture = build.mixture(config)
        if (self.mixture is None and dataset is None) or (
            not parallel.bears_control_flow(build.convolutional(config))
        ):
            raise errors.ConfigError(
                'a population has points made on the fly, or images in memory, '
                'and on CPU dense networks; not '
                f'data.name={config_lib.source(config)!r} with '
                f'generator.name={config.generator.name!r} and '
                f'discriminator.name={config.discriminator.name!r}'
            )
        self.seeds = tuple(seeds)
        self._feeds, self._resident = (), ()
        if self.mixture is not None:
            self._shape, classes, count = (self.mixture.ambient,), 0, 0
        else:
            self._shape = dataset.images.shape[1:]
            classes, count = len(dataset.classes), len(dataset.images)
        self.gan = build.gan(
            config, self._shape, classes, count,
            memory=parallel.memory() / len(self.seeds),
        )
        batch_size = config_lib.images_per_batch(config)
        if self.mixture is None:
            self._feeds = tuple(
                feed_lib.ResidentFeed(dataset, seed=seed, batch_size=batch_size)
                for seed in self.seeds
            )
            self._resident = jax.tree.map(jnp.asarray, self._feeds[0].resident)
        self._hyperparams, axis = hyperparams, 0
        if hyperparams is None:
            self._hyperparams, axis = build.hyperparams(config), None
        self._schedule = config.schedule
        self._keys = _keys(self.seeds)
        self._init = jax.jit(jax.vmap(lambda key, clip: adversarial.init(
            self.gan, key, self._shape, clip
        ), (0, axis)))
        draw = functools.partial(
            _named if self.mixture is None else _made, self.gan,
            self.mixture, batch_size,
        )
        options = {
            'donate_argnums': 0, 'compiler_options':
            parallel.compiler_options(build.convolutional(config)),
        }
        self._play = jax.jit(functools.partial(
            _play, self.gan, draw, axis
        ), static_argnames='num_steps', **options)
        self._burst = jax.jit(functools.partial(
            _burst, self.gan, draw, axis
        ), **options)
        self._generate = jax.jit(jax.vmap(
            functools.partial(game.generate, self.gan),
            in_axes=(0, 0, None),
        ))

    def init(self):
        """Draw the initial states.

        Returns:
            `game.GANState` with a leading axis of seeds.
        """
        return self._init(self._keys[0], self._hyperparams.clip_limit)

    def abstract(self):
        """Give the form of the states, as `jax.ShapeDtypeStruct`."""
        return jax.eval_shape(
            self._init, self._keys[0], self._hyperparams.clip_limit
        )

    def advance(self, states, num_steps):
        """Make steps of every GAN; of one that is not alive none.

        Each number of steps is compiled once.

        Args:
            states: as of `init`; donated.
            num_steps: >= 1.

        Returns:
            (states, {name: [seeds] float32}, metrics of the last step).
        """
        step, position = int(np.max(states.step)), int(np.max(states.position))
        draws, d_steps = game.draws_per_step(self.gan), self.gan.d_steps
        given = self._hyperparams, self._resident, self._keys
        for size in self._sizes(step, num_steps):
            if self._is_burst(step):
                numbers = self._numbers()
                fed = self._read(position, len(numbers), d_steps)
                states = self._burst(states, *given, fed, numbers)
                position += len(numbers) * d_steps
            fed = self._read(position, size, draws)
            states, metrics = self._play(states, *given, fed, num_steps=size)
            step, position = step + size, position + size * draws
        return states, metrics

    def _read(self, position, size, draws):
        """Name the images of `size` steps: int32 [size, GANs, draws, b]."""
        if not self._feeds:
            return ()
        return np.stack([
            feed.read(position, size * draws).reshape(size, draws, -1)
            for feed in self._feeds
        ], 1)

    def sample(self, states, numbers, weights='raw'):
        """Generate the points of these numbers, the same z for every GAN.

        Args:
            states: as of `init`.
            numbers: sequence of ints in [0, 2^31): a number gives the z that
                it gives as a seed of `sampling.sample`.
            weights: one of `game.WEIGHTS`.

        Returns:
            float32 [seeds, len(numbers), ...], a NumPy array.
        """
        gan = self.gan
        z = latents.draw(
            jax.random.key(0), jnp.asarray(numbers, jnp.int32),
            gan.latent_size, gan.latent,
        )
        params, stats = jax.vmap(game.WEIGHTS[weights])(states)
        return np.asarray(self._generate(params, stats, z))

    def _is_burst(self, step):
        """Say whether D makes more updates before this step."""
        return bool(self._bursts(step, 1))

    def _bursts(self, first, count):
        """List the steps of these that bursts come before."""
        schedule = self._schedule
        if self.gan.schedule != 'wgan':
            return []
        return [
            step for step in range(first, first + count)
            if adversarial.is_burst(
                step, schedule.burst_first, schedule.burst_every
            )
        ]

    def _sizes(self, step, num_steps):
        """Part the steps to come so that each burst begins a part."""
        last = step + num_steps
        looks = range(step, last, MAX_CALL) if self._feeds else (step,)
        marks = sorted({*looks, *self._bursts(step, num_steps), last})
        return [last - first for first, last in zip(marks, marks[1:])]

    def _numbers(self):
        """Number the first updates of a burst's calls, as `programs` does."""
        first = self.gan.d_steps + self.gan.g_steps
        return first + jnp.arange(
            0, self._schedule.burst_steps - self.gan.d_steps, self.gan.d_steps,
            dtype=jnp.int32,
        )


def _keys(seeds):
    """Give key arrays [seeds] as `train` derives them: init, z, points."""
    base = [jax.random.key(seed) for seed in seeds]
    return tuple(
        jnp.stack([jax.random.fold_in(key, use) for key in base])
        for use in range(3)
    )


def _made(gan, mixture, batch_size, resident, state, key, fed, count):
    """Make the next points of one GAN, as `build.MixtureFeed` numbers them."""
    del gan, resident, fed
    first = state.position.astype(jnp.uint32) * jnp.uint32(batch_size)
    numbers = first + jnp.arange(count * batch_size, dtype=jnp.uint32)
    points = mixtures.sample(mixture, key, numbers.reshape(count, batch_size))
    return game.Batch(points, None, jnp.arange(batch_size, dtype=jnp.int32))


def _named(gan, mixture, batch_size, resident, state, key, fed, count):
    """Gather the images that one GAN is fed the places of."""
    del mixture, state, key, count
    constants = parallel.Constants(
        resident, None, None, jnp.arange(batch_size, dtype=jnp.int32), None
    )
    return build.batch(gan, feed_lib.ResidentFeed, constants, fed)


def _play(
    gan, draw, axis, states, hyperparams, resident, keys, fed, *, num_steps
):
    """Make whole steps; returns (states, metrics of the last one)."""
    draws = game.draws_per_step(gan)
    keys = parallel.quick(keys[1]), parallel.quick(keys[2])

    def one(state, hyperparams, key, data_key, fed):
        batch = draw(resident, state, data_key, fed, draws)
        return adversarial.train_step(
            gan, hyperparams, state, batch, key, loop=scan,
        )

    def body(carry, fed):
        states, _ = carry
        return jax.vmap(one, (0, axis, 0, 0, 0))(
            states, hyperparams, *keys, fed
        ), None

    first = jax.tree.map(lambda array: array[0], fed)
    metrics = jax.eval_shape(
        lambda states, fed: body((states, None), fed)[0][1], states, first
    )
    start = jax.tree.map(lambda form: jnp.zeros(form.shape), metrics)
    return scan(body, (states, start), fed, length=num_steps)[0]


def _burst(
    gan, draw, axis, states, hyperparams, resident, keys, fed, numbers
):
    """Move every D alone, `d_steps` updates for each of the numbers."""
    keys = parallel.quick(keys[1]), parallel.quick(keys[2])

    def one(state, hyperparams, key, data_key, fed, number):
        batch = draw(resident, state, data_key, fed, gan.d_steps)
        return adversarial.critic_step(
            gan, hyperparams, state, batch, key, number
        )[0]

    def body(states, given):
        fed, number = given
        return jax.vmap(one, (0, axis, 0, 0, 0, None))(
            states, hyperparams, *keys, fed, number
        ), None

    return scan(body, states, (fed, numbers))[0]
