"""Training session of one browser tab: several GANs on the same data.

It trains them and packs what the page draws. It knows neither threads nor the
network; `server` calls it from its worker threads.
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

SHOWN = 500  # generated points in a picture, the first of NUM_POINTS
BINS = 80  # of the density of generated points in 1-D


class Player(NamedTuple):
    """One GAN of a tab.

    Attributes:
        key: str, key of its program.
        program: `compiled_steps.Program`.
        hyperparams: as from `builders.hyperparams`, by the current settings.
        weights: 'raw' or 'ema', the weights of G that are shown.
    """

    key: str
    program: compiled_steps.Program
    hyperparams: Any
    weights: str


class Stopped(Exception):
    """Signal that nobody waits for the result any more."""


class Session:
    """GANs of one tab, trained together.

    Attributes:
        settings: `settings.Settings`.
        table: `drawing.Table` of the data.
    """

    def __init__(self, settings, stopped=lambda: False):
        """Compile the programs if necessary, and start at step 0.

        Args:
            settings: `settings.Settings`.
            stopped: function that returns whether the work is still needed. It
                is called before each GAN; if it returns True, `Stopped` is
                raised.
        """
        self._stopped = stopped
        self._players, self._states, self._metrics = [], [], []
        self._prepare(settings)
        self.reset()

    def reset(self):
        """Start again at step 0 from the settings' seed."""
        key = jax.random.key(self.settings.seed)
        self._keys = tuple(jax.random.fold_in(key, use) for use in range(3))
        self._states = [
            player.program.init(self._keys[0], player.hyperparams)
            for player in self._players
        ]
        self._metrics = [{} for _ in self._players]

    def needs_compiling(self, settings):
        """Return whether `change` to these settings would compile."""
        keys = {player.key for player in self._players}
        return any(
            compiled_steps.key_of(settings, gan) not in keys
            for gan in settings.gans
        )

    def change(self, settings):
        """Continue with other settings, keeping what fits of each state.

        A new seed, or data of another dimension, starts again. If there are
        fewer GANs, the states of the remaining ones are kept.
        """
        before, states, metrics = self.settings, self._states, self._metrics
        keys = [player.key for player in self._players]
        self._prepare(settings)
        if (settings.seed != before.seed
                or settings.source.dimension != before.source.dimension):
            self.reset()
            return
        self.reset()
        for index, old in enumerate(match(before.gans, settings.gans)):
            fresh = self._states[index]
            same = self._players[index].key == keys[old]
            state = states[old] if same else carry_over(states[old], fresh)
            if state is not fresh:
                self._states[index], self._metrics[index] = state, metrics[old]

    def _prepare(self, settings):
        """Set up programs and hyper-parameters of settings.

        Programs of the tab are reused, as the cache may have dropped them.
        """
        programs = {player.key: player.program for player in self._players}
        self.settings = settings
        self.table = drawing_lib.table(settings.source, settings.drawing)
        self._players = []
        for gan in settings.gans:
            self._check_stopped()
            key = compiled_steps.key_of(settings, gan)
            config = settings_lib.config(settings, gan)
            self._players.append(Player(
                key, programs.get(key) or compiled_steps.compiled(key),
                builders.hyperparams(config), gan.shown,
            ))

    def advance(self, num_steps):
        """Train every GAN.

        Args:
            num_steps: training steps, >= 1.
        """
        keys = self._keys[1:]
        for index, player in enumerate(self._players):
            self._check_stopped()
            self._states[index], metrics = player.program.train(
                self._states[index], player.hyperparams, self.table, keys,
                np.int32(num_steps),
            )
            self._metrics[index] = metrics

    def _check_stopped(self):
        if self._stopped():
            raise Stopped

    @property
    def states(self):
        """Return the `algorithm.TrainState` of each GAN."""
        return tuple(self._states)

    @property
    def alive(self):
        """Return whether at least one GAN has only finite numbers."""
        return any(bool(state.alive) for state in self._states)

    def real(self):
        """Return what a picture shows of the data, JSON-compatible."""
        settings, source = self.settings, self.settings.source
        modes = drawing_lib.modes(source)
        real = {
            'dimension': source.dimension, 'reach': source.reach,
            'modes': 0 if modes is None else len(modes[0]),
        }
        if source.dimension == 1:
            x = compiled_steps.line(source.reach)
            return real | {
                'density': _rounded(drawing_lib.density(self.table, x))
            }
        sampler = compiled_steps.real_sampler(settings.data)
        points = sampler(self._keys[2], self.table)
        return real | {'points': _rounded(np.asarray(points).ravel())}

    def views(self):
        """Return what a picture shows of each GAN.

        Returns:
            List of dicts of numbers, texts and NumPy arrays, for `pack`.
        """
        return [
            self._view(player, state, metrics)
            for player, state, metrics in zip(
                self._players, self._states, self._metrics
            )
        ]

    def _view(self, player, state, metrics):
        program, source = player.program, self.settings.source
        arrays = {
            name: np.asarray(value) for name, value in program.view(
                *compiled_steps.view_arguments(
                    program.algorithm, state, player.weights
                )
            ).items()
        }
        view = {
            'step': int(state.step), 'alive': bool(state.alive),
            'tells': program.output_kind, 'metrics': {
                name: float(value) for name, value in metrics.items()
                if name != 'alive'
            },
        }
        modes = drawing_lib.modes(source)
        if modes is not None:
            means, std, dimension = modes
            recovered = modes_lib.recovered(
                arrays['points'], means, std, dimension
            )
            view['modes'] = recovered['modes']
            view['high_quality'] = recovered['high_quality']
        surface = arrays['surface']
        if program.output_kind == 'probability':
            surface = np.float32(1 / (1 + np.exp(-np.float64(surface))))
        drawn = self._view_2d if source.dimension == 2 else self._view_1d
        return view | drawn(arrays, surface, program.output_kind)

    def _view_2d(self, arrays, surface, output_kind):
        """Return what a picture in 2-D shows of a GAN."""
        reach = self.settings.source.reach
        low, high = (0.0, 1.0) if output_kind != 'score' else (
            float(surface.min()), float(surface.max())
        )
        return {
            'low': low, 'high': high,
            'surface': _bytes(surface, low, high),
            'points': _shorts(arrays['points'][:SHOWN], reach),
            'manifold': _shorts(arrays['manifold'], reach),
        }

    def _view_1d(self, arrays, surface, output_kind):
        """Return what a picture in 1-D shows of a GAN."""
        reach, x = self.settings.source.reach, compiled_steps.line(
            self.settings.source.reach
        )
        generated = generated_density(arrays['strata'], reach)
        view = {
            'generated': np.float32(generated), 'curve': np.float32(surface),
            'arrows': np.float32(arrays['arrows']),
            'distance': kolmogorov_smirnov(self.table, arrays['strata']),
        }
        if output_kind == 'score':
            return view
        data = drawing_lib.density(self.table, x)
        fake = np.interp(x, centres(reach), generated)
        best = data / np.maximum(data + fake, 1e-12)
        best[data + fake < 0.01] = np.nan  # both densities are near 0
        share = drawing_lib.cumulative(self.table, x)
        inside = (share >= 0.05) & (share <= 0.95)
        gap = np.abs(surface - 0.5)[inside]
        return view | {
            'best': np.float32(best),
            'gap': float(gap.mean()) if gap.size else 0.0,
        }


