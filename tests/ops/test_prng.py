"""Unrolled keys draw the same bits as JAX's keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.ops import prng


@pytest.fixture(name='key')
def fixture_key():
    return jax.random.fold_in(jax.random.key(7), 8)  # neither half is 0


def test_threefry_matches_the_published_vectors():
    # Random123's known answers of threefry2x32, 20 rounds.
    for key, counter, answer in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3),
         (0xC4923A9C, 0x483DF7A0)),
    ):
        actual = prng.threefry(np.uint32(key), *jnp.uint32(counter))
        assert tuple(int(half) for half in actual) == answer


@pytest.mark.parametrize('draw', [
    lambda key: jax.random.normal(key, (5, 7)),
    lambda key: jax.random.uniform(key, ()),
    lambda key: jax.random.randint(key, (11,), 0, 10),
    lambda key: jax.random.bernoulli(key, 0.3, (9,)),
    lambda key: jax.random.permutation(key, 13),
    lambda key: jax.random.bits(key, (3,), jnp.uint8),
    lambda key: jax.random.bits(key, (3,), jnp.uint16),
    lambda key: jax.random.key_data(jax.random.split(key, (2, 3))),
    lambda key: jax.random.key_data(jax.random.fold_in(key, 2**31)),
    lambda key: jax.vmap(
        lambda number: jax.random.normal(jax.random.fold_in(key, number), (4,))
    )(jnp.arange(6)),
])
def test_draws_are_equal(key, draw):
    np.testing.assert_array_equal(draw(prng.unrolled(key)), draw(key))


def test_arrays_of_keys_keep_their_shape(key):
    many = jax.random.split(key, (2, 3))
    assert prng.unrolled(many).shape == (2, 3)
    draw = jax.vmap(jax.vmap(jax.random.normal))
    np.testing.assert_array_equal(draw(prng.unrolled(many)), draw(many))


def test_too_many_values_are_rejected(key):
    draw = jax.jit(lambda key: jax.random.bits(key, (2**32,)))
    with pytest.raises(ValueError, match='at most 2.32 - 1'):
        draw.lower(prng.unrolled(key))


def test_the_compiled_program_has_no_loop(key):
    def compiled(key):
        draw = jax.jit(lambda key: jax.random.normal(key, (512, 32)))
        return draw.lower(key).compile().as_text()

    assert 'while' not in compiled(prng.unrolled(key))
