"""Measure the speed of the compiled scan of mode_recovery.py.

    python benchmarks/mode_recovery_speed.py

It trains the plain GAN of `mode_recovery.py --table=wide` on the ring (two
hidden layers of 128, batch 512, Adam, one update of D and one of G, fresh
points and z for each):

  one    by `gan_jax/training/multi_seed.py`, one seed
  many   the same with --seeds seeds in one call
  torch  in plain PyTorch: nn.Sequential, optim.Adam and a loop
  best   PyTorch with all that helps: Adam's update as one kernel (fused=True),
         real and fake points through D in one pass, as ours has them, and no
         gradients of D's parameters in G's step

They alternate within one process; a round has --steps steps of each. Ratios are
those of the medians, with the quartiles of the ratios within a round. The
PyTorch variants do not average weights or measure gradient norms, which ours
does. Compilation is not counted. Run it on an idle machine, as all variants use
all cores.

It needs the `bench` extra for PyTorch; --notorch leaves PyTorch out.
"""

import pathlib
import statistics
import time

from absl import flags
import jax

import turns
from gan_jax.cli import app
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.ops import mixtures
from gan_jax.runtime import environment
from gan_jax.runtime import writer
from gan_jax.training import multi_seed as population_lib

SEEDS = flags.DEFINE_integer('seeds', 5, 'Seeds in one call.', lower_bound=2)
STEPS = flags.DEFINE_integer('steps', 200, 'Steps per turn.', lower_bound=1)
ROUNDS = flags.DEFINE_integer('rounds', 15, 'Turns of each.', lower_bound=2)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 512, 'Batch.', lower_bound=1)
TORCH = flags.DEFINE_bool('torch', True, 'Whether to time PyTorch too.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'mixtures.py'


def configure():
    """Return the config of the plain GAN on the ring."""
    config = recipes.load(RECIPE, 'ring')
    config.batch_size = BATCH_SIZE.value
    return config


class Ours:
    """Population of seeds, and the states that its next turn continues from."""

    def __init__(self, config, num_seeds):
        """Initialize the states."""
        self._population = population_lib.Population(config, range(num_seeds))
        self._states = self._population.init()

    def advance(self, num_steps):
        """Train, and wait for the result."""
        self._states, metrics = self._population.advance(
            self._states, num_steps
        )
        jax.block_until_ready((self._states, metrics))


class Torch:
    """Networks, losses and optimizers of `Ours` in plain PyTorch."""

    def __init__(self, config, best=False):
        """Create both players; `best` is described above.

        Raises:
            errors.ConfigError: if PyTorch is not installed.
        """
        try:
            import torch
        except ImportError as error:
            raise errors.ConfigError(
                "PyTorch is not installed: pip install -e '.[bench]', or "
                'leave it out with --notorch'
            ) from error
        self._torch, self._config, self._best = torch, config, best
        self._generator = self._network(
            config.generator, config.latent_size, 2, torch.nn.ReLU
        )
        self._discriminator = self._network(
            config.discriminator, 2, 1,
            lambda: torch.nn.LeakyReLU(config.discriminator.negative_slope),
        )
        self._g_optimizer, self._d_optimizer = (
            torch.optim.Adam(
                network.parameters(), options.learning_rate,
                (options.b1, options.b2), fused=best,
            ) for network, options in (
                (self._generator, config.g_optimizer),
                (self._discriminator, config.d_optimizer),
            )
        )
        ring = mixtures.ring()
        self._means, self._std = torch.from_numpy(ring.means), ring.std

    def _network(self, options, inputs, outputs, activation):
        nn, layers = self._torch.nn, []
        for _ in range(options.depth):
            layers += [nn.Linear(inputs, options.width), activation()]
            inputs = options.width
        return nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def _points(self):
        torch, size = self._torch, self._config.batch_size
        modes = torch.randint(len(self._means), (size,))
        return self._means[modes] + self._std * torch.randn(size, 2)

    def _fakes(self):
        size = self._config.batch_size, self._config.latent_size
        return self._generator(self._torch.randn(size))

    def parameters(self):
        """List the parameters of both players."""
        return [
            *self._generator.parameters(), *self._discriminator.parameters()
        ]

    def advance(self, num_steps):
        """Train."""
        softplus = self._torch.nn.functional.softplus
        for _ in range(num_steps):
            with self._torch.no_grad():
                fakes = self._fakes()
            self._d_optimizer.zero_grad()
            real, fake = self._judge(self._points(), fakes)
            loss = softplus(-real).mean() + softplus(fake).mean()
            loss.backward()
            self._d_optimizer.step()

            self._discriminator.requires_grad_(not self._best)
            self._g_optimizer.zero_grad()
            loss = softplus(-self._discriminator(self._fakes())).mean()
            loss.backward()
            self._g_optimizer.step()
            self._discriminator.requires_grad_(True)

    def _judge(self, points, fakes):
        if not self._best:
            return self._discriminator(points), self._discriminator(fakes)
        return self._discriminator(self._torch.cat([points, fakes])).chunk(2)


def take_turns(variants):
    """Time each variant once per round, after a warm-up turn.

    Args:
        variants: {name: object with `advance`}.

    Returns:
        {name: [milliseconds per step, by round]}.
    """
    times = {name: [] for name in variants}
    for number in range(-1, ROUNDS.value):
        for name, variant in variants.items():
            began = time.perf_counter()
            variant.advance(STEPS.value)
            taken = 1e3 * (time.perf_counter() - began) / STEPS.value
            if number >= 0:
                times[name].append(taken)
    return times


def main(argv):
    """Print milliseconds per step and their ratios; write --json."""
    del argv
    config = configure()
    variants = {'one': Ours(config, 1), 'many': Ours(config, SEEDS.value)}
    if TORCH.value:
        variants['torch'] = Torch(config)
        variants['best'] = Torch(config, best=True)
    times = take_turns(variants)
    ratios = {f'a seed of {SEEDS.value} / one': turns.ratio(
        times['many'], times['one'], 1 / SEEDS.value
    )}
    for name in ('torch', 'best'):
        if name in times:
            ratios[f'{name} / one'] = turns.ratio(times[name], times['one'])
    for name, taken in times.items():
        low, _, high = statistics.quantiles(taken, n=4)
        print(
            f'{name:8}{statistics.median(taken):8.3f} ms per step '
            f'({low:.3f} to {high:.3f})'
        )
    for name, ratio in ratios.items():
        low, high = ratio['quartiles']
        print(f'{name:20}{ratio["ratio"]:6.2f} ({low:.2f} to {high:.2f})')
    if JSON.value:
        described = environment.describe(0)
        writer.write_json(JSON.value, {
            'date': described['started'], 'command': described['command'],
            'device': described['device_kind'],
            'versions': described['versions'],
            'batch_size': BATCH_SIZE.value, 'seeds': SEEDS.value,
            'steps': STEPS.value, 'milliseconds': times, 'ratios': ratios,
        })


if __name__ == '__main__':
    app.run(main)
