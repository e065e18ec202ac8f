"""What a config may hold: every value in bounds, parts that fit together.

What one option may be, needs and demands its owner declares (`options`,
`config.keys`). Here stands what speaks of two parts at once.
"""

import math

import numpy as np

from gan_jax.algorithms import reconstruction
from gan_jax.config import defaults
from gan_jax.config import key_table
from gan_jax.core import errors
from gan_jax.core import options
from gan_jax.data import sources
from gan_jax.metrics import registry
from gan_jax import networks
from gan_jax.networks import activations
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.ops import augment
from gan_jax.ops import mixtures
from gan_jax.runtime import parallel

PLAYERS = ('generator', 'discriminator')
# Keys of the group data of which points have none, and points that are made.
OF_IMAGES = (
    'background', 'channels', 'crop', 'dequantize', 'flip', 'image_size',
)
OF_FILES = (
    'classes', 'data_dir', 'feed', 'limit', 'max_bad', 'resident_share',
    'split', 'test_share',
)


def validate(config, num_devices=1, points=None):
    """Check every value that its type does not hold in bounds.

    Args:
        config: ConfigDict with the keys of `defaults.default_config`.
        num_devices: devices, over all hosts, that share the batch.
        points: whether the data are points and not images; by default as far
            as `config.has_points` can tell.

    Raises:
        errors.ConfigError: naming the first bad key, its value and what is
            allowed, or why the parts cannot work together, or that nothing
            uses a key that is not as it is by default.
    """
    for name in defaults.groups(config):
        try:
            validate(defaults.of_source(config, name), num_devices, points)
        except errors.ConfigError as error:
            raise errors.ConfigError(
                str(error).replace('data.', f'data.{name}.')
            ) from error
    if defaults.groups(config):
        return
    _check_keys(config)
    known, values = key_table.keys(), defaults.flatten(config)
    for key, option in known.items():
        _refuse(options.bounds_error(option, key, values[key]))
    _check_texts(config)
    if points is None:
        points = defaults.has_points(config)
    for line in unused(config, points).values():
        _refuse(line)
    for key, option in known.items():
        _refuse(options.unmet_demand(option, key, values))
    _check_counts(config)
    _check_game(config, points)
    parts = num_devices * config.num_microbatches
    if config.batch_size % parts:
        below = config.batch_size // parts * parts
        works = [str(b) for b in (below, below + parts) if b]
        into = f'{num_devices} devices'
        if config.num_microbatches > 1:
            into += f' in num_microbatches={config.num_microbatches} parts'
        raise errors.ConfigError(
            f'batch_size={config.batch_size} does not divide over {into}; '
            f'{" or ".join(works)} does'
        )
    if config.batch_size == parts:
        _check_lone_samples(config, parts)
    refuse(config, complaints(config, points))


def _refuse(line):
    """Raise a line, unless it is ''."""
    if line:
        raise errors.ConfigError(line)


def unused(config, points=None):
    """Find the keys that differ from their defaults and change nothing.

    Args:
        config: ConfigDict of values in bounds.
        points: as of `validate`.

    Returns:
        {key: line that says why}, sorted by key.
    """
    if points is None:
        points = defaults.has_points(config)
    known, values = key_table.keys(), defaults.flatten(config)
    choices, found = key_table.choices(), {}
    for key, value in values.items():
        if value == known[key].default:
            continue
        why = (
            _of_no_game(config, key, known[key].default)
            or _of_no_target(config, key)
            or _of_another_choice(config, key, choices)
            or _of_no_network(config, key)
            or _of_other_data(config, key, points)
            or options.unmet_need(known[key], values)
        )
        if why:
            found[key] = f'{key}={value!r} {why}'
    return found


def leave_out(config, kept=()):
    """Set what nothing uses to its default, but for some keys.

    So that a recipe's choice can be changed without the options that it had.

    Args:
        config: ConfigDict, changed in place; one with bad values is left as it
            is, for `validate`.
        kept: keys that were asked for.

    Returns:
        [line that says what is left out and why].
    """
    known, values = key_table.keys(), defaults.flatten(config)
    if known.keys() != values.keys() or any(
            options.bounds_error(option, key, values[key])
            for key, option in known.items()):
        return []
    lines = []
    while True:
        left = {
            key: line for key, line in unused(config).items()
            if key not in kept
        }
        if not left:
            return lines
        key, line = next(iter(left.items()))
        config.update_from_flattened_dict({key: known[key].default})
        lines.append(f'{line}; it is left out')


