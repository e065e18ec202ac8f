"""Comparison of our training step with PyTorch's, for `step_throughput.py`.

The two take turns, each in its own process. A side that cannot run a case, or
fails, becomes a row with the reason.
"""

import contextlib
import functools
import math
import pathlib
import statistics
import time
from typing import Any, NamedTuple

import kernels
import turns
import useful_flops
from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import translation
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.runtime import environment
from gan_jax.runtime import writer

HERE = pathlib.Path(__file__).parent
RECIPES = HERE.parent / 'configs'
UNNORMED = {'discriminator.norm': 'none'}  # gradient penalties need this
NUM_CLASSES = 10  # of the noise, for networks that depend on a class
PLAYERS = ('generator', 'discriminator')
R3GAN = {
    f'{player}.{key}': value for player in PLAYERS for key, value in (
        ('name', 'r3gan'), ('norm', 'none'), ('width', 48),
        ('group_size', 16), ('num_blocks', 1),
    )
}
# {name: (recipe, changes of its config, shape)}; of images width 64, batch 64.
# The most interesting cases come first, as --limit may skip the last ones.
# BigGAN and CycleGAN have the sizes of their users: PyTorch-StudioGAN's for
# CIFAR-10, and the authors' for images of 256x256.
CASES = {
    'dcgan 64 x512': ('dcgan.py:cifar10', {'batch_size': 512}, '64x64x3'),
    'dcgan 32': ('dcgan.py:cifar10', {}, '32x32x3'),
    'dcgan 64': ('dcgan.py:cifar10', {}, '64x64x3'),
    'dcgan 32 x512': ('dcgan.py:cifar10', {'batch_size': 512}, '32x32x3'),
    'dcgan 32 r1': ('dcgan.py:cifar10', {
        'penalties.r1.weight': 1.0, **UNNORMED,
    }, '32x32x3'),
    'wgan_gp 32': ('wgan_gp.py:cifar10', {}, '32x32x3'),
    'sngan resnet 32': ('sngan.py:cifar10', {
        'generator.name': 'resnet', 'discriminator.name': 'resnet',
    }, '32x32x3'),
    'mlp 512': ('mixtures.py', {}, '2'),
    # Its average has a decay that does not move, as PyTorch's here.
    'stylegan2 32': ('stylegan2.py', {
        'ema_half_life': 0, 'ema_ramp': 0.0, 'instance_noise.std': 0.0,
        'instance_noise.decay_steps': 0, 'penalties.path_length.weight': 2.0,
        'penalties.path_length.every': 4,
    }, '32x32x1'),
    'r3gan 32': ('relativistic.py:cifar10', {
        **R3GAN, 'penalties.r1.weight': 0.1, 'penalties.r2.weight': 0.1,
    }, '32x32x3'),
    'biggan 32': ('biggan.py:cifar10', {}, '32x32x3'),
    'cyclegan 256': (
        f"{HERE / 'translation_config.py'}:9", {}, '256x256x3',
    ),
    'kl_autoencoder 32': ('kl_autoencoder.py:cifar10', {
        'reconstruction.start': 0,
    }, '32x32x3'),
    'dcgan 32 r1 r2': ('dcgan.py:cifar10', {
        'penalties.r1.weight': 1.0, 'penalties.r2.weight': 1.0,
        **UNNORMED,
    }, '32x32x3'),
    'celeb_a': ('dcgan.py:celeb_a', {}, '64x64x3'),  # G 128 wide, kernel 5
    'mlp 64': ('mixtures.py', {'batch_size': 64}, '2'),
    'dcgan 28': ('dcgan.py:mnist', {}, '28x28x1'),
    'dcgan 32 shared': ('dcgan.py:cifar10', {'reuse_fakes': True}, '32x32x3'),
    'dcgan 32 no ema': ('dcgan.py:cifar10', {'ema_decay': 0.0}, '32x32x3'),
}
WARM = 4  # repeats
SAMPLING = 0.3  # seconds of sampling for each second of training
PRODUCTS = 4  # rounds of 5 products
HEAD = (
    "| case | step of | ms (quartiles) | useful GFLOP/s | of the product's | "
    'samples/s | peak MiB | ours / this one | remark |\n' + '|---' * 9 + '|'
)
OVER = 'the time limit was reached'


