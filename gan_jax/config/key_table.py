"""Every config key: its default, its meaning and its bounds.

What a loss, a schedule, a source of points and others bring of their own they
declare themselves; `keys` gathers it.
"""

from gan_jax.algorithms import adversarial
from gan_jax.algorithms import latents
from gan_jax.algorithms import reconstruction
from gan_jax.core import options
from gan_jax.data import pictures
from gan_jax.diagnosis import rules
from gan_jax.features import extractors
from gan_jax.metrics import costs
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

Option, needs = options.Option, options.needs

DTYPES = ('bfloat16', 'float32')
FEEDS = ('auto', 'resident', 'streaming')
ON_COLLAPSE = ('restart', 'stop', 'warn')
ON_NAN = ('rollback', 'stop')

_ANY, _COUNT, _STEPS = options.ANY, options.COUNT, options.STEPS
_SHARE, _FINITE = options.SHARE, options.FINITE
_UPDATES = options.count(most=adversarial.MOST_UPDATES)
_OFF_OR_COUNT = options.count(off=True)
_IS_1, _IS_0 = options.equal(1), options.equal(0)
_ONE_BATCH = 'is for one batch of fakes in a step'
_SHARED = tuple(  # what fakes for both players demand
    options.Demand(options.ON, key, bounds, reason)
    for key, bounds, reason in (
        ('d_steps', _IS_1, _ONE_BATCH), ('g_steps', _IS_1, _ONE_BATCH),
        ('num_microbatches', _IS_1, _ONE_BATCH),
        ('generator.dropout', _IS_0, _ONE_BATCH),
        ('schedule.name', options.Bounds(
            lambda v: v != 'adaptive', 'one by which both players move'
        ), 'is for steps in which both players move'),
    )
)
_CLASSES = options.Bounds(lambda v: v != 'none', '')
_AUGMENTED = tuple(f'augment.{name}' for name in sorted(augment.AUGMENTATIONS))

