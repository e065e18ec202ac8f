"""The rules of diagnosis: each fires on its failure and on nothing else."""

import itertools
import math
import re

import numpy as np
import pytest

from conftest import ROOT
from gan_jax.diagnosis import game as game_lib
from gan_jax.diagnosis import rules
from gan_jax.diagnosis import window as window_lib
from gan_jax.objectives import losses

LIMITS = {**rules.THRESHOLDS, 'patience': 0}
EQUILIBRIUM = 2 * math.log(2), math.log(2)
HEALTHY = {
    'd/loss': 1.1, 'g/loss': 1.0, 'd/real_logits': 0.4, 'd/fake_logits': -0.4,
    'g/grad_norm': 1.0, 'd/grad_norm': 1.0,
}
PROBED = {
    'probe/d_auc': 0.8, 'probe/judge': 0.7, 'probe/d_memory': 0.55,
    'probe/low_gap': 0.02, 'probe/high_gap': -0.1, 'probe/distance': 0.9,
    'probe/duplicates': 0.01, 'probe/missing': 0.1, 'probe/nearest_real': 1.1,
    'probe/g_dead': 0.1, 'probe/d_dead': 0.0, 'probe/slope': 1.1,
    'probe/clipped': 0.5, 'probe/g_grad/a': 0.1, 'probe/g_grad/b': 0.01,
    'probe/d_grad/a': 0.3,
}
GAME = game_lib.Game(equilibrium=EQUILIBRIUM, g_size=1000, d_size=700)


def lines(count=30, **changes):
    """Return healthy records; `changes` maps curves to values or functions."""
    changes = {name.replace('__', '/'): c for name, c in changes.items()}
    return [
        {**HEALTHY, **{
            name: curve(place) if callable(curve) else curve
            for name, curve in changes.items()
        }} for place in range(count)
    ]


def probed(*values, **changes):
    """Return healthy records with probes, of which the last ones change."""
    probes = [{**PROBED}] * 2 + [
        {**PROBED, **{f'probe/{k}': v for k, v in changes.items()}}
    ] * window_lib.PROBES
    return [{**HEALTHY, **probe} for probe in probes]


def findings(records, game=GAME, limits=LIMITS):
    """Return {rule: finding} of those that hold after the records."""
    window = window_lib.Window(int(limits['window']))
    for record in records:
        window.add(record)
    return {f.rule: f for f in rules.apply_rules(window, game, limits)}


def swings(growth):
    return lambda place: 1 + 0.4 * (-1) ** place * growth ** (place / 10)


def kind(name, **changes):
    return GAME._replace(kind=name, **changes)


