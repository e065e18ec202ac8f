"""Scaling: each value beside the first, the model on paper, devices."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT
import helpers
from gan_jax.core import errors

BENCHMARKS = ROOT / 'benchmarks'


def test_scaling_tells_each_value_beside_the_first():
    script, parse = helpers.load_script('scaling')
    parse()
    found = [
        {'value': value, 'ms_per_step': [1, taken, 90],
         'images_per_second': 10, 'peak_memory_mib': 5}
        for value, taken in ((8, 2), (16, 5))
    ]
    assert list(script.rows('batch', found))[2:] == [
        '| 8 | 2.0 | 1.00 | 10 | 5 |', '| 16 | 5.0 | 2.50 | 10 | 5 |'
    ]
    parse('--axes=depth')
    with pytest.raises(errors.ConfigError, match='depth'):
        script.main([])


def test_the_model_on_paper_is_corrected_by_the_measured_steps(capsys):
    script, parse = helpers.load_script('scaling')
    device = script.Device(100.0, script.BYTES, 4.0, {1: 5.0, 3: 9.0})
    # 1 second of arithmetic and 1 of memory an image: 3 + images * 2.
    paper = script.on_paper(device, 4, 10, 100.0, 2)
    assert paper == {'arithmetic': 10.0, 'memory': 10.0, 'links': 3.0}
    assert script.corrected(device, 1, 1, 100.0, 2) == 5.0
    assert script.corrected(device, 1, 10, 100.0, 2) == pytest.approx(23.0)
    assert script.corrected(device, 4, 10, 100.0, 2) == pytest.approx(26.0)
    assert script.corrected(
        device._replace(measured=None), 4, 10, 100.0, 2
    ) is None
    parse('--paper')
    script.main([])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == len(script.MODELLED)
    assert '| 5.76 |' in lines[1] and lines[-1].startswith('| 256 v5e | 512 |')


def test_virtual_devices_are_of_the_cpu_alone(monkeypatch, capsys):
    script, parse = helpers.load_script('scaling')
    parse('--axes=devices,batch')
    described = {**script.environment.describe(0), 'backend': 'gpu'}
    monkeypatch.setattr(script.environment, 'describe', lambda _: described)
    monkeypatch.setattr(script, 'measure', lambda axis: [
        {'value': 1, 'ms_per_step': [1.0], 'images_per_second': 2,
         'peak_memory_mib': 3}
    ])
    script.main([])
    said = capsys.readouterr().out
    assert 'devices: left out' in said and '| batch |' in said


@pytest.mark.slow
def test_scaling_trains_on_virtual_devices(tmp_path):
    path = tmp_path / 'out.json'
    done = subprocess.run(
        [sys.executable, BENCHMARKS / 'scaling.py', '--axes=devices',
         '--rounds=2', '--steps=1', '--config_path=configs/dcgan.py',
         '--shape=16x16x1', f'--json={path}'],
        capture_output=True, text=True, cwd=BENCHMARKS.parent,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())['axes']['devices']
    assert [one['value'] for one in found] == [1, 2, 4, 8]
    assert all(one['images_per_second'] > 0 for one in found)
