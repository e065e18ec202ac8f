"""Checks that loss, networks, penalties and data fit each other."""

from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax import networks
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.ops import augment


def check(config, points):
    """Check a config whose single values are in bounds.

    Args:
        config: ConfigDict of one source.
        points: whether the data are points and not images.

    Raises:
        errors.ConfigError: naming the keys that do not fit.
    """
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
            unused_keys.not_in_network(config, 'discriminator.norm')):
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
    _check_latent(config, reconstruction.LATENTS[name])
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


def _check_latent(config, allowed):
    """Check the distribution of z of an autoencoder."""
    if config.latent not in allowed:
        raise errors.ConfigError(
            f'latent={config.latent!r} has no meaning with algorithm='
            f'{config.algorithm!r}; use one of {list(allowed)}'
        )


def _check_families(config):
    """Check that the networks are of those that the algorithm can have."""
    name = config.algorithm
    for player in defaults.PLAYERS:
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
    _check_latent(config, adversarial_autoencoder.KINDS[name].latents)
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
            f'loss.name={config.loss.name!r} keeps a memory between updates, '
            f'which algorithm={name!r} does not support'
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
    generator, discriminator = (config[p].condition for p in defaults.PLAYERS)
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
