"""Which keys define a run: comparison of configs, names of run folders."""

import re

from gan_jax.config import defaults
from gan_jax.diagnosis import rules

# Keys that do not change what is learnt: they may change when a run goes on,
# and are no part of the name of its folder.
FREE_KEYS = (
    'allow_bad_setup',
    'checkpoint_every',
    'data.data_dir',
    'data.feed',
    'data.max_bad',
    'data.resident_share',
    'eval_every',
    'eval_features',
    'eval_metrics',
    'eval_samples',
    'keep_best',
    'keep_checkpoints',
    'keep_every',
    'log_every',
    'max_restarts',
    'num_steps',
    'on_collapse',
    'on_nan',
    'report',
    'sample_every',
    'diagnosis.on',
    *(f'diagnosis.{name}' for name in rules.THRESHOLDS),
)


def differences(stored, config):
    """List the keys in which two configs would train differently.

    Args:
        stored: ConfigDict of an earlier start of the run.
        config: ConfigDict of this one.

    Returns:
        'key: stored value -> new value' for each, `FREE_KEYS` left out.
    """
    old, new = defaults.flatten(stored), defaults.flatten(config)
    return [
        f'{key}: {old.get(key)!r} -> {new.get(key)!r}'
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not is_free(key)
    ]


def is_free(key):
    """Return whether a key, of any source's group, is one of `FREE_KEYS`."""
    return re.sub(r'^data\.\w+\.', 'data.', key) in FREE_KEYS


def run_name(recipe, overrides):
    """Name the folder of a run after its recipe and what it changes.

    Args:
        recipe: 'path/to/dcgan.py' or 'path/to/dcgan.py:mnist'.
        overrides: {key: value} given on the command line.

    Returns:
        str such as 'dcgan-mnist-d_steps=5'; characters that a file system may
        refuse become '_'.
    """
    path, _, argument = recipe.partition(':')
    name = re.split(r'[/\\]', path)[-1].removesuffix('.py')
    parts = [name] + ([argument] if argument else [])
    for key, value in sorted(overrides.items()):
        if not is_free(key):
            parts.append(f'{key}={value}')
    return re.sub(r'[^\w.=+-]', '_', '-'.join(parts))
