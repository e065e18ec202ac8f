"""Losses against closed forms, in value, sign of gradient and stability."""

import functools
import inspect
import json
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import ROOT
import helpers
from gan_jax.objectives import losses
from gan_jax.objectives import targets as targets_lib
from gan_jax.training import train

LN2 = math.log(2)
MEMORY = {'k': jnp.float32(0.3)}
# (discriminator loss, generator loss) where every logit is 0.
AT_ZERO = {
    'boundary_equilibrium': (0.0, 0.0),
    'energy_based': (10.0, 0.0),
    'hinge': (2.0, 0.0),
    'least_squares': (0.5, 0.5),
    'minimax': (2 * LN2, -LN2),
    'non_saturating': (2 * LN2, LN2),
    'relativistic': (LN2, LN2),
    'relativistic_average': (2 * LN2, 2 * LN2),
    'wasserstein': (0.0, 0.0),
}
REAL = np.array([-2.0, 0.5, 3.0])
FAKE = np.array([1.5, -0.25, -4.0])


def softplus(x):
    return np.log1p(np.exp(x))


def relu(x):
    return np.maximum(x, 0)


# The same at REAL and FAKE, from the definitions.
AT_LOGITS = {
    'boundary_equilibrium': (REAL.mean() - 0.3 * FAKE.mean(), FAKE.mean()),
    'energy_based': (
        REAL.mean() + np.maximum(10 - FAKE, 0).mean(), FAKE.mean()
    ),
    'hinge': (relu(1 - REAL).mean() + relu(1 + FAKE).mean(), -FAKE.mean()),
    'least_squares': (
        ((REAL - 1) ** 2).mean() / 2 + (FAKE ** 2).mean() / 2,
        ((FAKE - 1) ** 2).mean() / 2,
    ),
    'minimax': (
        -np.log(1 / (1 + np.exp(-REAL))).mean()
        - np.log(1 - 1 / (1 + np.exp(-FAKE))).mean(),
        np.log(1 - 1 / (1 + np.exp(-FAKE))).mean(),
    ),
    'non_saturating': (
        softplus(-REAL).mean() + softplus(FAKE).mean(),
        softplus(-FAKE).mean(),
    ),
    'relativistic': (
        softplus(FAKE - REAL).mean(), softplus(REAL - FAKE).mean()
    ),
    'relativistic_average': (
        softplus(FAKE.mean() - REAL).mean()
        + softplus(FAKE - REAL.mean()).mean(),
        softplus(REAL.mean() - FAKE).mean()
        + softplus(REAL - FAKE.mean()).mean(),
    ),
    'wasserstein': (FAKE.mean() - REAL.mean(), -FAKE.mean()),
}
NAMES = sorted(losses.LOSSES)
SIDES = ('discriminator', 'generator')


def side(name, which, **more):
    """Return one player's loss as a function of the logits only."""
    loss = losses.LOSSES[name]
    if loss.memory is not None:
        more['memory'] = MEMORY
    return functools.partial(getattr(loss, which), **more)


def both(name, real, fake, **more):
    real, fake = jnp.asarray(real), jnp.asarray(fake)
    return [side(name, which, **more)(real, fake) for which in SIDES]


def test_every_loss_has_its_closed_form_here():
    assert set(AT_ZERO) == set(AT_LOGITS) == set(losses.LOSSES)


