"""Folders of .npy files: many channels and floats, in their units."""

import json

import numpy as np
import pytest

import gan_jax
import helpers
import image_files
from gan_jax.config import defaults
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import fields
from gan_jax.data import sources
from gan_jax.evaluation import runner
from gan_jax.reporting import inspect_model
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.tools import encoding
from gan_jax.tools import export
from gan_jax.tools import export_parts
from gan_jax.tools import inversion
from gan_jax.tools import quiz
from gan_jax.tools import release
from gan_jax.training import train

LOW, HIGH = np.array([-40.0, 0, 1e-3, 5, 0]), np.array([60, 9, 2e-3, 6, 1e5])


def write(folder, dtype='float32', count=24, size=8, seed=0):
    """Write files of 5 channels in two classes; returns their values."""
    random = np.random.RandomState(seed)
    values = LOW + (HIGH - LOW) * random.uniform(size=(count, size, size, 5))
    values = values.astype(dtype)
    for place, array in enumerate(values):
        path = folder / 'ab'[2 * place // count] / f'{place:02d}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return values


def load(folder, **options):
    uri = sources.uri_of_path(folder)
    assert uri == f'fields:{folder}'
    return sources.load(sources.Request(uri, **options))


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int32'])
def test_values_go_to_unit_range_and_back(dtype, tmp_path):
    values = write(tmp_path, dtype)
    dataset = load(tmp_path)
    assert dataset.classes == ('a', 'b') and dataset.sample_shape == (8, 8, 5)
    images, units = dataset.images, dataset.units
    assert images.dtype == np.float32 and images.min() == -1
    spread = np.ptp(values.astype(float), axis=(0, 1, 2)) > 0
    assert (images.max((0, 1, 2)) == np.where(spread, 1, -1)).all()
    back = units.decode(images)
    assert back.dtype == values.dtype
    if back.dtype.kind in 'iu':
        np.testing.assert_array_equal(back, values)
    np.testing.assert_allclose(back, values, atol=1e-6 * (HIGH - LOW).max())


def test_range_is_that_of_all_files_or_given(tmp_path):
    values = write(tmp_path)
    part = load(tmp_path, limit=3, classes=('b',))
    assert part.units == load(tmp_path).units
    assert part.units.high == tuple(values.max((0, 1, 2)).astype(float))
    limits = tuple(np.stack([LOW - 1, HIGH + 1], 1).reshape(-1))
    given = load(tmp_path, limits=limits, shown=(4,)).units
    assert given.low == tuple(LOW - 1) and given.shown == (4,)
    drawn = given.draw(given.encode(values))
    assert drawn.shape == (24, 8, 8, 1) and drawn.dtype == np.uint8
    share = (values[..., 4:] + 1) / (HIGH[4] + 2)
    np.testing.assert_allclose(drawn, 255 * share, atol=0.51)


@pytest.mark.parametrize('dtype, limits, least, most', [
    ('uint16', (0.0, 65536.0), 0, 65535), ('int8', (-200.0, 200.0), -128, 127),
    ('uint32', (-1.0, 2.0**32), 0, 2**32 - 1),
    ('float16', (-1e6, 1e6), -65504, 65504),
    ('float32', (-1e39, 1e39), -3.4028235e38, 3.4028235e38),
])
def test_values_outside_of_the_type_are_clipped(dtype, limits, least, most):
    images = np.zeros((1, 2, 2, 1), dtype)
    units = fields.units('x', images, limits)
    found = units.decode(np.array([[-1.0], [1.0], [5.0]]))
    np.testing.assert_array_equal(
        found[:, 0], np.array([least, most, most], dtype)
    )


@pytest.mark.parametrize('value', [
    0, -3, 2.0**53, -2.0**53, 1e17, -1e17, 1e300, -1e307,
])
def test_channel_of_one_value_stays_at_minus_one(value):
    values = np.stack([np.full((2, 4, 4), value), np.zeros((2, 4, 4))], -1)
    units = fields.units('x', values)
    images = units.encode(values)
    np.testing.assert_array_equal(images, -1)
    np.testing.assert_array_equal(units.decode(images), values)
    assert fields.is_valid(units._asdict() | {'shown': [0]}, 2)


@pytest.mark.parametrize('values', [(1.7e308, 1.7e308), (-1.7e308, 1.7e308)])
def test_range_beyond_float64_is_refused(values):
    images = np.array(values).reshape(2, 1, 1, 1)
    with pytest.raises(errors.DataError, match='channel 0 of x .* scale them'):
        fields.units('x', images)


BAD = {
    'nan': (np.full((8, 8, 5), np.nan, 'f4'), '320 values that are NaN'),
    'infinity': (np.full((8, 8, 5), np.inf, 'f4'), 'NaN or infinite'),
    'shape': (np.zeros((8, 9, 5), 'f4'), r'\[8, 9, 5\], and a/00.npy is'),
    'channels': (np.zeros((8, 8), 'f4'), r'float32 \[8, 8, 1\], and a/00.npy'),
    'dtype': (np.zeros((8, 8, 5), 'i2'), 'is int16 .* is float32'),
    'axes': (np.zeros((1, 8, 8, 5), 'f4'), 'it must be numbers'),
    'objects': (np.array([{}]), 'cannot be read: .*allow_pickle'),
    'text': (np.full((8, 8, 5), 'x'), 'it must be numbers'),
    'complex': (np.zeros((8, 8, 5), 'c8'), 'it must be numbers'),
    'empty': (np.zeros((8, 0, 5), 'f4'), 'it must be numbers'),
    'bytes': (b'\x93NUMPY', 'cannot be read'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_file_is_one_line(name, tmp_path):
    content, says = BAD[name]
    write(tmp_path, count=4)
    with open(tmp_path / 'a' / '01.npy', 'wb') as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            np.save(file, content)
    with pytest.raises(errors.DataError, match=says) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert message.startswith('a/01.npy of ') and '\n' not in message


@pytest.mark.parametrize('options, says', [
    ({'limits': (0.0, 1.0)}, 'channel 0 .* outside of data.range 0 to 1'),
    ({'limits': (0.0, 1.0) * 3}, 'has 6 numbers; .* need 2 or 10'),
    ({'shown': (0, 1, 5)}, 'no channel 5'),
])
def test_options_that_do_not_fit_are_refused(options, says, tmp_path):
    write(tmp_path, count=4)
    with pytest.raises(errors.DataError, match=says):
        load(tmp_path, **options)


@pytest.mark.parametrize('changes, says', [
    ({'range': '1,0'}, "is not 'low,high'"), ({'range': '1'}, 'low,high'),
    ({'range': 'a,b'}, 'low,high'), ({'range': '0,inf'}, 'low,high'),
    ({'shown': '1,2'}, '1 or 3 channels'), ({'shown': '-1'}, '1 or 3'),
    ({'range': '0,1', 'path': ''}, 'is for folders of .npy files'),
    ({'image_size': '64'}, 'is for pictures'),
    ({'dequantize': True}, 'is for pictures'),
])
def test_keys_that_do_not_fit_are_refused(changes, says, tmp_path):
    write(tmp_path, count=4)
    config = helpers.tiny_mlp()
    config.data.name, config.data.path = '', str(tmp_path)
    if changes.get('path') == '':
        config.data.name = 'digits'
    config.data.update(changes)
    with pytest.raises(errors.ConfigError, match=says):
        validation.validate(config)


def test_pictures_and_arrays_stay_what_they_are(tmp_path):
    write(tmp_path / 'fields', count=2)
    (tmp_path / 'fields' / 'a' / '0.png').touch()
    (tmp_path / 'empty').mkdir()
    assert not fields.is_fields(tmp_path / 'fields')
    assert not fields.is_fields(tmp_path / 'empty')
    assert not fields.is_fields(tmp_path / 'none')
    assert sources.uri_of_path('x.npy') == 'npy:x.npy'


def test_first_file_is_that_of_the_listing(tmp_path):
    write(tmp_path / 'fields', count=2)
    (tmp_path / 'linked').mkdir()
    (tmp_path / 'linked' / 'a').symlink_to(tmp_path / 'fields')
    (tmp_path / 'linked' / 'a' / 'loop').symlink_to(tmp_path / 'linked')
    assert fields.is_fields(tmp_path / 'linked')
    (tmp_path / 'pictures' / '.hidden').mkdir(parents=True)
    np.save(tmp_path / 'pictures' / '.hidden' / '0.npy', np.zeros((4, 4)))
    assert not fields.is_fields(tmp_path / 'pictures')
    (tmp_path / 'pictures' / 'x').mkdir()
    (tmp_path / 'pictures' / 'x' / '0.png').touch()
    np.save(tmp_path / 'pictures' / 'y.npy', np.zeros((4, 4)))
    assert not fields.is_fields(tmp_path / 'pictures')


def test_search_for_the_first_file_is_bounded(tmp_path, monkeypatch):
    for name in ('a.txt', 'b.txt', 'c.txt'):
        (tmp_path / name).touch()
    np.save(tmp_path / 'd.npy', np.zeros((4, 4)))
    assert fields.is_fields(tmp_path)
    monkeypatch.setattr(fields, 'MOST_ENTRIES', 3)
    assert not fields.is_fields(tmp_path)


def test_source_is_searched_only_for_keys_that_depend_on_it(monkeypatch):
    config = helpers.tiny_mlp()
    config.data.name, config.data.path = '', '/proc'
    config.data.flip, config.data.test_share = True, 0.1

    def refuse(config):
        raise AssertionError('searched')

    monkeypatch.setattr(defaults, 'source', refuse)
    assert unused_keys.find(config, points=False) == {}
    config.data.range = '0,1'
    with pytest.raises(AssertionError, match='searched'):
        unused_keys.find(config, points=False)


@pytest.mark.integration
def test_run_samples_in_units_and_is_released(tmp_path):
    values = write(tmp_path / 'data', 'float64')
    config = helpers.tiny_mlp()
    config.data.name, config.data.path = '', str(tmp_path / 'data')
    config.data.shown, config.data.test_share = '4,0,2', 0.25
    config.num_steps = config.sample_every = config.checkpoint_every = 4
    config.eval_every, config.eval_metrics = 4, 'fid'
    config.eval_samples = 16
    run = train.train(config, tmp_path / 'run')
    samples = run.sample(range(5))
    assert samples.shape == (5, 8, 8, 5)
    units = run_files.units(tmp_path / 'run')
    assert units.high == tuple(values.max((0, 1, 2)))
    assert units.shown == (4, 0, 2)
    (code, _, err), (other, _, err2), (page, _, line) = helpers.commands([
        ['gan_jax', 'sample', '--workdir=run', '--seeds=0-4', '--out=a.npy'],
        ['gan_jax', 'sample', '--workdir=run', '--seeds=0-4', '--out=new/'],
        ['gan_jax', 'export', '--workdir=run', '--out=out', '--page'],
    ], cwd=tmp_path)
    assert (code, other) == (0, 0), err + err2
    assert page == 2 and line.count('\n') == 1 and '--page' in line
    written = np.load(tmp_path / 'a.npy')
    assert written.dtype == np.float64
    np.testing.assert_array_equal(written, units.decode(samples))
    again = load(tmp_path / 'new', limits=tuple(np.ravel(list(zip(
        units.low, units.high
    )))))
    np.testing.assert_allclose(again.images, samples, atol=1e-6)
    result, = runner.evaluate(
        tmp_path / 'run', ['fid', 'swd', 'prdc'], features='random',
        num_fake=18, num_real=18,
    )
    assert np.isfinite(result['values']['fid']['value'])
    with pytest.raises(errors.ConfigError, match='a quiz needs'):
        quiz.page(tmp_path / 'run', run.algorithm, run.state, count=2, seed=0)
    uri = sources.uri_of_path(tmp_path / 'data')
    two = [sources.Request(uri), sources.Request(
        sources.uri_of_path(tmp_path / 'new')
    )]
    options = runner.EvaluationOptions(metrics=('swd',), features='pixels')
    with pytest.raises(errors.DataError, match='set --data.range'):
        runner.compare_sources(*two, options, print)
    folder = tmp_path / 'released'
    release.write(folder, run.workdir, run.algorithm, run.state)
    loaded = gan_jax.load(folder)
    np.testing.assert_array_equal(loaded.sample(range(5)), samples)
    assert run_files.units(folder) == units
    assert 'float64 from' in export.card(folder, loaded.algorithm, loaded.state)


def autoencoder(tmp_path):
    """Write a run of an untrained VAE on files; return its folder."""
    write(tmp_path / 'data')
    config = helpers.tiny_mlp()
    config.algorithm = 'vae'
    config.data.name, config.data.path = '', str(tmp_path / 'data')
    unused_keys.leave_out(config)
    return helpers.untrained(config, tmp_path / 'run').workdir


def test_tools_refuse_data_of_another_range(tmp_path):
    folder = autoencoder(tmp_path)
    encoding.load_images(folder)
    inversion.load_targets(folder, '0-3')
    assert inspect_model.restore(folder).pairs is not None
    path = tmp_path / 'data' / 'a' / '00.npy'
    values = np.load(path)
    values[0, 0, 2] = 7
    np.save(path, values)
    says = 'channel 2 of fields:.* has the range 0.001.* to 7.0, and that of'
    for tool in (
        lambda: encoding.load_images(folder),
        lambda: inversion.load_targets(folder, '0-3'),
        lambda: runner.evaluate(folder, ['swd'], features='pixels'),
    ):
        with pytest.raises(errors.DataError, match=says) as caught:
            tool()
        assert '\n' not in str(caught.value)
    looked = inspect_model.restore(folder)
    assert looked.pairs is None and 'to 7.0, and' in looked.reasons['pairs']


def test_report_of_moved_data_shows_the_channels_of_the_run(tmp_path):
    write(tmp_path / 'data')
    config = helpers.tiny_mlp()
    config.data.name, config.data.path = '', str(tmp_path / 'data')
    helpers.untrained(config, tmp_path / 'run')
    (tmp_path / 'data').rename(tmp_path / 'moved')
    looked = inspect_model.restore(tmp_path / 'run')
    assert 'not available' in looked.reasons['pairs']
    assert looked.scored['best'].picture.shape[-1] == 3


def test_other_files_are_reconstructed_in_the_units_of_the_run(tmp_path):
    folder = autoencoder(tmp_path)
    units = run_files.units(folder)
    values = np.load(tmp_path / 'data' / 'a' / '03.npy')
    (tmp_path / 'one').mkdir()
    np.save(tmp_path / 'one' / '0.npy', values)
    targets = inversion.load_targets(folder, str(tmp_path / 'one'))
    np.testing.assert_array_equal(targets.images[0], units.encode(values))
    image_files.write(tmp_path / 'pictures' / '0.png', image_files.flat(
        (1, 2, 3), (8, 8)
    ))
    for name in ('pictures', 'pictures/0.png', 'one/0.npy'):
        with pytest.raises(errors.DataError, match='must be a folder of .npy'):
            inversion.load_targets(folder, str(tmp_path / name))
    pictures = helpers.untrained(
        helpers.tiny_mlp(), tmp_path / 'gan', helpers.random_images()
    )
    with pytest.raises(errors.DataError, match='must be pictures'):
        inversion.load_targets(pictures.workdir, str(tmp_path / 'one'))


def test_exports_have_the_exact_units(tmp_path):
    folder = autoencoder(tmp_path)
    algorithm, state = sampling.load(folder)
    units = run_files.units(folder)
    for part in export_parts.PARTS:
        export_parts.write(tmp_path / 'out', folder, algorithm, state, part)
    (tmp_path / 'out' / 'generator.safetensors').write_bytes(
        export.tensors(folder, algorithm, state)
    )
    for name in ('generator', *export_parts.PARTS):
        with open(tmp_path / 'out' / f'{name}.safetensors', 'rb') as file:
            size = int.from_bytes(file.read(8), 'little')
            about = json.loads(file.read(size))['__metadata__']
        described = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(about['units']).items()
        }
        assert fields.Units(**described) == units
    assert 'float32 from' in (tmp_path / 'out' / export.CARD).read_text()


@pytest.mark.integration
def test_translation_is_refused(tmp_path):
    config = helpers.tiny_translation(translation__identity=0.0)
    for name in 'ab':
        write(tmp_path / name, count=4, size=16)
        config.data[name].name, config.data[name].path = '', str(
            tmp_path / name
        )
    with pytest.raises(errors.ConfigError, match='is for pictures, and fields'):
        train.train(config, tmp_path / 'run')


@pytest.mark.parametrize('units', [
    None, {}, {'low': [0]}, {'low': [0], 'high': [0], 'dtype': 'int16',
                             'shown': [0]},
    {'low': [0], 'high': [1], 'dtype': 'object', 'shown': [0]},
    {'low': [0], 'high': [1], 'dtype': 'int16', 'shown': [1]},
    {'low': [0, 0], 'high': [1, 1], 'dtype': 'int16', 'shown': [0]},
    {'low': [0], 'high': [float('inf')], 'dtype': 'int16', 'shown': [0]},
    {'low': [-1.7e308], 'high': [1.7e308], 'dtype': 'float64', 'shown': [0]},
    {'low': 'a', 'high': [1], 'dtype': 'int16', 'shown': [0]},
    {'low': [0], 'high': [1], 'dtype': [], 'shown': [0]},
    {'low': [0], 'high': [1], 'dtype': 'int16', 'shown': 0},
])
def test_hostile_units_are_invalid(units):
    assert not fields.is_valid(units, 1)
    good = {'low': [0], 'high': [1], 'dtype': 'int16', 'shown': [0]}
    assert fields.is_valid(good, 1)
