"""Identity of a run: keys that may change, config differences, folder names.

A run may be continued with another config only if the two differ in nothing but
the free keys, which do not affect what is learned.
"""

import re

from gan_jax.config import defaults
from gan_jax.diagnosis import rules

# Keys that do not affect what is learned. They may change when a run is
# continued, and they are not part of the name of its folder.
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
    'loggers',
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
    """List the keys that make two configs train differently.

    Args:
        stored: ConfigDict of an earlier start of the run.
        config: ConfigDict of this one.

    Returns:
        List of 'key: stored value -> new value', without `FREE_KEYS`.
    """
    old, new = defaults.flatten(stored), defaults.flatten(config)
    return [
        f'{key}: {old.get(key)!r} -> {new.get(key)!r}'
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not is_free(key)
    ]


def is_free(key):
    """Return whether a key is one of `FREE_KEYS`, for any data source."""
    return re.sub(r'^data\.\w+\.', 'data.', key) in FREE_KEYS


def run_name(recipe, overrides):
    """Return the name of a run's folder, from its recipe and overrides.

    Args:
        recipe: 'path/to/dcgan.py' or 'path/to/dcgan.py:mnist'.
        overrides: {key: value} of the command line.

    Returns:
        str such as 'dcgan-mnist-d_steps=5'; unusual characters are replaced
        by '_'.
    """
    path, _, argument = recipe.partition(':')
    name = re.split(r'[/\\]', path)[-1].removesuffix('.py')
    parts = [name] + ([argument] if argument else [])
    for key, value in sorted(overrides.items()):
        if not is_free(key):
            parts.append(f'{key}={value}')
    return re.sub(r'[^\w.=+-]', '_', '-'.join(parts))