def _of_no_game(config, key, default):
    name = config.algorithm
    if name not in reconstruction.KINDS:
        return ''
    if key.startswith(reconstruction.OF_A_GAME):
        return (
            f'belongs to a game, and algorithm={name!r} has none; '
            f'{default!r} leaves it out'
        )
    if key.startswith(reconstruction.WITHOUT.get(name, ())):
        return f'is of what algorithm={name!r} does not have'
    return ''


def _of_no_target(config, key):
    if not key.startswith('labels.') or (
            losses.LOSSES[config.loss.name].takes_targets):
        return ''
    takes = sorted(n for n, l in losses.LOSSES.items() if l.takes_targets)
    return (
        f'has no meaning for loss.name={config.loss.name!r}, which has no '
        f'targets; {takes} have'
    )


def _of_another_choice(config, key, choices):
    above, _, option = key.rpartition('.')
    for chooser, (group, owners) in choices.items():
        has = sorted(
            owner for owner, own in owners.items()
            if option in [o.name for o in own]
        )
        if above != group or not has:
            continue
        chosen = defaults.flatten(config)[chooser]
        named = chooser
        if chooser == 'data.name' and config.data.path:
            chosen = config.data.path
        if chosen not in has:
            return (
                f'is an option of {named}='
                f'{" or ".join(map(repr, has))}, not of '
                f'{chosen!r}'
            )
    return ''


def _of_no_network(config, key):
    player, _, field = key.partition('.')
    if player not in PLAYERS or field == 'name':
        return ''
    name = config[player].name
    if player == 'discriminator':
        name = defaults.discriminator_name(config)
    module = getattr(networks.NETWORKS[name], player)
    if player == 'discriminator':
        module = defaults.encoder(config) or module
    if field in module.__dataclass_fields__:
        return ''
    return f'is not for {player}.name={name!r}, which has none'


def _of_other_data(config, key, points):
    group, _, name = key.partition('.')
    if group != 'data':
        return ''
    source = defaults.source(config)
    scheme, colon, _ = source.partition(':')
    if name == 'data_dir' and (source == 'digits' or colon and (
            scheme != 'tfds')):
        return f'is of sets of TensorFlow Datasets, and {source!r} is none'
    if not points:
        return ''
    if name in OF_IMAGES:
        return f'changes images, and {defaults.source(config)!r} has points'
    if name in OF_FILES and defaults.has_mixture(config):
        return (
            f'is of data that are read, and data.name={config.data.name!r} '
            'makes points'
        )
    return ''


def complaints(config, points=None):
    """Say, from the names alone, why a setup that runs cannot work.

    Args:
        config: ConfigDict with known names.
        points: as of `validate`.

    Returns:
        List of lines: key, value, reason, what is allowed.
    """
    if points is None:
        points = defaults.has_points(config)
    low, high = (-math.inf, math.inf) if points else (-1, 1)

    def holds(name):
        layer = activations.last_layer(name, points=points)
        return layer.low <= low and high <= layer.high

    name = config.generator.output
    if holds(name):
        return []
    layer = activations.last_layer(name, points=points)
    data = 'points have no bounds' if points else 'images lie in [-1, 1]'
    return [
        f'generator.output={name!r} gives values from {layer.low:g} to '
        f'{layer.high:g}, and {data}; one of '
        f'{sorted(filter(holds, activations.OUTPUTS))} holds them'
    ]


def complaints_of_batch(config, real_images, samples):
    """Say, from a batch, why a setup that runs cannot work.

    Where an untrained last layer can go below 0 it does so, about as often as
    above. One that never does while the data do ends in ReLU, a sigmoid or the
    like. Samples that are all alike say nothing of it.

    Args:
        config: ConfigDict of the run.
        real_images: [N, ...] float, as D sees them.
        samples: [M, ...] float, of the untrained generator.

    Returns:
        As `complaints`.
    """
    least, most, reach = samples.min(), samples.max(), real_images.min()
    if not reach < 0 <= least or not np.ptp(samples, axis=0).any():
        return []
    return [
        f'generator.name={config.generator.name!r} starts with {len(samples)} '
        f'samples from {least:.3g} to {most:.3g}, and the data go down to '
        f'{reach:.3g}: its last layer does not seem to hold them; one that '
        'goes below 0, such as tanh or a linear one, does'
    ]