class Case(NamedTuple):
    """Case to compare: name, flags that give its config, config and shape."""

    name: str
    arguments: tuple
    config: Any
    shape: tuple


class Options(NamedTuple):
    """Options of a comparison.

    Attributes:
        variants: variants of PyTorch's step, see torch_base.py.
        rounds: turns of each.
        seconds: approximate time of a turn.
        product: side of the matrices of the reference product.
        kernels: number of kernels of our step to list.
        tf32: whether float32 products may use TF32.
        patience: time limit of one answer, in seconds.
        limit: time limit of all, in seconds; 0 is no limit.
    """

    variants: tuple
    rounds: int
    seconds: float
    product: int
    kernels: int = 0
    tf32: bool = True
    patience: float = 600.0
    limit: float = 0.0


def shape_of(text):
    """Parse '32x32x3', or '2' for points."""
    return tuple(int(side) for side in text.split('x'))


def cases(only=(), dtype='float32', table=None):
    """List the cases of these names, or all, with this dtype.

    Args:
        only: names; none for all.
        dtype: dtype of the networks.
        table: dict of cases; None for `CASES`.

    Raises:
        errors.ConfigError: for an unknown name.
    """
    table = table or CASES
    unknown = sorted(set(only) - set(table))
    if unknown:
        raise errors.ConfigError(
            f'--only={unknown}: choose from {list(table)}'
        )
    return [_case(name, dtype, *table[name]) for name in only or table]


def _case(name, dtype, path, changes, shape):
    changes = {'dtype': dtype, **changes}
    path, _, argument = path.partition(':')
    config = recipes.load(RECIPES / path, argument)
    config.update_from_flattened_dict(changes)
    where = f'{RECIPES / path}:{argument}'.rstrip(':')
    changed = [f'--config.{key}={value}' for key, value in changes.items()]
    return Case(name, (f'--config={where}', *changed), config, shape_of(shape))


def unsuited(config, variant):
    """Return why a variant is not equivalent to the others, or ''.

    One pass over real and fake mixes BatchNorm's statistics, and updates the
    vectors of spectral normalisation once instead of twice. Fakes that both
    updates share have a graph that spans two compiled functions.
    """
    options, words = config.discriminator, variant.split('+')
    if 'joined' in words and options.norm == 'batch':
        return "joined: one pass mixes BatchNorm's statistics"
    if 'joined' in words and options.spectral_norm:
        return 'joined: one pass updates the vectors of spectral norm once'
    if 'compile' in words and config.reuse_fakes:
        return 'compile: the graph of shared fakes spans two functions'
    lazy = any(p.weight and p.every > 1 for p in config.penalties.values())
    if 'graph' in words and lazy:
        return 'graph: a step with lazy penalties is not always the same'
    if 'split' in words and config.discriminator.name != 'r3gan':
        return 'split: no convolution is grouped'
    return ''


class Clock:
    """Time limits of one answer and of all."""

    def __init__(self, patience, limit):
        self._patience = patience
        self._end = time.monotonic() + limit if limit else math.inf

    def left(self):
        """Return the remaining seconds."""
        return self._end - time.monotonic()

    def bounds(self):
        """Return the time limit of the next answer, as keywords of `ask`."""
        if self.left() < self._patience:
            return {'seconds': self.left(), 'late': OVER}
        return {
            'seconds': self._patience,
            'late': f'no answer within {self._patience:g} s',
        }


class Side:
    """Worker whose failure is stored instead of raised; a context manager.

    Attributes:
        failure: reason of the failure in one line, or ''.
    """

    def __init__(self, start, clock):
        self._worker, self._clock, self.failure = start(), clock, ''

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._worker.__exit__(*error)

    def ask(self, *question):
        """Return the answer, or None after a failure."""
        if self.failure:
            return None
        try:
            return self._worker.ask(*question, **self._clock.bounds())
        except turns.Failure as failure:
            self.failure = str(failure)
            return None


