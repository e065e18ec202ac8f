"""Measure the cost of the diagnosis relative to a training step.

    python benchmarks/diagnosis_cost.py --config=configs/dcgan.py
    python benchmarks/diagnosis_cost.py --config=configs/dcgan.py:cifar10

It times training calls and probes in turns in one process, on random images of
the config's size, and prints the ratio of medians probe / (step x
sample_every), which is the share of time that probes add. Compilation and the
first pass over the data are not counted. It also times the rules on a line of
metrics.
"""

import statistics
import time

from absl import flags
from ml_collections import config_flags

from gan_jax.cli import app

with app.exit_on_flag_error():
    CONFIG = config_flags.DEFINE_config_file('config', None, 'Recipe.')
ROUNDS = flags.DEFINE_integer('rounds', 10, 'Number of turns.', lower_bound=1)
SIZE = flags.DEFINE_string('size', '32x32x3', 'Size of the images.')


def timed(function, *args):
    """Call a function; return (result, seconds)."""
    began = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - began


def main(argv):
    """Print the shares."""
    del argv
    import jax
    import numpy as np

    from gan_jax.config import builders
    from gan_jax.config import defaults
    from gan_jax.core import errors
    from gan_jax.data import sources
    from gan_jax.diagnosis import rules as rules_lib
    from gan_jax.monitoring import monitor
    from gan_jax.monitoring import probes
    from gan_jax.runtime import environment
    from gan_jax.runtime import parallel
    from gan_jax.training import dispatch

    config = CONFIG.value
    if config is None:
        raise errors.ConfigError('name a recipe: --config=configs/dcgan.py')
    environment.prepare()
    shape = tuple(map(int, SIZE.value.split('x')))
    images = np.random.RandomState(0).randint(
        0, 256, (10_000, *shape), np.uint8
    )
    labels = np.arange(len(images), dtype=np.int32) % 10
    dataset = sources.Dataset('random', images, labels, tuple('0123456789'))
    datasets = {builders.REAL: dataset}
    specs = builders.data_specs(datasets)
    feeds = builders.feeds(config, datasets)
    gan = builders.algorithm(config, specs)
    constants = parallel.constants(
        {name: feed.resident for name, feed in feeds.items()},
        builders.hyperparams(config), jax.random.key(0),
        defaults.images_per_batch(config),
    )
    cadences = [config.log_every, config.sample_every]
    programs = dispatch.Dispatch(config, gan, feeds, constants, cadences)
    state = parallel.replicate(gan.init(
        jax.random.key(0), builders.shapes(specs), builders.hyperparams(config)
    ))
    host = parallel.unreplicate(state)
    probe = probes.Probe(config, dataset, dataset)
    _, first = timed(probe.numbers, gan, host)
    step = position = 0
    state, metrics, step, position = programs.advance(state, step, position)
    jax.block_until_ready(metrics)
    steps, looks, rules = [], [], []
    limits = config.diagnosis.to_dict()
    game = monitor.game_of(config, gan, host)
    diagnosis = rules_lib.Diagnosis(game, limits)
    for _ in range(ROUNDS.value):
        def advance():
            result = programs.advance(state, step, position)
            jax.block_until_ready(result[1])
            return result

        before = step
        (state, metrics, step, position), seconds = timed(advance)
        steps.append(seconds / (step - before))
        numbers, seconds = timed(probe.numbers, gan, host)
        looks.append(seconds)
        line = {name: float(np.ravel(v)[0]) for name, v in metrics.items()}
        for extra in range(50):
            _, seconds = timed(
                diagnosis.observe, 1000 + extra, {**line, **numbers}
            )
            rules.append(seconds)
    a_step, a_look, a_rule = map(statistics.median, (steps, looks, rules))
    share = a_look / (a_step * (config.sample_every or float('inf')))
    rules_share = a_rule / (a_step * (config.log_every or float('inf')))
    print(
        f'step {1e3 * a_step:.2f} ms, probe {1e3 * a_look:.1f} ms each '
        f'{config.sample_every} steps: {100 * share:.2f} % of the steps; '
        f'rules {1e3 * a_rule:.2f} ms each {config.log_every}: '
        f'{100 * rules_share:.3f} %; first probe with compilation {first:.1f} s'
    )
    return 0


if __name__ == '__main__':
    app.run(main)
