"""Settings, drawings and sessions of the lab, without a server."""

import dataclasses
import json
import struct

import chex
import jax
from jax import monitoring
import numpy as np
import pytest
from scipy import stats

from gan_jax.algorithms import update_order
from gan_jax.algorithms import latents
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.lab import compiled_steps
from gan_jax.lab import drawing
from gan_jax.lab import recording
from gan_jax.lab import session as session_lib
from gan_jax.lab import settings as settings_lib
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.ops import mixtures
from gan_jax.ops import optimizers
from gan_jax.training import multi_seed

COMPILED = []
monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **more: COMPILED.append(name)
    if 'backend_compile' in name else None
)


def tiny(**changes):
    """Return settings of one GAN that compiles quickly, with changes."""
    gan = settings_lib.Gan(g_width=4, g_depth=1, d_width=4, d_depth=1)
    return settings_lib.Settings(
        batch_size=8, gans=(dataclasses.replace(gan, **changes),)
    )


def line():
    gan = dataclasses.replace(tiny().gans[0], latent_size=1)
    return settings_lib.Settings(data='two_bells', batch_size=8, gans=(gan,))


DRAWING = drawing.encode([(0.5, -0.5), (-1, 1), (0, 0.25)])
LIVELY = settings_lib.Settings(
    data='drawn', drawing=DRAWING, seed=7, speed=9, gans=(
        settings_lib.Gan(
            loss='wasserstein', g_rate=3e-5, spectral_norm=True,
            penalties={'r1': 0.25, 'lecam': 1e-3},
        ),
        settings_lib.Gan(latent='uniform', noise=0.1, shown='ema'),
    ),
)
ALL = [*(preset for _, preset in settings_lib.PRESETS.values()), LIVELY, line()]


@pytest.mark.parametrize('settings', ALL)
def test_links_and_json_hold_all_settings(settings):
    link = settings_lib.to_link(settings)
    assert settings_lib.from_link(link) == settings
    assert settings_lib.from_link('#' + link) == settings
    sent = json.loads(json.dumps(settings_lib.to_json(settings)))
    assert settings_lib.from_json(sent) == settings


def test_link_of_the_defaults_is_empty_and_that_of_a_drawing_short():
    assert settings_lib.to_link(settings_lib.Settings()) == ''
    full = np.random.RandomState(0).uniform(-1, 1, (drawing.MOST_POINTS, 2))
    link = settings_lib.to_link(
        dataclasses.replace(LIVELY, drawing=drawing.encode(full))
    )
    assert len(link) < 1600
    assert settings_lib.from_link(link).drawing == drawing.encode(full)


