"""Which way is better: what each measured number costs."""


def _lower(value):
    return value


def _higher(value):
    return -value


def _near_one(value):
    return abs(value - 1)


# name -> value -> cost, lower is better: the best step of a run has the least.
COSTS = {
    'eval/confident': _higher,
    'eval/coverage': _higher,
    'eval/density': _higher,
    'eval/diversity': _near_one,
    'eval/fid': _lower,
    'eval/high_quality': _higher,
    'eval/is': _higher,
    'eval/kid': _lower,
    'eval/modes': _higher,
    'eval/nearest_real': _near_one,
    'eval/precision': _higher,
    'eval/recall': _higher,
    'eval/reverse_kl': _lower,
    'eval/smallest_mode': _higher,
    'eval/support': _higher,
    'eval/swd': _lower,
}