@pytest.mark.parametrize('name', NAMES)
def test_zero_logits_give_the_equilibrium_values(name):
    values = both(name, np.zeros(5), np.zeros(5))
    np.testing.assert_allclose(values, AT_ZERO[name], rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_value_is_the_formula(name):
    values = both(name, REAL, FAKE)
    np.testing.assert_allclose(values, AT_LOGITS[name], rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('real', [-1e4, 1e4])
@pytest.mark.parametrize('fake', [-1e4, 1e4])
def test_value_and_gradient_are_finite_at_large_logits(name, real, fake):
    for which in SIDES:
        value, grads = jax.value_and_grad(
            side(name, which), argnums=(0, 1)
        )(jnp.full(3, real), jnp.full(3, fake))
        assert np.isfinite(value)
        assert np.isfinite(grads).all()


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_result_is_a_float32_scalar_and_equal_under_jit(name, dtype):
    real, fake = jnp.asarray(REAL, dtype), jnp.asarray(FAKE, dtype)
    for which in SIDES:
        function = side(name, which)
        value = function(real, fake)
        assert value.dtype == jnp.float32 and value.shape == ()
        np.testing.assert_allclose(
            jax.jit(function)(real, fake), value, rtol=1e-6
        )


@pytest.mark.parametrize('name', NAMES)
def test_descent_separates_the_logits_for_d_and_not_for_g(name):
    zeros = jnp.zeros(4)
    d_real, d_fake = jax.grad(side(name, 'discriminator'), argnums=(0, 1))(
        zeros, zeros
    )
    g_fake = jax.grad(side(name, 'generator'), argnums=1)(zeros, zeros)
    # Energies are low on real images, logits high.
    sign = -1 if losses.LOSSES[name].energies else 1
    assert (sign * d_real < 0).all()
    if name != 'least_squares':  # its fakes rest at 0
        assert (sign * d_fake > 0).all()
    assert (sign * g_fake < 0).all()


@pytest.mark.parametrize('name', NAMES)
def test_float64_agrees(name):
    with jax.enable_x64(True):
        exact = both(name, REAL, FAKE)
    np.testing.assert_allclose(both(name, REAL, FAKE), exact, rtol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_order_within_the_batch_does_not_matter(name):
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        both(name, REAL[order], FAKE[order]), both(name, REAL, FAKE), rtol=1e-6
    )


@pytest.mark.parametrize('name', NAMES)
def test_options_are_those_that_both_sides_take(name):
    options = {option.name: 0.25 for option in losses.LOSSES[name].options}
    assert np.isfinite(both(name, REAL, FAKE, **options)).all()


def test_pearson_coding_of_least_squares():
    coding = {'a': -1.0, 'b': 1.0, 'c': 0.0}
    np.testing.assert_allclose(
        both('least_squares', REAL, FAKE, **coding),
        (((REAL - 1) ** 2).mean() / 2 + ((FAKE + 1) ** 2).mean() / 2,
         (FAKE ** 2).mean() / 2),
        rtol=1e-6,
    )


TARGETED = [n for n in NAMES if losses.LOSSES[n].takes_targets]


@pytest.mark.parametrize('name', TARGETED)
def test_hard_targets_are_the_plain_loss_and_flipped_ones_swap_sides(name):
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    loss = losses.LOSSES[name].discriminator
    hard = targets_lib.Targets(jnp.ones(3), jnp.zeros(3))
    np.testing.assert_allclose(
        loss(real, fake, targets=hard), loss(real, fake), rtol=1e-6
    )
    flipped = targets_lib.Targets(jnp.zeros(3), jnp.ones(3))
    np.testing.assert_allclose(
        loss(real, fake, targets=flipped), loss(fake, real), rtol=1e-6
    )


@pytest.mark.parametrize('name', TARGETED)
def test_smoothed_real_output_rests_at_its_target(name):
    targets = targets_lib.Targets(0.9, 0.0)
    best = {'least_squares': 0.9}.get(name, math.log(0.9 / 0.1))
    gradient = jax.grad(losses.LOSSES[name].discriminator)(
        jnp.full(3, best), jnp.zeros(3), targets=targets
    )
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_began_updates_k_towards_the_balance_within_bounds():
    update = losses.LOSSES['boundary_equilibrium'].memory.update
    memory, metrics = update(MEMORY, 2.0, 0.4, gamma=0.5, k_rate=0.1)
    np.testing.assert_allclose(memory['k'], 0.3 + 0.1 * (1 - 0.4), rtol=1e-6)
    np.testing.assert_allclose(metrics['d/convergence'], 2.6, rtol=1e-6)
    for fake, end in ((-1e4, 1), (1e4, 0)):
        memory, _ = update(MEMORY, 2.0, fake, gamma=0.5, k_rate=0.1)
        assert memory['k'] == end


def test_non_saturating_is_the_discriminators_loss_with_flipped_labels():
    # Fakes passed as real: E softplus(-fake) is the first half of D's loss.
    far = jnp.full(3, -1e4)  # contributes nothing as fake
    flipped = losses.cross_entropy_discriminator(jnp.asarray(FAKE), far)
    _, generator = both('non_saturating', REAL, FAKE)
    np.testing.assert_allclose(generator, flipped, rtol=1e-6)


def test_minimax_saturates_and_non_saturating_does_not():
    sure = jnp.full(3, -20.0)
    saturating = jax.grad(losses.minimax_generator, argnums=1)(sure, sure)
    other = jax.grad(losses.non_saturating_generator, argnums=1)(sure, sure)
    assert np.abs(saturating).max() < 1e-8
    np.testing.assert_allclose(other, -np.ones(3) / 3, rtol=1e-6)


README_LOSS = re.findall(
    r"```python\n((?:(?!```).)*LOSSES\['absolute'\].*?)```",
    (ROOT / 'README.md').read_text(), re.S,
)


@pytest.mark.integration
def test_the_loss_of_the_readme_trains(monkeypatch, tmp_path):
    (code,) = README_LOSS
    assert len([line for line in code.splitlines() if line]) <= 6
    names = {**vars(losses), 'LOSSES': {}}
    exec(code, names)
    monkeypatch.setitem(losses.LOSSES, 'absolute', names['LOSSES']['absolute'])
    config = helpers.tiny_mlp()
    config.loss.name, config.diagnosis.patience = 'absolute', 0
    run = train.train(config, tmp_path, images=helpers.random_images())
    assert int(run.state.step) == config.num_steps
    with (tmp_path / 'metrics.jsonl').open() as lines:
        last = json.loads(lines.read().splitlines()[-1])
    assert np.isfinite(last['d/loss']) and np.isfinite(last['probe/d_auc'])


@pytest.mark.integration
def test_the_loss_of_the_readme_trains_by_the_command(tmp_path):
    (code,) = README_LOSS
    (tmp_path / 'mine.py').write_text(
        'import jax.numpy as jnp\n'
        'from gan_jax import main\nfrom gan_jax.cli import app\n'
        'from gan_jax.objectives.losses import Loss, LOSSES\n\n'
        f'{code}\n\napp.run(main.main)\n'
    )
    done = subprocess.run(
        [sys.executable, 'mine.py', f'--config={ROOT}/configs/mixtures.py',
         '--config.loss.name=absolute', '--config.num_steps=2', '--workdir=run',
         '--config.batch_size=8', '--config.report=False'],
        cwd=tmp_path, env=helpers.environment(), capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'Done: 2 steps' in done.stdout


def test_relativistic_loss_does_not_broadcast():
    with pytest.raises(AssertionError):
        losses.relativistic_generator(jnp.ones((4, 1)), jnp.ones(4))


# 1703.10717, section 3.4 (gamma is any number in [0, 1]); 1609.03126, MNIST;
# 1611.04076, equation 9.
PAPERS = {
    'boundary_equilibrium': {'gamma': 0.5, 'k_rate': 0.001},
    'energy_based': {'margin': 10},
    'least_squares': {'a': 0, 'b': 1, 'c': 1},
}


@pytest.mark.parametrize('name', losses.LOSSES)
def test_defaults_are_the_papers_in_options_and_functions(name):
    loss = losses.LOSSES[name]
    assert {o.name: o.default for o in loss.options} == PAPERS.get(name, {})
    functions = [loss.discriminator, loss.generator]
    if loss.memory:
        functions.append(loss.memory.update)
    for function in functions:
        parameters = inspect.signature(function).parameters
        for option in loss.options:
            assert parameters[option.name].default == option.default


@pytest.mark.parametrize('targets, d_loss, g_loss', [
    ((0, 1, 1), 1 / 4, 1 / 8), ((-1, 1, 0), 1, 0), ((0, 2, 1), 1, 0),
    ((0, 1, 2), 1 / 4, 9 / 8), ((1, 3, 2), 1, 0),
])
def test_least_squares_of_an_undecided_d(targets, d_loss, g_loss):
    values = dict(zip('abc', targets))
    balance = losses.balance('least_squares', values)
    assert balance.equilibrium == (d_loss, g_loss)
    middle = jnp.full(3, balance.middle)
    loss = losses.LOSSES['least_squares']
    assert loss.discriminator(middle, middle, **values) == d_loss
    assert loss.generator(middle, middle, **values) == g_loss
