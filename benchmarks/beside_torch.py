"""Our training step and PyTorch's, in turns; for `step_throughput.py`."""

import contextlib
import functools
import math
import pathlib
import statistics
from typing import Any, NamedTuple

import kernels
import turns
import useful_flops
from gan_jax import errors
from gan_jax import recipe
from gan_jax.runtime import environment
from gan_jax.runtime import writer

HERE = pathlib.Path(__file__).parent
RECIPES = HERE.parent / 'configs'
# {name: (recipe, changes of its config, shape)}; of images width 64, batch 64.
CASES = {
    'mlp 512': ('mixtures.py', {}, '2'),
    'mlp 64': ('mixtures.py', {'batch_size': 64}, '2'),
    'dcgan 28': ('dcgan.py:mnist', {}, '28x28x1'),
    'dcgan 32': ('dcgan.py:cifar10', {}, '32x32x3'),
    'dcgan 64': ('dcgan.py:cifar10', {}, '64x64x3'),
    'dcgan 32 shared': ('dcgan.py:cifar10', {'share_fakes': True}, '32x32x3'),
    'dcgan 32 no ema': ('dcgan.py:cifar10', {'ema_decay': 0.0}, '32x32x3'),
    'dcgan 32 r1': ('dcgan.py:cifar10', {
        'regularizers.r1.weight': 1.0, 'discriminator.norm': 'none',
    }, '32x32x3'),
    'sngan resnet 32': ('sngan.py:cifar10', {
        'generator.name': 'resnet', 'discriminator.name': 'resnet',
    }, '32x32x3'),
    'wgan_gp 32': ('wgan_gp.py:cifar10', {}, '32x32x3'),
}
WARM = 4  # repeats
SAMPLING = 0.3  # seconds of a turn, to one of training
PRODUCTS = 4  # rounds of 5 products
HEAD = (
    "| case | step of | ms (quartiles) | useful GFLOP/s | of the product's | "
    'samples/s | peak MiB | ours / this one |\n' + '|---' * 8 + '|'
)


class Case(NamedTuple):
    """What is compared: its name, the flags that give its config, and that."""

    name: str
    arguments: tuple
    config: Any
    shape: tuple


class Options(NamedTuple):
    """How.

    Attributes:
        variants: of PyTorch's step, see torch_step.py.
        rounds: turns of each.
        seconds: of a turn, about.
        product: side of the matrices whose product is the measure.
        kernels: how many of our step to tell.
    """

    variants: tuple
    rounds: int
    seconds: float
    product: int
    kernels: int = 0


def shape_of(text):
    """Read '32x32x3', or '2' for points."""
    return tuple(int(side) for side in text.split('x'))


def cases(only=(), dtype='float32'):
    """List the `CASES` of these names, or all, with this dtype.

    Raises:
        errors.ConfigError: for an unknown name.
    """
    unknown = sorted(set(only) - set(CASES))
    if unknown:
        raise errors.ConfigError(f'--only={unknown}: one of {list(CASES)}')
    return [_case(name, dtype) for name in only or CASES]


def _case(name, dtype):
    path, changes, shape = CASES[name]
    changes = {'dtype': dtype, **changes}
    path, _, argument = path.partition(':')
    config = recipe.load(RECIPES / path, argument)
    config.update_from_flattened_dict(changes)
    where = f'{RECIPES / path}:{argument}'.rstrip(':')
    changed = [f'--config.{key}={value}' for key, value in changes.items()]
    return Case(name, (f'--config={where}', *changed), config, shape_of(shape))


def suits(config, variant):
    """Say whether a variant does the same as others for this config.

    One pass over both sides mixes BatchNorm's statistics and turns spectral
    normalisation's vectors once where two passes turn them twice; fakes that
    both updates share have a graph that spans two compiled functions.
    """
    options, words = config.discriminator, variant.split('+')
    joins = options.norm != 'batch' and not options.spectral_norm
    return ('joined' not in words or joins) and not (
        'compile' in words and config.share_fakes
    )


