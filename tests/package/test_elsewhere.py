"""The test suite on other machines: with other plugins, and on a GPU."""

import os
import subprocess
import sys

import jax
import pytest

import conftest

PLUGIN = '''
import warnings

def pytest_configure(config):
    warnings.warn('a plugin warns as it starts')
'''
TEST = '''
import os
import warnings

def test_that_warns():
    assert os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] == {expected!r}
    warnings.warn('code warns')
'''


@pytest.mark.integration
@pytest.mark.parametrize('variables, expected', [({}, 'false'), (
    {'XLA_PYTHON_CLIENT_PREALLOCATE': 'true'}, 'true',
)])
def test_warnings_are_errors_except_those_of_starting_plugins(
    variables, expected, tmp_path
):
    (tmp_path / 'noisy.py').write_text(PLUGIN)
    (tmp_path / 'test_one.py').write_text(TEST.format(expected=expected))
    env = {
        name: value for name, value in os.environ.items()
        if not name.startswith(('PYTEST_', 'XLA_PYTHON_'))
    }
    folders = [tmp_path, conftest.ROOT / 'tests', conftest.ROOT]
    env['PYTHONPATH'] = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-n', '0', '-p', 'noisy', '-p',
         'conftest', '-c', conftest.ROOT / 'setup.cfg', 'test_one.py'],
        cwd=tmp_path, env=env | variables, capture_output=True, text=True,
    )
    assert 'E       UserWarning: code warns' in done.stdout, done.stdout
    assert '1 failed' in done.stdout and 'INTERNALERROR' not in done.stderr


@pytest.mark.parametrize('backend, precision', [
    ('cpu', None), ('gpu', 'highest'), ('tpu', 'highest'),
])
def test_products_are_exact_where_a_device_would_round(
    backend, precision, monkeypatch
):
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    before = jax.config.jax_default_matmul_precision
    try:
        jax.config.update('jax_default_matmul_precision', None)
        conftest.be_exact()
        assert jax.config.jax_default_matmul_precision == precision
    finally:
        jax.config.update('jax_default_matmul_precision', before)
