"""Rules that name failures of a GAN: thresholds, advice, and their application.

`RULES` lists what `loss_rules` and `probe_rules` test; `Diagnosis` applies all
of them to a run, record by record. Pure: numbers in, findings out. This module
knows neither networks nor files. A test compares it with the table of
configs/DIAGNOSIS.md.
"""

from typing import Callable, FrozenSet, NamedTuple, Tuple

from gan_jax.diagnosis import loss_rules, probe_rules
from gan_jax.diagnosis.game import ALL, BOUNDED, GAMES, PLAYERS
from gan_jax.diagnosis.window import Window

LEVELS = ('note', 'warning', 'alarm')

# Defaults of the keys config.diagnosis.<name>.
THRESHOLDS = {
    'window': 5,  # records of metrics whose median is compared
    'patience': 250,  # first steps, which are not judged
    'd_loss_zero': 0.015,  # D's loss above its minimum, over the equilibrium's
    'weak_auc': 0.75,  # probability that D ranks a real above a fake
    'weak_judge': 0.9,  # accuracy of a fresh classifier that shows D is weak
    'overfit_auc': 0.75,  # probability that D ranks a training image above a
    # held-out one
    'overfit_epochs': 50,  # passes over the data that let D learn them by heart
    'overfit_share': 0.07,  # D's loss above its minimum, over the equilibrium's
    'vanishing_share': 0.01,  # of the largest norm of G's gradient so far,
    # and of D's slope with minimax
    'vanishing_norm': 1e-6,  # of G's gradient
    'd_loss_growth': 10.0,  # D's loss, over its lowest median so far
    'd_loss_bound': 10.0,  # D's loss; 100 times as much for a critic
    'one_sided': 0.6,  # D's mean verdict, from -1, all fake, to 1, all real
    'oscillation_growth': 1.75,  # from one chunk of records to the next
    'oscillation_size': 0.5,  # standard deviation of G's loss
    'equilibrium_share': 0.1,  # of the equilibrium's losses, as deviation
    'range_gap': 0.25,  # between ends of the ranges, over the data's span
    'collapse_distance': 0.3,  # between samples, over that between reals
    'collapse_duplicates': 0.5,  # share of samples with a near duplicate
    'codebook_usage': 0.5,  # share of the codes of a codebook that are used
    'missing_share': 0.3,  # of classes or modes that are in no sample
    'copy_distance': 0.5,  # to the nearest real, over that of other reals
    'size_ratio': 10.0,  # between the players' numbers of parameters
    'overfit_loss': 0.05,  # D's loss on one batch, over that at the start
    'dead_share': 0.5,  # of a player's units without gradient
    'layer_share': 1e-4,  # least gradient norm of a layer, over the largest
    'slope_least': 0.1,  # mean |grad D| of a critic
    'slope_most': 5.0,
    'clipped_share': 0.95,  # of D's weights at the clip value
}


class Finding(NamedTuple):
    """A failure that a rule found in a run.

    Attributes:
        rule: name in `RULES`.
        level: one of `LEVELS`.
        text: one sentence with its numbers.
        evidence: {name: number}.
        advice: one or two sentences.
    """

    rule: str
    level: str
    text: str
    evidence: dict
    advice: str


class Rule(NamedTuple):
    """A failure that can be named, and the test for it.

    Attributes:
        test: (`Window`, `Game`, limits) -> (level, evidence), or None where the
            rule does not hold.
        kinds: those of `game.KINDS` to which the rule applies.
        limits: names of `THRESHOLDS` that the test reads.
        text: description of the failure.
        advice: remedies.
        collapse: whether `config.on_collapse` acts on it.
    """

    test: Callable
    kinds: FrozenSet[str]
    limits: Tuple[str, ...]
    text: str
    advice: str
    collapse: bool = False