def compare(compared, options, path=''):
    """Measure each case; print a table and write the numbers to `path`.

    Args:
        compared: list of `Case`.
        options: `Options`.
        path: of a JSON file, written anew after each case; '' for none.
    """
    turns.share_memory()
    described = environment.describe(0)
    result = {
        name: described[key] for name, key in (
            ('date', 'started'), ('command', 'command'), ('backend', 'backend'),
            ('device', 'device_kind'), ('versions', 'versions'),
        )
    } | {'product': options.product, 'cases': {}}
    turns.warm_up([
        start for case in compared
        for name, start in _starts(case, options).items()
        if name == 'ours' or 'compile' in name
    ])
    print(HEAD, flush=True)
    for case in compared:
        found = result['cases'][case.name] = measure(case, options)
        for line in rows(case.name, found):
            print(line, flush=True)
        if path:
            writer.write_json(path, result)
    for name, found in result['cases'].items():
        if found['kernels']:
            print('\n'.join([f'\n{name}\n', *kernels.rows(found['kernels'])]))
    rates = [
        f"{case['product_gflops']:.0f}" for case in result['cases'].values()
    ]
    print(
        f'\nA product of {options.product} x {options.product} matrices in '
        f'{compared[0].config.dtype}: {", ".join(rates)} GFLOP/s, by case.'
    )


def measure(case, options):
    """Time our step and PyTorch's in turns, each in a process of its own.

    Returns:
        dict of numbers, for JSON.
    """
    starts = _starts(case, options)
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(start()) for name, start in starts.items()
        }
        counts, times = _alternate(
            workers, 'train', options.rounds, options.seconds
        )
        memory = {name: w.ask('memory') for name, w in workers.items()}
        about = {name: w.ask('about') for name, w in workers.items()}
        batches, samples = _alternate(
            workers, 'generate', options.rounds, SAMPLING * options.seconds
        )
        products = turns.alternate(
            workers, ('product_rate', options.product), PRODUCTS
        )
        longest = []
        if options.kernels:
            longest = workers['ours'].ask('kernels', options.kernels)
    steps = {
        name: [1e3 * seconds / counts[name] for seconds in found]
        for name, found in times.items()
    }
    return {
        'shape': case.shape, 'batch_size': case.config.batch_size,
        'about': about,
        'useful_gflop': useful_flops.step(case.config, case.shape) / 1e9,
        'product_gflops': 1e-9 * max(
            statistics.median(found) for found in products.values()
        ),
        'ms_per_step': steps,
        'samples_per_second': {
            name: case.config.batch_size * batches[name]
            / statistics.median(found) for name, found in samples.items()
        },
        'peak_memory_mib': {
            name: found / 2**20 for name, found in memory.items()
        },
        'ours / torch': {
            name: turns.ratio(steps['ours'], steps[name])
            for name in starts if name != 'ours'
        },
        'kernels': longest,
    }


def _starts(case, options):
    """Give {name: function that starts the worker of that side}."""
    common = [*case.arguments, f"--shape={'x'.join(map(str, case.shape))}"]
    scripts = {'ours': ('step_throughput.py', '--serve')} | {
        variant: ('torch_step.py', f'--variant={variant}')
        for variant in options.variants if suits(case.config, variant)
    }
    return {
        name: functools.partial(turns.Worker, str(HERE / path), flag, *common)
        for name, (path, flag) in scripts.items()
    }


def _alternate(workers, task, rounds, seconds):
    """Time a task in turns; returns (repeats of a turn, seconds), by worker."""
    counts = {
        name: _count(worker, task, seconds) for name, worker in workers.items()
    }
    return counts, turns.alternate(
        workers, {name: (task, counts[name]) for name in workers}, rounds
    )


def _count(worker, task, seconds):
    """Choose the repeats of a turn, after some to warm up."""
    worker.ask(task, WARM)
    taken = worker.ask(task, WARM)
    return max(1, math.ceil(seconds * WARM / taken))


def rows(name, found):
    """Give the lines of one case, ours first."""
    peak = found['product_gflops']
    for side, taken in found['ms_per_step'].items():
        low, middle, high = statistics.quantiles(taken, n=4)
        rate = found['useful_gflop'] / middle * 1e3
        cells = [
            name, side, f'{middle:.3g} ({low:.3g} to {high:.3g})',
            f'{rate:.0f}', f'{rate / peak:.0%}',
            f"{found['samples_per_second'][side]:,.0f}",
            f"{found['peak_memory_mib'][side]:,.0f}", '',
        ]
        if side in found['ours / torch']:
            compared = found['ours / torch'][side]
            low, high = compared['quartiles']
            cells[-1] = f"{compared['ratio']:.2f} ({low:.2f} to {high:.2f})"
        yield f"| {' | '.join(cells)} |"
