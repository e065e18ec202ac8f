"""Runs that start from a release: fresh, going on, with frozen layers."""

import pathlib
import re

import jax
import numpy as np
import pytest

import gan_jax
import helpers
import test_adversarial_autoencoder as autoencoders
from gan_jax.algorithms import freezing
from gan_jax.algorithms.game import D, G
from gan_jax.cli import recipe_files
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.runs import initialization
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import checkpoint
from gan_jax.tools import release
from gan_jax.training import train

FROZEN = f'{D}/Dense_0, {G}/Norm_*,{G}/Dense_1/bias'


def make_config(**changes):
    """Return a config with all that a frozen layer could be moved by."""
    config = helpers.tiny_mlp()
    config.generator.depth = config.discriminator.depth = 2
    config.generator.norm, config.discriminator.spectral_norm = 'batch', True
    config.penalties.g_historical_averaging.weight = 0.1
    config.clip_weights, config.d_steps = 1e-3, 2
    config.g_optimizer.clip_norm = 1.0
    config.diagnosis.on, config.sample_every = False, 0
    config.snapshots.count = 2
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Return a run of 4 steps and its whole release."""
    folder = tmp_path_factory.mktemp('start')
    run = train.train(make_config(), folder / 'run')
    release.write(
        folder / 'out', run.workdir, run.algorithm, run.state, training=True
    )
    return run, str(folder / 'out')


def test_going_on_equals_resuming_bit_for_bit(start, tmp_path):
    run, folder = start
    going_on = train.train(make_config(
        init_from=folder, init_resume=True, num_steps=7
    ), tmp_path / 'on')
    resumed = train.train(make_config(num_steps=7), run.workdir)
    assert helpers.leaves_equal(going_on.state, resumed.state)
    assert (tmp_path / 'on' / 'samples' / 'reals.png').exists()
    # A continued run needs the release no more.
    again = train.train(make_config(
        init_from=folder, init_resume=True, num_steps=7
    ), tmp_path / 'on')
    assert helpers.leaves_equal(again.state, resumed.state)


def test_frozen_layers_do_not_move_and_all_others_do(start, tmp_path):
    first = start[0].state
    tuned = train.train(make_config(
        init_from=start[1], init_resume=True, num_steps=7, freeze=FROZEN,
        **{'g_optimizer.learning_rate': 0.01},
    ), tmp_path / 'tuned').state
    frozen = moved = 0
    for name, before, after in zip(
            checkpoint.form(first), jax.tree.leaves(first),
            jax.tree.leaves(tuned)):
        match = re.fullmatch(
            rf'players/({D}|{G})/(?:params|stats/\w+)/(.*)'
            rf'|averages/({G})/(?:params|stats/\w+)/(.*)', name
        )
        if match is None:
            continue
        own = '/'.join(filter(None, match.groups()))
        # A vector of spectral norm belongs to its layer.
        own = re.sub(r'SpectralNorm_\d+/(\w+)\.', r'\1/', own)
        still = own.startswith((f'{D}/Dense_0/', f'{G}/Norm_')) or (
            own == f'{G}/Dense_1/bias'
        )
        if np.size(before) > 1:  # a single value may stay at the clip's limit
            assert np.array_equal(before, after) == still, name
        else:
            assert not still or before == after, name
        frozen, moved = frozen + still, moved + (not still)
    assert frozen >= 12 and moved >= 12


def test_fresh_start_takes_chosen_networks_alone(start, tmp_path):
    run, folder = start
    config = make_config(
        init_from=folder, init_players=G, num_steps=1,
        **{'g_optimizer.learning_rate': 1e-30},
    )
    tuned = train.train(config, tmp_path / 'tuned').state
    assert int(tuned.step) == 1
    params = [each.players[G].params for each in (tuned, run.state)]
    for one, other in zip(*map(jax.tree.leaves, params)):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not helpers.leaves_equal(*(
        each.players[D].params for each in (tuned, run.state)
    ))


def test_memory_begins_at_the_taken_parameters(start, tmp_path):
    run, folder = start
    config = make_config(init_from=folder, num_steps=1)
    config.penalties.g_historical_averaging.weight = 1e-30
    rates = {f'{player}_optimizer.learning_rate': 1e-30 for player in 'dg'}
    config.update_from_flattened_dict(rates)
    tuned = train.train(config, tmp_path / 'tuned').state
    mean = tuned.memory['g_historical_averaging']['mean']
    owners = [
        player.params for player in run.state.players.values()
        if jax.tree.structure(player.params) == jax.tree.structure(mean)
    ]
    for one, other in zip(*map(jax.tree.leaves, (mean, owners[0]))):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize('changes', [
    {'penalties.g_historical_averaging.weight': 0.1}, {'snapshots.count': 2},
])
def test_players_of_the_same_layers_are_told_apart(changes, tmp_path):
    config = updated(helpers.tiny_mlp(), num_steps=1, **{
        'g_optimizer.learning_rate': 1e-30, **changes
    })
    first = train.train(config, tmp_path / 'run')
    layers = [sorted(first.state.players[name].params) for name in (D, G)]
    assert layers[0] == layers[1]
    config.init_from = str(first.workdir)
    tuned = train.train(config, tmp_path / 'tuned').state
    for kept in jax.tree.leaves(tuned.memory):
        assert np.isfinite(kept).all()
    if 'g_historical_averaging' in tuned.memory:
        for one, other in zip(*map(jax.tree.leaves, (
            tuned.memory['g_historical_averaging']['mean'],
            first.state.players[G].params,
        ))):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_codebook_goes_with_its_encoder(tmp_path):
    config = autoencoders.shrunk('vq_gan', num_steps=3)
    config.generator.num_downs = 1
    run = train.train(config, tmp_path / 'run')
    release.write(tmp_path / 'out', run.workdir, run.algorithm, run.state)
    loaded = gan_jax.load(tmp_path / 'out')
    np.testing.assert_array_equal(loaded.sample([1, 2]), run.sample([1, 2]))
    assert loaded.state.memory['codebook']['share'].sum() > 0
    config.init_from = str(tmp_path / 'out')
    specs = sampling.load_data_specs(tmp_path / 'out')
    for image_size, same in (('16', True), ('24', False)):
        config.data.image_size = image_size
        new = {name: spec._replace(
            shape=(int(image_size), int(image_size), 1)
        ) for name, spec in specs.items()}
        state = initialization.initial_state(
            config, builders.algorithm(config, new), new
        )
        assert int(state.step) == 0
        assert helpers.leaves_equal(
            state.memory['codebook'], run.state.memory['codebook']
        ) == same


@pytest.mark.parametrize('begin', [
    {'init_players': G}, {'init_resume': True, 'num_steps': 5},
])
def test_release_of_a_tuned_run_does_not_start_as_that_run(
    begin, start, tmp_path
):
    config = make_config(init_from=start[1], freeze=FROZEN, **begin)
    tuned = helpers.untrained(config, tmp_path / 'tuned')
    folder = str(tmp_path / 'out')
    release.write(
        folder, tuned.workdir, tuned.algorithm, tuned.state, training=True
    )
    released = run_files.load_config(folder)
    assert (released.init_from, released.init_players) == ('', '')
    assert not released.init_resume and released.freeze == FROZEN
    # As the card says: all networks at step 0, or its state as it is.
    released.init_from = folder
    specs = sampling.load_data_specs(folder)
    fresh, going_on = (
        initialization.initial_state(config, tuned.algorithm, specs)
        for config in (
            released, updated(released, init_resume=True, num_steps=6)
        )
    )
    assert int(fresh.step) == 0
    for name in (D, G):
        assert helpers.leaves_equal(
            fresh.players[name].params, tuned.state.players[name].params
        )
    assert helpers.leaves_equal(going_on, tuned.state)
    # A run from it is identified by its own start.
    helpers.untrained(released, tmp_path / 'again')
    with pytest.raises(errors.CheckpointError, match='init_resume: False ->'):
        train.train(
            updated(released, init_resume=True), tmp_path / 'again'
        )


def updated(config, **changes):
    """Return a copy of a config with changes."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    return config


