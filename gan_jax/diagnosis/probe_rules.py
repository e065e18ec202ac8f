"""Rules on the probes of a run: its samples, and the state of its networks.

Each rule is a function (`Window`, `Game`, limits) -> (level, evidence), or None
where it does not hold; limits is {name of `rules.THRESHOLDS`: number}. The
probes are measured in gan_jax/monitoring. `rules.RULES` names each rule and
lists the kinds of losses it applies to.
"""


def discriminator_weak(window, game, limits):
    """Test whether D is near chance where a fresh small classifier is not.

    References:
        Lopez-Paz, Oquab, Revisiting Classifier Two-Sample Tests,
        https://arxiv.org/abs/1610.06545, 2016.
    """
    auc = window.probe_values('probe/d_auc')
    judge = window.probe_values('probe/judge')
    if auc and judge and max(auc) < limits['weak_auc'] and (
            min(judge) > limits['weak_judge']):
        return 'warning', {'probe/d_auc': auc[-1], 'probe/judge': judge[-1]}


def discriminator_overfits(window, game, limits):
    """Test whether D knows its training images by heart.

    It does if it ranks them above held-out ones. If none are held out, a loss
    near its minimum after many passes over the data is taken as a sign.

    References:
        Karras et al., Training Generative Adversarial Networks with Limited
        Data, https://arxiv.org/abs/2006.06676, 2020. The sign is our own.
    """
    if window.latest_probe('probe/d_memory'):
        auc = window.probe_values('probe/d_memory')
        if auc and min(auc) > limits['overfit_auc']:
            return 'warning', {'probe/d_memory': auc[-1]}
        return None
    loss, epochs = window.median('d/loss'), window.values('data/epoch')
    if game.kind in ('probability', 'relative') and loss is not None and (
        len(epochs) and epochs[-1] >= limits['overfit_epochs']
        and loss - game.floor < limits['overfit_share'] * game.unit
    ):
        return 'warning', {'d/loss': loss, 'data/epoch': epochs[-1]}


def range_differs(window, game, limits):
    """Test whether the range of G's values differs from that of the data.

    It is a warning where both have bounds, else a note.

    References:
        Radford, Metz, Chintala, Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks,
        https://arxiv.org/abs/1511.06434, 2015, section 3: tanh for images
        scaled to [-1, 1].
    """
    for end in ('low', 'high'):
        gaps = window.probe_values(f'probe/{end}_gap')
        if gaps and min(map(abs, gaps)) > limits['range_gap']:
            level = 'warning' if game.bounded else 'note'
            return level, {f'probe/{end}_gap': gaps[-1]}


def mode_collapse(window, game, limits):
    """Test whether samples of different z are more alike than real images.

    References:
        Salimans et al., Improved Techniques for Training GANs,
        https://arxiv.org/abs/1606.03498, 2016, section 3.2.
    """
    ratios = window.probe_values('probe/distance')
    duplicates = window.probe_values('probe/duplicates')
    if ratios and max(ratios) < limits['collapse_distance']:
        return 'alarm', {'probe/distance': ratios[-1]}
    if duplicates and min(duplicates) > limits['collapse_duplicates']:
        return 'alarm', {'probe/duplicates': duplicates[-1]}


def modes_missing(window, game, limits):
    """Test whether classes or modes of the data are in no sample.

    References:
        Srivastava et al., VEEGAN: Reducing Mode Collapse in GANs using Implicit
        Variational Learning, https://arxiv.org/abs/1705.07761, 2017.
    """
    shares = window.probe_values('probe/missing')
    if shares and min(shares) > limits['missing_share']:
        return 'warning', {'probe/missing': shares[-1]}


def memorisation(window, game, limits):
    """Test whether samples are nearer to training images than real ones are.

    References:
        Meehan, Chaudhuri, Dasgupta, A Non-Parametric Test to Detect
        Data-Copying in Generative Models, https://arxiv.org/abs/2004.05675,
        2020.
    """
    nearest = window.probe_values('probe/nearest_real')
    if nearest and max(nearest) < limits['copy_distance']:
        return 'warning', {'probe/nearest_real': nearest[-1]}


def sizes_differ(window, game, limits):
    """Test whether one player has many times the parameters of the other.

    References:
        Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks,
        https://arxiv.org/abs/1701.00160, 2016, section 4.4: how to balance G
        and D; usually D is the larger.
    """
    if not (game.g_size and game.d_size):
        return None
    ratio = max(game.g_size / game.d_size, game.d_size / game.g_size)
    if ratio > limits['size_ratio']:
        return 'note', {'g': game.g_size, 'd': game.d_size, 'ratio': ratio}


def cannot_overfit(window, game, limits):
    """Test whether D fails to fit a single batch, as `check_setup` tries.

    References:
        Zhang et al., Understanding deep learning requires rethinking
        generalization, https://arxiv.org/abs/1611.03530, 2016: a network with
        enough capacity fits any labels.
    """
    losses = window.latest_probe('probe/one_batch')
    if any(share > limits['overfit_loss'] for share in losses.values()):
        return 'warning', losses


def sparse_gradients(window, game, limits):
    """Test whether units get no gradient, or a layer next to none.

    References:
        Glorot, Bengio, Understanding the difficulty of training deep
        feedforward neural networks, AISTATS 2010; for GANs Radford, Metz,
        Chintala, https://arxiv.org/abs/1511.06434, 2015: LeakyReLU in D.
    """
    for player in 'gd':
        dead = window.probe_values(f'probe/{player}_dead')
        if dead and min(dead) > limits['dead_share']:
            return 'warning', {f'probe/{player}_dead': dead[-1]}
        norms = window.latest_probe(f'probe/{player}_grad/')
        if not norms:
            continue
        least = min(norms, key=norms.get)
        share = norms[least] / max(*norms.values(), 1e-30)
        if share < limits['layer_share']:
            return 'warning', {least: norms[least], 'share': share}


def not_lipschitz(window, game, limits):
    """Test whether the slope of a critic without clipping is far from 1.

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs,
        https://arxiv.org/abs/1704.00028, 2017: its gradient has norm 1.
    """
    slopes = window.probe_values('probe/slope')
    if game.clipped or not slopes:
        return None
    if min(slopes) > limits['slope_most'] or (
            max(slopes) < limits['slope_least']):
        return 'warning', {'probe/slope': slopes[-1]}


def weights_clipped(window, game, limits):
    """Test whether most of D's weights are at the clip value.

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs,
        https://arxiv.org/abs/1704.00028, 2017, section 3: capacity underuse.
    """
    shares = window.probe_values('probe/clipped')
    if shares and min(shares) > limits['clipped_share']:
        return 'warning', {'probe/clipped': shares[-1]}
