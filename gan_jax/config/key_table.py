"""Table of all config keys: default, description, bounds, dependencies.

Losses, schedules, optimizers and data sources declare their own options; `keys`
merges these with the table. Knows nothing of a config's values.
"""

from gan_jax.algorithms import adversarial_autoencoder
from gan_jax.algorithms import update_order
from gan_jax.algorithms import latents
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.core import options
from gan_jax.data import pictures
from gan_jax.data import tasks
from gan_jax.diagnosis import rules
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax import networks
from gan_jax.networks import activations
from gan_jax.networks import autoencoder
from gan_jax.networks import conditioning
from gan_jax.networks import layers
from gan_jax.networks import resampling
from gan_jax.objectives import losses
from gan_jax.objectives import reconstructions
from gan_jax.objectives import penalties
from gan_jax.ops import augment
from gan_jax.ops import mixtures
from gan_jax.ops import optimizers
from gan_jax.ops import schedules
from gan_jax.runtime import loggers

Option, needs = options.Option, options.needs

DTYPES = ('bfloat16', 'float32')
FEEDS = ('auto', 'resident', 'streaming')
ON_COLLAPSE = ('restart', 'stop', 'warn')
ON_NAN = ('rollback', 'stop')

_ANY, _COUNT, _STEPS = options.ANY, options.COUNT, options.STEPS
_SHARE, _FINITE = options.SHARE, options.FINITE
_UPDATES = options.count(most=update_order.MAX_UPDATES)
_OFF_OR_COUNT = options.count(off=True)
_IS_1, _IS_0 = options.equal(1), options.equal(0)
_ONE_BATCH = 'requires a single batch of fakes per step'
_REUSE_DEMANDS = tuple(  # of `reuse_fakes`
    options.Demand(options.ON, key, bounds, reason)
    for key, bounds, reason in (
        ('d_steps', _IS_1, _ONE_BATCH), ('g_steps', _IS_1, _ONE_BATCH),
        ('num_microbatches', _IS_1, _ONE_BATCH),
        ('generator.dropout', _IS_0, _ONE_BATCH),
        ('schedule.name', options.Bounds(
            lambda v: v != 'adaptive', 'one that updates both players'
        ), 'requires that each step updates both players'),
    )
)
_CYCLE = needs('algorithm', bounds=options.equal('cyclegan'))
_ANNEAL = needs('anneal.images')
_CONDITIONAL = options.Bounds(lambda v: v != 'none', "other than 'none'")
_RECONSTRUCTIONS = ', '.join(sorted(reconstruction.KINDS))
_AUTOENCODERS = ', '.join(sorted(adversarial_autoencoder.KINDS))
_TRANSLATIONS = ', '.join(sorted(translation.KINDS))
_AUGMENTED = tuple(f'augment.{name}' for name in sorted(augment.AUGMENTATIONS))

