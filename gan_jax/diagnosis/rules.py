"""What goes wrong in a game, named: rules over a window of its metrics.

Pure: numbers in, findings out. It knows neither networks nor files;
`probes.py` measures what the metrics of a step do not tell. The rules with
their thresholds and sources stand in configs/DIAGNOSIS.md too.
"""

import collections
import math
from typing import Callable, FrozenSet, NamedTuple, Optional, Tuple

import numpy as np

LEVELS = ('note', 'warning', 'alarm')
PROBES = 3  # probes in a row that must agree
MEMORY = 8  # windows that are remembered
CURVES = {'d/loss', 'g/grad_norm'}  # whose extremes are remembered
CHUNK = 2  # windows in which the size of an oscillation is measured

# What D's outputs may mean under a loss, which declares it; 'none' is of no
# game, and 'undeclared' of a loss that leaves it open.
KINDS = (
    'balance', 'critic', 'energy', 'margin', 'none', 'probability', 'relative',
    'square', 'undeclared',
)
ALL = frozenset(KINDS)
PLAYERS = ALL - {'none'}  # there are two, whatever D's outputs mean
GAMES = PLAYERS - {'undeclared'}
BOUNDED = frozenset({'margin', 'probability', 'relative', 'square'})

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


class Game(NamedTuple):
    """What rules know of a run beside its metrics.

    Attributes:
        kind: of `KINDS`.
        equilibrium: (D's loss, G's loss) where real and fake cannot be told
            apart; None where the loss has no such value.
        floor: D's least loss, 0 for hard targets.
        unit: D's loss where it says neither of all.
        middle, reach: D's output that says neither, and how far from there
            it says real.
        saturates: whether G's loss is flat where D is sure of fakes.
        clipped: whether D's weights are clipped.
        bounded: whether the data have bounds, as images have and points not.
        g_size, d_size: parameters.
    """

    kind: str = 'probability'
    equilibrium: Optional[Tuple[float, float]] = None
    floor: float = 0.0
    unit: float = 2 * math.log(2)
    middle: float = 0.0
    reach: float = 1.0
    saturates: bool = False
    clipped: bool = False
    bounded: bool = True
    g_size: int = 0
    d_size: int = 0


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


class Window:
    """The last lines of a run's metrics, and how far its curves ever went."""

    def __init__(self, size):
        """Remember some windows of `size` lines."""
        self.size = size
        self._lines = collections.deque(maxlen=MEMORY * size)
        self._probes = collections.deque(maxlen=PROBES)
        self._extremes = {}

    def add(self, record):
        """Take a line, {'group/name': number or None}, 'step' passed over."""
        known = {
            name: value for name, value in record.items()
            if '/' in name and isinstance(value, (int, float))
            and math.isfinite(value)
        }
        if any(name.startswith('probe/') for name in known):
            self._probes.append(known)
        if any(not name.startswith('probe/') for name in known):
            self._lines.append(known)
            for name in CURVES & known.keys():
                self._extend(name, self.typical(name))

    def _extend(self, name, value):
        if value is not None:
            low, high = self._extremes.get(name, (math.inf, 0.0))
            value = abs(value)
            self._extremes[name] = min(low, value), max(high, value)

    def extremes(self, name):
        """Give the (least, largest) size of `typical` of one of `CURVES`."""
        return self._extremes[name]

    def all(self, name):
        """Give all remembered values of a curve, oldest first."""
        return np.array([
            line[name] for line in self._lines if name in line
        ], np.float64)

    def typical(self, name):
        """Give the median of a curve's last window; None before it is full."""
        values = self.all(name)[-self.size:]
        return float(np.median(values)) if len(values) == self.size else None

    def medians(self, name):
        """Give the medians of whole windows of a curve, oldest first."""
        values = self.all(name)
        values = values[len(values) % self.size:]
        return np.median(values.reshape(-1, self.size), axis=1)

    def probed(self, name):
        """Give the last values of a probe; [] before there are enough."""
        values = [probe[name] for probe in self._probes if name in probe]
        return values if len(values) == PROBES else []

    def newest(self, prefix):
        """Give {name: number} of the newest probe's numbers of a prefix."""
        return {
            name: value for name, value in self._probes[-1].items()
            if name.startswith(prefix)
        } if self._probes else {}


