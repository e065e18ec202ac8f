"""Compilation for TPUs ahead of time: cases, data, roofline, table, one run."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from conftest import ROOT
import helpers
from gan_jax.cli import recipe_files
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.runtime import parallel

script, parse = helpers.load_script('tpu_compile')
V5E = script.Case('dcgan', 'v5e:2x4', 'bfloat16')
ROW = {
    **V5E._asdict(), 'devices': 8, 'hosts': 1, 'images_per_device': 8,
    'updates': '1 of D and 1 of G', 'steps_per_call': 50,
    'lower_seconds': 1.0, 'compile_seconds': 6.6,
    'memory': {
        'arguments': 300 * 2**20, 'outputs': 200 * 2**20,
        'aliased': 190 * 2**20, 'temporaries': 50 * 2**20, 'code': 2**20,
    },
    'flops': 2e9, 'bytes': 3e9, 'inner_loops': [],
    'collectives': {'all-reduce': {'count': 2.0, 'bytes': 7e6}},
    'padding': 1.5, 'copies': 0.01, 'most_padded': [1, 2, 'f32[1]'],
    'unwanted': [],
    'seconds': {'products': 1e-5, 'memory': 0.004, 'links': 6e-5},
    'versions': 'jax 1.2, libtpu 0.1', 'date': '2026-11-27',
}
FAILED = {
    **V5E._replace(recipe='biggan')._asdict(), 'failure': 'memory: Used 17G',
    'versions': 'jax 1.2, libtpu 0.1', 'date': '2026-11-28',
}


def test_least_times_are_those_of_the_figures_of_a_chip():
    chip = script.Chip(flops=100.0, bandwidth=10.0, links=4.0, memory=1)
    seconds = script.roofline(chip, 8, 500.0, 30.0, {
        'all-reduce': {'count': 2, 'bytes': 16.0},  # 2 * 7/8 of it is sent
        'all-gather': {'count': 1, 'bytes': 1.0},  # to 7 others
        'reduce-scatter': {'count': 1, 'bytes': 8.0},  # 7/8
        'collective-permute': {'count': 1, 'bytes': 4.0},
    })
    assert seconds == {
        'products': 5.0, 'memory': 3.0, 'links': (28 + 7 + 7 + 4) / 4,
    }
    assert script.roofline(chip, 1, 0, 0, {
        'all-reduce': {'count': 1, 'bytes': 9.0},
    })['links'] == 0


def test_cases_are_all_recipes_and_the_first_topology_comes_first():
    cases = script.cases([], list(script.TOPOLOGIES), script.DTYPES, 0)
    assert len(cases) == len({case.name for case in cases})
    assert {case.recipe for case in cases} == {
        *recipe_files.summaries(), *script.LARGE
    }
    share = len(cases) // len(script.TOPOLOGIES)
    assert {case.topology for case in cases[:share]} == {'v5e:2x4'}
    assert script.cases(['gan'], ['v4:2x2x2'], ['float32'], 64) == [
        script.Case('gan', 'v4:2x2x2', 'float32', 64)
    ]


@pytest.mark.parametrize('names, topologies, dtypes, message', [
    (['dcgam'], ['v5e:2x4'], ['float32'], "did you mean 'dcgan'"),
    ([], ['v5e:2x5'], ['float32'], "did you mean 'v5e:2x4'"),
    ([], ['v5e:2x4'], ['float16'], "did you mean 'bfloat16'"),
])
def test_unknown_names_are_refused(names, topologies, dtypes, message):
    with pytest.raises(errors.ConfigError, match=message):
        script.cases(names, topologies, dtypes, 0)


@pytest.mark.parametrize('case, num_devices, batch_size', [
    (V5E, 8, 64), (V5E, 256, 2048), (V5E._replace(batch=5), 8, 40),
    (V5E._replace(recipe='cyclegan'), 8, 8),  # its own is smaller
])
def test_batch_is_the_recipes_on_eight_chips(case, num_devices, batch_size):
    config = script.load_config(case, num_devices)
    assert config.batch_size == batch_size
    assert config.dtype == 'bfloat16'


@pytest.mark.parametrize('recipe, shapes, num_classes', [
    ('dcgan', {'real': (1797, 32, 32, 1)}, 10),
    ('dcgan:celeb_a', {'real': (162_770, 64, 64, 3)}, 0),
    ('biggan:mnist', {'real': (60_000, 32, 32, 1)}, 10),
    ('r3gan:images_256', {'real': (50_000, 256, 256, 3)}, 10),
    ('mixtures', {'real': (builders.NUM_POINTS, 2)}, 0),
    ('cyclegan', {'a': (1797, 32, 32, 1), 'b': (1797, 32, 32, 3)}, 0),
    ('pix2pix:images_256', {
        'a': (50_000, 286, 286, 3), 'b': (50_000, 286, 286, 3),
    }, 0),
])
def test_data_have_the_recipes_form_and_take_no_memory(
    recipe, shapes, num_classes
):
    config = script.load_config(V5E._replace(recipe=recipe), 8)
    datasets = script.unread_datasets(config)
    assert {k: v.images.shape for k, v in datasets.items()} == shapes
    for dataset in datasets.values():
        assert len(dataset.classes) == num_classes
        assert (dataset.labels is not None) == bool(num_classes)
        if recipe != 'mixtures':
            assert dataset.images.strides[0] == 0


def test_package_chooses_as_on_the_devices_only_meanwhile():
    class Device:
        def __init__(self, process_index):
            self.process_index = process_index

    before = jax.default_backend(), jax.device_count()
    devices = [Device(number // 8) for number in range(32)]
    with script.as_if_on(devices, 16 * 2**30):
        assert parallel.has_fast_control_flow(True)
        assert parallel.device_count() == 32
        assert parallel.host_slice(64) == (0, 16)
        assert parallel.device_memory() == 16 * 2**30
        split = parallel.split(np.zeros((1, 1, 16)))
        assert split.shape == (8, 1, 1, 2)
    assert (jax.default_backend(), jax.device_count()) == before


def test_memory_counts_what_the_state_shares_once():
    assert script.total_memory(ROW) == (300 + 200 - 190 + 50 + 1) * 2**20


def test_table_has_a_line_for_each_row():
    *head, row, failed = script.table([ROW, FAILED])
    cells = [cell.strip() for cell in row.split('|')[1:-1]]
    assert cells == [
        'dcgan', 'bfloat16', '8', '50', '7', '361', '300', '50', '2.2 %',
        '2', '3', '2', '7', '1.50', '0.01', '4', '0.06',
    ]
    assert {line.count('|') for line in (*head, row, failed)} == {18}
    assert 'memory: Used 17G' in failed


def test_loop_over_microbatches_makes_its_counts_lower_bounds():
    row = list(script.table([{**ROW, 'inner_loops': [8]}]))[-1]
    assert '| ≥ 2 | ≥ 3 | 2 |' in row
    assert row.endswith('| ≥ 0.01 | ≥ 4 | 0.06 |')


def test_remarks_name_what_is_not_as_it_should_be():
    assert not list(script.remarks([ROW]))
    other = {'all-gather': {'count': 2.0, 'bytes': 1e6}}
    lines = list(script.remarks([FAILED, {
        **ROW, 'unwanted': ['float64'], 'copies': 0.3,
        'collectives': {**ROW['collectives'], **other},
    }]))
    assert lines == [
        '- biggan, v5e:2x4, bfloat16: memory: Used 17G',
        '- dcgan, v5e:2x4, bfloat16: float64',
        '- dcgan, v5e:2x4, bfloat16: 2 all-gather a step, of 1 MB',
        '- dcgan, v5e:2x4, bfloat16: 30 % of the written bytes are copies to '
        'another layout',
    ]


def test_page_keeps_its_head_and_replaces_its_tables():
    results = {V5E.name: ROW, V5E._replace(recipe='biggan').name: FAILED}
    page = script.page(f'# Head\n\n{script.MARK}old', results)
    assert page.startswith(f'# Head\n\n{script.MARK}\nCompiled by jax 1.2')
    assert '## v5e:2x4, 8 chips, 1 hosts\n' in page and 'old' not in page
    assert script.page(page, results) == page


def test_page_names_what_is_missing(monkeypatch):
    monkeypatch.setattr(script, 'LARGE', ())
    monkeypatch.setattr(script.recipe_files, 'summaries', lambda: {
        'dcgan': '', 'gan': '',
    })
    page = script.page('', {V5E.name: ROW})
    assert 'Not compiled yet: dcgan (float32), gan.' in page
    assert page.count('Not compiled yet: dcgan, gan.') == (
        len(script.TOPOLOGIES) - 1
    )


@pytest.mark.parametrize('text, reason', [
    ('x\nerror: --config=a is not a recipe\n',
     'error: --config=a is not a recipe'),
    ('Traceback\njax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: XLA:TPU '
     'compile permanent error. Used 17.20G of 15.75G hbm. Exceeded',
     'memory: Used 17.20G of 15.75G hbm'),
    ('Traceback\nValueError: no\n  more', 'ValueError: no'),
    ('killed', 'exit code -9'),
])
def test_failure_is_one_line(text, reason):
    assert script._reason(text, -9) == reason


def test_missing_compiler_is_one_line(monkeypatch):
    monkeypatch.setattr(script.importlib.util, 'find_spec', lambda name: None)
    parse('--recipes=dcgan')
    with pytest.raises(errors.ConfigError, match=r'tpu-aot'):
        script.main([])


def test_command_continues_with_what_is_missing(monkeypatch, tmp_path):
    compiled = []

    def run(case):
        compiled.append(case.recipe)
        return {**ROW, **case._asdict()}

    monkeypatch.setattr(script, 'run_worker', run)
    monkeypatch.setattr(
        script.importlib.util, 'find_spec', lambda name: object()
    )
    monkeypatch.setattr(
        script.importlib.metadata, 'version', lambda name: '1.2'
    )
    path, page = tmp_path / 'results.json', tmp_path / 'page.md'
    flags = [
        '--topologies=v5e:2x4', '--dtypes=bfloat16', f'--json={path}',
        f'--page={page}',
    ]
    for recipes in ('gan', 'dcgan,gan', 'dcgan,gan'):
        parse(f'--recipes={recipes}', *flags)
        script.main([])
    assert compiled == ['gan', 'dcgan']
    assert [row['recipe'] for row in json.loads(path.read_text()).values()] == [
        'dcgan', 'gan'
    ]
    assert page.read_text().count('| bfloat16 |') == 2
    parse('--recipes=gan', '--again', *flags)
    script.main([])
    assert compiled == ['gan', 'dcgan', 'gan']


def test_training_call_of_dcgan_compiles_for_eight_chips(tmp_path):
    pytest.importorskip('libtpu', reason="pip install -e '.[tpu-aot]'")
    path = tmp_path / 'results.json'
    done = subprocess.run(
        [sys.executable, ROOT / 'benchmarks' / 'tpu_compile.py',
         '--recipes=dcgan', '--topologies=v5e:2x4', '--dtypes=bfloat16',
         f'--json={path}'],
        env=helpers.environment(), capture_output=True, text=True, timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    row, = json.loads(pathlib.Path(path).read_text()).values()
    assert 'failure' not in row, row
    assert (row['devices'], row['hosts'], row['steps_per_call']) == (8, 1, 50)
    # One average of gradients for each of the two updates.
    assert row['collectives'].keys() == {'all-reduce'}
    assert row['collectives']['all-reduce']['count'] == 2
    assert script.total_memory(row) < script.CHIPS['v5e'].memory
    assert row['memory']['aliased'] > 0.9 * row['memory']['outputs']
    assert row['unwanted'] == [] and row['inner_loops'] == []
    # The data set is not copied to another layout.
    assert not row['most_padded'][2].startswith('u8')
