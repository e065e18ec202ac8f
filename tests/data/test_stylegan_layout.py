"""Data in StyleGAN's layout, and labels in CSV: round trips and mistakes."""

import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.data import stylegan_layout

NAMES = ('00000/img00000000.png', '00000/img00000001.png',
         '00001/img00000002.png')
PNG = image_files.flat((1, 2, 3), (4, 4))


def load(path, scheme):
    return sources.load(sources.Request(f'{scheme}:{path}'))


def golden(path, labels, names=NAMES, scheme='zip', file='dataset.json'):
    """Write a data set as the authors' dataset_tool does, byte by byte ours.

    Args:
        labels: the content of dataset.json, or bytes of `file`.
    """
    content = labels if isinstance(labels, bytes) else json.dumps(
        labels).encode()
    members = [*((name, image_files.flat((n, 9, 9), (4, 4)))
                 for n, name in enumerate(names)), (file, content)]
    if scheme == 'folder':
        for name, data in members:
            image_files.write(path / name, data)
    elif scheme == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name, data in members:
                archive.writestr(name, data)
    else:
        with tarfile.open(path, 'w:gz') as archive:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def pairs(*labels):
    return {'labels': [list(pair) for pair in zip(NAMES, labels)]}


@pytest.mark.parametrize('scheme', ['folder', 'tar', 'zip'])
@pytest.mark.parametrize('content, labels, classes', [
    (pairs(6, 0, 6), [6, 0, 6], '0123456'),
    (pairs([0, 1, 0], [1, 0, 0], [0.0, 0.0, 1.0]), [1, 0, 2], '012'),
    ({'labels': None}, None, ''),
    ({}, None, ''),
    ({**pairs(1, 0, 1), 'classes': ['cat', 'dog']}, [1, 0, 1],
     ('cat', 'dog')),
    ({'labels': [[name.replace('/', '\\'), n]
                 for n, name in enumerate(NAMES)]}, [0, 1, 2], '012'),
])
def test_labels_are_those_of_the_file(
    content, labels, classes, scheme, tmp_path
):
    path = golden(tmp_path / 'set', content, scheme=scheme)
    dataset = load(path, scheme)
    assert dataset.classes == tuple(classes)
    assert dataset.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    if labels is None:  # and not those of the folders
        assert dataset.labels is None
    else:
        assert dataset.labels.tolist() == labels


@pytest.mark.parametrize('text, labels, classes', [
    (b'file,label\n%s,dog\n%s,cat\n%s,dog\n', [1, 0, 1], ('cat', 'dog')),
    (b'\xef\xbb\xbf%s,10\r\n%s,9\r\n\r\n%s,10\r\n', [1, 0, 1], ('9', '10')),
])
def test_csv_names_the_classes(text, labels, classes, tmp_path):
    content = text % tuple(name.encode() for name in NAMES)
    path = golden(tmp_path / 'set', content, scheme='folder',
                  file='labels.csv')
    dataset = load(path, 'folder')
    assert dataset.labels.tolist() == labels
    assert dataset.classes == classes


def test_equal_numbers_are_classes_in_the_order_of_their_names(tmp_path):
    names = [f'{"0" * zeros}{n}' for n in (2, 1) for zeros in range(30)]
    files = [f'{index}.png' for index in range(len(names))]
    path = golden(tmp_path / 'set', '\n'.join(
        f'{file},{name}' for file, name in zip(files, names)
    ).encode(), files, 'folder', 'labels.csv')
    assert load(path, 'folder').classes == tuple(
        sorted(names, key=lambda name: (int(name), name))
    )


SPLIT = ('train/a.png', 'train/b.png', 'test/a.png')


@pytest.mark.parametrize('scheme', ['folder', 'zip', 'tar'])
def test_labels_of_each_split_are_refused(scheme, tmp_path):
    content = b'a.png,cat\nb.png,dog\n'
    path = golden(tmp_path / 'set', content, SPLIT, scheme, 'train/labels.csv')
    with pytest.raises(errors.DataError, match='^train/labels.csv of .* alone'):
        load(path, scheme)


def test_files_without_labels_in_a_part_change_nothing(tmp_path):
    path = golden(
        tmp_path / 'set', {'labels': None}, SPLIT, 'folder',
        'train/dataset.json',
    )
    image_files.write(path / '.cache' / 'labels.csv', b'a.png,cat\n')
    dataset = load(path, 'folder')
    assert len(dataset.images) == 2 and dataset.labels is None


def test_archive_of_a_folder_has_the_labels_of_that_folder(tmp_path):
    names = [f'ffhq/{name}' for name in NAMES]
    path = golden(tmp_path / 'a.zip', pairs(2, 1, 0), names,
                  file='ffhq/dataset.json')
    assert load(path, 'zip').labels.tolist() == [2, 1, 0]


def test_vectors_are_left_out_with_a_warning(tmp_path, capsys):
    path = golden(tmp_path / 'a.zip', pairs([0.5, 1], [1, 0], [0, 1]))
    assert load(path, 'zip').labels is None
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'not one-hot' in error


