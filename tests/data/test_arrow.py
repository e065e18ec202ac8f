"""Hugging Face data sets saved to disk, as `save_to_disk` lays them out."""

import json
import os

import numpy as np
import pytest

import image_files
from gan_jax.core import errors
from gan_jax.data import sources

pa = pytest.importorskip('pyarrow')

IMAGE = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
FEATURES = {
    'id': {'dtype': 'int64', '_type': 'Value'},
    'image': {'_type': 'Image'},
    'label': {'names': ['cat', 'dog'], '_type': 'ClassLabel'},
}


def pixels(count, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (count, 6, 5, 3), np.uint8)


def save(folder, images, labels, shards=2, features=FEATURES, rows=None):
    """Write a split in the layout of `save_to_disk`."""
    folder.mkdir(parents=True)
    rows = rows or [
        {'bytes': image_files.encoded(image), 'path': None} for image in images
    ]
    names = []
    for shard in range(shards):
        names.append(f'data-{shard:05d}-of-{shards:05d}.arrow')
        table = pa.table({
            'id': pa.array(range(len(rows)))[shard::shards],
            'image': pa.array(rows[shard::shards], IMAGE),
            'label': pa.array(labels[shard::shards], pa.int64()),
        })
        with pa.OSFile(str(folder / names[-1]), 'wb') as file:
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=3)
    (folder / 'dataset_info.json').write_text(json.dumps(
        {'features': features, 'description': ''}
    ))
    (folder / 'state.json').write_text(json.dumps({
        '_data_files': [{'filename': name} for name in names],
        '_fingerprint': 'a', '_split': 'train',
    }))
    return folder


def load(folder, **options):
    uri = sources.uri_of_path(folder)
    assert uri == f'arrow:{folder}'
    return sources.load(sources.Request(uri, **options))


@pytest.mark.parametrize('memory', [None, 0])
def test_rows_of_all_shards_are_read_with_their_classes(memory, tmp_path):
    images, labels = pixels(9), [0, 1, 1, 0, 1, 0, 0, 0, 1]
    dataset = load(save(tmp_path / 'a', images, labels), memory=memory)
    order = [*range(0, 9, 2), *range(1, 9, 2)]  # of the two shards
    np.testing.assert_array_equal(dataset.images[:], images[order])
    assert dataset.labels.tolist() == [labels[i] for i in order]
    assert dataset.classes == ('cat', 'dog')
    assert len(load(tmp_path / 'a', classes=('dog',)).images) == 4


def test_splits_are_those_of_the_set(tmp_path):
    for name, count in (('train', 7), ('test', 3)):
        save(tmp_path / name, pixels(count, count), [0] * count, shards=1)
    (tmp_path / 'dataset_dict.json').write_text('{"splits": ["train", "test"]}')
    for name, count in (('train', 7), ('test', 3)):
        dataset = load(tmp_path, split=name)
        np.testing.assert_array_equal(dataset.images, pixels(count, count))
        assert dataset.labels.tolist() == [0] * count


@pytest.mark.parametrize('names', [
    ('train', 'test', 'extra'), ('validation', 'test'), ('a', 'b'),
])
def test_splits_that_are_not_known_are_not_merged(names, tmp_path):
    for count, name in enumerate(names, 3):
        save(tmp_path / name, pixels(count), [0] * count, shards=1)
    (tmp_path / 'dataset_dict.json').write_text(json.dumps({'splits': names}))
    says = f'splits {", ".join(sorted(names))}, .* the folder of one split'
    with pytest.raises(errors.DataError, match=says):
        load(tmp_path, split='train')
    assert len(load(tmp_path / names[0]).images) == 3


def test_splits_are_domains(tmp_path):
    names = ('trainA', 'trainB', 'testA', 'testB')
    for count, name in enumerate(names, 3):
        save(tmp_path / name, pixels(count), [0] * count, shards=1)
    (tmp_path / 'dataset_dict.json').write_text(json.dumps({'splits': names}))
    assert len(load(tmp_path, split='test', side='A').images) == 5


def test_row_without_bytes_is_skipped_and_no_path_is_followed(
    tmp_path, capsys
):
    other = tmp_path / 'other.png'
    image_files.write(other, pixels(1)[0])
    rows = [
        {'bytes': image_files.encoded(image), 'path': 'x'}
        for image in pixels(3)
    ]
    rows += [{'bytes': None, 'path': str(other)}, None]
    folder = save(tmp_path / 'a', None, [0, 1, 0, 1, 1], 1, rows=rows)
    dataset = load(folder, max_bad=0.5)
    np.testing.assert_array_equal(dataset.images, pixels(3))
    assert dataset.labels.tolist() == [0, 1, 0]
    assert capsys.readouterr().err.count('has no bytes') == 2


def edit(name, change):
    def apply(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))
    return apply


def stream(change):
    def apply(folder):
        path = folder / 'data-00000-of-00001.arrow'
        path.write_bytes(change(path.read_bytes()))
    return apply


def link(folder):
    path = folder / 'data-00000-of-00001.arrow'
    path.unlink()
    os.mkfifo(path)


BAD = {
    'a path out': (edit('state.json', lambda s: s.update(
        _data_files=[{'filename': '../b.arrow'}])), 'not the name of a file'),
    'no state': (edit('state.json', dict.clear), '_data_files'),
    'an index': (edit('state.json', lambda s: s.update(
        _indices_data_files=[{'filename': 'i.arrow'}])), 'save a copy'),
    'no image': (edit('dataset_info.json', lambda s: s['features'].pop(
        'image')), 'has images'),
    'few classes': (edit('dataset_info.json', lambda s: s['features'][
        'label'].update(names=['cat'])), 'rows without a class'),
    'no JSON': (lambda f: (f / 'state.json').write_text('{'), 'JSON'),
    'a cut stream': (stream(lambda data: data[:700]), 'cannot be read'),
    'no stream': (stream(lambda data: b'\xff' * 900), 'cannot be read'),
    'a fifo': (link, 'cannot be read'),
    'no file': (stream(lambda data: b''), 'cannot be read'),
    'no splits': (lambda f: (f / 'dataset_dict.json').write_text(
        '{"splits": []}'), 'has no splits'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_set_is_one_line(name, tmp_path):
    damage, says = BAD[name]
    folder = save(tmp_path / 'a', pixels(4), [0, 1, 0, 1], shards=1)
    damage(folder)
    with pytest.raises(errors.DataError, match=says) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith(str(folder)) and '\n' not in message
