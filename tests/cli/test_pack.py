"""The command `pack`: from a source to a pack that trains."""

import json

import numpy as np

import helpers
import image_files
from conftest import ROOT
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import sources

TINY = (
    '--config.generator.width=4', '--config.discriminator.width=4',
    '--config.batch_size=8', '--config.num_steps=2', '--config.log_every=1',
    '--config.sample_every=0', '--config.checkpoint_every=2',
)


def test_folder_is_packed_in_both_forms_and_trains(tmp_path):
    for place in range(24):
        image_files.write(
            tmp_path / 'in' / 'ab'[place % 2] / f'{place:02d}.png',
            image_files.flat((place, 9, 200), (20, 12)),
        )
    expected = sources.load(sources.Request(
        f'folder:{tmp_path}/in',
        preparation=pictures.Preparation(image_size=(16, 16)),
    ))
    for form in packs.FORMS:
        packed = helpers.run(
            'gan_jax', 'pack', 'in', '--data.image_size=16', f'--out={form}',
            f'--form={form}', cwd=tmp_path,
        )
        assert packed.returncode == 0, packed.stderr
        assert '24 images of 16x16x3' in packed.stdout
        assert f'--config.data.path={form}\n' in packed.stdout
        manifest = json.loads((tmp_path / form / 'manifest.json').read_text())
        assert manifest['source'] == 'folder:in' and manifest['form'] == form
        dataset = sources.load(sources.Request(f'pack:{tmp_path}/{form}'))
        np.testing.assert_array_equal(dataset.images, expected.images)
        np.testing.assert_array_equal(dataset.labels, expected.labels)
        assert dataset.classes == expected.classes == ('a', 'b')
    trained = helpers.run(
        'gan_jax.main', f'--config={ROOT}/configs/dcgan.py', *TINY,
        '--config.data.path=array_record', '--config.data.feed=streaming',
        '--workdir=run', cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert 'array_record: 24 images of 16x16x3' in trained.stdout
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    assert json.loads(lines[-1])['step'] == 2


def test_unusable_source_is_refused_in_one_line(tmp_path):
    np.save(tmp_path / 'rows.npy', np.zeros((4, 3)))
    (tmp_path / 'there').mkdir()
    np.save(tmp_path / 'there' / '0.npy', np.ones((4, 4, 3), np.float32))
    for arguments, code, says in [
        (['digits'], 2, '--out is missing'),
        (['digits', '--out=there'], 4, 'there exists already'),
        (['rows.npy', '--out=new'], 4, 'holds rows, not images'),
        (['there', '--out=new'], 4, 'train on the folder itself'),
        (['there', '--to=stylegan', '--out=new.zip'], 4, 'not pictures of'),
    ]:
        process = helpers.run('gan_jax', 'pack', *arguments, cwd=tmp_path)
        assert process.returncode == code
        (line,) = process.stderr.splitlines()
        assert line.startswith('error: ') and says in line
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'rows.npy', 'there'
    ]