def discriminator_won(seen, game, limits):
    """D's loss is at its least: G gets next to no gradient.

    Arjovsky, Bottou, Towards Principled Methods for Training Generative
    Adversarial Networks, https://arxiv.org/abs/1701.04862, 2017.
    """
    loss = seen.typical('d/loss')
    if loss is not None and (
            loss - game.floor < limits['d_loss_zero'] * game.unit):
        return 'alarm', {'d/loss': loss, 'least': game.floor}


def discriminator_weak(seen, game, limits):
    """D is near chance where a fresh small classifier is not.

    Lopez-Paz, Oquab, Revisiting Classifier Two-Sample Tests,
    https://arxiv.org/abs/1610.06545, 2016.
    """
    auc, judge = seen.probed('probe/d_auc'), seen.probed('probe/judge')
    if auc and judge and max(auc) < limits['weak_auc'] and (
            min(judge) > limits['weak_judge']):
        return 'warning', {'probe/d_auc': auc[-1], 'probe/judge': judge[-1]}


def discriminator_overfits(seen, game, limits):
    """D ranks the real images that it was shown above those held out.

    Karras et al., Training Generative Adversarial Networks with Limited Data,
    https://arxiv.org/abs/2006.06676, 2020.
    """
    auc = seen.probed('probe/d_memory')
    if auc and min(auc) > limits['overfit_auc']:
        return 'warning', {'probe/d_memory': auc[-1]}


def gradient_vanishes(seen, game, limits):
    """G's gradient is small beside what it was, or next to nothing.

    With minimax its loss passes on the share D(G(z)) of D's slope.
    Goodfellow et al., Generative Adversarial Networks,
    https://arxiv.org/abs/1406.2661, 2014, section 3.
    """
    fake = seen.typical('d/fake_logits')
    if game.saturates and fake is not None:
        share = 1 / (1 + math.exp(min(-fake, 700.0)))
        if share < limits['vanishing_share']:
            return 'alarm', {'D(G(z))': share}
    norm = seen.typical('g/grad_norm')
    if norm is None:
        return None
    _, largest = seen.extremes('g/grad_norm')
    if norm < limits['vanishing_norm'] or (
            norm < limits['vanishing_share'] * largest):
        return 'alarm', {'g/grad_norm': norm, 'largest': largest}


def discriminator_diverges(seen, game, limits):
    """D's loss grows, and is far above what it was.

    Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
    Converge?, https://arxiv.org/abs/1801.04406, 2018.
    """
    losses = np.abs(seen.medians('d/loss'))
    if len(losses) < 2:
        return None
    bound = limits['d_loss_bound'] * (1 if game.kind in BOUNDED else 100)
    least, _ = seen.extremes('d/loss')
    if losses[-1] > bound and losses[-1] >= losses[-2] and (
            game.kind in BOUNDED
            or losses[-1] > limits['d_loss_growth'] * least):
        return 'alarm', {'d/loss': float(losses[-1]), 'least': least}


def _leans(seen, game):
    """Say where D's mean outputs lie, from -1, fake, to 1, real; or None."""
    means = [seen.typical(f'd/{side}_logits') for side in ('real', 'fake')]
    if None in means:
        return None
    if game.kind == 'probability':
        return [math.tanh(mean / 2) for mean in means]  # 2 sigmoid - 1
    return [(mean - game.middle) / game.reach for mean in means]


