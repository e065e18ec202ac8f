"""Ideas for speed: the same numbers in every form, a row for each idea."""

import json

import jax.numpy as jnp
import pytest

import helpers


@pytest.fixture(scope='module', name='ideas')
def fixture_ideas():
    return helpers.load_script('ideas')


def test_forms_have_the_numbers_of_what_is_used(ideas):
    script, parse = ideas
    parse('--rounds=2', '--seconds=0.001')
    shapes = script.Shapes(4, 16, 4, 'float32')
    for name, idea in script.IDEAS.items():
        measured = script.measure_form(idea, shapes)
        assert measured.get('difference', 1) < 1e-4, (name, measured)


def test_a_form_with_other_numbers_is_not_timed(ideas):
    script, parse = ideas
    parse('--rounds=2', '--seconds=0.001')
    wrong = script.Idea('', '', lambda _: (
        jnp.sin, jnp.cos, (jnp.arange(3.0),)
    ))
    measured = script.measure_form(wrong, script.Shapes(1, 16, 1, 'float32'))
    assert list(measured) == ['failure']
    assert 'differ' in measured['failure']


def test_whole_steps_have_rows_and_unknown_flags_are_a_reason(
    ideas, tmp_path, monkeypatch, capsys
):
    script, parse = ideas
    monkeypatch.setattr(script, 'STEPS', {
        'two at once': ('1', 2, ''),
        'no such flag': ('1', 0, '--xla_gpu_no_such_flag=true'),
    })
    path = tmp_path / 'ideas.json'
    parse('--only=two at once,no such flag', '--dtype=float32', '--batch=2',
          '--side=32', '--width=4', '--rounds=2', '--seconds=0.01',
          f'--json={path}')
    script.main([])
    lines = capsys.readouterr().out.splitlines()
    kept = json.loads(path.read_text())['ideas']
    assert len(lines) == 4 and kept['two at once']['ratio'] > 0
    assert lines[2].startswith('| two at once | a step of DCGAN as in train')
    assert 'failed' in lines[3] and 'no_such_flag' in lines[3]


def test_unknown_names_are_refused(ideas):
    script, parse = ideas
    parse('--only=warp drive')
    with pytest.raises(script.errors.ConfigError, match='warp drive'):
        script.chosen()
