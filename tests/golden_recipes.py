"""Golden numbers: the first 20 steps of each recipe, shrunk.

    python tests/golden_recipes.py          # compares all, prints differences
    python tests/golden_recipes.py --write  # records new numbers

Refactoring must not change these numbers. A bug fix that changes some of them
records new ones in the same commit, and names them in its message.

On the kind of machine that recorded them (`machine`) they are equal to the bit,
including the final state. Other machines round sums differently, and 20 steps
of Adam amplify that, so the first steps are compared closely, the last loosely.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import tempfile

import jax
import jaxlib
import numpy as np

import conftest  # noqa: F401  finds test_recipes
import test_recipes
from gan_jax.config import recipes
from gan_jax.training import train

PATH = pathlib.Path(__file__).parent / 'golden_recipes.json'
STEPS, EVERY = 20, 5


def lazy(config):
    """Set keys that act at some steps only."""
    config.penalties.r1.weight, config.penalties.r1.every = 1.0, 4
    config.discriminator.norm = 'none'
    config.snapshots.count, config.snapshots.every = 2, 3
    config.g_optimizer.schedule, config.g_optimizer.schedule_steps = (
        'cosine', 16
    )
    config.d_optimizer.warmup_steps = 6


def shown(config):
    """Set keys that change D's inputs and targets."""
    config.augment.translation = config.augment.color = True
    config.augment.adaptive, config.augment.adaptive_images = True, 200
    config.history.size = 16
    config.labels.real_low = 0.8
    config.labels.flip_probability = 0.1
    config.data.flip = config.data.dequantize = True


def counts(config):
    """Set several updates of each player, microbatches, and dropout."""
    config.d_steps, config.g_steps, config.num_microbatches = 2, 3, 2
    config.ema_half_life = 50
    config.generator.dropout = config.discriminator.dropout = 0.2


def shared(config):
    """Set both players to use the same fakes, in a joint batch."""
    config.reuse_fakes = config.joint_batch = True
    config.g_optimizer.clip_norm = 0.5


def adaptive(config):
    """Set the adaptive schedule."""
    config.schedule.name, config.d_steps = 'adaptive', 2
    config.schedule.d_threshold = config.schedule.g_threshold = 0.6


def penalties(config):
    """Set several penalties, some with a memory."""
    config.discriminator.norm = 'none'
    for name in (
        'consistency', 'd_historical_averaging', 'feature_matching',
        'latent_consistency_generator', 'lecam', 'r2',
    ):
        config.penalties[name].weight = 0.5


def annealed(config):
    """Set values that move, and real images of G's own."""
    config.loss.name, config.fresh_reals = 'relativistic', True
    config.discriminator.norm = 'none'
    config.penalties.r1.weight = config.penalties.r2.weight = 1.0
    config.augment.color, config.augment.probability = True, 0.1
    config.ema_half_life, config.ema_ramp = 100, 0.5
    config.anneal.images = 16 * config.batch_size
    config.anneal.learning_rate, config.anneal.penalties = 0.25, 0.1
    config.anneal.b2, config.anneal.augment = 0.9, 0.8
    config.anneal.ema_half_life = 40


# Variants of the first recipe, for keys that no recipe sets.
VARIANTS = (lazy, shown, counts, shared, adaptive, penalties, annealed)
CASES = [path.stem for path in test_recipes.RECIPES] + [
    f'dcgan+{variant.__name__}' for variant in VARIANTS
]


def config_of(case):
    """Return the shrunk config of one of `CASES`."""
    stem, _, variant = case.partition('+')
    path, = (p for p in test_recipes.RECIPES if p.stem == stem)
    config = test_recipes.shrink(recipes.load(path))
    for change in VARIANTS:
        if change.__name__ == variant:
            change(config)
    config.num_steps, config.log_every = STEPS, EVERY
    config.sample_every = config.checkpoint_every = config.eval_every = 0
    config.diagnosis.on = False
    return config


def numbers(case, folder):
    """Train one of `CASES`.

    Returns:
        (`train.Run`, {'metrics': {step: {name: float}}, 'state': str}): the
        logged metrics of the players, and a hash of the final state.
    """
    metrics = {}

    def keep(step, record):
        metrics[str(step)] = {
            name: value for name, value in record.items()
            if name.startswith(('d/', 'g/'))
        }

    run = train.train(config_of(case), folder, callback=keep)
    return run, {'metrics': metrics, 'state': fingerprint(run.state)}


def fingerprint(state):
    """Return a hash of all float32 arrays of a state, whatever their names."""
    digests = sorted(
        hashlib.sha256(
            str(leaf.shape).encode() + np.ascontiguousarray(leaf).tobytes()
        ).hexdigest()
        for leaf in map(np.asarray, jax.tree.leaves(state))
        if leaf.dtype == np.float32
    )
    return hashlib.sha256(''.join(digests).encode()).hexdigest()


def machine():
    """Return what the bits depend on: versions, instruction set, cores."""
    try:
        text = pathlib.Path('/proc/cpuinfo').read_text()
    except OSError:
        text = ''
    instructions = re.search(r'^(?:flags|Features)\s*:(.*)$', text, re.M)
    vendor = re.search(r'^(?:vendor_id|CPU implementer)\s*:(.*)$', text, re.M)
    kind = ''.join(
        ' '.join(sorted(match[1].split())) for match in (vendor, instructions)
        if match
    )
    digest = hashlib.sha256(kind.encode()).hexdigest()[:12]
    return (
        f'jax {jax.__version__}, jaxlib {jaxlib.__version__}, '
        f'{jax.device_count()} x {jax.default_backend()}, '
        f'{os.cpu_count()} cores of {digest}'
    )


def compare(case, actual, recorded):
    """Raise AssertionError if numbers differ from the recorded ones.

    Args:
        case: one of `CASES`.
        actual: as returned by `numbers`.
        recorded: content of the file at `PATH`.
    """
    expected = recorded['cases'][case]
    if machine() == recorded['machine']:
        assert actual == expected
        return
    assert actual['metrics'].keys() == expected['metrics'].keys()
    for step, values in expected['metrics'].items():
        assert actual['metrics'][step].keys() == values.keys()
        for name, value in values.items():
            np.testing.assert_allclose(
                actual['metrics'][step][name], value,
                rtol=0.02 if int(step) <= EVERY else 0.2, atol=0.02,
                err_msg=f'{case}: {name} at step {step}',
            )


def main():
    """Compare or record all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--write', action='store_true')
    parser.add_argument('cases', nargs='*', default=[])
    options = parser.parse_args()
    recorded = {'machine': machine(), 'cases': {}}
    if PATH.exists():
        recorded = json.loads(PATH.read_text())
    if options.write and options.cases and recorded['machine'] != machine():
        parser.error('another machine recorded the others: record all')
    changed = []
    for case in options.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            _, actual = numbers(case, folder)
        jax.clear_caches()
        if recorded['cases'].get(case) != actual:
            changed.append(case)
        if options.write:
            recorded['machine'] = machine()
            recorded['cases'][case] = actual
            PATH.write_text(json.dumps(recorded, indent=1, sort_keys=True))
    print('differ:', ', '.join(changed) or 'none')


if __name__ == '__main__':
    main()