@pytest.mark.parametrize('value, message', [
    (None, 'JSON object'), ([], 'JSON object'),
    ({'x': 1}, "'x' is not a setting"),
    ({'seeds': 1}, "did you mean 'seed'"), ({'seed': -1}, 'seed of settings'),
    ({'seed': 1.5}, 'not int'), ({'seed': True}, 'not int'),
    ({'batch_size': 10**9}, 'not in 8'), ({'data': 'rin'}, "mean 'ring'"),
    ({'data': ['ring']}, 'not str'), ({'data': 'drawn'}, 'needs a drawing'),
    ({'drawing': '§'}, 'cannot be read'), ({'drawing': 'AAA' * 999}, 'at most'),
    ({'drawing': 'AAAA'}, 'two bytes'), ({'gans': []}, 'GANs is 0'),
    ({'gans': [{}] * 5}, '1 to 4'), ({'gans': [1]}, 'GAN 1 must be'),
    ({'gans': [{'g_rate': 0}]}, 'g_rate of GAN 1 is 0'),
    ({'gans': [{'g_rate': '1'}]}, 'not float'),
    ({'gans': [{'g_rate': float('nan')}]}, 'g_rate of GAN 1 is nan'),
    ({'gans': [{'g_rate': 10**400}]}, 'not float'),
    ({'seed': 10**400}, 'seed of settings is a number of more than 308'),
    ({'gans': [{'fade': -10**400}]}, 'fade of GAN 1 is a number of more'),
    ({'gans': [{'loss': 'energy_based'}]}, 'is not one of'),
    ({'gans': [{}, {'penalties': {'x': 1.0}}]}, 'penalties of GAN 2'),
    ({'gans': [{'penalties': {'r1': 0}}]}, 'weight of r1'),
    ({'gans': [{'penalties': {'r1': [1]}}]}, 'weight of r1'),
    ({'gans': [{'penalties': 'r1'}]}, 'must map names to weights'),
])
def test_invalid_settings_are_refused_in_one_line(value, message):
    with pytest.raises(errors.ConfigError) as caught:
        settings_lib.from_json(value)
    assert message in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('link, message', [
    ('x=1', "'x'"), ('seed', 'cannot be read'), ('seed=', 'not a number'),
    ('seed=nan', 'not a number'), ('seed=1.5', 'not int'), ('gans=9', '1 to 4'),
    ('1.loss=hinge', 'names a GAN'), ('0.x=1', "'x'"),
    ('0.g_rate=inf', 'not a number'),
    ('gans=1e99', '1 to 4'), ('a=b&' * 300, 'cannot be read'),
    ('0.penalties=r1', 'not a setting'), ('%ff=1', 'cannot be read'),
    ('0.spectral_norm=yes', 'not bool'), ('x' * 9999, 'characters'),
    (None, 'characters'), ('0.loss.x=1', 'not a setting'),
    ('0.loss=hinge&0.loss.x=1', "'0.loss.x' is not a setting"),
    ('0.loss.x=1&0.loss=hinge', "'0.loss.x' is not a setting"),
])
def test_bad_links_are_refused_in_one_line(link, message):
    with pytest.raises(errors.ConfigError, match=message) as caught:
        settings_lib.from_link(link)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('menu, left_out, registry', [
    (settings_lib.SCHEDULES, settings_lib.SCHEDULES_LEFT_OUT,
     update_order.SCHEDULES),
    (settings_lib.LATENTS, settings_lib.LATENTS_LEFT_OUT, latents.LATENTS),
    (settings_lib.OPTIMIZERS, (), optimizers.OPTIMIZERS),
], ids=['schedules', 'latents', 'optimizers'])
def test_menus_have_the_names_of_the_registries(menu, left_out, registry):
    assert not set(menu) & set(left_out)
    assert {*menu, *left_out} == set(registry)
    assert all(label != name for name, label in menu.items())


def test_registries_are_offered_or_left_out():
    offered = {*settings_lib.LOSSES, *settings_lib.LOSSES_LEFT_OUT}
    assert offered == set(losses.LOSSES)
    assert offered - set(settings_lib.LOSSES) == {
        name for name, loss in losses.LOSSES.items() if loss.energies
    }
    assert {
        *settings_lib.PENALTIES, *settings_lib.PENALTIES_LEFT_OUT
    } == set(penalties.PENALTIES)
    named = {s.library for s in drawing.SOURCES.values() if s.library}
    assert named <= set(mixtures.MIXTURES)


def test_outputs_of_d_are_drawn_by_the_kind_of_the_loss():
    kinds = {
        name: compiled_steps.output_kind(name) for name in settings_lib.LOSSES
    }
    assert {name: kind for name, kind in kinds.items() if kind != 'score'} == {
        'minimax': 'probability', 'non_saturating': 'probability',
        'least_squares': 'target',
    }


def test_every_control_has_an_explanation_and_a_group():
    schema = settings_lib.schema()
    fields = schema['settings'] + schema['gan'] + schema['penalties']
    assert all(len(f['label']) > 1 and len(f['words']) > 10 for f in fields)
    assert {f['group'] for f in schema['gan']} == set(schema['groups'])
    json.dumps(schema, allow_nan=False)


@pytest.mark.parametrize('change', [
    *({'loss': name} for name in settings_lib.LOSSES),
    *({'penalties': {name: weight}} for name, (_, _, weight) in
      settings_lib.PENALTIES.items()),
    *({'schedule': name} for name in settings_lib.SCHEDULES),
    *({'latent': name} for name in settings_lib.LATENTS),
    *({'optimizer': name} for name in settings_lib.OPTIMIZERS),
    {'fade': 9, 'warmup': 2},
], ids=str)
def test_every_choice_traces(change):
    settings = tiny(**change)
    config = settings_lib.config(settings, settings.gans[0])
    specs = builders.single_source_specs((2,))
    gan = builders.algorithm(config, specs)
    hyperparams = builders.hyperparams(config)
    key = jax.random.key(0)
    state = builders.abstract_state(config, gan, specs)
    new, metrics = jax.eval_shape(
        lambda *args: compiled_steps._train(gan, settings.source, 8, *args),
        state, hyperparams, drawing.table(settings.source, ''), (key, key),
        np.int32(1),
    )
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert {'d/loss', 'g/loss'} <= set(metrics)


