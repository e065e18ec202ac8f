"""Learning-rate factors against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.config import key_table
from gan_jax.ops import schedules
from gan_jax.ops import averaging

CASES = [
    ('linear', 0, 1.0), ('linear', 25, 0.75), ('linear', 100, 0.0),
    ('linear', 999, 0.0), ('cosine', 0, 1.0), ('cosine', 50, 0.5),
    ('cosine', 25, (1 + math.cos(math.pi / 4)) / 2), ('cosine', 100, 0.0),
    ('cosine', 999, 0.0), ('constant', 999, 1.0),
]


@pytest.mark.parametrize('name, step, expected', CASES)
def test_schedule_is_its_closed_form(name, step, expected):
    factor = schedules.SCHEDULES[name](100)(jnp.int32(step))
    np.testing.assert_allclose(factor, expected, atol=1e-6)


def test_every_schedule_has_a_closed_form_here():
    assert {name for name, _, _ in CASES} == set(schedules.SCHEDULES)


@pytest.mark.parametrize('name', schedules.SCHEDULES)
def test_warm_up_is_linear_and_then_changes_nothing(name):
    warm = jax.jit(schedules.make(name, 100, 10))
    for step, share in ((0, 0.1), (4, 0.5), (9, 1.0), (50, 1.0)):
        np.testing.assert_allclose(
            warm(step), share * schedules.SCHEDULES[name](100)(step), rtol=1e-6
        )


def test_constant_without_warm_up_is_none():
    assert schedules.make('constant', 0, 0) is None


@pytest.mark.parametrize('text', [
    schedules.__doc__, schedules.make.__doc__, averaging.ema_decay_at.__doc__,
    *(key_table.keys()[f'g_optimizer.{name}'].meaning
      for name in ('schedule_steps', 'warmup_steps')),
], ids=['schedules', 'make', 'ema', 'schedule_steps', 'warmup_steps'])
def test_documentation_of_schedules_counts_steps(text):
    # With g_steps=2 a step has two updates of G: algorithms/test_updates.py.
    assert 'steps' in text
    for unit in ('G updates', 'generator updates'):
        assert unit not in text


@pytest.mark.parametrize('step, expected', [
    (0, 1.0), (100, 1.0), (150, 0.5), (200, 0.0), (300, 0.0),
])
def test_rate_is_held_and_then_falls_to_0(step, expected):
    factor = schedules.make('linear', 200, 0, hold_steps=100)
    np.testing.assert_allclose(factor(jnp.int32(step)), expected, atol=1e-6)


def test_held_rate_can_warm_up_first():
    factor = schedules.make('cosine', 200, 10, hold_steps=100)
    for step, expected in ((0, 0.1), (9, 1.0), (100, 1.0), (150, 0.5)):
        np.testing.assert_allclose(factor(step), expected, atol=1e-6)
