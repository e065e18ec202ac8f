"""Rules on the probes: samples, slopes and units of the two networks.

Each is a function (`Window`, `Game`, limits) -> (level, evidence) or None.
`monitoring/probes.py` takes the numbers; `rules.py` lists the rules.
"""


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
