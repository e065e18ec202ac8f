"""Saved on four devices, gone on with on one, two and eight: the same run."""

import concurrent.futures
import itertools
import shutil
import subprocess
import sys

import numpy as np

import devices_worker as worker
import helpers
import order_worker
import survival_tools as tools
from conftest import ROOT
from gan_jax.data import order
from gan_jax.runs import sampling

SAVED_ON, DEVICES = 4, (1, 2, 8)
GAMES = list(itertools.product(('mlp', 'dcgan'), ('resident', 'streaming')))
TOLERANCE = 1e-5


def train(folder, game, devices):
    """Train a game in a process of its own; returns what was dealt there."""
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
    """Copy a run as it was when its first half was saved."""
    shutil.copytree(folder, other)
    shutil.rmtree(other / 'checkpoints' / str(worker.STEPS))
    return other


def difference(folder, found, whole, first, devices):
    """Describe how a run that went on differs from the one that did not stop.

    Args:
        folder: of the run that went on.
        found: what `train` gave of it.
        whole: folder of the other.
        first: [batches, B] dealt before the save.
        devices: on how many it should have gone on.
    """
    batches = worker.STEPS * worker.D_STEPS
    if (found['devices'], found['position']) != (devices, batches):
        return (f'on {found["devices"]} devices, at position '
                f'{found["position"]}')
    expected = order.indices(0, 0, batches, worker.BATCH, order_worker.SIZE)
    dealt = np.concatenate([first, found['dealt']])
    if not np.array_equal(dealt, expected):
        return 'other images were dealt, or in another order'
    apart = np.abs(samples(folder) - samples(whole)).max()
    return '' if apart <= TOLERANCE else f'samples are {apart:.1e} apart'


def check(game, folder, devices=DEVICES):
    """Save a game on four devices and go on; returns a list of `tools.Case`."""
    name, whole, found = ' '.join(game), folder / '-'.join(game), []
    try:
        dealt = train(whole, game, SAVED_ON)
        assert dealt['devices'] == SAVED_ON
        first = dealt['dealt'][:worker.SAVED * worker.D_STEPS]
        moved = np.abs(samples(whole) - samples(whole, worker.SAVED)).max()
        still = '' if moved > 100 * TOLERANCE else 'the steps moved nothing'
    except RuntimeError as error:
        return [tools.Case(name, str(error))]
    for count in devices:
        place = shortened(whole, folder / f'{whole.name}-{count}')
        try:
            problem = still or difference(
                place, train(place, game, count), whole, first, count
            )
        except RuntimeError as error:
            problem = str(error)
        found.append(tools.Case(f'{name}, {SAVED_ON} to {count}', problem))
    return found


def cases(options, folder):
    """Yield a `tools.Case` for each game and number of devices."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda game: check(game, folder), GAMES):
            yield from found