def refuse(config, found):
    """Raise the first complaint, unless the config allows a bad setup.

    Args:
        config: ConfigDict.
        found: what `complaints` or `complaints_of_batch` gave.

    Raises:
        errors.ConfigError: with that line, and the key that allows it.
    """
    if found and not config.allow_bad_setup:
        raise errors.ConfigError(f'{found[0]}; allow_bad_setup=True only warns')


def _check_lone_samples(config, parts):
    """Refuse what compares samples where each part has but one."""
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
                f'{key}={values[key]} compares samples, and batch_size='
                f'{config.batch_size} in {parts} parts (devices x '
                'num_microbatches) leaves one in each'
            )


def _check_keys(config):
    known = set(defaults.flatten(defaults.default_config()))
    given = set(defaults.flatten(config))
    for key in sorted(given - known):
        raise errors.ConfigError(
            f'{key} is not a config key{errors.nearest(key, known)}'
        )
    for key in sorted(known - given):
        raise errors.ConfigError(f'config key {key} is missing')


def _check_texts(config):
    """Refuse texts that say nothing."""
    defaults.image_size(config)
    defaults.background(config)
    defaults.classes(config)
    for name in defaults.eval_metrics(config):
        if name not in registry.MEASURES:
            raise errors.ConfigError(
                errors.unknown_name('eval_metrics', name, registry.MEASURES)
            )
    name = config.data.name
    complaint = '' if name in mixtures.MIXTURES else sources.explain(name)
    if complaint and not config.data.path:
        near = errors.nearest(name, mixtures.MIXTURES)
        raise errors.ConfigError(f'{complaint}{near}')


def _check_counts(config):
    """Refuse numbers that are too large or too small beside others."""
    for side in ('real', 'fake'):
        low, high = (config.labels[f'{side}_{end}'] for end in ('low', 'high'))
        if high < low:
            raise errors.ConfigError(
                f'labels.{side}_high={high} is not at least labels.{side}_low='
                f'{low}'
            )
    fakes = defaults.images_per_batch(config)
    batches = config.num_steps * max(config.d_steps, config.g_steps)
    for key, many, what in (
        ('batch_size', fakes, f'with packing={config.packing} images'),
        ('num_steps', batches, f'with d_steps={config.d_steps} and g_steps='
         f'{config.g_steps} batches'),
    ):
        if many > options.INT32:
            raise errors.ConfigError(
                f'{key}={config[key]} {what} are {many:,}, more than a 32-bit '
                'number counts'
            )
    if 0 < config.history.size < fakes:
        raise errors.ConfigError(
            f'history.size={config.history.size} is under the {fakes} '
            'fakes of an update; take as many or more'
        )
    height, width = defaults.image_size(config) or (1, 1)
    size, memory = fakes * height * width, parallel.machine_memory()
    if size > memory:  # already as bytes of one channel
        raise errors.ConfigError(
            f'batch_size={config.batch_size} (packing={config.packing}) of '
            f'{height}x{width} pixels takes {size / 2**30:,.0f} GiB, and there '
            f'are {memory / 2**30:,.1f}'
        )


def _check_game(config, points):
    """Refuse parts that do not go together, with the reason."""
    loss = losses.LOSSES[config.loss.name]
    pair = networks.NETWORKS[defaults.discriminator_name(config)]
    if loss.energies != pair.energies:
        fits = sorted(
            name for name, pair in networks.NETWORKS.items()
            if (pair.energies == loss.energies
                or loss.energies and pair.autoencoder)
        )
        raise errors.ConfigError(
            f'loss.name={config.loss.name!r} needs '
            f'{"an autoencoder" if loss.energies else "logits"} of the '
            f'discriminator, one of {fits}, and '
            f'discriminator.name={config.discriminator.name!r} is none'
        )
    _check_reconstruction(config, points)
    _check_rates(config)
    _check_sights(config, points)
    _check_condition(config)
    for name in defaults.active_penalties(config):
        _check_penalty(config, name, points)


def _check_penalty(config, name, points):
    """Refuse a penalty beside data or layers that spoil it."""
    penalty = penalties.PENALTIES[name]
    if penalty.images and points:
        raise errors.ConfigError(
            f'penalties.{name} changes images, and '
            f'{defaults.source(config)!r} has points'
        )
    if not penalty.input_gradient:
        return
    if config.discriminator.norm == 'batch':
        raise errors.ConfigError(
            f'penalties.{name} takes the gradient at single images, '
            "which discriminator.norm='batch' mixes; choose 'none', "
            "'layer', 'instance' or 'group'"
        )
    for key in ('minibatch_features', 'minibatch_stddev'):
        if config.discriminator[key]:
            raise errors.ConfigError(
                f'penalties.{name} takes the gradient at single '
                f'images, which discriminator.{key} mixes'
            )


