"""Which way is better: what each measured number costs."""

# name -> value -> cost, lower is better: the best step of a run has the least.
COSTS = {
    'eval/diversity': lambda value: abs(value - 1),
    'eval/high_quality': lambda value: -value,
    'eval/modes': lambda value: -value,
    'eval/nearest_real': lambda value: abs(value - 1),
    'eval/reverse_kl': lambda value: value,
    'eval/smallest_mode': lambda value: -value,
}
