"""Writer, environment and malloc settings."""

import json
import platform
import subprocess
import sys

from etils import epath
import jax
import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.runtime import environment
from gan_jax.runtime import malloc
from gan_jax.runtime import writer


def test_grid_places_images_row_by_row_and_enlarges_small_ones():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (5, 16, 16, 1))
    picture = writer.grid(images, columns=3, tile=32, gap=2)
    assert picture.shape == (2 * (16 + 2 + 16), 2 * (3 * 16 + 2 * 2), 1)
    assert picture[0, 0] == 0 and picture[0, 2 * 18] == 1
    assert picture[2 * 18, 2 * 18] == 4
    assert picture[2 * 18, 2 * 36] == 255  # nothing there


def test_uint8_rounds_and_clips_the_unit_range():
    values = np.array([-1.2, -1, 0, 1, 1.2], np.float32)
    np.testing.assert_array_equal(
        writer.to_uint8(values), [0, 0, 128, 255, 255]
    )


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_png_reads_back(channels, tmp_path):
    image = helpers.random_images(1, (6, 5, channels))[0]
    writer.save_png(tmp_path / 'new' / 'x.png', image)
    read = np.asarray(Image.open(tmp_path / 'new' / 'x.png'))
    np.testing.assert_array_equal(read.reshape(image.shape), image)


def test_paths_with_a_tilde_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    writer.save_png('~/x.png', np.zeros((2, 2, 1), np.uint8))
    writer.save_arrays('~/x.npz', x=np.zeros(2))
    writer.append_json('~/x.json', 1)
    writer.append_json('~/x.json', 2)
    assert {path.name for path in tmp_path.iterdir()} == {
        'x.png', 'x.npz', 'x.json'
    }
    assert json.loads((tmp_path / 'x.json').read_text()) == [1, 2]


def test_scatter_distinguishes_real_and_generated_points():
    real, fake = np.full((50, 2), 0.9), np.full((50, 2), -0.9)
    image = writer.picture(fake, real).astype(int)
    assert image.shape == (640, 640, 3)
    blue = image[..., 2] - image[..., 0] > 60
    orange = image[..., 0] - image[..., 2] > 60
    for color, low_left in ((blue, False), (orange, True)):
        rows, columns = np.nonzero(color[60:])  # below the legend
        assert rows.size
        assert (rows.min() > 260) == (columns.max() < 320) == low_left


def test_scatter_projects_onto_the_main_axes_of_the_real_points():
    random = np.random.RandomState(0)
    real = 7 + np.zeros((400, 5))
    real[:, 3] += random.uniform(-1, 1, 400)  # the first axis
    real[:, 1] += random.uniform(-0.3, 0.3, 400)  # the second
    fake = real.mean(0) + np.array([5, -0.6, 5, -0.9, 5])  # seen from there
    image = writer.picture(fake[None].repeat(50, 0), real).astype(int)
    assert image.shape == (640, 640, 3)
    rows, columns = np.nonzero(
        (image[..., 0] - image[..., 2] > 60)[60:]  # orange, below the legend
    )
    assert rows.min() > 260 and columns.max() < 320
    rows, columns = np.nonzero((image[..., 2] - image[..., 0] > 60)[60:])
    assert np.ptp(columns) > 2 * np.ptp(rows) > 0


def test_one_dimensional_points_are_plotted_as_densities():
    random = np.random.RandomState(0)
    real, fake = random.uniform(0.2, 0.8, (2, 5000, 1)) * [[[1]], [[-1]]]
    for image in (writer.picture(fake, real), writer.picture(fake)):
        image = image.astype(int)
        assert image.shape == (640, 640, 3)
        columns = np.nonzero((image[..., 0] - image[..., 2] > 60)[60:])[1]
        assert np.median(columns) < 320
    rows, columns = np.nonzero(
        (writer.picture(fake, real).astype(int) @ [-1, 0, 1] > 60)[60:]
    )
    assert columns.min() > 320 and np.ptp(rows) > 300


def test_main_axes_are_principal_axes_with_a_fixed_sign():
    random = np.random.RandomState(0)
    basis = np.linalg.qr(random.randn(6, 6))[0]
    points = random.randn(500, 6) * [1, 9, 2, 1, 5, 1] @ basis.T + 3
    center, axes = writer.main_axes(points)
    np.testing.assert_allclose(center, points.mean(0))
    rows = np.linalg.svd(points - center, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(rows[:2] @ axes), np.eye(2), atol=1e-9)
    assert (np.abs(axes).max(0) == axes.max(0)).all()
    np.testing.assert_allclose(writer.main_axes(-points)[1], axes)


@pytest.mark.parametrize('count', [1, 9])
def test_scatter_without_real_points_uses_the_axes_of_the_generated(count):
    points = np.random.RandomState(0).randn(count, 5)
    image = writer.picture(points).astype(int)
    assert (image[..., 0] - image[..., 2] > 60)[60:].any()


def make(folder, start=0, enabled=True):
    return writer.Writer(folder, enabled=enabled, start=start, total=100)


