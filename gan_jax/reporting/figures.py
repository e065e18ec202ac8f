"""Curves of runs as data for the page's charts.

A figure is a dict of JSON values; the page draws it in the colours of its
theme. It must not know HTML.

    {'title', 'note', 'alt', 'axis': label of the vertical axis,
     'positive': whether it can be logarithmic, 'log': whether it starts so,
     'curves': [{
         'label', 'series': number of its colour, 'dash': number of its pattern,
         'markers': whether points are marked, 'steps': [...],
         'values': [...], 'means': [...] or None where it is not smoothed}]}
"""

import math

import numpy as np

from gan_jax.core import files
from gan_jax.metrics import catalog
from gan_jax.objectives import losses
from gan_jax.reporting import load_run

WINDOWS = 15  # parts of a run; the smoothed curve averages over one
MOST_POINTS = 2000  # of a curve; above, the extremes of each part are kept
WIDE = 50  # the ratio of values above which an axis starts logarithmic
NUM_DASHES = 4  # patterns of lines of the page
NUM_SERIES = 8  # colours of the page
IN_NATS = ('probability', 'relative')  # kinds of losses
# title, label of the axis, {metric: its label in the legend}
PANELS = {
    'losses': ('Losses', 'loss', {'d/loss': "D's loss", 'g/loss': "G's loss"}),
    'domains': (
        'Adversarial losses by domain', 'loss of one domain',
        {'d/loss_a': 'D of a', 'd/loss_b': 'D of b', 'g/gan_a': 'G to a',
         'g/gan_b': 'G to b'},
    ),
    'images': (
        'Errors of images', 'mean difference of values in [-1, 1]',
        {'g/cycle_a': 'cycle from a', 'g/cycle_b': 'cycle from b',
         'g/identity_a': 'identity of a', 'g/identity_b': 'identity of b',
         'g/l1': 'to the true image'},
    ),
    'logits': (
        "D's scores", "D's mean output (logit)",
        {'d/real_logits': 'of real images', 'd/fake_logits': 'of samples',
         'd/real_logits_a': 'of real images of a',
         'd/fake_logits_a': 'of translations to a',
         'd/real_logits_b': 'of real images of b',
         'd/fake_logits_b': 'of translations to b'},
    ),
    'gradients': (
        'Gradients', 'norm of the gradient',
        {'d/grad_norm': "D's", 'g/grad_norm': "G's"},
    ),
    'reconstruction': (
        'Reconstruction', 'error',
        {'g/reconstruction': 'reconstruction', 'd/kl': 'KL divergence (nats)',
         'codes/kl': 'KL divergence of an image (nats)',
         'g/features': "D's layers", 'codes/commitment': 'commitment'},
    ),
    'codebook': (
        'Codebook', 'codes, or share of them',
        {'codes/perplexity': 'perplexity', 'codes/usage': 'share in use'},
    ),
    'speed': (
        'Speed', 'images per second', {'perf/images_per_sec': 'images/s'}
    ),
}
BETTER = {
    'diversity': '1 matches the data; near 0 is collapse',
    'nearest_real': '1 matches held-out images; near 0 is copying',
    'high_quality': 'higher is better',
    **{
        name: f'{direction} is better'
        for name, direction in catalog.BETTER.items() if direction
    },
}


def better(name):
    """Return which values of a metric are better; '' if it is unknown."""
    return BETTER.get(name.rpartition('/')[2], '')


def curves(run):
    """Return the figures of one run: losses, scores, gradients, speed."""
    figures = []
    for title, axis, labels in PANELS.values():
        lines = [
            (label, *load_run.series(run, name))
            for name, label in labels.items()
        ]
        figures.append(_figure(title, _unit(run, axis), lines))
    return [figure for figure in figures if figure]


def others(run):
    """Return one figure for each other metric of training."""
    known = {name for _, _, labels in PANELS.values() for name in labels}
    names = [
        name for name in load_run.names([run])
        if name not in known and not name.startswith('eval/')
    ]
    figures = [
        _figure(name, name, [(name, *load_run.series(run, name))])
        for name in names
    ]
    return [figure for figure in figures if figure]


def metrics(run):
    """Return a figure for each sample metric that has several steps."""
    lines = {}
    for name in load_run.names([run]):
        if name.startswith('eval/'):
            lines.setdefault(name.removeprefix('eval/'), []).append(
                ('while training', *load_run.series(run, name))
            )
    for name, groups in _evaluated(run).items():
        lines.setdefault(name, []).extend(
            (f'evaluate ({settings})', list(points), list(points.values()))
            for settings, points in groups.items()
        )
    figures = [
        _figure(
            name, name, [line for line in group if len(line[1]) > 1],
            note=better(name), smooth=False, markers=True,
        ) for name, group in sorted(lines.items())
    ]
    return [figure for figure in figures if figure]


