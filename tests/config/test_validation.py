"""Validation of configs and its messages."""

import re

import pytest

from gan_jax.config import defaults
from gan_jax.config import setup_checks
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax import networks
from gan_jax.networks import activations

# The list of all generators, as messages print it.
GENERATORS = re.escape(str(sorted(
    name for name, pair in networks.FAMILIES.items() if pair.generator
)))
WITH_LOGITS = re.escape(str(sorted(
    name for name, pair in networks.NETWORKS.items()
    if pair.discriminator and not pair.energies
)))


def test_default_config_is_valid():
    validation.validate(defaults.default_config())


BAD = [
    ('num_steps', 0, 'positive'),
    ('batch_size', -8, 'positive'),
    ('d_steps', 0, 'positive'),
    ('latent_size', 0, 'positive'),
    ('keep_checkpoints', 0, 'positive'),
    ('generator.width', 0, 'positive'),
    ('discriminator.depth', 0, 'positive'),
    ('generator.kernel_size', 1, 'at least 2'),
    ('log_every', -1, '0 is off'),
    ('eval_every', -5, '0 is off'),
    ('g_optimizer.learning_rate', 0.0, 'positive rate'),
    ('d_optimizer.learning_rate', float('nan'), 'positive rate'),
    ('d_optimizer.learning_rate', float('inf'), 'positive rate'),
    ('g_optimizer.b1', 1.0, r'\[0, 1\)'),
    ('g_optimizer.momentum', -0.1, r'\[0, 1\)'),
    ('instance_noise.std', -0.1, '0 or positive'),
    ('instance_noise.decay_steps', -1, '0 is never'),
    ('g_optimizer.clip_norm', -1.0, 'off'),
    ('d_optimizer.warmup_steps', -1, '0 is none'),
    ('d_optimizer.decay', 1.0, r'\[0, 1\)'),
    ('generator.dropout', 1.0, r'\[0, 1\)'),
    ('discriminator.negative_slope', -0.2, r'\[0, 1\]'),
    ('discriminator.maxout', 1, r'0 \(off\) or at least 2'),
    ('generator.maxout', -2, r'0 \(off\) or at least 2'),
    ('generator.init_std', -0.1, r'0 \(off\) or positive'),
    ('discriminator.norm_momentum', 1.0, r'\[0, 1\)'),
    ('generator.condition', 'projection', "'batch_norm'"),
    ('discriminator.condition', 'project', "did you mean 'projection'"),
    ('generator.output', 'tan', "did you mean 'tanh'"),
    ('generator.output', 'relu', r'from 0 to inf, and images are in \[-1, 1\]'),
    ('generator.output', 'sigmoid', r"use one of \['auto', 'linear', 'tanh'\]"),
    ('generator.upsampling', 'nearst', "did you mean 'nearest'"),
    ('discriminator.downsampling', 'pool', "'average_pool'"),
    ('generator.attention', -1, '0 is off'),
    ('discriminator.minibatch_features', -1, 'positive'),
    ('latent', 'gausian', "did you mean 'gaussian'"),
    ('packing', 0, 'positive'),
    ('history.size', -1, '0 \\(off\\)'),
    ('history.share', 1.5, r'\[0, 1\]'),
    ('augment.probability', -0.5, r'\[0, 1\]'),
    ('augment.target', 2.0, r'\[-1, 1\]'),
    ('augment.adaptive_images', 0, 'positive'),
    ('ema_half_life', -1, 'positive'),
    ('snapshots.count', -1, '0 \\(off\\)'),
    ('snapshots.every', 0, 'positive'),
    ('schedule.name', 'wgn', "did you mean 'wgan'"),
    ('schedule.d_threshold', float('nan'), 'finite'),
    ('schedule.unroll_steps', 0, 'positive'),
    ('schedule.burst_every', -1, '0 is off'),
    ('g_steps', 0, 'positive'),
    ('num_microbatches', 0, 'positive'),
    ('penalties.r1.every', 0, 'positive'),
    ('generator.name', 'mlp_autoencoder', GENERATORS),
    ('discriminator.energy', 'euclidian', "did you mean 'euclidean'"),
    ('g_optimizer.schedule', 'cosin', "did you mean 'cosine'"),
    ('penalties.r1.weight', -1.0, '0 or positive'),
    ('clip_weights', float('nan'), '0 or positive'),
    ('labels.flip_probability', 1.5, r'\[0, 1\]'),
    ('labels.real_high', float('inf'), 'finite'),
    ('labels.real_high', 0.5, 'less than labels.real_low=1.0'),
    ('loss.gamma', 2.0, r'\[0, 1\]'),
    ('loss.margin', 0.0, 'positive'),
    ('ema_decay', 1.5, r'\[0, 1\]'),
    ('seed', -1, '2\\^63'),
    ('dtype', 'float16', "'bfloat16', 'float32'"),
    ('loss.name', 'hing', "did you mean 'hinge'"),
    ('generator.name', 'dcgn', "did you mean 'dcgan'"),
    ('discriminator.norm', 'bach', "did you mean 'batch'"),
    ('g_optimizer.name', 'adm', "did you mean 'adam'"),
    ('data.name', 'minst', "did you mean 'mnist'"),
    ('data.name', 'ffhq', 'is not in TensorFlow Datasets: download it'),
    ('data.name', 'tfds:', 'names nothing after'),
    ('data.crop', 'centre', "did you mean 'center'"),
    ('data.channels', 2, r'\[0, 1, 3, 4\]'),
    ('data.background', 'whitish', "such as 'white'"),
    ('data.test_share', 1.0, r'\[0, 1\)'),
    ('data.limit', -1, 'all'),
    ('data.max_bad', 1.5, r'\[0, 1\]'),
    ('data.feed', 'stream', "did you mean 'streaming'"),
    ('data.resident_share', 0.0, r'\(0, 1\]'),
    ('data.image_size', '64by64', '48x80'),
    ('data.image_size', '0', '48x80'),
    ('data.image_size', '64x0', '48x80'),
]


