"""The authors' StyleGAN2 networks become ours: settings, weights, refusals."""

import functools
import tracemalloc

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
import official_stylegan2 as official
import torch_files
from conftest import ROOT
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import game
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.config import stylegan2_settings
from gan_jax.config import stylegan2_weights
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import pickles
from gan_jax.core import torch_pickles
from gan_jax.runs import convert as conversion
from gan_jax.runs import sampling

CASES = {'resnet': 0, 'orig': 3}  # architecture of D: number of classes
# What the authors' code computes with the numbers of `official_stylegan2`, by
# PyTorch on CPU: the pixel (5, 9) of four samples, and logits of four images.
GOLDEN = {
    'resnet': {
        'raw': [-1.801099, 1.598149, -0.990331, -3.067554, 2.122742, 1.244182,
                -1.729805, 3.230359, -1.568929, 1.674875, -0.982561, 0.06389],
        'ema': [-0.20669, -0.451706, -1.064609, 0.082745, -0.43993, -1.325235,
                0.558009, 1.090204, -0.077363, 0.25592, 1.600062, -0.128605],
        'truncated': [
            -0.525184, -0.43711, -1.584321, -0.290932, -0.426586, -1.580804,
            0.98863, 2.006345, 0.068552, 0.564483, 1.94923, 0.06891],
        'logits': [0.177368, 0.172275, 0.163639, 0.188053],
    },
    'orig': {
        'raw': [-2.742403, 2.302152, -0.096034, -2.54678, 3.566994, -1.036033,
                -3.093895, 2.557124, 0.642475, -1.034989, 0.774617, -1.019687],
        'ema': [-1.205268, 0.566007, 0.469569, -1.113866, 0.223122, 0.1907,
                -1.059752, 0.211429, 0.321531, -0.614929, 0.771515, 1.231771],
        'truncated': [
            -1.562027, 0.635892, -0.213665, -1.459387, 0.197685, -0.484694,
            -1.239543, -0.094004, -0.656294, -1.016774, 0.682687, 0.455868],
        'logits': [0.36342, 0.599461, -0.078896, 0.318568],
    },
}


def convert(content):
    """Convert a snapshot; return config, specs, algorithm and state."""
    settings, tensors = stylegan2_settings.read(
        torch_pickles.load(torch_files.dumps(content))
    )
    config = recipes.load(
        ROOT / 'configs/stylegan2.py', stylegan2_settings.recipe(settings)
    )
    stylegan2_settings.configure(config, settings, {})
    validation.validate(config)
    specs = builders.single_source_specs(
        settings.image_shape, settings.num_classes
    )
    algorithm = builders.algorithm(config, specs)
    state = stylegan2_weights.convert(
        'a.pkl', builders.abstract_state(config, algorithm, specs), tensors,
        settings.image_shape[0], settings.probability,
    )
    return config, specs, algorithm, state


@pytest.fixture(scope='module', params=CASES)
def converted(request):
    """Return (architecture, what `convert` returns)."""
    content = official.snapshot(CASES[request.param], request.param)
    return request.param, convert(content)


@pytest.fixture
def loaded(converted):
    """Return (golden numbers, labels or None, algorithm, state)."""
    architecture, (_, _, algorithm, state) = converted
    labels = np.arange(4, dtype=np.int32) % 3 if CASES[architecture] else None
    return GOLDEN[architecture], labels, algorithm, state


@pytest.mark.parametrize('weights', ['raw', 'ema'])
def test_images_are_those_of_the_authors_code(weights, loaded):
    golden, labels, algorithm, state = loaded
    images = sampling.generate(
        algorithm, state, official.latents(), labels, weights=weights
    )
    np.testing.assert_allclose(
        images[:, 5, 9].ravel(), golden[weights], rtol=0, atol=1e-5
    )


def test_truncated_images_are_those_of_the_authors_code(loaded):
    golden, labels, algorithm, state = loaded
    weights = algorithm.weights(state, 'ema')
    images = algorithm.generator.apply(
        {'params': weights.params, **weights.stats}, official.latents(),
        labels, train=False, truncation=0.7, truncated_styles=3,
    )
    np.testing.assert_allclose(
        images[:, 5, 9].ravel(), golden['truncated'], rtol=0, atol=1e-5
    )


def test_logits_are_those_of_the_authors_code(loaded):
    golden, labels, algorithm, state = loaded
    player = state.players[game.D]
    output = algorithm.discriminator.apply(
        {'params': player.params, **player.stats}, official.images(), labels,
        train=False,
    )
    np.testing.assert_allclose(
        output.logits, golden['logits'], rtol=0, atol=1e-5
    )