def all_real(seen, game, limits):
    """D calls real images and fakes real: it gives G nothing to mend.

    Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks,
    https://arxiv.org/abs/1701.00160, 2016.
    """
    leans = _leans(seen, game)
    if leans and min(leans) > limits['one_sided']:
        return 'warning', {'real': leans[0], 'fake': leans[1]}


def all_fake(seen, game, limits):
    """D calls real images and fakes fake.

    Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks,
    https://arxiv.org/abs/1701.00160, 2016.
    """
    leans = _leans(seen, game)
    if leans and max(leans) < -limits['one_sided']:
        return 'warning', {'real': leans[0], 'fake': leans[1]}


def oscillation_grows(seen, game, limits):
    """G's loss swings, in each chunk of lines wider than in the one before.

    Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
    Converge?, https://arxiv.org/abs/1801.04406, 2018.
    """
    length = CHUNK * seen.size
    values = seen.all('g/loss')[-3 * length:]
    if len(values) < 3 * length:
        return None
    chunks = values.reshape(3, length)
    swings = chunks - chunks.mean(1, keepdims=True)
    sizes = swings.std(1)
    turns = int((np.diff(np.sign(swings[-1])) != 0).sum())
    growth = float((sizes[1:] / np.maximum(sizes[:-1], 1e-12)).min())
    if growth > limits['oscillation_growth'] and turns > 2 and (
            sizes[-1] > limits['oscillation_size']):
        return 'warning', {
            'growth': growth, 'swing': float(sizes[-1]), 'turns': turns
        }


def equilibrium(seen, game, limits):
    """Both losses are where neither player can gain.

    Goodfellow et al., Generative Adversarial Networks,
    https://arxiv.org/abs/1406.2661, 2014, theorem 1: D is 1/2 everywhere.
    """
    found = [seen.typical(f'{player}/loss') for player in 'dg']
    if game.equilibrium is None or None in found:
        return None
    scale = max(map(abs, game.equilibrium))
    apart = max(abs(a - b) for a, b in zip(found, game.equilibrium))
    judge = seen.newest('probe/judge')  # a D that is weak is no equilibrium
    if apart < limits['equilibrium_share'] * scale and not any(
            told > limits['weak_judge'] for told in judge.values()):
        return 'note', {'d/loss': found[0], 'g/loss': found[1], **judge}


def range_differs(seen, game, limits):
    """G's values end elsewhere than the data's do.

    Radford, Metz, Chintala, Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks,
    https://arxiv.org/abs/1511.06434, 2015, section 3: tanh for images scaled
    to [-1, 1].
    """
    for end in ('low', 'high'):
        gaps = seen.probed(f'probe/{end}_gap')
        if gaps and min(map(abs, gaps)) > limits['range_gap']:
            level = 'warning' if game.bounded else 'note'
            return level, {f'probe/{end}_gap': gaps[-1]}


def mode_collapse(seen, game, limits):
    """Samples of different z are alike, as real images are not.

    Salimans et al., Improved Techniques for Training GANs,
    https://arxiv.org/abs/1606.03498, 2016, section 3.2.
    """
    apart = seen.probed('probe/distance')
    twins = seen.probed('probe/duplicates')
    if apart and max(apart) < limits['collapse_distance']:
        return 'alarm', {'probe/distance': apart[-1]}
    if twins and min(twins) > limits['collapse_duplicates']:
        return 'alarm', {'probe/duplicates': twins[-1]}


def modes_missing(seen, game, limits):
    """Some classes or modes are in the data and in no sample.

    Srivastava et al., VEEGAN: Reducing Mode Collapse in GANs using Implicit
    Variational Learning, https://arxiv.org/abs/1705.07761, 2017.
    """
    shares = seen.probed('probe/missing')
    if shares and min(shares) > limits['missing_share']:
        return 'warning', {'probe/missing': shares[-1]}


