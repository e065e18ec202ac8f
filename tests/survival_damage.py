"""Damaged checkpoints: a run falls back to the previous one, with a warning."""

import os
import random
import shutil

import jax

import helpers
import survival_tools as tools
from gan_jax.runtime import checkpoint
from gan_jax.training import train

CASES = 60
SAVED = (2, 4, 6)  # steps


def flip(path, draw):
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path, draw):
    """Truncate a file."""
    content = path.read_bytes()
    path.write_bytes(content[:draw.randrange(len(content))])


def make_folder(path, draw):
    """Replace a file by a folder."""
    path.unlink()
    path.mkdir()


def make_loop(path, draw):
    """Replace a file by a link to itself, which no user can read."""
    path.unlink()
    os.symlink(path.name, path)


DAMAGES = {
    'flip': flip, 'cut': cut,
    'delete': lambda path, draw: path.unlink(),
    'empty': lambda path, draw: path.write_bytes(b''),
}
UNREADABLE = {'folder': make_folder, 'loop': make_loop}
OF_EMPTY = ('delete', *UNREADABLE)  # damages that change an empty file


def files_of(folder):
    """List the files below a folder."""
    return sorted(path for path in folder.rglob('*') if path.is_file())


def make_run(folder):
    """Train a run with a large state; returns its config."""
    config = helpers.tiny_mlp()
    config.num_steps, config.snapshots.count = SAVED[-1], 2
    config.history.size = 16
    with tools.quiet():
        train.train(config, folder, images=helpers.random_images())
    return config


def restore(folder, abstract, **options):
    """Restore the newest intact state; returns (state, printed lines)."""
    lines = []
    checkpoints = checkpoint.Checkpoints(
        folder / 'checkpoints', say=lines.append, **options
    )
    try:
        return checkpoints.restore_newest(abstract), lines
    finally:
        checkpoints.close()


def damage(folder, draw):
    """Damage one file of the newest checkpoint; returns a description."""
    newest = folder / 'checkpoints' / str(SAVED[-1])
    path = draw.choice(files_of(newest))
    kinds = DAMAGES | UNREADABLE
    choices = sorted(kinds) if path.stat().st_size else OF_EMPTY
    kind = draw.choice(choices)
    kinds[kind](path, draw)
    return f'{kind} {path.relative_to(newest)}'


def failure(folder, expected, abstract, **options):
    """Describe what is wrong with the restore of a damaged folder, or ''."""
    state, lines = restore(folder, abstract, **options)
    if len(lines) != 1 or not lines[0].startswith('warning: '):
        return f'{len(lines)} lines and not one warning: {lines}'
    return tools.states_difference(state, expected)


def cases(options, folder, count=CASES):
    """Yield a `tools.Case` for each damage; half of them read-only."""
    whole, draw = folder / 'whole', random.Random(options.seed)
    config = make_run(whole)
    abstract = helpers.abstract_state(config, (8, 8, 1))
    state, lines = restore(whole, abstract, read_only=True)
    assert int(state.step) == SAVED[-1] and not lines, lines
    with tools.quiet():
        expected = train.train(
            _until(config, SAVED[-2]), folder / 'shorter',
            images=helpers.random_images(),
        ).state
    for number in range(count):
        place = folder / str(number)
        shutil.copytree(whole, place)
        description, reads = damage(place, draw), number % 2 == 1
        problem = failure(place, expected, abstract, read_only=reads)
        yield tools.Case(
            f'{description}{", read-only" if reads else ""}', problem,
            marks=(description.partition(' ')[0],),
        )
        shutil.rmtree(place)
    jax.clear_caches()


def _until(config, step):
    config = config.copy_and_resolve_references()
    config.num_steps = step
    return config
