"""Rules on the losses, logits and gradient norms of the training steps.

Each is a function (`Window`, `Game`, limits) -> (level, evidence) or None.
`rules.py` lists them with the kinds of losses for which they have a meaning.
"""

import math

import numpy as np

from gan_jax.diagnosis.game import BOUNDED

CHUNK = 2  # windows in which the size of an oscillation is measured


def discriminator_won(seen, game, limits):
    """D's loss is at its least: G gets next to no gradient.

    Arjovsky, Bottou, Towards Principled Methods for Training Generative
    Adversarial Networks, https://arxiv.org/abs/1701.04862, 2017.
    """
    loss = seen.typical('d/loss')
    if loss is not None and (
            loss - game.floor < limits['d_loss_zero'] * game.unit):
        return 'alarm', {'d/loss': loss, 'least': game.floor}


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
