"""Sets of TensorFlow Datasets: prepared, listed and read without TensorFlow."""

import gzip
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.data import on_demand
from gan_jax.data import pictures
from gan_jax.data import reading
from gan_jax.data import sources
from gan_jax.data import tfds_source

PIXELS = helpers.random_images(30, (6, 4, 3))
LABELS = np.arange(30) % 3


def load(name, data_dir, split='train', **changes):
    return sources.load(
        sources.Request(name, split, str(data_dir), **changes)
    )


def by_content(dataset):
    """Return {pixels: label} in any order."""
    return {
        image.tobytes(): label
        for image, label in zip(dataset.images[:], dataset.labels)
    }


@pytest.fixture
def idx_folder(tmp_path):
    """Four small idx files in the form of MNIST's."""
    source = tmp_path / 'raw'
    for split, count in (('train', 12), ('test', 5)):
        images = helpers.random_images(count, (28, 28), seed=count)
        labels = (np.arange(count) % 10).astype(np.uint8)
        image_files.write_idx(source, split, images, labels)
    return source


@pytest.mark.parametrize('name', tfds_source.IDX_SETS)
def test_prepare_makes_a_set_from_idx_files_that_reads_back(
    name, idx_folder, tmp_path
):
    target = tmp_path / 'tfds'
    tfds_source.prepare(name, str(target), str(idx_folder))
    for split, prefix in (('train', 'train'), ('test', 't10k')):
        raw = tfds_source._read_idx(
            idx_folder / f'{prefix}-images-idx3-ubyte.gz'
        )
        labels = tfds_source._read_idx(
            idx_folder / f'{prefix}-labels-idx1-ubyte.gz'
        )
        assert by_content(load(name, target, split)) == {
            image.tobytes(): label for image, label in zip(raw, labels)
        }


def test_prepare_names_missing_and_damaged_files(idx_folder, tmp_path):
    name = 't10k-labels-idx1-ubyte.gz'
    (idx_folder / name).write_bytes(b'not gzip')
    with pytest.raises(errors.DataError, match=name):
        tfds_source.prepare('mnist', str(tmp_path / 'a'), str(idx_folder))
    (idx_folder / name).write_bytes(gzip.compress(bytes(2**28 + 1), 1))
    with pytest.raises(errors.DataError, match='unpacks to over'):
        tfds_source.prepare('mnist', str(tmp_path / 'a'), str(idx_folder))
    (idx_folder / name).write_bytes(gzip.compress(b'\0\0\x0d\1\0\0\0\0'))
    with pytest.raises(errors.DataError, match='not an idx file of bytes'):
        tfds_source.prepare('mnist', str(tmp_path / 'a'), str(idx_folder))
    (idx_folder / name).unlink()
    with pytest.raises(errors.DataError, match=f'lacks {name}'):
        tfds_source.prepare('mnist', str(tmp_path / 'b'), str(idx_folder))
    assert not list(tmp_path.glob('[ab]/mnist/3*'))


