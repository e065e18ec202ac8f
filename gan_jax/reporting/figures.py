"""Curves of runs as figures of plotly: dicts of JSON, without colours.

The page gives them the colours of its theme: `meta.series` numbers them.

    {'title', 'note', 'alt', 'traces': […], 'layout': {…}}
"""

import math

import numpy as np

from gan_jax.core import files
from gan_jax.metrics import registry
from gan_jax.objectives import losses
from gan_jax.reporting import load_run

WINDOWS = 15  # parts of a run; the smoothed curve averages over one
MOST_POINTS = 2000  # of a curve; above, the extremes of each part are kept
DASHES = ('solid', 'dash', 'dot', 'dashdot')
NUM_SERIES = 8  # colours of the page
IN_NATS = ('probability', 'relative')  # kinds of losses
# title, label of the axis, {number: what the legend calls it}
PANELS = {
    'losses': ('Losses', 'loss', {'d/loss': "D's loss", 'g/loss': "G's loss"}),
    'logits': (
        "D's scores", "D's mean output (logit)",
        {'d/real_logits': 'of real images', 'd/fake_logits': 'of samples'},
    ),
    'gradients': (
        'Gradients', 'norm of the gradient',
        {'d/grad_norm': "D's", 'g/grad_norm': "G's"},
    ),
    'reconstruction': (
        'Reconstruction', 'error',
        {'g/reconstruction': 'reconstruction', 'd/kl': 'KL divergence (nats)'},
    ),
    'speed': (
        'Speed', 'images per second', {'perf/images_per_sec': 'images/s'}
    ),
}
BETTER = {
    'diversity': '1 is as the data; near 0 is collapse',
    'nearest_real': '1 is as held-out images; near 0 is copying',
    'high_quality': 'higher is better',
    **{
        name: f'{way} is better' for kind in registry.MEASURES.values()
        for name, way in kind.better.items() if way
    },
}


def curves(run):
    """Give the figures of one run: losses, scores, gradients, speed."""
    figures = []
    for title, axis, names in PANELS.values():
        lines = [
            (label, *load_run.series(run, name))
            for name, label in names.items()
        ]
        figures.append(_figure(title, _unit(run, axis), lines))
    return [figure for figure in figures if figure]


def others(run):
    """Give the figures of all other numbers of training, one each."""
    known = {name for _, _, names in PANELS.values() for name in names}
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
    """Give a figure for each number about samples that has several steps."""
    lines = {}
    for name in load_run.names([run]):
        if name.startswith('eval/'):
            lines.setdefault(name.removeprefix('eval/'), []).append(
                ('while training', *load_run.series(run, name))
            )
    for name, by in _evaluated(run).items():
        lines.setdefault(name, []).extend(
            (f'evaluate ({seen})', list(points), list(points.values()))
            for seen, points in by.items()
        )
    figures = [
        _figure(
            name, name, [line for line in some if len(line[1]) > 1],
            note=BETTER.get(name, ''), smooth=False, markers=True,
        ) for name, some in sorted(lines.items())
    ]
    return [figure for figure in figures if figure]


def compared(runs):
    """Give figures of the numbers of several runs, one curve for each run.

    Returns:
        (list of those that one looks at first, list of all others).
    """
    watched = [name for _, _, names in PANELS.values() for name in names]
    names = load_run.names(runs)
    first = [name for name in watched if name in names] + [
        name for name in names if name.startswith('eval/')
    ]
    rest = [name for name in names if name not in first]
    return tuple(
        [figure for name in some if (figure := _compared(runs, name))]
        for some in (first, rest)
    )


def _compared(runs, name):
    lines = [(run.name, *load_run.series(run, name)) for run in runs]
    measured = name.startswith('eval/')
    return _figure(
        name, name, lines, smooth=not measured, markers=measured,
        note=BETTER.get(name.removeprefix('eval/'), ''),
    )


def smoothed(values):
    """Average each value with its neighbours; fewer at both ends.

    Returns:
        float64 [n], how many values an average is of.
    """
    values = np.asarray(values, np.float64)
    reach = len(values) // (2 * WINDOWS)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reaches = np.minimum(reach, np.minimum(places, places[::-1]))
    first, last = places - reaches, places + reaches + 1
    return (sums[last] - sums[first]) / (last - first), 2 * reach + 1


