"""Shared by all tests: a compilation cache, real data, a browser."""

import os
import pathlib
import shutil

import jax
import pytest

from gan_jax.runtime import environment

ROOT = pathlib.Path(__file__).parent.parent


def pytest_configure():
    environment.prepare()


@pytest.fixture(autouse=True, scope='module')
def forget_programs():
    """Unload compiled programs after each file.

    On CPU each holds memory maps, of which Linux allows a process 65,530. Kept,
    they were 18,000 after a third of the tests; a worker crashed near the end.
    """
    yield
    jax.clear_caches()


@pytest.fixture
def data_dir():
    """Folder with prepared TFDS sets and raw files; skips where it is not."""
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
    """Give Chromium without a head; skips where it or playwright is not."""
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
