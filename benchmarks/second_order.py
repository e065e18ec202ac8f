"""Measure what the penalties R1 and R2 add to the time of a training step.

    python benchmarks/second_order.py --json=out.json
    python benchmarks/second_order.py --only='r3gan 32' --dtype=bfloat16 \
        --torch=channels_last+graph,channels_last+joined+graph

Both penalties square a gradient of D at images, so D's update differentiates
through it. Each case is a step without the penalties and one with both in every
update of D, ours and PyTorch's (torch_step.py, the `bench` extra). All take
turns, each in its own process. The variant of PyTorch's step with the lowest
median counts, which may be another one with the penalties than without. It runs
on CPU and GPU. Step times of all variants, and why one could not run, are in
the JSON file.

No D has a norm: BatchNorm would mix the images of a batch, and spectral norm
would be computed twice in PyTorch and once here.
"""

import contextlib
import statistics

from absl import flags

import beside_torch
import turns
from gan_jax.cli import app
from gan_jax.runtime import writer

ONLY = flags.DEFINE_list('only', [], 'Cases; all by default.')
TORCH = flags.DEFINE_list(
    'torch', [
        'channels_last', 'channels_last+heap', 'channels_last+heap+joined',
        'heap+split',
    ], "Variants of PyTorch's step, see torch_base.py."
)
DTYPE = flags.DEFINE_enum(
    'dtype', 'float32', ['bfloat16', 'float32'], 'Dtype of the networks.'
)
ROUNDS = flags.DEFINE_integer('rounds', 8, 'Turns of each.', lower_bound=2)
SECONDS = flags.DEFINE_float('seconds', 1.0, 'Approximate time of a turn.')
TF32 = flags.DEFINE_bool('tf32', True, 'As of step_throughput.py.')
PATIENCE = flags.DEFINE_float(
    'patience', 600.0, 'As of step_throughput.py.', lower_bound=1.0
)
LIMIT = flags.DEFINE_float(
    'limit', 0.0, 'As of step_throughput.py.', lower_bound=0.0
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

# {name: (recipe, changes of its config, shape)}; batch 64.
CASES = {
    'dcgan 32': ('dcgan.py:cifar10', beside_torch.UNNORMED, '32x32x3'),
    'resnet 32': ('sngan.py:cifar10', {
        **{f'{player}.name': 'resnet' for player in beside_torch.PLAYERS},
        'discriminator.spectral_norm': False,
    }, '32x32x3'),
    'r3gan 32': ('relativistic.py:cifar10', beside_torch.R3GAN, '32x32x3'),
}
WEIGHTS = {'without': 0.0, 'with': 0.1}  # of each penalty
HEAD = (
    '| case | ours without, ms | with | ratio | PyTorch without, ms | with '
    '| ratio | ours / PyTorch without | with |\n' + '|---' * 9 + '|'
)


def pairs(only=(), dtype='float32'):
    """List the cases as {'without': `beside_torch.Case`, 'with': another}."""
    compared = [
        beside_torch.cases(only, dtype, {
            name: (path, {
                **changes, 'penalties.r1.weight': weight,
                'penalties.r2.weight': weight,
            }, shape) for name, (path, changes, shape) in CASES.items()
        }) for weight in WEIGHTS.values()
    ]
    return [dict(zip(WEIGHTS, pair)) for pair in zip(*compared)]


def measure(pair, options, clock):
    """Time the steps of a case in turns, each in its own process.

    Args:
        pair: item of `pairs`.
        options: `beside_torch.Options`.
        clock: `beside_torch.Clock`.

    Returns:
        JSON-compatible dict of numbers, of the steps that have them.
    """
    config = pair['with'].config
    failures = {
        variant: reason for variant in options.variants
        if (reason := beside_torch.unsuited(config, variant))
    }
    starts = {
        which: beside_torch.worker_starts(case, options)
        for which, case in pair.items()
    }
    with contextlib.ExitStack() as stack:
        sides = {
            (name, which): stack.enter_context(
                beside_torch.Side(starts[which][name], clock)
            )
            for name in starts['with'] for which in WEIGHTS
        }
        # All are built before one is timed.
        about = {key: side.ask('about') for key, side in sides.items()}
        counts, times = beside_torch.time_in_turns(
            sides, 'train', options.rounds, options.seconds
        )
    for (name, which), side in sides.items():
        if side.failure:
            failures[f'{name}, {which}'] = side.failure
    steps = {
        which: {
            name: [1e3 * seconds / counts[name, of] for seconds in taken]
            for (name, of), taken in times.items()
            if of == which and len(taken) > 1
        } for which in WEIGHTS
    }
    return {
        'shape': pair['with'].shape, 'batch_size': config.batch_size,
        'about': {name: about[name, 'with'] for name in starts['with']},
        'ms_per_step': steps, **_ratios(steps), 'failures': failures,
    }


def _ratios(steps):
    """Compare {'without' or 'with': {side: [ms of each turn]}}."""
    best = {
        which: min(
            taken.keys() - {'ours'}, default=None,
            key=lambda name: statistics.median(taken[name]),
        ) for which, taken in steps.items()
    }

    def times(side, which):
        name = best[which] if side == 'torch' else side
        return steps[which].get(name)

    def ratio(above, below):
        complete = above and below
        return turns.ratio(above, below) if complete else None

    return {
        'best of torch': best,
        'with / without': {
            side: ratio(times(side, 'with'), times(side, 'without'))
            for side in ('ours', 'torch')
        },
        'ours / torch': {
            which: ratio(times('ours', which), times('torch', which))
            for which in steps
        },
    }


def row(name, measured):
    """Return the line of one case; an empty cell was not measured."""
    cells = [name]
    for side in ('ours', 'torch'):
        for which, taken in measured['ms_per_step'].items():
            best = measured['best of torch'][which]
            times = taken.get('ours' if side == 'ours' else best)
            cells.append(f'{statistics.median(times):.3g}' if times else '')
        cells.append(_shown(measured['with / without'][side]))
    cells += map(_shown, measured['ours / torch'].values())
    return f"| {' | '.join(cells)} |"


def _shown(ratio):
    if ratio is None:
        return ''
    low, high = ratio['quartiles']
    return f"{ratio['ratio']:.2f} ({low:.2f} to {high:.2f})"


def remarks(name, measured):
    """Yield lines on PyTorch's best variants, and on what could not run."""
    for which, best in measured['best of torch'].items():
        if best:
            yield f"- {name}, {which}: PyTorch's fastest is {best}."
    for side, reason in measured['failures'].items():
        yield f'- {name}, {side}: {reason}'


def main(argv):
    """Print the table; write --json."""
    del argv
    turns.share_memory()
    options = beside_torch.Options(
        tuple(TORCH.value), ROUNDS.value, SECONDS.value, product=0,
        tf32=TF32.value, patience=PATIENCE.value, limit=LIMIT.value,
    )
    clock = beside_torch.Clock(options.patience, options.limit)
    compared = pairs(ONLY.value, DTYPE.value)
    result = beside_torch.describe() | {
        'dtype': DTYPE.value, 'tf32': TF32.value, 'weight': WEIGHTS['with'],
        'cases': {}, 'not_measured': [pair['with'].name for pair in compared],
    }
    print(HEAD, flush=True)
    for pair in compared:
        if clock.left() <= 0:
            break
        name = pair['with'].name
        measured = result['cases'][name] = measure(pair, options, clock)
        if any(measured['ms_per_step'].values()):
            result['not_measured'].remove(name)
        print(row(name, measured), flush=True)
        if JSON.value:
            writer.write_json(JSON.value, result)
    print()
    for name, measured in result['cases'].items():
        for line in remarks(name, measured):
            print(line)
    if result['not_measured']:
        print(f"Not measured: {', '.join(result['not_measured'])}.")


if __name__ == '__main__':
    app.run(main)
