"""The tiers of tests: their rule, the promises, the limit of time."""

import ast
import subprocess
import sys
import types

import pytest

import conftest

TESTS = conftest.ROOT / 'tests'


def item(nodeid, *marks):
    """Return an object like a collected test."""
    own = [getattr(pytest.mark, mark).mark for mark in marks]
    return types.SimpleNamespace(
        nodeid=nodeid, own_markers=own,
        add_marker=lambda name: own.append(getattr(pytest.mark, name).mark),
    )


@pytest.mark.parametrize('nodeid, marks, integration', [
    ('tests/objectives/test_losses.py::test_x', (), False),
    ('tests/objectives/test_losses.py::test_x', ('integration',), True),
    ('tests/runs/test_best.py::test_x', (), True),
    ('tests/training/test_train.py::test_x', (), True),
])
def test_tier_follows_from_the_file_unless_marked(nodeid, marks, integration):
    one = item(nodeid, *marks)
    conftest.pytest_collection_modifyitems([one])
    assert any(m.name == 'integration' for m in one.own_markers) == integration


@pytest.mark.parametrize('promise', sorted(conftest.PROMISES))
def test_promise_names_a_test_and_is_in_the_fast_tier(promise):
    path, _, name = promise.partition('::')
    name = name.partition('[')[0]
    assert name in {
        node.name for node in ast.parse((TESTS / path).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    one = item(f'tests/{promise}', 'integration')
    conftest.pytest_collection_modifyitems([one])
    assert not one.own_markers


def test_default_tier_is_the_one_that_compiles_quickly():
    assert f'-m "{conftest.FAST}"' in (conftest.ROOT / 'setup.cfg').read_text()


def test_promises_are_not_few():
    assert len(conftest.PROMISES) > 20


@pytest.mark.parametrize('limit, status', [('3', 1), ('30', 0), (None, 0)])
def test_session_that_takes_too_long_fails(limit, status, monkeypatch, capsys):
    monkeypatch.delenv('GAN_JAX_TEST_SECONDS', raising=False)
    if limit:
        monkeypatch.setenv('GAN_JAX_TEST_SECONDS', limit)
    monkeypatch.setattr(conftest.time, 'monotonic', lambda: 10.0)
    session = types.SimpleNamespace(
        exitstatus=0, config=types.SimpleNamespace(began=0.0)
    )
    conftest.pytest_sessionfinish(session)
    assert session.exitstatus == status
    assert ('took 10 s' in capsys.readouterr().err) == bool(status)


def test_folders_of_the_integration_tier_exist():
    assert all((TESTS / name).exists() for name in conftest.INTEGRATION)


@pytest.mark.integration
@pytest.mark.parametrize('flags', [['-n1'], ['-n0']])
def test_given_paths_run_tests_of_the_second_tier_too(flags):
    name = 'runtime/test_runtime.py::test_json_is_written_atomically'
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-v', *flags, f'tests/{name}'],
        cwd=conftest.ROOT, capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0 and '1 passed' in done.stdout, done.stdout