# Name, default, description, bounds, and the needs without which the option
# has no effect.
KEYS = (
    Option('seed', 0, 'random seed of weights, noise and data order',
           options.Bounds(lambda v: 0 <= v < 2**63, 'in [0, 2^63)')),
    Option('num_steps', 2000,
           'training steps, each of d_steps and g_steps updates', _COUNT),
    Option('batch_size', 64, 'real images per update, summed over devices',
           _COUNT),
    Option('num_microbatches', 1,
           'parts of a batch; their gradients are averaged', _COUNT),
    Option('d_steps', 1, 'discriminator updates per step', _UPDATES),
    Option('g_steps', 1, 'generator updates per step', _UPDATES),
    Option('algorithm', 'adversarial',
           f'adversarial; between two domains: {_TRANSLATIONS}; with an '
           f'encoder: {_AUTOENCODERS}; or without a discriminator: '
           f'{_RECONSTRUCTIONS}', _ANY),
    Option('dtype', 'float32', 'type of computations; parameters are float32',
           DTYPES),
    Option('latent', 'gaussian',
           'distribution of the latent vector z', latents.LATENTS),
    Option('latent_size', 100,
           'length of the latent vector z, or of the code at each position',
           options.count(most=2**16)),
    Option('ema_decay', 0.999,
           'decay per update of G of the moving average of its weights',
           _SHARE, needs('ema_half_life', bounds=options.OFF)
           + needs('anneal.ema_half_life', bounds=options.OFF)),
    Option('ema_half_life', 0,
           'half-life of that average in images; 0 uses ema_decay',
           _OFF_OR_COUNT),
    Option('ema_ramp', 0.0,
           'largest half-life as a share of the images so far (StyleGAN2: '
           '0.05); 0 is off', _SHARE,
           needs('ema_half_life', 'anneal.ema_half_life')),
    Option('joint_batch', False,
           'D sees real and fake images in one batch; affects BatchNorm',
           _ANY),
    Option('reuse_fakes', False,
           'G is updated on the same fakes as D', _ANY,
           demands=_REUSE_DEMANDS),
    Option('fresh_reals', False,
           'G is updated on real images that D has not seen in the same step',
           _ANY, demands=(options.Demand(
               options.ON, 'reuse_fakes', options.OFF,
               'takes labels of other images than the fakes'
           ),)),
    Option('population', 1,
           'GANs trained at once, with seeds `seed`, `seed` + 1, ...',
           _COUNT),
    Option('packing', 1, 'samples that D classifies jointly (PacGAN)',
           options.count(most=64)),

    # Fine-tuning: where a run starts, and what it leaves as it is.
    Option('init_from', '',
           'folder of a release or a run, or hf://OWNER/NAME, whose networks '
           'the run starts from', _ANY, demands=(options.Demand(
               options.ON, 'population', _IS_1, 'starts a single GAN'
           ),)),
    Option('init_players', '',
           "networks to take, such as 'generator'; '' is all", _ANY,
           needs('init_from')),
    Option('init_resume', False,
           'go on from its step, with its optimizers and memory; else from '
           'step 0 with new ones', _ANY, needs('init_from'),
           demands=(options.Demand(
               options.ON, 'init_players', options.OFF,
               'takes the whole state'
           ),)),
    Option('freeze', '',
           "layers that do not move, such as 'discriminator/Conv_0'; "
           'configs/RELEASES.md', _ANY),

    # Values that move from the first, those of other keys, to the last.
    Option('anneal.images', 0,
           'images, one batch a step, in which a cosine moves the others; 0 is '
           'off', options.Bounds(
               lambda v: 0 <= v < 2**53, '0 (off) or positive, below 2^53'
           )),
    Option('anneal.learning_rate', 1.0,
           'last share of both learning rates', options.NOT_NEGATIVE, _ANNEAL),
    Option('anneal.penalties', 1.0, 'last share of the weight of each penalty',
           options.NOT_NEGATIVE, _ANNEAL),
    Option('anneal.b2', 0.0, 'last b2 of Adam, of both players; 0 keeps it',
           options.BELOW_1, _ANNEAL, demands=tuple(
               options.Demand(
                   options.ON, f'{player}.name', options.equal('adam'),
                   'is of Adam'
               ) for player in ('d_optimizer', 'g_optimizer')
           )),
    Option('anneal.ema_half_life', 0,
           'last ema_half_life, whose first value may be 0; 0 keeps it',
           _OFF_OR_COUNT, _ANNEAL),
    Option('anneal.augment', 0.0,
           'last augment.probability; 0 keeps it', _SHARE,
           _ANNEAL + needs(*_AUGMENTED)
           + needs('augment.adaptive', bounds=options.OFF)),

    # Plain average of past generators, beside the moving average.
    Option('snapshots.count', 0,
           'number of latest generators to average; 0 is off',
           _OFF_OR_COUNT),
    Option('snapshots.every', 100, 'steps between snapshots', _COUNT,
           needs('snapshots.count')),

    # Replay of earlier fakes to D.
    Option('history.size', 0,
           'earlier fakes kept for replay; 0 is off', _OFF_OR_COUNT,
           demands=(
               options.Demand(
                   options.ON, 'num_microbatches', _IS_1,
                   'requires undivided batches'
               ),
               options.Demand(
                   options.ON, 'penalties.latent_consistency_discriminator'
                   '.weight', _IS_0, 'shows fakes whose z is not known'
               ),
           )),
    Option('history.share', 0.5, 'probability that D sees an earlier fake',
           _SHARE, needs('history.size')),

    # Augmentation of all images that D sees, in updates of both players.
    *(Option(name, False, 'augmentation; see configs/OBJECTIVES.md', _ANY)
      for name in _AUGMENTED),
    Option('augment.probability', 1.0,
           'probability of each augmentation', _SHARE,
           needs(*_AUGMENTED)
           + needs('augment.adaptive', bounds=options.OFF)),
    Option('augment.adaptive', False,
           "adapt the probability to D's outputs, starting at 0; alone it is "
           'ADA, with augment.bgc', _ANY),
    Option('augment.target', 0.6, 'target of the mean sign of D on real images',
           options.Bounds(lambda v: -1 <= v <= 1, 'in [-1, 1]'),
           needs('augment.adaptive')),
    Option('augment.adaptive_images', 500_000,
           'images in which the probability can go from 0 to 1', _COUNT,
           needs('augment.adaptive')),

    # Errors in the loss of generators from images to images.
    Option('translation.cycle', 10.0,
           'weight of the error of an image translated there and back',
           options.NOT_NEGATIVE, _CYCLE),
    Option('translation.identity', 5.0,
           'weight of the change of an image of the target; 0 is off',
           options.NOT_NEGATIVE, _CYCLE),
    Option('translation.l1', 100.0,
           'weight of the error to the true image', options.NOT_NEGATIVE,
           needs('algorithm', bounds=options.equal('pix2pix'))),

    # Noise on all images that D sees.
    Option('instance_noise.std', 0.0,
           'std at step 0, for images in [-1, 1]; 0 is off',
           options.NOT_NEGATIVE),
    Option('instance_noise.decay_steps', 0,
           'steps until the noise has decayed to 0; 0: never',
           _STEPS._replace(words='a number of steps (0 is never)'),
           needs('instance_noise.std')),

    Option('schedule.name', 'alternating', 'order of the updates of D and G',
           update_order.SCHEDULES, demands=update_order.DEMANDS),
    Option('loss.name', 'non_saturating', 'losses that D and G minimize',
           losses.LOSSES),

    # D's targets; the defaults are the hard labels 1 and 0.
    Option('labels.real_low', 1.0, 'lower end of the range of real targets',
           _FINITE),
    Option('labels.real_high', 1.0,
           'upper end for real targets; both 0.9: one-sided smoothing',
           _FINITE),
    Option('labels.fake_low', 0.0,
           'lower end of the range of fake targets', _FINITE),
    Option('labels.fake_high', 0.0,
           'upper end of the range of fake targets', _FINITE),
    Option('labels.flip_probability', 0.0,
           'probability of swapping a real and a fake target', _SHARE),

    Option('clip_weights', 0.0,
           "clip D's weights to [-c, c] (WGAN: 0.01); 0 is off",
           options.NOT_NEGATIVE),

    Option('generator.condition', 'none', 'how the class label enters',
           conditioning.GENERATOR_CONDITIONS, demands=tuple(
               options.Demand(_CONDITIONAL, key, bounds, 'uses class labels')
               for key, bounds in (('packing', _IS_1), ('history.size', _IS_0))
           )),
    Option('generator.negative_slope', 0.0,
           'slope of the activation below 0; 0 is ReLU', _SHARE,
           needs('generator.maxout', bounds=options.OFF)),
    Option('generator.output', 'auto', 'activation of the last layer',
           activations.OUTPUTS),
    Option('generator.hierarchical_latent', True,
           'biggan: each block gets a part of z', _ANY),
    Option('generator.shared_embedding', 128,
           'biggan: length of the embedding that all blocks share; 0 is none',
           options.count(most=2**16, off=True),
           needs('generator.condition', bounds=options.equal('batch_norm'))),
    Option('generator.mapping_layers', 2,
           'stylegan2: dense layers from z to w', options.count(most=200)),
    Option('generator.num_downs', 0,
           'unet: halvings of the side; 0 is as many as possible; '
           'resnet_autoencoder: 0 is down to a side of 8, at most 3',
           options.count(most=32, off=True)),
    Option('generator.style_mixing', 0.9,
           'stylegan2: probability that a training sample has the styles of '
           'two z', _SHARE),
    Option('generator.upsampling', 'transposed', 'dcgan: upsampling layer',
           resampling.UPSAMPLINGS),
    Option('discriminator.condition', 'none', 'how the class label enters',
           conditioning.DISCRIMINATOR_CONDITIONS),
    Option('discriminator.negative_slope', 0.2,
           'slope of the activation below 0', _SHARE,
           needs('discriminator.maxout', bounds=options.OFF)),
    Option('discriminator.downsampling', 'strided', 'dcgan: downsampling layer',
           resampling.DOWNSAMPLINGS),
    Option('discriminator.small_factor', 4,
           'biggan: channels up to 32x32, in units of the width',
           options.count(most=1000)),
    Option('discriminator.minibatch_features', 0,
           'features that compare a sample to its batch; 0 is off',
           options.count(most=2**16, off=True)),
    Option('discriminator.minibatch_stddev', False,
           'dcgan: add a map of the std over the batch', _ANY),
    Option('discriminator.mapping_layers', 8,
           'stylegan2: dense layers of the mapping of classes',
           options.count(most=200, off=True),
           needs('discriminator.condition', bounds=_CONDITIONAL)),
    Option('discriminator.residual', True,
           'stylegan2: skip connections', _ANY),
    Option('discriminator.stddev_group', 4,
           'stylegan2: samples of a group whose std is a feature; 0 is off',
           options.count(most=2**16, off=True)),
    Option('discriminator.code_size', 64,
           'autoencoders: length of the code vector',
           options.count(most=2**20)),
    Option('discriminator.energy', 'euclidean',
           'autoencoders: reconstruction error that is the energy',
           autoencoder.ENERGIES),

    Option('data.name', 'digits',
           'data set, URI or source of points; gan_jax/data/README.md', _ANY),
    Option('data.path', '',
           'folder, archive, array file or pack, instead of name', _ANY),
    Option('data.split', 'train',
           "'train' or 'test'; with TFDS also 'train[:1000]'", _ANY),
    Option('data.data_dir', '',
           "folder of prepared TFDS data sets; '' is TFDS's default", _ANY),
    Option('data.image_size', '',
           "'64' or '48x80' (height x width); '' keeps the size", _ANY),
    Option('data.side', '',
           'domain of a source with two: folders trainA and trainB, folders A '
           'and B, or the halves of each image', ('', *tasks.SIDES)),
    Option('data.task', '',
           'make two domains from the images; gan_jax/data/README.md',
           ('', *tasks.TASKS), needs('data.side')),
    Option('data.random_crop', '',
           "'256' or '48x80': train on random parts of this size; '' is off",
           _ANY),
    Option('data.channels', 0,
           'number of channels; 0: 1 if all images are gray, else 3',
           options.Bounds(
               lambda v: v in (0, *pictures.CHANNELS),
               f'one of {[0, *pictures.CHANNELS]} (0 is by the data)',
           )),
    Option('data.crop', 'center',
           'how to change the aspect ratio', pictures.CROPS,
           needs('data.image_size')),
    Option('data.background', 'white', 'color of transparent and padded pixels',
           _ANY),
    Option('data.range', '',
           "of .npy folders: 'low,high' of all channels, or of each in turn; "
           "'' is their least and greatest values", _ANY),
    Option('data.shown', '',
           "of .npy folders: the 1 or 3 channels that pictures show, such as "
           "'3,2,1'; '' is the first", _ANY),
    Option('data.flip', False,
           'mirror each real image with probability 1/2', _ANY),
    Option('data.dequantize', False,
           'add noise of one gray level to real images',
           _ANY),
    Option('data.classes', '',
           "classes to keep, such as '3,7'; '' is all", _ANY),
    Option('data.test_share', 0.0,
           "share held out as split 'test'; not for TFDS",
           options.BELOW_1),
    Option('data.limit', 0,
           'largest number of images, drawn at random; 0 is all',
           _OFF_OR_COUNT._replace(words='0 (all) or positive')),
    Option('data.max_bad', 0.01,
           'share of unreadable files above which a run stops', _SHARE),
    Option('data.feed', 'auto', 'how images get to the devices', FEEDS),
    Option('data.resident_share', 0.25,
           'share of device memory for resident images',
           options.Bounds(lambda v: 0 < v <= 1, 'in (0, 1]'),
           needs('data.feed', bounds=options.equal('auto'))),

    Option('log_every', 50, 'steps between logged metrics; 0 is off',
           _STEPS),
    Option('loggers', 'tensorboard',
           'where numbers and pictures go, besides files: '
           f'{", ".join(sorted(loggers.LOGGERS))}, joined by commas', _ANY),
    Option('sample_every', 250, 'steps between grids of samples; 0 is off',
           _STEPS),
    Option('checkpoint_every', 500,
           'steps between checkpoints; 0: only at the end', _STEPS),
    Option('eval_every', 0, 'steps between evaluations; 0 is off',
           _STEPS),
    Option('eval_metrics', '',
           "more metrics of catalog.METRICS, such as 'fid,kid'", _ANY,
           needs('eval_every')),
    Option('eval_features', 'classifier', 'features for eval_metrics',
           extractors.EXTRACTORS, needs('eval_metrics')),
    Option('eval_samples', 1000,
           'number of samples, and of real images at most',
           options.count(least=16, most=10_000_000), needs('eval_metrics')),
    Option('keep_checkpoints', 3,
           'number of newest checkpoints to keep', _COUNT),
    Option('keep_every', 0,
           'checkpoints at multiples of it are kept too; 0 is off',
           _STEPS, needs('checkpoint_every')),
    Option('keep_best', '', 'metric whose best checkpoint is kept',
           ('', *catalog.RANKED), needs('eval_every')),
    Option('on_nan', 'stop',
           'at a NaN: end the run, or go back to the last checkpoint', ON_NAN),
    Option('report', True, 'write report.html at the end of training', _ANY),
    Option('on_collapse', 'warn', 'reaction to mode collapse', ON_COLLAPSE,
           needs('diagnosis.on')),
    Option('max_restarts', 3, 'restarts of on_collapse=restart, with new seeds',
           _STEPS._replace(words='0 or positive'),
           needs('on_collapse', bounds=options.equal('restart'))),
    Option('allow_bad_setup', False,
           'only warn of a setup that cannot work', _ANY),

    # Rules that detect failures of training.
    Option('diagnosis.on', True, 'check for failures of training', _ANY),
    *(Option(f'diagnosis.{name}', value, 'see configs/DIAGNOSIS.md',
             _COUNT if name == 'window' else options.NOT_NEGATIVE,
             needs('diagnosis.on'))
      for name, value in sorted(rules.THRESHOLDS.items())),
)