def read_metrics(folder):
    lines = (folder / writer.METRICS).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_resume_removes_later_and_damaged_records_alone(tmp_path):
    first = make(tmp_path)
    for step in (10, 20, 30):
        first.scalars(step, {'d/loss': step / 10}, 'line')
    first.close()
    with (tmp_path / writer.METRICS).open('a') as file:
        file.write('{"step": 40, "d/lo')  # cut short by a kill
    second = make(tmp_path, start=20)
    second.scalars(30, {'d/loss': 9.0}, 'line')
    second.close()
    records = read_metrics(tmp_path)
    assert [(r['step'], r['d/loss']) for r in records] == [
        (10, 1.0), (20, 2.0), (30, 9.0)
    ]


def test_values_that_are_not_finite_stay_valid_json(tmp_path):
    run_writer = make(tmp_path)
    run_writer.scalars(1, {'d/loss': float('nan'), 'g/loss': 1.0}, 'line')
    run_writer.close()
    assert read_metrics(tmp_path) == [
        {'step': 1, 'd/loss': None, 'g/loss': 1.0}
    ]


def test_disabled_writer_writes_nothing(tmp_path, capsys):
    run_writer = make(tmp_path, enabled=False)
    run_writer.scalars(1, {'d/loss': 1.0}, 'line')
    run_writer.picture('x', helpers.random_images(1)[0], step=1)
    run_writer.say('hello')
    run_writer.advance(1)
    run_writer.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ''


def test_json_is_written_atomically(tmp_path):
    writer.write_json(tmp_path / 'a.json', {'a': 1})
    writer.write_json(epath.Path(tmp_path) / 'a.json', {'a': [2]})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'a': [2]}
    assert len(list(tmp_path.iterdir())) == 1


def test_json_list_grows_and_keeps_what_it_cannot_read(
    tmp_path, monkeypatch
):
    path = tmp_path / 'a.json'
    for item in (1, 2):
        writer.append_json(path, item)
    assert json.loads(path.read_text()) == [1, 2]
    path.write_text('[1,')
    writer.append_json(path, 3)
    assert json.loads(path.read_text()) == [3]
    aside, = (p for p in tmp_path.iterdir() if p != path)
    assert aside.read_text() == '[1,'

    def fail(path, most):
        raise PermissionError(13, 'not allowed')

    monkeypatch.setattr(writer.files, 'read_json', fail)
    with pytest.raises(PermissionError):
        writer.append_json(path, 4)
    assert json.loads(path.read_text()) == [3]


def test_metrics_that_cannot_be_read_are_kept(tmp_path, monkeypatch):
    path = tmp_path / writer.METRICS
    path.write_text('{"step": 1}\n')

    def fail(path):
        raise PermissionError(13, 'not allowed')

    monkeypatch.setattr(writer.files, 'lines', fail)
    with pytest.raises(PermissionError):
        writer.Writer(tmp_path, enabled=True, start=1, total=9, names=())
    assert path.read_text() == '{"step": 1}\n'


def test_too_long_json_list_is_renamed(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    writer.append_json(path, 'x' * 50)
    monkeypatch.setattr(writer.files, 'MAX_JSON', 50)
    writer.append_json(path, 1)
    (other,) = (p for p in tmp_path.iterdir() if p != path)
    assert json.loads(path.read_text()) == [1]
    assert json.loads(other.read_text()) == ['x' * 50]


def test_environment_describes_versions_and_devices():
    described = environment.describe(7)
    assert described['seed'] == 7
    assert described['versions']['jax'] == jax.__version__
    assert described['devices'] and described['command']
    json.dumps(described)


def test_tensorboard_does_not_load_pytorch(tmp_path):
    (tmp_path / 'torch.py').write_text('print("loaded")\nTensor = object\n')
    done = subprocess.run(
        [sys.executable, '-c',
         'import sys\nsys.path.insert(0, ".")\n'
         'from gan_jax.runtime import writer\n'
         'writer.Writer(".", enabled=True, start=0, total=1).close()\n'
         'print("written")\nimport torch'],
        capture_output=True, text=True, cwd=tmp_path,
    )
    assert done.stdout.split() == ['written', 'loaded'], done.stderr
    assert list((tmp_path / 'tensorboard').iterdir())


STEPS = """
import resource
import statistics
import sys

import jax
import jax.numpy as jnp

from gan_jax.runtime import malloc

print(malloc.keep_freed_memory() if sys.argv[1] == 'keep' else None)
values = jnp.ones((2**12, 2))  # 96 MiB lie between the products
ones = jnp.ones((3 * 2**11, 2))
step = jax.jit(lambda x: (x @ ones.T) @ ones)
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(values).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(faults))  # a thread may free a step's after the next's
"""


def _faults(word):
    done = subprocess.run(
        [sys.executable, '-c', STEPS, word], check=True, text=True,
        capture_output=True,
    )
    took, faults = done.stdout.split()
    return took, float(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc')
def test_freed_memory_is_reused_by_the_next_step():
    took, kept = _faults('keep')
    assert took == 'True'
    assert kept < 1000 < 10_000 < _faults('return')[1]


@pytest.mark.parametrize('name, value', [
    ('MALLOC_TRIM_THRESHOLD_', '65536'),
    ('GLIBC_TUNABLES', 'glibc.malloc.perturb=0'),
])
def test_malloc_settings_of_the_environment_are_kept(
        name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert not malloc.keep_freed_memory()
