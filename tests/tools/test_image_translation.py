"""The command `translate`: pictures, folders, GIFs and MP4s; mistakes."""

import shutil

import jax
import numpy as np
from PIL import Image
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.data import pictures
from gan_jax.tools import image_translation as tool
from gan_jax.tools import tiles
from gan_jax.tools import video

GREEN = (0, 128, 0)
FFMPEG = shutil.which('ffmpeg')


def noise(height, width, channels=3, seed=0):
    return helpers.random_images(1, (height, width, channels), seed)[0]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Create a CycleGAN of colored a and grey b."""
    config = helpers.tiny_translation(
        translation__identity=0.0, data__a__background='green',
        data__a__max_bad=0.3,
    )
    return helpers.untrained(config, tmp_path_factory.mktemp('run'), {
        'a': helpers.random_images(8, (16, 16, 3)),
        'b': helpers.random_images(8, (16, 16, 1)),
    })


@pytest.fixture(scope='module')
def pix2pix(tmp_path_factory):
    """Create a pix2pix whose dropout stays on."""
    config = helpers.tiny_translation('pix2pix')
    images = helpers.random_images(4, (64, 64, 3))
    return helpers.untrained(
        config, tmp_path_factory.mktemp('run'), {'a': images, 'b': images}
    )


def expected(run, image, direction='a_to_b', weights='ema'):
    """Translate an image [H, W, C] uint8; return float [H, W, C'], 0 to 255.
    """
    images = np.float32(image)[None] / 127.5 - 1
    result = run.algorithm.translate(
        run.algorithm.weights(run.state, weights), images, direction
    )
    return (np.asarray(result)[0] + 1) * 127.5


def pixels(path):
    with Image.open(path) as picture:
        array = np.asarray(picture)
    return array if array.ndim == 3 else array[..., None]


def frames_of(path, channels):
    return list(pictures.frames(
        path.read_bytes(), pictures.Preparation(channels=channels)
    ))


@pytest.fixture(scope='module')
def written(run, tmp_path_factory):
    """Run the command on files of each kind; return (folder, results)."""
    root = tmp_path_factory.mktemp('files')
    image_files.write(root / 'a.png', image_files.encoded(noise(16, 16)))
    image_files.write(root / 'b.png', image_files.encoded(noise(16, 16, 1)))
    image_files.write(root / 'odd.png', image_files.encoded(noise(13, 18, 4)))
    image_files.write(root / 'wide.png', image_files.encoded(noise(16, 24)))
    forms = {'x.jpg': 'JPEG', 'y/x.png': 'PNG', 'y/z/w.webp': 'WEBP'}
    for number, (name, form) in enumerate(forms.items()):
        image_files.write(
            root / 'images' / name,
            image_files.encoded(noise(16, 16, seed=number), form),
        )
    image_files.write(root / 'images' / 'notes.txt', b'left out')
    shutil.copytree(root / 'images', root / 'some_bad')
    image_files.write(root / 'some_bad' / 'text.png', b'text')
    shutil.copytree(root / 'some_bad', root / 'many_bad')
    image_files.write(root / 'many_bad' / 'y' / 'empty.gif', b'')
    film = [noise(16, 16, seed=n) for n in range(3)]
    video.save_gif(root / 'film.gif', iter(film), [40, 100, 60], 2)
    lines = [
        ['--input=a.png', '--out=deep/a.png'],
        ['--input=b.png', '--out=b_to_a.png', '--direction=b_to_a',
         '--weights=raw'],
        ['--input=odd.png', '--out=odd_out.png'],
        ['--input=wide.png', '--out=wide_out.png', '--tile=14', '--overlap=7'],
        ['--input=images', '--out=new/images_out'],
        ['--input=some_bad/', '--out=some_out/'],
        ['--input=many_bad', '--out=many_out'],
        ['--input=film.gif', '--out=film_out.gif'],
    ]
    return root, helpers.commands([
        ['gan_jax', 'translate', f'--workdir={run.workdir}', *line]
        for line in lines
    ], root)


def test_command_prints_what_it_wrote(written):
    _, results = written
    assert [code for code, _, _ in results] == [0] * 6 + [4, 0], results
    assert [out for _, out, _ in results] == [
        'Wrote 1 pictures, a_to_b by step 4 (ema), to deep/a.png\n',
        'Wrote 1 pictures, b_to_a by step 4 (raw), to b_to_a.png\n',
        'Wrote 1 pictures, a_to_b by step 4 (ema), to odd_out.png\n',
        'Wrote 1 pictures, a_to_b by step 4 (ema), to wide_out.png\n',
        'Wrote 3 pictures, a_to_b by step 4 (ema), to new/images_out\n',
        'Wrote 3 pictures, a_to_b by step 4 (ema), to some_out/\n',
        'Wrote 3 pictures, a_to_b by step 4 (ema), to many_out\n',
        'Wrote 3 frames, a_to_b by step 4 (ema), to film_out.gif\n',
    ]


def test_picture_is_translated_as_by_the_algorithm(run, written):
    root, _ = written
    found = pixels(root / 'deep' / 'a.png')
    assert found.shape == (16, 16, 1)
    np.testing.assert_allclose(found, expected(run, noise(16, 16)), atol=0.51)
    found = pixels(root / 'b_to_a.png')
    assert found.shape == (16, 16, 3) and np.ptp(found) > 20
    np.testing.assert_allclose(
        found, expected(run, noise(16, 16, 1), 'b_to_a', 'raw'), atol=0.51
    )
    other = expected(run, noise(16, 16, 1), 'b_to_a', 'ema')
    assert np.abs(found - other).max() > 2


def test_sides_are_padded_and_alpha_has_the_background_of_training(
    run, written
):
    preparation = pictures.Preparation(channels=3, background=GREEN)
    image = pictures.fit_array(noise(13, 18, 4), preparation)
    padded = np.pad(image, ((1, 2), (1, 1), (0, 0)), 'reflect')
    found = pixels(written[0] / 'odd_out.png')
    assert found.shape == (13, 18, 1)
    np.testing.assert_allclose(
        found, expected(run, padded)[1:14, 1:19], atol=0.51
    )


def test_large_picture_is_blended_from_tiles(run, written):
    image = noise(16, 24)  # a tile of 14 becomes one of 16
    left, right = expected(run, image[:, :16]), expected(run, image[:, 8:])
    found = pixels(written[0] / 'wide_out.png')
    np.testing.assert_allclose(found[:, :8], left[:, :8], atol=0.51)
    np.testing.assert_allclose(found[:, 16:], right[:, 8:], atol=0.51)
    shares = np.minimum(1, (np.arange(8) + 0.5) / 7)
    shares = (shares / (shares + shares[::-1]))[:, None]
    np.testing.assert_allclose(
        found[:, 8:16],
        (1 - shares) * left[:, 8:] + shares * right[:, :8], atol=0.51,
    )


@pytest.mark.parametrize('name', ['new/images_out', 'some_out', 'many_out'])
def test_folder_keeps_names_and_subfolders(name, run, written):
    folder = written[0] / name
    found = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob('*') if path.is_file()
    )
    assert found == ['x.png', 'y/x.png', 'y/z/w.png']
    np.testing.assert_allclose(
        pixels(folder / 'y' / 'x.png'), expected(run, noise(16, 16, seed=1)),
        atol=0.51,
    )
    assert not list(folder.parent.glob('*partial*'))


def test_bad_files_are_named_and_too_many_are_an_error(written):
    _, results = written
    assert results[4][2] == ''
    text = 'is none of BMP, GIF, JPEG, PNG, TIFF, WEBP'
    assert results[5][2] == f'skipped text.png of some_bad/: it {text}\n'
    lines = results[6][2].splitlines()
    assert lines[:2] == [
        f'skipped text.png of many_bad: it {text}',
        'skipped y/empty.gif of many_bad: it is empty',
    ]
    assert lines[2].startswith(
        'error: 2 of 5 images of many_bad are bad (40.0%'
    ) and len(lines) == 3


def test_each_frame_of_a_gif_is_translated_alone(run, written):
    root, _ = written
    content = (root / 'film_out.gif').read_bytes()
    assert pictures.animation(content) == pictures.Animation(
        (16, 16), (40, 100, 60), 2
    )
    pairs = zip(
        frames_of(root / 'film.gif', 3), frames_of(root / 'film_out.gif', 1)
    )
    for number, (image, found) in enumerate(pairs):
        np.testing.assert_allclose(found, expected(run, image), atol=3)
    assert number == 2


@pytest.mark.skipif(not FFMPEG, reason='ffmpeg is not installed')
def test_mp4_keeps_its_frame_rate_and_number_of_frames(run, tmp_path):
    path, out = tmp_path / 'a.MP4', tmp_path / 'b.mp4'
    levels = [np.full((16, 20, 3), 20 * n, np.uint8) for n in range(7)]
    for number, frame in enumerate(levels):
        frame[:, number:] = 255 - frame[:, number:]
    video.save_mp4(path, iter(levels), '24000:1001')
    translator = tool.build(run.workdir, run.algorithm, run.state)
    source = tool.load_input(str(path), str(out))
    result = tool.write(translator, source, str(out))
    assert result == tool.Result(7)
    mp4 = video.read_mp4(out)
    assert mp4 == video.Mp4((16, 20), '24000:1001')
    images = video.mp4_frames(path, video.read_mp4(path))
    count = 0
    for image, found in zip(images, video.mp4_frames(out, mp4), strict=True):
        wanted = expected(run, image)
        assert np.abs(found - wanted).mean() < 12  # MP4 is lossy
        count += 1
    assert count == 7
    path.write_bytes(path.read_bytes()[:-300] + bytes(300))
    with pytest.raises(errors.DataError, match='--input=.*a.MP4 cannot be'):
        tool.load_input(str(path), str(out))


def test_seed_draws_the_dropout_of_pix2pix(pix2pix):
    image = noise(64, 64)
    options = pix2pix.workdir, pix2pix.algorithm, pix2pix.state
    by_seed = [
        tool.translate(tool.build(*options, seed=seed), image)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(by_seed[0], by_seed[1])
    assert (by_seed[0] != by_seed[2]).mean() > 0.1
    np.testing.assert_allclose(
        by_seed[0], expected(pix2pix, image), atol=0.51
    )
    keys = jax.vmap(jax.random.key)(np.array([1]))
    weights = pix2pix.algorithm.weights(pix2pix.state, 'ema')
    images = np.float32(image)[None] / 127.5 - 1
    direct = pix2pix.algorithm.translate(weights, images, 'a_to_b', keys)
    np.testing.assert_allclose(
        by_seed[2], (np.asarray(direct)[0] + 1) * 127.5, atol=0.51
    )


def test_tile_is_one_that_the_network_takes(pix2pix):
    options = pix2pix.workdir, pix2pix.algorithm, pix2pix.state
    translator = tool.build(*options, tile=10, overlap=4)
    assert translator.grid == tiles.Grid(10, 4, 64, 64)
    assert tool.translate(translator, noise(3, 70)).shape == (3, 70, 3)


def test_mistakes_end_in_one_line(run, pix2pix, written, tmp_path):
    root, _ = written
    for name in ('a.png', 'film.gif'):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / 'images', tmp_path / 'images')
    (tmp_path / 'empty').mkdir()
    image_files.write(tmp_path / 'all_bad' / 'a.png', b'text')
    image_files.write(tmp_path / 'twice' / 'a.png')
    image_files.write(tmp_path / 'twice' / 'a.bmp')
    image_files.write(tmp_path / 'text.png', b'text')
    image_files.write(tmp_path / 'notes.txt', b'text')
    image_files.write(tmp_path / 'text.mp4', b'text')
    content = (tmp_path / 'film.gif').read_bytes()
    image_files.write(tmp_path / 'cut.gif', content[:2 * len(content) // 3])
    gan = helpers.untrained(
        helpers.tiny_mlp(), tmp_path / 'gan', helpers.random_images()
    )
    before = sorted(map(str, tmp_path.rglob('*')))
    picture = ['--input=a.png', '--out=x.png']
    mistakes = [
        (run, ['--out=x.png'], 2, '--input is missing'),
        (run, ['--input=a.png'], 2, '--out is missing'),
        (gan, picture, 2, 'which translates no images'),
        (pix2pix, [*picture, '--direction=b_to_a'], 2, "not one of ['a_to_b']"),
        (run, [*picture, '--direction=atob'], 2, "did you mean 'a_to_b'"),
        (run, [*picture, '--tile=0'], 2, 'tile'),
        (run, [*picture, '--overlap=-1'], 2, 'overlap'),
        (run, [*picture, '--overlap=40', '--tile=79'], 2, 'half of --tile=79'),
        (run, [*picture, '--seed=-1'], 2, 'seed'),
        (run, [*picture, '--weights=snapshots'], 2, 'snapshots'),
        (run, ['--input=none.png', '--out=x.png'], 4, 'No such file'),
        (run, ['--input=none', '--out=x'], 4, '--input=none cannot be read'),
        (run, ['--input=text.png', '--out=x.png'], 4, 'text.png is none of'),
        (run, ['--input=notes.txt', '--out=x.png'], 4, 'notes.txt is none of'),
        (run, ['--input=text.mp4', '--out=x.mp4'], *(
            (4, 'text.mp4 cannot be decoded') if FFMPEG else (2, 'needs the')
        )),
        (run, ['--input=cut.gif', '--out=x.gif'], 4, 'cannot be decoded'),
        (run, ['--input=a.png', '--out=x'], 2, '--out=x must end in .png'),
        (run, ['--input=a.png', '--out=x.gif'], 2, 'is a picture'),
        (run, ['--input=a.png', '--out=empty'], 2, 'must end in .png'),
        (run, ['--input=film.gif', '--out=x.png'], 2, 'must end in .gif'),
        (run, ['--input=film.gif', '--out=x.mp4'], 2, 'is an animated GIF'),
        (run, ['--input=images', '--out=x.png'], 2, 'images is a folder'),
        (run, ['--input=images', '--out=empty'], 4, 'empty exists already'),
        (run, ['--input=empty', '--out=x'], 4, 'empty holds no image'),
        (run, ['--input=all_bad', '--out=x'], 4, 'no readable image'),
        (run, ['--input=twice', '--out=x'], 4, 'a.bmp and a.png would both'),
        (run, ['--input=a.png', '--out=./a.png'], 2, 'would replace --input'),
        (run, ['--input=a.png', '--out=/dev/null/x.png'], 2,
         'cannot be written'),
        (run, ['--input=images', '--out=/dev/null/x'], 4, 'cannot be written'),
        (run, ['--input=film.gif', '--out=/dev/null/x.gif'], 2,
         'cannot be written'),
    ]
    results = helpers.commands([
        ['gan_jax', 'translate', f'--workdir={one.workdir}', *words]
        for one, words, *_ in mistakes
    ], tmp_path)
    for (_, words, code, text), result in zip(mistakes, results):
        assert result[0] == code and text in result[2], (words, result)
        assert result[2].startswith('error: '), (words, result)
        assert result[2].count('\n') == 1 and result[1] == '', (words, result)
    assert sorted(map(str, tmp_path.rglob('*'))) == before


def test_existing_file_is_replaced(run, tmp_path):
    translator = tool.build(run.workdir, run.algorithm, run.state)
    image_files.write(tmp_path / 'a.png', image_files.encoded(noise(16, 16)))
    image_files.write(tmp_path / 'out.png', b'old')
    paths = str(tmp_path / 'a.png'), str(tmp_path / 'out.png')
    tool.write(translator, tool.load_input(*paths), paths[1])
    assert pixels(tmp_path / 'out.png').shape == (16, 16, 1)


def test_gif_too_large_for_memory_is_refused(written, monkeypatch):
    monkeypatch.setattr(video, 'MAX_GIF_PIXELS', 3 * 16 * 16 - 1)
    path = str(written[0] / 'film.gif')
    with pytest.raises(errors.DataError, match='3 frames of 16x16, more than'):
        tool.load_input(path, 'x.gif')