def memorisation(seen, game, limits):
    """Samples lie nearer to training images than other real images do.

    Meehan, Chaudhuri, Dasgupta, A Non-Parametric Test to Detect Data-Copying
    in Generative Models, https://arxiv.org/abs/2004.05675, 2020.
    """
    nearest = seen.probed('probe/nearest_real')
    if nearest and max(nearest) < limits['copy_distance']:
        return 'warning', {'probe/nearest_real': nearest[-1]}


def sizes_differ(seen, game, limits):
    """One player has many times the parameters of the other.

    Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks,
    https://arxiv.org/abs/1701.00160, 2016, section 4.4: how to balance G and
    D; usually D is the larger.
    """
    if not (game.g_size and game.d_size):
        return None
    ratio = max(game.g_size / game.d_size, game.d_size / game.g_size)
    if ratio > limits['size_ratio']:
        return 'note', {'g': game.g_size, 'd': game.d_size, 'ratio': ratio}


def cannot_overfit(seen, game, limits):
    """D does not learn one batch by heart; `check_setup` tries.

    Zhang et al., Understanding deep learning requires rethinking
    generalization, https://arxiv.org/abs/1611.03530, 2016: a network with
    room enough learns any labels.
    """
    told = seen.newest('probe/one_batch')
    if any(share > limits['overfit_loss'] for share in told.values()):
        return 'warning', told


def sparse_gradients(seen, game, limits):
    """Units without any gradient, or a layer with next to none.

    Glorot, Bengio, Understanding the difficulty of training deep feedforward
    neural networks, AISTATS 2010; for GANs Radford, Metz, Chintala,
    https://arxiv.org/abs/1511.06434, 2015: LeakyReLU in D.
    """
    for player in 'gd':
        dead = seen.probed(f'probe/{player}_dead')
        if dead and min(dead) > limits['dead_share']:
            return 'warning', {f'probe/{player}_dead': dead[-1]}
        norms = seen.newest(f'probe/{player}_grad/')
        if not norms:
            continue
        least = min(norms, key=norms.get)
        share = norms[least] / max(*norms.values(), 1e-30)
        if share < limits['layer_share']:
            return 'warning', {least: norms[least], 'share': share}


def not_lipschitz(seen, game, limits):
    """A critic without clipping is far from slope 1.

    Gulrajani et al., Improved Training of Wasserstein GANs,
    https://arxiv.org/abs/1704.00028, 2017: its gradient has norm 1.
    """
    slopes = seen.probed('probe/slope')
    if game.clipped or not slopes:
        return None
    if min(slopes) > limits['slope_most'] or (
            max(slopes) < limits['slope_least']):
        return 'warning', {'probe/slope': slopes[-1]}