# Options of both players. A network has those that are fields of its module.
NETWORK_OPTIONS = (
    Option('width', 64,
           'dcgan: channels at full resolution; mlp: hidden units',
           options.count(most=2**16)),
    Option('depth', 2,
           'mlp: number of hidden layers; patchgan: halvings of the side',
           options.count(most=200)),
    Option('kernel_size', 4, 'dcgan: side of the convolution kernels',
           options.count(least=2, most=100)),
    Option('norm', 'batch', 'normalization of hidden layers', layers.NORMS),
    Option('spectral_norm', False,
           "divide each layer's weights by their spectral norm", _ANY),
    Option('attention', 0,
           'dcgan, resnet, biggan: side of the map with attention; '
           'resnet_autoencoder: that of the codes; 0 is off',
           options.Bounds(
               lambda v: 0 <= v <= options.INT32, 'a size in pixels (0 is off)'
           )),
    Option('full_side', 32,
           'r3gan, stylegan2: largest side of the maps with the full width',
           options.COUNT),
    Option('num_blocks', 2,
           'residual blocks: of a stage in r3gan, of all in '
           'resnet_translator, of a size in resnet_autoencoder',
           options.count(most=200)),
    Option('group_size', 16, 'r3gan: channels of a group of a convolution',
           options.count(most=2**16)),
    Option('prelu', False,
           'learn negative_slope for each channel (PReLU)', _ANY),
    Option('maxout', 0,
           'mlp: linear pieces per maxout unit; 0 is off',
           options.Bounds(
               lambda v: v == 0 or 2 <= v <= 1000,
               '0 (off) or at least 2, at most 1,000',
           )),
    Option('init_std', 0.0,
           'mlp, biggan: std of initial weights; 0: 1 / sqrt(inputs) in '
           'mlp, orthogonal in biggan',
           options.OFF_OR_POSITIVE),
    Option('norm_momentum', 0.9,
           "mlp: decay of BatchNorm's moving averages", options.BELOW_1),
    Option('dropout', 0.0,
           'probability of dropping a hidden unit in training',
           options.BELOW_1),
)
NETWORK_NEEDS = {  # {option: (key of the same player, its bounds)}
    'norm_momentum': ('norm', options.equal('batch')),
    'prelu': ('maxout', options.OFF),
}