RULES = {
    'all_fake': Rule(
        loss_rules.all_fake, frozenset({'margin', 'probability', 'square'}),
        ('one_sided',), 'D calls everything fake',
        'Lower the learning rate of D; check that real images reach D in the '
        'range of G.',
    ),
    'all_real': Rule(
        loss_rules.all_real, frozenset({'margin', 'probability', 'square'}),
        ('one_sided',), 'D calls everything real',
        'D has lost: raise its learning rate, its d_steps or its width, or '
        'lower the learning rate of G.',
    ),
    'cannot_overfit': Rule(
        probe_rules.cannot_overfit, GAMES, ('overfit_loss',),
        'D cannot overfit a single batch',
        'Increase the width of D or change its learning rate, and look for a '
        'mistake in the data or the network: a D that cannot overfit cannot '
        'teach G.',
    ),
    'codebook_collapse': Rule(
        loss_rules.codebook_collapse, ALL, ('codebook_usage',),
        'few codes of the codebook are used: it has collapsed',
        'Let dead codes start again (reconstruction.restart=0.1), move the '
        'vectors by averages (reconstruction.codebook=ema), or use fewer codes '
        '(num_codes).',
    ),
    'discriminator_diverges': Rule(
        loss_rules.discriminator_diverges, GAMES,
        ('d_loss_bound', 'd_loss_growth'),
        "D's loss grows without bound",
        'Lower the learning rates, or regularize D: a gradient penalty (r1), '
        'spectral normalisation, clip_norm.',
    ),
    'discriminator_overfits': Rule(
        probe_rules.discriminator_overfits, GAMES,
        ('overfit_auc', 'overfit_epochs', 'overfit_share'),
        'D overfits: it knows its training images by heart',
        'Take the recipe few_images, which augments what D sees, or use more '
        'data, instance noise, r1 or a smaller D. Keep an earlier checkpoint; '
        'data.test_share holds images out to tell when it began.',
    ),
    'discriminator_weak': Rule(
        probe_rules.discriminator_weak, GAMES, ('weak_auc', 'weak_judge'),
        'D is near chance, but a fresh small classifier separates real and '
        'fake',
        'Raise the learning rate or the d_steps of D, make it larger, or '
        'reduce the noise and the penalties on D.',
    ),
    'discriminator_won': Rule(
        loss_rules.discriminator_won, BOUNDED | {'energy'}, ('d_loss_zero',),
        "D's loss is at zero: D is too strong, and no gradient is left for G",
        'Weaken D: a lower learning rate, instance noise, label smoothing, '
        'dropout or r1; or use the Wasserstein loss with a penalty.',
    ),
    'equilibrium': Rule(
        loss_rules.equilibrium, BOUNDED, ('equilibrium_share', 'weak_judge'),
        'both losses are at the equilibrium',
        'Look at the samples: this D cannot tell them from real images, and '
        'more training may not improve them. This is no proof of quality.',
    ),
    'gradient_vanishes': Rule(
        loss_rules.gradient_vanishes, PLAYERS,
        ('vanishing_norm', 'vanishing_share'),
        "G's gradient vanishes",
        'Lower the learning rates, weaken D, add instance noise so that real '
        'and fake overlap, or use the Wasserstein loss; minimax saturates, '
        'non_saturating does not.',
    ),
    'memorisation': Rule(
        probe_rules.memorisation, ALL, ('copy_distance',),
        'samples are close to training images: possible memorisation',
        'Look at the nearest neighbours (python -m gan_jax evaluate); use more '
        'data, augment them, or keep an earlier checkpoint.',
    ),
    'mode_collapse': Rule(
        probe_rules.mode_collapse, ALL,
        ('collapse_distance', 'collapse_duplicates'),
        'samples of different z are alike: modes have collapsed',
        'Try packing, minibatch features, unrolling or another loss, a lower '
        'learning rate of G, or another seed (on_collapse=restart).',
        collapse=True,
    ),
    'modes_missing': Rule(
        probe_rules.modes_missing, ALL, ('missing_share',),
        'some classes or modes of the data are in no sample',
        'Try packing, minibatch features, unrolling or a larger batch; where '
        'there are labels, a condition.',
    ),
    'not_lipschitz': Rule(
        probe_rules.not_lipschitz, frozenset({'critic'}),
        ('slope_least', 'slope_most'),
        'the critic is far from 1-Lipschitz',
        'Its loss then estimates no distance: use penalties.gradient_penalty '
        'with weight 10, or spectral normalisation.',
    ),
    'oscillation_grows': Rule(
        loss_rules.oscillation_grows, BOUNDED,
        ('oscillation_growth', 'oscillation_size'),
        'the oscillations of the losses grow',
        'Lower the learning rates or b1, and add r1 or instance noise, which '
        'make the game converge.',
    ),
    'range_differs': Rule(
        probe_rules.range_differs, ALL, ('range_gap',),
        "the range of G's values differs from that of the data",
        'Match the last layer to the data: tanh for images in [-1, 1] '
        '(generator.output).',
    ),
    'sizes_differ': Rule(
        probe_rules.sizes_differ, PLAYERS, ('size_ratio',),
        'G and D differ greatly in size',
        'Choose widths that are closer, unless one player is meant to be '
        'small.',
    ),
    'sparse_gradients': Rule(
        probe_rules.sparse_gradients, PLAYERS, ('dead_share', 'layer_share'),
        'gradients are sparse',
        'Use LeakyReLU (negative_slope=0.2) and strides instead of ReLU and '
        'pooling, a norm in each layer, and a lower learning rate.',
    ),
    'weights_clipped': Rule(
        probe_rules.weights_clipped, PLAYERS, ('clipped_share',),
        "most of D's weights are at the clip value",
        'Use a larger clip_weights, or the gradient penalty instead: a critic '
        'with such weights is too simple a function.',
    ),
}


