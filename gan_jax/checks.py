"""What a config may hold: every value in bounds, parts that fit together."""

import math

import numpy as np

from gan_jax import augment
from gan_jax import config as config_lib
from gan_jax import diagnose
from gan_jax import errors
from gan_jax import losses
from gan_jax import measures
from gan_jax import mixtures
from gan_jax import networks
from gan_jax import reconstructions
from gan_jax import regularizers
from gan_jax import schedules
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.features import extractors
from gan_jax.metrics import costs
from gan_jax.networks import activations
from gan_jax.networks import autoencoder
from gan_jax.networks import conditioning
from gan_jax.networks import layers
from gan_jax.networks import resampling
from gan_jax.steps import adversarial
from gan_jax.steps import baselines
from gan_jax.steps import game
from gan_jax.steps import latents

DTYPES = ('bfloat16', 'float32')
FEEDS = ('auto', 'resident', 'streaming')
ON_COLLAPSE = ('restart', 'stop', 'warn')
ON_NAN = ('rollback', 'stop')
OPTIMIZERS = ('adam', 'rmsprop', 'sgd')


def validate(config, num_devices=1, points=None):
    """Check every value that its type does not hold in bounds.

    Args:
        config: ConfigDict with the keys of `config.default_config`.
        num_devices: devices, over all hosts, that share the batch.
        points: whether the data are points and not images; by default as far
            as `config.has_points` can tell.

    Raises:
        errors.ConfigError: naming the first bad key, its value and what is
            allowed, or why the parts cannot work together.
    """
    _check_keys(config)
    _check_numbers(config)
    _check_names(config)
    if points is None:
        points = config_lib.has_points(config)
    for name in config_lib.eval_metrics(config):
        if name not in measures.MEASURES:
            raise errors.ConfigError(
                errors.unknown_name('eval_metrics', name, measures.MEASURES)
            )
    if config.keep_best and not config.eval_every:
        raise errors.ConfigError(
            f'keep_best={config.keep_best!r} needs eval_every, the steps '
            'between measured samples; it is 0'
        )
    _check_data(config, points)
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


def complaints(config, points=None):
    """Say, from the names alone, why a setup that runs cannot work.

    Args:
        config: ConfigDict with known names.
        points: as of `validate`.

    Returns:
        List of lines: key, value, reason, what is allowed.
    """
    if points is None:
        points = config_lib.has_points(config)
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
        'regularizers.pulling_away.weight': 0.0,
    }
    values = config_lib.flatten(config)
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
    known = set(config_lib.flatten(config_lib.default_config()))
    given = set(config_lib.flatten(config))
    for key in sorted(given - known):
        raise errors.ConfigError(
            f'{key} is not a config key{errors.nearest(key, known)}'
        )
    for key in sorted(known - given):
        raise errors.ConfigError(f'config key {key} is missing')