def test_names_and_axes_by_hand(loaded):
    _, _, _, state = loaded
    params = state.averages[game.G].params

    def theirs(name, shape):
        return official.value('G_ema', name, shape)

    kernel = params['synthesis']['stage_2']['conv_up']['modulated']['kernel']
    assert kernel.shape == (3, 3, 16, 8)
    assert kernel[0, 2, 9, 5] == theirs(
        'synthesis.b16.conv0.weight', (8, 16, 3, 3)
    )[5, 9, 0, 2]
    assert params['synthesis']['constant'][1, 2, 3] == theirs(
        'synthesis.b4.const', (16, 4, 4)
    )[3, 1, 2]
    player = state.players[game.D]
    dense = player.params['dense']['kernel']  # of maps [4, 4, C], flattened
    assert dense[(2 * 4 + 1) * 16 + 7, 5] == official.value(
        'D', 'b4.fc.weight', (16, 256)
    )[5, 7 * 16 + 2 * 4 + 1]


def test_config_is_the_recipe_with_the_sizes_of_the_networks(converted):
    architecture, (config, _, _, state) = converted
    plain = architecture == 'orig'
    assert config.augment.adaptive
    assert config.augment.adaptive_images == 100_000
    assert config.data.name == 'unknown' and not config.data.path
    assert (config.data.image_size, config.data.channels) == ('16', 3)
    assert config.latent_size == 8 and config.dtype == 'float32'
    for player in (config.generator, config.discriminator):
        assert (player.width, player.full_side) == (16, 8)
    assert config.discriminator.residual != plain
    assert config.penalties.r1.weight == pytest.approx(
        0.01 if plain else 0.0002 * 16**2 / config.batch_size
    )
    assert config.penalties.path_length.weight == (0 if plain else 2)
    assert config.ema_half_life and not config.ema_ramp
    assert state.memory['augment'] == np.float32(0.25)


@pytest.mark.integration
def test_all_but_the_networks_is_as_in_a_new_run(converted):
    _, (config, specs, algorithm, state) = converted
    new = builders.initial_state(config, algorithm, specs)
    for field in ('step', 'position', 'alive'):
        assert getattr(state, field) == getattr(new, field)
    for player in (game.G, game.D):
        chex.assert_trees_all_equal(
            state.players[player].opt_state, new.players[player].opt_state
        )
    assert {**state.memory, 'augment': 0.0} == new.memory


@pytest.mark.integration
def test_a_step_moves_the_average_by_its_half_life():
    config, _, gan, state = convert(official.snapshot(0, 'orig'))
    images = np.resize(official.images(), (1, config.batch_size, 16, 16, 3))
    new, _ = jax.jit(functools.partial(adversarial.train_step, gan))(
        builders.hyperparams(config), state,
        helpers.real_batch(jnp.asarray(images)), jax.random.key(0),
    )
    old_average, average, weights = (
        np.concatenate([np.ravel(leaf).astype(float) for leaf in leaves])
        for leaves in map(jax.tree.leaves, (
            state.averages[game.G].params, new.averages[game.G].params,
            new.players[game.G].params,
        ))
    )
    away = weights - old_average
    share = (average - old_average) @ away / (away @ away)
    assert share == pytest.approx(
        1 - 0.5**(config.batch_size / config.ema_half_life), rel=2e-3
    )
    np.testing.assert_allclose(
        average, old_average + share * away, rtol=1e-6, atol=1e-6
    )


def test_without_ada_there_is_no_probability():
    config, _, _, state = convert(official.snapshot(probability=None))
    assert not config.augment.adaptive
    assert 'augment' not in state.memory


def test_probabilities_above_1_are_1():
    for given, expected in ((1.75, 1), (0.5, 0.5)):
        *_, state = convert(official.snapshot(probability=given))
        assert state.memory['augment'] == np.float32(expected)


def of_stylegan3_repository():
    """Return a snapshot with the attributes that stylegan3 gives StyleGAN2."""
    content = official.snapshot()
    content['training_set_kwargs'] = {'path': '/data/images.zip'}
    waiting = [state_of(content[name]) for name in stylegan2_settings.NETWORKS]
    while waiting:
        state = waiting.pop()
        waiting += map(state_of, state['_modules'].values())
        if 'conv_clamp' in state:
            state['conv_clamp'] = 256
        if 'use_fp16' in state:  # from 8x8 on, at this size
            half = 'const' not in state['_parameters']
            state.update(use_fp16=half, fused_modconv_default='inference_only')
    for name in ('G', 'G_ema'):
        state_of(content[name], 'mapping')['w_avg_beta'] = 0.998
        state_of(content[name], 'synthesis')['num_fp16_res'] = 4
    return content