# Options of g_optimizer and d_optimizer; their `name` and `schedule` add more.
OPTIMIZER_OPTIONS = (
    Option('name', 'adam', 'optimizer',
           optimizers.OPTIMIZERS),
    Option('learning_rate', 2e-4, 'learning rate, before schedule and warm-up',
           options.POSITIVE._replace(words='a positive rate')),
    Option('clip_norm', 0.0, 'largest global norm of the gradient; 0 is off',
           options.OFF_OR_POSITIVE),
    Option('schedule', 'constant', 'schedule of the learning rate; all but '
           'constant need schedule_steps', schedules.SCHEDULES),
    Option('warmup_steps', 0, 'steps of linear warm-up; 0 is none',
           _STEPS._replace(words='a number of steps (0 is none)')),
)


def choices():
    """Return the keys whose values add options of their own.

    Returns:
        {key: (group of the options, {value: its `options.Option`s})}.
    """
    table = {
        'algorithm': ('reconstruction', {
            **reconstruction.OPTIONS, **adversarial_autoencoder.OPTIONS,
        }),
        'reconstruction.error': ('reconstruction', reconstructions.OPTIONS),
        'data.name': ('data', mixtures.OPTIONS),
        'loss.name': (
            'loss', {n: loss.options for n, loss in losses.LOSSES.items()}
        ),
        'schedule.name': ('schedule', update_order.OPTIONS),
    }
    for group in ('d_optimizer', 'g_optimizer'):
        table[f'{group}.schedule'] = group, schedules.OPTIONS
        table[f'{group}.name'] = group, {
            name: kind.options for name, kind in optimizers.OPTIMIZERS.items()
        }
    return table


