"""Recipes: each one builds, validates and, shrunk, trains and resumes."""

import subprocess
import sys

import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import game
from gan_jax.algorithms import translation
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.ops import mixtures
from gan_jax.training import train

RECIPES = sorted((ROOT / 'configs').glob('*.py'))
POINTS = ('mixtures', 'unrolled')
# The others are for images.
OWN = {
    'one_dimension': ('line',), 'stacked_mnist': ('half', 'quarter'),
    'r3gan': (*recipes.IMAGES, 'images_64', 'images_256'),
    'biggan': (*recipes.IMAGES, 'images_128'),
    'stylegan2': (
        *recipes.IMAGES, 'auto_64_32', 'auto_256', 'paper_256',
        'stylegan2_1024',
    ),
    'cyclegan': ('digits', 'images', 'images_256'),
    'pix2pix': ('digits', 'images', 'images_256'),
}


def arguments(path):
    """List the arguments of a recipe."""
    points = path.stem in POINTS
    others = sorted(mixtures.MIXTURES) if points else recipes.IMAGES
    return OWN.get(path.stem, others)


CASES = [
    pytest.param(
        path, argument, marks=[pytest.mark.integration] * bool(argument)
    )
    for path in RECIPES
    for argument in ['', *arguments(path)]
]
SHAPES = {
    'digits': (32, 32, 1), 'mnist': (28, 28, 1), 'fashion_mnist': (28, 28, 1),
    'cifar10': (32, 32, 3), 'celeb_a': (64, 64, 3),
    'stacked_mnist': (28, 28, 3),
    **dict.fromkeys(mixtures.MIXTURES, (2,)), 'line': (1,), 'manifold': (16,),
}


def specs_of(config):
    """Return the specs of the sources of a recipe."""
    if config.algorithm not in translation.KINDS:
        return builders.single_source_specs(shape_of(config), num_classes=10)
    *sides, _ = shape_of(defaults.of_source(config, 'a'))
    channels = {'stripes': (1, 3), 'edges': (1, 1)}
    channels = channels.get(config.data.task, (3, 3))
    return {
        name: builders.DataSpec((*sides, own))
        for name, own in zip('ab', channels)
    }


def shape_of(config):
    """Return the shape of the images of a recipe, or of its points."""
    shape = SHAPES.get(config.data.name, (3,))
    side = config.data.random_crop or config.data.image_size
    if side:
        return (int(side),) * 2 + shape[-1:]
    return shape


@pytest.mark.parametrize('path, argument', CASES)
def test_recipe_validates_and_fits_its_data(path, argument):
    config = recipes.load(path, argument)
    if argument.startswith('images') or not config.data.name:
        with pytest.raises(errors.ConfigError, match='one of them must be set'):
            validation.validate(config)
        config.data.path = 'my/images'
    validation.validate(config)
    builders.algorithm(config, specs_of(config))
    assert f'--config=configs/{path.name}' in path.read_text()


