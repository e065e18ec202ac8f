"""Values derived from a config, and the identity of a run."""

import pytest

import helpers
from gan_jax.config import defaults
from gan_jax.config import run_identity


@pytest.mark.parametrize(
    'text, size', [('', None), ('64', (64, 64)), ('48x80', (48, 80))]
)
def test_image_size_is_height_by_width(text, size):
    config = defaults.default_config()
    config.data.image_size = text
    assert defaults.image_size(config) == size


@pytest.mark.parametrize(
    'recipe, overrides, name',
    [
        ('configs/dcgan.py', {}, 'dcgan'),
        ('configs/dcgan.py:mnist', {}, 'dcgan-mnist'),
        ('a\\b\\x.py', {'d_steps': 5}, 'x-d_steps=5'),
        ('dcgan.py', {'num_steps': 9, 'data.data_dir': '/x'}, 'dcgan'),
        (
            'dcgan.py', {'allow_bad_setup': True, 'generator.output': 'relu'},
            'dcgan-generator.output=relu',
        ),
        (
            'dcgan.py',
            {'loss.name': 'hinge', 'data.path': '/a b/c'},
            'dcgan-data.path=_a_b_c-loss.name=hinge',
        ),
    ],
)
def test_run_name_contains_the_keys_that_change_the_experiment(
    recipe, overrides, name
):
    assert run_identity.run_name(recipe, overrides) == name


def test_free_keys_are_keys():
    keys = defaults.flatten(defaults.default_config())
    assert set(run_identity.FREE_KEYS) <= set(keys)


def test_differences_list_keys_that_change_training():
    stored, config = helpers.tiny_mlp(), helpers.tiny_mlp()
    config.num_steps, config.log_every = 10**6, 1
    assert run_identity.differences(stored, config) == []
    config.loss.name = 'hinge'
    assert run_identity.differences(stored, config) == [
        "loss.name: 'non_saturating' -> 'hinge'"
    ]
