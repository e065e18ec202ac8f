"""Every file of configs/ builds, validates and trains when shrunk."""

import importlib.util

import numpy as np
import pytest

import helpers
from conftest import ROOT
from gan_jax import build
from gan_jax import config as config_lib
from gan_jax import errors
from gan_jax import mixtures
from gan_jax import train

RECIPES = sorted((ROOT / 'configs').glob('*.py'))
ARGUMENTS = {
    'dcgan': ['mnist', 'fashion_mnist', 'cifar10', 'celeb_a'],
    'mixtures': sorted(mixtures.MIXTURES),
}
CASES = [
    (path, argument)
    for path in RECIPES
    for argument in [None, *ARGUMENTS[path.stem]]
]
SHAPES = {
    'digits': (32, 32, 1), 'mnist': (28, 28, 1), 'fashion_mnist': (28, 28, 1),
    'cifar10': (32, 32, 3), 'celeb_a': (64, 64, 3),
    **dict.fromkeys(mixtures.MIXTURES, (2,)), 'manifold': (16,),
}


def load(path, argument):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*([argument] if argument else [])), module


@pytest.mark.parametrize('path, argument', CASES)
def test_recipe_validates_and_fits_its_data(path, argument):
    config, module = load(path, argument)
    config_lib.validate(config)
    build.gan(config, SHAPES[config.data.name])
    assert f'--config=configs/{path.name}' in module.__doc__


@pytest.mark.parametrize('path', RECIPES)
def test_recipe_refuses_an_unknown_argument_in_one_line(path):
    with pytest.raises(errors.ConfigError, match='did you mean'):
        load(path, ARGUMENTS[path.stem][0] + 'x')


@pytest.mark.parametrize('path', RECIPES)
def test_shrunk_recipe_trains(path, tmp_path):
    config, _ = load(path, None)
    result = train.train(helpers.tiny(config), tmp_path)
    assert int(result.state.step) == 4
    assert np.isfinite(result.sample(range(4))).all()
