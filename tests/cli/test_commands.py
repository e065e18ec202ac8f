"""All commands: --help, the list of commands, and unknown names."""

import os
import subprocess
import sys

import pytest

import helpers
from conftest import ROOT
from gan_jax import __main__ as gan_jax_main
from gan_jax.cli import recipe_files
from gan_jax.core import errors

COMMANDS = list(gan_jax_main.commands())


@pytest.fixture(scope='module')
def helps():
    return dict(zip(COMMANDS, helpers.commands(
        ['gan_jax', name, '--help'] for name in COMMANDS
    )))


@pytest.mark.parametrize('name', COMMANDS)
def test_help_shows_an_example_and_own_flags_first(name, helps):
    code, out, err = helps[name]
    assert (code, err) == (0, '')
    example, _, flags = out.partition('\nFlags:\n')
    command = 'gan_jax.main' if name == 'train' else f'gan_jax {name}'
    assert f'    python -m {command}' in example
    assert '--verbosity' not in flags and flags.endswith('libraries too.\n')


def test_help_names_each_flag_of_a_command_once(helps):
    _, out, _ = helps['sample']
    for flag in ('seeds', 'out', 'workdir', 'step', 'truncation'):
        assert out.count(f'\n  --{flag}  ') == 1


def test_config_and_data_keys_are_named_as_groups(helps):
    assert '--config.KEY=VALUE' in helps['train'][1]
    assert '--data.KEY=VALUE' in helps['pack'][1]
    assert '--config' not in helps['doctor'][1]


def test_commands_are_listed_with_a_line_each():
    (code, out, _), (other, same, _) = helpers.commands([
        ['gan_jax'], ['gan_jax', '--help']
    ])
    assert code == other == 0 and out == same
    for name in COMMANDS:
        assert f'\n  {name} ' in out


def test_error_of_an_unknown_name_suggests_the_nearest():
    results = helpers.commands([
        ['gan_jax', 'smaple'], ['gan_jax', 'zzz'],
        ['gan_jax', 'train', '--config=dcgna'],
        ['gan_jax', 'train', '--config=dcgan:minst'],
        ['gan_jax', 'train', '--config', 'zzz'],
        ['gan_jax', 'recipes', 'dcgan'], ['--helpme'],
    ])
    messages = [
        "'smaple' is not a command; did you mean 'sample'?",
        "'zzz' is not a command\n", "lists; did you mean 'dcgan'?",
        "did you mean 'mnist'?",
        '--config=zzz is not a recipe, which', "unexpected argument 'dcgan'",
        'Unknown command line flag',
    ]
    for (code, _, err), says in zip(results, messages):
        assert code == 2 and err.startswith('error: ') and says in err
        assert err.count('\n') == 1


def test_recipes_are_listed_and_found_by_name():
    (code, out, err), *runs = helpers.commands([
        ['gan_jax', 'recipes'],
        ['gan_jax', 'train', '--config=mixtures:ring', '--config.d_steps=0'],
        ['gan_jax', 'train', '--config', 'mixtures:ring', '--config.d_steps=0'],
    ])
    assert (code, err) == (0, '')
    for path in (ROOT / 'configs').glob('*.py'):
        assert f'{path.stem} ' in out
    for code, _, err in runs:  # the recipe was read; its key is refused
        assert code == 2 and 'd_steps' in err


def test_names_of_recipes_come_before_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in ('dcgan', 'own', 'a:b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'config.json').write_text('{}')
    (tmp_path / 'file').touch()
    recipe, run = recipe_files.folder() / 'dcgan.py', recipe_files.of_run
    for given, expected in {
        'dcgan': f'{recipe}', 'dcgan:mnist': f'{recipe}:mnist',
        './dcgan': run('./dcgan'), 'own/': run('own/'), './a:b': run('./a:b'),
        f'{tmp_path}/own': run(f'{tmp_path}/own'),
        '~/own': run(f'{tmp_path}/own'), '~/x.py:a': f'{tmp_path}/x.py:a',
        './none': './none', 'x.py': 'x.py', 'file': 'file', '': '',
    }.items():
        assert recipe_files.path_of(given) == expected
    for given, says in (
        ('own', '; the run is --config=./own$'), ('zzz', 'lists$'),
        ('dcgna:a/b', "did you mean 'dcgan'"),
    ):
        with pytest.raises(errors.ConfigError, match=says):
            recipe_files.path_of(given)


def test_a_run_is_continued_by_its_own_config(tmp_path):
    config = helpers.tiny_mlp()
    config.loss.name = 'hinge'
    helpers.untrained(config, tmp_path / 'run')
    results = helpers.commands([
        ['gan_jax', 'train', '--workdir=run'],
        ['gan_jax', 'train', '--workdir', 'run', '--config.loss.name=ls'],
        ['gan_jax', 'train', '--workdir=run', '--config.latent_size=5'],
        ['gan_jax', 'train', '--config=./run', '--config.latent_size=5',
         '--workdir=run'],
        ['gan_jax', 'train', '--workdir=none'],
    ], cwd=tmp_path)
    assert results[0][0] == 0 and 'complete: 4 of 4' in results[0][1]
    for (code, _, err), expected, says in zip(results[1:], [2, 5, 5, 2], [
        "loss.name='ls' is not one of", '(latent_size: 3 -> 5)',
        '(latent_size: 3 -> 5)', 'name a recipe, such as --config=',
    ]):
        assert code == expected and says in err


def test_closed_pipe_of_help_is_not_an_error():
    reads, writes = os.pipe()
    os.close(reads)
    for words in (['doctor', '--help'], []):
        done = subprocess.run(
            [sys.executable, '-m', 'gan_jax', *words],
            stdout=writes, stderr=subprocess.PIPE, env=helpers.environment(),
        )
        assert (done.returncode, done.stderr) == (0, b'')
    os.close(writes)


def test_help_and_import_load_no_jax():
    code = (
        'import sys, gan_jax\n'
        'from gan_jax import __main__\n'
        'sys.argv = ["gan_jax", sys.argv[1], "--help"]\n'
        'try:\n    __main__.main()\n'
        'except SystemExit:\n    pass\n'
        'print(sorted({"jax", "numpy", "flax"} & set(sys.modules)))\n'
    )
    for name in ('train', 'evaluate', 'sample', 'lab'):
        done = subprocess.run(
            [sys.executable, '-c', code, name], capture_output=True, text=True,
            env=helpers.environment(), check=True,
        )
        assert done.stdout.endswith('\n[]\n'), (name, done.stdout[-200:])
