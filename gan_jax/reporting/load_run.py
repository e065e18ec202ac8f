"""Contents of a run folder: files in, one `Run` out.

Anyone may have written the folder. Each file may be missing, truncated or of
other content; what cannot be read is left out, and every read is bounded. Only
a folder without a run's config or metrics is refused. It must not know HTML.
"""

import re
import shlex
import sys
from typing import Any, NamedTuple, Optional

from gan_jax.algorithms import translation
from gan_jax.config import defaults as defaults_lib
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.runs import run_files
from gan_jax.runtime import writer

DIAGNOSIS = 'diagnosis.jsonl'
NEIGHBOURS = 'neighbours.png'
# Pictures of an autoencoder in the folder of samples.
SHOWN_CODES = ('reconstructed', 'interpolated', 'codes')
MOST_STEPS = 2**53  # below which floats tell steps apart
LEVELS = ('alarm', 'warning', 'note')  # gravest first


class Picture(NamedTuple):
    """A picture of a step in the folder."""

    step: int
    path: Any


class Run(NamedTuple):
    """Contents of a run folder.

    Attributes:
        workdir: its path, without secrets.
        name: last part of that path.
        config: {'loss.name': value, …}, all keys.
        overrides: keys set on the command line, in place of the recipe's.
        sources: {name: {'image_shape': …, 'classes': …, 'count': …}} of each
            source of data, in order; {} where it is unknown.
        starts: dicts of environment.json, one for each start.
        records: [{'step': int, 'd/loss': float or None, …}], by step.
        damaged: number of lines of metrics that could not be read.
        frames: `Picture` of each sample step, by step.
        reals: {source: path} of the pictures of real images; {'': path} where
            the only source has no name.
        reconstructed: {name: the newest `Picture`} of `SHOWN_CODES`, those that
            exist.
        findings: dicts of the diagnosis, [] if there are none; None if the run
            was not diagnosed.
        evaluations: dicts of `gan_jax evaluate`.
        neighbours: path of its picture of nearest neighbours, or None.
    """

    workdir: str
    name: str
    config: dict
    overrides: tuple
    sources: dict
    starts: list
    records: list
    damaged: int
    frames: list
    reals: dict
    reconstructed: dict
    findings: Optional[list]
    evaluations: list
    neighbours: Any

    @property
    def steps(self):
        """Return the last step that has metrics."""
        return self.records[-1]['step']

    @property
    def data(self):
        """Return the description of the first source; {} if unknown."""
        return next(iter(self.sources.values()), {})

    @property
    def image_shape(self):
        """Return `shape_of` the first source."""
        return shape_of(self.data)

    @property
    def translates(self):
        """Return whether the run translates images."""
        return self.config.get('algorithm') in translation.KINDS

    @property
    def has_points(self):
        """Return whether the samples are points, or rows of a table."""
        return len(self.image_shape) == 1


def shape_of(data):
    """Return (height, width, channels) or (dimensions,); () if unknown."""
    return tuple(data.get('image_shape', ()))


def load(workdir):
    """Read the folder of a run.

    Args:
        workdir: the folder, local or of a file system of etils.epath.

    Returns:
        `Run`.

    Raises:
        errors.CheckpointError: where it is no run's, or has no metrics yet.
    """
    workdir = _at(workdir)
    config = defaults_lib.flatten(run_files.load_config(workdir))
    records, damaged = _records(workdir)
    if not records:
        raise errors.CheckpointError(
            f'{workdir} has no numbers yet: {writer.METRICS} is not there or '
            'holds no line that can be read'
        )
    starts = run_files.load_dicts(workdir, 'environment.json')
    samples = _pictures(workdir / 'samples')
    sources = _sources(workdir)
    shown = redact.mask(str(workdir))
    return Run(
        workdir=shown,
        name=shown.rstrip('/').rsplit('/', 1)[-1],
        config=redact.mask_values(config),
        overrides=_overrides(starts, config),
        sources=sources,
        starts=starts,
        records=records,
        damaged=damaged,
        frames=_of_steps(samples, r'(\d{1,15})'),
        reals=_reals(samples, sources),
        reconstructed={
            name: found[-1] for name in SHOWN_CODES
            if (found := _of_steps(samples, rf'{name}-(\d{{1,15}})'))
        },
        findings=_findings(workdir),
        evaluations=[
            evaluation
            for evaluation in run_files.load_dicts(
                workdir, run_files.EVALUATION
            )
            if _is_dict(evaluation.get('values'))
        ],
        neighbours=_existing(workdir / NEIGHBOURS),
    )


def _at(workdir):
    try:
        return files.to_path(workdir)
    except OSError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} {error.strerror}'
        ) from error


def _is_dict(item):
    return isinstance(item, dict)


def _sources(workdir):
    try:
        return run_files.load_sources(workdir)
    except errors.CheckpointError:
        return {}


def _reals(samples, sources):
    """Return {source: path} of the real images among the pictures by name."""
    if 'reals' in samples:
        return {next(iter(sources), ''): samples['reals']}
    return {
        name: samples[f'reals-{name}'] for name in sources
        if f'reals-{name}' in samples
    }


def _existing(path):
    return path if path.exists() else None


