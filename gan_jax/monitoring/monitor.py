"""The diagnosis of one run: its lines, its probes, and what they say."""

import math

from gan_jax.config import defaults
from gan_jax.diagnosis import game as game_lib
from gan_jax.diagnosis import rules
from gan_jax.evaluation import runner
from gan_jax.monitoring import probes
from gan_jax.objectives import losses


class Diagnosis:
    """Findings of one run; silent where the config says so."""

    def __init__(self, config, algorithm, state, dataset, past):
        """Prepare, from the lines that the run has left before.

        Args:
            config: with the group diagnosis.
            algorithm: the value that trained.
            state: `algorithm.TrainState`.
            dataset: `sources.Dataset` that is trained on.
            past: records of metrics, each with its 'step'.
        """
        self._config, self._dataset = config, dataset
        self._on, self._probe = config.diagnosis.on, None
        limits = config.diagnosis.to_dict()
        self._diagnosis = rules.Diagnosis(
            game_of(config, algorithm, state), limits
        )
        for record in past:
            self.observe(record['step'], record)

    def probe(self, algorithm, state):
        """Give the numbers of `probes.Probe`; {} while nothing is judged.

        Args:
            algorithm: the value that trained.
            state: `algorithm.TrainState` of NumPy arrays.
        """
        patience = self._config.diagnosis.patience
        if not self._on or int(state.step) < patience:
            return {}
        if self._probe is None:
            config, dataset = self._config, self._dataset
            self._probe = probes.Probe(
                config, dataset,
                runner.held_out_of(config, config.data.split, dataset),
            )
        return self._probe.numbers(algorithm, state)

    def observe(self, step, record):
        """List the `rules.Finding`s that set in with a line."""
        if not self._on or not record:
            return []
        return self._diagnosis.observe(step, record)


def collapse(config, findings):
    """Give the words of a collapse that ends the run; '' where none does."""
    texts = [f.text for f in findings if rules.is_collapse(f)]
    return texts[0] if texts and config.on_collapse != 'warn' else ''


def game_of(config, algorithm, state):
    """Say what the rules have to know of a run, a `game_lib.Game`."""
    monitors = algorithm.monitors
    kind, saturates, balance = 'none', False, losses.Balance()
    if monitors is not None:
        loss = losses.LOSSES[config.loss.name]
        kind, saturates = loss.kind, loss.saturates
        balance = losses.balance(config.loss.name, config.loss)
    g_size, d_size = (0, 0) if monitors is None else monitors.sizes(state)
    treated = defaults.treats_labels(config)
    equilibrium, unit = balance.equilibrium, balance.unit
    if unit is None:
        unit = equilibrium[0] if equilibrium else game_lib.Game().unit
    return game_lib.Game(
        kind=kind,
        equilibrium=None if treated else equilibrium,
        floor=_least(config) if treated and kind == 'probability' else 0.0,
        unit=unit, middle=balance.middle, reach=balance.reach,
        saturates=saturates,
        clipped=config.clip_weights > 0,
        bounded=not defaults.has_points(config),
        g_size=g_size, d_size=d_size,
    )


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
