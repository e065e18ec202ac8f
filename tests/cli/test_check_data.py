"""The command `check_data`: its report on a source, and its output."""

import numpy as np
from PIL import Image
import pytest

import helpers
import image_files
from gan_jax.cli import app
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import inspection
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import sources


def inspect(path, preparation=None, **changes):
    return inspection.inspect(sources.Request(
        sources.uri_of_path(path), preparation=pictures.Preparation(
            **preparation or {}
        ), **changes,
    ))


def fill(root):
    """Write 8 good files, two of them alike, 2 bad ones, and 2 others."""
    for place in range(4):
        image_files.write(
            root / 'cat' / f'{place}.png', image_files.flat(10 * place)
        )
        image_files.write(root / 'dog' / f'{place}.jpg', image_files.flat(
            (90, 60 + 10 * place, 30), (6, 8), 'JPEG'
        ))
    image_files.write(root / 'dog' / 'again.png', image_files.flat(20))
    image_files.write(root / 'dog' / 'empty.png', b'')
    image_files.write(root / 'dog' / 'text\n.png', b'no image')
    image_files.write(root / 'notes.txt', b'')
    image_files.write(root / '.hidden.png', b'')
    return root


def test_report_counts_what_lies_there(tmp_path):
    report = inspect(fill(tmp_path / 'in'))
    assert report.count == 9
    assert report.sizes == {(4, 4): 5, (6, 8): 4}
    assert report.modes == {'L': 5, 'RGB': 4}
    assert report.shapes == {(4, 4, 1): 5, (6, 8, 3): 4}
    assert report.classes == {'cat': 4, 'dog': 5}
    assert report.duplicates == (('cat/2.png', 'dog/again.png'),)
    assert [name for name, _ in report.skipped] == [
        'dog/empty.png', 'dog/text\n.png'
    ]
    assert [name for name, _ in report.ignored] == ['.hidden.png', 'notes.txt']


def test_report_is_of_the_images_that_a_run_would_take(tmp_path):
    report = inspect(
        fill(tmp_path / 'in'), {'image_size': (3, 5), 'channels': 3},
        classes=('cat',), limit=3, max_bad=1,
    )
    assert report.count == 3 and report.classes == {'cat': 3}
    assert report.shapes == {(3, 5, 3): 3}
    assert report.shown.shape == (3, 3, 5, 3)


def test_mean_and_images_to_show_are_small_and_rgb(tmp_path):
    path = tmp_path / 'x.npy'
    images = np.zeros((3, 200, 100, 4), np.uint8)
    images[..., 3] = 255
    images[1:, ..., 0] = 120
    np.save(path, images)
    report = inspect(path, {'channels': 4})
    assert report.mean.shape == (64, 32, 3)
    np.testing.assert_array_equal(report.mean[5, 5], [80, 0, 0])
    assert len(report.shown) == 3 and report.modes == {'RGBA': 3}


@pytest.mark.parametrize('count, shown', [
    (1, 1), (64, 64), (65, 33), (100, 50), (128, 64), (1000, 63),
])
def test_images_to_show_are_spread_over_all(count, shown, tmp_path):
    images = np.zeros((count, 2, 2, 1), np.uint16) + np.arange(
        count, dtype=np.uint16
    )[:, None, None, None] // 4
    np.save(tmp_path / 'x.npy', images.astype(np.uint8))
    report = inspect(tmp_path / 'x.npy')
    levels = [int(image[0, 0, 0]) for image in report.shown]
    every = -(-count // 64)
    expected = np.arange(count)[::every] // 4
    assert len(levels) == shown and levels == expected.tolist()


def test_images_to_show_are_found_between_bad_ones(tmp_path):
    for place in range(70):  # every second one, and the first, is none
        pixels = helpers.random_images(1, (4, 4, 3), place)[0]
        path = tmp_path / f'{place:03d}.png'
        if place % 2:
            Image.fromarray(pixels).save(path)
        else:
            path.write_bytes(b'no image')
    assert len(inspect(tmp_path).shown) == 18


def test_arrays_are_inspected_without_a_file_name(tmp_path):
    images = helpers.random_images(5, (4, 4, 3))
    images[4] = images[1]
    np.savez(tmp_path / 'x.npz', images=images, labels=[0, 1, 1, 3, 1])
    report = inspect(tmp_path / 'x.npz')
    assert report.classes == {'0': 1, '1': 3, '2': 0, '3': 1}
    assert report.duplicates == (('image 1', 'image 4'),)
    assert report.shapes == {(4, 4, 3): 5} and report.modes == {'RGB': 5}
    np.testing.assert_array_equal(
        report.mean, np.round(images.mean(0)).astype(np.uint8)
    )


def test_rows_of_a_table_are_refused(tmp_path):
    np.save(tmp_path / 'x.npy', np.zeros((7, 3)))
    with pytest.raises(errors.DataError, match='7 rows of 3 numbers'):
        inspect(tmp_path / 'x.npy')


def test_source_without_a_good_image_is_refused(tmp_path):
    image_files.write(tmp_path / 'in' / 'x.png', b'')
    with pytest.raises(errors.DataError, match='no readable image'):
        inspect(tmp_path / 'in')


@pytest.mark.parametrize('form', packs.FORMS)
def test_flipped_bit_of_a_pack_is_found(form, tmp_path):
    images = helpers.random_images(5, (4, 4, 3))
    packs.write(
        images, [0, 1, 1, 0, 0], ('a', 'b', 'c'), tmp_path / 'packed', form=form
    )
    report = inspect(tmp_path / 'packed')
    assert report.count == 5 and report.classes == {'a': 3, 'b': 2, 'c': 0}
    file = tmp_path / 'packed' / packs.FORMS[form]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(errors.DataError, match='damaged: its sha256'):
        inspect(tmp_path / 'packed')


def data(**changes):
    """Give the data.* keys of a command."""
    made = defaults.default_config().data
    made.update(changes)
    return made


def test_argument_is_a_name_a_uri_or_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'here').mkdir()
    for word, name in {
        'mnist': 'mnist', 'tfds:x': 'tfds:x', 'here': 'folder:here',
        'a/b.zip': 'zip:a/b.zip',
    }.items():
        assert app.request(['', word], data()).name == name
    request = app.request(['', 'mnist'], data(
        image_size='4x6', split='test', classes='a, b', limit=3
    ))
    assert request.preparation.image_size == (4, 6)
    assert (request.split, request.limit) == ('test', 3)
    assert request.classes == ('a', 'b')