def _check_reconstruction(config, points):
    """Refuse what an autoencoder or a decoder cannot be trained on."""
    name = config.algorithm
    if name not in reconstruction.KINDS:
        if config.latent == 'fitted':
            raise errors.ConfigError(
                "latent='fitted' is to the codes of an autoencoder, and "
                f'algorithm={name!r} has none'
            )
        return
    latents_of = reconstruction.LATENTS[name]
    if config.latent not in latents_of:
        raise errors.ConfigError(
            f'latent={config.latent!r} has no meaning with algorithm='
            f'{name!r}; {list(latents_of)} have'
        )
    if name == 'glo' and (
            defaults.has_mixture(config) or config.data.feed == 'streaming'):
        raise errors.ConfigError(
            "algorithm='glo' has a code for each image of a resident set; "
            f'data.name={config.data.name!r} with data.feed='
            f'{config.data.feed!r} is none'
        )
    if name == 'glo' and config.data.flip:
        raise errors.ConfigError(
            "data.flip=True would give an image and its mirror image one code "
            "of algorithm='glo'; False"
        )
    if name == 'pose_decoder' and points:
        raise errors.ConfigError(
            "algorithm='pose_decoder' turns images, and "
            f'{defaults.source(config)!r} has points'
        )
    encoded = name in reconstruction.ENCODED
    if encoded and defaults.encoder(config) is None:
        fits = [n for n, pair in networks.NETWORKS.items() if pair.encoder]
        raise errors.ConfigError(
            f'discriminator.name={config.discriminator.name!r} has no encoder '
            f'for algorithm={name!r}; {sorted(fits)} have'
        )


def _check_rates(config):
    """Refuse a schedule that lacks the numbers that it goes by."""
    for player in ('g_optimizer', 'd_optimizer'):
        chosen = config[player]
        if chosen.schedule != 'constant' and not chosen.schedule_steps:
            raise errors.ConfigError(
                f'{player}.schedule={chosen.schedule!r} needs '
                f'{player}.schedule_steps, the step at which it reaches 0'
            )
    schedule = config.schedule
    if schedule.name == 'wgan' and schedule.burst_steps % config.d_steps:
        raise errors.ConfigError(
            f'schedule.burst_steps={schedule.burst_steps} is not a multiple of '
            f'd_steps={config.d_steps}'
        )
    if config.on_collapse == 'restart' and not config.max_restarts:
        raise errors.ConfigError(
            "on_collapse='restart' with max_restarts=0 never does; 'stop' does "
            'not begin anew'
        )


def _check_sights(config, points):
    """Refuse what D cannot be shown."""
    augmentations = defaults.active_augmentations(config)
    if augmentations and points:
        raise errors.ConfigError(
            f'augment.{augmentations[0]} changes images, and '
            f'{defaults.source(config)!r} has points'
        )
    if config.augment.adaptive and not augmentations:
        every = [f'augment.{name}' for name in sorted(augment.AUGMENTATIONS)]
        raise errors.ConfigError(
            f'augment.adaptive=True has nothing to adapt; set one of {every}'
        )
    if config.augment.adaptive and losses.LOSSES[config.loss.name].energies:
        raise errors.ConfigError(
            'augment.adaptive=True follows the sign of D, and '
            f'loss.name={config.loss.name!r} has energies, never below 0'
        )


def _check_condition(config):
    """Refuse classes that one player alone would know of."""
    told = {p: config[p].condition for p in ('generator', 'discriminator')}
    classes = [
        name for name in defaults.active_penalties(config)
        if penalties.PENALTIES[name].classes
    ]
    auxiliary = told['discriminator'] == 'auxiliary'
    if (told['generator'] == 'none') != (told['discriminator'] == 'none'):
        raise errors.ConfigError(
            f"generator.condition={told['generator']!r} and "
            f"discriminator.condition={told['discriminator']!r}: both or "
            'neither must be told the class'
        )
    if classes and not auxiliary:
        raise errors.ConfigError(
            f'penalties.{classes[0]} needs '
            "discriminator.condition='auxiliary', not "
            f"{told['discriminator']!r}"
        )
    if auxiliary and len(classes) < 2:
        raise errors.ConfigError(
            "discriminator.condition='auxiliary' learns the classes by "
            'penalties.d_classification.weight and g_classification.weight;'
            ' set both, 1 in the paper'
        )