def describe():
    """Return the date, the command, the device and the versions as a dict."""
    described = environment.describe(0)
    return {
        name: described[key] for name, key in (
            ('date', 'started'), ('command', 'command'), ('backend', 'backend'),
            ('device', 'device_kind'), ('versions', 'versions'),
        )
    }


def compare(compared, options, path=''):
    """Measure each case; print a table and write the numbers to `path`.

    Args:
        compared: list of `Case`.
        options: `Options`.
        path: JSON file, rewritten after each case; '' for none.
    """
    turns.share_memory()
    clock = Clock(options.patience, options.limit)
    result = describe() | {
        'product': options.product, 'tf32': options.tf32, 'cases': {},
        'not_measured': [case.name for case in compared],
    }
    print(HEAD, flush=True)
    for case, failures in _warmed_up(compared, options, clock):
        measured = measure(case, options, clock, failures)
        result['cases'][case.name] = measured
        if measured['ms_per_step']:
            result['not_measured'].remove(case.name)
        for line in rows(case.name, measured):
            print(line, flush=True)
        if path:
            writer.write_json(path, result)
    for name, measured in result['cases'].items():
        if measured['kernels']:
            print('\n'.join([f'\n{name}\n', *kernels.rows(
                measured['kernels']
            )]))
    rates = [
        f"{case['product_gflops']:.0f}" for case in result['cases'].values()
        if case['product_gflops']
    ]
    print(
        f'\nProduct of {options.product} x {options.product} matrices in '
        f'{compared[0].config.dtype}: {", ".join(rates)} GFLOP/s, by case.'
    )
    if clock.left() <= 0:
        print(f'After {options.limit:g} s {OVER}.')
    if result['not_measured']:
        print(f"Not measured: {', '.join(result['not_measured'])}.")
    if path:
        writer.write_json(path, result)


def _warmed_up(compared, options, clock):
    """Yield (case, {side: reason of failure}), after a warm-up of the sides.

    Cases are warmed up in groups, as many as may compile at once, so that the
    first rows are printed early.
    """
    def compiles(name):
        return name == 'ours' or 'compile' in name

    waiting = list(compared)
    while waiting and clock.left() > 0:
        wave, starts = [], {}
        while waiting and len(starts) < turns.at_once():
            case = waiting.pop(0)
            wave.append(case)
            for name, start in worker_starts(case, options).items():
                if compiles(name):
                    starts[case.name, name] = functools.partial(
                        Side, start, clock
                    )
        sides = dict(zip(starts, turns.warm_up(list(starts.values()))))
        for case in wave:
            if clock.left() > 0:
                yield case, {
                    name: side.failure for (of, name), side in sides.items()
                    if of == case.name and side.failure
                }


def measure(case, options, clock, failures=None):
    """Time our step and PyTorch's in turns, each in its own process.

    Args:
        case: `Case`.
        options: `Options`.
        clock: `Clock`.
        failures: {side: reason} of sides that must not be started.

    Returns:
        JSON-compatible dict of numbers, of the sides that have them.
    """
    failures = {
        variant: reason for variant in options.variants
        if (reason := unsuited(case.config, variant))
    } | (failures or {})
    starts = worker_starts(case, options)
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(Side(start, clock))
            for name, start in starts.items() if name not in failures
        }
        counts, times = time_in_turns(
            sides, 'train', options.rounds, options.seconds
        )
        memory = _ask(sides, 'memory')
        about = _ask(sides, 'about')
        batches, samples = time_in_turns(
            sides, 'generate', options.rounds, SAMPLING * options.seconds
        )
        products = turns.alternate(
            sides, ('product_rate', options.product), PRODUCTS
        )
        longest = None
        if options.kernels and 'ours' in sides:
            longest = sides['ours'].ask('kernels', options.kernels)
    failures |= {name: s.failure for name, s in sides.items() if s.failure}
    steps = {
        name: [1e3 * seconds / counts[name] for seconds in taken]
        for name, taken in times.items() if len(taken) > 1
    }
    rates = [statistics.median(rate) for rate in products.values() if rate]
    return {
        'shape': case.shape, 'batch_size': case.config.batch_size,
        'about': about,
        'useful_gflop': _useful_gflop(case),
        'product_gflops': 1e-9 * max(rates) if rates else None,
        'ms_per_step': steps,
        'samples_per_second': {
            name: case.config.batch_size * batches[name]
            / statistics.median(taken)
            for name, taken in samples.items() if taken
        },
        'peak_memory_mib': {
            name: peak / 2**20 for name, peak in memory.items()
        },
        'ours / torch': {
            name: turns.ratio(steps['ours'], taken)
            for name, taken in steps.items()
            if name != 'ours' and 'ours' in steps
        },
        'kernels': longest,
        'sides': ['ours', *options.variants],
        'failures': {
            name: reason if not steps.get(name)
            else f'after {len(steps[name])} of {options.rounds} turns: {reason}'
            for name, reason in failures.items()
        },
    }


