"""What a run folder says of its run: files in, one `Run` out.

Every file may be missing, cut short or of other content: what can be read is
read, and what cannot is left out. Only a folder of no run is refused.
"""

import re
import shlex
import sys
from typing import Any, NamedTuple, Optional

from gan_jax.config import defaults as defaults_lib
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.runs import run_files
from gan_jax.runtime import writer

DIAGNOSIS = 'diagnosis.jsonl'
EVALUATION = 'evaluation.json'
NEIGHBOURS = 'neighbours.png'
MOST_STEPS = 2**53  # below which floats tell steps apart
LEVELS = ('alarm', 'warning', 'note')  # gravest first


class Picture(NamedTuple):
    """A picture of a step that lies in the folder."""

    step: int
    path: Any


class Run(NamedTuple):
    """What a folder holds.

    Attributes:
        workdir: its path, without secrets.
        name: short.
        config: {'loss.name': value, …}, all keys.
        overrides: keys set on the command line, which differ from the recipe.
        data: {'image_shape': …, 'classes': …, 'count': …}.
        starts: dicts of environment.json, one for each start.
        records: [{'step': int, 'd/loss': float or None, …}], by step.
        damaged: lines of metrics that could not be read.
        frames: `Picture` of each sample step, by step.
        reals: path of the real images, or None.
        reconstructed: the newest `Picture` of reconstructions, or None.
        findings: dicts of the diagnosis, [] where nothing was found; None
            where it was not diagnosed.
        evaluations: dicts of `gan_jax.evaluate`.
        neighbours: path of its picture of nearest neighbours, or None.
    """

    workdir: str
    name: str
    config: dict
    overrides: tuple
    data: dict
    starts: list
    records: list
    damaged: int
    frames: list
    reals: Any
    reconstructed: Optional[Picture]
    findings: Optional[list]
    evaluations: list
    neighbours: Any

    @property
    def steps(self):
        """Give the last step of which there are numbers."""
        return self.records[-1]['step']

    @property
    def image_shape(self):
        """Give (height, width, channels), (dimensions,), or () if unknown."""
        return tuple(self.data.get('image_shape', ()))

    @property
    def has_points(self):
        """Say whether the samples are points, or rows of a table."""
        return len(self.image_shape) == 1


def gather(workdir):
    """Read the folder of a run.

    Args:
        workdir: the folder, local or of a file system of etils.epath.

    Returns:
        `Run`.

    Raises:
        errors.CheckpointError: where it is no run's, or has no numbers yet.
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
    shown = redact.mask(str(workdir))
    return Run(
        workdir=shown,
        name=shown.rstrip('/').rsplit('/', 1)[-1],
        config=redact.mask_values(config),
        overrides=_overrides(starts, config),
        data=_data(workdir),
        starts=starts,
        records=records,
        damaged=damaged,
        frames=_of_steps(samples, r'(\d{1,15})'),
        reals=samples.get('reals'),
        reconstructed=(
            _of_steps(samples, r'reconstructed-(\d{1,15})') or [None]
        )[-1],
        findings=_findings(workdir),
        evaluations=[
            told for told in run_files.load_dicts(workdir, EVALUATION)
            if _told(told.get('values'))
        ],
        neighbours=_there(workdir / NEIGHBOURS),
    )


def _at(workdir):
    try:
        return files.at(workdir)
    except OSError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} {error.strerror}'
        ) from error


def _told(item):
    return isinstance(item, dict)


def _data(workdir):
    try:
        return run_files.load_data(workdir)
    except errors.CheckpointError:
        return {}


def _there(path):
    return path if path.exists() else None


def _records(workdir):
    """Give the numbers of each step, in order, and how many lines are damaged.

    What is no number becomes None.
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
    """Read the diagnosis; None without a file, which it leaves from the start.
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
                item['evidence'] if _told(item.get('evidence')) else {}
            ),
        }
        for item in run_files.lines(workdir, DIAGNOSIS) if item
    ]


def _pictures(folder):
    """Give {name: path} of the PNG files in a folder."""
    try:
        paths = list(folder.iterdir())
    except OSError:
        return {}
    return {
        path.name.removesuffix('.png'): path for path in paths
        if path.name.endswith('.png')
    }


def _of_steps(pictures, pattern):
    found = [
        Picture(int(match[1]), path) for name, path in pictures.items()
        if (match := re.fullmatch(pattern, name, re.ASCII))
    ]
    return sorted(found, key=lambda picture: picture.step)


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
    """List the keys of a run that differ from the library's defaults."""
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    return sorted(
        key for key, value in run.config.items()
        if key not in defaults or defaults[key] != value
    )


def differing(runs):
    """List the keys in which runs differ."""
    keys = sorted(set().union(*(run.config for run in runs)))
    return [
        key for key in keys
        if len({repr(run.config.get(key)) for run in runs}) > 1
    ]


def names(runs):
    """List the numbers that some record of some run has, sorted."""
    found = {name for run in runs for record in run.records for name in record}
    return sorted(found - {'step'})


def series(run, name):
    """Give (steps, values) of the records that have a number."""
    pairs = [
        (record['step'], record[name]) for record in run.records
        if record.get(name) is not None
    ]
    return [step for step, _ in pairs], [value for _, value in pairs]


def seconds(run):
    """Give how long the logged steps took, or None.

    From the speed of each line; the first compilation is not in it, and steps
    that were lost to a kill are counted once.
    """
    steps, speeds = series(run, 'perf/steps_per_sec')
    starts = [0, *steps]
    times = [
        (step - before) / speed
        for before, step, speed in zip(starts, steps, speeds) if speed > 0
    ]
    return files.number(sum(times)) if times else None


def measured(run):
    """Give the newest value of each number of `evaluate`.

    Returns:
        {name: (value, floor or None, step or None, what it was seen by)}.
    """
    found = {}
    for told in run.evaluations:
        step = told.get('step')
        for name, value in told['values'].items():
            if _told(value) and 'value' in value:
                found[name] = (
                    files.number(value['value']),
                    files.number(value.get('floor')),
                    step if type(step) is int else None, seen_by(told),
                )
    return found


def seen_by(told):
    """Name what an evaluation looked by, and at which weights."""
    features = told.get('features')
    name = features.get('name', '?') if _told(features) else '?'
    return f'{name}, {told.get("weights", "?")}, {told.get("split", "?")}'


def verdicts(run):
    """Give the newest verdicts on copying, {'pixels': dict, …}, or {}."""
    for told in reversed(run.evaluations):
        found = told['values'].get('memorization')
        if _told(found):
            return {key: value for key, value in found.items() if _told(value)}
    return {}
