"""The diagnosis of one run: its lines, its probes, and what they say."""

import math

import jax

from gan_jax import config as config_lib
from gan_jax import diagnose
from gan_jax import evaluating
from gan_jax import losses
from gan_jax import probes


class Diagnosis:
    """Findings of one run; silent where the config says so."""

    def __init__(self, config, gan, state, dataset, past):
        """Prepare, from the lines that the run has left before.

        Args:
            config: with the group diagnosis.
            gan: `game.GAN`.
            state: `game.GANState`.
            dataset: `sources.Dataset` that is trained on.
            past: records of metrics, each with its 'step'.
        """
        self._config, self._dataset = config, dataset
        self._on, self._probe = config.diagnosis.on, None
        limits = config.diagnosis.to_dict()
        self._diagnosis = diagnose.Diagnosis(
            game_of(config, gan, state), limits
        )
        for record in past:
            self.observe(record['step'], record)

    def probe(self, gan, state):
        """Give the numbers of `probes.Probe`; {} while nothing is judged.

        Args:
            gan: `game.GAN`.
            state: `game.GANState` of NumPy arrays.
        """
        patience = self._config.diagnosis.patience
        if not self._on or int(state.step) < patience:
            return {}
        if self._probe is None:
            config, dataset = self._config, self._dataset
            self._probe = probes.Probe(
                config, dataset,
                evaluating.held_out_of(config, config.data.split, dataset),
            )
        return self._probe.numbers(gan, state)

    def observe(self, step, record):
        """List the `diagnose.Finding`s that set in with a line."""
        if not self._on or not record:
            return []
        return self._diagnosis.observe(step, record)


def collapse(config, findings):
    """Give the words of a collapse that ends the run; '' where none does."""
    texts = [f.text for f in findings if diagnose.is_collapse(f)]
    return texts[0] if texts and config.on_collapse != 'warn' else ''


def game_of(config, gan, state):
    """Say what the rules have to know of a run, a `diagnose.Game`."""
    kind, saturates, balance = 'none', False, losses.Balance()
    if not gan.baseline:
        loss = losses.LOSSES[config.loss.name]
        kind, saturates = loss.kind, loss.saturates
        balance = losses.balance(config.loss.name, config.loss)
    treated = config_lib.treats_labels(config)
    equilibrium, unit = balance.equilibrium, balance.unit
    if unit is None:
        unit = equilibrium[0] if equilibrium else diagnose.Game().unit
    return diagnose.Game(
        kind=kind,
        equilibrium=None if treated else equilibrium,
        floor=_least(config) if treated and kind == 'probability' else 0.0,
        unit=unit, middle=balance.middle, reach=balance.reach,
        saturates=saturates,
        clipped=config.clip_weights > 0,
        bounded=not config_lib.has_points(config),
        g_size=size(state.generator), d_size=size(state.discriminator),
    )


def size(player):
    """Count the parameters of a `game.NetworkState`."""
    return sum(leaf.size for leaf in jax.tree.leaves(player.params))


def _least(config):
    """Give the least cross-entropy that treated labels allow D.

    The sum of the entropies of both sides' mean targets: no D knows which of
    them are flipped.
    """
    labels = config.labels
    real = (labels.real_low + labels.real_high) / 2
    fake = (labels.fake_low + labels.fake_high) / 2
    flip = labels.flip_probability
    return sum(
        -p * math.log(p) - (1 - p) * math.log(1 - p)
        for p in (real + flip * (fake - real), fake + flip * (real - fake))
        if 0 < p < 1
    )
