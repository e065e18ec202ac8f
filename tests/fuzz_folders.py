"""Fuzz test of run folders: damages their files and runs each command.

    python -m tests.fuzz_folders --tries=200
    python -m tests.fuzz_folders --tries=20 --only=config.json,manifest.json

Each command that reads a damaged file is called in this process. It must
succeed, or end in one line and exit code 2, 4 or 5 (75 for the lock), within
20 s and 1 GiB; otherwise the exit code of this script is 1.
`package/test_fuzz_folders.py` runs a short form.
"""

import argparse
import collections
import contextlib
import copy
import ctypes
import functools
import gc
import io
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import NamedTuple

SECONDS = 20  # of CPU time
WAIT = 120  # seconds of wall clock, generous for a busy machine
MEMORY = 2**30  # bytes of a command, including those of its start
OF_A_COMMAND = 3 * 2**26  # bytes of its start; measured: 190 MiB
CODES = (2, 4, 5)
STEP = 4  # of the run
ALL = ('sample', 'evaluate', 'report', 'export', 'main')
# The commands that read each file of the folder.
READERS = {
    'config.json': ALL,
    'data.json': ALL,
    'checkpoints/4/manifest.json': ALL,
    'checkpoints/4/_CHECKPOINT_METADATA': ALL,
    'checkpoints/4/default/_METADATA': ALL,
    'checkpoints/4/default/manifest.ocdbt': ALL,
    'environment.json': ('report', 'export', 'main'),
    'metrics.jsonl': ('report', 'export', 'main'),
    'evaluation.json': ('report', 'export', 'evaluate'),
    'diagnosis.jsonl': ('report', 'main'),
    'samples/000004.png': ('report', 'main'),
    'samples/reals.png': ('report', 'main'),
    'neighbours.png': ('report', 'evaluate'),
    'report.html': ('report', 'main'),
    'rollbacks.json': ('main',),
    'restarts.json': ('main',),
    'lock.json': ('main',),
}
NASTY = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 10**400, 0.5, -0.0,
    float('inf'), float('-inf'), float('nan'), 1e308, '', 'x', 'x' * 10**5,
    '\ud800', '\0', '\n', '../../victim', '<script>', '²', '٦٤', [], {}, [[]],
    [None], {'': None}, {'a': {'b': 1}}, ['x'] * 1000, [1, 2, 3], 'folder:/',
]
EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n'


class Try(NamedTuple):
    """Result of one command on one damaged file.

    Attributes:
        file: name in the folder.
        damage: description of the damage.
        command: of `ALL`.
        code: exit code; None for an unexpected exception.
        problem: what went wrong, or ''.
        seconds: CPU time of all threads.
        memory: peak in bytes, where the system reports it.
    """

    file: str
    damage: str
    command: str
    code: int
    problem: str
    seconds: float
    memory: int


def small_config(folder):
    """Return a config on 80 small images, which are saved beside the folder."""
    import helpers
    from gan_jax.runtime import writer

    images = folder.parent / 'images'
    for number, image in enumerate(helpers.random_images(80)):
        writer.save_png(images / f'{number:02}.png', image)
    config = helpers.tiny_mlp()
    config.data.name, config.data.path = '', str(images)
    config.data.test_share = 0.3
    return config


def make_run(folder):
    """Create a run folder with all commands' files; returns its config."""
    from gan_jax.evaluation import runner
    from gan_jax.training import train

    config = small_config(folder)
    config.report = True
    config.keep_checkpoints, config.checkpoint_every = 1, 0
    config.num_steps, config.sample_every = STEP, STEP
    config.on_collapse, config.on_nan = 'restart', 'rollback'
    train.train(config, folder)
    (folder / 'neighbours.png').unlink(missing_ok=True)
    runner.evaluate_run(
        folder, None, _options(), print, functools.partial(_save, folder)
    )
    (folder / 'rollbacks.json').write_text(
        json.dumps([{'to_step': 2, 'reason': 'nan'}])
    )
    (folder / 'restarts.json').write_text(json.dumps([
        {'seed': config.seed, 'reason': 'collapse', 'before': 'before-1'}
    ]))
    (folder / 'lock.json').write_text('{}')
    (folder / 'diagnosis.jsonl').write_text(json.dumps({
        'step': 2, 'rule': 'r', 'level': 'note', 'text': 't', 'advice': '',
        'evidence': {},
    }) + '\n')
    missing = [name for name in READERS if not (folder / name).is_file()]
    assert not missing, f'the run left no {missing}'
    (folder / 'lock.json').unlink()
    return config