@pytest.fixture(scope='module')
def trained():
    """Return settings with many options, and a session after 5 steps."""
    settings = dataclasses.replace(tiny(
        loss='wasserstein', d_steps=2, penalties={'gradient_penalty': 2.0},
        clip=0.5,
    ), seed=3)
    session = session_lib.Session(settings)
    session.advance(5)
    return settings, session


def test_training_equals_that_of_the_library(trained):
    settings, session = trained
    config = settings_lib.config(settings, settings.gans[0])
    many = multi_seed.Population(config, [settings.seed])
    states, metrics = many.advance(many.init(), 5)
    (mine,) = session.states
    assert int(mine.step) == 5 and int(mine.position) == 10
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[0], atol=1e-6), mine,
        states,
    )
    logged = session.views()[0]['metrics']
    assert set(logged) == set(metrics) - {'alive'}
    for name, value in logged.items():
        np.testing.assert_allclose(value, metrics[name][0], rtol=1e-4)


def test_single_steps_and_resets_give_the_same_bits(trained):
    settings, session = trained
    before = jax.tree.map(np.asarray, session.states)
    session.reset()
    assert int(session.states[0].step) == 0
    for _ in range(5):
        session.advance(1)
    chex.assert_trees_all_equal(session.states, before)


def test_live_settings_compile_nothing():
    settings = tiny(penalties={'r1': 0.1}, clip=0.5, noise=0.1)
    session = session_lib.Session(settings)
    session.advance(2)
    session.views()
    count, before = compiled_steps.compiled_count(), len(COMPILED)
    for change in (
        {'g_rate': 0.02}, {'d_rate': 1e-5}, {'penalties': {'r1': 3.0}},
        {'clip': 0.01}, {'noise': 0.5}, {'noise_steps': 9},
        {'ema_decay': 0.5}, {'shown': 'ema'},
    ):
        gan = dataclasses.replace(session.settings.gans[0], **change)
        new = dataclasses.replace(session.settings, gans=(gan,), speed=50)
        assert not session.needs_compiling(new)
        state = jax.tree.map(np.asarray, session.states[0].players[D])
        session.change(new)
        chex.assert_trees_all_equal(
            state,
            session.states[0].players[D],
        )
        session.advance(3)
        session.views()
    assert compiled_steps.compiled_count() == count and len(COMPILED) == before
    assert int(session.states[0].step) == 26
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(
        session.states[0].players[D].params
    ))
    assert largest <= np.float32(0.01)  # the last value of clip is in effect


@pytest.mark.parametrize('change', [
    {'loss': 'hinge'}, {'g_width': 5}, {'penalties': {'drift': 0.1}},
    {'d_steps': 2}, {'noise': 0.1},
])
def test_other_changes_compile_once(change):
    session = session_lib.Session(tiny())
    count = compiled_steps.compiled_count()
    assert session.needs_compiling(tiny(**change))
    session.change(tiny(**change))
    assert compiled_steps.compiled_count() - count <= 1  # another test may have
    assert not session.needs_compiling(tiny(**change))


def test_tab_keeps_a_program_that_the_cache_dropped(monkeypatch):
    session = session_lib.Session(tiny())
    (player,) = session._players
    monkeypatch.setattr(compiled_steps, 'compiled', {}.__getitem__)
    live = tiny(g_rate=0.5)
    assert not session.needs_compiling(live)
    session.change(live)
    assert session._players[0].program is player.program
    with pytest.raises(KeyError):
        session.change(tiny(b1=0.75))


def test_state_that_fits_is_kept_after_a_change():
    session = session_lib.Session(tiny())
    session.advance(4)
    old = jax.tree.map(np.asarray, session.states[0])
    session.change(tiny(loss='least_squares', penalties={'lecam': 1.0}))
    (new,) = session.states
    assert int(new.step) == 4 and 'lecam' in new.memory
    chex.assert_trees_all_equal(new.players[G], old.players[G])
    session.change(tiny(optimizer='sgd'))
    chex.assert_trees_all_equal(
        session.states[0].players[G].params,
        old.players[G].params,
    )
    assert session.views()[0]['metrics']
    session.change(tiny(g_width=5))
    assert int(session.states[0].step) == 0
    assert session.views()[0]['metrics'] == {}
    session.advance(1)
    session.change(dataclasses.replace(tiny(g_width=5), seed=9))
    assert int(session.states[0].step) == 0


