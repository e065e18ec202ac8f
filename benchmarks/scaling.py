"""How do time and memory of a step grow?

    python benchmarks/scaling.py --json=out.json
    python benchmarks/scaling.py --axes=devices --config_path=configs/gan.py

One axis at a time from one point: a DCGAN of width 32 on 32x32x3, batch 32, one
device. Each value has a process of its own (`step_throughput.py --serve`), so
that memory is its own; they take turns. `devices` are virtual ones on CPU,
which share its cores: with the same global batch the work is the same, so what
is more than the first row is what pmap, the mean over devices and smaller parts
cost: the form of the curve, not its speed. On other backends that axis is left
out, and the others have the first device.
"""

import contextlib
import functools
import os
import pathlib
import statistics

from absl import flags

import beside_torch
import turns
from gan_jax.cli import app
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.runtime import environment
from gan_jax.runtime import writer

HERE = pathlib.Path(__file__).parent
BASE = {
    'batch_size': 32, 'generator.width': 32, 'discriminator.width': 32,
}
AXES = {
    'batch': [{'batch_size': size} for size in (8, 16, 32, 64, 128)],
    'width': [
        {'generator.width': width, 'discriminator.width': width}
        for width in (8, 16, 32, 64)
    ],
    'resolution': [{'shape': f'{side}x{side}x3'} for side in (16, 32, 64)],
    'd_steps': [{'d_steps': count} for count in (1, 2, 4, 8)],
    'devices': [{'devices': count} for count in (1, 2, 4, 8)],
}

CONFIG_PATH = flags.DEFINE_string(
    'config_path', 'configs/dcgan.py:cifar10', 'Recipe that is varied.'
)
SHAPE = flags.DEFINE_string('shape', '32x32x3', 'Of its data.')
ONLY = flags.DEFINE_list('axes', list(AXES), 'Which to vary.')
STEPS = flags.DEFINE_integer('steps', 4, 'Of a turn.', lower_bound=1)
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each.', lower_bound=2)
JSON = flags.DEFINE_string('json', '', 'File to write the numbers to.')


def start(change):
    """Start the worker of one value of an axis."""
    changes = {**BASE, **change}
    shape = changes.pop('shape', SHAPE.value)
    devices = changes.pop('devices', None)
    variables = {'CUDA_VISIBLE_DEVICES': '0', **os.environ}
    if devices:
        variables['XLA_FLAGS'] = (
            f'--xla_force_host_platform_device_count={devices}'
        )
    return turns.Worker(
        str(HERE / 'step_throughput.py'), '--serve',
        f'--config={CONFIG_PATH.value}', f'--shape={shape}',
        *(f'--config.{key}={value}' for key, value in changes.items()),
        env=variables,
    )


def measure(axis):
    """Time the values of an axis in turns.

    Returns:
        [{'value', 'ms_per_step': [by round], 'images_per_second',
        'peak_memory_mib'}].
    """
    turns.warm_up([functools.partial(start, change) for change in AXES[axis]])
    with contextlib.ExitStack() as stack:
        workers = {
            number: stack.enter_context(start(change))
            for number, change in enumerate(AXES[axis])
        }
        for worker in workers.values():
            worker.ask('train', STEPS.value)
        times = turns.alternate(
            workers, ('train', STEPS.value), ROUNDS.value
        )
        memory = {name: w.ask('memory') for name, w in workers.items()}
    results = []
    for number, change in enumerate(AXES[axis]):
        taken = [1e3 * t / STEPS.value for t in times[number]]
        changes = {**BASE, 'd_steps': 1, **change}
        images = changes['batch_size'] * changes['d_steps']
        results.append({
            'value': next(iter(change.values())),
            'ms_per_step': taken,
            'images_per_second': 1e3 * images / statistics.median(taken),
            'peak_memory_mib': memory[number] / 2**20,
        })
    return results


def rows(axis, results):
    """Give the lines of an axis as Markdown."""
    base = statistics.median(results[0]['ms_per_step'])
    yield f'| {axis} | ms a step | of the first | real images/s | peak MiB |'
    yield '|---|---|---|---|---|'
    for one in results:
        middle = statistics.median(one['ms_per_step'])
        yield (
            f"| {one['value']} | {middle:.1f} | {middle / base:.2f} | "
            f"{one['images_per_second']:.0f} | {one['peak_memory_mib']:.0f} |"
        )


def main(argv):
    """Print the tables, and write the numbers."""
    del argv
    unknown = sorted(set(ONLY.value) - set(AXES))
    if unknown:
        raise errors.ConfigError(f'--axes={unknown}: some of {list(AXES)}')
    path, _, argument = CONFIG_PATH.value.partition(':')
    recipes.load(path, argument)  # a mistake is told before anything starts
    beside_torch.shape_of(SHAPE.value)
    turns.share_memory()
    described = environment.describe(0)
    result = {
        'date': described['started'], 'command': described['command'],
        'device': described['device_kind'], 'versions': described['versions'],
        'base': BASE, 'axes': {},
    }
    for axis in ONLY.value:
        if axis == 'devices' and described['backend'] != 'cpu':
            print('\ndevices: virtual ones are of the CPU; left out')
            continue
        result['axes'][axis] = measure(axis)
        print('\n'.join(['', *rows(axis, result['axes'][axis])]), flush=True)
        if JSON.value:
            writer.write_json(JSON.value, result)


if __name__ == '__main__':
    app.run(main)
