"""Validation of a config: values in bounds, and parts that fit each other.

The bounds, needs and demands of single options are declared with the options
(`core.options`, `config.key_table`) and only applied here. The other checks are
about combinations of keys. No data are loaded and no networks built, so an
error comes at once.
"""

from gan_jax.algorithms import annealing
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.config import game_checks
from gan_jax.config import key_table
from gan_jax.config import setup_checks
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.core import options
from gan_jax.data import sources
from gan_jax.metrics import catalog
from gan_jax.ops import mixtures
from gan_jax.runtime import loggers
from gan_jax.runtime import parallel


def validate(config, num_devices=1, points=None):
    """Validate a config.

    Args:
        config: ConfigDict with the keys of `defaults.default_config`.
        num_devices: number of devices on all hosts, which share the batch.
        points: whether the data are points and not images; by default
            `defaults.has_points`.

    Raises:
        errors.ConfigError: naming the first key with a value out of bounds, two
            keys that contradict each other, or a key without effect.
    """
    names = defaults.groups(config)
    for name in names:
        with defaults.naming(config, name):
            _validate(defaults.of_source(config, name), num_devices, points)
    if names:
        _check_shared(config, names)
        _check_domains(config, names)
        return
    _validate(config, num_devices, points)
    if config.data.random_crop and config.algorithm not in translation.KINDS:
        raise errors.ConfigError(
            f'data.random_crop={config.data.random_crop!r} is for algorithms '
            f'with two sources, and algorithm={config.algorithm!r} trains on '
            'whole images'
        )


def _check_shared(config, names):
    """Check that a key which all sources share is used by one of them."""
    for key, default in defaults.data_config().items():
        values = [config.data[name][key] for name in names]
        value = config.data.get(key, default)
        unset = '' if key == 'name' else default
        if value not in (unset, *values):
            own = ' and '.join(f'data.{name}.{key}' for name in names)
            raise errors.ConfigError(
                f'data.{key}={value!r} has no effect, because {own} are set'
            )


def _check_domains(config, names):
    """Check that the sources are not the same images by mistake."""
    own = {name: defaults.of_source(config, name) for name in names}
    tasks = {name: one.data.task for name, one in own.items()}
    if len(set(tasks.values())) > 1:
        shown = ' and '.join(f'data.{n}.task={t!r}' for n, t in tasks.items())
        raise errors.ConfigError(
            f'{shown} differ; a task makes both domains: set data.task'
        )
    origins = [defaults.origin(one.data) for one in own.values()]
    task = tasks[names[0]]
    if task and len(set(origins)) > 1:
        raise errors.ConfigError(
            f'data.task={task!r} makes both domains of one source, not of '
            f'{" and ".join(map(repr, origins))}; data.task=\'\' leaves their '
            'images as they are'
        )
    sides = [one.data.side for one in own.values()]
    parts = {(one.data.split, one.data.classes) for one in own.values()}
    if sides[0] and len({*sides}) == len({*origins}) == len(parts) == 1:
        shown = ' and '.join(f'data.{name}.side' for name in names)
        raise errors.ConfigError(
            f'{shown} are both {sides[0]!r}, so both sources have the same '
            "images; leave data.side at ''"
        )


def _validate(config, num_devices, points):
    """Validate the config of one source, as `validate`."""
    _check_keys(config)
    known, values = key_table.keys(), defaults.flatten(config)
    for key, option in known.items():
        _raise_if(options.bounds_error(option, key, values[key]))
    _check_texts(config)
    if points is None:
        points = defaults.has_points(config)
    for line in unused_keys.find(config, points).values():
        _raise_if(line)
    for key, option in known.items():
        _raise_if(options.unmet_demand(option, key, values))
    _check_counts(config)
    game_checks.check(config, points)
    parts = num_devices * config.num_microbatches
    if config.batch_size % parts:
        below = config.batch_size // parts * parts
        allowed = [str(size) for size in (below, below + parts) if size]
        divisor = f'{num_devices} devices'
        if config.num_microbatches > 1:
            divisor += f' x num_microbatches={config.num_microbatches}'
        raise errors.ConfigError(
            f'batch_size={config.batch_size} does not divide over {divisor}; '
            f'{" or ".join(allowed)} does'
        )
    if config.batch_size == parts:
        _check_lone_samples(config, parts)
    setup_checks.raise_first(
        config, setup_checks.config_problems(config, points)
    )