@pytest.mark.parametrize('key, value, allowed', BAD)
def test_bad_value_is_refused_naming_key_and_allowed_values(
    key, value, allowed
):
    config = defaults.default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(errors.ConfigError, match=allowed) as caught:
        validation.validate(config)
    assert str(caught.value).startswith(f'{key}=')
    assert '\n' not in str(caught.value)


BAD_GAMES = [
    (
        {'labels.real_low': 0.9, 'loss.name': 'wasserstein'},
        "which has no targets; .*'least_squares'",
    ),
    ({'penalties.r1.weight': 10.0}, "choose 'none'"),
    ({'penalties.gradient_penalty.weight': 1.0}, 'single images'),
    (
        {'loss.name': 'energy_based', 'discriminator.name': 'resnet'},
        r"is an autoencoder, .*\['dcgan', 'dcgan_autoencoder', 'mlp',",
    ),
    (
        {'discriminator.name': 'mlp_autoencoder'},
        f'returns logits, .*{WITH_LOGITS}',
    ),
    (
        {'schedule.name': 'unrolled', 'num_microbatches': 2},
        'whole batches; with it num_microbatches=2 must be 1',
    ),
    (
        {'schedule.name': 'unrolled', 'd_optimizer.clip_norm': 1.0},
        'd_optimizer.clip_norm',
    ),
    (
        {'data.name': 'ring', 'augment.color': True},
        'augment.color changes images',
    ),
    (
        {'data.name': 'ring', 'augment.adaptive': True},
        'augment.adaptive changes images',
    ),
    (
        {'augment.adaptive': True, 'augment.color': True,
         'loss.name': 'energy_based'},
        'D is never negative',
    ),
    (
        {'batch_size': 4, 'num_microbatches': 4,
         'penalties.pulling_away.weight': 0.1},
        'pulling_away.weight=0.1 compares samples',
    ),
    (
        {'batch_size': 1, 'generator.name': 'mlp'},
        'generator.norm=batch compares samples',
    ),
    ({'history.size': 50}, 'less than the 64 fakes'),
    ({'history.size': 100, 'packing': 2}, 'less than the 128 fakes'),
    ({'history.size': 64, 'num_microbatches': 2}, 'must be 1'),
    ({'history.size': 64,
      'penalties.latent_consistency_discriminator.weight': 5.0}, 'must be 0'),
    (
        {'generator.name': 'mlp', 'generator.attention': 8},
        "generator.attention=8 is not for generator.name='mlp'",
    ),
    (
        {'generator.maxout': 5},
        "generator.maxout=5 is not for generator.name='dcgan'",
    ),
    (
        {'discriminator.maxout': 2, 'loss.name': 'energy_based'},
        "maxout=2 is not for discriminator.name='dcgan_autoencoder'",
    ),
    (
        {'discriminator.name': 'resnet', 'discriminator.maxout': 5},
        "discriminator.maxout=5 is not for discriminator.name='resnet'",
    ),
    (
        {'generator.name': 'mlp', 'generator.maxout': 5,
         'generator.prelu': True},
        'generator.prelu=True has no effect: it needs generator.maxout '
        'to be off',
    ),
    (
        {'discriminator.name': 'mlp', 'discriminator.maxout': 5,
         'discriminator.negative_slope': 0.0},
        'discriminator.negative_slope=0.0 has no effect: it needs '
        'discriminator.maxout to',
    ),
    (
        {'discriminator.name': 'stylegan2', 'discriminator.norm': 'none',
         'discriminator.mapping_layers': 2},
        'discriminator.mapping_layers=2 has no effect: it needs '
        "discriminator.condition to be other than 'none', not 'none'",
    ),
    (
        {'discriminator.norm': 'none', 'penalties.r1.weight': 1.0,
         'discriminator.minibatch_stddev': True},
        'which discriminator.minibatch_stddev mixes',
    ),
    (
        {'loss.name': 'hinge', 'loss.margin': 5.0},
        "loss.margin=5.0 is an option of loss.name='energy_based', not of "
        "'hinge'",
    ),
    (
        {'data.name': 'ring', 'data.modes': 5},
        "data.modes=5 is an option of data.name='manifold', not of 'ring'",
    ),
    ({'generator.condition': 'concat'}, 'both or neither'),
    ({'discriminator.condition': 'projection'}, 'both or neither'),
    (
        {'penalties.g_classification.weight': 1.0},
        "needs discriminator.condition='auxiliary'",
    ),
    (
        {'generator.condition': 'concat',
         'discriminator.condition': 'auxiliary',
         'penalties.d_classification.weight': 1.0},
        'set both',
    ),
    (
        {'generator.condition': 'concat', 'packing': 2,
         'discriminator.condition': 'concat'},
        "generator.condition='concat' uses class labels; with it packing=2 "
        'must',
    ),
    (
        {'reuse_fakes': True, 'd_steps': 2},
        'reuse_fakes=True requires a single batch of fakes per step; with it '
        'd_steps=2 must be 1',
    ),
    (
        {'reuse_fakes': True, 'generator.dropout': 0.5},
        'generator.dropout=0.5 must be 0',
    ),
    (
        {'reuse_fakes': True, 'schedule.name': 'adaptive'},
        "with it schedule.name='adaptive' must be one that updates both",
    ),
    ({'schedule.name': 'wgan', 'd_steps': 3}, 'not a multiple of d_steps=3'),
    (
        {'batch_size': 6, 'num_microbatches': 4},
        'x num_microbatches=4; 4 or 8 does',
    ),
    (
        {'d_optimizer.schedule': 'linear'},
        'needs d_optimizer.schedule_steps',
    ),
    (
        {'data.name': 'ring', 'penalties.consistency.weight': 1.0},
        'has points',
    ),
]


