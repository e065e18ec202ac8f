"""Conditional runs: classes in data, training and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import game
from gan_jax.algorithms import updates
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.training import train

IMAGES = helpers.random_images()
LABELS = np.arange(32) % 3
GAMES = {
    'concat': {
        'generator.condition': 'concat', 'discriminator.condition': 'concat',
        'joint_batch': True,
    },
    'projection': {
        'generator.condition': 'batch_norm', 'generator.norm': 'batch',
        'discriminator.condition': 'projection', 'num_microbatches': 2,
        'penalties.r1.weight': 0.1,
    },
    'auxiliary': {
        'generator.condition': 'concat',
        'discriminator.condition': 'auxiliary',
        'penalties.d_classification.weight': 1.0,
        'penalties.g_classification.weight': 1.0,
        'generator.dropout': 0.2, 'discriminator.dropout': 0.2,
    },
    'unrolled': {
        'generator.condition': 'concat', 'discriminator.condition': 'concat',
        'schedule.name': 'unrolled', 'discriminator.dropout': 0.2,
    },
}


def conditional(name):
    config = helpers.tiny_mlp()
    config.update_from_flattened_dict(GAMES[name])
    return config


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.slow] * (name == 'unrolled'))
    for name in GAMES
])
def test_conditional_run_trains_samples_and_resumes_bit_for_bit(
    name, tmp_path
):
    config = conditional(name)
    whole = train.train(
        config, tmp_path / 'whole', images=IMAGES, labels=LABELS
    )
    config.num_steps = 2
    train.train(config, tmp_path / 'parts', images=IMAGES, labels=LABELS)
    config.num_steps = 4
    parts = train.train(
        config, tmp_path / 'parts', images=IMAGES, labels=LABELS
    )
    assert helpers.leaves_equal(whole.state, parts.state)
    gan, state = sampling.load(tmp_path / 'whole')
    assert gan.num_classes == 3
    np.testing.assert_array_equal(
        sampling.sample(gan, state, range(6)), whole.sample(range(6))
    )


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return train.train(
        conditional('concat'), tmp_path_factory.mktemp('run'), images=IMAGES,
        labels=LABELS,
    )


def test_class_is_by_seed_unless_given(run):
    default = run.sample([3, 4, 8])
    labelled = run.sample([3, 4, 8], labels=[0, 1, 2])
    np.testing.assert_array_equal(default, labelled)
    other = run.sample([3, 4, 8], labels=[1, 1, 2])
    assert not np.array_equal(default[0], other[0])
    np.testing.assert_array_equal(default[1:], other[1:])


def test_interpolation_keeps_the_class_of_its_start(run):
    images = sampling.interpolate(run.algorithm, run.state, [3, 4, 8], 3)
    assert images.shape == (6, 8, 8, 1)
    np.testing.assert_allclose(images[0], run.sample([3])[0], atol=1e-6)
    np.testing.assert_allclose(
        images[5], run.sample([8], labels=[1])[0], atol=1e-5
    )


@pytest.mark.parametrize('labels', [[0, 1], [0, 1, 3], [0, 1, -1]])
def test_invalid_labels_are_refused(run, labels):
    with pytest.raises(errors.ConfigError, match=r'a class in \[0, 3\)'):
        run.sample([1, 2, 3], labels=labels)


def test_labels_without_a_condition_are_refused():
    config = helpers.tiny_mlp()
    specs = builders.single_source_specs((8, 8, 1), num_classes=3)
    gan = builders.algorithm(config, specs)
    assert gan.num_classes == 0
    with pytest.raises(errors.ConfigError, match='no condition'):
        sampling.sample(gan, None, [1], labels=[1])


def test_data_without_labels_are_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match='the data have none'):
        train.train(conditional('concat'), tmp_path, images=IMAGES)


def test_classes_can_be_chosen_on_the_command_line(run, tmp_path):
    out = tmp_path / 'grid.png'
    command = ('gan_jax', 'sample', f'--workdir={run.workdir}', '--seeds=0-5',
               f'--out={out}')
    assert helpers.run(*command, '--labels=2,0').returncode == 0
    done = helpers.run(*command, '--labels=5')
    assert done.returncode == 2
    assert 'a class in [0, 3)' in done.stderr
    assert 'Traceback' not in done.stderr


def test_fakes_have_the_classes_of_the_real_images():
    config = conditional('concat')
    specs = builders.single_source_specs((8, 8, 1), num_classes=3)
    gan = builders.algorithm(config, specs)
    state = game.init(gan, jax.random.key(0), (8, 8, 1))
    labels = jnp.asarray(LABELS[:8])
    ctx = discriminator_inputs.UpdateContext(
        gan, builders.hyperparams(config), state, jax.random.key(1)
    )
    arguments = (jnp.asarray(IMAGES[:8]), jnp.arange(8))
    with_labels, _ = updates.discriminator_update(ctx, *arguments, labels)
    others, _ = updates.discriminator_update(
        ctx, *arguments, (labels + 1) % 3
    )
    assert not helpers.leaves_equal(with_labels, others)


def test_dropout_depends_on_the_sample_index():
    config = conditional('auxiliary')
    specs = builders.single_source_specs((8, 8, 1), num_classes=3)
    gan = builders.algorithm(config, specs)
    ctx = discriminator_inputs.UpdateContext(gan, None, None, jax.random.key(1))
    whole = discriminator_inputs.sample_keys(ctx, 0, jnp.arange(6))
    part = discriminator_inputs.sample_keys(ctx, 0, jnp.array([4, 1]))
    np.testing.assert_array_equal(
        jax.random.key_data(part), jax.random.key_data(whole)[jnp.array([4, 1])]
    )
    other = discriminator_inputs.sample_keys(ctx, 1, jnp.arange(6))
    assert not np.array_equal(
        jax.random.key_data(whole), jax.random.key_data(other)
    )
