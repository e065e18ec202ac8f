"""The rules of diagnosis: names, thresholds, advice, and their application.

Pure: numbers in, findings out. It knows neither networks nor files. The rules
with their thresholds and sources stand in configs/DIAGNOSIS.md too.
"""

from typing import Callable, FrozenSet, NamedTuple, Tuple

from gan_jax.diagnosis import loss_rules, probe_rules
from gan_jax.diagnosis.game import ALL, BOUNDED, GAMES, PLAYERS
from gan_jax.diagnosis.window import Window

LEVELS = ('note', 'warning', 'alarm')

# Each is a key, config.diagnosis.<name>.
THRESHOLDS = {
    'window': 5,  # lines of metrics that a curve is judged by
    'patience': 250,  # first steps, of which nothing is said
    'd_loss_zero': 0.015,  # D's loss above its least, over the equilibrium's
    'weak_auc': 0.75,  # chance that D ranks a real above a fake
    'weak_judge': 0.9,  # accuracy of a fresh classifier that shows D weak
    'overfit_auc': 0.75,  # chance that D ranks a seen real above an unseen one
    'vanishing_share': 0.01,  # of the largest norm of G's gradient so far,
    # and of D's slope with minimax
    'vanishing_norm': 1e-6,  # of G's gradient
    'd_loss_growth': 10.0,  # D's loss, over its least median so far
    'd_loss_bound': 10.0,  # D's loss; of a critic 100 times as much
    'one_sided': 0.6,  # where D leans, from -1, all fake, to 1, all real
    'oscillation_growth': 1.75,  # from chunk to chunk of lines
    'oscillation_size': 0.5,  # standard deviation of G's loss
    'equilibrium_share': 0.1,  # of the equilibrium's losses, as deviation
    'range_gap': 0.25,  # between ends of the values, over the data's span
    'collapse_distance': 0.3,  # between samples, over that between reals
    'collapse_duplicates': 0.5,  # share of samples with a near twin
    'missing_share': 0.3,  # of classes or modes that no sample shows
    'copy_distance': 0.5,  # to the nearest real, over that of other reals
    'size_ratio': 10.0,  # between the players' parameters
    'overfit_loss': 0.05,  # D's loss on one batch, over that at the start
    'dead_share': 0.5,  # of a player's units without gradient
    'layer_share': 1e-4,  # least gradient norm of a layer, over the largest
    'slope_least': 0.1,  # mean |grad D| of a critic
    'slope_most': 5.0,
    'clipped_share': 0.95,  # of D's weights at the clip value
}
WHOLE = ('patience', 'window')  # those that count something