def weights_clipped(seen, game, limits):
    """Most of D's weights sit at the clip value.

    Gulrajani et al., Improved Training of Wasserstein GANs,
    https://arxiv.org/abs/1704.00028, 2017, section 3: capacity underuse.
    """
    shares = seen.probed('probe/clipped')
    if shares and min(shares) > limits['clipped_share']:
        return 'warning', {'probe/clipped': shares[-1]}


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
        all_fake, frozenset({'margin', 'probability', 'square'}),
        ('one_sided',), 'D calls everything fake',
        'Lower the learning rate of D; see that real images reach D in the '
        'range that G has.',
    ),
    'all_real': Rule(
        all_real, frozenset({'margin', 'probability', 'square'}),
        ('one_sided',), 'D calls everything real',
        'D has lost: raise its learning rate, its d_steps or its width, or '
        'lower the learning rate of G.',
    ),
    'cannot_overfit': Rule(
        cannot_overfit, GAMES, ('overfit_loss',),
        'D cannot learn one batch by heart',
        'Give D more width or another learning rate, and look for a mistake '
        'in the data or the network: a D that cannot overfit cannot teach.',
    ),
    'discriminator_diverges': Rule(
        discriminator_diverges, GAMES, ('d_loss_bound', 'd_loss_growth'),
        "D's loss grows without bound",
        'Lower the learning rates, or hold D back: a gradient penalty (r1), '
        'spectral normalisation, clip_norm.',
    ),
    'discriminator_overfits': Rule(
        discriminator_overfits, GAMES, ('overfit_auc',),
        'D knows its training images from others',
        'Take more data or augment what D sees (augment.*), add instance '
        'noise or r1, or make D smaller; early stopping helps too.',
    ),
    'discriminator_weak': Rule(
        discriminator_weak, GAMES, ('weak_auc', 'weak_judge'),
        'D is near chance, and a fresh small classifier tells real from fake',
        'Raise the learning rate or the d_steps of D or make it larger; less '
        'noise and less of a penalty on D.',
    ),
    'discriminator_won': Rule(
        discriminator_won, BOUNDED | {'energy'}, ('d_loss_zero',),
        "D's loss is at zero: D is too strong, and no gradient is left for G",
        'Hold D back: a lower learning rate, instance noise, label smoothing, '
        'dropout or r1; or take the Wasserstein loss with a penalty.',
    ),
    'equilibrium': Rule(
        equilibrium, BOUNDED, ('equilibrium_share', 'weak_judge'),
        'both losses are where neither player gains',
        'Look at the samples: they are as good as this D can tell, and '
        'training on may not mend more. It is no proof that they are good.',
    ),
    'gradient_vanishes': Rule(
        gradient_vanishes, PLAYERS, ('vanishing_norm', 'vanishing_share'),
        "G's gradient vanishes",
        'Take the non-saturating or the Wasserstein loss, hold D back, or add '
        'instance noise so that real and fake overlap.',
    ),
    'memorisation': Rule(
        memorisation, ALL, ('copy_distance',),
        'samples come close to training images',
        'Look at the nearest neighbours (gan_jax.evaluate); take more data, '
        'augment them, or keep an earlier checkpoint.',
    ),
    'mode_collapse': Rule(
        mode_collapse, ALL, ('collapse_distance', 'collapse_duplicates'),
        'samples of different z are alike: modes have collapsed',
        'Try packing, minibatch features, unrolling or another loss, a lower '
        'learning rate of G, or another seed (on_collapse=restart).',
        collapse=True,
    ),
    'modes_missing': Rule(
        modes_missing, ALL, ('missing_share',),
        'some classes or modes of the data are in no sample',
        'Try packing, minibatch features, unrolling or a larger batch; where '
        'there are labels, a condition.',
    ),
    'not_lipschitz': Rule(
        not_lipschitz, frozenset({'critic'}), ('slope_least', 'slope_most'),
        'the critic is far from 1-Lipschitz',
        'Its loss is then no distance: use penalties.gradient_penalty with '
        'weight 10, or spectral normalisation.',
    ),
    'oscillation_grows': Rule(
        oscillation_grows, BOUNDED, ('oscillation_growth', 'oscillation_size'),
        'the losses swing wider and wider',
        'Lower the learning rates or b1, and add r1 or instance noise, with '
        'which the game converges.',
    ),
    'range_differs': Rule(
        range_differs, ALL, ('range_gap',),
        "G's values do not range as the data's do",
        'Match the last layer to the data: tanh for images in [-1, 1] '
        '(generator.output).',
    ),
    'sizes_differ': Rule(
        sizes_differ, PLAYERS, ('size_ratio',),
        'G and D are of very different size',
        'Bring the widths closer, unless one of them is meant to be small.',
    ),
    'sparse_gradients': Rule(
        sparse_gradients, PLAYERS, ('dead_share', 'layer_share'),
        'gradients are sparse',
        'Use LeakyReLU (negative_slope=0.2) and strides in place of ReLU and '
        'pooling, a norm in each layer, and a lower learning rate.',
    ),
    'weights_clipped': Rule(
        weights_clipped, PLAYERS, ('clipped_share',),
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