def _ask(sides, question):
    """Return {side: answer} of the sides that answer."""
    answers = {name: side.ask(question) for name, side in sides.items()}
    return {n: answer for n, answer in answers.items() if answer is not None}


def _useful_gflop(case):
    """Count the useful GFLOP of a step; None for unknown networks."""
    if case.config.generator.name not in useful_flops.FAMILIES:
        return None
    return useful_flops.step(case.config, case.shape) / 1e9


def worker_starts(case, options):
    """Return {name: function that starts the worker of that side}."""
    common = [
        *case.arguments, f"--shape={'x'.join(map(str, case.shape))}",
        f'--tf32={options.tf32}',
    ]
    script = 'torch_step.py'
    if case.config.algorithm in translation.KINDS:
        script = 'torch_translation.py'
    elif case.config.algorithm in adversarial_autoencoder.KINDS:
        script = 'torch_autoencoder.py'
    scripts = {'ours': ('step_throughput.py', '--serve')} | {
        variant: (script, f'--variant={variant}')
        for variant in options.variants if not unsuited(case.config, variant)
    }
    return {
        name: functools.partial(turns.Worker, str(HERE / path), flag, *common)
        for name, (path, flag) in scripts.items()
    }


def time_in_turns(workers, task, rounds, seconds):
    """Time a task in turns; return (repeats of a turn, seconds), by worker."""
    counts = {
        name: _count(worker, task, seconds) for name, worker in workers.items()
    }
    return counts, turns.alternate(
        workers, {name: (task, counts[name]) for name in workers}, rounds
    )


def _count(worker, task, seconds):
    """Choose the number of repeats of a turn, after a warm-up."""
    worker.ask(task, WARM)
    taken = worker.ask(task, WARM)
    return max(1, math.ceil(seconds * WARM / taken)) if taken else 1


def rows(name, measured):
    """Yield the lines of one case, ours first."""
    peak, gflop = measured['product_gflops'], measured['useful_gflop']
    for side in measured['sides']:
        cells = [name, side, *[''] * 6, measured['failures'].get(side, '')]
        if side in measured['ms_per_step']:
            low, middle, high = turns.quartiles(measured['ms_per_step'][side])
            cells[2] = f'{middle:.3g} ({low:.3g} to {high:.3g})'
            if gflop:
                cells[3] = f'{gflop / middle * 1e3:.0f}'
            if gflop and peak:
                cells[4] = f'{gflop / middle * 1e3 / peak:.0%}'
        if side in measured['samples_per_second']:
            cells[5] = f"{measured['samples_per_second'][side]:,.0f}"
        if side in measured['peak_memory_mib']:
            cells[6] = f"{measured['peak_memory_mib'][side]:,.0f}"
        if side in measured['ours / torch']:
            compared = measured['ours / torch'][side]
            low, high = compared['quartiles']
            cells[7] = f"{compared['ratio']:.2f} ({low:.2f} to {high:.2f})"
        yield f"| {' | '.join(c.replace('|', '/') for c in cells)} |"