def test_a_second_gan_does_not_change_the_first():
    session = session_lib.Session(tiny())
    session.advance(4)
    old = jax.tree.map(np.asarray, session.states[0])
    both = dataclasses.replace(
        tiny(), gans=(*tiny().gans, *tiny(loss='hinge').gans)
    )
    session.change(both)
    chex.assert_trees_all_equal(session.states[0], old)
    session.advance(1)
    assert [int(state.step) for state in session.states] == [5, 1]
    assert [view['tells'] for view in session.views()] == [
        'probability', 'score'
    ]


def test_remaining_gans_continue_when_others_are_removed():
    four = tuple(tiny(g_rate=rate).gans[0] for rate in (1e-3, 2e-3, 3e-3, 4e-3))
    live = dataclasses.replace(four[2], d_rate=0.5)
    session = session_lib.Session(dataclasses.replace(tiny(), gans=four[:1]))
    for count in range(2, 5):
        session.advance(1)
        session.change(dataclasses.replace(tiny(), gans=four[:count]))
    assert [int(state.step) for state in session.states] == [3, 2, 1, 0]
    views = session.views()
    for gans, steps in (
        (four[1:], [2, 1, 0]), ((four[1], live), [2, 1]), ((live,), [1]),
    ):
        session.change(dataclasses.replace(tiny(), gans=gans))
        assert [int(state.step) for state in session.states] == steps
    (view,) = session.views()
    np.testing.assert_array_equal(view['points'], views[2]['points'])
    assert view['metrics'] == views[2]['metrics']


def test_gans_are_matched_to_the_most_similar_earlier_ones():
    a, b, c = (tiny(g_width=width).gans[0] for width in (4, 5, 6))
    moved = dataclasses.replace(b, g_rate=0.5)
    assert session_lib.match((a, b), (a, c)) == (0, 1)
    assert session_lib.match((a,), (b, a, c)) == (0,)
    assert session_lib.match((a, b, c), (c,)) == (2,)
    assert session_lib.match((a, b, c), (moved, c)) == (1, 2)
    assert session_lib.match((a, b), (moved,)) == (1,)
    assert session_lib.match((a, a), (a,)) == (0,)


def test_new_drawings_compile_nothing_and_replace_the_data():
    settings = dataclasses.replace(tiny(), data='drawn', drawing=DRAWING)
    session = session_lib.Session(settings)
    session.real()
    count, before = compiled_steps.compiled_count(), len(COMPILED)
    means = [(-0.75, 0.5), (0.25, 0.25)]
    session.change(
        dataclasses.replace(settings, drawing=drawing.encode(means))
    )
    points = np.reshape(session.real()['points'], (-1, 2))
    assert compiled_steps.compiled_count() == count and len(COMPILED) == before
    gaps = np.linalg.norm(points[:, None] - np.array(means), axis=-1)
    assert gaps.min(1).max() < 6 * drawing.SOURCES['drawn'].std
    shares = (gaps.argmin(1) == 0).mean()
    assert abs(shares - 0.5) < 0.1


def test_drawings_are_decoded_within_one_level():
    points = np.random.RandomState(0).uniform(-1, 1, (50, 2))
    again = drawing.decode(drawing.encode(points))
    np.testing.assert_allclose(again, points, atol=1 / 255 + 1e-6)
    assert drawing.decode('').shape == (0, 2)
    assert drawing.encode(np.full((3, 2), 9.0)) == '________'


def test_density_in_1d_is_that_of_its_gaussians():
    source = drawing.SOURCES['two_bells']
    table = drawing.table(source, '')
    x = np.linspace(-6, 6, 4001)
    density = drawing.density(table, x)
    mixture = sum(stats.norm.pdf(x, mean, 0.4) for mean in (-1, 1)) / 2
    np.testing.assert_allclose(density, mixture, rtol=1e-5, atol=1e-9)
    share = drawing.cumulative(table, x)
    np.testing.assert_allclose(
        np.cumsum(density) * (x[1] - x[0]), share, atol=2e-3
    )
    drawn = mixtures.sample(
        drawing.mixture(source, table), jax.random.key(0), np.arange(4000)
    )
    assert session_lib.kolmogorov_smirnov(table, np.asarray(drawn[:, 0])) < 0.03


def test_distance_equals_scipys_kolmogorov_smirnov_statistic():
    table = drawing.table(drawing.SOURCES['bell'], '')
    samples = np.random.RandomState(0).normal(0.3, 1.2, 500)
    assert session_lib.kolmogorov_smirnov(table, samples) == pytest.approx(
        stats.kstest(samples, 'norm').statistic
    )


