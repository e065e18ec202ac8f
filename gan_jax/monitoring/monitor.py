"""Diagnosis of one run: connects the rules and the probes to its config.

It knows no training loop; the loop calls `probe` and `observe`.
"""

import math

from gan_jax.config import defaults
from gan_jax.diagnosis import game as game_lib
from gan_jax.diagnosis import rules
from gan_jax.evaluation import reference
from gan_jax.monitoring import probes
from gan_jax.objectives import losses


class Diagnosis:
    """Findings of one run; none if `config.diagnosis.on` is False."""

    def __init__(self, config, algorithm, state, dataset, past):
        """Create a diagnosis, and observe the earlier records of the run.

        Args:
            config: with the group diagnosis.
            algorithm: `algorithm.Algorithm` of the run.
            state: `algorithm.TrainState`.
            dataset: `sources.Dataset` of the training images.
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
        """Measure the numbers of `probes.Probe`.

        {} before `patience` steps, and if samples are not made from latents.

        Args:
            algorithm: `algorithm.Algorithm` of the run.
            state: `algorithm.TrainState` of NumPy arrays.

        Returns:
            {'probe/name': float}.
        """
        patience = self._config.diagnosis.patience
        if not self._on or int(state.step) < patience or (
                not algorithm.latent_size):
            return {}
        if self._probe is None:
            config, dataset = self._config, self._dataset
            self._probe = probes.Probe(
                config, dataset,
                reference.held_out_of(config, config.data.split, dataset),
            )
        return self._probe.numbers(algorithm, state)

    def observe(self, step, record):
        """Add a record; list the `rules.Finding`s that begin with it."""
        if not self._on or not record:
            return []
        return self._diagnosis.observe(step, record)


def collapse(config, findings):
    """Return the text of a collapse that ends the run; '' without one."""
    texts = [f.text for f in findings if rules.is_collapse(f)]
    return texts[0] if texts and config.on_collapse != 'warn' else ''


def game_of(config, algorithm, state):
    """Build the `game.Game` of a run, the facts that the rules need."""
    monitors = algorithm.monitors
    kind, saturates, balance = 'none', False, losses.Balance()
    if monitors is not None:
        loss = losses.LOSSES[config.loss.name]
        kind, saturates = loss.kind, loss.saturates
        balance = losses.balance(config.loss.name, config.loss)
    g_size, d_size = (0, 0) if monitors is None else monitors.sizes(state)
    soft_targets = defaults.treats_labels(config)
    equilibrium, unit = balance.equilibrium, balance.unit
    if unit is None:
        unit = equilibrium[0] if equilibrium else game_lib.Game().unit
    return game_lib.Game(
        kind=kind,
        equilibrium=None if soft_targets else equilibrium,
        floor=(
            _least_loss(config)
            if soft_targets and kind == 'probability' else 0.0
        ),
        unit=unit, middle=balance.middle, reach=balance.reach,
        saturates=saturates,
        clipped=config.clip_weights > 0,
        bounded=not defaults.has_points(config) and (
            not defaults.names_linear_output(config)
        ),
        g_size=g_size, d_size=d_size,
    )


def _least_loss(config):
    """Compute the least cross-entropy of D for smoothed or flipped labels.

    It is the sum of the entropies of the mean targets of real and fake, because
    D cannot know which labels are flipped.
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
