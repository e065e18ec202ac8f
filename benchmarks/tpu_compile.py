"""Compile the training call of recipes for TPUs, on a machine without one.

    pip install -e '.[tpu-aot]'
    python benchmarks/tpu_compile.py
    python benchmarks/tpu_compile.py --recipes=dcgan,dcgan:celeb_a \
        --topologies=v5e:2x4 --dtypes=bfloat16 --batch=64

XLA's compiler for TPUs (libtpu) compiles what the training loop would call:
`Dispatch`'s call in the middle of the run, with its scanned steps, its donated
state and its resident data. Only shapes are needed, so no data set is read. The
batch is the recipe's on 8 chips, and on others the same for each chip.

It shows that a recipe compiles, fits and communicates as meant. It does not
show that it runs, or how fast: the times are the least ones that the makers'
figures of a chip allow.

Each compilation has its own process. Results are kept in --json, so that the
command continues where it was stopped; --again compiles again.
"""

from concurrent import futures
import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import NamedTuple
from unittest import mock

from absl import flags
import jax
import numpy as np

import hlo
from gan_jax.algorithms import translation
from gan_jax.cli import app
from gan_jax.cli import recipe_files
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import sources
from gan_jax.data import tasks
from gan_jax.runtime import parallel
from gan_jax.runtime import writer
from gan_jax.training import dispatch
from gan_jax.training import loop

HERE = pathlib.Path(__file__).parent
GIB = 2**30
SLICE = 8  # chips that share the recipe's own batch
NUM_IMAGES = 50_000  # of a folder of one's own
MANY_COPIES = 0.15  # share of the written bytes
VARIABLES = {
    'JAX_PLATFORMS': 'cpu',
    'JAX_ENABLE_COMPILATION_CACHE': 'false',  # its hits would take no time
    # libtpu would ask Google's servers which machine this is, and would let one
    # process of a machine use it.
    'TPU_SKIP_MDS_QUERY': '1',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}
MARK = '<!-- The rest is written by tpu_compile.py --page. -->\n'


class Chip(NamedTuple):
    """Figures of a chip by its maker.

    Attributes:
        flops: FLOP/s of bfloat16 products. XLA computes float32 products so
            too, if `jax_default_matmul_precision` is not set.
        bandwidth: of its memory, bytes/s.
        links: to other chips, in one direction, bytes/s of all together.
        memory: bytes.
    """

    flops: float
    bandwidth: float
    links: float
    memory: int


# https://docs.cloud.google.com/tpu/docs/v4, /v5e and /v6e. The links of v4:
# Jouppi et al., TPU v4, https://arxiv.org/abs/2304.01433, 2023, table 4.
CHIPS = {
    'v4': Chip(275e12, 1.2e12, 300e9, 32 * GIB),
    'v5e': Chip(197e12, 0.819e12, 200e9, 16 * GIB),
    'v6e': Chip(918e12, 1.638e12, 400e9, 32 * GIB),
}
# {name: options of `get_topology_desc`}. A v4 chip is one device, of two cores.
EIGHT = {'chips_per_host_bounds': (2, 4, 1)}  # chips of a host
TOPOLOGIES = {
    'v5e:2x4': EIGHT,
    'v4:2x2x2': {
        'chip_config_name': 'megacore', 'chips_per_host_bounds': (2, 2, 1),
    },
    'v6e:2x4': EIGHT,
    'v5e:4x8': EIGHT,
    'v5e:16x16': EIGHT,
}
DTYPES = ('float32', 'bfloat16')
# Beside each recipe with its default argument: those for accelerators.
LARGE = (
    'dcgan:cifar10', 'dcgan:celeb_a', 'sngan:cifar10', 'wgan_gp:cifar10',
    'hinge_resnet:cifar10', 'sagan:cifar10', 'biggan:cifar10',
    'biggan:images_128', 'r3gan:cifar10', 'r3gan:images_256',
    'stylegan2:cifar10', 'stylegan2:paper_256', 'cyclegan:images_256',
    'pix2pix:images_256',
)
# {data.name: (number of samples, height, width, channels, classes)}
DATA = {
    'celeb_a': (162_770, 218, 178, 3, 0),
    'cifar10': (50_000, 32, 32, 3, 10),
    'digits': (1797, 32, 32, 1, 10),
    'fashion_mnist': (60_000, 28, 28, 1, 10),
    'mnist': (60_000, 28, 28, 1, 10),
    'stacked_mnist': (128_000, 28, 28, 3, 1000),
}

