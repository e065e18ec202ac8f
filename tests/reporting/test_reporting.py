"""Pictures, curves, scores and the page of a report."""

import base64
import html
import io
import json
import os
import re

from etils import epath
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from conftest import ROOT
import helpers
import image_files
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D
from gan_jax import reporting
from gan_jax.reporting import figures
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.reporting import page
from gan_jax.reporting import pictures
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from test_load_run import folder

EVIL = '<script>alert(1)</script>'


@pytest.mark.parametrize(
    'shape', [(8, 8, 1), (32, 32, 3), (5, 9, 1), (100, 70, 4)]
)
def test_grid_is_split_into_its_images(shape):
    images = helpers.random_images(9, shape)
    cut = pictures.tiles(writer.grid(images), shape)
    np.testing.assert_array_equal(cut, images)


def test_picture_that_is_not_a_grid_of_the_shape_is_not_split():
    grid = writer.grid(helpers.random_images(9, (8, 8, 1)))
    for shape in ((8, 8, 3), (7, 8, 1), (2,), ()):
        assert pictures.tiles(grid, shape) is None
        assert pictures.first(grid, shape) is grid


def test_first_and_evenly_spaced_64_of_100():
    images = np.broadcast_to(
        np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 4, 4, 1)
    )
    grid = writer.grid(images)
    first = pictures.tiles(pictures.first(grid, (4, 4, 1)), (4, 4, 1))
    assert first[:, 0, 0, 0].tolist() == list(range(64))
    some = pictures.tiles(pictures.spread(grid, (4, 4, 1)), (4, 4, 1))
    values = some[:, 0, 0, 0].astype(int)
    assert len(values) == 64 and set(np.diff(values)) == {1, 2}


