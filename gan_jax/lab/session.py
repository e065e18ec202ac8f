"""One tab's games: states of several GANs, moved and looked at.

No thread and no network here; `server.py` calls this from its workers.
"""

import dataclasses
import itertools
import json
import math
import struct
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.config import builders
from gan_jax.lab import compiled_steps
from gan_jax.lab import drawing as drawing_lib
from gan_jax.lab import settings as settings_lib
from gan_jax.metrics import modes as modes_lib

SHOWN = 500  # generated points in a picture, of those that are counted
BINS = 80  # of the density of generated points on a line


class Player(NamedTuple):
    """One GAN of a tab.

    Attributes:
        key: str, of its program.
        program: `programs.Program`.
        hyperparams: as of `builders.hyperparams`, of now.
        weights: 'raw' or 'ema': which G is shown.
    """

    key: str
    program: compiled_steps.Program
    hyperparams: Any
    weights: str


class Stopped(Exception):
    """Nobody waits any more for what was to be done."""


class Session:
    """The games of one tab.

    Attributes:
        settings: `settings.Settings`.
        table: `drawing.Table` of the data.
    """

    def __init__(self, settings, stopped=lambda: False):
        """Compile what is not yet compiled, and begin at step 0.

        Args:
            settings: `settings.Settings`.
            stopped: function that tells whether nobody waits any more; it is
                asked between two GANs, and `Stopped` is raised where one does.
        """
        self._stopped = stopped
        self._players, self._states, self._metrics = [], [], []
        self._prepare(settings)
        self.reset()

    def reset(self):
        """Begin anew from the settings' seed."""
        key = jax.random.key(self.settings.seed)
        self._keys = tuple(jax.random.fold_in(key, use) for use in range(3))
        self._states = [
            player.program.init(self._keys[0], player.hyperparams)
            for player in self._players
        ]
        self._metrics = [{} for _ in self._players]

    def needs_compiling(self, settings):
        """Say whether `change` to these settings compiles for this tab."""
        have = {player.key for player in self._players}
        return any(
            compiled_steps.key_of(settings, gan) not in have
            for gan in settings.gans
        )

    def change(self, settings):
        """Go on with other settings; what fits of each state is kept.

        A new seed begins anew, and so does data of another dimension. Where
        fewer GANs come, those that are left play on.
        """
        before, states, metrics = self.settings, self._states, self._metrics
        kept = [player.key for player in self._players]
        self._prepare(settings)
        if (settings.seed != before.seed
                or settings.source.dimension != before.source.dimension):
            self.reset()
            return
        self.reset()
        for place, old in enumerate(left(before.gans, settings.gans)):
            fresh = self._states[place]
            same = self._players[place].key == kept[old]
            state = states[old] if same else carry(states[old], fresh)
            if state is not fresh:
                self._states[place], self._metrics[place] = state, metrics[old]

    def _prepare(self, settings):
        """Take programs and numbers of settings.

        A program that the tab has may be among the kept ones no more.
        """
        have = {player.key: player.program for player in self._players}
        self.settings = settings
        self.table = drawing_lib.table(settings.source, settings.drawing)
        self._players = []
        for gan in settings.gans:
            self._go_on()
            key = compiled_steps.key_of(settings, gan)
            config = settings_lib.config(settings, gan)
            self._players.append(Player(
                key, have.get(key) or compiled_steps.compiled(key),
                builders.hyperparams(config), gan.shown,
            ))

    def advance(self, num_steps):
        """Make steps of every GAN.

        Args:
            num_steps: >= 1.
        """
        keys = self._keys[1:]
        for place, player in enumerate(self._players):
            self._go_on()
            self._states[place], metrics = player.program.play(
                self._states[place], player.hyperparams, self.table, keys,
                np.int32(num_steps),
            )
            self._metrics[place] = metrics

    def _go_on(self):
        if self._stopped():
            raise Stopped

    @property
    def states(self):
        """Return the `algorithm.TrainState` of each GAN."""
        return tuple(self._states)

    @property
    def alive(self):
        """Say whether a GAN is left whose numbers are all finite."""
        return any(bool(state.alive) for state in self._states)

    def real(self):
        """Give what a picture shows of the data, as plain numbers."""
        settings, source = self.settings, self.settings.source
        modes = drawing_lib.modes(source)
        told = {
            'dimension': source.dimension, 'reach': source.reach,
            'modes': 0 if modes is None else len(modes[0]),
        }
        if source.dimension == 1:
            x = compiled_steps.line(source.reach)
            return told | {
                'density': _rounded(drawing_lib.density(self.table, x))
            }
        points = compiled_steps.real(settings.data)(self._keys[2], self.table)
        return told | {'points': _rounded(np.asarray(points).ravel())}

    def looks(self):
        """Look at each GAN.

        Returns:
            List of dicts: numbers, texts and NumPy arrays, for `pack`.
        """
        return [
            self._look(player, state, metrics)
            for player, state, metrics in zip(
                self._players, self._states, self._metrics
            )
        ]

    def _look(self, player, state, metrics):
        program, source = player.program, self.settings.source
        seen = {
            name: np.asarray(value) for name, value in program.look(
                *compiled_steps.shown(program.algorithm, state, player.weights)
            ).items()
        }
        told = {
            'step': int(state.step), 'alive': bool(state.alive),
            'tells': program.tells, 'metrics': {
                name: float(value) for name, value in metrics.items()
                if name != 'alive'
            },
        }
        modes = drawing_lib.modes(source)
        if modes is not None:
            means, std, dimension = modes
            found = modes_lib.recovered(
                seen['points'], means, std, dimension
            )
            told['modes'] = found['modes']
            told['high_quality'] = found['high_quality']
        surface = seen['surface']
        if program.tells == 'probability':
            surface = np.float32(1 / (1 + np.exp(-np.float64(surface))))
        show = self._plane if source.dimension == 2 else self._line
        return told | show(seen, surface, program.tells)

    def _plane(self, seen, surface, tells):
        """Give what is shown of a GAN in the plane."""
        reach = self.settings.source.reach
        low, high = (0.0, 1.0) if tells != 'score' else (
            float(surface.min()), float(surface.max())
        )
        return {
            'low': low, 'high': high,
            'surface': _bytes(surface, low, high),
            'points': _shorts(seen['points'][:SHOWN], reach),
            'manifold': _shorts(seen['manifold'], reach),
        }

    def _line(self, seen, surface, tells):
        """Give what is shown of a GAN on a line."""
        reach, x = self.settings.source.reach, compiled_steps.line(
            self.settings.source.reach
        )
        generated = generated_density(seen['strata'], reach)
        told = {
            'generated': np.float32(generated), 'curve': np.float32(surface),
            'arrows': np.float32(seen['arrows']),
            'distance': smirnov(self.table, seen['strata']),
        }
        if tells == 'score':
            return told
        data = drawing_lib.density(self.table, x)
        fake = np.interp(x, centres(reach), generated)
        best = data / np.maximum(data + fake, 1e-12)
        best[data + fake < 0.01] = np.nan  # neither is there
        below = drawing_lib.cumulative(self.table, x)
        inside = (below >= 0.05) & (below <= 0.95)
        gap = np.abs(surface - 0.5)[inside]
        return told | {
            'best': np.float32(best),
            'gap': float(gap.mean()) if gap.size else 0.0,
        }


