"""The notebook `configs/tutorial.ipynb`: its form, and what its cells show."""

import json
import re
import subprocess
import sys

import numpy as np
from PIL import Image

import helpers
from conftest import ROOT

NOTEBOOK = ROOT / 'configs' / 'tutorial.ipynb'
SECONDS = 600  # twice what it may take, for a machine that is busy


def test_form_is_that_of_a_notebook_without_outputs():
    book = json.loads(NOTEBOOK.read_text())
    assert (book['nbformat'], book['nbformat_minor']) == (4, 5)
    ids = [cell['id'] for cell in book['cells']]
    assert len(set(ids)) == len(ids) > 20
    for cell in book['cells']:
        assert all(len(line) <= 101 for line in cell['source'])
        if cell['cell_type'] == 'code':
            assert cell['outputs'] == [] and cell['execution_count'] is None
            continue
        for page in re.findall(r'\]\((\w+\.md)', ''.join(cell['source'])):
            assert (ROOT / 'configs' / page).is_file()


def test_cells_go_from_losses_to_an_exported_gan(tmp_path):
    ran = subprocess.run(
        [sys.executable, ROOT / 'tests' / 'notebook_worker.py', NOTEBOOK],
        cwd=tmp_path, env=helpers.environment(), capture_output=True,
        text=True, timeout=SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    assert 'WARNING' not in ran.stderr
    steps = {
        name: int(count) for name, count in re.findall(
            r'(\w+): among the data after (\d+) steps', ran.stdout
        )
    }
    assert 3 * steps['non_saturating_loss'] < steps['minimax_loss']
    fids = re.findall(r'fid ([\d.]+) \(real ([\d.]+)\)', ran.stdout)
    values, floors = np.array(fids, float).T
    assert len(values) == 3 and values[2] < values[1] < values[0]
    assert values[2] < 2 * floors[2]
    figures = sorted(tmp_path.glob('figure-*.png'))
    assert len(figures) == 5
    assert all(np.ptp(Image.open(f).convert('L')) == 255 for f in figures)
    made = tmp_path / 'runs' / 'tutorial'
    assert (made / 'released' / 'model.safetensors').is_file()
    assert (made / 'exported' / 'generator.html').is_file()