RECIPES = flags.DEFINE_list(
    'recipes', [], 'Recipes, such as dcgan or dcgan:celeb_a; by default each '
    'with its default argument, and those for accelerators.'
)
TOPOLOGY_NAMES = flags.DEFINE_list(
    'topologies', list(TOPOLOGIES), 'Topologies to compile for.'
)
DTYPE_NAMES = flags.DEFINE_list('dtypes', list(DTYPES), 'Dtypes of networks.')
BATCH = flags.DEFINE_integer(
    'batch', 0, f"Images a chip; 0 is the recipe's batch over {SLICE} chips.",
    lower_bound=0,
)
AGAIN = flags.DEFINE_bool('again', False, 'Compile again what is in --json.')
PATIENCE = flags.DEFINE_float(
    'patience', 3600.0, 'Seconds after which a compilation is stopped.',
    lower_bound=1.0,
)
JSON = flags.DEFINE_string(
    'json', str(HERE / 'results' / 'tpu_compile.json'), 'File of the results.'
)
PAGE = flags.DEFINE_string(
    'page', '', 'Markdown file; its tables are replaced by all of --json.'
)
JOBS = flags.DEFINE_integer(
    'jobs', 1, 'Compilations at the same time.', lower_bound=1
)
WORKER = flags.DEFINE_bool('worker', False, 'Compile one, answer with JSON.')
HLO = flags.DEFINE_string('hlo', '', 'File for the optimised program, of one.')


class Case(NamedTuple):
    """One compilation.

    Attributes:
        recipe: such as 'dcgan:celeb_a'.
        topology: one of `TOPOLOGIES`.
        dtype: one of `DTYPES`.
        batch: as of the flag.
    """

    recipe: str
    topology: str
    dtype: str
    batch: int = 0

    @property
    def name(self):
        """Return the name in the file of results."""
        batch = [f'batch {self.batch}'] if self.batch else []
        return ', '.join([*self[:3], *batch])


def cases(names, topologies, dtypes, batch):
    """List the `Case`s; those of the first topology come first.

    Raises:
        errors.ConfigError: for an unknown name.
    """
    for flag, values, known in (
        ('topologies', topologies, TOPOLOGIES), ('dtypes', dtypes, DTYPES),
    ):
        for value in values:
            if value not in known:
                raise errors.ConfigError(
                    errors.unknown_name(f'--{flag}', value, known)
                )
    for name in names:
        recipe_files.path_of(name)
    return [
        Case(recipe, topology, dtype, batch)
        for topology in topologies
        for recipe in names or [*recipe_files.summaries(), *LARGE]
        for dtype in dtypes
    ]


def load_config(case, num_devices):
    """Return the config of a case: its recipe with dtype and batch size."""
    config = recipe_files.load(case.recipe)
    config.dtype = case.dtype
    share = case.batch or math.ceil(config.batch_size / SLICE)
    config.batch_size = share * num_devices
    named = defaults.groups(config) or ('',)
    for data in (config.data[name] if name else config.data for name in named):
        if not data.name and not data.path:
            data.path = 'my/images'
    return config


def unread_datasets(config):
    """Return the data sets of a config, of zeros that take no memory.

    Returns:
        {source: `sources.Dataset`}.
    """
    return {
        name: _unread(defaults.of_source(config, name), side)
        for name, side in zip(
            builders.ALGORITHMS[config.algorithm].sources, tasks.SIDES
        )
    }


def _unread(config, side):
    if defaults.has_mixture(config):
        return builders.dataset(config)
    size = defaults.image_size(config)
    count, height, width, channels, num_classes = DATA.get(
        config.data.name, (NUM_IMAGES, *(size or (64, 64)), 3, 10)
    )
    if config.data.limit:
        count = min(count, config.data.limit)
    zero = np.zeros(
        (1, *(size or (height, width)), config.data.channels or channels),
        np.uint8,
    )
    if config.data.task:
        zero = getattr(tasks.TASKS[config.data.task], side.lower())(zero)
    if config.algorithm in translation.KINDS:
        num_classes = 0
    return sources.Dataset(
        config.data.name or 'images',
        np.broadcast_to(zero, (count, *zero.shape[1:])),
        np.broadcast_to(np.int32(0), count) if num_classes else None,
        tuple(map(str, range(num_classes))), defaults.random_crop(config),
    )