def define(name, features, counts):
    """Register a set of TFDS by its name in camel case; return its builder.

    Its images are `PIXELS`, encoded, and its whole numbers `LABELS`.

    Args:
        name: such as 'TinyPlain', which TFDS knows as tiny_plain.
        features: {name: feature}.
        counts: {split: examples}.
    """
    import tensorflow_datasets as tfds

    def examples(count):
        for place in range(count):
            yield place, {
                key: io.BytesIO(image_files.encoded(PIXELS[place]))
                if isinstance(feature, tfds.features.Image)
                else int(LABELS[place])
                for key, feature in features.items()
            }

    def info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def splits(self, dl_manager):
        return {split: examples(count) for split, count in counts.items()}

    return type(name, (tfds.core.GeneratorBasedBuilder,), {
        'VERSION': tfds.core.Version('1.0.0'), '_info': info,
        '_split_generators': splits, '_generate_examples': examples,
        '__module__': __name__,
    })


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """Folder of small sets: 'train' holds 30 images, 'test' 10 of them."""
    from tensorflow_datasets import features

    folder = tmp_path_factory.mktemp('tfds')
    image = features.Image(shape=(6, 4, 3))
    pet = features.ClassLabel(names=['cat', 'dog', 'owl'])
    some_size = features.Image(shape=(None, None, 3))
    number = features.Scalar(dtype=np.int64)
    for name, given in {
        'TinyPets': {'image': image, 'label': pet},
        'TinyPlain': {'image': image, 'label': number},
        'TinyOdd': {'picture': some_size, 'kind': pet, 'number': number},
        'TinyTwo': {'left': image, 'right': image, 'a': pet, 'b': pet},
        'TinyThree': {'image': image, 'mask': image, 'a': pet, 'b': pet},
    }.items():
        made = define(name, given, {'train': 30, 'test': 10})
        tfds_source.prepare(made.name, str(folder), '')
    return folder


@pytest.mark.parametrize('memory', [None, 0])
@pytest.mark.parametrize('name', ['tiny_pets', 'tiny_odd'])
def test_images_and_labels_are_those_that_were_prepared(
    name, memory, prepared, capsys
):
    for split, count in (('train', 30), ('test', 10), ('test[4:]', 6)):
        dataset = load(f'tfds:{name}', prepared, split, memory=memory)
        assert dataset.images.shape == (count, 6, 4, 3)
        assert on_demand.in_memory(dataset.images) == (memory is None)
        assert dataset.classes == ('cat', 'dog', 'owl')
        originals = {
            image.tobytes(): label for image, label in zip(PIXELS, LABELS)
        }
        read = by_content(dataset)
        assert len(read) == count and read.items() <= originals.items()
    assert capsys.readouterr().err == ''


def test_listing_reads_encoded_images(prepared):
    listed = tfds_source.listing('tiny_pets', 'train', str(prepared))
    assert len(listed.files) == len(listed.labels) == 30
    assert listed.labels.dtype == np.int32 and listed.trusted
    assert listed.shape == (6, 4, 3)
    encoded = listed.read([7, 2])
    assert all(content.startswith(b'\x89PNG') for content in encoded)
    for content, label in zip(encoded, listed.labels[[7, 2]]):
        pixels = pictures.decode(content).pixels
        (place,) = np.flatnonzero((PIXELS == pixels).all((1, 2, 3)))
        assert LABELS[place] == label


@pytest.mark.parametrize('name', ['tiny_plain', 'tiny_three'])
def test_set_without_one_label_of_a_class_has_no_labels(name, prepared):
    dataset = load(f'tfds:{name}', prepared)
    assert len(dataset.images) == 30
    assert dataset.labels is None and dataset.classes == ()


def test_set_of_several_images_is_refused_unless_one_is_named_image(prepared):
    with pytest.raises(errors.DataError, match="no images; it has .*'left'"):
        load('tfds:tiny_two', prepared)


def test_classes_and_size_are_as_requested(prepared):
    dataset = load(
        'tfds:tiny_pets', prepared, classes=('owl',), limit=4,
        preparation=pictures.Preparation((2, 2), channels=1), memory=0,
    )
    assert dataset.images[:].shape == (4, 2, 2, 1)
    np.testing.assert_array_equal(dataset.labels, [0] * 4)
    assert dataset.classes == ('owl',)