def _check_numbers(config):
    values = config_lib.flatten(config)

    def need(key, holds, allowed):
        if not holds(values[key]):  # a NaN holds nowhere
            raise errors.ConfigError(f'{key}={values[key]} is not {allowed}')

    counts = ['num_steps', 'batch_size', 'num_microbatches', 'latent_size']
    counts += ['d_steps', 'g_steps', 'keep_checkpoints']
    counts += ['packing', 'population', 'augment.adaptive_images']
    counts += ['discriminator.code_size', 'data.modes', 'data.dimension']
    counts += [f'schedule.{n}' for n in ('unroll_steps', 'burst_steps')]
    counts += [key for key in values if key.endswith('.every')]
    for player in ('generator', 'discriminator'):
        counts += [f'{player}.width', f'{player}.depth']
        need(f'{player}.attention', lambda v: v >= 0, 'a side (0 is off)')
        need(f'{player}.dropout', lambda v: 0 <= v < 1, 'in [0, 1)')
        need(f'{player}.leak', lambda v: 0 <= v <= 1, 'in [0, 1]')
        key = f'{player}.init_std'
        need(key, lambda v: 0 <= v < float('inf'), '0 (off) or positive')
        need(f'{player}.norm_momentum', lambda v: 0 <= v < 1, 'in [0, 1)')
        need(
            f'{player}.maxout', lambda v: v == 0 or v >= 2,
            '0 (off) or at least 2, as one piece is linear',
        )
        key = f'{player}.kernel_size'
        need(key, lambda v: 2 <= v, 'at least 2')
    for key in counts:
        need(key, lambda v: v > 0, 'a positive number')
    need('schedule.burst_first', lambda v: v >= 0, 'a number of steps')
    for key in ('schedule.d_threshold', 'schedule.g_threshold'):
        need(key, math.isfinite, 'a finite number')
    for key in values:
        if key.endswith('_every'):
            need(key, lambda v: v >= 0, 'a number of steps (0 is off)')
        if key.endswith('.clip_norm'):
            need(key, lambda v: 0 <= v < float('inf'), '0 (off) or positive')
        if key.endswith(('.schedule_steps', '.warmup_steps')):
            need(key, lambda v: v >= 0, 'a number of steps (0 is none)')
        if key.endswith('learning_rate'):
            need(key, lambda v: 0 < v < float('inf'), 'a positive rate')
        if key.endswith(('.b1', '.b2', '.momentum', '.decay')):
            need(key, lambda v: 0 <= v < 1, 'in [0, 1)')
    need(
        'instance_noise.std', lambda v: 0 <= v < float('inf'), '0 or positive'
    )
    need(
        'instance_noise.decay_steps', lambda v: v >= 0,
        'a number of steps (0 never falls)',
    )
    for key in values:
        if key == 'clip_weights' or (
                key.startswith('regularizers.') and key.endswith('.weight')):
            need(key, lambda v: 0 <= v < float('inf'), '0 or positive')
        if key.startswith('labels.') or key.startswith('loss.'):
            if key != 'loss.name':
                need(key, math.isfinite, 'a finite number')
    shares = ['labels.flip_probability', 'loss.gamma', 'history.share']
    for key in [*shares, 'augment.probability']:
        need(key, lambda v: 0 <= v <= 1, 'in [0, 1]')
    need('eval_samples', lambda v: v >= 16, 'at least 16')
    need('data.limit', lambda v: v >= 0, '0 (all) or positive')
    need('data.max_bad', lambda v: 0 <= v <= 1, 'in [0, 1]')
    need('data.test_share', lambda v: 0 <= v < 1, 'in [0, 1)')
    need('data.resident_share', lambda v: 0 < v <= 1, 'in (0, 1]')
    need('augment.target', lambda v: -1 <= v <= 1, 'in [-1, 1]')
    sizes = ['ema_half_life', 'history.size', 'snapshots.count']
    for key in [*sizes, 'discriminator.minibatch_features']:
        need(key, lambda v: v >= 0, '0 (off) or positive')
    for side in ('real', 'fake'):
        low = values[f'labels.{side}_low']
        need(
            f'labels.{side}_high', lambda v: low <= v,
            f'at least labels.{side}_low={low}',
        )
    for name in diagnose.THRESHOLDS:
        key = f'diagnosis.{name}'
        need(key, lambda v: 0 <= v < float('inf'), '0 or positive')
    need('diagnosis.window', lambda v: v > 0, 'a positive number')
    need('max_restarts', lambda v: v >= 0, '0 or positive')
    need('loss.margin', lambda v: v > 0, 'positive')
    need('baseline.beta', lambda v: 0 <= v < float('inf'), '0 or positive')
    need('baseline.angle', lambda v: 0 <= v <= math.pi, 'in [0, pi]')
    need('baseline.scale', lambda v: 0 <= v < 1, 'in [0, 1)')
    for key in ('baseline.delta', 'baseline.std'):
        need(key, lambda v: 0 < v < float('inf'), 'positive')
    need('loss.k_rate', lambda v: v > 0, 'positive')
    need('ema_decay', lambda v: 0 <= v <= 1, 'in [0, 1]')
    need('seed', lambda v: 0 <= v < 2**63, 'in [0, 2^63)')


