"""Random configs and flags: valid, or refused in one line."""

import math

from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from gan_jax.algorithms import update_order
from gan_jax.config import defaults
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import order
from gan_jax import networks
from gan_jax.networks import layers
from gan_jax.objectives import losses
from gan_jax.ops import augment
from gan_jax.ops import mixtures
from gan_jax.runs import sampling

DEFAULTS = defaults.flatten(defaults.default_config())
WORDS = st.one_of(
    st.sampled_from([
        *losses.LOSSES, *networks.NETWORKS, *layers.NORMS, *mixtures.MIXTURES,
        *update_order.SCHEDULES, *augment.AUGMENTATIONS, 'digits', 'tfds:x',
        'adam', 'sgd', 'rmsprop', 'linear', 'cosine', 'sphere', 'none', '',
        '64', '48x80', '0x0', 'bfloat16', 'npy:/nowhere', 'folder:', ':', '~x',
    ]), st.text(max_size=8),
)
VALUES = {
    bool: st.booleans(),
    int: st.one_of(
        st.integers(-2, 9), st.integers(), st.sampled_from([2**31, 2**63])
    ),
    float: st.one_of(
        st.floats(-2, 2), st.floats(), st.sampled_from([math.nan, math.inf])
    ),
    str: WORDS,
}
OVERRIDES = st.lists(
    st.sampled_from(sorted(DEFAULTS)), min_size=1, max_size=5, unique=True
).flatmap(lambda keys: st.fixed_dictionaries({
    key: VALUES[type(DEFAULTS[key])] for key in keys
}))


def check(overrides):
    """Validate a config, and its name; only a `ConfigError` may be raised."""
    config = defaults.default_config()
    config.update_from_flattened_dict(overrides)
    try:
        validation.validate(config)
    except errors.ConfigError as error:
        assert str(error) and '\n' not in str(error)
    name = run_identity.run_name('configs/dcgan.py', overrides)
    assert '/' not in name and '\n' not in name


quick = settings(
    max_examples=200, deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@quick
@given(OVERRIDES)
def test_any_overrides_validate_or_raise_a_config_error(overrides):
    check(overrides)


@pytest.mark.slow
@settings(quick, max_examples=10_000)
@given(OVERRIDES)
def test_ten_thousand_overrides_validate_or_raise_a_config_error(overrides):
    check(overrides)


@quick
@given(st.text(alphabet='0123456789,- x', max_size=12))
def test_seeds_are_parsed_or_raise_a_config_error(text):
    try:
        seeds = sampling.parse_seeds(text)
    except errors.ConfigError as error:
        assert '--seeds' in str(error)
        return
    assert seeds and all(seed >= 0 for seed in seeds)


@quick
@given(
    st.integers(0, 2**63 - 1), st.integers(0, 50), st.integers(1, 9),
    st.integers(1, 7), st.integers(1, 40),
)
def test_order_depends_on_position_alone(seed, position, count, batch, size):
    whole = order.indices(seed, 0, position + count, batch, size)
    part = order.indices(seed, position, count, batch, size)
    assert (whole[position:] == part).all()
    epochs = whole.size // size
    drawn = whole.ravel()[:epochs * size].reshape(epochs, size)
    assert all(sorted(epoch) == list(range(size)) for epoch in drawn)