# name, default, meaning, bounds, what it needs to have a use
KEYS = (
    Option('seed', 0, 'of weights, noise and the order of the data',
           options.Bounds(lambda v: 0 <= v < 2**63, 'in [0, 2^63)')),
    Option('num_steps', 2000,
           'of the game: d_steps of D, then g_steps of G', _COUNT),
    Option('batch_size', 64, 'real images per update, over all devices',
           _COUNT),
    Option('num_microbatches', 1, 'parts of it, whose gradients are averaged',
           _COUNT),
    Option('d_steps', 1, 'discriminator updates in a step', _UPDATES),
    Option('g_steps', 1, 'generator updates in a step', _UPDATES),
    Option('algorithm', 'adversarial', 'what trains: one of build.ALGORITHMS',
           _ANY),
    Option('dtype', 'float32', 'of computations; parameters stay float32',
           DTYPES),
    Option('latent', 'gaussian', 'what z is drawn from', latents.LATENTS),
    Option('latent_size', 100, 'length of z', options.count(most=2**16)),
    Option('ema_decay', 0.999, 'of the averaged generator that samples',
           _SHARE, needs('ema_half_life', bounds=options.OFF)),
    Option('ema_half_life', 0,
           '... as images till the half is new; 0: by ema_decay',
           _OFF_OR_COUNT),
    Option('joint_batch', False,
           'D sees real and fake as one batch (BatchNorm!)', _ANY),
    Option('reuse_fakes', False,
           'G learns by the fakes that D was just shown', _ANY,
           demands=_SHARED),
    Option('population', 1, 'GANs of seeds from `seed` on, trained at once',
           _COUNT),
    Option('packing', 1, 'samples that D judges as one (PacGAN)',
           options.count(most=64)),

    # plain average of G beside the EMA
    Option('snapshots.count', 0, 'last snapshots that it averages; 0 is off',
           _OFF_OR_COUNT),
    Option('snapshots.every', 100, 'steps between snapshots', _COUNT,
           needs('snapshots.count')),

    # past fakes that D is reminded of
    Option('history.size', 0, 'how many are kept; 0 is off', _OFF_OR_COUNT,
           demands=(options.Demand(
               options.ON, 'num_microbatches', _IS_1, 'is for whole batches'
           ),)),
    Option('history.share', 0.5, 'chance of one in place of a new fake',
           _SHARE, needs('history.size')),

    # on all that D sees, in its and G's updates
    *(Option(name, False, 'changes images; configs/OBJECTIVES.md', _ANY)
      for name in _AUGMENTED),
    Option('augment.probability', 1.0, 'of each, for each image', _SHARE,
           needs(*_AUGMENTED)
           + needs('augment.adaptive', bounds=options.OFF)),
    Option('augment.adaptive', False, "let D's outputs move it, from 0", _ANY),
    Option('augment.target', 0.6, 'adaptive: mean sign of D on real images',
           options.Bounds(lambda v: -1 <= v <= 1, 'in [-1, 1]'),
           needs('augment.adaptive')),
    Option('augment.adaptive_images', 500_000, 'adaptive: from 0 to 1', _COUNT,
           needs('augment.adaptive')),

    # on all that D sees
    Option('instance_noise.std', 0.0,
           'at step 0, of images in [-1, 1]; 0 is off', options.NOT_NEGATIVE),
    Option('instance_noise.decay_steps', 0,
           'falls to 0 till then; 0 never falls',
           _STEPS._replace(words='a number of steps (0 never falls)'),
           needs('instance_noise.std')),

    Option('schedule.name', 'alternating', 'who moves when',
           adversarial.SCHEDULES, demands=adversarial.DEMANDS),
    Option('loss.name', 'non_saturating', 'what the players minimise',
           losses.LOSSES),

    # D's targets; the defaults are hard labels
    Option('labels.real_low', 1.0, 'real targets are uniform from here ...',
           _FINITE),
    Option('labels.real_high', 1.0,
           '... to here: 0.9 and 0.9 smooth one side', _FINITE),
    Option('labels.fake_low', 0.0, 'fake targets likewise', _FINITE),
    Option('labels.fake_high', 0.0, '... to here', _FINITE),
    Option('labels.flip_probability', 0.0,
           'chance of a target of the other kind', _SHARE),

    Option('clip_weights', 0.0,
           "D's weights to [-c, c] (0.01 in WGAN); 0 is off",
           options.NOT_NEGATIVE),

    Option('generator.condition', 'none', 'how the class enters',
           conditioning.GENERATOR_CONDITIONS, demands=tuple(
               options.Demand(_CLASSES, key, bounds, 'asks for classes')
               for key, bounds in (('packing', _IS_1), ('history.size', _IS_0))
           )),
    Option('generator.negative_slope', 0.0,
           'slope of hidden layers below 0; 0 is ReLU', _SHARE,
           needs('generator.maxout', bounds=options.OFF)),
    Option('generator.output', 'auto', 'last layer', activations.OUTPUTS),
    Option('generator.upsampling', 'transposed', 'dcgan: how sides double',
           resampling.UPSAMPLINGS),
    Option('discriminator.name', 'dcgan', 'one of networks.NETWORKS',
           networks.NETWORKS),
    Option('discriminator.condition', 'none', 'how the class enters',
           conditioning.DISCRIMINATOR_CONDITIONS),
    Option('discriminator.negative_slope', 0.2,
           'slope of hidden layers below 0', _SHARE,
           needs('discriminator.maxout', bounds=options.OFF)),
    Option('discriminator.downsampling', 'strided', 'dcgan: how sides halve',
           resampling.DOWNSAMPLINGS),
    Option('discriminator.minibatch_features', 0,
           'of a sample among the others',
           options.count(most=2**16, off=True)),
    Option('discriminator.minibatch_stddev', False, 'dcgan: a map of spread',
           _ANY),
    Option('discriminator.code_size', 64, 'autoencoders: length of the code',
           options.count(most=2**20)),
    Option('discriminator.energy', 'euclidean', 'autoencoders: what D measures',
           autoencoder.ENERGIES),

    Option('data.name', 'digits', 'sources.DATASETS, URIs, or MIXTURES', _ANY),
    Option('data.path', '',
           'folder, archive, array or pack, in place of name', _ANY),
    Option('data.split', 'train',
           "'train', 'test'; of TFDS 'train[:1000]' too", _ANY),
    Option('data.data_dir', '',
           "of prepared TFDS sets; '' is TFDS's default", _ANY),
    Option('data.image_size', '',
           "'64' or '48x80' (height x width); '' as is", _ANY),
    Option('data.channels', 0, '1, 3 or 4; 0: 1 where all are grey, else 3',
           options.Bounds(
               lambda v: v in (0, *pictures.CHANNELS),
               f'one of {[0, *pictures.CHANNELS]} (0 is as the data are)',
           )),
    Option('data.crop', 'center', 'to other proportions', pictures.CROPS,
           needs('data.image_size')),
    Option('data.background', 'white', 'behind transparency, beside padding',
           _ANY),
    Option('data.flip', False, 'mirror each real image with chance 1/2', _ANY),
    Option('data.dequantize', False, 'noise of one level on real images',
           _ANY),
    Option('data.classes', '',
           "names of those to keep, such as '3,7'; '' is all", _ANY),
    Option('data.test_share', 0.0, "held out as split 'test'; not of TFDS",
           options.BELOW_1),
    Option('data.limit', 0, 'most images, evenly drawn; 0 is all',
           _OFF_OR_COUNT._replace(words='0 (all) or positive')),
    Option('data.max_bad', 0.01,
           'largest share of bad files; more stop the run', _SHARE),
    Option('data.feed', 'auto', 'how batches reach the devices', FEEDS),
    Option('data.resident_share', 0.25,
           'of memory that resident images may take',
           options.Bounds(lambda v: 0 < v <= 1, 'in (0, 1]'),
           needs('data.feed', bounds=options.equal('auto'))),

    Option('log_every', 50, 'steps between lines of metrics; 0 is off',
           _STEPS),
    Option('sample_every', 250, 'steps between grids of samples; 0 is off',
           _STEPS),
    Option('checkpoint_every', 500,
           'steps between saves; 0: at the end alone', _STEPS),
    Option('eval_every', 0, 'steps between measured samples; 0 is off',
           _STEPS),
    Option('eval_metrics', '', "such as 'fid,kid', more of measures.MEASURES",
           _ANY, needs('eval_every')),
    Option('eval_features', 'classifier', 'what they compare images by',
           extractors.EXTRACTORS, needs('eval_metrics')),
    Option('eval_samples', 1000, 'and as many real images, at most',
           options.count(least=16, most=10_000_000), needs('eval_metrics')),
    Option('keep_checkpoints', 3, 'newest ones to keep', _COUNT),
    Option('keep_every', 0, 'steps of which multiples are kept too; 0 is none',
           _STEPS, needs('checkpoint_every')),
    Option('keep_best', '', 'metric whose best step is kept',
           ('', *costs.COSTS), needs('eval_every')),
    Option('on_nan', 'stop', 'rollback is bounded', ON_NAN),
    Option('report', True, 'leave report.html when the training ends', _ANY),
    Option('on_collapse', 'warn', 'where modes do', ON_COLLAPSE,
           needs('diagnosis.on')),
    Option('max_restarts', 3, 'on_collapse=restart: with other seeds, at most',
           _STEPS._replace(words='0 or positive'),
           needs('on_collapse', bounds=options.equal('restart'))),
    Option('allow_bad_setup', False, 'only warn where a setup cannot work',
           _ANY),

    # what goes wrong is named
    Option('diagnosis.on', True, 'False: no probes, no findings', _ANY),
    *(Option(f'diagnosis.{name}', value, 'configs/DIAGNOSIS.md',
             _COUNT if name == 'window' else options.NOT_NEGATIVE,
             needs('diagnosis.on'))
      for name, value in sorted(rules.THRESHOLDS.items())),
)