def _options():
    from gan_jax.evaluation import runner

    return runner.EvaluationOptions(
        metrics=('swd', 'memorization'), features='pixels', num_fake=8,
        num_real=8,
    )


def _save(folder, result):
    from gan_jax.evaluation import runner

    runner.save(runner.default_out(folder), [result])


def sample(folder, out, config):
    """Run what the command `sample` does."""
    from gan_jax.cli import app
    from gan_jax.runs import sampling
    from gan_jax.runtime import writer

    gan, state = sampling.load(folder)
    images = sampling.sample(gan, state, range(4))
    with app.written('--out', out):
        writer.save_png(out / 'grid.png', writer.picture(images))


def evaluate(folder, out, config):
    """Run what the command `evaluate` does."""
    from gan_jax.evaluation import runner

    runner.evaluate_run(
        folder, None, _options(), print, functools.partial(_save, folder)
    )


def report(folder, out, config):
    """Run what the command `report` does."""
    from gan_jax.cli import app
    from gan_jax import reporting

    page = reporting.report(folder)
    with app.written('--out', folder):
        reporting.save(reporting.default_out(folder), page)


def export(folder, out, config):
    """Run what the command `export` does."""
    from gan_jax.runs import sampling
    from gan_jax.tools import export as export_lib

    gan, state = sampling.load(folder)
    export_lib.write(out / 'export', folder, gan, state)


def main_(folder, out, config):
    """Run what the command `train` does for a complete or unfinished run."""
    from gan_jax.training import train

    train.train(config, folder)


COMMANDS = {
    'sample': sample, 'evaluate': evaluate, 'report': report,
    'export': export, 'main': main_,
}


# Damages: functions of (path, random) that return a description.


def cut(path, draw):
    """Truncate a file."""
    content = path.read_bytes()
    place = draw.randrange(len(content))
    path.write_bytes(content[:place])
    return f'cut at {place}'


def flip(path, draw):
    """Flip 1 to 8 bits."""
    content = bytearray(path.read_bytes())
    bits = [draw.randrange(8 * len(content)) for _ in range(draw.randint(1, 8))]
    for bit in bits:
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f'bits {bits}'


def overwrite(path, draw):
    """Insert random bytes."""
    content = path.read_bytes()
    place, size = draw.randrange(len(content)), draw.randint(1, 64)
    path.write_bytes(content[:place] + draw.randbytes(size) + content[place:])
    return f'{size} bytes at {place}'


def other_kind(path, draw):
    """Replace a file by another kind of file, or remove it."""
    path.unlink()
    kind = draw.choice(list(KINDS))
    KINDS[kind](path)
    return kind


KINDS = {
    'missing': lambda path: None,
    'empty': lambda path: path.write_bytes(b''),
    'folder': lambda path: path.mkdir(),
    'full folder': lambda path: (path / 'x').mkdir(parents=True),
    'FIFO': os.mkfifo,
    'link to itself': lambda path: path.symlink_to(path.name),
    'link to nothing': lambda path: path.symlink_to('nothing'),
    'link to its folder': lambda path: path.symlink_to('.'),
    'link to a victim': lambda path: path.symlink_to(
        _root(path) / 'victim'),
    'link to /dev/zero': lambda path: path.symlink_to('/dev/zero'),
    'sparse': lambda path: _sparse(path, 2**40),
    'zeros': lambda path: path.write_bytes(bytes(2**26)),
}


def _sparse(path, size):
    with path.open('wb') as file:
        file.truncate(size)


def _root(path):
    while path.name != 'run':
        path = path.parent
    return path.parent


def other_text(path, draw):
    """Replace the content by another text."""
    kind = draw.choice(list(TEXTS))
    path.write_bytes(TEXTS[kind]())
    return kind


