"""Training tricks: each is one key, which changes only what it should.

The step is simultaneous: G is updated against the D before the step, so that
the effects of a trick on the two players are separate.
"""

import functools

import jax
import pytest

import helpers
import test_games
import test_recipes
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G
from gan_jax.algorithms import reconstruction
from gan_jax.algorithms import translation
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax import networks
from gan_jax.objectives import losses
from gan_jax.objectives.penalties import PENALTIES


# Parts of a state: generator, discriminator, averages of G's weights, memory.
PARTS = {
    'G': lambda state: state.players[G],
    'D': lambda state: state.players[D],
    'A': lambda state: (state.averages[G].params, state.averages[G].stats),
    'M': lambda state: state.memory,
}
DENSE, IMAGES, NORMED = 'dense', 'images', 'dense with BatchNorm'
SHAPE = (16, 16, 1)

# Penalties that are 0 at the start, where weights equal their average.
AT_REST = ('d_historical_averaging', 'g_historical_averaging')

# (key, value, base, parts of the initial state, parts after a step)
TRICKS = [
    ('latent', 'sphere', DENSE, '', 'GDA'),
    ('latent', 'uniform', DENSE, '', 'GDA'),
    ('labels.real_low', 0.5, DENSE, '', 'D'),
    ('labels.fake_high', 0.3, DENSE, '', 'D'),
    ('labels.flip_probability', 0.5, DENSE, '', 'D'),
    ('instance_noise.std', 0.5, DENSE, '', 'GDA'),
    ('augment.adaptive', True, DENSE, 'M', 'M'),
    ('augment.bgc', True, DENSE, '', 'GDA'),
    ('augment.color', True, DENSE, '', 'GDA'),
    ('augment.cutout', True, DENSE, '', 'GDA'),
    ('augment.translation', True, DENSE, '', 'GDA'),
    ('packing', 2, DENSE, 'D', 'GDA'),
    ('history.size', 16, DENSE, 'M', 'M'),
    ('joint_batch', True, IMAGES, '', 'D'),
    ('reuse_fakes', True, DENSE, '', 'GA'),
    ('clip_weights', 0.01, DENSE, 'D', 'GDA'),
    ('ema_decay', 0.0, DENSE, '', 'A'),
    ('ema_half_life', 1, DENSE, '', 'A'),
    ('snapshots.count', 2, DENSE, 'M', 'M'),
    ('generator.dropout', 0.5, DENSE, '', 'GDA'),
    ('discriminator.dropout', 0.5, DENSE, '', 'GDA'),
    ('generator.negative_slope', 0.3, DENSE, '', 'GDA'),
    ('discriminator.negative_slope', 0.0, DENSE, '', 'GDA'),
    ('generator.prelu', True, DENSE, 'GA', 'GDA'),
    ('discriminator.prelu', True, DENSE, 'D', 'GDA'),
    ('generator.maxout', 2, DENSE, 'GA', 'GDA'),
    ('discriminator.maxout', 2, DENSE, 'D', 'GDA'),
    ('generator.init_std', 0.02, DENSE, 'GA', 'GDA'),
    ('discriminator.init_std', 0.02, DENSE, 'D', 'GDA'),
    ('generator.norm_momentum', 0.5, NORMED, '', 'GA'),
    ('discriminator.norm_momentum', 0.5, NORMED, '', 'D'),
    ('generator.output', 'linear', DENSE, '', 'GDA'),
    ('generator.spectral_norm', True, DENSE, 'GA', 'GDA'),
    ('discriminator.spectral_norm', True, DENSE, 'D', 'GDA'),
    ('generator.norm', 'instance', IMAGES, 'GA', 'GDA'),
    ('discriminator.norm', 'layer', IMAGES, 'D', 'GDA'),
    # Attention starts at strength 0, so the other player sees no change yet.
    ('generator.attention', 8, IMAGES, 'GA', 'GA'),
    ('discriminator.attention', 8, IMAGES, 'D', 'D'),
    ('generator.upsampling', 'nearest', IMAGES, 'GA', 'GDA'),
    ('generator.upsampling', 'pixel_shuffle', IMAGES, 'GA', 'GDA'),
    ('discriminator.downsampling', 'average_pool', IMAGES, '', 'GDA'),
    ('discriminator.minibatch_features', 4, DENSE, 'D', 'GDA'),
    ('discriminator.minibatch_stddev', True, IMAGES, 'D', 'GDA'),
    ('g_optimizer.name', 'sgd', DENSE, 'G', 'GA'),
    ('d_optimizer.name', 'sgd', DENSE, 'D', 'D'),
    ('g_optimizer.clip_norm', 1e-3, DENSE, 'G', 'GA'),
    ('d_optimizer.clip_norm', 1e-3, DENSE, 'D', 'D'),
    ('g_optimizer.warmup_steps', 10, DENSE, '', 'GA'),
    ('d_optimizer.warmup_steps', 10, DENSE, '', 'D'),
    *(
        (
            f'penalties.{name}.weight', 0.1, DENSE,
            'M' if penalty.init else '',
            ('M' if penalty.init else '') + (
                '' if name in AT_REST
                else {'discriminator': 'D', 'generator': 'GA'}[
                    penalty.player
                ]
            ),
        )
        for name, penalty in PENALTIES.items()
        # These need a condition, or a network, beside them.
        if not (penalty.classes or penalty.styles)
    ),
]


