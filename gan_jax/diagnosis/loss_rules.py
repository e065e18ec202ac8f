"""Rules on the losses, logits and gradient norms of the training steps.

Each rule is a function (`Window`, `Game`, limits) -> (level, evidence), or None
where it does not hold; limits is {name of `rules.THRESHOLDS`: number}.
`rules.RULES` names each rule and lists the kinds of losses it applies to.
"""

import math

import numpy as np

from gan_jax.diagnosis.game import BOUNDED

CHUNK = 2  # windows in which the size of an oscillation is measured


def discriminator_won(window, game, limits):
    """Test whether D's loss is at its minimum, so that G gets no gradient.

    References:
        Arjovsky, Bottou, Towards Principled Methods for Training Generative
        Adversarial Networks, https://arxiv.org/abs/1701.04862, 2017.
    """
    loss = window.median('d/loss')
    if loss is not None and (
            loss - game.floor < limits['d_loss_zero'] * game.unit):
        return 'alarm', {'d/loss': loss, 'least': game.floor}


def gradient_vanishes(window, game, limits):
    """Test whether G's gradient is small beside its largest, or near zero.

    With the minimax loss, G receives only the share D(G(z)) of D's slope.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, section 3.
    """
    fake = window.median('d/fake_logits')
    if game.saturates and fake is not None:
        share = 1 / (1 + math.exp(min(-fake, 700.0)))
        if share < limits['vanishing_share']:
            return 'alarm', {'D(G(z))': share}
    norm = window.median('g/grad_norm')
    if norm is None:
        return None
    _, largest = window.extremes('g/grad_norm')
    if norm < limits['vanishing_norm'] or (
            norm < limits['vanishing_share'] * largest):
        return 'alarm', {'g/grad_norm': norm, 'largest': largest}


def discriminator_diverges(window, game, limits):
    """Test whether D's loss grows and is far above its lowest median.

    References:
        Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
        Converge?, https://arxiv.org/abs/1801.04406, 2018.
    """
    losses = np.abs(window.medians('d/loss'))
    if len(losses) < 2:
        return None
    bound = limits['d_loss_bound'] * (1 if game.kind in BOUNDED else 100)
    least, _ = window.extremes('d/loss')
    if losses[-1] > bound and losses[-1] >= losses[-2] and (
            game.kind in BOUNDED
            or losses[-1] > limits['d_loss_growth'] * least):
        return 'alarm', {'d/loss': float(losses[-1]), 'least': least}


def _verdicts(window, game):
    """Scale D's mean outputs to verdicts from -1, fake, to 1, real.

    Returns:
        [of real images, of fakes], or None until a window is full.
    """
    means = [window.median(f'd/{side}_logits') for side in ('real', 'fake')]
    if None in means:
        return None
    if game.kind == 'probability':
        return [math.tanh(mean / 2) for mean in means]  # 2 sigmoid - 1
    return [(mean - game.middle) / game.reach for mean in means]


def all_real(window, game, limits):
    """Test whether D calls real images and fakes real.

    Such a D has nothing to teach G.

    References:
        Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks,
        https://arxiv.org/abs/1701.00160, 2016.
    """
    verdicts = _verdicts(window, game)
    if verdicts and min(verdicts) > limits['one_sided']:
        return 'warning', {'real': verdicts[0], 'fake': verdicts[1]}


def all_fake(window, game, limits):
    """Test whether D calls real images and fakes fake.

    References:
        Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks,
        https://arxiv.org/abs/1701.00160, 2016.
    """
    verdicts = _verdicts(window, game)
    if verdicts and max(verdicts) < -limits['one_sided']:
        return 'warning', {'real': verdicts[0], 'fake': verdicts[1]}


def codebook_collapse(window, game, limits):
    """Test whether few codes of a codebook are used.

    References:
        Dhariwal et al., Jukebox: A Generative Model for Music,
        https://arxiv.org/abs/2005.00341, 2020, section 3.1.
    """
    del game
    usage = window.median('codes/usage')
    if usage is not None and usage < limits['codebook_usage']:
        return 'alarm', {
            'usage': usage, 'perplexity': window.median('codes/perplexity'),
        }


def oscillation_grows(window, game, limits):
    """Test whether G's loss swings wider in each chunk than in the last.

    References:
        Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
        Converge?, https://arxiv.org/abs/1801.04406, 2018.
    """
    length = CHUNK * window.size
    values = window.values('g/loss')[-3 * length:]
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


def equilibrium(window, game, limits):
    """Test whether both losses are where neither player can gain.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, theorem 1: D is 1/2 everywhere.
    """
    losses = [window.median(f'{player}/loss') for player in 'dg']
    if game.equilibrium is None or None in losses:
        return None
    scale = max(map(abs, game.equilibrium))
    deviation = max(abs(a - b) for a, b in zip(losses, game.equilibrium))
    judge = window.latest_probe('probe/judge')  # a weak D is no equilibrium
    if deviation < limits['equilibrium_share'] * scale and not any(
            accuracy > limits['weak_judge'] for accuracy in judge.values()):
        return 'note', {'d/loss': losses[0], 'g/loss': losses[1], **judge}
