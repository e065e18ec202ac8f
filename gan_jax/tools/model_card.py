"""Model cards: what an exported generator is, and the metrics of its run."""

import gan_jax
from gan_jax.core import files
from gan_jax.runs import run_files
from gan_jax.runtime import environment

SHOWN = ('d/loss', 'g/loss', 'data/epoch')  # metrics in the card
CARD_TEXT = '''\
---
library_name: jax
tags:
- gan
- stablehlo
# license: set one; it may depend on the data that the run was trained on.
---

# Generator of {title}

| | |
|---|---|
{what}

## Metrics

{metrics}

These values were measured on this run only.

{use}
`{program}` is StableHLO for {platforms} and any batch size, with the
weights inside. `{tensors}` holds the same weights by name.

## Licence

None is set. Whoever publishes these files must choose one, considering the
licence of the data.
'''


def build(
    workdir, state, weights, rows, *, title, use, names, direction=None
):
    """Build a model card from the files of a run folder.

    Args:
        workdir: folder of the run.
        state: `algorithm.TrainState`.
        weights: one of `Algorithm.weight_names`.
        rows: (name, value) of facts that this function does not know.
        title: name of the generator.
        use: text on how to use the files, to be formatted with `names`.
        names: {'program', 'tensors', 'script': name of the file, 'platforms':
            text}.
        direction: of a generator that translates images.

    Returns:
        str, Markdown.
    """
    config = run_files.load_config(workdir)
    step = int(state.step)
    starts = run_files.load_dicts(workdir, 'environment.json') or [{}]
    rows = [
        *rows,
        ('steps', f'{step:,} of {config.num_steps:,}, batches of '
         f'{config.batch_size}'),
        ('weights', {'ema': 'moving average of the generator',
                     'raw': 'weights of the generator as trained',
                     'snapshots': "average of the generator's last snapshots",
                     }[weights]),
        ('command', f'`{starts[-1].get("command", "unknown")}`'),
        ('exported by', ', '.join(f'{name} {version}' for name, version in {
            'gan_jax': gan_jax.__version__, **environment.versions()
        }.items() if name in ('gan_jax', 'jax'))),
    ]
    metrics = [
        *_logged(workdir, step),
        *_evaluated(workdir, step, weights, direction),
    ]
    if not metrics:
        metrics = ['The run folder holds no metrics of this step.']
    return CARD_TEXT.format(
        title=title,
        what='\n'.join(f'| {key} | {value} |' for key, value in rows),
        metrics='\n'.join(metrics), use=use.format(**names), **names,
    )


def _logged(workdir, step):
    """Yield lines on the metrics that training logged at a step."""
    values = {}
    for item in run_files.lines(workdir, 'metrics.jsonl'):
        if item and item.get('step') == step:
            values = item
    numbers = {
        name: files.number(value) for name, value in values.items()
        if name in SHOWN or name.startswith('eval/')
    }
    if values:
        yield f'Logged at step {step:,}: ' + ', '.join(
            f'{name} {value:.4g}' for name, value in numbers.items()
            if value is not None
        ) + '.'


def _evaluated(workdir, step, weights, direction):
    """Yield lines on the newest evaluation of a step, weights, direction."""
    evaluations = [
        item for item in run_files.load_dicts(workdir, 'evaluation.json')
        if (item.get('step'), item.get('weights'), item.get('direction')) == (
            step, weights, direction
        )
        and isinstance(item.get('values'), dict)
    ]
    if not evaluations:
        return
    newest = evaluations[-1]
    features = newest.get('features')
    note = features.get('note') if isinstance(features, dict) else '?'
    yield (
        f'\n{_count(newest.get("num_fake"))} samples against '
        f'{_count(newest.get("num_real"))} real images of '
        f'{newest.get("data")} {newest.get("split")}; features: {note}.\n'
    )
    yield from ('| metric | value | of real images |', '|---|---|---|')
    for name, numbers in newest['values'].items():
        value, floor = (
            files.number(numbers.get(key)) if isinstance(numbers, dict)
            else None for key in ('value', 'floor')
        )
        if value is not None:
            yield f'| {name} | {value:.4g} | ' + (
                '|' if floor is None else f'{floor:.4g} |'
            )


def _count(value):
    return f'{value:,}' if type(value) is int else '?'