def _check_names(config):
    choices = {
        'dtype': DTYPES,
        'baseline.name': ('', *baselines.BASELINES),
        'baseline.reconstruction': reconstructions.RECONSTRUCTIONS,
        'latent': latents.LATENTS,
        'loss.name': losses.LOSSES,
        'schedule.name': adversarial.SCHEDULES,
        'data.crop': pictures.CROPS,
        'data.feed': FEEDS,
        'eval_features': extractors.EXTRACTORS,
        'keep_best': ('', *costs.COSTS),
        'on_collapse': ON_COLLAPSE,
        'on_nan': ON_NAN,
        'generator.name': [
            name for name, pair in networks.NETWORKS.items() if pair.generator
        ],
        'discriminator.name': networks.NETWORKS,
        'generator.condition': conditioning.GENERATOR_CONDITIONS,
        'discriminator.condition': conditioning.DISCRIMINATOR_CONDITIONS,
        'discriminator.energy': autoencoder.ENERGIES,
        'generator.output': activations.OUTPUTS,
        'generator.upsampling': resampling.UPSAMPLINGS,
        'discriminator.downsampling': resampling.DOWNSAMPLINGS,
    }
    for player in ('generator', 'discriminator'):
        choices[f'{player}.norm'] = layers.NORMS
    for optimizer in ('g_optimizer', 'd_optimizer'):
        choices[f'{optimizer}.name'] = OPTIMIZERS
        choices[f'{optimizer}.schedule'] = schedules.SCHEDULES
    values = config_lib.flatten(config)
    for key, names in choices.items():
        if values[key] not in names:
            raise errors.ConfigError(
                errors.unknown_name(key, values[key], names)
            )


def _check_data(config, points):
    """Refuse data that no source has, and what it cannot be made to be."""
    name = config.data.name
    complaint = '' if name in mixtures.MIXTURES else sources.explain(name)
    if complaint and not config.data.path:
        near = errors.nearest(name, mixtures.MIXTURES)
        raise errors.ConfigError(f'{complaint}{near}')
    config_lib.image_size(config)
    config_lib.background(config)
    if config.data.channels not in (0, *pictures.CHANNELS):
        raise errors.ConfigError(
            f'data.channels={config.data.channels} is not one of '
            f'{[0, *pictures.CHANNELS]} (0 is as the data are)'
        )
    for key in ('flip', 'dequantize'):
        if points and config.data[key]:
            raise errors.ConfigError(
                f'data.{key} changes images, and '
                f'{config_lib.source(config)!r} has points'
            )


def _check_game(config, points):
    """Refuse parts that do not go together, with the reason."""
    loss = losses.LOSSES[config.loss.name]
    if config_lib.treats_labels(config) and not loss.takes_targets:
        takes = sorted(n for n, l in losses.LOSSES.items() if l.takes_targets)
        raise errors.ConfigError(
            f'labels.* has no meaning for loss.name={config.loss.name!r}, '
            f'which has no targets; {takes} have'
        )
    pair = networks.NETWORKS[config_lib.discriminator_name(config)]
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
    _check_options(config)
    _check_baseline(config, points)
    _check_schedule(config)
    _check_sights(config, points)
    _check_condition(config)
    _check_networks(config)
    for player in ('g_optimizer', 'd_optimizer'):
        options = config[player]
        if options.schedule != 'constant' and not options.schedule_steps:
            raise errors.ConfigError(
                f'{player}.schedule={options.schedule!r} needs '
                f'{player}.schedule_steps, the step at which it reaches 0'
            )
    for name in config_lib.active_regularizers(config):
        if name.startswith('consistency') and points:
            raise errors.ConfigError(
                f'regularizers.{name} shifts images, and '
                f'{config_lib.source(config)!r} has points'
            )
        if (regularizers.REGULARIZERS[name].input_gradient
                and config.discriminator.norm == 'batch'):
            raise errors.ConfigError(
                f'regularizers.{name} takes the gradient at single images, '
                "which discriminator.norm='batch' mixes; choose 'none', "
                "'layer', 'instance' or 'group'"
            )


def _check_options(config):
    """Refuse an option that the thing of this name does not have."""
    options = {
        'loss': {
            name: [option.name for option in loss.options]
            for name, loss in losses.LOSSES.items()
        },
        'data': mixtures.OPTIONS,
        'baseline': baselines.OPTIONS,
    }
    defaults = config_lib.default_config()
    for group, by_name in options.items():
        name = config[group].name
        for key in sorted(set().union(*by_name.values())):
            has = sorted(n for n, keys in by_name.items() if key in keys)
            if config[group][key] != defaults[group][key] and name not in has:
                raise errors.ConfigError(
                    f'{group}.{key}={config[group][key]} is an option of '
                    f'{group}.name={" or ".join(map(repr, has))}, not of '
                    f'{name!r}'
                )


