"""Golden metrics of each recipe, shrunk."""

import json

import numpy as np
import pytest

import golden_recipes
import helpers


RECORDED = json.loads(golden_recipes.PATH.read_text())


def test_every_recipe_and_variant_is_recorded():
    assert sorted(RECORDED['cases']) == sorted(golden_recipes.CASES)


@pytest.mark.parametrize(
    'case', helpers.cases(golden_recipes.CASES, 'sagan', 'stacked_mnist')
)
def test_recipe_reproduces_the_recorded_metrics(case, tmp_path):
    run, actual = golden_recipes.numbers(case, tmp_path)
    assert int(run.state.step) == golden_recipes.STEPS
    if run.algorithm.latent_size:
        assert np.isfinite(run.sample(range(4))).all()
    golden_recipes.compare(case, actual, RECORDED)


def test_a_changed_number_is_detected():
    case = 'dcgan'
    moved = json.loads(json.dumps(RECORDED['cases'][case]))
    first = str(golden_recipes.EVERY)
    moved['metrics'][first]['d/loss'] *= 1.1
    with pytest.raises(AssertionError):
        golden_recipes.compare(case, moved, RECORDED)
    elsewhere = {**RECORDED, 'machine': 'another'}
    with pytest.raises(AssertionError):
        golden_recipes.compare(case, moved, elsewhere)
    golden_recipes.compare(case, RECORDED['cases'][case], elsewhere)