@contextlib.contextmanager
def as_if_on(devices, memory):
    """Make the package choose as it would on the devices of a topology.

    Args:
        devices: of the topology.
        memory: of a device, in bytes.
    """
    local = sum(device.process_index == 0 for device in devices)
    with contextlib.ExitStack() as stack:
        for module, name, value in (
            (jax, 'default_backend', 'tpu'),
            (jax, 'device_count', len(devices)),
            (jax, 'local_device_count', local),
            (parallel, 'device_memory', memory),
        ):
            stack.enter_context(mock.patch.object(
                module, name, functools.partial(lambda value: value, value)
            ))
        yield


def lower(config, devices, memory):
    """Lower the call in the middle of a run; to be called in a new process.

    Args:
        config: ConfigDict.
        devices: of a topology.
        memory: of a device, in bytes.

    Returns:
        (`jax.stages.Lowered`, steps that the call makes, algorithm).

    Raises:
        errors.ConfigError: where the run would be refused.
    """
    with as_if_on(devices, memory):
        datasets = unread_datasets(config)
        points = next(iter(datasets.values())).images.ndim == 2
        validation.validate(config, len(devices), points)
        specs = builders.data_specs(datasets)
        algorithm = builders.algorithm(config, specs, memory)
        feeds = builders.feeds(config, datasets)
        dispatcher = dispatch.Dispatch(
            config, algorithm, feeds, None,
            [config.num_steps, *loop.cadences(config)],
        )
        step = _middle(config, algorithm, dispatcher.steps_per_call)
        call, fed, size = dispatcher.first_call(step, 0, devices)
        for feed in feeds.values():
            feed.close()

        def replicated(tree):
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(
                (len(devices), *np.shape(leaf)), leaf.dtype
            ), tree)

        images = defaults.images_per_batch(config) // len(devices)
        constants = parallel.Constants(
            {name: feed.resident for name, feed in feeds.items()},
            jax.eval_shape(lambda: builders.hyperparams(config)),
            jax.random.key_data(jax.random.key(0)),
            np.arange(images, dtype=np.int32), np.int32(0),
        )
        # Of the arrays that are fed, each host has those of its own devices.
        fed = jax.tree.map(lambda leaf: leaf[0], fed)
        state = builders.abstract_state(config, algorithm, specs)
        return call.lower(*map(replicated, (state, constants, fed))), (
            size), algorithm


def _middle(config, algorithm, size):
    """Return a step near the middle of a run with a plan of a single call."""
    first = config.num_steps // 2 // size * size
    for step in range(first, first + 8 * size, size):
        if algorithm.is_single_call(step, True):
            return step
    return first


def compile_case(case):
    """Compile a case; to be called in a new process.

    Returns:
        JSON-compatible dict of what is known of the program.
    """
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(
        platform='tpu', topology_name=case.topology,
        **TOPOLOGIES[case.topology],
    ).devices
    chip = CHIPS[case.topology.partition(':')[0]]
    config = load_config(case, len(devices))
    began = time.perf_counter()
    lowered, size, algorithm = lower(config, devices, chip.memory)
    middle = time.perf_counter()
    compiled = lowered.compile()
    ended = time.perf_counter()
    text = compiled.as_text()
    if HLO.value:
        files.write(files.to_path(HLO.value), text.encode())
    program = hlo.report(text)
    costs = compiled.cost_analysis()
    memory = compiled.memory_analysis()
    collectives = {
        kind: {'count': count / size, 'bytes': amount / size}
        for kind, (count, amount) in program.collectives.items()
    }
    loops = list(program.loops)
    if size in loops:
        loops.remove(size)
    return {
        **case._asdict(), 'devices': len(devices),
        'hosts': len({device.process_index for device in devices}),
        'images_per_device': config.batch_size // len(devices),
        'updates': algorithm.moves, 'steps_per_call': size,
        'lower_seconds': middle - began, 'compile_seconds': ended - middle,
        'memory': {
            'arguments': memory.argument_size_in_bytes,
            'outputs': memory.output_size_in_bytes,
            'aliased': memory.alias_size_in_bytes,
            'temporaries': memory.temp_size_in_bytes,
            'code': memory.generated_code_size_in_bytes,
        },
        'flops': costs['flops'], 'bytes': costs['bytes accessed'],
        'inner_loops': loops, 'collectives': collectives,
        'padding': program.padding, 'copies': program.copies,
        'most_padded': program.widest, 'unwanted': program.unwanted,
        'seconds': roofline(
            chip, len(devices), costs['flops'], costs['bytes accessed'],
            collectives,
        ),
    }


