"""Measure time and memory of each metric.

    python benchmarks/metric_cost.py
    python benchmarks/metric_cost.py --only=frechet,prdc --json=out.json

It runs each metric on noise of the sizes that papers use (float32 features of
2,048 dimensions, images of 32x32x3). Each metric has its own process, so that
the peak memory is that of the metric, its inputs and the interpreter. No
networks or data sets are needed.
"""

import json
import resource
import subprocess
import sys
import time

from absl import flags
import numpy as np

from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.metrics import earth_movers
from gan_jax.metrics import frechet
from gan_jax.metrics import inception_score
from gan_jax.metrics import kernel
from gan_jax.metrics import manifolds
from gan_jax.metrics import memorization
from gan_jax.metrics import ms_ssim
from gan_jax.metrics import sliced_wasserstein
from gan_jax.metrics import support
from gan_jax.runtime import environment
from gan_jax.runtime import writer

ONLY = flags.DEFINE_list('only', [], 'Metrics to measure; all by default.')
SHARE = flags.DEFINE_float(
    'share', 1.0, 'Share of the rows of all sets to use.'
)
HERE = flags.DEFINE_bool(
    'here', False, 'Run in this process and print JSON.'
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

FEATURES = 2048
IMAGE = (32, 32, 3)
# name: (rows of each set, shape of a row, function of the sets)
METRICS = {
    'frechet': (
        (50_000, 50_000), (FEATURES,), frechet.frechet_distance
    ),
    'kernel': ((50_000, 50_000), (FEATURES,), kernel.kernel_distance),
    'inception_score': (
        (50_000,), (1008,), inception_score.inception_score
    ),
    'prdc': ((10_000, 10_000), (FEATURES,), manifolds.prdc),
    'sliced_wasserstein': (
        (8192, 8192), IMAGE, sliced_wasserstein.sliced_wasserstein_distance
    ),
    'ms_ssim': ((1000,), IMAGE, ms_ssim.diversity),
    'earth_movers': (
        (2000, 2000), (FEATURES,), earth_movers.earth_movers_distance
    ),
    'support': (
        (50_000,), IMAGE,
        lambda images: support.support_size(
            images, 1, batch_size=min(500, len(images))
        ),
    ),
    'memorization': (
        (1000, 10_000, 50_000), IMAGE, memorization.verdict
    ),
}


def measure(name, share):
    """Run a metric on noise.

    Args:
        name: key of METRICS.
        share: share of its rows to use, at least 20 of each set.

    Returns:
        {'metric', 'rows', 'shape', 'seconds', 'cpu_seconds': over all cores,
        'peak_gib': of this process so far}.
    """
    counts, shape, function = METRICS[name]
    random = np.random.default_rng(0)
    rows = [max(20, int(share * count)) for count in counts]
    sets = [random.random((n, *shape), np.float32) for n in rows]
    began, cpu_began = time.perf_counter(), time.process_time()
    function(*sets)
    return {
        'metric': name, 'rows': rows, 'shape': list(shape),
        'seconds': time.perf_counter() - began,
        'cpu_seconds': time.process_time() - cpu_began,
        # KiB on Linux.
        'peak_gib': resource.getrusage(
            resource.RUSAGE_SELF
        ).ru_maxrss / 2 ** 20,
    }


def measure_apart(name, share):
    """Run `measure` in a new process."""
    line = [sys.executable, __file__, '--here', f'--only={name}']
    done = subprocess.run(
        [*line, f'--share={share}'], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def main(argv):
    """Print a row for each metric."""
    del argv
    names = ONLY.value or list(METRICS)
    for name in names:
        if name not in METRICS:
            raise errors.ConfigError(errors.unknown_name('only', name, METRICS))
    if HERE.value:
        for name in names:
            print(json.dumps(measure(name, SHARE.value)))
        return
    results = []
    print(
        f'{"metric":20}{"sets":30}{"seconds":>10}{"of CPU":>10}'
        f'{"peak GiB":>10}'
    )
    for name in names:
        row = measure_apart(name, SHARE.value)
        sets = (
            f'{" ".join(format(n, ",") for n in row["rows"])} x '
            f'{"x".join(map(str, row["shape"]))}'
        )
        print(
            f'{name:20}{sets:30}{row["seconds"]:>10.1f}'
            f'{row["cpu_seconds"]:>10.1f}{row["peak_gib"]:>10.2f}', flush=True,
        )
        results.append(row)
    if JSON.value:
        described = environment.describe(0)
        writer.write_json(JSON.value, {
            **{k: described[k] for k in ('started', 'command', 'versions')},
            'rows': results,
        })


if __name__ == '__main__':
    app.run(main)
