"""A sliding window over the metrics of a run.

`Window` holds the last lines of the curves and of the probes, and the extremes
of a few curves. It knows no rule.
"""

import collections
import math

import numpy as np

PROBES = 3  # probes in a row that must agree
MEMORY = 8  # windows that are remembered
CURVES = {'d/loss', 'g/grad_norm'}  # whose extremes are remembered


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