def _raise_if(line):
    """Raise a message as an error, unless it is ''."""
    if line:
        raise errors.ConfigError(line)


def _check_lone_samples(config, parts):
    """Check that layers which compare samples get more than one."""
    coupled = {
        'discriminator.minibatch_features': 0,
        'discriminator.minibatch_stddev': False,
        'penalties.pulling_away.weight': 0.0,
    }
    values = defaults.flatten(config)
    for player in defaults.PLAYERS:
        if config[player].name == 'mlp' and config[player].norm == 'batch':
            coupled[f'{player}.norm'] = 'none'
    for key, off in coupled.items():
        if values[key] != off:
            raise errors.ConfigError(
                f'{key}={values[key]} compares samples, but batch_size='
                f'{config.batch_size} in {parts} parts (devices x '
                'num_microbatches) leaves one in each'
            )


def _check_keys(config):
    """Check that a config has exactly the known keys."""
    known = set(defaults.flatten(defaults.default_config()))
    actual = set(defaults.flatten(config))
    for key in sorted(actual - known):
        raise errors.ConfigError(
            f'{key} is not a config key{errors.nearest(key, known)}'
        )
    for key in sorted(known - actual):
        raise errors.ConfigError(f'config key {key} is missing')


def _check_texts(config):
    """Check that text values can be parsed and names are known."""
    defaults.random_crop(config)
    defaults.background(config)
    defaults.limits(config)
    defaults.shown_channels(config)
    defaults.classes(config)
    for name in defaults.eval_metrics(config):
        if name not in catalog.METRICS:
            raise errors.ConfigError(
                errors.unknown_name('eval_metrics', name, catalog.METRICS)
            )
    for name in defaults.loggers(config):
        if name not in loggers.LOGGERS:
            raise errors.ConfigError(
                errors.unknown_name('loggers', name, loggers.LOGGERS)
            )
    name = config.data.name
    complaint = '' if name in mixtures.MIXTURES else sources.explain(name)
    if complaint and not config.data.path:
        near = errors.nearest(name, mixtures.MIXTURES)
        raise errors.ConfigError(f'{complaint}{near}')


def _check_counts(config):
    """Check numbers whose bounds depend on other keys."""
    for side in ('real', 'fake'):
        low, high = (config.labels[f'{side}_{end}'] for end in ('low', 'high'))
        if high < low:
            raise errors.ConfigError(
                f'labels.{side}_high={high} is less than labels.{side}_low='
                f'{low}'
            )
    fakes = defaults.images_per_batch(config)
    updates = config.d_steps, config.g_steps
    batches = config.num_steps * (
        sum(updates) if config.fresh_reals else max(updates)
    )
    for key, count, unit in (
        ('batch_size', fakes, f'with packing={config.packing} images'),
        ('num_steps', batches, f'with d_steps={config.d_steps} and g_steps='
         f'{config.g_steps} batches'),
    ):
        if count > options.INT32:
            raise errors.ConfigError(
                f'{key}={config[key]} {unit} are {count:,}, more than a 32-bit '
                'integer holds'
            )
    if config.anneal.images and not defaults.annealed(config):
        raise errors.ConfigError(
            f'anneal.images={config.anneal.images} moves no value; set one of '
            + ', '.join(f'anneal.{name}' for name in annealing.MOVING)
        )
    if 0 < config.history.size < fakes:
        raise errors.ConfigError(
            f'history.size={config.history.size} is less than the {fakes} '
            'fakes of an update'
        )
    height, width = defaults.image_size(config) or (1, 1)
    size, memory = fakes * height * width, parallel.machine_memory()
    if size > memory:  # even with one channel of one byte
        raise errors.ConfigError(
            f'batch_size={config.batch_size} (packing={config.packing}) of '
            f'{height}x{width} pixels needs {size / 2**30:,.0f} GiB, and this '
            f'machine has {memory / 2**30:,.1f}'
        )
