"""Measure how time and memory of a step scale.

    python benchmarks/scaling.py --json=out.json
    python benchmarks/scaling.py --axes=devices --config_path=configs/gan.py
    python benchmarks/scaling.py --paper

One axis varies at a time; the others are those of a DCGAN of width 32 on
32x32x3, batch size 32, one device. Each value has its own process
(`step_throughput.py --serve`), so that the memory is its own; the processes
take turns. `devices` are virtual ones on CPU, which share its cores. With the
same global batch the work is the same, so the time above that of the first row
is the cost of pmap, of the mean over devices and of smaller parts. On other
backends this axis is left out, and the others use the first device.

--paper measures nothing: it prints what a step should take on 8 H200 and on
TPU v5e, from public figures, and for the H200 also as two measured steps
correct it.
"""

import contextlib
import functools
import os
import pathlib
import statistics
from typing import NamedTuple, Optional

from absl import flags

import beside_torch
import turns
import useful_flops
from gan_jax.algorithms import algorithm
from gan_jax.cli import app
from gan_jax.config import builders
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
    'config_path', 'configs/dcgan.py:cifar10', 'Recipe to vary.'
)
SHAPE = flags.DEFINE_string('shape', '32x32x3', 'Shape of its data.')
ONLY = flags.DEFINE_list('axes', list(AXES), 'Axes to vary.')
STEPS = flags.DEFINE_integer('steps', 4, 'Steps per turn.', lower_bound=1)
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each.', lower_bound=2)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
PAPER = flags.DEFINE_bool('paper', False, 'Print the model of other machines.')


class Device(NamedTuple):
    """Figures of an accelerator.

    Attributes:
        flops: FLOP/s of bfloat16 products.
        bandwidth: of its memory, bytes/s.
        links: to the others, in one direction, bytes/s.
        measured: {batch size: seconds} of a step of the model's case; or None.
    """

    flops: float
    bandwidth: float
    links: float
    measured: Optional[dict] = None


# H200: the product and both steps as measured on 2026-11-26 (README.md), memory
# and NVLink by https://www.nvidia.com/en-us/data-center/h200/. v5e: all by
# https://docs.cloud.google.com/tpu/docs/v5e.
DEVICES = {
    'H200': Device(789e12, 4.8e12, 450e9, {64: 2.19e-3, 512: 5.76e-3}),
    'v5e': Device(197e12, 0.819e12, 200e9),
}
CASE = 'dcgan 64'  # of beside_torch.py, bfloat16
# XLA:TPU's count of a step of DCGAN at 32x32, of 64 images (README.md); four
# times as many pixels take four times as many bytes.
BYTES = 4 * 0.68e9 / 64  # an image
MODELLED = (  # (device, how many, images on each)
    ('H200', 1, 64), ('H200', 1, 512), ('H200', 8, 64), ('H200', 8, 512),
    ('v5e', 8, 64), ('v5e', 256, 64), ('v5e', 256, 512),
)


def on_paper(device, count, images, flops, params):
    """Return the least seconds of a step, {cause: seconds}.

    Args:
        device: `Device`.
        count: number of devices.
        images: on each device.
        flops: of an image.
        params: of both networks, averaged over devices in float32: all but one
            of `count` parts of them are sent twice.
    """
    return {
        'arithmetic': images * flops / device.flops,
        'memory': images * BYTES / device.bandwidth,
        'links': 2 * (count - 1) / count * 4 * params / device.links,
    }


def corrected(device, count, images, flops, params):
    """Return the seconds of a step as the measured ones have it, or None.

    Measured steps of two batch sizes give the line floor + slope * (arithmetic
    + memory). The floor is the time of launches. Links are added as they are.
    """
    if device.measured is None:
        return None

    def work(images):
        paper = on_paper(device, 1, images, flops, params)
        return paper['arithmetic'] + paper['memory']

    (small, first), (large, second) = device.measured.items()
    slope = (second - first) / (work(large) - work(small))
    links = on_paper(device, count, images, flops, params)['links']
    return first + slope * (work(images) - work(small)) + links


def paper_rows():
    """Yield the table of --paper as lines of Markdown."""
    case, = beside_torch.cases([CASE], 'bfloat16')
    flops = useful_flops.step(case.config, case.shape) / case.config.batch_size
    specs = builders.single_source_specs(case.shape)
    state = builders.abstract_state(
        case.config, builders.algorithm(case.config, specs), specs
    )
    params = sum(map(algorithm.count_params, state.players.values()))
    yield (
        '| devices | images on each | arithmetic, ms | memory, ms | links, ms '
        '| sum, ms | as measured steps correct it, ms | images/s of all |'
    )
    yield '|---' * 8 + '|'
    for name, count, images in MODELLED:
        about = DEVICES[name], count, images, flops, params
        paper = on_paper(*about)
        better = corrected(*about)
        seconds = better or sum(paper.values())
        shown = [*paper.values(), sum(paper.values()), better]
        cells = ['' if t is None else f'{1e3 * t:.2f}' for t in shown]
        yield (
            f"| {count} {name} | {images} | {' | '.join(cells)} | "
            f'{count * images / seconds:,.0f} |'
        )


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
    """Yield the table of an axis as lines of Markdown."""
    base = statistics.median(results[0]['ms_per_step'])
    yield f'| {axis} | ms per step | of the first | real images/s | peak MiB |'
    yield '|---|---|---|---|---|'
    for one in results:
        median = statistics.median(one['ms_per_step'])
        yield (
            f"| {one['value']} | {median:.1f} | {median / base:.2f} | "
            f"{one['images_per_second']:.0f} | {one['peak_memory_mib']:.0f} |"
        )


def main(argv):
    """Print the tables; write --json."""
    del argv
    if PAPER.value:
        print('\n'.join(paper_rows()))
        return
    unknown = sorted(set(ONLY.value) - set(AXES))
    if unknown:
        raise errors.ConfigError(
            f'--axes={unknown}: choose from {list(AXES)}'
        )
    path, _, argument = CONFIG_PATH.value.partition(':')
    recipes.load(path, argument)  # to fail before anything starts
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
            print('\ndevices: left out, as only CPU has virtual devices')
            continue
        result['axes'][axis] = measure(axis)
        print('\n'.join(['', *rows(axis, result['axes'][axis])]), flush=True)
        if JSON.value:
            writer.write_json(JSON.value, result)


if __name__ == '__main__':
    app.run(main)
