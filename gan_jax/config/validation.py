"""Validation of a config: values in bounds, and parts that fit each other.

The bounds, needs and demands of single options are declared with the options
(`core.options`, `config.key_table`) and only applied here. The other checks are
about combinations of keys. No data are loaded and no networks built, so an
error comes at once.
"""

import math
import os

import numpy as np

from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import annealing
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.config import key_table
from gan_jax.core import errors
from gan_jax.core import options
from gan_jax.data import sources
from gan_jax.metrics import catalog
from gan_jax import networks
from gan_jax.networks import activations
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.ops import augment
from gan_jax.ops import mixtures
from gan_jax.runtime import loggers
from gan_jax.runtime import parallel

PLAYERS = ('generator', 'discriminator')
# Keys of `data` for images alone, and for data from files alone.
IMAGE_KEYS = (
    'background', 'channels', 'crop', 'dequantize', 'flip', 'image_size',
    'random_crop', 'side', 'task',
)
# Keys of `data` for .npy folders alone, and for pictures alone.
FIELD_KEYS = ('range', 'shown')
PICTURE_KEYS = (
    'background', 'channels', 'crop', 'dequantize', 'image_size', 'max_bad',
    'side', 'task',
)
FILE_KEYS = (
    'classes', 'data_dir', 'feed', 'limit', 'max_bad', 'resident_share',
    'split', 'test_share',
)


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
    for line in unused(config, points).values():
        _raise_if(line)
    for key, option in known.items():
        _raise_if(options.unmet_demand(option, key, values))
    _check_counts(config)
    _check_game(config, points)
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
    raise_first(config, setup_problems(config, points))


def _raise_if(line):
    """Raise a message as an error, unless it is ''."""
    if line:
        raise errors.ConfigError(line)


def unused(config, points=None):
    """Find the keys that have no effect and are not at their defaults.

    Args:
        config: ConfigDict with values in bounds.
        points: as of `validate`.

    Returns:
        {key: message with the reason}, sorted by key.
    """
    if points is None:
        points = defaults.has_points(config)
    known, values = key_table.keys(), defaults.flatten(config)
    choices, messages = key_table.choices(), {}
    for key, value in values.items():
        if value == known[key].default:
            continue
        reason = (
            _not_in_algorithm(config, key, known[key].default)
            or _without_targets(config, key)
            or _not_chosen(config, key, choices)
            or _not_in_network(config, key)
            or _not_for_data(config, key, points)
            or options.unmet_need(known[key], values)
        )
        if reason:
            messages[key] = f'{key}={value!r} {reason}'
    return messages


def leave_out(config, kept=()):
    """Reset keys without effect to their defaults.

    After the command line changes a choice of a recipe, such as its loss, the
    recipe's options of the old choice have no effect any more.

    Args:
        config: ConfigDict, changed in place. One with values out of bounds is
            left unchanged; `validate` reports them.
        kept: keys to leave unchanged, those of the command line.

    Returns:
        List of messages, one for each key that was reset.
    """
    if defaults.groups(config):
        return _leave_out_of_groups(config, kept)
    known, values = key_table.keys(), defaults.flatten(config)
    if known.keys() != values.keys() or any(
            options.bounds_error(option, key, values[key])
            for key, option in known.items()):
        return []
    lines = []
    while True:
        remaining = {
            key: line for key, line in unused(config).items()
            if key not in kept
        }
        if not remaining:
            return lines
        key, line = next(iter(remaining.items()))
        config.update_from_flattened_dict({key: known[key].default})
        lines.append(f'{line}; it is left out')


def _leave_out_of_groups(config, kept):
    """Reset keys as `leave_out`, but for those of `data`."""
    own = defaults.of_source(config)
    data = [key for key in defaults.flatten(own) if key.startswith('data.')]
    lines = leave_out(own, (*kept, *data))
    config.update_from_flattened_dict({
        key: value for key, value in defaults.flatten(own).items()
        if key not in data
    })
    return lines