def _records(workdir):
    """Return the metrics of each step, in order, and the count of bad lines.

    A value that is not a finite number becomes None.
    """
    records, damaged = {}, 0
    for item in run_files.lines(workdir, writer.METRICS):
        step = item.pop('step', None) if item else None
        if type(step) is not int or not 0 <= step < MOST_STEPS:
            damaged += 1
            continue
        record = records.setdefault(step, {'step': step})
        record |= {
            sys.intern(name): files.number(value)
            for name, value in item.items()
        }
    return [records[step] for step in sorted(records)], damaged


def _findings(workdir):
    """Read the diagnosis; None if there is no file.

    A run that is diagnosed has the file from its start, be it empty.
    """
    if not (workdir / DIAGNOSIS).exists():
        return None
    return [
        {
            'step': item['step'] if type(item.get('step')) is int else None,
            'level': item['level'] if item.get('level') in LEVELS else 'note',
            'rule': str(item.get('rule', '')),
            'text': str(item.get('text', '')),
            'advice': str(item.get('advice') or ''),
            'evidence': (
                item['evidence'] if _is_dict(item.get('evidence')) else {}
            ),
        }
        for item in run_files.lines(workdir, DIAGNOSIS) if item
    ]


def _pictures(folder):
    """Return {name without .png: path} of the PNG files in a folder."""
    try:
        paths = list(folder.iterdir())
    except OSError:
        return {}
    return {
        path.name.removesuffix('.png'): path for path in paths
        if path.name.endswith('.png')
    }


def _of_steps(pictures, pattern):
    numbered = [
        Picture(int(match[1]), path) for name, path in pictures.items()
        if (match := re.fullmatch(pattern, name, re.ASCII))
    ]
    return sorted(numbered, key=lambda picture: picture.step)


def _overrides(starts, config):
    """List the keys that the last start's command line sets."""
    command = str(starts[-1].get('command', '')) if starts else ''
    keys = re.findall(r'--?(?:no)?config\.([\w.]+)', ' '.join(_words(command)))
    return tuple(sorted(set(keys) & set(config)))


def _words(command):
    try:
        return shlex.split(command)
    except ValueError:  # a quotation without end
        return command.split()


def changed(run):
    """List the config keys of a run that differ from the defaults."""
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    return sorted(
        key for key, value in run.config.items()
        if key not in defaults or defaults[key] != value
    )


def differing(runs):
    """List the config keys in which runs differ."""
    keys = sorted(set().union(*(run.config for run in runs)))
    return [
        key for key in keys
        if len({repr(run.config.get(key)) for run in runs}) > 1
    ]


def names(runs):
    """List the metrics in the records of runs, sorted."""
    keys = {name for run in runs for record in run.records for name in record}
    return sorted(keys - {'step'})


def series(run, name):
    """Return (steps, values) of the records that have a value of a metric."""
    pairs = [
        (record['step'], record[name]) for record in run.records
        if record.get(name) is not None
    ]
    return [step for step, _ in pairs], [value for _, value in pairs]


def seconds(run):
    """Return how long the logged steps took, or None.

    Computed from the speed of each line: the first compilation is left out,
    and steps that were lost to a kill count once.
    """
    steps, speeds = series(run, 'perf/steps_per_sec')
    starts = [0, *steps]
    times = [
        (step - before) / speed
        for before, step, speed in zip(starts, steps, speeds) if speed > 0
    ]
    return files.number(sum(times)) if times else None


def measured(run):
    """Return the newest value of each metric of `gan_jax evaluate`.

    Returns:
        {name: (value, floor or None, step or None, `settings_of`)}.
    """
    newest = {}
    for evaluation in run.evaluations:
        step = evaluation.get('step')
        for name, value in named_values(evaluation):
            if _is_dict(value) and 'value' in value:
                newest[name] = (
                    files.number(value['value']),
                    files.number(value.get('floor')),
                    step if type(step) is int else None,
                    settings_of(evaluation),
                )
    return newest


def named_values(evaluation):
    """Yield (name, value) of an evaluation; of a direction, 'a_to_b/fid'."""
    direction = evaluation.get('direction')
    known = isinstance(direction, str) and direction in translation.DIRECTIONS
    prefix = f'{direction}/' if known else ''
    for name, value in evaluation['values'].items():
        yield prefix + name, value


def untranslated(run):
    """Return the newest numbers of images before their translation.

    Returns:
        {name of a metric: float or None}.
    """
    return {
        name: files.number(value['untranslated'])
        for evaluation in run.evaluations
        for name, value in named_values(evaluation)
        if _is_dict(value) and 'untranslated' in value
    }


def settings_of(evaluation):
    """Return the features, weights and split of an evaluation, as text."""
    features = evaluation.get('features')
    name = features.get('name', '?') if _is_dict(features) else '?'
    weights = evaluation.get('weights', '?')
    return f'{name}, {weights}, {evaluation.get("split", "?")}'


def verdicts(run):
    """Return the newest verdicts on copying, {'pixels': dict, …}, or {}."""
    for evaluation in reversed(run.evaluations):
        entries = evaluation['values'].get('memorization')
        if _is_dict(entries):
            return {
                key: value for key, value in entries.items() if _is_dict(value)
            }
    return {}
