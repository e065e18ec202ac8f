"""The benchmark of pretrained features: it times what it says."""

import json

import pytest

import helpers


@pytest.mark.parametrize('features', ['efficientnet_lite0', 'inception'])
def test_it_tells_and_leaves_its_numbers(features, tmp_path, capsys):
    script, parse = helpers.load_script('inception_features')
    path = tmp_path / 'numbers.json'
    parse(
        '--num_images=3', '--batch_size=2', '--side=16', f'--json={path}',
        f'--features={features}',
    )
    script.main([])
    numbers = json.loads(path.read_text())
    assert numbers['images'] == 3 and numbers['weights'] == 'none'
    assert numbers['features'] == features and numbers['cpu_seconds'] > 0
    assert numbers['images_per_second'] == pytest.approx(
        3 / numbers['seconds']
    )
    assert capsys.readouterr().out.startswith('3 images in ')
