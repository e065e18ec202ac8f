"""Masking of passwords and tokens in output and in the files of a run."""

import json
import shlex
import sys
import time

import pytest

import helpers
from conftest import ROOT
from gan_jax.cli import app
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.data import reading
from gan_jax.features import classifier_cache
from gan_jax.runs import run_folder
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import writer
from gan_jax.training import train

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
    (f'https://me:pa/{SECRET}@host', 'https://***@host'),
    (f'https://me:p@{SECRET}@host/a b@c', 'https://***@host/a b@c'),
    (f'https://me@corp.com:p/{SECRET}@host', 'https://***@host'),
    (f'https:/me:pa/{SECRET}@host', 'https:/***@host'),
    (f'https:/{SECRET}@host/a', 'https:/***@host/a'),
    (f'https://me:p?{SECRET}#@host', 'https://***@host'),
    (f'https://h/#access_token={SECRET}', 'https://h/#access_token=***'),
    (f'https://h/a;token={SECRET}', 'https://h/a;token=***'),
    (f'https://h?pass={SECRET}&x=1', 'https://h?pass=***&x=1'),
    (f'https://h?jwt={SECRET}', 'https://h?jwt=***'),
    (f'https://h?a=b&sas={SECRET}', 'https://h?a=b&sas=***'),
    (f'https://h?sig={SECRET}', 'https://h?sig=***'),
    (f'https://h?token%3D{SECRET}', 'https://h?token%3D***'),
    (f'u=h%3Fsig%3D{SECRET}%26a%3D1', 'u=h%3Fsig%3D***%26a%3D1'),
    (f'u=h%253Ftoken%253D{SECRET}', 'u=h%253Ftoken%253D***'),
    (f'--auth={SECRET}', '--auth=***'), (f'--pass={SECRET}', '--pass=***'),
    (f'--bearer={SECRET} -n', '--bearer=*** -n'),
    (f'--private_key={SECRET}', '--private_key=***'),
    (f"--token='two {SECRET}' -n", "--token='***' -n"),
    (f'--token="two \\" {SECRET}" -n', '--token="***" -n'),
    (f"'--token=two {SECRET}' -n", "'--token=***' -n"),
    (f"""'--token=it'"'"'s {SECRET}' -n""", "'--token=***' -n"),
    (f"--token=it\\'s' {SECRET}' -n", '--token=*** -n'),
    (f"--header='Authorization: Bearer {SECRET}'",
     "--header='Authorization: ***'"),
    (f'Authorization: Basic {SECRET}', 'Authorization: ***'),
    (f"-H 'X-Api-Key: {SECRET}'", "-H 'X-Api-Key: ***'"),
    (f'sent Bearer {SECRET} twice', 'sent Bearer *** twice'),
    (f'X_TOKEN={SECRET} run', 'X_TOKEN=*** run'),
    (f'accessToken={SECRET}', 'accessToken=***'),
    (f'AccountKey={SECRET};b', 'AccountKey=***'),
    (f'--x={{"password": "two {SECRET}", "a": 1}}',
     '--x={"password": "***", "a": 1}'),
    (f'--x={{"password": 7{SECRET}, "a": 1}}', '--x={"password": ***, "a": 1}'),
    (f'{{"tokens":["a", "{SECRET}]", {{}}], "a":1}}',
     '{"tokens":***, "a":1}'),
    (f"{{'api_key': 'two {SECRET}', 'a': 1}}", "{'api_key': '***', 'a': 1}"),
    (f'"{{\\"password\\": \\"two {SECRET}\\"}}"',
     '"{\\"password\\": \\"***\\"}"'),
    (f'password: {SECRET}', 'password: ***'),
    (f"tokens=['a', '{SECRET}'] b", 'tokens=*** b'),
])
def test_secrets_are_masked(text, masked):
    assert redact.mask(text) == masked
    assert redact.mask(masked) == masked


@pytest.mark.parametrize('argument, masked', [
    (f'--token=two {SECRET}', '--token=***'),
    (f'X_TOKEN=it\'s "{SECRET}', 'X_TOKEN=***'),
    (f'--header=Authorization: Bearer {SECRET}',
     '--header=Authorization: ***'),
    (f'--x={{"password": "{SECRET}"}}', '--x={"password": "***"}'),
])
def test_secrets_of_arguments_are_masked(argument, masked):
    assert redact.mask_arguments([argument, 'b']) == [masked, 'b']
    line = redact.mask(shlex.join([argument, 'b']))
    assert SECRET not in line
    assert line.endswith(' b') or 'Authorization: ***' in line  # to the end


@pytest.mark.parametrize('text', [
    '://:' * 20_000, 'a@' * 40_000, '"' * 80_000, 'a_' * 40_000,
    'password:' * 10_000, "token='" * 10_000, '=' * 80_000, ' \t' * 40_000,
    '{"token": [' * 8_000, '%3F' * 20_000, '\\' * 80_000, 'bearer ' * 10_000,
])
def test_long_texts_are_masked_fast(text):
    began = time.process_time()
    redact.mask(text)
    assert time.process_time() - began < 2


