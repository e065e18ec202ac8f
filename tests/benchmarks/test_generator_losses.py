"""The picture of the generator's losses: its curves, its table, its file."""


import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.objectives import losses

LOGITS = np.array([-7.0, -2.0, -0.5, 0.0, 1.0, 3.0, 7.0])
SIGMOID = 1 / (1 + np.exp(-LOGITS))
# |d loss / d logit|; the real logit is 0, least_squares has c = 1.
GRADIENTS = {
    'boundary_equilibrium': np.ones(7),
    'energy_based': np.ones(7),
    'hinge': np.ones(7),
    'least_squares': np.abs(LOGITS - 1),
    'minimax': SIGMOID,
    'non_saturating': 1 - SIGMOID,
    'relativistic': 1 - SIGMOID,
    'relativistic_average': 2 * (1 - SIGMOID),
    'wasserstein': np.ones(7),
}


script, parse = helpers.load_script('generator_losses')


@pytest.mark.parametrize('name', sorted(GRADIENTS))
def test_gradient_has_its_closed_form(name):
    _, gradient = script.curves(name, LOGITS)
    np.testing.assert_allclose(gradient, GRADIENTS[name], rtol=1e-4, atol=1e-7)


def test_loss_is_the_registrys():
    loss, _ = script.curves('minimax', LOGITS)
    np.testing.assert_allclose(loss, np.log(1 - SIGMOID), rtol=1e-4)
    loss, _ = script.curves('least_squares', LOGITS)
    np.testing.assert_allclose(loss, (LOGITS - 1) ** 2 / 2, rtol=1e-4)


@pytest.mark.parametrize('name', sorted(losses.LOSSES))
def test_every_loss_has_finite_curves(name):
    for curve in script.curves(name, np.abs(LOGITS)):
        assert curve.shape == LOGITS.shape
        assert np.isfinite(curve).all()


def test_to_logits_inverts_the_sigmoid():
    np.testing.assert_allclose(script.to_logits(SIGMOID), LOGITS, atol=1e-9)


def test_main_prints_every_loss_and_writes_a_png(tmp_path, capsys):
    out = tmp_path / 'new' / 'losses.png'
    parse(f'--out={out}', '--dpi=50')
    script.main([])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert set(losses.LOSSES) <= set(rows)
    assert rows['minimax'] == ['0.001', '0.500', '0.999']
    assert rows['non_saturating'] == ['0.999', '0.500', '0.001']
    with Image.open(out) as image:
        assert image.format == 'PNG'
        assert image.size == (600, 400)


def test_a_loss_added_to_the_registry_appears(monkeypatch):
    twin = losses.LOSSES['hinge']
    monkeypatch.setitem(losses.LOSSES, 'a_new_one', twin)
    assert 'a_new_one' in script.names_of(False)
    before = script.draw(50)
    monkeypatch.delitem(losses.LOSSES, 'a_new_one')
    assert (script.draw(50) != before).any()
