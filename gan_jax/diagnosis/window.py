"""A sliding window over the metrics of a run.

`Window` keeps the last records of the curves and of the probes, and the
extremes of a few curves over the whole run. It knows no rule.
"""

import collections
import math

import numpy as np

PROBES = 3  # consecutive probes that must agree
MEMORY = 8  # windows that are kept
CURVES = {'d/loss', 'g/grad_norm'}  # curves whose extremes are kept


class Window:
    """The last records of metrics, and the extremes of some curves."""

    def __init__(self, size):
        """Create an empty window.

        Args:
            size: records in a window; `MEMORY` windows are kept.
        """
        self.size = size
        self._lines = collections.deque(maxlen=MEMORY * size)
        self._probes = collections.deque(maxlen=PROBES)
        self._extremes = {}

    def add(self, record):
        """Add a record of metrics.

        Args:
            record: {'group/name': number or None}. Entries without a group,
                such as 'step', and values that are not finite are ignored.
        """
        finite = {
            name: value for name, value in record.items()
            if '/' in name and isinstance(value, (int, float))
            and math.isfinite(value)
        }
        if any(name.startswith('probe/') for name in finite):
            self._probes.append(finite)
        if any(not name.startswith('probe/') for name in finite):
            self._lines.append(finite)
            for name in CURVES & finite.keys():
                self._update_extremes(name, self.median(name))

    def _update_extremes(self, name, value):
        if value is not None:
            low, high = self._extremes.get(name, (math.inf, 0.0))
            value = abs(value)
            self._extremes[name] = min(low, value), max(high, value)

    def extremes(self, name):
        """Return the (least, largest) size of `median` of one of `CURVES`."""
        return self._extremes[name]

    def values(self, name):
        """Return all kept values of a curve, oldest first."""
        return np.array([
            line[name] for line in self._lines if name in line
        ], np.float64)

    def median(self, name):
        """Return the median of a curve's last window; None until it is full."""
        values = self.values(name)[-self.size:]
        return float(np.median(values)) if len(values) == self.size else None

    def medians(self, name):
        """Return the medians of whole windows of a curve, oldest first."""
        values = self.values(name)
        values = values[len(values) % self.size:]
        return np.median(values.reshape(-1, self.size), axis=1)

    def probe_values(self, name):
        """Return the last values of a probe; [] if fewer than `PROBES`."""
        values = [probe[name] for probe in self._probes if name in probe]
        return values if len(values) == PROBES else []

    def latest_probe(self, prefix):
        """Return {name: number} of the latest probe's numbers with a prefix."""
        return {
            name: value for name, value in self._probes[-1].items()
            if name.startswith(prefix)
        } if self._probes else {}
