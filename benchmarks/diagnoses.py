"""Test the diagnosis on runs that fail on purpose, and on healthy ones.

    python benchmarks/diagnoses.py --out=runs/diagnoses
    python benchmarks/diagnoses.py --recipes --out=runs/diagnoses

Eight tiny runs have one mistake each, three have none. The expected rule must
fire within 500 steps. The healthy runs must get nothing above a note. With
--recipes the runs are those of configs/ at their full length, continued where
they stopped; stacked_mnist, with 500,000 steps, is left out. It prints a
Markdown table. The exit code is 1 if a row does not hold.
"""

import json
import pathlib
import time

from absl import flags

from gan_jax.cli import app

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
OUT = flags.DEFINE_string('out', 'runs/diagnoses', 'Folder of the runs.')
ONLY = flags.DEFINE_multi_string('only', [], 'Name of a run')
RECIPES = flags.DEFINE_bool('recipes', False, 'Train all recipes instead.')
STEPS = flags.DEFINE_integer('steps', 1000, 'Steps of a healthy run.')

WITHIN = 500  # steps until the rule must fire
FAST, SLOW = 1e-2, 1e-7  # learning rates

# name: (changes, rule that must fire; '' for nothing above a note)
RUNS = {
    'D far too fast': ({
        'data.name': 'digits', 'd_optimizer.learning_rate': 1e-3,
        'g_optimizer.learning_rate': 1e-6,
    }, 'discriminator_won'),
    'minimax, D far too fast': ({
        'data.name': 'digits', 'loss.name': 'minimax', 'log_every': 10,
        'd_optimizer.learning_rate': 3e-3, 'g_optimizer.learning_rate': 1e-6,
    }, 'gradient_vanishes'),
    'D far too slow': ({
        'd_optimizer.learning_rate': SLOW, 'g_optimizer.learning_rate': SLOW,
    }, 'discriminator_weak'),
    'sigmoid output': ({
        'data.name': 'digits', 'generator.output': 'sigmoid',
        'allow_bad_setup': True,
    }, 'range_differs'),
    'both far too fast': ({
        'd_optimizer.learning_rate': 1.0, 'g_optimizer.learning_rate': 1.0,
    }, 'discriminator_diverges'),
    'clipped to nothing': ({
        'loss.name': 'wasserstein', 'clip_weights': 1e-4,
        'd_optimizer.learning_rate': 1e-3,
    }, 'gradient_vanishes'),
    'critic without a bound': ({
        'loss.name': 'wasserstein', 'd_optimizer.learning_rate': FAST,
    }, 'not_lipschitz'),
    'G far too fast': ({
        'data.name': 'digits', 'g_optimizer.learning_rate': 3e-2,
        'd_optimizer.learning_rate': 1e-4,
    }, 'mode_collapse'),
    'ring, healthy': ({'penalties.r1.weight': 1.0}, ''),
    'moons, hinge, healthy': ({
        'data.name': 'moons', 'loss.name': 'hinge',
        'penalties.r1.weight': 1.0,
    }, ''),
    'grid, gradient penalty, healthy': ({
        'data.name': 'grid', 'loss.name': 'wasserstein',
        'penalties.gradient_penalty.weight': 1.0, 'd_steps': 2,
    }, ''),
}


def config_of(name, steps):
    """Return the config of a run: dense networks, logged every 25 steps."""
    from gan_jax.config import defaults

    config = defaults.default_config()
    for player in (config.generator, config.discriminator):
        player.name, player.norm, player.width = 'mlp', 'none', 64
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-3
    config.data.name, config.batch_size, config.latent_size = 'ring', 128, 16
    config.log_every, config.sample_every = 25, 100
    config.checkpoint_every = 0
    config.num_steps = steps
    config.diagnosis.patience = 100
    config.update_from_flattened_dict(RUNS[name][0])
    return config


def recipes():
    """List the recipes that are trained at their full length."""
    names = sorted(path.stem for path in CONFIGS.glob('*.py'))
    return [name for name in names if name != 'stacked_mnist']


def config_of_recipe(name):
    """Return the config of a recipe, without a report."""
    from gan_jax.config import recipes as recipes_lib

    config = recipes_lib.load(CONFIGS / f'{name}.py')
    config.report = False
    return config


def findings(folder):
    """Read the findings of a run's diagnosis."""
    path = pathlib.Path(folder) / 'diagnosis.jsonl'
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def holds(expected, findings):
    """Return whether the findings are as expected, and in time."""
    if not expected:
        return all(finding['level'] == 'note' for finding in findings)
    return any(
        finding['rule'] == expected and finding['step'] <= WITHIN
        for finding in findings
    )


def row(name, expected, findings, seconds):
    """Format a row of the table: the findings with their steps, in order."""
    words = ', '.join(
        f'{"**" * (f["rule"] == expected)}`{f["rule"]}`'
        f'{"**" * (f["rule"] == expected)} {f["step"]} ({f["level"]})'
        for f in findings
    )
    requirement = f'`{expected}`' if expected else 'no more than notes'
    held = 'yes' if holds(expected, findings) else 'NO'
    words = words or 'nothing'
    return f'| {name} | {requirement} | {words} | {held} | {seconds:.0f} s |'


def main(argv):
    """Train all runs and print the table; return the exit code."""
    del argv
    from gan_jax.training import train

    rows, failed = [], False
    for name in ONLY.value or (recipes() if RECIPES.value else RUNS):
        folder = pathlib.Path(OUT.value) / name.replace(' ', '-')
        expected = '' if RECIPES.value else RUNS[name][1]
        if RECIPES.value:
            config = config_of_recipe(name)
        else:
            config = config_of(name, WITHIN if expected else STEPS.value)
        began = time.monotonic()
        train.train(config, folder, restart=not RECIPES.value)
        results = findings(folder)
        rows.append(row(name, expected, results, time.monotonic() - began))
        failed |= not holds(expected, results)
    print('\n| run | expected | findings, with step (level) | held | time |')
    print('|---|---|---|---|---|')
    print('\n'.join(rows))
    return int(failed)


if __name__ == '__main__':
    app.run(main)