# rule: (records, game) where it must fire, and a near case where it must not.
CASES = {
    'all_fake': (
        (lines(d__real_logits=-2.0, d__fake_logits=-3.0), GAME),
        (lines(d__real_logits=2.0, d__fake_logits=-3.0), GAME),
    ),
    'all_real': (
        (lines(d__real_logits=2.0, d__fake_logits=1.5), GAME),
        (lines(d__real_logits=2.0, d__fake_logits=1.0), GAME),
    ),
    'codebook_collapse': (
        (lines(codes__usage=0.1, codes__perplexity=4.0), kind('none')),
        (lines(codes__usage=0.9, codes__perplexity=90.0), kind('none')),
    ),
    'cannot_overfit': (
        ([{'probe/one_batch': 0.4}], GAME), ([{'probe/one_batch': 0.01}], GAME),
    ),
    'discriminator_diverges': (
        (lines(d__loss=lambda place: 1.3**place), GAME),
        (lines(d__loss=lambda place: 30 * 0.9**place), GAME),
    ),
    'discriminator_overfits': (
        (probed(d_memory=0.9), GAME), (probed(d_memory=0.6), GAME),
    ),
    'discriminator_weak': (
        (probed(d_auc=0.52, judge=0.95), GAME),
        (probed(d_auc=0.52, judge=0.85), GAME),
    ),
    'discriminator_won': (
        (lines(d__loss=lambda place: 0.5**place), GAME),
        (lines(d__loss=lambda place: max(0.5**place, 0.1)), GAME),
    ),
    'equilibrium': (
        (lines(d__loss=1.38, g__loss=0.70), GAME),
        (lines(d__loss=1.38, g__loss=1.1), GAME),
    ),
    'gradient_vanishes': (
        (lines(g__grad_norm=lambda place: 0.7**place), GAME),
        (lines(g__grad_norm=lambda place: 0.95**place), GAME),
    ),
    'memorisation': (
        (probed(nearest_real=0.2), GAME), (probed(nearest_real=0.8), GAME),
    ),
    'mode_collapse': (
        (probed(distance=0.05), GAME), (probed(distance=0.5), GAME),
    ),
    'modes_missing': (
        (probed(missing=0.7), GAME), (probed(missing=0.2), GAME),
    ),
    'not_lipschitz': (
        (probed(slope=30.0), kind('critic')),
        (probed(slope=1.5), kind('critic')),
    ),
    'oscillation_grows': (
        (lines(g__loss=swings(3.0)), GAME), (lines(g__loss=swings(1.0)), GAME),
    ),
    'range_differs': (
        (probed(low_gap=0.5), GAME), (probed(low_gap=-0.2), GAME),
    ),
    'sizes_differ': (
        (lines(1), GAME._replace(g_size=50_000)),
        (lines(1), GAME._replace(g_size=5_000)),
    ),
    'sparse_gradients': (
        (probed(g_dead=0.8), GAME), (probed(g_dead=0.3), GAME),
    ),
    'weights_clipped': (
        (probed(clipped=0.99), kind('critic', clipped=True)),
        (probed(clipped=0.8), kind('critic', clipped=True)),
    ),
}


def test_every_rule_has_its_two_cases():
    assert set(CASES) == set(rules.RULES)


@pytest.mark.parametrize('rule', sorted(CASES))
def test_rule_fires_by_name(rule):
    finding = findings(*CASES[rule][0])[rule]
    assert finding.level in rules.LEVELS
    assert finding.advice.endswith('.') and finding.evidence
    assert all(isinstance(v, (int, float)) for v in finding.evidence.values())


@pytest.mark.parametrize('rule', sorted(CASES))
def test_rule_is_silent_on_a_near_case(rule):
    assert rule not in findings(*CASES[rule][1])


@pytest.mark.parametrize('changes, rule', [
    ({'duplicates': 0.9}, 'mode_collapse'),
    ({'high_gap': 0.5}, 'range_differs'),
    ({'d_dead': 0.9}, 'sparse_gradients'),
    ({'g_grad/b': 1e-7}, 'sparse_gradients'),
])
def test_rule_fires_by_each_of_its_numbers(changes, rule):
    assert list(findings(probed(**changes))) == [rule]


@pytest.mark.parametrize('loss, epochs, kind_of_loss, held_out, found', [
    (0.05, 50.0, 'probability', False, True),
    (0.05, 50.0, 'relative', False, True),
    (0.05, 49.0, 'probability', False, False),
    (0.11, 500.0, 'probability', False, False),  # of 1.39 where D is undecided
    (0.05, 50.0, 'square', False, False),
    (0.05, 50.0, 'probability', True, False),  # these say that it does not
])
def test_low_loss_after_many_epochs_is_overfitting_if_none_is_held_out(
    loss, epochs, kind_of_loss, held_out, found
):
    records = lines(10, d__loss=loss, data__epoch=epochs)
    if held_out:
        records += probed()
    fired = findings(records, kind(kind_of_loss))
    assert ('discriminator_overfits' in fired) == found
    if found:
        assert 'few_images' in fired['discriminator_overfits'].advice


def test_healthy_run_has_no_findings():
    assert findings(lines(40) + probed()) == {}
    for name in game_lib.KINDS:
        assert findings(lines(40) + probed(), kind(name)) == {}