def roofline(chip, num_devices, flops, num_bytes, collectives):
    """Compute the least time that the figures of a chip allow for a step.

    Args:
        chip: `Chip`.
        num_devices: chips that take part.
        flops, num_bytes: of one chip; the bytes are read or written.
        collectives: {kind: {'bytes': that each chip puts in, …}}.

    Returns:
        {'products', 'memory', 'links': seconds}. The largest one is the bound.
    """
    return {
        'products': flops / chip.flops,
        'memory': num_bytes / chip.bandwidth,
        'links': sum(
            _sent(kind, num_devices) * one['bytes']
            for kind, one in collectives.items()
        ) / chip.links,
    }


def _sent(kind, count):
    """Return what a chip sends in a ring of `count`, over what it puts in."""
    return {
        'all-gather': count - 1,
        'all-reduce': 2 * (count - 1) / count,
        'all-to-all': (count - 1) / count,
        'ragged-all-to-all': (count - 1) / count,
        'reduce-scatter': (count - 1) / count,
    }.get(kind, 1)


def total_memory(row):
    """Return the bytes that a program needs on each chip."""
    memory = row['memory']
    return sum(memory.values()) - 2 * memory['aliased']


def run_worker(case):
    """Compile a case in a process of its own.

    Returns:
        As `compile_case`; or the case with 'failure', in one line.
    """
    command = [
        sys.executable, str(HERE / 'tpu_compile.py'), '--worker',
        f'--recipes={case.recipe}', f'--topologies={case.topology}',
        f'--dtypes={case.dtype}', f'--batch={case.batch}', f'--hlo={HLO.value}',
    ]
    failed = functools.partial(dict, case._asdict())
    try:
        ended = subprocess.run(
            command, env={**os.environ, **VARIABLES}, capture_output=True,
            text=True, timeout=PATIENCE.value,
        )
    except subprocess.TimeoutExpired:
        return failed(failure=f'it took more than {PATIENCE.value:.0f} s')
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        return failed(failure=_reason(ended.stderr, ended.returncode))
    return json.loads(lines[-1])


def _reason(text, code):
    """Return the reason of a failure in one line, from a worker's stderr."""
    memory = re.search(r'Used [\d.]+\w? of [\d.]+\w? hbm', text)
    if memory:
        return f'memory: {memory[0]}'
    lines = [line for line in text.splitlines() if re.match(
        r'(error: |[\w.]+(Error|Exception)\b)', line
    )]
    return lines[-1][:300] if lines else f'exit code {code}'


def table(rows):
    """Yield the Markdown table of rows of one topology."""
    yield (
        '| recipe | dtype | images a chip | steps a call | compiled, s '
        '| memory, MiB | arguments | temporaries | of the chip '
        '| GFLOP | GB | all-reduces | MB | padding '
        '| products, ms | memory, ms | links, ms |'
    )
    yield '|---' * 17 + '|'
    for row in rows:
        if 'failure' in row:
            yield (
                f"| {row['recipe']} | {row['dtype']} | {row['failure']} "
                + '| ' * 14 + '|'
            )
            continue
        chip = CHIPS[row['topology'].partition(':')[0]]
        reduced = row['collectives'].get('all-reduce', {'count': 0, 'bytes': 0})
        least = '≥ ' if row['inner_loops'] else ''
        cells = [
            row['recipe'], row['dtype'], row['images_per_device'],
            row['steps_per_call'], f"{row['compile_seconds']:.0f}",
            f'{total_memory(row) / 2**20:,.0f}',
            f"{row['memory']['arguments'] / 2**20:,.0f}",
            f"{row['memory']['temporaries'] / 2**20:,.0f}",
            f'{100 * total_memory(row) / chip.memory:.1f} %',
            f"{least}{row['flops'] / 1e9:,.3g}",
            f"{least}{row['bytes'] / 1e9:,.3g}",
            f"{reduced['count']:g}", f"{reduced['bytes'] / 1e6:,.3g}",
            f"{row['padding']:.2f}",
            *(f'{least if name != "links" else ""}{1e3 * seconds:.3g}'
              for name, seconds in row['seconds'].items()),
        ]
        yield f"| {' | '.join(map(str, cells))} |"


