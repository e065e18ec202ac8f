"""The command `convert_stylegan2`: from the authors' pickles to runs."""

import json
import os
import pickle

import numpy as np

import helpers
import official_stylegan2 as official
import torch_files


def write(path, content, protocol=4):
    path.write_bytes(torch_files.dumps(content, protocol))


def test_command_converts_samples_and_trains_on(tmp_path):
    content = official.snapshot(3, 'orig', probability=None)
    content['D'].arguments[0]['state']['_modules']['b16'].arguments[0][
        'state']['use_fp16'] = True
    write(tmp_path / 'a.pkl', content, protocol=3)
    np.savez(
        tmp_path / 'images.npz',
        images=helpers.random_images(12, (20, 20, 3)), labels=np.arange(12) % 3,
    )
    run = ['--workdir=run']
    results = helpers.commands([
        ['gan_jax', 'convert_stylegan2', 'a.pkl', *run],
        ['gan_jax', 'convert_stylegan2', 'a.pkl', *run],
        ['gan_jax', 'sample', *run, '--seeds=0-2', '--out=a.png'],
        ['gan_jax', 'evaluate', *run, '--metrics=swd'],
        ['gan_jax', 'train', *run],
        ['gan_jax', 'train', *run, '--config.data.path=images.npz',
         '--config.num_steps=1', '--config.batch_size=4', '--override_config',
         '--config.sample_every=0', '--config.report=False'],
        ['gan_jax', 'sample', *run, '--seeds=0-2', '--out=b.png'],
        ['gan_jax', 'convert_stylegan2', 'a.pkl', '--workdir=known',
         '--data.path=images.npz'],
        ['gan_jax', 'convert_stylegan2', 'a.pkl', '--workdir=other',
         '--data.path=images.npz', '--data.classes=0,2'],
    ], cwd=tmp_path)
    codes = [0, 2, 0, 4, 4, 0, 0, 0, 4]
    assert [code for code, _, _ in results] == codes, results
    assert 'StyleGAN2 for 16x16x3, 3 classes' in results[0][1]
    assert 'float16 and clamps values at ±256' in results[0][1]
    assert 'holds a run' in results[1][2]
    for _, _, err in results[3:5]:
        assert "data.name='unknown': " in err and err.count('\n') == 1
    assert '3 samples of step 1' in results[6][1]
    assert 'has classes 2, and the networks have 3' in results[8][2]
    described = json.loads((tmp_path / 'known' / 'data.json').read_text())
    assert described['real']['count'] == 12
    assert sorted(os.listdir(tmp_path)) == [
        'a.pkl', 'a.png', 'b.png', 'images.npz', 'known', 'run'
    ]


def test_hostile_files_are_one_line_a_code_and_nothing_else(tmp_path):
    system = b'cos\nsystem\n(X\x0d\x00\x00\x00touch EXECUTEDtR.'
    good = torch_files.dumps(official.snapshot())
    files = {
        'system.pkl': (system, "names 'os.system'"),
        'cut.pkl': (good[:-100], 'is no pickle, or one that is cut off'),
        'tf.pkl': (
            torch_files.dumps((torch_files.Call('dnnlib.tflib.network.Network'),
                               )), 'of a network in TensorFlow',
        ),
        'list.pkl': (pickle.dumps([1, 2]), 'has no G'),
        'empty.pkl': (b'', 'is no pickle'),
    }
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    os.mkdir(tmp_path / 'folder')
    lines = [*files, 'none.pkl', 'folder']
    results = helpers.commands([
        *(['gan_jax', 'convert_stylegan2', name, '--workdir=run']
          for name in lines),
        ['gan_jax', 'convert_stylegan2', '--workdir=run'],
        ['gan_jax', 'convert_stylegan2', 'cut.pkl'],
    ], cwd=tmp_path)
    expected = [
        *((5, f'error: {name} {says}') for name, (_, says) in files.items()),
        (5, 'none.pkl cannot be read: No such file'),
        (5, 'folder is not a regular file'), (2, 'name one file'),
        (2, '--workdir is missing'),
    ]
    for (code, _, err), (wanted, says) in zip(results, expected, strict=True):
        if 'TensorFlow' in says:
            says = 'TensorFlow'
        assert code == wanted and says in err and err.count('\n') == 1, err
    assert sorted(os.listdir(tmp_path)) == sorted([*files, 'folder'])