def left(before, now):
    """Say which GANs go on where others come.

    Of fewer the order tells: those are left that have most in common with
    what comes.

    Args:
        before, now: tuples of `settings.Gan`.

    Returns:
        Places in `before`, rising, of the first GANs of `now`.
    """
    def in_common(places):
        return sum(
            getattr(before[place], field.name) == getattr(gan, field.name)
            for place, gan in zip(places, now)
            for field in dataclasses.fields(gan)
        )

    count = min(len(before), len(now))
    return max(
        itertools.combinations(range(len(before)), count), key=in_common
    )


def carry(old, fresh):
    """Give a fresh state what fits of an old one.

    Networks of the same sizes keep their weights, and their optimizers what
    they remember where it has the same form; so does what a loss or a penalty
    remembers.

    Args:
        old, fresh: `algorithm.TrainState` of two GANs.

    Returns:
        `algorithm.TrainState` of the form of `fresh`.
    """
    fits = all(
        _alike(old.players[name].params, player.params)
        for name, player in fresh.players.items()
    )
    if not fits or not old.alive:
        return fresh
    players = {
        name: _carry_player(old.players[name], player)
        for name, player in fresh.players.items()
    }
    memory = {
        name: old.memory[name] if _alike(
            old.memory.get(name), value
        ) else value
        for name, value in fresh.memory.items()
    }
    return fresh.replace(
        players=players, memory=memory, step=old.step,
        position=old.position, averages=old.averages,
    )