def thinned(values, most=MOST_POINTS):
    """Choose places of at most so many values: extremes of each part."""
    values = np.asarray(values)
    if len(values) <= most:
        return np.arange(len(values))
    parts = np.array_split(np.arange(len(values)), most // 2)
    return np.unique([
        place for part in parts for place in
        (part[values[part].argmin()], part[values[part].argmax()])
    ])


def _evaluated(run):
    """Give {name: {seen by: {step: value}}} of `evaluate`."""
    found = {}
    for told in run.evaluations:
        step = told.get('step')
        for name, value in told['values'].items():
            value = value.get('value') if isinstance(value, dict) else None
            value = files.number(value)
            if type(step) is int and value is not None:
                by = found.setdefault(name, {})
                by.setdefault(load_run.seen_by(told), {})[step] = value
    return {
        name: {
            seen: dict(sorted(points.items())) for seen, points in by.items()
        } for name, by in found.items() if not name.endswith('_std')
    }


def _unit(run, axis):
    """Name the loss on its axis."""
    name = run.config.get('loss.name')
    if axis != 'loss' or run.config.get('algorithm') != 'adversarial':
        return axis
    loss = losses.LOSSES.get(name)
    nats = loss is not None and loss.kind in IN_NATS
    return f'{name} loss (nats)' if nats else f'{name} loss'


def _figure(title, axis, lines, *, note='', smooth=True, markers=False):
    """Make a figure of (label, steps, values); None where there is nothing."""
    traces, told = [], []
    for place, (label, steps, values) in enumerate(lines):
        if steps:
            told.append(_alt(label, steps, values))
            traces += _traces(place, label, steps, values, smooth, markers)
    if not traces:
        return None
    windows = sorted({t['meta'].pop('window') for t in traces} - {1})
    if windows:
        many = ' or '.join(map(str, windows))
        note = f'{note}; ' if note else ''
        note += f'thick: mean of {many} neighbouring lines, thin: as logged'
    values = [v for _, _, some in lines for v in some]
    layout = {
        'xaxis': {'title': {'text': 'step'}},
        'yaxis': {'title': {'text': axis}, **_scale(values)},
    }
    return {
        'title': title, 'note': note, 'alt': f'{axis} by step: '
        + '; '.join(told), 'traces': traces, 'layout': layout,
    }


def _traces(place, label, steps, values, smooth, markers):
    """Draw a curve thin, and its smoothed form thick."""
    averages, window = smoothed(values) if smooth else (None, 1)
    kept = thinned(values)
    meta = {'series': place % NUM_SERIES, 'window': window}
    dash = DASHES[place // NUM_SERIES % len(DASHES)]
    raw = {
        'type': 'scatter', 'name': label, 'legendgroup': str(place),
        'mode': 'lines+markers' if markers or len(steps) == 1 else 'lines',
        'x': [steps[n] for n in kept], 'y': [_short(values[n]) for n in kept],
        'line': {'width': 2, 'dash': dash}, 'meta': {**meta, 'raw': False},
    }
    if window == 1:
        return [raw]
    thick = {
        **raw, 'meta': dict(meta), 'y': [_short(averages[n]) for n in kept],
        'line': {'width': 2.5, 'dash': dash},
    }
    raw |= {
        'name': f'{label}, as logged', 'showlegend': False,
        'line': {'width': 1, 'dash': dash}, 'opacity': 0.4,
    }
    return [raw, thick]


def _short(value):
    return float(f'{value:.5g}')


def _scale(values):
    """Take a logarithmic axis where positive values span a wide range."""
    if min(values) > 0 and max(values) > 50 * min(values):
        return {'type': 'log', 'exponentformat': 'power'}
    return {}


def _alt(label, steps, values):
    low, high = min(values), max(values)
    return (
        f'{label} from {values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} '
        f'at step {steps[-1]}, between {low:.3g} and {high:.3g}'
    )


def final(value):
    """Show a number in a table."""
    if value is None:
        return '–'
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f'{value:.3e}'
    if math.isclose(value, round(value)) and abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:,.4g}'