def _not_in_algorithm(config, key, default):
    """Return why a key has no effect with the algorithm, or ''."""
    name = config.algorithm
    for family in (translation, adversarial_autoencoder):
        if name in family.KINDS and key.startswith(family.UNUSED_KEYS):
            return f'is not used by algorithm={name!r}'
    if name not in reconstruction.KINDS:
        return ''
    if key.startswith(reconstruction.UNUSED_KEYS):
        return (
            f'is for adversarial training, and algorithm={name!r} has no '
            f'discriminator; the default is {default!r}'
        )
    if key.startswith(reconstruction.WITHOUT.get(name, ())):
        return f'is not used by algorithm={name!r}'
    return ''


def _without_targets(config, key):
    """Return why a key of `labels` has no effect with the loss, or ''."""
    if not key.startswith('labels.') or (
            losses.LOSSES[config.loss.name].takes_targets):
        return ''
    names = sorted(n for n, l in losses.LOSSES.items() if l.takes_targets)
    return (
        f'has no meaning for loss.name={config.loss.name!r}, which has no '
        f'targets; {names} have'
    )


def _not_chosen(config, key, choices):
    """Return why an option of a part that is not chosen has no effect."""
    above, _, option = key.rpartition('.')
    for chooser, (group, owners) in choices.items():
        names = sorted(
            owner for owner, own in owners.items()
            if option in [o.name for o in own]
        )
        if above != group or not names:
            continue
        chosen = defaults.flatten(config)[chooser]
        if chooser == 'data.name' and config.data.path:
            chosen = config.data.path
        if chosen not in names:
            return (
                f'is an option of {chooser}='
                f'{" or ".join(map(repr, names))}, not of '
                f'{chosen!r}'
            )
    return ''


def _not_in_network(config, key):
    """Return why an option that a network does not have has no effect."""
    player, _, field = key.partition('.')
    if player not in PLAYERS or field == 'name':
        return ''
    name = config[player].name
    if player == 'discriminator':
        name = defaults.discriminator_name(config)
    module = getattr(networks.FAMILIES[name], player)
    if player == 'discriminator':
        module = defaults.encoder(config) or module
    known = set(module.__dataclass_fields__)
    if player == 'generator' and (
            config.algorithm in adversarial_autoencoder.KINDS):
        encoder = networks.FAMILIES[name].encoder  # it has the same options
        known |= set(getattr(encoder, '__dataclass_fields__', ()))
    if field in known:
        return ''
    return f'is not for {player}.name={name!r}, which has no such option'


def _not_for_data(config, key, points):
    """Return why a key of `data` has no effect on these data, or ''."""
    group, _, name = key.partition('.')
    if group != 'data':
        return ''
    source = defaults.source(config)
    scheme, colon, path = source.partition(':')
    if name == 'data_dir' and (source == 'digits' or colon and (
            scheme != 'tfds')):
        return f'is for TensorFlow Datasets, and {source!r} is not one'
    # A folder that is not here, of a run from elsewhere, may have been one.
    if name in FIELD_KEYS and scheme != 'fields' and (
            scheme != 'folder' or os.path.isdir(os.path.expanduser(path))):
        return f'is for folders of .npy files, and {source!r} is not one'
    if name in PICTURE_KEYS and scheme == 'fields':
        return f'is for pictures, and {source!r} holds .npy files'
    if not points:
        return ''
    if name in IMAGE_KEYS:
        return f'changes images, and {defaults.source(config)!r} has points'
    if name in FILE_KEYS and defaults.has_mixture(config):
        return (
            f'is for data from files, and data.name={config.data.name!r} '
            'generates points'
        )
    return ''


def setup_problems(config, points=None):
    """List problems that let a setup run but not learn, from the config alone.

    Args:
        config: ConfigDict with known names.
        points: as of `validate`.

    Returns:
        List of messages: key, value, reason, what is allowed.
    """
    if points is None:
        points = defaults.has_points(config)
    low, high = (-math.inf, math.inf) if points else (-1, 1)

    def covers(name):
        layer = activations.last_layer(name, points=points)
        return layer.low <= low and high <= layer.high

    name = config.generator.output
    if covers(name):
        return []
    layer = activations.last_layer(name, points=points)
    data = 'points have no bounds' if points else 'images are in [-1, 1]'
    return [
        f'generator.output={name!r} has values from {layer.low:g} to '
        f'{layer.high:g}, and {data}; use one of '
        f'{sorted(filter(covers, activations.OUTPUTS))}'
    ]