TEXTS = {
    'nested lists': lambda: b'[' * 10**5 + b']' * 10**5,
    'nested objects': lambda: b'{"a":' * 10**5 + b'1' + b'}' * 10**5,
    'nested some': lambda: b'[' * 500 + b']' * 500,
    'open lists': lambda: b'[' * 10**6,
    'many lists': lambda: b'[' + b'[],' * (5 * 2**19) + b'[]]',
    'many numbers': lambda: b'[' + b'0,' * 2**22 + b'0]',
    'many lines': lambda: b'{"step":1}\n' * 2**20,
    'many steps': lambda: b'\n'.join(
        b'{"step":%d}' % n for n in range(2**19)),
    'digits': lambda: b'9' * 10**6,
    'list': lambda: b'[]', 'object': lambda: b'{}', 'null': lambda: b'null',
    'text': lambda: b'"x"', 'number': lambda: b'3', 'some': lambda: b'[3]',
    'UTF-16': lambda: '{"a": 1}'.encode('utf-16'), 'latin': lambda: b'"\xff"',
    'EPS': lambda: EPS, 'HTML': lambda: b'<html>', 'GIF': lambda: b'GIF89a\1\0',
    'PNG of many pixels': lambda: _bomb(60000, 60000),
    'PNG of some pixels': lambda: _bomb(5700, 5700),
    'flat PNG': lambda: _flat(5700),
}


def _bomb(height, width):
    import image_files

    return image_files.bomb(height, width)


@functools.cache
def _flat(side):
    import image_files

    return image_files.flat((1, 2, 3), (side, side))


def other_value(path, draw):
    """Change a value in a JSON file or in a line of JSON."""
    lines = path.read_text().splitlines() if path.suffix == '.jsonl' else (
        [path.read_text()]
    )
    place = draw.randrange(len(lines))
    content = json.loads(lines[place])
    where, value = _change(content, draw)
    lines[place] = _signed(path, content, draw)
    path.write_text('\n'.join(lines), errors='surrogatepass')
    return f'{where}={value!a:.60}'


def _change(content, draw):
    """Replace a random value by a nasty one; returns (path, value)."""
    outer, key, keys = None, None, []
    inner = content
    while isinstance(inner, (dict, list)) and inner and (
            outer is None or draw.random() < 0.8):
        outer = inner
        key = draw.choice(
            sorted(inner) if isinstance(inner, dict) else range(len(inner))
        )
        keys.append(str(key))
        inner = outer[key]
    value = copy.deepcopy(draw.choice(NASTY))
    if draw.random() < 0.1 and isinstance(outer, dict):
        del outer[key]
        return '.'.join(keys), 'removed'
    if draw.random() < 0.1 and isinstance(outer, dict):
        key = draw.choice(['', 'a.b', 'name', 'x' * 1000, '\ud800', 'items'])
    outer[key] = value
    return '.'.join(keys), value


def _signed(path, content, draw):
    """Return the text of JSON; a manifest mostly with its correct hash."""
    from gan_jax.runtime import manifest

    if path.name == manifest.NAME and isinstance(content, dict) and (
            draw.random() < 0.8):
        with contextlib.suppress(ValueError, TypeError):
            content['sha256'] = manifest._own_hash(content)
    return json.dumps(content)


def damage(path, draw):
    """Damage a file at random; returns a description."""
    kinds = [cut, flip, overwrite, other_kind, other_text]
    if path.suffix in ('.json', '.jsonl'):
        kinds += [other_value] * 5
    chosen = draw.choice(kinds)
    return f'{chosen.__name__}: {chosen(path, draw)}'


def read_by(command, folder, config, damaged, name):
    """Run a command on a damaged folder.

    Returns:
        `Try`.
    """
    from gan_jax.core import errors

    out = folder.parent / 'out'
    out.mkdir()
    code, problem = 0, ''
    before = _reset_peak()
    began = time.process_time()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(WAIT)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), (
                contextlib.redirect_stderr(output)):
            COMMANDS[command](folder, out, config)
    except errors.UserError as error:
        code, line = error.exit_code, ' '.join(str(error).split())
        if code not in CODES and not (name == 'lock.json' and code == 75):
            problem = f'exit code {code}: {line}'
        elif not line:
            problem = 'no message'
    except BaseException as error:  # a command would print a traceback
        code, problem = None, f'{type(error).__name__}: {str(error)[:300]}'
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.alarm(0)
    seconds = time.process_time() - began
    memory = OF_A_COMMAND + _memory('VmHWM') - before
    if not problem and seconds > SECONDS:
        problem = f'computed for {seconds:.1f} s'
    if not problem and memory > MEMORY:
        problem = f'{memory / 2**30:.2f} GiB'
    if not problem and sorted(os.listdir(folder.parent)) != BESIDE:
        problem = f'left {sorted(os.listdir(folder.parent))}'
    if (folder.parent / 'victim').read_text() != 'precious':
        problem = 'a file outside of the folder was written to'
    return Try(name, damaged, command, code, problem, seconds, memory)


