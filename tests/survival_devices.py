"""Runs saved on four devices and continued on one, two and eight."""

import concurrent.futures
import itertools
import shutil
import subprocess
import sys

import jax
import numpy as np

import devices_worker as worker
import helpers
import order_worker
import survival_tools as tools
from conftest import ROOT
from gan_jax.data import order
from gan_jax.runs import sampling

SAVED_ON, DEVICES = 4, (1, 2, 8)
GAMES = [
    *itertools.product(('mlp', 'dcgan'), ('resident', 'streaming')),
    ('r3gan', 'resident'), ('stylegan2', 'resident'),
]
TOLERANCE = 1e-5  # of samples
STATE_TOLERANCE = 1e-4  # of weights of order 1, and of memory


def train(folder, game, devices):
    """Train a game in a separate process; returns its saved arrays."""
    done = subprocess.run(
        [sys.executable, ROOT / 'tests' / 'devices_worker.py', folder, *game],
        env=helpers.environment(devices), capture_output=True, text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f'on {devices} devices: {done.stderr[-500:]}')
    with np.load(folder / 'dealt.npz') as saved:
        return dict(saved)


def samples(folder, step=None):
    """Sample a run on this machine's own device."""
    return np.asarray(sampling.sample(*sampling.load(folder, step), range(16)))


def shortened(folder, other):
    """Copy a run as it was after the first checkpoint."""
    shutil.copytree(folder, other)
    shutil.rmtree(other / 'checkpoints' / str(worker.STEPS))
    return other


def difference(folder, arrays, whole, first, devices):
    """Describe how a continued run differs from an uninterrupted one, or ''.

    Args:
        folder: of the continued run.
        arrays: of `train` of the continued run.
        whole: folder of the uninterrupted run.
        first: [batches, B] indices of images before the checkpoint.
        devices: on which the run should have continued.
    """
    batches = worker.STEPS * worker.D_STEPS
    if (arrays['devices'], arrays['position']) != (devices, batches):
        return (f'on {arrays["devices"]} devices, at position '
                f'{arrays["position"]}')
    expected = order.indices(0, 0, batches, worker.BATCH, order_worker.SIZE)
    dealt = np.concatenate([first, arrays['dealt']])
    if not np.array_equal(dealt, expected):
        return 'other images, or another order'
    error = np.abs(samples(folder) - samples(whole)).max()
    if not error <= TOLERANCE:
        return f'samples differ by {error:.1e}'
    states = [sampling.load(each)[1] for each in (folder, whole)]
    errors = jax.tree.map(lambda a, b: np.abs(a - b).max(), *(
        [(player.params, player.stats) for player in state.players.values()]
        + [state.averages, state.memory] for state in states
    ))
    error = max(jax.tree.leaves(errors))
    return '' if error <= STATE_TOLERANCE else f'states differ by {error:.1e}'


def check(game, folder, devices=DEVICES):
    """Continue a game of four devices on others; returns `tools.Case`s."""
    name, whole, results = ' '.join(game), folder / '-'.join(game), []
    try:
        dealt = train(whole, game, SAVED_ON)
        assert dealt['devices'] == SAVED_ON
        first = dealt['dealt'][:worker.SAVED * worker.D_STEPS]
        change = np.abs(samples(whole) - samples(whole, worker.SAVED)).max()
        static = '' if change > 100 * TOLERANCE else 'training changed nothing'
    except RuntimeError as error:
        return [tools.Case(name, str(error))]
    for count in devices:
        place = shortened(whole, folder / f'{whole.name}-{count}')
        try:
            problem = static or difference(
                place, train(place, game, count), whole, first, count
            )
        except RuntimeError as error:
            problem = str(error)
        results.append(tools.Case(f'{name}, {SAVED_ON} to {count}', problem))
    return results


def cases(options, folder):
    """Yield a `tools.Case` for each game and number of devices."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for results in pool.map(lambda game: check(game, folder), GAMES):
            yield from results
