"""Several GANs of one config at once: each seed one row of a stacked state.

The existing step under `vmap`, inside one compiled scan. For dense networks on
points that are made on the device. Seed s gives the run of `train.train` with
config.seed=s, up to float rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import build
from gan_jax import config as config_lib
from gan_jax import errors
from gan_jax import mixtures
from gan_jax.runtime import parallel
from gan_jax.steps import adversarial
from gan_jax.steps import game
from gan_jax.steps import latents


class Population:
    """GANs that differ in nothing but their seeds.

    Under `vmap` a lazy penalty is computed at each step, joined or not.

    Attributes:
        gan: `game.GAN`, the static parts that all share.
        mixture: `mixtures.Mixture` that they learn.
        seeds: tuple of ints, of weights, noise and data.
    """

    def __init__(self, config, seeds):
        """Prepare; nothing is drawn or compiled yet.

        Args:
            config: validated ConfigDict; its own seed is not used.
            seeds: sequence of ints in [0, 2^63), one for each GAN.

        Raises:
            errors.ConfigError: where the data are no points made on the fly,
                or a network convolves.
        """
        self.mixture = build.mixture(config)
        if self.mixture is None or build.convolutional(config):
            raise errors.ConfigError(
                'a population has dense networks and points made on the fly, '
                f'not data.name={config_lib.source(config)!r} with '
                f'generator.name={config.generator.name!r} and '
                f'discriminator.name={config.discriminator.name!r}'
            )
        self.seeds = tuple(seeds)
        self.gan = build.gan(config, (self.mixture.ambient,))
        self._hyperparams = build.hyperparams(config)
        self._schedule = config.schedule
        self._keys = _keys(self.seeds)
        batch_size = config_lib.images_per_batch(config)
        self._init = jax.jit(jax.vmap(lambda key: adversarial.init(
            self.gan, key, (self.mixture.ambient,), config.clip_weights
        )))
        options = {
            'donate_argnums': 0, 'compiler_options': parallel.compiler_options()
        }
        self._play = jax.jit(functools.partial(
            _play, self.gan, self.mixture, batch_size
        ), static_argnames='num_steps', **options)
        self._burst = jax.jit(functools.partial(
            _burst, self.gan, self.mixture, batch_size,
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
        return self._init(self._keys[0])

    def abstract(self):
        """Give the form of the states, as `jax.ShapeDtypeStruct`."""
        return jax.eval_shape(self._init, self._keys[0])

    def advance(self, states, num_steps):
        """Make steps of every GAN; of one that is not alive none.

        Each number of steps is compiled once.

        Args:
            states: as of `init`; donated.
            num_steps: >= 1.

        Returns:
            (states, {name: [seeds] float32}, metrics of the last step).
        """
        step = int(np.max(states.step))
        for size in self._sizes(step, num_steps):
            if self._is_burst(step):
                states = self._burst(
                    states, self._hyperparams, self._keys, self._numbers()
                )
            states, metrics = self._play(
                states, self._hyperparams, self._keys, num_steps=size
            )
            step += size
        return states, metrics

    def sample(self, states, numbers, weights='raw'):
        """Generate the points of these numbers, the same z for every GAN.

        Args:
            states: as of `init`.
            numbers: sequence of ints in [0, 2^31): a number gives the z that
                it gives as a seed of `sampling.sample`.
            weights: one of `game.WEIGHTS`.

        Returns:
            float32 [seeds, len(numbers), ambient], a NumPy array.
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
        marks = sorted({
            step, *self._bursts(step, num_steps), step + num_steps
        })
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


def _batch(mixture, batch_size, state, key, count):
    """Draw the next batches of one GAN, as `build.MixtureFeed` numbers them."""
    first = state.position.astype(jnp.uint32) * jnp.uint32(batch_size)
    numbers = first + jnp.arange(count * batch_size, dtype=jnp.uint32)
    points = mixtures.sample(mixture, key, numbers.reshape(count, batch_size))
    return game.Batch(points, None, jnp.arange(batch_size, dtype=jnp.int32))


def _play(
    gan, mixture, batch_size, states, hyperparams, keys, *, num_steps
):
    """Make whole steps; returns (states, metrics of the last one)."""
    draws = game.draws_per_step(gan)
    keys = parallel.quick(keys[1]), parallel.quick(keys[2])

    def one(state, key, point_key):
        batch = _batch(mixture, batch_size, state, point_key, draws)
        return adversarial.train_step(
            gan, hyperparams, state, batch, key,
            loop=parallel.loop(convolutional=False),
        )

    def body(carry, _):
        states, _ = carry
        return jax.vmap(one)(states, *keys), None

    metrics = jax.eval_shape(lambda s: body((s, None), None)[0][1], states)
    start = jax.tree.map(lambda form: jnp.zeros(form.shape), metrics)
    return _scan(body, (states, start), num_steps)


def _burst(gan, mixture, batch_size, states, hyperparams, keys, numbers):
    """Move every D alone, `d_steps` updates for each of the numbers."""
    keys = parallel.quick(keys[1]), parallel.quick(keys[2])

    def one(state, key, point_key, number):
        batch = _batch(mixture, batch_size, state, point_key, gan.d_steps)
        return adversarial.critic_step(
            gan, hyperparams, state, batch, key, number
        )[0]

    def body(states, number):
        return jax.vmap(one, (0, 0, 0, None))(
            states, *keys, number
        ), None

    loop = parallel.loop(convolutional=False)
    return loop(body, states, numbers)[0]


def _scan(body, carry, length):
    loop = parallel.loop(convolutional=False)
    return loop(body, carry, None, length=length)[0]
