"""Fixtures of all tests: caches, warnings, devices, real data, a browser."""

import os
import pathlib
import re
import shutil
import sys
import time

import jax
import pytest

from gan_jax.runtime import environment

ROOT = pathlib.Path(__file__).parent.parent
# Rooms that touch run folders, processes, devices, servers and browsers, and
# files that run many combinations.
INTEGRATION = (
    'benchmarks', 'cli', 'evaluation', 'lab', 'monitoring', 'reporting', 'runs',
    'runtime', 'tools', 'training',
    'algorithms/test_discriminator_inputs.py', 'algorithms/test_games.py',
    'algorithms/test_reconstruction.py', 'algorithms/test_snapshots.py',
    'algorithms/test_tricks.py', 'algorithms/test_updates.py',
    'config/test_golden_recipes.py', 'data/test_any_images.py',
    'package/test_fuzz_folders.py',
)
PROMISES = frozenset(re.findall(
    r'`(\w+/test_\w+\.py::test_\w+(?:\[[^`]+\])?)`',
    (ROOT / 'tests' / 'README.md').read_text(),
))
MOST_MAPS = 20_000  # of a process, see `forget_programs`
FAST = 'not integration and not slow'  # setup.cfg; replaced for given paths
# Little optimisation, for programs that run once and need not be fast.
QUICK_COMPILATION = '--xla_backend_optimization_level=0'
# Some tests share what others define.
sys.path += [str(p) for p in (ROOT / 'tests').iterdir() if p.is_dir()]


def pytest_configure(config):
    """Set up JAX, and turn warnings into errors from here on.

    `error` in setup.cfg would also apply to warnings of other plugins as they
    start, and end the session.
    """
    config.addinivalue_line('filterwarnings', 'error')
    # A worker reads a program that another one is writing; it compiles then.
    config.addinivalue_line(
        'filterwarnings', 'ignore:Error reading persistent compilation cache'
    )
    if hasattr(config, 'workerinput'):
        config.option.markexpr = config.workerinput['markexpr']
    fast = config.option.markexpr == FAST
    if fast and config.args_source == pytest.Config.ArgsSource.ARGS and (
        not hasattr(config, 'workerinput')
    ):
        config.option.markexpr, fast = 'not slow', False
    if fast:
        flags = os.environ.get('XLA_FLAGS', '')
        os.environ['XLA_FLAGS'] = f'{flags} {QUICK_COMPILATION}'
    # Several workers share a GPU, of which each would take three quarters.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    environment.prepare()
    # Small programs are many; workers share them too.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell a worker which tests are chosen; it reads only setup.cfg."""
    node.workerinput['markexpr'] = node.config.option.markexpr


def pytest_sessionstart(session):
    """Start the clock of `pytest_sessionfinish`."""
    session.config.began = time.monotonic()


def pytest_sessionfinish(session):
    """Fail a session that took more than `GAN_JAX_TEST_SECONDS`."""
    limit = os.environ.get('GAN_JAX_TEST_SECONDS')
    taken = time.monotonic() - session.config.began
    if limit and taken > float(limit):
        sys.stderr.write(
            f'\nerror: the tests took {taken:.0f} s; allowed are {limit}\n'
        )
        session.exitstatus = 1


def pytest_ignore_collect(collection_path, config):
    """Skip files without a test of the fast tier, to save their imports."""
    name = str(collection_path).removeprefix(f'{ROOT}/tests/')
    if (
        config.option.markexpr == FAST
        and name.endswith('.py') and name.startswith(INTEGRATION)
        and not any(promise.startswith(name) for promise in PROMISES)
    ):
        return True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests of the integration tier, by the rule in README.md."""
    for item in items:
        name = item.nodeid.removeprefix('tests/')
        if {name, name.partition('[')[0]} & PROMISES:
            item.own_markers = [
                mark for mark in item.own_markers if mark.name != 'integration'
            ]
        elif name.startswith(INTEGRATION):
            item.add_marker('integration')


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
    """Unload compiled programs after a file, if there are too many.

    On CPU each uses memory maps, of which Linux allows 65,530 per process; a
    worker once crashed near that number. Below `MOST_MAPS` they stay, because
    other files use the small ones too.
    """
    yield
    try:
        maps = len(pathlib.Path('/proc/self/maps').read_bytes().splitlines())
    except OSError:  # not Linux
        maps = MOST_MAPS
    if maps >= MOST_MAPS:
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