@pytest.mark.parametrize('words, changes, says', [
    ([], {}, 'name one source'),
    (['a/b', 'c/d'], {}, 'name one source'),
    (['mnist'], {'path': 'a/b'}, 'name one source'),
    (['minst'], {}, "did you mean 'mnist'"),
    (['ring'], {}, "'ring' has points"),
    (['a/b'], {'image_size': '4by4'}, 'data.image_size'),
    (['a/b'], {'crop': 'middle'}, 'data.crop'),
])
def test_mistaken_arguments_are_refused(words, changes, says):
    with pytest.raises(errors.ConfigError, match=says):
        app.request(['', *words], data(**changes))


def test_flowers_are_reported_without_an_error(data_dir, tmp_path):
    source = data_dir / 'flowers64' / 'flowers64.tar'
    if not source.exists():
        pytest.skip(f'{source} does not exist')
    out = tmp_path / 'check.png'
    process = helpers.run('gan_jax', 'check_data', source, f'--out={out}')
    assert process.returncode == 0, process.stderr
    assert process.stderr == ''
    lines = process.stdout.splitlines()
    assert 'Images    3,670 good, 0 bad, 0 other files' in lines
    assert (
        'Classes   5: daisy 633, dandelion 898, roses 641, sunflowers 699, '
        'tulips 799'
    ) in lines
    assert 'Trains    as 64x64x3: 3,670' in lines
    assert sum(line.startswith('Same ') for line in lines) == 3
    assert '          3 groups of images have equal pixels' in lines
    with Image.open(out) as grid:
        assert grid.size == (8 * 66 - 2,) * 2  # tiles of 64, gaps of 2
    with Image.open(tmp_path / 'check_mean.png') as mean:
        assert mean.size == (64, 64)


def test_bad_files_are_listed_and_too_many_are_an_error(tmp_path):
    source = fill(tmp_path / 'in')
    process = helpers.run('gan_jax', 'check_data', source, cwd=tmp_path)
    assert process.returncode == 4
    (line,) = process.stderr.splitlines()
    assert line.startswith('error: 2 of 11 images') and 'max_bad=0.01' in line
    for expected in (
        'Images    9 good, 2 bad, 2 other files',
        'Sizes     4x4: 5, 6x8: 4 (height x width)',
        'Trains    no: sizes differ; set --data.image_size',
        'Same      cat/2.png = dog/again.png',
        'Skipped   dog/empty.png: it is empty',
        "Skipped   'dog/text\\n.png': it is none of",
        'Ignored   notes.txt: it ends in .txt',
    ):
        assert expected in process.stdout
    assert (tmp_path / 'check.png').exists()
    allowed = helpers.run(
        'gan_jax', 'check_data', source, '--data.max_bad=0.2',
        '--data.image_size=4', '--out=in/notes.txt/check.png', cwd=tmp_path,
    )
    assert 'Trains    as 4x4' in allowed.stdout
    assert allowed.returncode == 2  # for --out alone
    (line,) = allowed.stderr.splitlines()
    assert line.startswith('error: --out=in/notes.txt/check.png cannot be')


@pytest.mark.parametrize('arguments, code, says', [
    (['nowhere/at/all'], 4, 'is not a folder'),
    (['none.zip'], 4, 'is not a file'),
    (['digits', '--data.crp=pad'], 2, 'crop'),
    (['digits', '--data.limit=two'], 2, 'limit=two'),
])
def test_bad_command_line_is_one_line_and_a_code(
    arguments, code, says, tmp_path
):
    process = helpers.run('gan_jax', 'check_data', *arguments, cwd=tmp_path)
    assert process.returncode == code
    (line,) = process.stderr.splitlines()
    assert line.startswith('error: ') and says in line
    assert list(tmp_path.iterdir()) == []