# What a baseline has no use for: there is no judge, and one update a step.
OF_A_GAME = (
    'augment.', 'clip_weights', 'd_steps', 'discriminator.condition', 'g_steps',
    'generator.condition', 'history.size', 'instance_noise.std', 'labels.',
    'loss.', 'packing', 'regularizers.', 'schedule.name', 'share_fakes',
    'together',
)


def _check_baseline(config, points):
    """Refuse what belongs to a game beside a baseline, and the reverse."""
    baseline = config.baseline
    defaults = config_lib.flatten(config_lib.default_config())
    values = config_lib.flatten(config)
    if not baseline.name:
        if config.latent == 'fitted':
            raise errors.ConfigError(
                "latent='fitted' is to the codes of a baseline, and "
                "baseline.name='' is a GAN"
            )
        return
    for key, value in values.items():
        if key.startswith(OF_A_GAME) and value != defaults[key]:
            raise errors.ConfigError(
                f'{key}={value} belongs to a game, and baseline.name='
                f'{baseline.name!r} has none; {defaults[key]!r} leaves it out'
            )
    latents_of = ['gaussian']
    if baseline.name != 'given':
        latents_of.append('fitted')
    if config.latent not in latents_of:
        raise errors.ConfigError(
            f'latent={config.latent!r} has no meaning with baseline.name='
            f'{baseline.name!r}; {latents_of} have'
        )
    if (baseline.delta != defaults['baseline.delta']
            and baseline.reconstruction != 'huber'):
        raise errors.ConfigError(
            f'baseline.delta={baseline.delta} is an option of '
            "baseline.reconstruction='huber', not of "
            f'{baseline.reconstruction!r}'
        )
    if baseline.name == 'glo' and (
            config_lib.has_mixture(config) or config.data.feed == 'streaming'):
        raise errors.ConfigError(
            "baseline.name='glo' has a code for each image of a resident set; "
            f'data.name={config.data.name!r} with data.feed='
            f'{config.data.feed!r} is none'
        )
    if baseline.name == 'glo' and config.data.flip:
        raise errors.ConfigError(
            "data.flip=True would give an image and its mirror image one code "
            "of baseline.name='glo'; False"
        )
    if baseline.name == 'given' and points:
        raise errors.ConfigError(
            "baseline.name='given' turns images, and "
            f'{config_lib.source(config)!r} has points'
        )
    if baseline.name in game.ENCODED and config_lib.encoder(config) is None:
        fits = [n for n, pair in networks.NETWORKS.items() if pair.encoder]
        raise errors.ConfigError(
            f'discriminator.name={config.discriminator.name!r} has no encoder '
            f'for baseline.name={baseline.name!r}; {sorted(fits)} have'
        )


def _check_sights(config, points):
    """Refuse what D cannot be shown."""
    augmentations = config_lib.active_augmentations(config)
    if augmentations and points:
        raise errors.ConfigError(
            f'augment.{augmentations[0]} changes images, and '
            f'{config_lib.source(config)!r} has points'
        )
    if config.augment.adaptive and not augmentations:
        raise errors.ConfigError(
            'augment.adaptive=True has nothing to adapt; set one of '
            f'{[f"augment.{name}" for name in sorted(augment.AUGMENTATIONS)]}'
        )
    if config.augment.adaptive and losses.LOSSES[config.loss.name].energies:
        raise errors.ConfigError(
            'augment.adaptive=True follows the sign of D, and '
            f'loss.name={config.loss.name!r} has energies, never below 0'
        )
    fakes = config_lib.images_per_batch(config)
    if config.history.size:
        if config.history.size < fakes:
            raise errors.ConfigError(
                f'history.size={config.history.size} is under the {fakes} '
                'fakes of an update; take as many or more'
            )
        if config.num_microbatches > 1:
            raise errors.ConfigError(
                'history.size is for whole batches; num_microbatches='
                f'{config.num_microbatches} is not 1'
            )