BAD = {
    'missing_file': ({'labels': [*pairs(1, 0, 1)['labels'], ['a.png', 1]]},
                     'label for a.png'),
    'missing_label': ({'labels': pairs(1, 0, 1)['labels'][:2]},
                      'no label for 00001/img00000002.png'),
    'two_labels': ({'labels': 2 * pairs(1, 0, 1)['labels']}, 'two labels for'),
    'path_trick': ({'labels': [['../' + NAMES[0], 0],
                               *pairs(0, 0, 0)['labels'][1:]]}, '../00000'),
    'absolute_path': ({'labels': [['/etc/passwd', 0],
                                  *pairs(0, 0, 0)['labels'][1:]]},
                      '/etc/passwd'),
    'control_characters': ({'labels': [['a\nb\x1b[31m.png', 0]]},
                           r"'a\\nb\\x1b\[31m.png'"),
    'wrong_length': (pairs([1, 0], [1, 0], [1]), 'several lengths'),
    'mixed': (pairs(1, [1], 1), 'neither whole numbers'),
    'negative': (pairs(1, -1, 0), 'neither whole numbers'),
    'true': (pairs(1, True, 0), 'neither whole numbers'),
    'floats': (pairs(1.5, 0.5, 0.5), 'neither whole numbers'),
    'huge': (pairs(1, 10**30, 0), 'neither whole numbers'),
    'nan': (b'{"labels": [["%s", [NaN]], ["%s", [1]], ["%s", [1]]]}' % tuple(
        name.encode() for name in NAMES), 'not of finite numbers'),
    'bad_json': (b'{"labels": [', 'is not JSON'),
    'deep': (b'{"labels": ' + b'[' * 5000 + b']' * 5000 + b'}',
             'nested too deeply'),
    'no_object': (b'[1, 2]', 'is not an object'),
    'no_pairs': ({'labels': {NAMES[0]: 1}}, r'\[file, label\]'),
    'few_classes': ({**pairs(1, 0, 2), 'classes': ['a', 'b']},
                    'names 2 classes'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_labels_are_one_line(name, tmp_path):
    content, words = BAD[name]
    path = golden(tmp_path / 'a.zip', content)
    with pytest.raises(errors.DataError, match=words) as caught:
        load(path, 'zip')
    message = str(caught.value)
    assert '\n' not in message and '\x1b' not in message
    assert message.startswith('dataset.json of ')


@pytest.mark.parametrize('text', [b'%s,1,2\n', b'%s\n', b'\xff\n'])
def test_bad_csv_is_one_line(text, tmp_path):
    content = text.replace(b'%s', NAMES[0].encode())
    path = golden(tmp_path / 'a.zip', content, file='labels.csv')
    with pytest.raises(errors.DataError, match='^labels.csv of .*a.zip '):
        load(path, 'zip')


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('ending', ['', '.zip'])
def test_round_trip_to_the_byte(ending, channels, tmp_path):
    images = helpers.random_images(5, (8, 8, channels))
    labels = np.array([2, 0, 1, 2, 2], np.int32)
    scheme = ending[1:] or 'folder'
    digests = []
    for name in 'ab':
        path = str(tmp_path / name) + ending
        stylegan_layout.write(images, labels, ('x', 'y', 'z'), path)
        dataset = load(path, scheme)
        np.testing.assert_array_equal(dataset.images, images)
        np.testing.assert_array_equal(dataset.labels, labels)
        assert dataset.classes == ('x', 'y', 'z')
        images, labels = dataset.images, dataset.labels
        files = sorted((tmp_path / name).rglob('*.*')) if not ending else [
            tmp_path / f'{name}.zip'
        ]
        digests.append([
            hashlib.sha256(file.read_bytes()).hexdigest() for file in files
        ])
    assert digests[0] == digests[1] and len(digests[0]) == (1 if ending else 6)


def test_layout_is_that_of_the_authors(tmp_path):
    images = helpers.random_images(1001, (1, 1, 3))
    stylegan_layout.write(images, None, (), str(tmp_path / 'a.zip'))
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        names = archive.namelist()
        assert json.loads(archive.read('dataset.json')) == {'labels': None}
        assert {i.compress_type for i in archive.infolist()} == {
            zipfile.ZIP_STORED
        }
    assert names[0] == '00000/img00000000.png'
    assert names[1000] == '00001/img00001000.png'


@pytest.mark.parametrize('shape', [(8, 4, 3), (6, 6, 3), (8, 8, 4)])
def test_images_that_stylegan_cannot_take_are_refused(shape, tmp_path):
    with pytest.raises(errors.DataError, match='power of 2'):
        stylegan_layout.write(
            helpers.random_images(2, shape), None, (), str(tmp_path / 'a.zip')
        )
    assert not list(tmp_path.iterdir())


def test_file_that_exists_is_kept(tmp_path):
    (tmp_path / 'a.zip').write_text('mine')
    with pytest.raises(errors.DataError, match='exists already'):
        stylegan_layout.write(
            helpers.random_images(2), None, (), str(tmp_path / 'a.zip')
        )
    assert (tmp_path / 'a.zip').read_text() == 'mine'


@pytest.mark.integration
def test_pack_writes_a_zip_that_trains(tmp_path):
    (code, output, error), = helpers.commands([[
        'gan_jax', 'pack', 'digits', '--to=stylegan', '--data.limit=20',
        '--out=digits.zip',
    ]], cwd=tmp_path)
    assert code == 0, error
    assert '--config.data.path=digits.zip' in output
    dataset = load(tmp_path / 'digits.zip', 'zip')
    assert dataset.images.shape == (20, 32, 32, 1)
    assert dataset.classes == tuple('0123456789')