def base_config(base):
    """Return a config of dense networks, or of convolutions with BatchNorm."""
    if base == DENSE:
        config = helpers.tiny_mlp()
    elif base == NORMED:
        config = helpers.tiny_mlp()
        for player in (config.generator, config.discriminator):
            player.norm, player.depth = 'batch', 2
    else:
        config = helpers.tiny(defaults.default_config())
    config.schedule.name = 'simultaneous'
    return config


def play(config):
    """Return (state, state after a step)."""
    gan, hyperparams, batch = test_games.pieces(config, SHAPE)
    state = game.init(
        gan, jax.random.key(1), SHAPE, config.clip_weights
    )
    after, _ = adversarial.train_step(  # op by op, sooner than compiled
        gan, hyperparams, state, batch, jax.random.key(2)
    )
    return state, after


@functools.cache
def play_base(base):
    return play(base_config(base))


def changed(state, other):
    """Return the names of the parts in which two states differ."""
    names = set()
    for name, part in PARTS.items():
        mine, others = part(state), part(other)
        if jax.tree.structure(mine) != jax.tree.structure(others):
            names.add(name)
        elif not helpers.leaves_equal(mine, others):
            names.add(name)
    return names


IDS = [f'{key}={value}' for key, value, *_ in TRICKS]


@pytest.mark.parametrize('key, value, base, first, then', [
    pytest.param(*trick, marks=pytest.mark.slow)
    if trick[2] == IMAGES and trick[0] != 'joint_batch' else trick
    for trick in TRICKS  # convolutions take long to compile
], ids=IDS)
def test_a_trick_changes_only_its_own_parts(
    key, value, base, first, then
):
    config = base_config(base)
    config.update_from_flattened_dict({key: value})
    validation.validate(config)
    for state, plain, parts in zip(
            play(config), play_base(base), (first, then)):
        assert changed(state, plain) == set(parts)


# Recipes of one domain; tests/algorithms/test_translation.py has the others.
RECIPES = [
    path for path in test_recipes.RECIPES
    if path.stem not in translation.KINDS
]
QUICK = ('cgan', 'dcgan', 'mixtures', 'vae', 'wgan_gp')  # recipes; others slow


def field_is_missing(config, key):
    """Return whether the key is a field that the recipe's network lacks."""
    player, _, option = key.partition('.')
    if player not in ('generator', 'discriminator'):
        return False
    pair = networks.NETWORKS[config[player].name]
    if player == 'discriminator' and config.algorithm != 'adversarial':
        return option not in pair.encoder.__dataclass_fields__
    if player == 'discriminator' and losses.LOSSES[config.loss.name].energies:
        pair = networks.NETWORKS[pair.autoencoder or config.discriminator.name]
    return option not in getattr(pair, player).__dataclass_fields__


def has_no_game(config, key):
    """Return whether the key is one of D, and there is none."""
    return config.algorithm != 'adversarial' and key.startswith(
        reconstruction.UNUSED_KEYS
        + reconstruction.WITHOUT.get(config.algorithm, ())
    )


def targets_are_missing(config, key):
    """Return whether the key sets targets, and the loss takes none."""
    return (
        key.startswith('labels.')
        and not losses.LOSSES[config.loss.name].takes_targets
    )