def compared(runs):
    """Return figures of the metrics of several runs, one curve a run.

    Returns:
        (list of the main figures, list of all others).
    """
    panels = [name for _, _, labels in PANELS.values() for name in labels]
    names = load_run.names(runs)
    first = [name for name in panels if name in names] + [
        name for name in names if name.startswith('eval/')
    ]
    rest = [name for name in names if name not in first]
    return tuple(
        [figure for name in group if (figure := _compared(runs, name))]
        for group in (first, rest)
    )


def _compared(runs, name):
    lines = [(run.name, *load_run.series(run, name)) for run in runs]
    measured = name.startswith('eval/')
    return _figure(
        name, name, lines, smooth=not measured, markers=measured,
        note=better(name),
    )


def smoothed(values):
    """Average each value with its neighbours; fewer at both ends.

    Returns:
        (float64 [n], the number of values in one average).
    """
    values = np.asarray(values, np.float64)
    reach = len(values) // (2 * WINDOWS)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reaches = np.minimum(reach, np.minimum(places, places[::-1]))
    first, last = places - reaches, places + reaches + 1
    return (sums[last] - sums[first]) / (last - first), 2 * reach + 1


def thinned(values, most=MOST_POINTS):
    """Choose the indices of at most `most` values: extremes of each part."""
    values = np.asarray(values)
    if len(values) <= most:
        return np.arange(len(values))
    parts = np.array_split(np.arange(len(values)), most // 2)
    return np.unique([
        place for part in parts for place in
        (part[values[part].argmin()], part[values[part].argmax()])
    ])


def _evaluated(run):
    """Return {metric: {settings: {step: value}}} of `gan_jax evaluate`."""
    metrics = {}
    for evaluation in run.evaluations:
        step = evaluation.get('step')
        for name, value in load_run.named_values(evaluation):
            value = value.get('value') if isinstance(value, dict) else None
            value = files.number(value)
            if type(step) is int and value is not None:
                settings = load_run.settings_of(evaluation)
                groups = metrics.setdefault(name, {})
                groups.setdefault(settings, {})[step] = value
    return {
        name: {
            settings: dict(sorted(points.items()))
            for settings, points in groups.items()
        } for name, groups in metrics.items() if not name.endswith('_std')
    }


def _unit(run, axis):
    """Return the label of an axis; a loss with its name and unit."""
    name = run.config.get('loss.name')
    if axis != 'loss' or run.config.get('algorithm') != 'adversarial':
        return axis
    loss = losses.LOSSES.get(name)
    nats = loss is not None and loss.kind in IN_NATS
    return f'{name} loss (nats)' if nats else f'{name} loss'


def _figure(title, axis, lines, *, note='', smooth=True, markers=False):
    """Build a figure of (label, steps, values); None if all are empty."""
    curves, summaries, windows = [], [], set()
    for place, (label, steps, values) in enumerate(lines):
        if steps:
            summaries.append(_summary(label, steps, values))
            curve, window = _curve(place, label, steps, values, smooth, markers)
            curves.append(curve)
            windows |= {window} - {1}
    if not curves:
        return None
    if windows:
        sizes = ' or '.join(map(str, sorted(windows)))
        note = f'{note}; ' if note else ''
        note += f'thick: mean of {sizes} neighbouring lines, thin: as logged'
    values = [value for _, _, values in lines for value in values]
    low, high = min(values), max(values)
    return {
        'title': title, 'note': note,
        'alt': f'{axis} by step: ' + '; '.join(summaries), 'axis': axis,
        'positive': low > 0, 'log': low > 0 and high > WIDE * low,
        'curves': curves,
    }


def _curve(place, label, steps, values, smooth, markers):
    """Return a curve and the number of values in one of its means."""
    means, window = smoothed(values) if smooth else (None, 1)
    kept = thinned(values)
    return {
        'label': label, 'series': place % NUM_SERIES,
        'dash': place // NUM_SERIES % NUM_DASHES,
        'markers': markers or len(steps) == 1,
        'steps': [steps[n] for n in kept],
        'values': [_rounded(values[n]) for n in kept],
        'means': [_rounded(means[n]) for n in kept] if window > 1 else None,
    }, window


def _rounded(value):
    return float(f'{value:.5g}')


def _summary(label, steps, values):
    low, high = min(values), max(values)
    return (
        f'{label} from {values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} '
        f'at step {steps[-1]}, between {low:.3g} and {high:.3g}'
    )


def final(value):
    """Format a number for a table."""
    if value is None:
        return '–'
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f'{value:.3e}'
    if math.isclose(value, round(value)) and abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:,.4g}'
