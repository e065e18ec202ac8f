"""The command `doctor`: its report, and a device that fails."""

import jax
import pytest

import helpers
from gan_jax.data import tfds_source
from gan_jax.runtime import environment


def test_report_has_versions_devices_folders_and_data_sets(tmp_path):
    (tmp_path / 'mnist' / '3.0.1').mkdir(parents=True)
    (tmp_path / 'mnist' / '3.0.1' / 'mnist-train.array_record-0').touch()
    done = helpers.run(
        'gan_jax', 'doctor', f'--data_dir={tmp_path}', devices=2,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for text in (
        f'jax {jax.__version__}', 'cpu, 2 device(s)', 'float32 product of',
        'GB are free in', f'{tmp_path}: mnist/3.0.1', 'memory    ',
    ):
        assert text in done.stdout
    assert done.stdout.count('device    ') == 2


def test_folder_without_data_sets_gives_an_empty_list(tmp_path):
    assert tfds_source.prepared(str(tmp_path / 'none'))[1] == []


@pytest.mark.parametrize('product, says', [
    (lambda a, b: a, 'FAILED: a product is wrong'), (None, 'FAILED: '),
])
def test_failing_device_is_reported(product, says, monkeypatch):
    monkeypatch.setattr(environment.jnp, 'matmul', product)
    ((_, result),) = environment.try_devices()
    assert result.startswith(says)


def test_free_space_of_a_missing_folder_is_that_of_its_parent(tmp_path):
    space = environment.free_space(tmp_path / 'a' / 'b')
    assert space.endswith(str(tmp_path))