def penalizes_single_images(config):
    return any(
        penalty.input_gradient and config.penalties[name].weight
        for name, penalty in PENALTIES.items()
    )


def mixes_images(config):
    return config.discriminator.norm == 'batch'


def gradient_of_a_mixture(config, key):
    """Return whether a penalty on D's slope at one image meets a D that mixes.
    """
    name = key.split('.')[1] if key.startswith('penalties.') else ''
    if name and PENALTIES[name].input_gradient:
        return mixes_images(config)
    return penalizes_single_images(config) and key in (
        'discriminator.minibatch_features', 'discriminator.minibatch_stddev'
    )


def images_are_missing(config, key):
    """Return whether the key changes images, and the data are points."""
    return defaults.has_points(config) and key.startswith((
        'augment.', 'penalties.consistency'
    ))


def meets_classes(config, key):
    """Return whether the key mixes samples, and the GAN is conditional."""
    conditional = config.generator.condition != 'none'
    return conditional and key in ('history.size', 'packing')


def needs_a_batch_norm(config, key):
    player, _, option = key.partition('.')
    return option == 'norm_momentum' and config[player].norm != 'batch'


def the_class_is_in_the_batch_norm(config, key):
    return (
        key == 'generator.norm' and config.generator.condition == 'batch_norm'
    )


def needs_one_update(config, key):
    return key == 'reuse_fakes' and config.d_steps * config.g_steps > 1


def values_move(config, key):
    """Return whether the key sets what moves, or has nothing that does."""
    return (
        key == 'ema_decay' and config.anneal.ema_half_life > 0
        or key.endswith('_optimizer.name') and config.anneal.b2 > 0
    )


def reals_are_fresh(config, key):
    return key == 'reuse_fakes' and config.fresh_reals


def unrolling_needs_no_clipping(config, key):
    return key == 'd_optimizer.clip_norm' and config.schedule.name == 'unrolled'


def latent_is_another(config, key):
    """Return whether the key sets a z that the algorithm does not have."""
    return key == 'latent' and config.algorithm != 'adversarial'


REASONS = (
    field_is_missing, has_no_game, targets_are_missing, gradient_of_a_mixture,
    images_are_missing, meets_classes, needs_a_batch_norm, needs_one_update,
    unrolling_needs_no_clipping, latent_is_another, values_move,
    reals_are_fresh, the_class_is_in_the_batch_norm,
)


def declared(path):
    """Return the names of the tricks that a recipe cannot have, by reason."""
    config = recipes.load(path)
    return {
        key.removesuffix('.weight') for key, *_ in TRICKS
        if any(reason(config, key) for reason in REASONS)
    }


def refused_tricks(path, use):
    """Add each trick that a shrunk recipe lacks, one at a time.

    Args:
        path: path of the recipe.
        use: called with each valid config and its shape of images.

    Returns:
        Set of the names of tricks that were rejected.
    """
    refused = set()
    for key, value, *_ in TRICKS:
        config = test_recipes.shrink(recipes.load(path))
        if not defaults.has_points(config):
            config.data.image_size = '16'
        if defaults.flatten(config)[key] == value:
            continue
        config.update_from_flattened_dict({key: value})
        try:
            unused_keys.leave_out(config, [key])  # what goes with the old value
            validation.validate(config)
            use(config, (2,) if defaults.has_points(config) else SHAPE)
        except errors.ConfigError as error:
            assert any(part in str(error) for part in key.split('.')), error
            refused.add(key.removesuffix('.weight'))
    return refused


@pytest.mark.parametrize('path', [
    path if path.stem in QUICK else pytest.param(path, marks=pytest.mark.slow)
    for path in RECIPES
], ids=lambda path: path.stem)
def test_recipes_support_every_trick_but_for_a_reason(path):
    def use(config, shape):
        builders.algorithm(
            config, builders.single_source_specs(shape, num_classes=10)
        )

    assert refused_tricks(path, use) == declared(path)


@pytest.mark.slow
@pytest.mark.parametrize('path', RECIPES)
def test_recipes_run_a_step_with_every_supported_trick(path):
    def use(config, shape):
        before, after, _ = test_games.trace(config, shape)
        assert jax.tree.structure(before) == jax.tree.structure(after)

    assert refused_tricks(path, use) == declared(path)
