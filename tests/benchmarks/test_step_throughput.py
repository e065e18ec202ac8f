"""The timed step: turns of lazy penalties, samples, the command."""

import importlib
import json
import subprocess
import sys

import pytest

from conftest import ROOT
import helpers
from gan_jax.config import builders

BENCHMARKS = ROOT / 'benchmarks'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_steps_with_lazy_penalties_take_turns_as_in_training(
    script, monkeypatch
):
    case, = script('beside_torch').cases(['stylegan2 32'])
    specs = builders.single_source_specs(case.shape)
    gan = builders.algorithm(case.config, specs)
    throughput, _ = helpers.load_script('step_throughput')
    monkeypatch.setattr(
        throughput.parallel, 'has_fast_control_flow', lambda _: False
    )
    dues = [sorted(v.due) for v in throughput._variants(gan, True)]
    assert dues == [
        ['path_length', 'r1'] if not step else
        ['path_length'] if step % 4 == 0 else [] for step in range(16)
    ]
    monkeypatch.setattr(
        throughput.parallel, 'has_fast_control_flow', lambda _: True
    )
    only, = throughput._variants(gan, True)
    assert only.due is None


@pytest.mark.integration
def test_samples_are_made_of_maps_of_codes(script):
    case, = script('beside_torch').cases(['kl_autoencoder 32'])
    case.config.batch_size, case.config.generator.num_blocks = 2, 1
    for player in (case.config.generator, case.config.discriminator):
        player.width = 8
    throughput, _ = helpers.load_script('step_throughput')
    step = throughput.Variant(case.config, (24, 24, 3), 1)
    assert step.generate(1) > 0


@pytest.mark.slow
def test_one_command_compares_and_writes(script, tmp_path):
    pytest.importorskip('torch')
    path = tmp_path / 'out.json'
    done = subprocess.run(
        [sys.executable, BENCHMARKS / 'step_throughput.py', '--table',
         '--only=mlp 64', '--rounds=2', '--seconds=0.05', '--product=64',
         '--kernels=2', f'--json={path}'],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].startswith('| mlp 64 | ours |')
    assert lines[3].startswith('| mlp 64 | channels_last |')
    assert lines[4].startswith('| mlp 64 | channels_last+joined |')
    assert '| other |' in done.stdout
    case = json.loads(path.read_text())['cases']['mlp 64']
    assert case['about']['ours']['parameters'] == (
        case['about']['channels_last']['parameters']
    )
    assert case['ours / torch']['channels_last']['ratio'] > 0