def test_generated_density_is_a_histogram():
    density = session_lib.generated_density(np.full(10, 0.05), 4.0)
    assert density[session_lib.BINS // 2] == pytest.approx(10)
    assert density.sum() == pytest.approx(10)


def test_line_shows_the_optimal_d():
    session = session_lib.Session(line())
    (view,) = session.views()
    x = compiled_steps.line(3.0)
    fake = np.interp(x, session_lib.centres(3.0), view['generated'])
    data = drawing.density(session.table, x)
    there = data + fake >= 0.01
    assert there.sum() > 50 and np.isnan(view['best'][~there]).all()
    np.testing.assert_allclose(
        view['best'][there], (data / (data + fake))[there], atol=1e-6
    )
    (state,) = session.states
    gan = session._players[0].program.algorithm
    logits = gan.discriminator.apply(
        {'params': state.players[D].params}, x[:, None], train=False
    ).logits
    np.testing.assert_allclose(
        view['curve'], jax.nn.sigmoid(logits), atol=1e-6
    )
    inside = (drawing.cumulative(session.table, x) >= 0.05) & (
        drawing.cumulative(session.table, x) <= 0.95
    )
    gap = np.abs(np.asarray(jax.nn.sigmoid(logits)) - 0.5)[inside].mean()
    assert view['gap'] == pytest.approx(gap, abs=1e-6)


def test_numbers_that_are_not_finite_stop_training():
    session = session_lib.Session(tiny(
        loss='least_squares', optimizer='sgd', g_rate=1.0, d_rate=1.0,
    ))
    for _ in range(20):
        session.advance(50)
    assert not session.alive
    (view,) = session.views()
    assert not view['alive'] and view['step'] < 1000 and view['metrics']
    session.change(tiny(loss='hinge'))
    assert session.alive and session.views()[0]['metrics'] == {}
    json.loads(session_lib.to_text(
        {'metrics': view['metrics'], 'nan': float('nan')}
    ))


def unpack(data):
    """Unpack a picture as the page does."""
    (size,) = struct.unpack_from('<I', data)
    head = json.loads(data[4:4 + size])
    for view in head['gans']:
        for name, value in view.items():
            if isinstance(value, dict) and 'kind' in value:
                first = 4 + size + value['first']
                assert first % 4 == 0
                view[name] = np.frombuffer(
                    data, value['kind'], value['count'], first
                )
    return head


def test_packed_pictures_are_unpacked(trained):
    _, session = trained
    views = session.views()
    head = unpack(session_lib.pack({'number': 3}, views))
    assert head['number'] == 3
    for name in ('surface', 'points', 'manifold'):
        np.testing.assert_array_equal(head['gans'][0][name], views[0][name])
    points = head['gans'][0]['points'].reshape(-1, 2) / 32767 * 2 * 1.6
    (state,) = session.states
    config = settings_lib.config(*_first(session))
    many = multi_seed.Population(config, [0])
    stacked = jax.tree.map(lambda leaf: leaf[None], state)
    expected = many.sample(stacked, range(session_lib.SHOWN))[0]
    np.testing.assert_allclose(
        points, np.clip(expected, -3.2, 3.2), atol=1e-4
    )


def _first(session):
    return session.settings, session.settings.gans[0]


def test_recorded_page_holds_every_picture(tmp_path):
    path = tmp_path / 'page.html'
    size = recording.record(path, line(), 6, 4)
    text = path.read_text()
    assert size == len(text.encode())
    data = text.partition('id="data">')[2].partition('</script>')[0]
    assert len(json.loads(data)['pictures']) == 4
    assert '$' not in text.partition('<script')[0]
    assert "default-src 'none'" in text and 'http:' not in text


@pytest.mark.slow
def test_d_converges_to_one_half_on_four_of_five_seeds():
    settings = settings_lib.ONE_DIMENSION
    steps, passed = settings.gans[0].fade, []
    for seed in range(5):
        session = session_lib.Session(dataclasses.replace(settings, seed=seed))
        early, late = [], []
        for step in range(20, steps + 1, 20):
            session.advance(20)
            if step <= 1000:
                early.append(np.abs(session.views()[0]['curve'] - 0.5).max())
            if step > steps - 500:
                view = session.views()[0]
                late.append([view[name] for name in ('gap', 'distance')])
        passed.append(max(early) > 0.3 and (np.mean(late, 0) <= 0.05).all())
    assert sum(passed) >= 4
