"""Texts and tables of a report, from what a run folder holds.

Plain values of any content, also hostile: the templates escape them. It must
not know HTML.
"""

import json

from gan_jax.config import defaults as defaults_lib
from gan_jax.core import files
from gan_jax.metrics import memorization
from gan_jax.reporting import figures
from gan_jax.reporting import load_run


def summary(run):
    """Return [(name, text)] of the facts at the head of a report."""
    start = run.starts[-1] if run.starts else {}
    num_steps = run.config.get('num_steps')
    steps = f'{run.steps:,}'
    if isinstance(num_steps, int):
        steps += f' of {num_steps:,}'
        steps += ' (not finished)' if run.steps < num_steps else ''
    versions = start.get('versions')
    versions = versions if isinstance(versions, dict) else {}
    return [
        ('Folder', run.workdir),
        ('Command', str(start.get('command', 'unknown'))),
        ('Data', _data(run)),
        ('Networks', _networks(run.config)),
        ('Steps', steps),
        ('Time trained', _time(run)),
        ('Devices', _devices(start)),
        ('Versions', ', '.join(f'{k} {v}' for k, v in versions.items())),
        ('Started', _started(run)),
    ]


def _data(run):
    """Describe the data; each source by its name where there are several."""
    if len(run.sources) < 2:
        return _source(run.config, 'data', run.data)
    return '; '.join(
        f'{name}: {_source(run.config, f"data.{name}", data)}'
        for name, data in run.sources.items()
    )


def _source(config, group, data):
    source = (
        config.get(f'{group}.path') or config.get(f'{group}.name')
        or data.get('name') or 'unknown'
    )
    shape = load_run.shape_of(data)
    if len(shape) == 1:
        return f'{source}: points in {shape[0]} dimensions'
    count = data.get('count')
    count = f'{count:,} ' if isinstance(count, int) else ''
    size = 'x'.join(map(str, shape)) or 'unknown size'
    classes = data.get('classes')
    classes = f', {len(classes)} classes' if isinstance(classes, list) and (
        classes) else ''
    return f'{source}: {count}images of {size}{classes}'


def _networks(config):
    return '; '.join(
        f'{letter}: {config.get(f"{player}.name")}, width '
        f'{config.get(f"{player}.width")}'
        for letter, player in (('G', 'generator'), ('D', 'discriminator'))
    )


def _time(run):
    """Format how long the steps took, computed from the logged speeds."""
    seconds = load_run.seconds(run)
    if seconds is None:
        return 'unknown'
    unit, size = next(
        (pair for pair in (('h', 3600), ('min', 60)) if seconds >= pair[1]),
        ('s', 1),
    )
    return f'{seconds / size:.1f} {unit} (without the first compilation)'


def _devices(start):
    devices = start.get('devices')
    if not isinstance(devices, list):
        return 'unknown'
    return (
        f'{len(devices)} x {start.get("device_kind")} '
        f'({start.get("backend")}), {start.get("processes")} process(es)'
    )


def _started(run):
    times = [str(start.get('started')) for start in run.starts]
    if len(times) < 2:
        return ''.join(times)
    return f'{times[0]}, resumed {len(times) - 1} times, last {times[-1]}'


def metrics(run):
    """Return rows of the metrics of `gan_jax evaluate`.

    Returns:
        [(name, value, floor, better, step, settings)], texts; in a run that
        translates, the number of untranslated images stands before the floor.
    """
    before = load_run.untranslated(run)
    return [
        (name, figures.final(value),
         *[figures.final(before.get(name))] * run.translates,
         figures.final(floor), figures.better(name),
         'unknown' if step is None else step, settings)
        for name, (value, floor, step, settings)
        in sorted(load_run.measured(run).items())
    ]


def last_metrics(run):
    """Return rows (name, last value, step) of the metrics of training."""
    rows = []
    for name in load_run.names([run]):
        steps, values = load_run.series(run, name)
        if steps:
            rows.append((name, figures.final(values[-1]), f'{steps[-1]:,}'))
    return rows