# Recipe, argument, number of classes, parameters of G and D in the authors'
# code (biggan:cifar10: PyTorch-StudioGAN; attention follows one block of D
# here, not four).
PUBLISHED = [
    ('r3gan', 'cifar10', 10, 20_781_952, 21_280_512),
    ('r3gan', 'images_64', 0, 22_429_824, 22_381_440),
    ('r3gan', 'images_256', 0, 23_057_952, 23_009_568),
    ('stylegan2', 'cifar10', 10, 20_215_315, 23_089_664),
    ('stylegan2', 'auto_64_32', 0, 22_243_608, 23_407_361),
    ('stylegan2', 'paper_256', 0, 24_767_458, 24_001_089),
    ('stylegan2', 'stylegan2_1024', 0, 30_370_060, 29_012_513),
    ('biggan', 'cifar10', 10, 9_416_196,
     2_553_413 - 3 * (2 * 192 * (192 // 8 + 192 // 2) + 1)),
    ('biggan', 'images_128', 1000, 70_433_988, 87_982_370),
]


# Of the authors' train.py: batch, largest side with the full width, rate,
# weight of R1, half-life of the average in thousands of images, ramp, layers of
# the mapping, group of the deviation, thousands of images.
STYLEGAN2 = {
    'cifar10': (64, 64, 0.0025, 0.01, 500, 0.05, 2, 32, 100_000),
    'paper_256': (64, 32, 0.0025, 1.0, 20, 0, 8, 8, 25_000),
    'stylegan2_1024': (32, 64, 0.002, 10.0, 10, 0, 8, 4, 25_000),
    'auto_128_64': (64, 32, 0.0025, 0.0512, 20, 0.05, 2, 4, 25_000),
    'auto_128': (32, 32, 0.0025, 0.1024, 10, 0.05, 2, 4, 25_000),
    'auto_256_64': (64, 32, 0.0025, 0.2048, 20, 0.05, 2, 4, 25_000),
    'auto_1024': (4, 64, 0.002, 52.4288, 1.25, 0.05, 2, 4, 25_000),
}


@pytest.mark.parametrize('argument', STYLEGAN2)
def test_stylegan2_has_the_published_settings(argument):
    (
        batch, full_side, rate, weight, half_life, ramp, layers, group, images
    ) = STYLEGAN2[argument]
    config = recipes.load(ROOT / 'configs' / 'stylegan2.py', argument)
    assert config.batch_size == batch
    for player in (config.generator, config.discriminator):
        assert (player.width, player.full_side) == (512, full_side)
    for optimizer in (config.g_optimizer, config.d_optimizer):
        assert (optimizer.b1, optimizer.b2) == (0, 0.99)
        assert optimizer.learning_rate == rate
    r1, length = config.penalties.r1, config.penalties.path_length
    assert r1.weight == pytest.approx(weight) and r1.every == 16
    cifar = argument == 'cifar10'
    assert (length.weight, length.every) == ((0, 1) if cifar else (2, 4))
    assert config.ema_half_life == 1000 * half_life
    assert config.ema_ramp == ramp
    assert config.anneal.ema_half_life == (0 if ramp else 1000 * half_life)
    assert config.generator.mapping_layers == layers
    assert config.generator.style_mixing == (0 if cifar else 0.9)
    assert config.discriminator.stddev_group == group
    assert config.discriminator.residual != cifar
    assert config.num_steps == -(-1000 * images // batch)


@pytest.mark.parametrize(
    'stem, argument, num_classes, g_size, d_size', PUBLISHED
)
def test_recipe_has_the_published_networks(
    stem, argument, num_classes, g_size, d_size
):
    config = recipes.load(ROOT / 'configs' / f'{stem}.py', argument)
    specs = builders.single_source_specs(
        shape_of(config), num_classes=num_classes
    )
    gan = builders.algorithm(config, specs)
    players = builders.abstract_state(config, gan, specs).players
    assert algorithm_lib.count_params(players[game.G]) == g_size
    assert algorithm_lib.count_params(players[game.D]) == d_size


def test_few_images_is_stylegan2_with_ada_and_held_out_images():
    plain, few = (
        recipes.load(ROOT / 'configs' / f'{stem}.py', 'images')
        for stem in ('stylegan2', 'few_images')
    )
    keys = {
        difference.partition(':')[0]
        for difference in run_identity.differences(plain, few)
    }
    assert keys == {
        'augment.adaptive', 'augment.adaptive_images', 'data.test_share',
    }
    assert defaults.active_augmentations(few) == ('bgc',)


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_recipe_refuses_an_unknown_argument_in_one_line(path):
    with pytest.raises(errors.ConfigError, match='did you mean'):
        recipes.load(path, arguments(path)[0] + 'x')


def shrink(config):
    """Shrink a recipe so that it compiles in seconds."""
    helpers.tiny(config)
    config.d_steps = min(config.d_steps, 2)
    if config.schedule.name == 'wgan':
        config.schedule.burst_steps, config.schedule.burst_first = 4, 1
    if config.schedule.name == 'unrolled':
        config.schedule.unroll_steps = 2
    if 'autoencoder' in defaults.discriminator_name(config):
        config.discriminator.code_size = 4
    if config.data.name == 'stacked_mnist':  # which is not at hand everywhere
        config.data.name, config.data.channels = 'digits', 3
    if config.data.name == 'digits':
        config.data.image_size = '8'
    if config.discriminator.name == 'patchgan':
        config.data.image_size, config.discriminator.depth = '16', 1
        if config.generator.name != 'unet':
            config.generator.num_blocks = 1
    config.reconstruction.start = min(config.reconstruction.start, 2)
    if config.generator.attention:
        config.data.image_size = '16'
        config.generator.attention = config.discriminator.attention = 8
    return config


def check_resume(path, folder):
    """Assert that training 4 steps at once equals training 2 and 2."""
    config = shrink(recipes.load(path))
    whole = train.train(config, folder / 'whole').state
    config.num_steps = 2
    train.train(config, folder / 'parts')
    config.num_steps, logged = 4, []
    parts = train.train(
        config, folder / 'parts',
        callback=lambda step, metrics: logged.append(step),
    ).state
    assert logged == [4]  # step 2 was not made again
    assert helpers.leaves_equal(whole, parts)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_shrunk_recipe_resumes_bit_for_bit(path, tmp_path):
    check_resume(path, tmp_path)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_shrunk_recipe_resumes_bit_for_bit_on_four_devices(path, tmp_path):
    process = subprocess.run(
        [sys.executable, ROOT / 'tests' / 'resume_worker.py', path, tmp_path,
         '4'],
        env=helpers.environment(4),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr[-3000:]
