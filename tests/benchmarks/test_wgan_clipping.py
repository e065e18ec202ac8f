"""The clip limit's benchmark: its distance, its estimate, its exit code."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import helpers

script, parse = helpers.load_script('wgan_clipping')


def points(seed, count):
    return np.random.RandomState(seed).randn(count, 2).astype(np.float32)


def test_equal_sets_in_any_order_are_no_distance_apart():
    here = points(0, 40)
    shuffled = here[np.random.RandomState(1).permutation(40)]
    assert script.earth_movers(here, here) == 0
    assert script.earth_movers(here, shuffled) == 0


def test_a_shifted_set_is_the_length_of_the_shift_away():
    here = points(0, 40)
    shift = np.array([3.0, -4.0], np.float32)
    np.testing.assert_allclose(
        script.earth_movers(here, here[::-1] + shift), 5, rtol=1e-6
    )


def test_earth_movers_is_the_best_of_all_permutations():
    here, there = points(0, 5), points(1, 5)
    best = min(
        np.linalg.norm(here - there[list(order)], axis=1).mean()
        for order in itertools.permutations(range(5))
    )
    np.testing.assert_allclose(
        script.earth_movers(here, there), best, rtol=1e-6
    )


def test_a_linear_critic_is_measured_exactly_at_any_scale():
    real, fake = points(0, 50), points(1, 50) + 2
    share = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    direction = np.array([-0.6, -0.8], np.float32)
    gap = (real.mean(0) - fake.mean(0)) @ direction
    for scale in (1e-6, 1, 1e4):
        measured = script.measure(
            lambda x: x @ jnp.asarray(scale * direction) + 7 * scale,
            real, fake, share,
        )
        for name, expected in (
                ('gap', gap * scale), ('slope', scale), ('signal', scale),
                ('estimate', gap)):
            np.testing.assert_allclose(measured[name], expected, rtol=1e-5)


def test_slope_is_the_largest_wherever_it_lies():
    real, fake = points(0, 30) - 10, points(1, 30) + 10

    def steep_between(x):  # slope 5 where |x| < 3, else 1
        return x[:, 0] + 4 * jnp.clip(x[:, 0], -3, 3)

    for share, slope in ((0.5, 5), (1.0, 1)):
        measured = script.measure(
            steep_between, real, fake, np.full((30, 1), share, np.float32)
        )
        np.testing.assert_allclose(measured['slope'], slope, rtol=1e-6)
        np.testing.assert_allclose(measured['signal'], 1, rtol=1e-6)


def test_a_flat_critic_certifies_nothing():
    here = points(0, 9)
    measured = script.measure(lambda x: 0 * x[:, 0], here, here, here[:, :1])
    assert measured['estimate'] == 0


def test_updates_to_level_is_the_first_mark_with_enough_of_the_gap():
    gaps = {0: 0.0, 3: 0.7, 5: 0.81, 8: 0.5, 13: 1.0}
    records = [{'step': step, 'gap': gap} for step, gap in gaps.items()]
    assert script.updates_to_level(records) == 5


def test_a_weight_beyond_its_limit_is_listed():
    limit = float(np.float32(0.1))  # what a clipped weight is, above 0.1
    beyond = float(np.nextafter(np.float32(0.1), np.float32(1)))
    rows = {
        'at': (0.1, limit), 'beyond': (0.1, beyond), 'free': (None, 2.0),
        'none': (0.1, float('nan')),
    }
    assert script.exceeded({
        name: {'limit': c, 'largest_weight': largest}
        for name, (c, largest) in rows.items()
    }) == ['beyond', 'none']


@pytest.mark.slow
def test_main_writes_numbers_and_picture(tmp_path, capsys):
    out, numbers = tmp_path / 'new' / 'a.png', tmp_path / 'a.json'
    parse(
        f'--out={out}', f'--json={numbers}', '--num_steps=3',
        '--critic_steps=4', '--setting=c=0.01', '--setting=penalty',
    )
    assert script.main([]) == 0
    assert f'Wrote {out}' in capsys.readouterr().out
    with Image.open(out) as image:
        assert image.format == 'PNG'
        assert image.size == (1200, 820)
    table = json.loads(numbers.read_text())
    assert list(table) == ['c=0.01', 'penalty']
    assert table['c=0.01']['largest_weight'] == float(np.float32(0.01))
    for row in table.values():
        assert [r['step'] for r in row['game']] == [0, 1, 2, 3]
        assert [r['step'] for r in row['frozen']] == [0, 1, 2, 3, 4]
        assert all(r['w1'] > row['floor'] > 0 for r in row['game'])
        w1 = [r['w1'] for r in row['game']]
        assert len(set(w1)) == 4  # G moves
        start, *later = [r['gap'] for r in row['frozen']]
        assert min(later) > start == row['game'][0]['gap']