def match(before, now):
    """Choose which earlier GANs the states of new ones continue from.

    If there are fewer GANs than before, the choice is the one, in the same
    order, whose settings agree in most fields.

    Args:
        before, now: tuples of `settings.Gan`.

    Returns:
        Rising indices into `before`, for the first GANs of `now`.
    """
    def equal_fields(indices):
        return sum(
            getattr(before[index], field.name) == getattr(gan, field.name)
            for index, gan in zip(indices, now)
            for field in dataclasses.fields(gan)
        )

    count = min(len(before), len(now))
    return max(
        itertools.combinations(range(len(before)), count), key=equal_fields
    )


def carry_over(old, fresh):
    """Copy what fits of an old state into a fresh one.

    Networks of equal sizes keep their weights. Statistics, optimizer states and
    memories of losses and penalties are kept if they have the same structure.

    Args:
        old, fresh: `algorithm.TrainState` of two GANs.

    Returns:
        `algorithm.TrainState` with the structure of `fresh`.
    """
    fits = all(
        _same_structure(old.players[name].params, player.params)
        for name, player in fresh.players.items()
    )
    if not fits or not old.alive:
        return fresh
    players = {
        name: _carry_over_player(old.players[name], player)
        for name, player in fresh.players.items()
    }
    memory = {
        name: old.memory[name] if _same_structure(
            old.memory.get(name), value
        ) else value
        for name, value in fresh.memory.items()
    }
    return fresh.replace(
        players=players, memory=memory, step=old.step,
        position=old.position, averages=old.averages,
    )