class Finding(NamedTuple):
    """One thing that a rule names.

    Attributes:
        rule: name of `RULES`.
        level: of `LEVELS`.
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
    """One thing that can be named.

    Attributes:
        judge: (`Window`, `Game`, limits) -> (level, evidence) or None.
        kinds: those of `KINDS` for which it has a meaning.
        limits: names of `THRESHOLDS` that it asks.
        text: what is the matter.
        advice: what the lectures say to do.
        collapse: whether `on_collapse` heeds it.
    """

    judge: Callable
    kinds: FrozenSet[str]
    limits: Tuple[str, ...]
    text: str
    advice: str
    collapse: bool = False


RULES = {
    'all_fake': Rule(
        loss_rules.all_fake, frozenset({'margin', 'probability', 'square'}),
        ('one_sided',), 'D calls everything fake',
        'Lower the learning rate of D; see that real images reach D in the '
        'range that G has.',
    ),
    'all_real': Rule(
        loss_rules.all_real, frozenset({'margin', 'probability', 'square'}),
        ('one_sided',), 'D calls everything real',
        'D has lost: raise its learning rate, its d_steps or its width, or '
        'lower the learning rate of G.',
    ),
    'cannot_overfit': Rule(
        probe_rules.cannot_overfit, GAMES, ('overfit_loss',),
        'D cannot learn one batch by heart',
        'Give D more width or another learning rate, and look for a mistake '
        'in the data or the network: a D that cannot overfit cannot teach.',
    ),
    'discriminator_diverges': Rule(
        loss_rules.discriminator_diverges, GAMES,
        ('d_loss_bound', 'd_loss_growth'),
        "D's loss grows without bound",
        'Lower the learning rates, or hold D back: a gradient penalty (r1), '
        'spectral normalisation, clip_norm.',
    ),
    'discriminator_overfits': Rule(
        probe_rules.discriminator_overfits, GAMES, ('overfit_auc',),
        'D knows its training images from others',
        'Take more data or augment what D sees (augment.*), add instance '
        'noise or r1, or make D smaller; early stopping helps too.',
    ),
    'discriminator_weak': Rule(
        probe_rules.discriminator_weak, GAMES, ('weak_auc', 'weak_judge'),
        'D is near chance, and a fresh small classifier tells real from fake',
        'Raise the learning rate or the d_steps of D or make it larger; less '
        'noise and less of a penalty on D.',
    ),
    'discriminator_won': Rule(
        loss_rules.discriminator_won, BOUNDED | {'energy'}, ('d_loss_zero',),
        "D's loss is at zero: D is too strong, and no gradient is left for G",
        'Hold D back: a lower learning rate, instance noise, label smoothing, '
        'dropout or r1; or take the Wasserstein loss with a penalty.',
    ),
    'equilibrium': Rule(
        loss_rules.equilibrium, BOUNDED, ('equilibrium_share', 'weak_judge'),
        'both losses are where neither player gains',
        'Look at the samples: they are as good as this D can tell, and '
        'training on may not mend more. It is no proof that they are good.',
    ),
    'gradient_vanishes': Rule(
        loss_rules.gradient_vanishes, PLAYERS,
        ('vanishing_norm', 'vanishing_share'),
        "G's gradient vanishes",
        'Take the non-saturating or the Wasserstein loss, hold D back, or add '
        'instance noise so that real and fake overlap.',
    ),
    'memorisation': Rule(
        probe_rules.memorisation, ALL, ('copy_distance',),
        'samples come close to training images',
        'Look at the nearest neighbours (gan_jax.evaluate); take more data, '
        'augment them, or keep an earlier checkpoint.',
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
        'Its loss is then no distance: use penalties.gradient_penalty with '
        'weight 10, or spectral normalisation.',
    ),
    'oscillation_grows': Rule(
        loss_rules.oscillation_grows, BOUNDED,
        ('oscillation_growth', 'oscillation_size'),
        'the losses swing wider and wider',
        'Lower the learning rates or b1, and add r1 or instance noise, with '
        'which the game converges.',
    ),
    'range_differs': Rule(
        probe_rules.range_differs, ALL, ('range_gap',),
        "G's values do not range as the data's do",
        'Match the last layer to the data: tanh for images in [-1, 1] '
        '(generator.output).',
    ),
    'sizes_differ': Rule(
        probe_rules.sizes_differ, PLAYERS, ('size_ratio',),
        'G and D are of very different size',
        'Bring the widths closer, unless one of them is meant to be small.',
    ),
    'sparse_gradients': Rule(
        probe_rules.sparse_gradients, PLAYERS, ('dead_share', 'layer_share'),
        'gradients are sparse',
        'Use LeakyReLU (negative_slope=0.2) and strides in place of ReLU and '
        'pooling, a norm in each layer, and a lower learning rate.',
    ),
    'weights_clipped': Rule(
        probe_rules.weights_clipped, PLAYERS, ('clipped_share',),
        "most of D's weights sit at the clip value",
        'Take a larger clip_weights, or the gradient penalty in its place: a '
        'critic of such weights is all too simple.',
    ),
}


def judge(seen, game, limits):
    """Ask all rules that have a meaning for the game.

    Args:
        seen: `Window`.
        game: `Game`.
        limits: {name of `THRESHOLDS`: number}.

    Returns:
        List of `Finding`.
    """
    found = []
    for name, rule in RULES.items():
        told = rule.judge(seen, game, limits) if game.kind in rule.kinds else (
            None
        )
        if told:
            level, evidence = told
            numbers = ', '.join(f'{k} {v:.3g}' for k, v in evidence.items())
            found.append(Finding(
                name, level, f'{rule.text} ({numbers})', evidence, rule.advice
            ))
    return found


class Diagnosis:
    """Findings of one run, each told when it sets in.

    What it says at a line follows from the lines up to there alone, so a run
    that goes on reads its earlier lines first and says what it would have.
    """

    def __init__(self, game, limits):
        """Begin with no line seen.

        Args:
            game: `Game`.
            limits: {name of `THRESHOLDS`: number}.
        """
        self._game, self._limits = game, limits
        self._window = Window(int(limits['window']))
        self._silent = {}  # lines since a told rule last held

    def observe(self, step, record):
        """Take a line of metrics.

        Args:
            step: int.
            record: {'group/name': number or None}; others are passed over.

        Returns:
            List of `Finding` that set in with this line: those that do not
            hold since fewer than a window of lines are told no more than once.
        """
        self._window.add(record)
        if step < self._limits['patience']:
            return []
        found = judge(self._window, self._game, self._limits)
        begun = [f for f in found if f.rule not in self._silent]
        size = self._window.size
        self._silent = {
            rule: silent + 1 for rule, silent in self._silent.items()
            if silent < size
        } | {finding.rule: 0 for finding in found}
        return begun


def is_collapse(finding):
    """Say whether `on_collapse` heeds a finding."""
    return RULES[finding.rule].collapse
