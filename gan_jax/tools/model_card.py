"""Model cards: what an exported generator is, and the metrics of its run."""

import json

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
    metrics = list(logged(workdir, step))
    for evaluation in evaluations(workdir, step):
        if (evaluation.get('weights'), evaluation.get('direction')) == (
                weights, direction):
            metrics += evaluated(evaluation)
    if not metrics:
        metrics = ['The run folder holds no metrics of this step.']
    return CARD_TEXT.format(
        title=title,
        what='\n'.join(f'| {key} | {value} |' for key, value in rows),
        metrics='\n'.join(metrics), use=use.format(**names), **names,
    )


def logged(workdir, step):
    """Yield lines on the metrics that training logged at a step."""
    logged = {}
    for item in run_files.lines(workdir, 'metrics.jsonl'):
        if item and item.get('step') == step:
            logged = item
    numbers = {
        name: files.number(value) for name, value in logged.items()
        if name in SHOWN or name.startswith('eval/')
    }
    if logged:
        yield f'Logged at step {step:,}: ' + ', '.join(
            f'{name} {value:.4g}' for name, value in numbers.items()
            if value is not None
        ) + '.'


def evaluations(workdir, step):
    """Return the newest evaluation of a step for each weights and direction.

    Returns:
        List of dicts as of `runner.evaluate_run`, whose values are not checked.
    """
    newest = {}
    for item in run_files.load_dicts(workdir, run_files.EVALUATION):
        if item.get('step') == step and isinstance(item.get('values'), dict):
            key = json.dumps([item.get('weights'), item.get('direction')])
            newest[key] = item
    return list(newest.values())


def protocol(evaluation):
    """Return what the values of an evaluation depend on, as text."""
    features = evaluation.get('features')
    note = features.get('note') if isinstance(features, dict) else '?'
    direction, seeds = evaluation.get('direction'), evaluation.get('seeds')
    return (
        f'{_count(evaluation.get("num_fake"))} samples'
        f'{f" (seeds {seeds})" if seeds else ""} of '
        f'{evaluation.get("weights")} weights'
        f'{f", {direction}," if direction else ""} against '
        f'{_count(evaluation.get("num_real"))} real images of '
        f'{evaluation.get("data")} {evaluation.get("split")}; features: {note}'
    )


def values(evaluation):
    """Yield (metric, value, its value for real images or None)."""
    for name, numbers in evaluation['values'].items():
        value, floor = (
            files.number(numbers.get(key)) if isinstance(numbers, dict)
            else None for key in ('value', 'floor')
        )
        if value is not None:
            yield name, value, floor


def evaluated(evaluation):
    """Yield lines on one of `evaluations`: its protocol and a table."""
    yield f'\n{protocol(evaluation)}.\n'
    yield from ('| metric | value | of real images |', '|---|---|---|')
    for name, value, floor in values(evaluation):
        yield f'| {name} | {value:.4g} | ' + (
            '|' if floor is None else f'{floor:.4g} |'
        )


def _count(value):
    return f'{value:,}' if type(value) is int else '?'
