"""Passwords and tokens are shown nowhere and left in no file of a run."""

import json
import sys

import pytest

import helpers
from conftest import ROOT
from gan_jax import config as config_lib
from gan_jax import errors
from gan_jax import masking
from gan_jax import train
from gan_jax.runtime import environment

SECRET = 'hunter2'
URI = f'gs://me:{SECRET}@bucket/sets?token={SECRET}&key={SECRET}&part=2'


@pytest.mark.parametrize('text, masked', [
    (URI, 'gs://***@bucket/sets?token=***&key=***&part=2'),
    (f'https://{SECRET}@host/a', 'https://***@host/a'),
    (f'https:/me:{SECRET}@host/a', 'https:/***@host/a'),
    (f"'s3://b/x?X-Amz-Signature={SECRET}'", "'s3://b/x?X-Amz-Signature=***'"),
    (f'--wandb_token={SECRET} -n', '--wandb_token=*** -n'),
    (f'--config.x.password={SECRET}', '--config.x.password=***'),
    (f'--api-key={SECRET}', '--api-key=***'),
])
def test_secrets_are_masked(text, masked):
    assert masking.mask(text) == masked
    assert masking.mask(masked) == masked


@pytest.mark.parametrize('text', [
    'python -m gan_jax.main --config=configs/dcgan.py:mnist',
    '--config.data.path=/home/me@work/images', 'gs://bucket/a@b/c',
    'folder:/data/me@home', '--config.data.classes=key,token', 'tfds:mnist',
    'https://arxiv.org/abs/1511.06434?page=2', 'D(real) +3.85',
    '--config.regularizers.r1.weight=10', 'ünïcode ∂/x?y=z',
])
def test_what_is_no_secret_stays(text):
    assert masking.mask(text) == text
    assert masking.mask_arguments(text.split()) == text.split()


def test_no_key_of_a_config_is_taken_for_a_secret():
    flat = config_lib.flatten(config_lib.default_config())
    assert masking.mask_values(flat) == flat
    nested = {'a': {'db_password': SECRET, 'b': [URI, 1]}, 'token': ''}
    masked = masking.mask_values(nested)
    assert SECRET not in json.dumps(masked)
    assert masked['a']['b'][1] == 1 and masked['token'] == ''


def test_word_after_a_flag_of_a_secret_is_masked():
    words = ['run', '--token', SECRET, '--x', 'y']
    assert masking.mask_arguments(words) == [
        'run', '--token', '***', '--x', 'y'
    ]


def files_with(folder, text):
    return [
        path for path in folder.rglob('*')
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_run_leaves_no_secret_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        sys, 'orig_argv', ['python', 'mine.py', f'--wandb_token={SECRET}', URI]
    )
    config = helpers.tiny_mlp()
    config.data.path = f'https://me:{SECRET}@host/images?token={SECRET}'
    workdir = tmp_path / 'run'
    images = helpers.random_images()
    train.train(config, workdir, images=images)
    config.num_steps = 6
    run = train.train(config, workdir, images=images)
    assert int(run.state.step) == 6
    assert files_with(workdir, SECRET) == []
    assert len(files_with(workdir, '***')) >= 4
    config.data.path = f'https://me:{SECRET}@host/others'
    with pytest.raises(errors.CheckpointError) as caught:
        train.train(config, workdir, images=images)
    told = capsys.readouterr()
    assert SECRET not in f'{caught.value}{told.out}{told.err}'
    assert 'https://***@host/others' in str(caught.value)


def test_commands_show_no_secret(tmp_path):
    for module, flag, code in (
        ('gan_jax.main', '--config.data.path', 4),
        ('gan_jax.main', '--workdir', 2),
        ('gan_jax.doctor', '--data_dir', 0),
    ):
        recipe = ['--config', ROOT / 'configs' / 'dcgan.py']
        done = helpers.run(
            module, *(recipe if module == 'gan_jax.main' else ()),
            f'{flag}=https://me:{SECRET}@host/x?token={SECRET}', cwd=tmp_path,
        )
        assert done.returncode == code, done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert not files_with(tmp_path, SECRET)


def test_environment_masks_its_command(monkeypatch):
    monkeypatch.setattr(sys, 'orig_argv', ['python', '--password', SECRET])
    assert environment.describe(0)['command'].endswith("--password '***'")