# Of each player's group; which of them a network has, its fields say.
OF_NETWORKS = (
    Option('width', 64, 'dcgan: channels at full size; mlp: hidden units',
           options.count(most=2**16)),
    Option('depth', 2, 'mlp: hidden layers', options.count(most=200)),
    Option('kernel_size', 4, 'dcgan: side of the kernels',
           options.count(least=2, most=100)),
    Option('norm', 'batch', 'of hidden layers', layers.NORMS),
    Option('spectral_norm', False,
           "every layer's weights by their spectral one", _ANY),
    Option('attention', 0, 'dcgan, resnet: side of the map with it; 0 is off',
           options.Bounds(
               lambda v: 0 <= v <= options.INT32, 'a side (0 is off)'
           )),
    Option('prelu', False, 'learn that slope, one for each channel', _ANY),
    Option('maxout', 0,
           'mlp: linear pieces whose maximum a unit is; 0 is off',
           options.Bounds(
               lambda v: v == 0 or 2 <= v <= 1000,
               '0 (off) or at least 2, as one piece is linear, at most 1,000',
           )),
    Option('init_std', 0.0,
           'mlp: of its first weights; 0: 1 / sqrt(inputs)',
           options.OFF_OR_POSITIVE),
    Option('norm_momentum', 0.9,
           "mlp: share of the past in BatchNorm's average", options.BELOW_1),
    Option('dropout', 0.0,
           'chance of a hidden unit to be dropped in training',
           options.BELOW_1),
)
NEEDS = {  # of some of these, within the player's group
    'norm_momentum': ('norm', options.equal('batch')),
    'prelu': ('maxout', options.OFF),
}

