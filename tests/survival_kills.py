"""Runs killed by SIGKILL at random moments and continued to the same bits.

The moment is random: while the process starts or compiles, after a step, within
a save, near its end, or anywhere.
"""

import concurrent.futures
import itertools
import pathlib
import random
import re
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from PIL import Image

import helpers
import survival_tools as tools
from conftest import ROOT
from gan_jax.runtime import manifest

STEPS, SAVE_EVERY = 480, 24
SIDE, IMAGES = 8, 44
TIMEOUT = 600  # seconds of a process
ATTEMPTS = 5  # of a run, until a kill comes before its end

COMMON = {
    'num_steps': STEPS, 'checkpoint_every': SAVE_EVERY, 'log_every': 4,
    'sample_every': 120, 'batch_size': 8, 'latent_size': 3,
    'generator.width': 4, 'discriminator.width': 4, 'generator.depth': 2,
    'discriminator.depth': 2, 'data.image_size': f'{SIDE}',
}
# Features with a state from step to step, in sets that work together.
FEATURES = {
    'penalty': {
        'd_steps': 2, 'num_microbatches': 2, 'ema_half_life': 1000,
        'penalties.r1.weight': 0.1, 'penalties.r1.every': 4,
        'anneal.images': 2000, 'anneal.learning_rate': 0.25,
        'anneal.penalties': 0.1, 'anneal.b2': 0.9,
        'anneal.ema_half_life': 500, 'fresh_reals': True,
        'discriminator.norm': 'layer',
    },
    'memory': {
        'history.size': 16, 'augment.translation': True,
        'augment.adaptive': True, 'augment.adaptive_images': 2000,
        'snapshots.count': 3, 'snapshots.every': 10,
    },
    'norms': {
        'generator.norm': 'batch', 'discriminator.spectral_norm': True,
        'generator.spectral_norm': True, 'discriminator.norm': 'batch',
        'discriminator.dropout': 0.3, 'generator.dropout': 0.1, 'd_steps': 2,
    },
    'began': {
        'loss.name': 'boundary_equilibrium', 'loss.k_rate': 0.01,
        'discriminator.energy': 'mean_absolute', 'discriminator.code_size': 4,
        'discriminator.norm': 'none', 'ema_half_life': 1000,
        'snapshots.count': 2, 'snapshots.every': 7, 'history.size': 8,
    },
}
NETWORKS = ('mlp', 'dcgan')
FEEDS = ('resident', 'streaming')


class Game(NamedTuple):
    """A training setup.

    Attributes:
        features: one of `FEATURES`.
        network: one of `NETWORKS`, for both players.
        feed: one of `FEEDS`.
    """

    features: str
    network: str
    feed: str


GAMES = [Game(*parts) for parts in itertools.product(FEATURES, NETWORKS, FEEDS)]


def changes_of(game):
    """Return the changes of a game to the recipe, {key: value}."""
    return {
        **COMMON, **FEATURES[game.features], 'data.feed': game.feed,
        'generator.name': game.network, 'discriminator.name': game.network,
    }


class Whole(NamedTuple):
    """An uninterrupted run.

    Attributes:
        folder: of the run.
        seconds: duration of its process without compilation, because the runs
            to be killed find its programs in the cache.
        until_step: seconds from its start to its first logged step.
    """

    folder: pathlib.Path
    seconds: float
    until_step: float


class Process:
    """A process that trains a game, with its output in a file."""

    def __init__(self, game, folder, data):
        """Start the process in a run folder, or continue the run there."""
        changes = changes_of(game) | {'data.path': data}
        self.folder, self._log = folder, folder.with_suffix('.log')
        with self._log.open('wb') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'gan_jax.main',
                 f'--config={ROOT}/configs/dcgan.py', f'--workdir={folder}',
                 *(f'--config.{key}={value}'
                   for key, value in changes.items())],
                env=helpers.environment(), stdout=log, stderr=log,
            )

    @property
    def code(self):
        """Return the exit code, None while the process runs."""
        return self._process.poll()

    def said(self):
        """Return the output until now."""
        return self._log.read_text(errors='replace')

    def step(self):
        """Return the last logged step, 0 before the first."""
        steps = re.findall(r'^step (\d+) ', self.said(), re.MULTILINE)
        return int(steps[-1]) if steps else 0

    def compiled(self):
        """Return the seconds of compilation, 0 until it is done."""
        seconds = re.search(r'^Compiled in (\S+) s', self.said(), re.MULTILINE)
        return float(seconds[1]) if seconds else 0.0

    def until(self, condition, timeout=TIMEOUT):
        """Wait for a condition, the end of the process, or a timeout."""
        end = time.monotonic() + timeout
        while self.code is None and time.monotonic() < end:
            if condition():
                break
            time.sleep(0.003)

    def kill(self):
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        self._process.wait()

    def problem(self):
        """Wait for the end of the process; returns what went wrong, or ''."""
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            return f'did not end in {TIMEOUT} s'
        if self.code:
            return f'exit code {self.code}: {self.said()[-500:]}'
        return 'a traceback' if 'Traceback' in self.said() else ''


def checkpoints_of(folder):
    """Return (complete steps, {(name, inode) of incomplete folders})."""
    whole, torn = [], set()
    for path in sorted((folder / 'checkpoints').glob('*')):
        try:
            if path.name.isdigit() and (path / manifest.NAME).exists():
                whole.append(int(path.name))
            elif path.is_dir():
                torn.add((path.name, path.stat().st_ino))
        except FileNotFoundError:
            pass  # removed or renamed meanwhile
    return sorted(whole), torn