def batch_problems(config, real_images, samples):
    """List problems that let a setup run but not learn, from a batch.

    Networks with the key `output`, as all of this package, are left to
    `setup_problems`. Of others, an untrained last layer that can be negative is
    so about half of the time. If no sample is negative and some data are, the
    last layer probably ends in ReLU, a sigmoid or the like. Samples that are
    all equal are not judged.

    Args:
        config: ConfigDict of the run.
        real_images: [N, ...] float, as D sees them.
        samples: [M, ...] float, of the untrained generator.

    Returns:
        As `setup_problems`.
    """
    if hasattr(networks.FAMILIES[config.generator.name].generator, 'output'):
        return []
    least, most, real_least = samples.min(), samples.max(), real_images.min()
    if not real_least < 0 <= least or not np.ptp(samples, axis=0).any():
        return []
    return [
        f'generator.name={config.generator.name!r} starts with {len(samples)} '
        f'samples from {least:.3g} to {most:.3g}, and the data go down to '
        f'{real_least:.3g}: its last layer does not seem to reach them; use '
        'one that can be negative, such as tanh or a linear layer'
    ]


def raise_first(config, messages):
    """Raise the first problem, unless the config allows a bad setup.

    Args:
        config: ConfigDict.
        messages: of `setup_problems` or `batch_problems`.

    Raises:
        errors.ConfigError: with the first message and the key that allows it.
    """
    if messages and not config.allow_bad_setup:
        raise errors.ConfigError(
            f'{messages[0]}; allow_bad_setup=True only warns'
        )


def _check_lone_samples(config, parts):
    """Check that layers which compare samples get more than one."""
    coupled = {
        'discriminator.minibatch_features': 0,
        'discriminator.minibatch_stddev': False,
        'penalties.pulling_away.weight': 0.0,
    }
    values = defaults.flatten(config)
    for player in ('generator', 'discriminator'):
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


def _check_game(config, points):
    """Check that loss, networks, penalties and data fit each other."""
    loss = losses.LOSSES[config.loss.name]
    pair = networks.FAMILIES[defaults.discriminator_name(config)]
    if loss.energies != pair.energies:
        allowed = sorted(
            name for name, pair in networks.NETWORKS.items()
            if (pair.energies == loss.energies
                or loss.energies and pair.autoencoder)
        )
        raise errors.ConfigError(
            f'loss.name={config.loss.name!r} needs a discriminator that '
            f'{"is an autoencoder" if loss.energies else "returns logits"}, '
            f'one of {allowed}, not '
            f'discriminator.name={config.discriminator.name!r}'
        )
    _check_families(config)
    _check_reconstruction(config, points)
    _check_translation(config, points)
    _check_autoencoder(config)
    _check_schedules(config)
    _check_augmentations(config, points)
    _check_condition(config)
    for name in defaults.active_penalties(config):
        _check_penalty(config, name, points)


def _check_penalty(config, name, points):
    """Check that a penalty fits the data and the layers of D."""
    penalty = penalties.PENALTIES[name]
    if penalty.images and points:
        raise errors.ConfigError(
            f'penalties.{name} changes images, and '
            f'{defaults.source(config)!r} has points'
        )
    generator = networks.FAMILIES[config.generator.name].generator
    if penalty.styles and not getattr(generator, 'has_styles', False):
        raise errors.ConfigError(
            f'penalties.{name} needs a generator with styles, such as '
            f"'stylegan2', not generator.name={config.generator.name!r}"
        )
    if not penalty.input_gradient:
        return
    if config.discriminator.norm == 'batch' and not (
            _not_in_network(config, 'discriminator.norm')):
        raise errors.ConfigError(
            f'penalties.{name} uses the gradient at single images, '
            "which discriminator.norm='batch' mixes; choose 'none', "
            "'layer', 'instance' or 'group'"
        )
    for key in ('minibatch_features', 'minibatch_stddev'):
        if config.discriminator[key]:
            raise errors.ConfigError(
                f'penalties.{name} uses the gradient at single '
                f'images, which discriminator.{key} mixes'
            )