@pytest.mark.parametrize('name, says', [
    ('mnizt', "'mnizt' is not a set of .*did you mean 'mnist'"),
    ('mnist:9.9.9', 'cannot be opened: .*only: 3'),
    ('mnist/none', 'cannot be opened: .*none'),
    ('../mnist', 'cannot be opened'),
    ('no name', 'cannot be opened'),
    ('coco', 'cannot be opened: .*tensorflow'),  # its builder imports it
])
def test_unknown_sets_are_refused_in_one_line(name, says, tmp_path):
    with pytest.raises(errors.DataError, match=says) as caught:
        load(f'tfds:{name}', tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(errors.DataError, match=says):
        tfds_source.prepare(name, str(tmp_path), '')


@pytest.mark.parametrize('split', [
    'tran', '', 'train[:0]', 'train[:x]', 'train[:200%]',
])
def test_wrong_split_is_named(split, prepared):
    with pytest.raises(errors.DataError) as caught:
        load('tfds:tiny_plain', prepared, split)
    assert f'data.split={split!r} of tiny_plain' in str(caught.value)


def test_unprepared_set_names_the_command(tmp_path):
    define('TinyAbsent', {}, {})
    with pytest.raises(errors.DataError) as caught:
        load('tfds:tiny_absent', tmp_path)
    assert 'does not exist' in str(caught.value)
    assert str(caught.value).endswith(
        f'python -m gan_jax prepare tiny_absent --data_dir={tmp_path}'
    )
    (tmp_path / 'tiny_absent' / '1.0.0').mkdir(parents=True)
    with pytest.raises(errors.DataError, match='holds no array_record files'):
        load('tfds:tiny_absent', tmp_path)


@pytest.mark.parametrize('name', ['tiny_pets', 'tiny_plain'])
def test_damaged_records_are_reported(name, prepared, tmp_path, capsys):
    shutil.copytree(prepared / name, tmp_path / name)
    (file,) = (tmp_path / name / '1.0.0').glob('*train*')
    content = bytearray(file.read_bytes())
    place = content.index(b'IHDR')
    content[place] ^= 1
    file.write_bytes(content)
    if name == 'tiny_pets':
        with pytest.raises(errors.DataError, match='is damaged'):
            load(f'tfds:{name}', tmp_path)
        return
    images, good = reading.read(
        tfds_source.listing(name, 'train', str(tmp_path)),
        pictures.Preparation(), max_bad=0.5,
    )
    assert 15 <= len(good) < 30
    assert 'cannot be read' in capsys.readouterr().err


@pytest.fixture
def foreign(prepared, tmp_path, monkeypatch):
    """Folder of a prepared set without code, whose name is then 'foreign'.

    Python would find a module in the current folder and run it.
    """
    target = tmp_path / 'sets' / 'foreign' / '1.0.0'
    shutil.copytree(prepared / 'tiny_pets' / '1.0.0', target)
    change(target / 'dataset_info.json', lambda info: info.update(
        name='foreign',
        splits=[
            {**split, 'filepathTemplate': 'tiny_pets-{SPLIT}.{FILEFORMAT}-'
             '{SHARD_X_OF_Y}'} for split in info['splits']
        ],
    ))
    (tmp_path / 'payload.py').write_text(
        f"open({str(tmp_path / 'RUN')!r}, 'w')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return target


def change(path, function):
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def refusal(foreign, says):
    """Check that loading the set fails with one line and some words."""
    with pytest.raises(errors.DataError, match=says) as caught:
        load('tfds:foreign', foreign.parent.parent)
    assert '\n' not in str(caught.value)
    assert not list(foreign.parents[2].glob('RUN'))
    assert 'payload' not in sys.modules


def test_set_without_code_is_read(foreign):
    assert load('tfds:foreign', foreign.parent.parent).images.shape[0] == 30


NAMES = [
    {'pythonClassName': 'payload.X'}, {'python_class_name': 'payload.X'},
    {'type': 'payload.X', 'content': {}},
    {'pythonClassName': 'tensorflow_datasets.core.features.image_feature.Image',
     'jsonFeature': {'json': json.dumps({'feature': {
         'type': 'payload.X', 'content': '{"pythonClassName": "payload.Y"}',
     }})}},
]


@pytest.mark.parametrize('feature', NAMES)
def test_class_of_another_program_is_not_imported(feature, foreign):
    change(
        foreign / 'features.json',
        lambda top: top['featuresDict']['features'].update(label=feature),
    )
    refusal(foreign, "'payload.X' is not one of the features of")


def test_class_named_by_the_other_file_is_not_imported(foreign):
    change(foreign / 'dataset_info.json', lambda info: info.update(
        features={'pythonClassName': 'payload.X'}
    ))
    refusal(foreign, "'payload.X' is not one of the features of")


def test_both_values_of_a_duplicate_key_are_checked(foreign):
    path = foreign / 'features.json'
    text = path.read_text().rstrip().rstrip('}')
    own = 'tensorflow_datasets.core.features.features_dict.FeaturesDict'
    path.write_text(
        text + ', "pythonClassName": "payload.X", "pythonClassName": '
        f'"{own}"}}'
    )
    refusal(foreign, "'payload.X' is not one of the features of")


def test_old_version_of_a_set_is_checked(foreign):
    shutil.copytree(foreign, foreign.parent / 'config' / '0.0.1')
    change(
        foreign.parent / 'config' / '0.0.1' / 'features.json',
        lambda top: top.update(pythonClassName='payload.X'),
    )
    refusal(foreign, "'payload.X' is not one of the features of")


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def dimension(path):
    text = path.read_text().replace('"6"', '"x"')
    assert '"x"' in text
    path.write_text(text)


@pytest.mark.parametrize('name, damage, says', [
    ('features.json', lambda path: path.write_text('[' * 10**5), 'too deeply'),
    ('features.json', lambda path: path.write_text('{'), 'is not JSON'),
    ('features.json', lambda path: path.write_text('{}'), 'cannot be opened'),
    ('features.json', dimension, 'cannot be opened: Failed to parse'),
    ('features.json', fifo, 'is not a regular file'),
    ('dataset_info.json', fifo, 'is not a regular file'),
    ('dataset_info.json', lambda path: path.write_text('[]'), 'cannot be'),
    ('dataset_info.json', lambda path: change(path, lambda info: info[
        'splits'][0].update(shardLengths=['50000000'])),
     'has 30 records, and its metadata count 50,000,000'),
])
def test_damaged_metadata_are_refused(name, damage, says, foreign):
    damage(foreign / name)
    refusal(foreign, says)


@pytest.mark.parametrize('record', [b'', b'garbage', b'\n\x00'])
def test_records_without_an_example_are_refused(record, foreign):
    from array_record.python import array_record_module

    (file,) = foreign.glob('*train*')
    file.unlink()
    writer = array_record_module.ArrayRecordWriter(str(file), 'group_size:1')
    for _ in range(30):
        writer.write(record)
    writer.close()
    refusal(foreign, 'is damaged')
    change(
        foreign / 'features.json',
        lambda top: top['featuresDict']['features'].pop('label'),
    )
    refusal(foreign, 'no readable image')


@pytest.mark.parametrize('name', [
    'huggingface:x', 'kaggle:x', 'foreign/data_dir=/tmp', 'foreign/a=1',
])
def test_other_namespaces_and_arguments_are_refused(name, tmp_path):
    with pytest.raises(errors.DataError, match='a name has the form'):
        load(f'tfds:{name}', tmp_path)


@pytest.mark.slow
def test_real_mnist_is_prepared_offline_as_it_was_elsewhere(
    data_dir, tmp_path
):
    made = helpers.run(
        'gan_jax', 'prepare', 'mnist', f'--manual_dir={data_dir}/raw/mnist',
        f'--data_dir={tmp_path}',
    )
    assert made.returncode == 0, made.stderr
    assert f'mnist is prepared in {tmp_path}/mnist/3' in made.stdout
    for split, count in (('train', 60_000), ('test', 10_000)):
        ours = load('mnist', tmp_path, split)
        theirs = load('mnist', data_dir / 'tfds', split)
        assert ours.images.shape == theirs.images.shape == (count, 28, 28, 1)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.classes == theirs.classes
