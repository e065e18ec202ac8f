"""The benchmark of the metrics' cost: what it runs, prints and leaves."""

import json

import pytest

import helpers
from gan_jax.core import errors

script, parse = helpers.load_script('metric_cost')


@pytest.mark.parametrize('name', [
    name if name == 'frechet' else pytest.param(name, marks=pytest.mark.slow)
    for name in script.METRICS
])
def test_every_metric_runs_and_is_measured(name):
    row = script.measure(name, 1e-3)
    counts, shape, _ = script.METRICS[name]
    assert row['rows'] == [max(20, n // 1000) for n in counts]
    assert row['shape'] == list(shape)
    assert row['seconds'] > 0 and 0.01 < row['peak_gib'] < 20


def test_main_prints_a_row_for_each_and_writes_them(tmp_path, capsys):
    parse(
        '--only=prdc,ms_ssim', '--share=0.001', f'--json={tmp_path}/out.json'
    )
    script.main([])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ['metric', 'prdc', 'ms_ssim']
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert [row['metric'] for row in rows] == ['prdc', 'ms_ssim']
    assert rows[0]['rows'] == [20, 20]


def test_unknown_metrics_are_told():
    parse('--only=fid')
    with pytest.raises(errors.ConfigError, match="only='fid' is not one of"):
        script.main([])