def test_networks_of_the_stylegan3_repository_are_read():
    content = of_stylegan3_repository()
    config, _, algorithm, state = convert(content)
    assert config.dtype == 'float32'
    images = sampling.generate(
        algorithm, state, official.latents(), None, weights='ema'
    )
    np.testing.assert_allclose(
        images[:, 5, 9].ravel(), GOLDEN['resnet']['ema'], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize('make, low', [
    (official.snapshot, False), (of_stylegan3_repository, True),
    (lambda: changed('G_ema', ('synthesis', 'b16'), use_fp16=True), True),
    (lambda: changed('D', ('b8',), use_fp16=True), True),
    (lambda: changed('D', ('b4', 'conv'), conv_clamp=256), True),
])
def test_float16_and_its_clamp_are_noticed(make, low):
    settings, _ = stylegan2_settings.read(
        torch_pickles.load(torch_files.dumps(make()))
    )
    assert settings.low_precision == low


def test_other_augmentations_are_noticed():
    content = official.snapshot()
    for factors, other in (
        (stylegan2_settings.BGC, False), ({'cutout': 1.0}, True),
    ):
        content['augment_pipe'] = torch_files.module(
            'AugmentPipe', (), {'p': np.float32(0.5)}, **factors
        )
        settings, _ = stylegan2_settings.read(
            torch_pickles.load(torch_files.dumps(content))
        )
        assert settings.other_augmentations == other


def test_classes_need_no_dense_layers_in_d():
    content = official.snapshot(3, 'orig')
    state = state_of(content['D'], 'mapping')
    state['num_layers'] = 0
    state['_modules'] = {'embed': state['_modules']['embed']}
    config, _, _, converted = convert(content)
    assert config.discriminator.mapping_layers == 0
    assert set(converted.players[game.D].params['mapping']) == {'embed'}


def test_group_of_the_whole_batch_is_a_large_one():
    config, *_ = convert(changed('D', ('b4', 'mbstd'), group_size=None))
    assert config.discriminator.stddev_group == 2**16


def state_of(content, *names):
    """Return the pickled state of a module inside a network."""
    module = content
    for name in names:
        module = module.arguments[0]['state']['_modules'][name]
    return module.arguments[0]['state']


def changed(network, names, **changes):
    """Return a snapshot with other attributes of one module."""
    content = official.snapshot()
    state_of(content[network], *names).update(changes)
    return content


def classes(count):
    """Return a snapshot of networks that claim a number of classes."""
    content = official.snapshot()
    for network in stylegan2_settings.NETWORKS:
        state_of(content[network])['c_dim'] = count
    return content


def without(key):
    content = official.snapshot()
    del content[key]
    return content


def other_tensor(name, value):
    """Return a snapshot with another tensor in the first layer of G's mapping.
    """
    content = official.snapshot()
    parameters = state_of(content['G'], 'mapping', 'fc0')['_parameters']
    parameters[name] = None if value is None else torch_files.parameter(value)
    return content


def stylegan3():
    content = official.snapshot()
    state = state_of(content['G_ema'], 'synthesis')
    state['_modules'] = {'L0_36_16': torch_files.module('SynthesisLayer')}
    return content


def other_filter():
    content = official.snapshot()
    state = state_of(content['D'], 'b8', 'conv1')
    state['_buffers']['resample_filter'] = torch_files.tensor(
        np.full((4, 4), 1 / 16, np.float32)
    )
    return content


NAN = np.full(8, np.nan, np.float32)
REFUSED = {  # content: start of what is said
    'no dict': (lambda: [1], 'has no G: '),
    'one network': (lambda: official.generator(), 'has no G: '),
    'no D': (lambda: without('D'), 'has no D: '),
    'D as G': (
        lambda: {**official.snapshot(), 'G': official.discriminator()},
        "has a 'Discriminator' as G",
    ),
    'other class': (
        lambda: {**official.snapshot(), 'D': torch_files.module('Linear')},
        "has a 'Linear' as D",
    ),
    'no module': (lambda: {**official.snapshot(), 'D': 1}, "has 'a network'"),
    'StyleGAN3': (stylegan3, 'has a generator of StyleGAN3'),
    'skips of G': (
        lambda: changed('G', ('synthesis', 'b8'), architecture='resnet'),
        "has 'G.synthesis.b8' with architecture='resnet'; gan_jax has only "
        "'skip'",
    ),
    'skip of D': (
        lambda: changed('D', ('b8',), architecture='skip'), "has 'D.b8' with",
    ),
    'activation': (
        lambda: changed('G', ('mapping', 'fc1'), activation='relu'),
        "has 'G.mapping.fc1' with activation='relu'",
    ),
    'rate': (
        lambda: changed('G_ema', ('mapping', 'fc1'), bias_gain=0.1),
        "has 'G_ema.mapping.fc1' with bias_gain=0.1",
    ),
    'no noise': (
        lambda: changed('G', ('synthesis', 'b8', 'conv0'), use_noise=False),
        "has 'G.synthesis.b8.conv0' with use_noise=False",
    ),
    'clamp': (
        lambda: changed('D', ('b4', 'conv'), conv_clamp=8),
        "has 'D.b4.conv' with conv_clamp=8",
    ),
    'channels of the deviation': (
        lambda: changed('D', ('b4', 'mbstd'), num_channels=2),
        "has 'D.b4.mbstd' with num_channels=2",
    ),
    'w_dim': (lambda: changed('G_ema', (), w_dim=9), 'has z_dim=8 and w_dim=9'),
    'side': (
        lambda: changed('G_ema', (), img_resolution=17),
        'has networks that differ in img_resolution',
    ),
    'no side': (
        lambda: changed('D', (), img_resolution=None),
        'has D.img_resolution=None, and needs a number',
    ),
    'classes': (
        lambda: classes(2**31 - 1),
        'has D.c_dim=2147483647, and needs a number from 0 to 65,536',
    ),
    'attribute of an array': (
        lambda: changed('G', (), z_dim=3, architecture=torch_files.tensor(NAN)),
        "has 'G.' with architecture=",
    ),
    'filter': (other_filter, "has D.'b8.conv1.resample_filter' that is not"),
    'missing tensor': (
        lambda: other_tensor('bias', None),
        'does not hold this network: missing G.mapping.fc0.bias',
    ),
    'unexpected tensor': (
        lambda: other_tensor('scale', NAN),
        "does not hold this network: unexpected 'G.mapping.fc0.scale'",
    ),
    'shape': (
        lambda: other_tensor('bias', NAN[:3]),
        'does not hold this network: G.mapping.fc0.bias is float32 [3], not '
        'float32 [8]',
    ),
    'NaN': (
        lambda: other_tensor('bias', NAN), 'G.mapping.fc0.bias is not finite'
    ),
    'float64': (
        lambda: other_tensor('bias', np.full(8, 1e300)),
        'G.mapping.fc0.bias is not finite',
    ),
    'source': (
        lambda: torch_files.Call('builtins.exec', torch_files.SOURCE),
        "names 'builtins.exec'",
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_other_networks_are_refused(case):
    make, says = REFUSED[case]
    with pytest.raises((pickles.FormatError, errors.CheckpointError)) as error:
        convert(make())
    message = str(error.value).removeprefix('a.pkl').lstrip(': ')
    assert message.startswith(says), message
    assert '\n' not in message


def test_channels_that_are_not_halved_are_refused(monkeypatch):
    monkeypatch.setattr(official, 'CHANNELS', {4: 16, 8: 16, 16: 7})
    with pytest.raises(pickles.FormatError, match=r'\[16, 16, 7\] channels'):
        convert(official.snapshot())


def test_other_tensors_are_refused_before_they_are_copied(converted):
    architecture, (_, _, _, state) = converted
    _, tensors = stylegan2_settings.read(torch_pickles.load(torch_files.dumps(
        official.snapshot(CASES[architecture], architecture)
    )))
    large = np.zeros(2**18, np.float16)
    tensors['G'].update({f'a{n}': large for n in range(100)})
    tracemalloc.start()
    try:
        with pytest.raises(errors.DamagedError, match="unexpected 'G.a0'"):
            stylegan2_weights.convert('a.pkl', state, tensors, 16, None)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_tensors_that_share_their_values_are_refused(tmp_path):
    content = official.snapshot()
    large = torch_files.parameter(np.zeros(2**18, np.float32))
    state_of(content['G'], 'mapping', 'fc0')['_parameters'].update(
        {f'a{n}': large for n in range(6)}
    )
    (tmp_path / 'a.pkl').write_bytes(torch_files.dumps(content))
    with pytest.raises(errors.CheckpointError, match='4 times its bytes'):
        conversion.read(tmp_path / 'a.pkl', 2**30)


@pytest.mark.parametrize('network, module, name', [
    ('G', (), 'z_dim'), ('G_ema', (), 'c_dim'), ('D', (), 'img_channels'),
    ('G_ema', ('mapping',), 'num_layers'), ('D', ('b4',), '_parameters'),
    ('D', ('b4', 'mbstd'), 'group_size'), ('D', ('b8', 'conv0'), '_buffers'),
    ('G_ema', ('synthesis',), '_modules'), ('D', ('b8',), 'architecture'),
])
def test_hostile_attributes_end_in_one_line(network, module, name):
    endless = []
    for _ in range(60):
        endless = [endless, endless]
    for value in (None, 2**40, -1, 1.5, endless, {'a': 1}, 10**5000):
        content = changed(network, module, **{name: value})
        try:
            convert(content)
        except (pickles.FormatError, errors.UserError) as error:
            assert '\n' not in str(error)
        else:  # of G only the tensors count
            assert name in ('z_dim', 'group_size', '_buffers', '_parameters')