def _check_reconstruction(config, points):
    """Check the settings of an autoencoder or decoder."""
    name = config.algorithm
    if name not in reconstruction.KINDS:
        if config.latent == 'fitted' and (
                name not in adversarial_autoencoder.KINDS):
            raise errors.ConfigError(
                "latent='fitted' is fitted to the codes of an autoencoder, and "
                f'algorithm={name!r} has none'
            )
        return
    allowed = reconstruction.LATENTS[name]
    if config.latent not in allowed:
        raise errors.ConfigError(
            f'latent={config.latent!r} has no meaning with algorithm='
            f'{name!r}; use one of {list(allowed)}'
        )
    if name == 'glo' and (
            defaults.has_mixture(config) or config.data.feed == 'streaming'):
        raise errors.ConfigError(
            "algorithm='glo' has a code for each image of a resident data set; "
            f'data.name={config.data.name!r} with data.feed='
            f'{config.data.feed!r} is not one'
        )
    if name == 'glo' and config.data.flip:
        raise errors.ConfigError(
            "data.flip=True would give an image and its mirror image one "
            "code in algorithm='glo'; use False"
        )
    if name == 'pose_decoder' and points:
        raise errors.ConfigError(
            "algorithm='pose_decoder' rotates images, and "
            f'{defaults.source(config)!r} has points'
        )
    encoded = name in reconstruction.ENCODED
    if encoded and defaults.encoder(config) is None:
        names = [n for n, pair in networks.NETWORKS.items() if pair.encoder]
        raise errors.ConfigError(
            f'discriminator.name={config.discriminator.name!r} has no encoder '
            f'for algorithm={name!r}; {sorted(names)} have one'
        )


def _check_families(config):
    """Check that the networks are of those that the algorithm can have."""
    name = config.algorithm
    for player in PLAYERS:
        network = config[player].name
        allowed = _allowed_networks(name, player)
        if network not in allowed:
            raise errors.ConfigError(
                f'{player}.name={network!r} is not for algorithm={name!r}; use '
                f'one of {sorted(allowed)}'
            )


def _allowed_networks(algorithm, player):
    """List the networks that a player of an algorithm can have."""
    kind = adversarial_autoencoder.KINDS.get(algorithm)
    table = networks.NETWORKS
    if algorithm in translation.KINDS:
        table = networks.TRANSLATORS
    if kind is None:
        return [n for n, pair in table.items() if getattr(pair, player)]
    if player == 'generator':
        table = networks.FAMILIES
        if kind.code == 'codebook':  # needs more than one vector
            table = networks.AUTOENCODERS
        return [n for n, pair in table.items() if pair.encoder]
    names = [
        n for n, pair in networks.NETWORKS.items()
        if pair.discriminator and not pair.energies
    ]
    if kind.judges == 'codes':
        return [n for n in names if not networks.NETWORKS[n].convolutional]
    return [*names, 'patchgan']


def _check_autoencoder(config):
    """Check the settings of an autoencoder with a discriminator."""
    name, options = config.algorithm, config.reconstruction
    if name not in adversarial_autoencoder.KINDS:
        return
    allowed = adversarial_autoencoder.KINDS[name].latents
    if config.latent not in allowed:
        raise errors.ConfigError(
            f'latent={config.latent!r} has no meaning with algorithm='
            f'{name!r}; use one of {list(allowed)}'
        )
    if not options.pixels and not options.features:
        raise errors.ConfigError(
            'reconstruction.pixels=0.0 and reconstruction.features=0.0 leave '
            f'nothing to reconstruct by; algorithm={name!r} needs one of them'
        )
    _check_single_judge(config, adversarial_autoencoder.PENALTIES)