def test_flat_critic_is_reported_unless_its_weights_are_clipped():
    game = kind('critic')
    assert 'not_lipschitz' in findings(probed(slope=0.01), game)
    assert findings(probed(slope=0.01), game._replace(clipped=True)) == {}


def test_critic_may_have_large_losses_and_both_signs():
    game = kind('critic', equilibrium=None)
    assert findings(lines(d__loss=-300.0), game) == {}
    assert findings(lines(d__loss=0.0), game) == {}
    growing = lines(d__loss=lambda place: -(2.0**place))
    assert 'discriminator_diverges' in findings(growing, game)


def test_range_without_bounds_is_only_a_note():
    records = probed(low_gap=0.5)
    assert findings(records)['range_differs'].level == 'warning'
    game = GAME._replace(bounded=False)
    assert findings(records, game)['range_differs'].level == 'note'


def test_smoothed_targets_have_a_floor():
    records = lines(d__loss=0.33)
    assert 'discriminator_won' not in findings(records)
    assert 'discriminator_won' in findings(records, GAME._replace(floor=0.325))


def test_zero_loss_is_relative_to_the_loss_at_equilibrium():
    records = lines(d__loss=0.012)
    assert 'discriminator_won' in findings(records)
    least_squares = kind('square', unit=0.25)
    assert 'discriminator_won' not in findings(records, least_squares)
    assert 'discriminator_won' in findings(lines(d__loss=0.003), least_squares)


def test_minimax_gradient_vanishes_where_d_is_sure_of_fakes():
    game = GAME._replace(saturates=True)
    sure = lines(d__fake_logits=-9.0)
    assert 'gradient_vanishes' in findings(sure, game)
    assert 'gradient_vanishes' not in findings(sure)
    assert 'gradient_vanishes' not in findings(lines(d__fake_logits=-3.0), game)
    assert 'gradient_vanishes' in findings(lines(d__fake_logits=-1e6), game)


def test_slow_fall_is_relative_to_the_maximum_of_the_whole_run():
    records = lines(300, g__grad_norm=lambda place: 0.98**place)
    assert 0.98**(window_lib.MEMORY * LIMITS['window']) > 0.1  # all kept
    assert 'gradient_vanishes' in findings(records)
    assert 'gradient_vanishes' not in findings(records[:200])


@pytest.mark.parametrize('name', game_lib.KINDS)
def test_no_rule_fires_for_a_kind_that_it_does_not_list(name):
    everything = [
        line for first, _ in CASES.values() for line in first[0]
    ]
    for rule in findings(everything, kind(name)):
        assert name in rules.RULES[rule].kinds


def test_every_loss_declares_its_kind():
    declared = {loss.kind for loss in losses.LOSSES.values()}
    assert declared == game_lib.GAMES - {'none'}


def test_rules_about_outputs_are_silent_where_the_kind_is_undeclared():
    game = kind('undeclared', equilibrium=None)
    far = lines(d__loss=0.0, d__real_logits=-9.0, d__fake_logits=9.0)
    assert findings(far, game) == {}
    assert 'gradient_vanishes' in findings(lines(g__grad_norm=1e-9), game)


def test_one_bad_probe_is_not_enough():
    records = probed() + probed(distance=0.01)[-1:]
    assert findings(records) == {}


def test_values_that_are_none_or_not_finite_are_ignored():
    records = lines(d__loss=lambda place: None if place % 2 else float('nan'))
    assert findings(records) == {}


@pytest.mark.parametrize('rule', sorted(rules.RULES))
def test_threshold_is_a_key_that_moves_the_rule(rule):
    names = rules.RULES[rule].limits
    (first, _) = CASES[rule]
    assert set(names) <= set(rules.THRESHOLDS)
    changes = [
        {name: LIMITS[name] * f for name, f in zip(names, factors)}
        for factors in itertools.product((0.0, 1e9), repeat=len(names))
    ]
    assert any(
        rule not in findings(*first, limits={**LIMITS, **change})
        for change in changes
    )