@pytest.mark.parametrize('changes, reason', BAD_GAMES)
def test_incompatible_parts_are_refused_with_the_reason(
    changes, reason
):
    config = defaults.default_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=reason):
        validation.validate(config)


def test_gradient_penalty_is_allowed_without_batchnorm():
    config = defaults.default_config()
    config.penalties.gradient_penalty.weight = 10.0
    config.discriminator.norm = 'layer'
    validation.validate(config)


def test_unknown_and_missing_keys_are_named():
    config = defaults.default_config()
    config.d_step = 5
    with pytest.raises(errors.ConfigError, match="did you mean 'd_steps'"):
        validation.validate(config)
    del config.d_step, config.loss.name
    with pytest.raises(errors.ConfigError, match='loss.name is missing'):
        validation.validate(config)


@pytest.mark.parametrize(
    'batch, devices, works', [(62, 4, '60 or 64'), (3, 8, '8 does')]
)
def test_indivisible_batch_size_names_the_nearest_divisible_ones(
    batch, devices, works
):
    config = defaults.default_config()
    config.batch_size = batch
    validation.validate(config, 1)
    with pytest.raises(errors.ConfigError, match=works):
        validation.validate(config, devices)


@pytest.mark.parametrize('output', activations.OUTPUTS)
@pytest.mark.parametrize('data, holding', [
    ('digits', ['auto', 'linear', 'tanh']), ('ring', ['auto', 'linear']),
])
def test_last_layer_must_reach_the_data_unless_a_bad_setup_is_allowed(
    data, holding, output
):
    config = defaults.default_config()
    config.data.name, config.generator.output = data, output
    if output in holding:
        assert setup_checks.config_problems(config) == []
        validation.validate(config)
        return
    with pytest.raises(errors.ConfigError, match='allow_bad_setup=True') as e:
        validation.validate(config)
    config.allow_bad_setup = True
    validation.validate(config)
    (complaint,) = setup_checks.config_problems(config)
    assert str(e.value).startswith(complaint)
    assert str(holding) in complaint


@pytest.mark.parametrize('key', ['data.flip', 'data.dequantize'])
def test_keys_of_images_are_refused_for_points(key):
    config = defaults.default_config()
    config.update_from_flattened_dict({key: True})
    validation.validate(config)
    config.generator.name = config.discriminator.name = 'mlp'
    config.generator.norm = config.discriminator.norm = 'none'
    for points in (None, True):
        with pytest.raises(errors.ConfigError, match=f'{key}=True changes im'):
            config.data.name = 'digits' if points else 'ring'
            validation.validate(config, points=points)