def _check_single_judge(config, allowed):
    """Check that loss and penalties need only D's inputs and outputs."""
    name = config.algorithm
    if losses.LOSSES[config.loss.name].memory is not None:
        raise errors.ConfigError(
            f'loss.name={config.loss.name!r} keeps a memory of one '
            f'discriminator, which algorithm={name!r} has not'
        )
    for penalty in defaults.active_penalties(config):
        if penalty not in allowed:
            raise errors.ConfigError(
                f'penalties.{penalty} is not for algorithm={name!r}; use one '
                f'of {list(allowed)}'
            )


def _check_translation(config, points):
    """Check the settings of a translation of images to images."""
    name = config.algorithm
    if name not in translation.KINDS:
        return
    if points:
        raise errors.ConfigError(
            f'algorithm={name!r} translates images, and '
            f'{defaults.source(config)!r} has points'
        )
    _check_single_judge(config, translation.PENALTIES)
    if name == 'pix2pix' and config.history.size:
        raise errors.ConfigError(
            f'history.size={config.history.size} would show fakes beside other '
            "images than their own; algorithm='pix2pix' needs 0"
        )
    for penalty in defaults.active_penalties(config):
        every = config.penalties[penalty].every
        if every != 1:
            raise errors.ConfigError(
                f'penalties.{penalty}.every={every} is not for algorithm='
                f'{name!r}, which applies it in every step; use 1'
            )


def _check_schedules(config):
    """Check that schedules have the numbers that they depend on."""
    for player in ('g_optimizer', 'd_optimizer'):
        optimizer = config[player]
        if optimizer.schedule != 'constant' and not optimizer.schedule_steps:
            raise errors.ConfigError(
                f'{player}.schedule={optimizer.schedule!r} needs '
                f'{player}.schedule_steps, the step at which it reaches 0'
            )
        if optimizer.hold_steps and (
                optimizer.hold_steps >= optimizer.schedule_steps):
            raise errors.ConfigError(
                f'{player}.hold_steps={optimizer.hold_steps} is not less than '
                f'{player}.schedule_steps={optimizer.schedule_steps}, at which '
                'the rate is 0'
            )
    schedule = config.schedule
    if schedule.name == 'wgan' and schedule.burst_steps % config.d_steps:
        raise errors.ConfigError(
            f'schedule.burst_steps={schedule.burst_steps} is not a multiple of '
            f'd_steps={config.d_steps}'
        )
    if config.on_collapse == 'restart' and not config.max_restarts:
        raise errors.ConfigError(
            "on_collapse='restart' with max_restarts=0 never restarts; use "
            "'stop'"
        )


def _check_augmentations(config, points):
    """Check that augmentations fit the data and the loss."""
    keys = [
        name for name in (*sorted(augment.AUGMENTATIONS), 'adaptive')
        if config.augment[name]
    ]
    if keys and points:
        raise errors.ConfigError(
            f'augment.{keys[0]} changes images, and '
            f'{defaults.source(config)!r} has points'
        )
    if config.augment.adaptive and losses.LOSSES[config.loss.name].energies:
        raise errors.ConfigError(
            'augment.adaptive=True depends on the sign of D, and with '
            f'loss.name={config.loss.name!r} D is never negative'
        )


def _check_condition(config):
    """Check that both players or neither are conditioned on classes."""
    generator, discriminator = (config[p].condition for p in PLAYERS)
    classes = [
        name for name in defaults.active_penalties(config)
        if penalties.PENALTIES[name].classes
    ]
    auxiliary = discriminator == 'auxiliary'
    if (generator == 'none') != (discriminator == 'none'):
        raise errors.ConfigError(
            f'generator.condition={generator!r} and '
            f'discriminator.condition={discriminator!r}: set both or neither'
        )
    if classes and not auxiliary:
        raise errors.ConfigError(
            f'penalties.{classes[0]} needs '
            f"discriminator.condition='auxiliary', not {discriminator!r}"
        )
    if auxiliary and len(classes) < 2:
        raise errors.ConfigError(
            "discriminator.condition='auxiliary' learns the classes by "
            'penalties.d_classification.weight and g_classification.weight;'
            ' set both (1 in the paper)'
        )
