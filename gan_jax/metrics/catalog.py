"""Names of the metrics: what each needs, and which of its values are better.

This is the one list of metrics; `registry` adds the functions that compute
them. The command line reads it for `--help`, so it imports nothing that loads
slowly and computes nothing.
"""

from typing import NamedTuple

LOWER, HIGHER, ONE = 'lower', 'higher', 'one'


class Metric(NamedTuple):
    """Properties of a metric, which computes one number or several.

    Attributes:
        better: {name of a number: `LOWER`, `HIGHER`, or '' if neither direction
            is better}.
        alone: whether it is of one set of images, not of a real and a fake one.
        images: whether it needs pixels that are laid out as images.
        classes: whether it needs features with class logits.
    """

    better: dict
    alone: bool = False
    images: bool = False
    classes: bool = False


# Metrics of features or images, in the order in which `evaluate` prints them.
METRICS = {
    'fid': Metric({'fid': LOWER}),
    'kid': Metric({'kid': LOWER}),
    'is': Metric({'is': HIGHER}, alone=True, classes=True),
    'prdc': Metric({
        'precision': HIGHER, 'recall': HIGHER, 'density': HIGHER,
        'coverage': HIGHER,
    }),
    'modes': Metric({
        'modes': HIGHER, 'smallest_mode': HIGHER, 'reverse_kl': LOWER,
        'confident': HIGHER,
    }, alone=True, classes=True),
    'ms_ssim': Metric({'ms_ssim': ''}, alone=True, images=True),
    'swd': Metric({'swd': LOWER}, images=True),
    'support': Metric({'support': HIGHER}),
}
# Of runs that translate images from domain to domain, in this order.
OF_TRANSLATIONS = {
    'true_error': Metric({
        'true_error': LOWER, 'domain_distance': '', 'true_error_ratio': LOWER,
        'mean_image_error': '',
    }, images=True),
    'cycle_error': Metric({'cycle_error': LOWER}, images=True),
    'class_kept': Metric({'class_kept': HIGHER}, images=True, classes=True),
}
# All that such a run is measured by, if no metrics are named.
DEFAULT_OF_TRANSLATIONS = (*OF_TRANSLATIONS, 'fid', 'kid', 'prdc', 'swd')
OF_RUNS = ('cas', 'memorization', 'probe')  # need a run, or held-out images
NAMES = (*METRICS, *OF_RUNS)
NAMES_OF_TRANSLATIONS = (*METRICS, *OF_TRANSLATIONS)

# Own names of numbers for some features, since the usual names stand for those
# of Inception. As Stein et al., Exposing flaws of generative model evaluation
# metrics, https://arxiv.org/abs/2306.04675, 2023, name them by the network.
OWN_NAMES = {
    'efficientnet_lite0': {
        'fid': 'fd_efficientnet_lite0', 'is': 'is_efficientnet_lite0',
        'kid': 'kd_efficientnet_lite0',
    },
}

# Numbers that a run measures of its samples without labels and features.
PIXEL_STATS = {'diversity': ONE, 'nearest_real': ONE}
MODE_STATS = {  # in place of those, for points with modes
    'high_quality': HIGHER, 'modes': HIGHER, 'reverse_kl': LOWER,
    'smallest_mode': HIGHER,
}

# {name: which values are better} of all numbers of METRICS, OF_TRANSLATIONS and
# OWN_NAMES.
BETTER = {
    name: better for metric in (*OF_TRANSLATIONS.values(), *METRICS.values())
    for name, better in metric.better.items()
}
BETTER |= {
    own: BETTER[name] for names in OWN_NAMES.values()
    for name, own in names.items()
}

# {'eval/name': which values are better} of all numbers that rank checkpoints.
RANKED = {
    f'eval/{name}': better for name, better in sorted({
        **{
            name: better for metric in METRICS.values()
            for name, better in metric.better.items() if better
        }, **{
            own: BETTER[own] for names in OWN_NAMES.values()
            for own in names.values()
        }, **PIXEL_STATS, **MODE_STATS,
    }.items())
}


def name_of(number, features):
    """Return the name of a number of a metric for some features.

    Args:
        number: name in `METRICS`, or such a name and '_std'.
        features: name of the features.

    Returns:
        The own name, 'fd_efficientnet_lite0' of 'fid' for example, or `number`.
    """
    usual = number.removesuffix('_std')
    own = OWN_NAMES.get(features, {}).get(usual, usual)
    return own + number[len(usual):]


def cost(name, value):
    """Return a cost that is lower for better values of a metric.

    Args:
        name: one of `RANKED`.
        value: float.

    Returns:
        float.
    """
    better = RANKED[name]
    if better == ONE:
        return abs(value - 1)
    return value if better == LOWER else -value