@pytest.mark.parametrize('text', [
    'python -m gan_jax.main --config=configs/dcgan.py:mnist',
    '--config.data.path=/home/me@work/images', 'gs://bucket/a@b/c',
    'folder:/data/me@home', '--config.data.classes=key,token', 'tfds:mnist',
    'https://arxiv.org/abs/1511.06434?page=2', 'D(real) +3.85',
    '--config.penalties.r1.weight=10', 'ünïcode ∂/x?y=z',
    'd_optimizer.b1=0.5', 'tokenizer=bpe', '--tokenizer=a', 'compass=north',
    'author=me', 'low_pass=3', 'key=3', '--keys=1,2', 'sigma=1', 'bypass=1',
    '/data/me@home/a=b', '/home/me@work: no such', 'gs:bucket/a@b', 'a==b',
    'me@host.org', 'https://host/a@b/c?q=d@e', '/run/tokens: not there',
    'auth.json: is no object', '{"a": "b", "keep": [1, 2]}', 'passes=3',
    "--config.loss.name='hinge'", 'it: a = b, c=d; e', 'gan_jax.core.redact: x',
])
def test_text_without_secrets_is_unchanged(text):
    assert redact.mask(text) == text
    assert redact.mask_arguments(text.split()) == text.split()
    assert redact.escape(text) == text


NASTY = '\x1b[31m\x9b2J\x07\r\u202e\u2028\ud800\x7f\0'
WRITTEN = r'\x1b[31m\x9b2J\x07\r\u202e\u2028\ud800\x7f\x00'


def test_control_characters_are_escaped():
    assert redact.escape(f'ü{NASTY} 日本\n 2') == f'ü{WRITTEN} 日本\n 2'


def test_errors_and_messages_are_escaped(tmp_path, capsys):
    lock_file = {'host': f'\x1b[31m{SECRET}', 'pid': 1, 'time': '\x9b2J\n?'}
    (tmp_path / lock.NAME).write_text(json.dumps(lock_file))
    with pytest.raises(errors.LockedError) as caught:
        with lock.held(tmp_path):
            pass
    app._fail(caught.value, 2)
    app.say(f'Fakes of {NASTY}')
    run_folder._warn(f'warning: {NASTY}')
    reading._say(f'skipped {NASTY}')
    classifier_cache._say(f'warning: {NASTY}')
    writer.Writer(tmp_path, enabled=True, start=0, total=1).say(f'Data {NASTY}')
    output = capsys.readouterr()
    assert not {*'\x1b\x9b\x07\r\u202e\u2028'} & {*output.out, *output.err}
    assert r'process 1 of \x1b[31mhunter2 since \x9b2J ?;' in output.err
    assert output.out.splitlines() == [f'Fakes of {WRITTEN}', f'Data {WRITTEN}']
    assert output.err.count(WRITTEN) == 3


def test_flag_values_are_escaped():
    ((code, _, message),) = helpers.commands([
        ['gan_jax', 'check_data', 'tfds:\x1b[31mred', '--data.flip=\x9b']
    ])
    assert code == 2 and r'\x9b' in message and message[:-1].isprintable()


def test_no_config_key_looks_like_a_secret():
    flat = defaults.flatten(defaults.default_config())
    assert redact.mask_values(flat) == flat
    nested = {'a': {'db_password': SECRET, 'b': [URI, 1]}, 'token': ''}
    masked = redact.mask_values(nested)
    assert SECRET not in json.dumps(masked)
    assert masked['a']['b'][1] == 1 and masked['token'] == ''
    under = {'tokens': ['a', SECRET], 'pass': 12345, 'jwt': {'x': [SECRET]},
             'auth': True, 'apiKey': None, 'cookies': [], 'pwd': 0}
    assert redact.mask_values({'a': [under]}) == {'a': [{
        'tokens': '***', 'pass': '***', 'jwt': '***', 'auth': True,
        'apiKey': None, 'cookies': [], 'pwd': '***',
    }]}


def test_argument_after_a_secret_flag_is_masked():
    words = ['run', '--token', SECRET, '--x', 'y']
    assert redact.mask_arguments(words) == [
        'run', '--token', '***', '--x', 'y'
    ]


def files_with(folder, text):
    return [
        path for path in folder.rglob('*')
        if path.is_file() and text.encode() in path.read_bytes()
    ]


@pytest.mark.integration
def test_run_with_secrets_in_its_data_uri_writes_none_and_continues(
    tmp_path, capsys, monkeypatch
):
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
    output = capsys.readouterr()
    assert SECRET not in f'{caught.value}{output.out}{output.err}'
    assert 'https://***@host/others' in str(caught.value)


@pytest.mark.integration
def test_commands_show_no_secret(tmp_path):
    train = ['gan_jax.main', '--config', ROOT / 'configs' / 'dcgan.py']
    for command, flag, code in (
        (train, '--config.data.path', 4),
        (train, '--workdir', 2),
        (['gan_jax', 'doctor'], '--data_dir', 0),
    ):
        done = helpers.run(
            *command,
            f'{flag}=https://me:{SECRET}@host/x?token={SECRET}', cwd=tmp_path,
        )
        assert done.returncode == code, done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert not files_with(tmp_path, SECRET)


@pytest.mark.parametrize('workdir', [
    f's3://me:{SECRET}@bucket/run', f'gs://bucket/run?token={SECRET}',
])
def test_run_folder_whose_uri_holds_a_secret_is_refused(workdir):
    with pytest.raises(errors.ConfigError, match='holds a password or token'):
        run_folder.at(workdir)
    assert str(run_folder.at('token=a/run')) == 'token=a/run'


def test_environment_masks_its_command(monkeypatch):
    monkeypatch.setattr(sys, 'orig_argv', ['python', '--password', SECRET])
    assert environment.describe(0)['command'].endswith("--password '***'")