# Of g_optimizer and d_optimizer; more by their names and schedules.
OF_OPTIMIZERS = (
    Option('name', 'adam', 'one of optimizers.OPTIMIZERS',
           optimizers.OPTIMIZERS),
    Option('learning_rate', 2e-4, 'size of a step',
           options.POSITIVE._replace(words='a positive rate')),
    Option('clip_norm', 0.0, 'largest norm of the gradient; 0 is off',
           options.OFF_OR_POSITIVE),
    Option('schedule', 'constant', 'of the rate; the others need '
           'schedule_steps', schedules.SCHEDULES),
    Option('warmup_steps', 0, 'steps over which the rate rises; 0 is none',
           _STEPS._replace(words='a number of steps (0 is none)')),
)


def choices():
    """Return what brings options of its own, by the key that chooses it.

    Returns:
        {key: (group of the options, {name: its `options.Option`s})}.
    """
    found = {
        'algorithm': ('reconstruction', reconstruction.OPTIONS),
        'reconstruction.error': ('reconstruction', reconstructions.OPTIONS),
        'data.name': ('data', mixtures.OPTIONS),
        'loss.name': (
            'loss', {n: loss.options for n, loss in losses.LOSSES.items()}
        ),
        'schedule.name': ('schedule', adversarial.OPTIONS),
    }
    for group in ('d_optimizer', 'g_optimizer'):
        found[f'{group}.schedule'] = group, schedules.OPTIONS
        found[f'{group}.name'] = group, {
            name: kind.options for name, kind in optimizers.OPTIMIZERS.items()
        }
    return found


def keys():
    """Return {key: `options.Option`} of every key, sorted.

    Raises:
        ValueError: where two owners disagree about one.
    """
    declared = [(option.name, option) for option in KEYS]
    declared.append(('generator.name', Option(
        'name', 'dcgan', 'one of networks.NETWORKS that has a generator',
        [name for name, pair in networks.NETWORKS.items() if pair.generator],
    )))
    for player in ('generator', 'discriminator'):
        for option in OF_NETWORKS:
            if option.name in NEEDS:
                key, bounds = NEEDS[option.name]
                option = option._replace(
                    needs=needs(f'{player}.{key}', bounds=bounds)
                )
            declared.append((f'{player}.{option.name}', option))
    for optimizer in ('g_optimizer', 'd_optimizer'):
        declared += [(f'{optimizer}.{o.name}', o) for o in OF_OPTIMIZERS]
    for name in penalties.PENALTIES:
        key = f'penalties.{name}'
        declared += [(f'{key}.{o.name}', o) for o in (
            Option('weight', 0.0, 'configs/OBJECTIVES.md; 0 is off',
                   options.NOT_NEGATIVE),
            Option('every', 1, 'joins each k-th step alone, at k times the '
                   'weight', _COUNT, needs(f'{key}.weight')),
        )]
    for group, owners in choices().values():
        declared += [
            (f'{group}.{o.name}', o) for own in owners.values() for o in own
        ]
    found = {}
    for key, option in declared:
        if found.setdefault(key, option).default != option.default:
            raise ValueError(f'{key} is declared with two defaults')
    return dict(sorted(found.items()))