BESIDE = ['out', 'run', 'victim']


def _too_long(*_):
    raise TimeoutError(f'over {WAIT} s')


def _reset_peak():
    """Free unused memory and reset the peak; returns the current bytes.

    This process holds more memory than a command would, and does not return it
    to the system by itself.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path('/proc/self/clear_refs').write_text('5')
    return _memory('VmRSS')


def _memory(name):
    """Return a memory field of this process in bytes, 0 if unknown."""
    try:
        text = pathlib.Path('/proc/self/status').read_text()
    except OSError:
        return 0
    return 1024 * int(text.partition(f'{name}:')[2].split()[0])


@contextlib.contextmanager
def same_networks():
    """Cache algorithms by config, so that they are compiled only once."""
    from gan_jax.config import builders

    cache, build = {}, builders.algorithm

    def algorithm(config, *rest):
        key = f'{config.to_json()} {rest}'
        if key not in cache:
            cache[key] = build(config, *rest)
        return cache[key]

    builders.algorithm = algorithm
    try:
        yield
    finally:
        builders.algorithm = build


def tries(folder, count, seed=0, only=(), make=make_run):
    """Yield a `Try` for each file, each of its readers and `count` damages.

    Args:
        folder: an empty folder.
        count: damages of a file for each command.
        seed: random seed.
        only: names of files or parts of them; () for all.
        make: as `make_run`.
    """
    whole = folder / 'whole'
    with contextlib.redirect_stdout(io.StringIO()):
        config = make(whole)
    longer = config.copy_and_resolve_references()
    longer.num_steps, longer.report = STEP + 2, False
    place = folder / 'place'
    with same_networks():
        for name, readers in READERS.items():
            if only and not any(part in name for part in only):
                continue
            for number in range(count):
                for command in readers:
                    place.mkdir()
                    (place / 'victim').write_text('precious')
                    shutil.copytree(whole, place / 'run')
                    (place / 'run' / 'lock.json').write_text(
                        '{"host": "elsewhere", "pid": 1}'
                    )
                    if name != 'lock.json':
                        (place / 'run' / 'lock.json').unlink()
                    draw = random.Random(f'{seed} {name} {number}')
                    damaged = damage(place / 'run' / name, draw)
                    yield read_by(
                        command, place / 'run',
                        longer if number % 10 == 3 else config, damaged, name,
                    )
                    shutil.rmtree(place)


def _print_last(results):
    """Print the exit codes for the last damaged file."""
    for name, counts in list(results.items())[-1:]:
        print(f'{name}: ' + ', '.join(
            f'{number} x {code}' for code, number in counts.items()
        ), flush=True)


def main(arguments):
    """Run the fuzz test of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog='python -m tests.fuzz_folders')
    parser.add_argument('--tries', type=int, default=200, help='per file')
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument('--only', default='', help='files, by commas')
    parsed = parser.parse_args(arguments)
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import survival_tools
    from gan_jax.runtime import environment

    survival_tools.hush()
    results = collections.defaultdict(collections.Counter)
    slowest, most = 0.0, 0
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
        os.environ['XDG_CACHE_HOME'] = f'{folder}/cache'
        environment.prepare()
        only = [part for part in parsed.only.split(',') if part]
        began = time.monotonic()
        for each in tries(
                pathlib.Path(folder), parsed.tries, parsed.seed, only):
            if each.file not in results:
                _print_last(results)
            results[each.file]['failed' if each.problem else each.code] += 1
            slowest, most = max(slowest, each.seconds), max(most, each.memory)
            if each.problem:
                print(f'FAILED {each.file} {each.command} ({each.damage}): '
                      f'{each.problem}', flush=True)
    total = sum(sum(counts.values()) for counts in results.values())
    failed = sum(counts['failed'] for counts in results.values())
    _print_last(results)
    print(f'{total} tries, {failed} failed; at most {slowest:.1f} s and '
          f'{most / 2**30:.2f} GiB; {time.monotonic() - began:.0f} s in all')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
