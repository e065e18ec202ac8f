"""Training here and in PyTorch: tiny runs, the table, what it goes on from."""

import json

import pytest

from conftest import ROOT
import helpers
from gan_jax.core import errors
from gan_jax.data import pictures
from gan_jax.data import sources

script, parse = helpers.load_script('trained_beside_torch')
TINY = (
    '--only=dcgan:mnist', '--seeds=0,1', '--num_steps=2', '--points=2',
    '--width=2', '--num_samples=16', '--features=random',
)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Return a function that runs main on the digits and reads its JSON."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    small = pictures.Preparation(image_size=(8, 8))
    monkeypatch.setitem(
        sources.DATASETS, 'mnist', lambda request: sources.digits(
            request._replace(name='mnist', preparation=small, limit=64)
        )
    )

    def run(*words):
        path = tmp_path / 'out.json'
        parse(*TINY, f'--out={tmp_path / "runs"}', f'--json={path}', *words)
        script.main([])
        return json.loads(path.read_text())

    return run


def test_both_sides_are_measured_alike_and_go_on(
    command, capsys, tmp_path, monkeypatch
):
    pytest.importorskip('torch')
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    picture = tmp_path / 'curves.png'
    first = command(f'--picture={picture}')
    sides = first['runs']['dcgan:mnist']
    assert list(sides) == ['ours', 'torch'] and picture.exists()
    for side in sides.values():
        assert list(side) == ['0', '1']
        for result in side.values():
            assert list(result['curve']) == ['1', '2']
            assert list(script.last(result)) == list(
                first['floors']['dcgan:mnist']
            ) == ['fid (random)', 'kid (random)']
    assert sides['torch']['0'] != sides['torch']['1']
    rows = capsys.readouterr().out.splitlines()
    row = next(line for line in rows if line.startswith('| dcgan:mnist | fid'))
    assert row.count('|') == 8
    assert command()['runs'] == first['runs']  # nothing is trained again
    with pytest.raises(errors.CheckpointError, match='other settings'):
        command('--width=3')


def test_pytorch_starts_as_we_do(command, monkeypatch):
    torch = pytest.importorskip('torch')
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    parse(*TINY, '--width=16')
    step = script.torch_step(script.configure('dcgan:mnist', 0))
    for network in (step.generator, step.discriminator):
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.2)
            else:
                norm = not name.endswith('bias')
                assert bool((parameter == (1.0 if norm else 0.0)).all())
    assert all(
        torch.equal(a, b)
        for a, b in zip(step._average, step.generator.parameters())
    )


def test_average_of_weights_has_our_warm_up(command, monkeypatch):
    torch = pytest.importorskip('torch')
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    parse(*TINY)
    step = script.torch_step(script.configure('dcgan:mnist', 0))
    average = step._average[0].clone()
    for decay in (0.1, 2 / 11):  # (1 + step) / (10 + step)
        step.step()
        current = next(step.generator.parameters()).detach()
        average = decay * average + (1 - decay) * current
    assert torch.allclose(step._average[0], average, atol=1e-6)
    assert not torch.allclose(average, current, atol=1e-6)


def test_ranges_that_meet_agree():
    assert script.agree([1, 3], [2, 5]) and script.agree([2, 5], [1, 2])
    assert not script.agree([1, 2], [3, 4]) and not script.agree([3], [1, 2])


@pytest.mark.parametrize('words, match', [
    (['--only=dcgan:letters'], 'letters'), (['--seeds=0,x'], '0,x'),
])
def test_bad_choices_are_one_line(words, match):
    parse(*TINY, *words)
    with pytest.raises(errors.ConfigError, match=match):
        script.chosen()
