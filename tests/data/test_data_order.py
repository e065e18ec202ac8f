"""Order of a run's images, a function of seed and position."""

import subprocess
import sys

import numpy as np
import pytest

import helpers
import order_worker
from gan_jax.data import order


@pytest.mark.integration
@pytest.mark.parametrize('devices', [
    4, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))
])
def test_order_survives_interruption_feeds_and_devices(devices, tmp_path):
    script = order_worker.__file__
    subprocess.run(
        [sys.executable, script, tmp_path], check=True, timeout=300,
        env=helpers.environment(devices),
    )
    found = np.load(tmp_path / 'order.npz')
    assert found['devices'] == devices
    batches = 2 * order_worker.STEPS  # two updates of D a step
    expected = order.indices(0, 0, batches, 8, order_worker.SIZE)
    for kind in ('resident', 'streaming'):
        assert found[f'{kind}_again'] > 0  # what was lost is drawn again
        for run in ('whole', 'resumed'):
            np.testing.assert_array_equal(found[f'{kind}_{run}'], expected)
    epochs = expected.ravel()[:6 * order_worker.SIZE].reshape(6, -1)
    np.testing.assert_array_equal(
        np.sort(epochs), [range(order_worker.SIZE)] * 6
    )