def _check_networks(config):
    """Refuse what a network does not have, and penalties on mixed samples."""
    defaults = config_lib.default_config()
    for player in ('generator', 'discriminator'):
        name = config[player].name
        if player == 'discriminator':
            name = config_lib.discriminator_name(config)
        module = getattr(networks.NETWORKS[name], player)
        if player == 'discriminator' and config.baseline.name:
            module = config_lib.encoder(config) or module
        for key, value in config[player].items():
            everywhere = key in ('name', 'width', 'depth', 'kernel_size')
            if (key not in module.__dataclass_fields__ and not everywhere
                    and value != defaults[player][key]):
                raise errors.ConfigError(
                    f'{player}.{key}={value!r} is not for '
                    f'{player}.name={name!r}, which has none'
                )
        _check_maxout(config, player)
    for key in ('minibatch_features', 'minibatch_stddev'):
        for name in config_lib.active_regularizers(config):
            if (config.discriminator[key]
                    and regularizers.REGULARIZERS[name].input_gradient):
                raise errors.ConfigError(
                    f'regularizers.{name} takes the gradient at single '
                    f'images, which discriminator.{key} mixes'
                )


def _check_maxout(config, player):
    """Refuse a slope beside the maximum that takes its place."""
    default = config_lib.default_config()[player]
    options = config[player]
    for key in ('leak', 'prelu'):
        if options.maxout and options[key] != default[key]:
            raise errors.ConfigError(
                f'{player}.{key}={options[key]} is a slope, and with '
                f'{player}.maxout={options.maxout} a maximum is in its place'
            )


def _check_condition(config):
    """Refuse classes that one player alone would know of."""
    told = {p: config[p].condition for p in ('generator', 'discriminator')}
    classes = [
        name for name in config_lib.active_regularizers(config)
        if regularizers.REGULARIZERS[name].classes
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
            f'regularizers.{classes[0]} needs '
            "discriminator.condition='auxiliary', not "
            f"{told['discriminator']!r}"
        )
    if auxiliary and len(classes) < 2:
        raise errors.ConfigError(
            "discriminator.condition='auxiliary' learns the classes by "
            'regularizers.d_classification.weight and g_classification.weight;'
            ' set both, 1 in the paper'
        )
    if config_lib.is_conditional(config):
        values = config_lib.flatten(config)
        for key, off in (('packing', 1), ('history.size', 0)):
            if values[key] != off:
                raise errors.ConfigError(
                    f'{key}={values[key]} has no classes: with a condition it '
                    f'must be {off}'
                )


def _check_shared(config):
    """Refuse fakes for both players where one of them needs others."""
    values = config_lib.flatten(config)
    for key, asked in (
        ('d_steps', 1), ('g_steps', 1), ('num_microbatches', 1),
        ('generator.dropout', 0),
    ):
        if values[key] != asked:
            raise errors.ConfigError(
                'share_fakes=True is for one batch of fakes in a step; with it '
                f'{key}={values[key]} must be {asked}'
            )
    if config.schedule.name == 'adaptive':
        raise errors.ConfigError(
            'share_fakes=True is for steps in which both players move, and '
            "with schedule.name='adaptive' either may not"
        )


def _check_schedule(config):
    """Refuse a schedule that the other keys contradict."""
    schedule = config.schedule
    if schedule.name == 'unrolled' and config.num_microbatches > 1:
        raise errors.ConfigError(
            "schedule.name='unrolled' differentiates through D's updates on "
            f'whole batches; num_microbatches={config.num_microbatches} is not '
            '1'
        )
    if schedule.name == 'unrolled' and config.d_optimizer.clip_norm:
        raise errors.ConfigError(
            "schedule.name='unrolled' differentiates through D's optimizer, "
            'and the norm that d_optimizer.clip_norm divides by has no '
            'gradient at 0; set it to 0'
        )
    if config.share_fakes:
        _check_shared(config)
    if schedule.name == 'wgan' and schedule.burst_steps % config.d_steps:
        raise errors.ConfigError(
            f'schedule.burst_steps={schedule.burst_steps} is not a multiple of '
            f'd_steps={config.d_steps}'
        )
