"""Keys of a config that have no effect, found from the config alone."""

import os

from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.config import key_table
from gan_jax.core import options
from gan_jax import networks
from gan_jax.objectives import losses

# Keys of `data` for images alone.
IMAGE_KEYS = (
    'background', 'channels', 'crop', 'dequantize', 'flip', 'image_size',
    'random_crop', 'side', 'task',
)
# For folders of .npy files alone.
FIELD_KEYS = ('range', 'shown')
# For pictures alone, not for .npy files.
PICTURE_KEYS = (
    'background', 'channels', 'crop', 'dequantize', 'image_size', 'max_bad',
    'side', 'task',
)
# For data from files alone.
FILE_KEYS = (
    'classes', 'data_dir', 'feed', 'limit', 'max_bad', 'resident_share',
    'split', 'test_share',
)


def find(config, points=None):
    """Find the keys that have no effect and are not at their defaults.

    Args:
        config: ConfigDict with values in bounds.
        points: as of `validation.validate`.

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
            or not_in_network(config, key)
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
            left unchanged; `validation` reports them.
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
            key: line for key, line in find(config).items()
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


def not_in_network(config, key):
    """Return why an option that a network does not have has no effect."""
    player, _, field = key.partition('.')
    if player not in defaults.PLAYERS or field == 'name':
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


def _not_for_source(name, source):
    """Return why a key of `data` has no effect on a source, or ''."""
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
    return ''


def _not_for_data(config, key, points):
    """Return why a key of `data` has no effect on these data, or ''."""
    group, _, name = key.partition('.')
    if group != 'data':
        return ''
    # The source is searched in the file system, so only where a key needs it.
    if name in ('data_dir', *FIELD_KEYS, *PICTURE_KEYS):
        reason = _not_for_source(name, defaults.source(config))
        if reason:
            return reason
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