def _carry_over_player(old, fresh):
    return fresh.replace(params=old.params, **{
        name: getattr(old, name) for name in ('stats', 'opt_state')
        if _same_structure(getattr(old, name), getattr(fresh, name))
    })


def _same_structure(first, second):
    """Return whether two pytrees have equal structure, shapes and dtypes."""
    structures = [
        jax.tree.map(lambda leaf: (jnp.shape(leaf), str(leaf.dtype)), tree)
        for tree in (first, second)
    ]
    return structures[0] == structures[1]


def centres(reach):
    """Return the centres of the bins of the generated density in 1-D."""
    edges = np.linspace(-reach, reach, BINS + 1)
    return (edges[1:] + edges[:-1]) / 2


def generated_density(samples, reach):
    """Estimate the density of generated points by a histogram.

    Args:
        samples: [N].
        reach: half the width of the picture.

    Returns:
        float64 [BINS].
    """
    counts, edges = np.histogram(samples, BINS, (-reach, reach))
    return counts / (len(samples) * np.diff(edges))


def kolmogorov_smirnov(table, samples):
    """Compute the Kolmogorov-Smirnov distance of samples to 1-D data.

    sup_x |F_N(x) - F(x)|, with the exact F.

    Args:
        table: `drawing.Table` of dimension 1.
        samples: [N].

    Returns:
        float in [0, 1].
    """
    expected = drawing_lib.cumulative(table, np.sort(samples))
    steps = np.arange(len(samples) + 1) / len(samples)
    return float(max(
        np.max(steps[1:] - expected), np.max(expected - steps[:-1])
    ))


def _bytes(values, low, high):
    """Scale values from [low, high] to uint8."""
    shares = (values - low) / max(high - low, 1e-12)
    shares = np.nan_to_num(shares, nan=0.5)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _shorts(points, reach):
    """Scale coordinates from [-2 reach, 2 reach] to [-32767, 32767]."""
    shares = np.nan_to_num(points.ravel() / (2 * reach), nan=1.0)
    return np.rint(np.clip(shares, -1, 1) * 32767).astype(np.int16)


def _rounded(values):
    return [round(float(value), 4) for value in values]


def pack(head, views):
    """Pack a picture as bytes: 4 of length, JSON, then the arrays.

    The JSON has {'kind', 'first', 'count'} for an array: its dtype, its offset
    after the JSON, its number of elements. All is little-endian. Offsets and
    the length of the JSON are multiples of 4.

    Args:
        head: dict of numbers and texts.
        views: as from `Session.views`.

    Returns:
        bytes.
    """
    gans, parts, size = [], [], 0
    for view in views:
        plain = {}
        for name, value in view.items():
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
        gans.append(plain)
    text = to_text({**head, 'gans': gans}).encode()
    text += b' ' * (-len(text) % 4)
    return b''.join([struct.pack('<I', len(text)), text, *parts])


def to_text(value):
    """Format as JSON; numbers that are not finite become null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