def apply_rules(window, game, limits):
    """Apply all rules that have a meaning for a game.

    Args:
        window: `Window`.
        game: `Game`.
        limits: {name of `THRESHOLDS`: number}.

    Returns:
        List of `Finding`, one for each rule that holds.
    """
    findings = []
    for name, rule in RULES.items():
        if game.kind not in rule.kinds:
            continue
        result = rule.test(window, game, limits)
        if result:
            level, evidence = result
            numbers = ', '.join(f'{k} {v:.3g}' for k, v in evidence.items())
            findings.append(Finding(
                name, level, f'{rule.text} ({numbers})', evidence, rule.advice
            ))
    return findings


class Diagnosis:
    """The findings of one run, each reported at its onset.

    The findings at a record depend on the records up to there alone. A resumed
    run therefore observes its earlier records first and reports what an
    uninterrupted run would have.
    """

    def __init__(self, game, limits):
        """Create a diagnosis that has observed no record.

        Args:
            game: `Game`.
            limits: {name of `THRESHOLDS`: number}.
        """
        self._game, self._limits = game, limits
        self._window = Window(int(limits['window']))
        self._silent = {}  # {reported rule: records since it last held}

    def observe(self, step, record):
        """Add a record of metrics and apply the rules.

        Args:
            step: int.
            record: {'group/name': number or None}; other entries are ignored.

        Returns:
            List of the `Finding`s that begin with this record. A rule that
            stopped holding less than a window of records ago is not reported
            again.
        """
        self._window.add(record)
        if step < self._limits['patience']:
            return []
        findings = apply_rules(self._window, self._game, self._limits)
        onsets = [f for f in findings if f.rule not in self._silent]
        size = self._window.size
        self._silent = {
            rule: silent + 1 for rule, silent in self._silent.items()
            if silent < size
        } | {finding.rule: 0 for finding in findings}
        return onsets


def is_collapse(finding):
    """Return whether `config.on_collapse` acts on a finding."""
    return RULES[finding.rule].collapse
