"""Commands write only to the run folder, --out and the user's cache."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import helpers
import image_files
import official_stylegan2
import torch_files
from conftest import ROOT
from gan_jax.config import unused_keys
from gan_jax.runtime import writer

QUIET = ['--config.batch_size=8', '--config.log_every=2']
TINY = [
    '--config.generator.name=mlp', '--config.discriminator.name=mlp',
    '--config.generator.width=4', '--config.discriminator.width=4',
    '--config.discriminator.norm=none', '--config.num_steps=4', *QUIET,
]
DCGAN = f'--config={ROOT}/configs/dcgan.py'
# What each command is given; {run} is a run folder, {out} where --out lies.
COMMANDS = {
    'arithmetic': ['--workdir={run}', '--sum=3+5-7', '--out={out}/a.png'],
    'check_data': ['{images}', '--out={out}/check.png'],
    'check_setup': [DCGAN, *TINY[:5], '--steps=2', '--out={out}/setup.png'],
    'convert_stylegan2': ['{pickle}', '--workdir={out}/converted'],
    'doctor': [],
    'encode': ['--workdir={encoder}', '--out={out}/codes.npz'],
    'evaluate': ['--workdir={run}', '--metrics=swd', '--features=pixels',
                 '--num_fake=8', '--num_real=8'],
    'evaluate of answers': ['--human={csv}', '--out={out}/human.json'],
    'export': ['--workdir={run}', '--out={out}/exported'],
    'interpolate': ['--workdir={run}', '--seeds=1,2', '--out={out}/i.gif'],
    'lab': ['--record={out}/lab.html', '--steps=2', '--pictures=2'],
    'recipes': [],
    'train': [DCGAN, *TINY, '--workdir={out}/main',
              '--config.data.path={images}'],
    'mix': ['--workdir={styled}', '--out={out}/m.png'],
    'pack': ['{images}', '--out={out}/packed'],
    'make_pairs': ['digits', '--task=edges', '--data.limit=40',
                   '--out={out}/pairs'],
    'prepare': ['mnist', '--manual_dir={idx}', '--data_dir={out}/tfds'],
    'quiz': ['--workdir={run}', '--pairs=2', '--out={out}/quiz.html'],
    'reconstruct': ['--workdir={run}', '--images=0-1', '--steps=2',
                    '--out={out}/r.png'],
    'release': ['--workdir={run}', '--out={out}/released', '--training'],
    'report': ['--workdir={run}'],
    'report of two': ['--workdir={run}', '--workdir={run}',
                      '--out={out}/both.html'],
    'sample': ['--workdir={run}', '--seeds=0-3', '--out={out}/s.npz'],
    'sweep': [f'--config={ROOT}/configs/mixtures.py', *TINY[:5],
              *QUIET, '--config.num_steps=2', '--config.population=2',
              '--workdir={out}/sweep'],
    'translate': ['--workdir={translation}', '--input={images}',
                  '--out={out}/translated'],
    'walk': ['--workdir={run}', '--coordinates=0', '--out={out}/w.png'],
}
# Calls that write, by the folder that is written to; others are left to fail.
CALLS = (
    'open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,'
    'rmdir,link,linkat,symlink,symlinkat,truncate,chmod,fchmodat,mknod,mknodat,'
    'chown,fchownat,utimensat'
)
DEVICES = ('/dev/null', '/dev/tty', '/dev/shm/', '/proc/self/', '/sys/')


@pytest.fixture(scope='module')
def places(tmp_path_factory):
    """Create folders of images, a run, idx files and outputs, and a CSV."""
    root = tmp_path_factory.mktemp('writes')
    places = {name: root / name for name in ('run', 'images', 'idx', 'out')}
    for number, image in enumerate(helpers.random_images(24)):
        writer.save_png(places['images'] / f'{number:02}.png', image)
    places['out'].mkdir()
    for split in ('train', 'test'):
        image_files.write_idx(
            places['idx'], split, helpers.random_images(4, (28, 28)),
            np.arange(4, dtype=np.uint8),
        )
    places['csv'] = root / 'a.csv'
    places['csv'].write_text(
        'quiz,run,step,weights,pair,real,answer,confidence\n'
        'a,r,1,ema,1,left,left,1\n'
    )
    places['pickle'] = root / 'network.pkl'
    places['pickle'].write_bytes(torch_files.dumps(
        official_stylegan2.snapshot(probability=None)
    ))
    config = helpers.tiny_mlp()
    config.data.path, config.data.name = str(places['images']), ''
    helpers.untrained(config, places['run'])
    config.algorithm, places['encoder'] = 'autoencoder', root / 'encoder'
    unused_keys.leave_out(config)
    helpers.untrained(config, places['encoder'])
    places['translation'] = root / 'translation'
    helpers.untrained(helpers.tiny_translation(), places['translation'], {
        name: helpers.random_images() for name in 'ab'
    })
    places['styled'] = root / 'styled'
    helpers.untrained(
        helpers.tiny_stylegan2(), places['styled'], helpers.random_images(),
        np.arange(32) % 3,
    )
    writer.write_json(places['run'] / 'environment.json', [])
    (places['run'] / writer.METRICS).write_text('{"step": 2, "d/loss": 1}\n')
    return places


def written(log, cwd):
    """Yield the paths that the system calls of a trace wrote."""
    for line in log.read_text(errors='replace').splitlines():
        name = re.search(r'(\w+)\(', line)
        if not name or re.search(r'= -1 E|<unfinished|resumed>', line):
            continue
        if name[1] in ('open', 'openat') and not re.search(
                'O_WRONLY|O_RDWR|O_CREAT|O_TRUNC', line):
            continue
        # As of -y: 3</folder>, "name"; of two names both count.
        folder = re.search(r'\((?:AT_FDCWD|\d+)<([^>]*)>', line)
        for path in re.findall(r'"((?:[^"\\]|\\.)*)"', line):
            yield os.path.normpath(
                pathlib.Path(folder[1] if folder else cwd) / path
            )


@pytest.mark.slow
@pytest.mark.parametrize('command', COMMANDS)
def test_commands_write_only_where_they_may(command, places, tmp_path):
    if shutil.which('strace') is None:
        pytest.skip('strace is not installed')
    cwd, home, temporary = (tmp_path / n for n in ('cwd', 'home', 'tmp'))
    for folder in (cwd, home, temporary):
        folder.mkdir()
    log = tmp_path / 'log'
    arguments = [each.format(**places) for each in COMMANDS[command]]
    done = subprocess.run(
        ['strace', '-f', '-y', '-qq', '-s', '4096', '-e', f'trace={CALLS}',
         '-o', str(log), sys.executable, '-B', '-m', 'gan_jax',
         command.partition(' ')[0], *arguments],
        env={**helpers.environment(), 'HOME': str(home),
             'PYTHONPATH': str(ROOT), 'TMPDIR': str(temporary)},
        cwd=cwd, capture_output=True, text=True, timeout=600,
    )
    code = 7 if command == 'check_setup' else 0
    assert done.returncode == code, done.stderr
    paths = set(written(log, cwd))
    assert paths
    # Matplotlib makes its own folder; TFDS prepares in a temporary one.
    allowed = [places['run'], places['out'], home / '.cache',
               home / '.config/matplotlib']
    allowed += [temporary] * (command == 'prepare')
    outside = sorted(
        path for path in paths - {str(home / '.config')}
        if not path.startswith(DEVICES)
        and not any(pathlib.Path(path).is_relative_to(a) for a in allowed)
    )
    assert outside == []
    assert list(cwd.iterdir()) == []