def while_starting(process, whole, draw):
    """Wait for less than the time to the first step."""
    wait = draw.uniform(0, whole.until_step)
    process.until(lambda: False, wait)


def after_a_step(process, whole, draw):
    """Wait until a random later step is logged."""
    saved = max(checkpoints_of(process.folder)[0], default=0)
    step, wait = draw.uniform(saved, STEPS), draw.uniform(0, 0.03)
    process.until(lambda: process.step() >= step)
    process.until(lambda: False, wait)


def within_a_save(process, whole, draw):
    """Wait until a random save has begun."""
    saved, before = checkpoints_of(process.folder)
    step = draw.uniform(max(saved, default=0), STEPS)
    wait = draw.uniform(0, 0.02)
    process.until(lambda: process.step() >= step)
    process.until(lambda: checkpoints_of(process.folder)[1] - before)
    process.until(lambda: False, wait)


def near_the_end(process, whole, draw):
    """Wait for the last step and part of the work after it."""
    wait = draw.uniform(0, 0.5)
    process.until(lambda: process.step() >= STEPS)
    process.until(lambda: False, wait)


def anywhere(process, whole, draw):
    """Wait a random part of the duration of the uninterrupted run."""
    process.until(lambda: False, draw.uniform(0, whole.seconds))


MOMENTS = (while_starting, after_a_step, within_a_save, near_the_end, anywhere)


def place_of(process, torn_before):
    """Return the phase in which a process was killed.

    Args:
        process: a `Process` that has ended.
        torn_before: as of `checkpoints_of`, before it started.
    """
    if process.code == 0:
        return 'too late'
    whole, torn = checkpoints_of(process.folder)
    if 'Compiling' not in process.said():
        return 'starting'
    if not process.step():
        return 'compiling'
    if torn - torn_before:
        return 'in a save'
    if process.step() == STEPS:
        return 'at the end'
    return 'between saves' if whole else 'before a save'


def train_killed(game, folder, data, whole, draw):
    """Train a game and kill it 1 to 3 times.

    Returns:
        (list of the phases of the kills, what went wrong or '').
    """
    places = []
    for _ in range(draw.randint(1, 3)):
        torn = checkpoints_of(folder)[1]
        process = Process(game, folder, data)
        draw.choice(MOMENTS)(process, whole, draw)
        process.kill()
        places.append(place_of(process, torn))
        if process.code >= 0:  # not killed
            return places, process.problem()
    saved = max(checkpoints_of(folder)[0], default=0)
    process = Process(game, folder, data)
    problem = process.problem()
    expected = {
        0: 'Compiling', STEPS: 'is complete',
    }.get(saved, f'Continuing from step {saved}\n')
    if not problem and expected not in process.said():
        problem = f'did not continue from step {saved}'
    return places, problem


def train_whole(game, folder, data):
    """Train a game without a kill."""
    began = time.monotonic()
    process = Process(game, folder, data)
    process.until(process.step)
    until_step = time.monotonic() - began
    problem = process.problem()
    if problem:
        raise RuntimeError(f'{game} without a kill: {problem}')
    seconds = time.monotonic() - began - process.compiled()
    return Whole(folder, seconds, until_step)


def make_data(folder):
    """Create a folder of PNG files of gray noise."""
    folder.mkdir()
    for number, image in enumerate(
        helpers.random_images(IMAGES, (SIDE, SIDE))
    ):
        Image.fromarray(image).save(folder / f'{number:02}.png')
    return folder


class Wholes:
    """Uninterrupted runs of the games, trained on first use."""

    def __init__(self, folder, data):
        self._folder, self._data = folder, data
        self._locks = {game: threading.Lock() for game in GAMES}
        self._made = {}

    def of(self, game):
        """Return the `Whole` of a game."""
        with self._locks[game]:
            if game not in self._made:
                self._made[game] = train_whole(
                    game, self._folder / f'whole-{"-".join(game)}', self._data
                )
            return self._made[game]


def kill_and_compare(number, seed, game, wholes, folder, data):
    """Train one run with kills; returns its `tools.Case`."""
    name = f'{number} {" ".join(game)}'
    draw = random.Random(f'{seed} {number}')
    places = []
    try:
        whole = wholes.of(game)
        for attempt in range(ATTEMPTS):
            place = folder / f'killed-{number}-{attempt}'
            more, problem = train_killed(game, place, data, whole, draw)
            places += more
            problem = problem or tools.difference(place, whole.folder)
            if problem or places != ['too late'] * len(places):
                break
    except RuntimeError as error:
        problem = str(error)
    if not problem and places == ['too late'] * len(places):
        problem = 'all kills came after its end'
    return tools.Case(
        name, problem, note=f'killed {", ".join(places)}', marks=tuple(places)
    )


def cases(options, folder, games=None):
    """Yield a `tools.Case` for each of `options.runs`, over all games."""
    games = games or random.Random(options.seed).sample(GAMES, len(GAMES))
    data = make_data(folder / 'images')
    wholes = Wholes(folder, data)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        yield from pool.map(
            lambda number: kill_and_compare(
                number, options.seed, games[number % len(games)], wholes,
                folder, data,
            ), range(options.runs),
        )