def remarks(rows):
    """Yield lines on what is not as it should be."""
    for row in rows:
        name = Case(*(row[field] for field in Case._fields)).name
        if 'failure' in row:
            yield f"- {name}: {row['failure']}"
            continue
        for unwanted in row['unwanted']:
            yield f'- {name}: {unwanted}'
        others = {
            kind: one for kind, one in row['collectives'].items()
            if kind != 'all-reduce'
        }
        for kind, one in others.items():
            yield (
                f"- {name}: {one['count']:g} {kind} a step, of "
                f"{one['bytes'] / 1e6:.3g} MB"
            )
        if row['copies'] > MANY_COPIES:
            yield (
                f"- {name}: {100 * row['copies']:.0f} % of the written bytes "
                'are copies to another layout'
            )


def page(head, results):
    """Return a page of all results, in Markdown.

    Args:
        head: what the page had before; it stays up to `MARK`.
        results: {name: row}.
    """
    rows = list(results.values())
    complete = [row for row in rows if 'failure' not in row]
    lines = [
        head.partition(MARK)[0] + MARK,
        'Compiled by ' + '; '.join(sorted({
            f"{row['versions']}, {row['date']}" for row in rows
        })) + '.', '',
    ]
    for topology in TOPOLOGIES:
        own = [row for row in rows if row['topology'] == topology]
        about = next((
            f", {row['devices']} chips, {row['hosts']} hosts"
            for row in complete if row['topology'] == topology
        ), '')
        lines += [f'## {topology}{about}', '']
        lines += [*table(own), ''] if own else []
        absent = _absent(topology, results)
        lines += [f'Not compiled yet: {absent}.', ''] if absent else []
    lines += ['## Remarks', '', *(list(remarks(rows)) or ['None.'])]
    return '\n'.join(lines) + '\n'


def _absent(topology, results):
    """Return the names of the cases of a topology without a result."""
    dtypes = {}
    for case in cases([], [topology], DTYPES, 0):
        if case.name not in results:
            dtypes.setdefault(case.recipe, []).append(case.dtype)
    return ', '.join(
        recipe if len(own) == len(DTYPES) else f"{recipe} ({', '.join(own)})"
        for recipe, own in dtypes.items()
    )


def main(argv):
    """Compile what --json lacks; write it and --page."""
    del argv
    chosen = cases(
        RECIPES.value, TOPOLOGY_NAMES.value, DTYPE_NAMES.value, BATCH.value
    )
    if importlib.util.find_spec('libtpu') is None:
        raise errors.ConfigError(
            "XLA's compiler for TPUs is missing: pip install -e '.[tpu-aot]'"
        )
    if WORKER.value:
        print(json.dumps(compile_case(*chosen)))
        return
    path = files.to_path(JSON.value)
    results = files.read_json(path) if path.exists() else {}
    due = [one for one in chosen if AGAIN.value or one.name not in results]
    versions = ', '.join(
        f'{name} {importlib.metadata.version(name)}'
        for name in ('jax', 'libtpu')
    )
    with futures.ThreadPoolExecutor(JOBS.value) as pool:
        pending = {pool.submit(run_worker, one): one for one in due}
        for future in futures.as_completed(pending):
            name = pending[future].name
            results[name] = {
                **future.result(), 'versions': versions,
                'date': time.strftime('%Y-%m-%d'),
            }
            writer.write_json(path, results)
            done = results[name]
            print(name, done.get('failure') or (
                f"{done['compile_seconds']:.0f} s, "
                f'{total_memory(done) / 2**20:.0f} MiB'
            ), flush=True)
    every = {
        one.name: results[one.name] for one in cases(
            [], list(TOPOLOGIES), DTYPES, 0
        ) if one.name in results
    }
    results = {**every, **results}  # in the order of the table
    writer.write_json(path, results)
    if PAGE.value:
        path = files.to_path(PAGE.value)
        head = path.read_text() if path.exists() else ''
        files.write(path, page(head, results).encode())


if __name__ == '__main__':
    app.run(main)