def frames(path, count, size=8):
    frames = []
    for step in range(count):
        file = epath.Path(path) / f'{step:06d}.png'
        image = helpers.random_images(1, (size, size, 1), step)[0]
        writer.save_png(file, image)
        frames.append(load_run.Picture(step, file))
    return frames


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
"""


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    gs = tmp_path / 'bin' / 'gs'
    gs.parent.mkdir()
    gs.write_text(f'#!/bin/sh\necho called >> {tmp_path}/log\n')
    gs.chmod(0o755)
    monkeypatch.setenv('PATH', str(gs.parent), prepend=':')
    path = epath.Path(tmp_path) / '000004.png'
    path.write_bytes(EPS)
    assert pictures.read(path) is None
    assert pictures.film([load_run.Picture(4, path)]) == []
    path.write_bytes(image_files.flat((1, 2, 3), form='BMP'))
    assert pictures.read(path) is None  # a run leaves PNG alone
    assert not (tmp_path / 'log').exists()


def test_picture_of_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    path = epath.Path(tmp_path) / '000004.png'
    path.write_bytes(image_files.bomb(5793, 5793))
    monkeypatch.setattr(
        Image.Image, 'load', lambda self: pytest.fail('it was decoded')
    )
    assert pictures.read(path) is None
    assert pictures.film([load_run.Picture(4, path)]) == []


def test_frames_of_a_film_are_as_many_as_their_pixels_allow(
    tmp_path, monkeypatch
):
    pictures_of_steps = frames(tmp_path, 10)
    monkeypatch.setattr(pictures, 'MOST_DECODED', 3 * 8 * 8)
    film = pictures.film(pictures_of_steps)
    assert [step for step, _ in film] == [0, 4, 9]


def test_picture_that_is_no_file_is_left_out(tmp_path):
    path = epath.Path(tmp_path) / '000004.png'
    os.mkfifo(path)
    assert pictures.read(path) is None
    assert pictures.film([load_run.Picture(4, path)]) == []


def test_film_is_bounded_and_keeps_both_ends(tmp_path):
    film = pictures.film(frames(tmp_path, 150))
    steps = [step for step, _ in film]
    assert not film[0][1].lossy and len(steps) == pictures.MOST_FRAMES == 60
    assert steps[0] == 0 and steps[-1] == 149
    assert set(np.diff(steps)) == {2, 3}


def decoded(embedded):
    """Return what a browser shows of an `Embedded`, uint8 [H, W, 3]."""
    head, _, data = embedded.uri.partition(',')
    assert head == 'data:image/webp;base64'
    with Image.open(
        io.BytesIO(base64.b64decode(data)), formats=['WEBP']
    ) as image:
        size = (embedded.width, embedded.height)
        return np.asarray(
            image.convert('RGB').resize(size, Image.Resampling.NEAREST)
        )


def test_frames_are_exact_or_smaller_and_broken_ones_are_left_out(tmp_path):
    some = frames(tmp_path, 3, size=1000)
    some[1].path.write_bytes(some[1].path.read_bytes()[:500])
    exact = pictures.film(some, [pictures.OF_FILMS[0]._replace(most=1e9)])
    assert [step for step, _ in exact] == [0, 2]
    for frame, (_, embedded) in zip((some[0], some[2]), exact):
        assert not embedded.lossy and not embedded.pixelated
        np.testing.assert_array_equal(
            decoded(embedded)[..., :1], pictures.read(frame.path)
        )
    small = pictures.film(some)
    assert [step for step, _ in small] == [0, 2]
    assert all(embedded.lossy for _, embedded in small)
    assert sum(len(e.uri) for _, e in small) < (
        sum(len(e.uri) for _, e in exact) / 3
    )


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_enlarged_grid_is_stored_small_and_shown_exactly(channels):
    grid = writer.grid(helpers.random_images(9, (8, 8, channels)))
    embedded = pictures.embed(grid)
    assert embedded.pixelated and not embedded.lossy
    assert (embedded.height, embedded.width) == grid.shape[:2]
    assert pictures._repeats(grid) == 8
    if channels < 4:  # a page shows nothing of transparent pixels
        np.testing.assert_array_equal(
            decoded(embedded), np.broadcast_to(grid, (*grid.shape[:2], 3))
        )


def test_picture_of_one_colour_and_one_of_prime_size_are_shown():
    flat = pictures.embed(np.full((6, 9, 3), 7, np.uint8))
    assert (flat.width, flat.height, flat.pixelated) == (9, 6, True)
    np.testing.assert_array_equal(decoded(flat), np.full((6, 9, 3), 7))
    noise = helpers.random_images(1, (7, 13, 3))[0]
    assert pictures._repeats(noise) == 1
    np.testing.assert_array_equal(decoded(pictures.embed(noise)), noise)


def test_large_picture_is_compressed_with_loss():
    image = helpers.random_images(1, (64, 64, 3))[0]
    assert not pictures.embed(image).lossy
    image = helpers.random_images(1, (512, 512, 3))[0]
    embedded = pictures.embed(image)
    assert embedded.lossy and len(embedded.uri) < image.nbytes


def test_palette_and_bitmap_are_read_in_their_colours(tmp_path):
    image = Image.new('RGB', (4, 4), (200, 10, 30))
    image.quantize(4).save(tmp_path / 'palette.png')
    palette = pictures.read(epath.Path(tmp_path) / 'palette.png')
    assert palette[0, 0, :3].tolist() == [200, 10, 30]
    Image.new('1', (4, 4), 1).save(tmp_path / 'bitmap.png')
    bitmap = pictures.read(epath.Path(tmp_path) / 'bitmap.png')
    assert bitmap.shape == (4, 4, 1) and (bitmap == 255).all()


@pytest.mark.parametrize('count', [1, 2, 31, 200])
def test_smoothed_curve_is_a_mean_of_neighbours(count):
    values = np.random.RandomState(0).randn(count)
    averages, window = figures.smoothed(values)
    reach = window // 2
    assert window % 2 and window == 2 * (count // 30) + 1
    for place, average in enumerate(averages):
        near = min(reach, place, count - 1 - place)
        np.testing.assert_allclose(
            average, values[place - near:place + near + 1].mean()
        )


def test_thinning_keeps_spikes():
    values = np.zeros(100_000)
    values[[777, 54_321]] = 9, -9
    kept = figures.thinned(values, 200)
    assert len(kept) <= 200 and {777, 54_321} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    assert figures.thinned(values[:50], 200).tolist() == list(range(50))


def some_run(path, count=100, **changes):
    """Return a run with metrics of every kind."""
    lines = [
        {'step': 10 * n, 'd/loss': 1.0 + n % 2, 'g/loss': 2.0, 'odd/one': -n,
         'd/grad_norm': 10.0 ** (n % 4), 'eval/fid': float(n)}
        for n in range(1, count + 1)
    ]
    return load_run.load(folder(path, lines))._replace(**changes)


def all_figures(run):
    return [
        *figures.curves(run), *figures.others(run), *figures.metrics(run),
        *(f for some in figures.compared([run, run]) for f in some),
    ]


def test_every_figure_has_an_axis_label_and_an_alternative_text(tmp_path):
    every = all_figures(some_run(tmp_path))
    assert len(every) > 8
    for figure in every:
        assert figure['axis'] and figure['alt'] and figure['title']
        for curve in figure['curves']:
            sizes = {len(curve['steps']), len(curve['values'])}
            sizes |= {len(curve['means'])} if curve['means'] else set()
            assert len(sizes) == 1 and curve['label']
        json.dumps(figure, allow_nan=False)


def test_curves_are_drawn_as_logged_and_smoothed(tmp_path):
    losses, gradients = figures.curves(some_run(tmp_path))
    assert losses['axis'] == 'non_saturating loss (nats)'
    assert [c['label'] for c in losses['curves']] == ["D's loss", "G's loss"]
    curve = losses['curves'][0]
    assert np.ptp(curve['values']) == 1
    assert np.ptp(curve['means'][5:-5]) < 0.2
    assert 'mean of 7 neighbouring lines' in losses['note']
    assert 'from 2 at step 10 to 1 at step 1000' in losses['alt']
    assert losses['positive'] and not losses['log']
    assert gradients['positive'] and gradients['log']


def test_axis_of_negative_values_is_not_logarithmic(tmp_path):
    (figure,) = figures.others(some_run(tmp_path))
    assert figure['title'] == 'odd/one'
    assert not figure['positive'] and not figure['log']


def test_metrics_come_from_training_and_from_evaluate(tmp_path):
    evaluations = [
        {'step': step, 'weights': 'ema', 'split': 'train',
         'features': {'name': 'pixels'}, 'values': {
             'fid': {'value': value, 'floor': 1.0}, 'kid': {'value': 1.0},
             'probe': {'pixels': 1.0}}}
        for step, value in ((20, 5.0), (10, 9.0))
    ]
    run = some_run(tmp_path, evaluations=evaluations + evaluations[:1])
    fid, kid = figures.metrics(run)
    assert [curve['label'] for curve in fid['curves']] == [
        'while training', 'evaluate (pixels, ema, train)'
    ]
    assert fid['curves'][1]['steps'] == [10, 20]
    assert fid['curves'][1]['values'] == [9.0, 5.0]
    assert fid['curves'][1]['means'] is None and fid['curves'][1]['markers']
    assert fid['note'] == 'lower is better' and kid['title'] == 'kid'


def test_compared_runs_have_a_curve_each(tmp_path):
    first = some_run(tmp_path, name='a')
    first_ones, rest = figures.compared([first, first._replace(name='b')])
    assert [f['title'] for f in first_ones] == [
        'd/loss', 'g/loss', 'd/grad_norm', 'eval/fid'
    ]
    assert [f['title'] for f in rest] == ['odd/one']
    curves = first_ones[0]['curves']
    assert [(c['label'], c['series']) for c in curves] == [('a', 0), ('b', 1)]


def test_ninth_curve_has_the_first_colour_and_another_dash(tmp_path):
    run = some_run(tmp_path, 5)
    (figure, *_), _ = figures.compared([run] * 9)
    first, *_, last = figure['curves']
    assert first['series'] == last['series'] == 0
    assert first['dash'] != last['dash']


def test_samples_are_ordered_by_score():
    images = helpers.random_images(30, (4, 4, 1))
    scores = np.random.RandomState(1).permutation(30).astype(float)
    rows = inspect_model.by_score(images, scores)
    assert rows['worst'].scores == list(range(8))
    assert rows['median'].scores == list(range(11, 19))
    assert rows['best'].scores == list(range(22, 30))
    for scored in rows.values():
        assert scores[scored.seeds].tolist() == scored.scores
        np.testing.assert_array_equal(
            pictures.tiles(scored.picture, (4, 4, 1)), images[scored.seeds]
        )


def test_few_samples_are_all_shown():
    rows = inspect_model.by_score(helpers.random_images(3), np.arange(3.0))
    assert [scored.seeds for scored in rows.values()] == [[0, 1, 2]] * 3


@pytest.mark.parametrize('packing', [1, 2])
def test_scores_are_the_logits_of_each_sample(packing):
    gan = helpers.linear_gan(packing=packing)
    state = helpers.start(gan)
    samples = np.random.RandomState(0).randn(128, *helpers.SHAPE)
    samples = samples.astype(np.float32)
    (dense,) = state.players[D].params.values()
    copies = game.pack(jnp.repeat(samples, packing, 0), packing)
    expected = np.asarray(copies).reshape(128, -1) @ dense['kernel'][:, 0]
    np.testing.assert_allclose(
        gan.monitors.scores(state, samples), expected + dense['bias'],
        rtol=1e-4, atol=1e-5,
    )
    energies = gan._replace(loss=gan.loss._replace(energies=True))
    np.testing.assert_allclose(
        energies.monitors.scores(state, samples),
        -gan.monitors.scores(state, samples),
    )


def test_neighbours_are_searched_in_a_bounded_number_of_images(monkeypatch):
    training = helpers.random_images(40)
    samples = np.concatenate([training[[7, 30]], 255 - training[:5]])
    matched = inspect_model._neighbours(samples, training, None)
    assert matched['distances'][:2, 0].tolist() == [0, 0]
    assert (matched['num_searched'], matched['num_images']) == (40, 40)
    cut = pictures.tiles(matched['pairs'], (8, 8, 1)).reshape(7, 5, 8, 8, 1)
    np.testing.assert_array_equal(cut[0, 0], cut[0, 1])
    monkeypatch.setattr(inspect_model, 'MOST_BYTES', 64 * 10)
    matched = inspect_model._neighbours(samples, training, None)
    assert (matched['num_searched'], matched['num_images']) == (10, 40)


def test_styles_are_truncated_and_mixed(tmp_path, monkeypatch):
    gan, state = helpers.styled_gan()
    counts, apply = [], sampling.apply

    def counted(algorithm, weights, inputs):
        counts.append(len(inputs.main))
        return apply(algorithm, weights, inputs)

    monkeypatch.setattr(sampling, 'apply', counted)
    looked = inspect_model.inspect(gan, state)
    # One call of the generator makes both grids, less the white corner.
    assert counts == [inspect_model.NUM_SCORED, 4 * 6 + 5 * 7 - 1]
    (first, truncated), (second, mixed) = looked.styles
    assert 'Seeds 0 to 3 at truncations -1, -0.5, 0, 0.5, 0.7, 1,' in first
    assert 'Styles 0 to 0 of the column (seeds 4 to 9)' in second
    rows = pictures.tiles(truncated, helpers.SHAPE).reshape(4, 6, 2, 2, 1)
    own = writer.to_uint8(sampling.sample(gan, state, range(10)))
    np.testing.assert_allclose(rows[:, -1].astype(int), own[:4], atol=1)
    np.testing.assert_array_equal(rows[:, 2], rows[[0] * 4, 2])
    table = pictures.tiles(mixed, helpers.SHAPE).reshape(5, 7, 2, 2, 1)
    np.testing.assert_allclose(table[1:, 0].astype(int), own[:4], atol=1)
    np.testing.assert_allclose(table[0, 1:].astype(int), own[4:], atol=1)
    text = write(load_run.load(folder(tmp_path)), looked)
    assert first in html.unescape(text) and second in html.unescape(text)
    gan = helpers.linear_gan()
    assert inspect_model.inspect(gan, helpers.start(gan)).styles == ()


def write(run, looked=inspect_model.Inspection()):
    return page.of_run(run, looked)


def test_page_names_what_a_folder_lacks(tmp_path):
    text = write(load_run.load(folder(tmp_path)))
    for words in (
        'not diagnosed', 'no pictures of samples', 'No sample was scored',
        'Nearest neighbours were not computed', 'evaluate was not run',
        'environment.json is missing', '2 of 4 (not finished)',
    ):
        assert words in text
    assert 'id="film-slider"' not in text


def test_policy_allows_only_the_scripts_and_style_of_the_page(tmp_path):
    text = write(load_run.load(folder(tmp_path)))
    (policy,) = re.findall('Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert 'unsafe' not in policy and 'http' not in policy
    for kind, tag in (('style', 'style'), ('script', 'script')):
        texts = re.findall(f'<{tag}>(.*?)</{tag}>', text, re.S)
        assert texts and ' '.join((f'{kind}-src', *(
            f"'sha256-{page._hash(part)}'" for part in texts
        ))) in policy.split('; ')
    assert not re.search(r'<[^>]*\s(style|on\w+)=', visible(text))
    assert re.findall(r'<script[^>]*\ssrc=|<link[^>]*stylesheet', text) == []


TEMPLATES = sorted(
    path for path in (ROOT / 'gan_jax' / 'reporting').glob('*.html')
)


@pytest.mark.parametrize('path', TEMPLATES, ids=lambda path: path.name)
def test_templates_escape_every_value(path):
    code = path.read_text()
    assert not re.search(r'\|\s*safe\b|autoescape|Markup', code)
    assert not re.search(r'=\s*{{', code)  # an attribute without quotes


def visible(text):
    """Return the part of a page that shows values of the folder."""
    data = '<script type="application/json" id="data">'
    return text.partition(data)[0].partition('</style>')[2]


def test_all_that_comes_from_files_is_escaped(tmp_path):
    path = folder(tmp_path / 'a&b', [{'step': 2, EVIL: 1.0, f'eval/{EVIL}': 2},
                                     {'step': 4, EVIL: 2.0, f'eval/{EVIL}': 3}])
    config = json.loads((path / 'config.json').read_text())
    config['data']['path'] = EVIL
    writer.write_json(path / 'config.json', config)
    start = {
        'command': f'{EVIL} --config.d_steps=2', EVIL: EVIL, 'started': EVIL,
        'devices': [EVIL], 'device_kind': EVIL, 'versions': {EVIL: EVIL},
    }
    writer.write_json(path / 'environment.json', [start, start])
    writer.write_json(path / 'data.json', {EVIL: {
        'image_shape': [8, 8, 1], 'name': EVIL, 'classes': [EVIL], 'count': 3,
    }})
    writer.write_json(path / 'evaluation.json', [
        {'step': step, 'weights': EVIL, 'features': {'name': EVIL}, 'values': {
            EVIL: {'value': 1.0}, 'memorization': {EVIL: {'verdict': EVIL}},
        }} for step in (2, 4)
    ])
    (path / load_run.DIAGNOSIS).write_text(json.dumps({
        'step': 2, 'level': 'alarm', 'rule': EVIL, 'text': EVIL,
        'advice': EVIL, 'evidence': {EVIL: EVIL},
    }))
    run = load_run.load(path)
    reasons = {'scored': EVIL, 'pairs': EVIL}
    looked = inspect_model.Inspection(reasons=reasons)
    for text in (write(run, looked), page.of_runs([run] * 2)):
        assert html.escape(EVIL) in text
        body = visible(text)
        assert EVIL not in body and '<script' not in body
        (data,) = re.findall(r'json" id="data">(.*?)</script>', text, re.S)
        assert '<' not in data and EVIL in json.dumps(json.loads(data))


def test_page_of_a_run_of_the_default_size_has_at_most_2_mb(tmp_path):
    path = folder(tmp_path, [
        {'step': step, **{
            name: float(value) for name, value in zip(
                (*'abcdefgh', 'd/loss', 'g/loss', 'd/grad_norm', 'g/grad_norm',
                 'd/real_logits', 'd/fake_logits', 'perf/images_per_sec'),
                np.random.RandomState(step).randn(15),
            )
        }} for step in range(50, 7501, 50)
    ])
    writer.write_json(path / 'data.json', {'real': {
        'image_shape': [32, 32, 1], 'count': 1797,
    }})
    # Like the digits 8x8 pixels made 32x32, but with more in them.
    blurred = np.stack([
        np.asarray(Image.fromarray(image[..., 0]).resize((32, 32)))[..., None]
        for image in helpers.random_images(100, (8, 8, 1))
    ])
    for name in ('reals', *(f'{step:06d}' for step in range(0, 7501, 250))):
        writer.save_png(path / 'samples' / f'{name}.png', writer.grid(blurred))
    text = write(load_run.load(path), inspect_model.Inspection(
        7500, inspect_model.by_score(blurred, np.arange(100.0)),
        writer.grid(blurred[:40], 5), np.ones((8, 4)), 1797, 1797,
    ))
    assert 'All 31 pictures' in text and 'the lowest of D' in text
    assert len(text.encode()) < 2e6


def test_page_shows_the_real_images_of_each_source(tmp_path):
    path = folder(tmp_path)
    writer.write_json(path / 'data.json', {
        name: {'image_shape': [8, 8, channels], 'count': 32, 'name': 'digits'}
        for name, channels in (('a', 1), (EVIL, 3), ('missing', 1))
    })
    samples = path / 'samples'
    for name, channels in (('a', 1), ('other', 3)):
        writer.save_png(samples / f'reals-{name}.png', writer.grid(
            helpers.random_images(100, (8, 8, channels))
        ))
    run = load_run.load(path)
    run.reals[EVIL] = samples / 'reals-other.png'
    text = write(run)
    assert EVIL not in visible(text)
    assert 'a: digits: 32 images of 8x8x1; ' in text
    for name in ('a', EVIL):
        assert f'Real images of {html.escape(name)}, evenly spaced' in text
    shown = re.findall('<img [^>]*>', visible(text))
    assert len(shown) == 2
    assert all('width="624" height="624"' in image for image in shown)


def test_page_shows_the_contents_of_a_folder(tmp_path):
    path = folder(tmp_path)
    writer.write_json(path / 'data.json', {'real': {
        'image_shape': [8, 8, 1], 'count': 32, 'classes': ['a', 'b'],
    }})
    for name in ('reals', '000000', '000002'):
        writer.save_png(
            path / 'samples' / f'{name}.png',
            writer.grid(helpers.random_images(100)),
        )
    (path / load_run.DIAGNOSIS).write_text(''.join(
        json.dumps({'step': 2, 'level': level, 'text': f'{level} text'}) + '\n'
        for level in ('note', 'alarm')
    ))
    text = write(load_run.load(path), inspect_model.Inspection(
        2, inspect_model.by_score(helpers.random_images(30), np.arange(30.0)),
        writer.grid(helpers.random_images(40), 5), np.ones((8, 4)), 10, 40,
    ))
    for words in (
        'digits: 32 images of 8x8x1, 2 classes', 'All 2 pictures',
        'Samples of seeds 0 to 63 at step 2', 'Real images, evenly spaced',
        'the lowest of D', 'seeds 0, 1, 2, 3, 4, 5, 6, 7',
        '10 of 40, evenly spaced', '1 alarm, 1 note', 'aria-valuetext="step 2"',
    ):
        assert words in text, words
    assert text.index('alarm text') < text.index('note text')
    shown = re.findall('<img [^>]*>', visible(text))
    assert len(shown) == 7  # film, 2 grids, 3 rows by score, neighbours
    assert all(re.search('alt="[^"]+"', image) for image in shown)


def test_runs_of_one_name_are_labelled_by_their_folders(tmp_path):
    runs = [
        load_run.load(folder(tmp_path / name / 'run')) for name in 'ab'
    ]
    text = page.of_runs(runs)
    assert f'<th scope="col">{tmp_path}/a/run</th>' in text
    assert 'the configs are the same' in text


def test_points_are_one_scatter(tmp_path):
    path = folder(tmp_path)
    writer.write_json(path / 'data.json', {'real': {'image_shape': [2]}})
    for name in ('reals', '000002'):
        writer.save_png(
            path / 'samples' / f'{name}.png',
            helpers.random_images(1, (64, 64, 3))[0],
        )
    text = write(load_run.load(path))
    assert 'points in 2 dimensions' in text
    assert 'Samples over real points at step 2' in text
    assert 'Real images, evenly' not in text


def test_page_is_written_whole(tmp_path):
    reporting.save(tmp_path / 'new' / 'x.html', 'ä')
    assert (tmp_path / 'new' / 'x.html').read_bytes() == 'ä'.encode()
    assert len(list((tmp_path / 'new').iterdir())) == 1


def test_unreadable_pictures_are_none(tmp_path):
    assert pictures.read(None) is None
    path = tmp_path / 'x.png'
    assert pictures.read(path) is None
    path.write_bytes(b'no picture')
    assert pictures.read(path) is None
    Image.fromarray(np.zeros((3, 3), np.uint16)).save(path)
    assert pictures.read(path) is None
