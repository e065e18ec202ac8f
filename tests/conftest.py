"""Fixtures of all tests: caches, warnings, devices, real data, a browser."""

import os
import pathlib
import shutil
import sys

import jax
import pytest

from gan_jax.runtime import environment

ROOT = pathlib.Path(__file__).parent.parent
# Some tests share what others define.
sys.path += [str(p) for p in (ROOT / 'tests').iterdir() if p.is_dir()]


def pytest_configure(config):
    """Set up JAX, and turn warnings into errors from here on.

    `error` in setup.cfg would also apply to warnings of other plugins as they
    start, and end the session.
    """
    config.addinivalue_line('filterwarnings', 'error')
    # Several workers share a GPU, of which each would take three quarters.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    environment.prepare()


@pytest.fixture(autouse=True, scope='session')
def exact_products():
    """Compute products in float32 on GPU and TPU too, like the goldens."""
    be_exact()


def be_exact():
    """Set the precision of products; on CPU it is float32 anyway."""
    if jax.default_backend() != 'cpu':
        jax.config.update('jax_default_matmul_precision', 'highest')


@pytest.fixture(autouse=True, scope='module')
def forget_programs():
    """Unload compiled programs after each file.

    On CPU each uses memory maps, of which Linux allows 65,530 per process.
    Without this there were 18,000 after a third of the tests, and a worker
    crashed near the end.
    """
    yield
    jax.clear_caches()


@pytest.fixture
def data_dir():
    """Return the folder of prepared TFDS sets; skip the test if missing."""
    folder = pathlib.Path(
        os.environ.get('GAN_JAX_TEST_DATA', ROOT.parent / 'shared' / 'data')
    )
    if not (folder / 'tfds' / 'mnist').is_dir():
        pytest.skip(
            f'real MNIST is not in {folder}/tfds; set GAN_JAX_TEST_DATA'
        )
    return folder


@pytest.fixture(scope='module')
def browser():
    """Return headless Chromium; skip the test if it is missing."""
    playwright = pytest.importorskip(
        'playwright.sync_api', reason="pip install -e '.[test]'"
    )
    path = shutil.which('chromium')
    if path is None:
        pytest.skip('no chromium on the path')
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=path, args=['--no-sandbox']
        )
        yield opened
        opened.close()