BAD = {
    'an unknown player': ({'init_players': 'critic'}, 2, "'critic'"),
    'another network': ({'latent_size': 5}, 8, 'does not hold this network'),
    'a pattern without a layer': (
        {'freeze': 'discriminator/Convolution'}, 2, 'there are discriminator/'
    ),
    'no such folder': ({'init_from': '/nowhere'}, 5, '/nowhere'),
    'several seeds': ({'population': 2}, 2, 'starts a single GAN'),
    'players of a whole state': (
        {'init_players': G, 'init_resume': True}, 2, 'takes the whole state'
    ),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_start_is_refused(name, start, tmp_path):
    changes, code, says = BAD[name]
    with pytest.raises(errors.UserError, match=re.escape(says)) as caught:
        train.train(
            make_config(**{'init_from': start[1], **changes}), tmp_path / 'run'
        )
    assert caught.value.exit_code == code
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('is_absolute', [True, False])
def test_other_networks_name_a_config_that_can_be_typed(
    is_absolute, start, tmp_path, monkeypatch
):
    folder = pathlib.Path(start[1])
    monkeypatch.chdir(folder.parent)
    folder = str(folder) if is_absolute else folder.name
    typed = folder if is_absolute else f'./{folder}'
    with pytest.raises(errors.ReleaseError, match=f' --config={typed}$'):
        train.train(
            make_config(init_from=folder, latent_size=5), tmp_path / 'run'
        )
    assert recipe_files.path_of(typed).endswith(f'run_config.py:{typed}')


def test_going_on_needs_optimizers_and_memory(start, tmp_path):
    run, _ = start
    release.write(tmp_path / 'out', run.workdir, run.algorithm, run.state)
    with pytest.raises(errors.ReleaseError, match='release the run with --tra'):
        train.train(make_config(
            init_from=str(tmp_path / 'out'), init_resume=True
        ), tmp_path / 'run')


@pytest.mark.parametrize('pattern, name, is_frozen', [
    (D, f'{D}/Conv_0/kernel', True), (f'{D}/Conv_0', f'{D}/Conv_0/bias', True),
    (f'{D}/Conv_1', f'{D}/Conv_10/bias', False), (D, f'{G}/Conv_0/bias', False),
    (f'{G}/*/bias', f'{G}/a/b/bias', True), (f'{D}/s_?', f'{D}/s_3/c/k', True),
    (f'{D}/conv_0', f'{D}/Conv_0/kernel', False),
])
def test_pattern_names_layers_whole(pattern, name, is_frozen):
    assert freezing.is_frozen((pattern,), name) == is_frozen
