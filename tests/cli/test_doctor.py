"""The doctor tells what there is, and of a device that fails."""

import jax
import pytest

import helpers
from gan_jax.data import tfds_source
from gan_jax.runtime import environment


def test_it_tells_versions_devices_folders_and_sets(tmp_path):
    (tmp_path / 'mnist' / '3.0.1').mkdir(parents=True)
    (tmp_path / 'mnist' / '3.0.1' / 'mnist-train.array_record-0').touch()
    done = helpers.run(
        'gan_jax', 'doctor', f'--data_dir={tmp_path}', devices=2,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for told in (
        f'jax {jax.__version__}', 'cpu, 2 device(s)', 'float32 product of',
        'GB are free in', f'{tmp_path}: mnist/3.0.1', 'memory    ',
    ):
        assert told in done.stdout
    assert done.stdout.count('device    ') == 2


def test_folder_without_sets_is_told(tmp_path):
    assert tfds_source.prepared(str(tmp_path / 'none'))[1] == []


@pytest.mark.parametrize('product, says', [
    (lambda a, b: a, 'FAILED: a product is wrong'), (None, 'FAILED: '),
])
def test_device_that_fails_is_told(product, says, monkeypatch):
    monkeypatch.setattr(environment.jnp, 'matmul', product)
    ((_, told),) = environment.try_devices()
    assert told.startswith(says)


def test_free_space_of_a_folder_to_come_is_that_above_it(tmp_path):
    told = environment.free_space(tmp_path / 'a' / 'b')
    assert told.endswith(str(tmp_path))