def keys():
    """Return {key: `options.Option`} of every key, sorted.

    Raises:
        ValueError: where a key is declared with two defaults.
    """
    declared = [(option.name, option) for option in KEYS]
    for player in ('generator', 'discriminator'):
        declared.append((f'{player}.name', Option(
            'name', 'dcgan', f'network of the {player}', [
                name for name, pair in networks.FAMILIES.items()
                if getattr(pair, player)
            ],
        )))
        for option in NETWORK_OPTIONS:
            if option.name in NETWORK_NEEDS:
                key, bounds = NETWORK_NEEDS[option.name]
                option = option._replace(
                    needs=needs(f'{player}.{key}', bounds=bounds)
                )
            declared.append((f'{player}.{option.name}', option))
    for optimizer in ('g_optimizer', 'd_optimizer'):
        declared += [(f'{optimizer}.{o.name}', o) for o in OPTIMIZER_OPTIONS]
    for name in penalties.PENALTIES:
        key = f'penalties.{name}'
        declared += [(f'{key}.{o.name}', o) for o in (
            Option('weight', 0.0, 'see configs/OBJECTIVES.md; 0 is off',
                   options.NOT_NEGATIVE),
            Option('every', 1, 'apply every k-th step only, at k times the '
                   'weight', _COUNT, needs(f'{key}.weight')),
        )]
    for group, owners in choices().values():
        declared += [
            (f'{group}.{o.name}', o) for own in owners.values() for o in own
        ]
    merged = {}
    for key, option in declared:
        if merged.setdefault(key, option).default != option.default:
            raise ValueError(f'{key} is declared with two defaults')
    return dict(sorted(merged.items()))
