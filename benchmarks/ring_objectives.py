"""Which objectives find all modes of the ring, and hold them?

    python benchmarks/ring_objectives.py --out=runs/ring_objectives

Trains each objective with each seed on the same networks and batch as
configs/mixtures.py and prints what the averaged generator has recovered at the
end. Finished runs in --out are kept, so a stopped table goes on.
"""

import importlib.util
import json
import pathlib
import time

from absl import flags
import numpy as np

from gan_jax import command
from gan_jax import train
from gan_jax.runtime import writer

OUT = flags.DEFINE_string('out', 'runs/ring_objectives', 'Folder of the runs.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Seeds 0 to this.', lower_bound=1)
NUM_STEPS = flags.DEFINE_integer('num_steps', 12_000, 'Generator updates.')
JSON = flags.DEFINE_string('json', '', 'File to write the numbers to.')

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'mixtures.py'
OBJECTIVES = {
    'non_saturating': {},
    'non_saturating + r1': {'regularizers.r1.weight': 0.1},
    'relativistic + r1 + r2': {
        'loss.name': 'relativistic',
        'regularizers.r1.weight': 0.1,
        'regularizers.r2.weight': 0.1,
    },
    'hinge + r1': {'loss.name': 'hinge', 'regularizers.r1.weight': 0.1},
}
COLUMNS = ('modes', 'smallest_mode', 'high_quality', 'reverse_kl')


def measure(changes, seed, workdir):
    """Train one run, or read what a finished one measured."""
    result = workdir / 'result.json'
    if result.exists():
        return json.loads(result.read_text())
    spec = importlib.util.spec_from_file_location('recipe', RECIPE)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    config = recipe.get_config('ring')
    config.update_from_flattened_dict(changes)
    config.seed, config.num_steps = seed, NUM_STEPS.value
    config.eval_every = NUM_STEPS.value
    config.log_every = config.sample_every = config.checkpoint_every = 0
    last = {}
    began = time.monotonic()
    train.train(config, workdir, callback=lambda step, m: last.update(m))
    measured = {name: last[f'eval/{name}'] for name in COLUMNS}
    measured['seconds'] = time.monotonic() - began
    writer.write_json(result, measured)
    return measured


def main(argv):
    """Print one line for each objective."""
    del argv
    table = {}
    for name, changes in OBJECTIVES.items():
        folder = pathlib.Path(OUT.value) / name.replace(' + ', '+')
        table[name] = [
            measure(changes, seed, folder / f'{NUM_STEPS.value}-seed{seed}')
            for seed in range(SEEDS.value)
        ]
    print(f'\nring, {NUM_STEPS.value} steps, seeds 0 to {SEEDS.value - 1}')
    for name, runs in table.items():
        held = sum(
            run['modes'] == 8 and run['smallest_mode'] >= 0.04
            and run['high_quality'] >= 0.6 for run in runs
        )
        print(
            f'{name:24} modes {[run["modes"] for run in runs]}  smallest '
            f'{[round(run["smallest_mode"], 3) for run in runs]}  quality '
            f'{[round(run["high_quality"], 3) for run in runs]}  '
            f'{np.median([run["seconds"] for run in runs]):.0f} s  '
            f'all 8 held: {held} of {len(runs)}'
        )
    if JSON.value:
        writer.write_json(JSON.value, table)


if __name__ == '__main__':
    command.run(main)