def test_every_rule_names_its_source():
    for rule in rules.RULES.values():
        source = rule.test.__doc__
        assert re.search(r'\b(19|20)\d\d\b', source), source
        assert 'https://arxiv.org/abs/' in source, source


def onsets(diagnosis, records, first=0):
    """Return [(step, rule)] of the findings as they begin."""
    return [
        (step, finding.rule)
        for step, record in enumerate(records, first)
        for finding in diagnosis.observe(step, record)
    ]


def waves():
    """Return records of a loss that is at zero, then not, then again."""
    return (
        lines(10) + lines(12, d__loss=0.001) + lines(12)
        + lines(12, d__loss=0.001)
    )


def test_a_finding_is_reported_once_for_each_onset():
    diagnosis = rules.Diagnosis(GAME, LIMITS)
    assert onsets(diagnosis, waves()) == [
        (12, 'discriminator_won'), (36, 'discriminator_won')
    ]


def test_short_breaks_start_no_new_onset():
    flicker = lines(40, d__loss=lambda place: 0.001 if place % 7 else 1.0)
    diagnosis = rules.Diagnosis(GAME, LIMITS)
    assert len(onsets(diagnosis, flicker)) == 1


@pytest.mark.parametrize('cut', [5, 13, 20, 30, 40])
def test_resumed_run_reports_what_the_whole_run_reports(cut):
    whole = onsets(rules.Diagnosis(GAME, LIMITS), waves())
    first = onsets(rules.Diagnosis(GAME, LIMITS), waves()[:cut])
    resumed = rules.Diagnosis(GAME, LIMITS)
    onsets(resumed, waves()[:cut])
    assert first + onsets(resumed, waves()[cut:], cut) == whole


def test_past_records_with_only_probes_push_no_losses_out():
    # As with log_every=500 and sample_every=100; past records hold their step.
    records = [
        PROBED if place % 5 else {**PROBED, **line}
        for place, line in enumerate(
            line for line in lines(40, g__loss=swings(3.0)) for _ in range(5)
        )
    ]
    whole = onsets(rules.Diagnosis(GAME, LIMITS), records)
    onset = {rule: step for step, rule in whole}['oscillation_grows']
    resumed, cut = rules.Diagnosis(GAME, LIMITS), 100
    first = onsets(resumed, [
        {'step': step, **record} for step, record in enumerate(records[:cut])
    ])
    assert first + onsets(resumed, records[cut:], cut) == whole and onset > cut


def test_first_steps_are_not_judged():
    diagnosis = rules.Diagnosis(GAME, {**LIMITS, 'patience': 20})
    assert onsets(diagnosis, lines(30, d__loss=0.001)) == [
        (20, 'discriminator_won')
    ]


def test_random_losses_are_no_growing_oscillation():
    random = np.random.RandomState(0)
    for _ in range(20):
        records = lines(40, g__loss=lambda place: random.normal(1, 1))
        assert 'oscillation_grows' not in findings(records)


PAGE = (ROOT / 'configs' / 'DIAGNOSIS.md').read_text()


@pytest.mark.parametrize('name', sorted(rules.RULES))
def test_page_has_a_row_for_each_rule_with_its_thresholds(name):
    (row,) = re.findall(rf'\n\| `{name}` \| (.*)', PAGE)
    rule = rules.RULES[name]
    for limit in rule.limits:
        assert f'`{limit}` {rules.THRESHOLDS[limit]:g}' in row
    for number in re.findall(r'arxiv.org/abs/([\d.]+)', rule.test.__doc__):
        assert number in row
    for kind in game_lib.ALL:
        assert (f'{kind}' in row.split(' | ')[1].split(', ')) == (
            kind in rule.kinds
        )


@pytest.mark.parametrize('name', sorted(rules.THRESHOLDS))
def test_page_names_each_threshold(name):
    assert f'`{name}`' in PAGE