def _carry_player(old, fresh):
    return fresh.replace(params=old.params, **{
        name: getattr(old, name) for name in ('stats', 'opt_state')
        if _alike(getattr(old, name), getattr(fresh, name))
    })


def _alike(first, second):
    """Say whether two pytrees have one form."""
    forms = [
        jax.tree.map(lambda leaf: (jnp.shape(leaf), str(leaf.dtype)), tree)
        for tree in (first, second)
    ]
    return forms[0] == forms[1]


def centres(reach):
    """Give the middles of the bins of generated points on a line."""
    edges = np.linspace(-reach, reach, BINS + 1)
    return (edges[1:] + edges[:-1]) / 2


def generated_density(samples, reach):
    """Estimate the density of generated points by the share in each bin.

    Args:
        samples: [N].
        reach: half the width of the picture.

    Returns:
        float64 [BINS].
    """
    counts, edges = np.histogram(samples, BINS, (-reach, reach))
    return counts / (len(samples) * np.diff(edges))


def smirnov(table, samples):
    """Give the Kolmogorov-Smirnov distance of samples to the data on a line.

    sup_x |F_N(x) - F(x)|, F exact.

    Args:
        table: `drawing.Table` of dimension 1.
        samples: [N].

    Returns:
        float in [0, 1].
    """
    below = drawing_lib.cumulative(table, np.sort(samples))
    steps = np.arange(len(samples) + 1) / len(samples)
    return float(max(
        np.max(steps[1:] - below), np.max(below - steps[:-1])
    ))


def _bytes(values, low, high):
    """Bring values from [low, high] to 0 … 255; 128 is the middle."""
    shares = (values - low) / max(high - low, 1e-12)
    shares = np.nan_to_num(shares, nan=0.5)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _shorts(points, reach):
    """Bring coordinates from [-2 reach, 2 reach] to -32767 … 32767."""
    shares = np.nan_to_num(points.ravel() / (2 * reach), nan=1.0)
    return np.rint(np.clip(shares, -1, 1) * 32767).astype(np.int16)


def _rounded(values):
    return [round(float(value), 4) for value in values]


def pack(head, looks):
    """Write a picture as bytes: 4 of length, JSON, then the arrays' bytes.

    Each array of a look is told in the JSON as {'kind', 'first', 'count'}: its
    type, its first byte behind the JSON, its length. Little-endian; every
    array begins at a multiple of 4 behind the JSON, whose own length is such.

    Args:
        head: dict of numbers and texts.
        looks: as of `Session.looks`.

    Returns:
        bytes.
    """
    told, parts, size = [], [], 0
    for look in looks:
        plain = {}
        for name, value in look.items():
            if isinstance(value, np.ndarray):
                plain[name] = {
                    'kind': value.dtype.name, 'first': size,
                    'count': value.size,
                }
                data = value.tobytes()
                data += bytes(-len(data) % 4)
                parts.append(data)
                size += len(data)
            else:
                plain[name] = value
        told.append(plain)
    text = to_text({**head, 'gans': told}).encode()
    text += b' ' * (-len(text) % 4)
    return b''.join([struct.pack('<I', len(text)), text, *parts])


def to_text(value):
    """Write JSON that a browser reads: numbers that are not finite are null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