def diagnosed(run):
    """Return a few words on the findings of the diagnosis."""
    if run.findings is None:
        return 'not diagnosed'
    counts = [
        (level, sum(f['level'] == level for f in run.findings))
        for level in load_run.LEVELS
    ]
    return ', '.join(
        f'{count} {level}{"s" if count > 1 else ""}'
        for level, count in counts if count
    ) or 'nothing was found'


def findings(run):
    """Return the findings, worst first, their evidence as text.

    Returns:
        List of dicts; None where the run was not diagnosed.
    """
    if run.findings is None:
        return None
    return [
        {**finding, 'evidence': ', '.join(
            f'{name} {_evidence(value)}'
            for name, value in finding['evidence'].items()
        )} for finding in sorted(
            run.findings, key=lambda f: load_run.LEVELS.index(f['level'])
        )
    ]


def _evidence(value):
    number = files.number(value)
    return str(value) if number is None else figures.final(number)


def copying(run):
    """Return the verdicts of `evaluate` on copied images, one line each."""
    return [
        f'Measured by {key}: {verdict.get("verdict", "no verdict")}; '
        + _share(verdict) for key, verdict in load_run.verdicts(run).items()
    ]


def _share(verdict):
    nearer = files.number(verdict.get('nearer'))
    expected = files.number(verdict.get('nearer_expected'))
    if nearer is None or expected is None:
        return ''
    return (
        f'{100 * nearer:.1f} % of samples are nearer to training images than '
        f'{100 * expected:.1f} % of {_reference(verdict)} are.'
    )


def _reference(verdict):
    """Return what samples are compared with, a text of a foreign file."""
    known = memorization.HELD_OUT, memorization.OTHERS
    reference = verdict.get('reference')
    return reference if reference in known else known[0]


def config(run):
    """Return tables of the config.

    Returns:
        {'overrides' or 'changed': rows (key, value, default),
        'rest': rows (key, value), 'count': number of keys}.
    """
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    changed = sorted(set(load_run.changed(run)) - set(run.overrides))

    def rows(keys):
        return [
            (key, repr(run.config[key]), repr(defaults[key])
             if key in defaults else 'no such key') for key in keys
        ]

    rest = sorted(set(run.config) - set(changed) - set(run.overrides))
    return {
        'overrides': rows(run.overrides), 'changed': rows(changed),
        'rest': [(key, repr(run.config[key])) for key in rest],
        'count': len(run.config),
    }


def environment(run):
    """Return (time, rows (key, value)) of each start of a run."""
    return [
        (str(start.get('started')), [
            (key, value if isinstance(value, str) else json.dumps(value))
            for key, value in start.items()
        ]) for start in run.starts
    ]


def labels(runs):
    """Return names of runs: the last parts of their paths where they differ."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [run.workdir for run in runs]


def summaries(runs):
    """Return rows (name, text of each run) of the facts of several runs."""
    facts = [dict(summary(run)) for run in runs]
    rows = [
        (name, *(fact[name] for fact in facts)) for name in facts[0]
        if name != 'Command'
    ]
    rows.append(('Diagnosis', *map(diagnosed, runs)))
    rows.append(('Command', *(fact['Command'] for fact in facts)))
    return rows


def final_metrics(runs):
    """Return rows (name, last value of each run) of all metrics."""
    measured = [load_run.measured(run) for run in runs]
    rows = [
        (name, *(
            figures.final((load_run.series(run, name)[1] or [None])[-1])
            for run in runs
        )) for name in load_run.names(runs)
    ]
    for name in sorted(set().union(*measured)):
        rows.append((f'{name} (evaluate)', *(
            figures.final(metrics[name][0]) if name in metrics else '–'
            for metrics in measured
        )))
    return rows


def differences(runs):
    """Return rows (key, value of each run) of the config keys that differ."""
    return [
        (key, *(repr(run.config.get(key)) for run in runs))
        for key in load_run.differing(runs)
    ]
