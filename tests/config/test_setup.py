"""Setups that cannot work: last layers and sizes of networks."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import D
from gan_jax.config import builders
from gan_jax.config import setup_checks
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax import networks
from gan_jax.networks import activations
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.training import train

X = np.linspace(-50, 50, 1001, dtype=np.float32)
GOLDEN_OUTPUTS = {
    'linear': X,
    'relu': np.where(X > 0, X, 0),
    'sigmoid': 1 / (1 + np.exp(-X)),
    'tanh': np.tanh(X),
}
GENERATORS = [
    name for name, pair in networks.NETWORKS.items() if pair.generator
]


def test_every_output_has_a_closed_form_here():
    assert {*GOLDEN_OUTPUTS, 'auto'} == set(activations.OUTPUTS)


@pytest.mark.parametrize('name', GOLDEN_OUTPUTS)
def test_output_is_its_closed_form_and_fills_its_range(name):
    layer = activations.OUTPUTS[name]
    values = layer.activation(X)
    np.testing.assert_allclose(values, GOLDEN_OUTPUTS[name], rtol=1e-5)
    np.testing.assert_allclose(values.min(), max(layer.low, -50), atol=1e-6)
    np.testing.assert_allclose(values.max(), min(layer.high, 50), atol=1e-6)


def generate(name, shape, **fields):
    module = networks.NETWORKS[name].generator(
        image_shape=shape, width=4, **fields
    )
    z = jax.random.normal(jax.random.key(0), (64, 5))
    return module.init_with_output(jax.random.key(1), z, train=True)


@pytest.mark.integration
@pytest.mark.parametrize('output', GOLDEN_OUTPUTS)
@pytest.mark.parametrize('name', GENERATORS)
def test_output_changes_only_the_last_activation_of_generators(name, output):
    linear, variables = generate(name, (8, 8, 1), output='linear')
    bent, same = generate(name, (8, 8, 1), output=output)
    chex.assert_trees_all_equal(variables, same)
    np.testing.assert_array_equal(
        bent, activations.OUTPUTS[output].activation(linear)
    )


@pytest.mark.parametrize('name, shape, output', [
    *((name, (8, 8, 1), 'tanh') for name in GENERATORS),
    ('mlp', (2,), 'linear'),
])
def test_default_output_is_tanh_for_images_and_linear_for_points(
    name, shape, output
):
    chex.assert_trees_all_equal(
        generate(name, shape), generate(name, shape, output=output),
    )


def test_samples_of_a_known_last_layer_are_not_judged():
    # From one latent to one coordinate, both ways from 0 may lead upwards.
    config = helpers.tiny_mlp()
    samples = np.array([[0.0], [1.5]])
    assert not setup_checks.batch_problems(config, -np.ones(3), samples)


def bad_config(output='sigmoid', **changes):
    config = helpers.tiny_mlp()
    config.num_steps = 2
    config.generator.output = output
    config.update(changes)
    return config


def run(workdir, config):
    unused_keys.leave_out(config)  # what networks of a test's own do not have
    return train.train(config, workdir, images=helpers.random_images())


@pytest.mark.parametrize('output', ['relu', 'sigmoid'])
def test_last_layer_that_cannot_reach_the_images_is_refused(
    output, tmp_path
):
    reason = f"^generator.output='{output}' has values from 0 to .*"
    with pytest.raises(
        errors.ConfigError, match=f'{reason} allow_bad_setup=True only warns'
    ):
        run(tmp_path / 'run', bad_config(output))
    assert not (tmp_path / 'run').exists()


@pytest.mark.integration
@pytest.mark.parametrize('output', ['relu', 'sigmoid'])
def test_allowed_bad_setup_warns_once_and_trains(
    output, tmp_path, capsys
):
    config = bad_config(output, allow_bad_setup=True)
    result = run(tmp_path, config)
    assert int(result.state.step) == 2
    assert result.sample(range(8)).min() >= 0
    out = capsys.readouterr().out
    assert out.count('warning: ') == 1
    assert f'warning: {setup_checks.config_problems(config)[0]}\n' in out


def test_points_with_bounds_are_refused(tmp_path):
    config = bad_config('tanh')
    config.data.name = 'ring'
    with pytest.raises(errors.ConfigError, match='points have no bounds'):
        train.train(config, tmp_path)


def own_generator(activation=lambda x: x, shape=None):
    """Return a generator class: a dense layer from z and an activation.

    The shape is that of the data where None.
    """

    class Generator(nn.Module):
        image_shape: tuple
        norm: str
        dtype: object

        @nn.compact
        def __call__(self, inputs, labels=None, *, train, keys=None):
            sample_shape = shape or self.image_shape
            x = nn.Dense(np.prod(sample_shape), dtype=self.dtype)(inputs)
            return activation(x).reshape(-1, *sample_shape)

    return Generator


def own_discriminator(size=-1, logits_shape=(-1,)):
    """Return a discriminator class: a dense layer to logits."""

    class Discriminator(nn.Module):
        norm: str
        dtype: object

        @nn.compact
        def __call__(self, inputs, labels=None, *, train, keys=None):
            features = inputs.reshape(len(inputs), size)
            logits = nn.Dense(1, dtype=self.dtype)(features)
            return layers.Output(logits.reshape(logits_shape), features)

    return Discriminator


@pytest.fixture
def register(monkeypatch):
    """Return a function that registers networks and returns their config."""

    def add(generator=mlp.Generator, discriminator=mlp.Discriminator):
        monkeypatch.setitem(networks.NETWORKS, 'mine', networks.Pair(
            generator, discriminator, convolutional=False
        ))
        config = helpers.tiny_mlp()
        config.num_steps = 2
        config.generator.name = config.discriminator.name = 'mine'
        return config

    return add


@pytest.mark.parametrize('data, made, named', [
    ((32, 32, 1), (28, 28, 1), 'makes 28x28x1 and the data are 32x32x1'),
    ((8, 8, 3), (8, 8, 1), 'makes 8x8x1 and the data are 8x8x3'),
    ((8, 8, 1), (64,), r'makes \[64\] and the data are 8x8x1'),
    ((2,), (3,), r'makes \[3\] and the data are \[2\]'),
])
def test_sizes_that_do_not_match_are_refused_naming_both(
    data, made, named, register
):
    config = register(own_generator(shape=made), own_discriminator())
    with pytest.raises(
        errors.ConfigError, match=f"^generator.name='mine' {named}"
    ):
        builders.algorithm(config, builders.single_source_specs(data))


def test_sizes_that_do_not_match_cannot_be_allowed(register, tmp_path):
    config = register(own_generator(shape=(28, 28, 1)))
    config.allow_bad_setup = True
    with pytest.raises(
        errors.ConfigError, match='28x28x1 .* 8x8x1.* is for setups that can'
    ):
        run(tmp_path / 'run', config)
    assert not (tmp_path / 'run').exists()


def test_generator_that_makes_several_samples_per_latent_is_refused(register):
    def halve(x):
        return jnp.concatenate([x, x])

    config = register(own_generator(halve))
    with pytest.raises(errors.ConfigError, match='makes 4 samples from 2 lat'):
        builders.algorithm(config, builders.single_source_specs((8, 8, 1)))


@pytest.mark.parametrize('packing, read', [(1, '8x8x1'), (2, '8x8x2')])
def test_discriminator_of_another_size_is_refused(packing, read, register):
    config = register(discriminator=own_discriminator(size=28 * 28))
    config.packing = packing
    with pytest.raises(
        errors.ConfigError,
        match=f"^discriminator.name='mine' cannot read {read}: .*reshape",
    ) as caught:
        builders.algorithm(config, builders.single_source_specs((8, 8, 1)))
    assert '\n' not in str(caught.value)


def test_logits_without_one_row_per_sample_are_refused(register):
    config = register(discriminator=own_discriminator(logits_shape=(1, -1)))
    with pytest.raises(
        errors.ConfigError, match=r"^discriminator.name='mine' .*\[1, 2\] for 2"
    ):
        builders.algorithm(config, builders.single_source_specs((8, 8, 1)))


@pytest.mark.parametrize('packing', [1, 3])
def test_custom_networks_that_match_are_built(packing, register):
    config = register(own_generator(), own_discriminator())
    config.packing = packing
    state = helpers.abstract_state(config, (8, 6, 3))
    kernel = state.players[D].params['Dense_0']['kernel']
    assert kernel.shape == (8 * 6 * 3 * packing, 1)


@pytest.mark.integration
@pytest.mark.parametrize('activation', [nn.relu, nn.sigmoid])
def test_batch_reveals_a_last_layer_that_cannot_reach_the_data(
    activation, register, tmp_path, capsys
):
    config = register(own_generator(activation))
    with pytest.raises(
        errors.ConfigError,
        match=r"^generator.name='mine' starts with 64 .* go down to -1: .*"
        'allow_bad_setup=True only warns$',
    ):
        run(tmp_path, config)
    config.allow_bad_setup = True
    assert int(run(tmp_path, config).state.step) == 2
    out = capsys.readouterr().out
    assert out.count("warning: generator.name='mine' starts with 64") == 1


@pytest.mark.integration
def test_batch_reveals_it_for_points_too(register, tmp_path):
    config = register(own_generator(nn.relu))
    config.data.name = 'ring'
    unused_keys.leave_out(config)
    with pytest.raises(errors.ConfigError, match='go down to -1.0'):
        train.train(config, tmp_path)


@pytest.mark.integration
@pytest.mark.parametrize('value', [0.0, np.linspace(0.1, 0.9, 64)])
def test_constant_samples_are_not_judged(value, register, tmp_path):
    config = register(own_generator(lambda x: x * 0 + jnp.float32(value)))
    assert int(run(tmp_path, config).state.step) == 2


def test_non_negative_data_suit_every_last_layer(register):
    config, samples = register(own_generator()), np.array([[0, 0.5], [0.3, 0]])
    outside = np.array([-0.1, 1.0])
    assert setup_checks.batch_problems(config, outside, samples)
    assert not setup_checks.batch_problems(config, np.zeros(2), samples)


@pytest.mark.integration
def test_batch_is_checked_in_new_runs_alone(register, tmp_path, capsys):
    config = register(own_generator(nn.relu))
    config.allow_bad_setup = True
    run(tmp_path, config)
    config.allow_bad_setup, config.num_steps = False, 4
    capsys.readouterr()
    assert int(run(tmp_path, config).state.step) == 4
    assert 'warning' not in capsys.readouterr().out
