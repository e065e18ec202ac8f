"""What the networks of a run add to its report: scores and neighbours.

The samples of seeds 0 to 255 are judged by D, one by one, and those of seeds 0
to 63 are laid beside the training images that they are nearest to.
"""

from typing import Any, NamedTuple, Optional

import numpy as np

from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.metrics import registry
from gan_jax.runs import sampling
from gan_jax.runtime import writer

JUDGED = 256  # samples that D scores
EACH = 8  # of them shown as worst, as median, as best
MATCHED = 64  # samples whose neighbours are looked for
ROWS, NEIGHBOURS = 8, 4  # samples shown with neighbours, and how many
MOST_IMAGES = 10_000  # training images among which neighbours are looked for
MOST_BYTES = 32 * 2**20  # ... and their pixels


class Scored(NamedTuple):
    """Some samples by D's logit.

    Attributes:
        picture: uint8 [H, W, C], in one row.
        seeds: of them.
        scores: of them.
    """

    picture: Any
    seeds: list
    scores: list


class Looked(NamedTuple):
    """What the networks of a step add.

    Attributes:
        step: which.
        scored: {'worst': `Scored`, 'median': …, 'best': …}, or {}.
        pairs: uint8 [H, W, C], in each row a sample and its neighbours; None.
        distances: float [rows, neighbours] of pixels.
        among: how many training images were looked at.
        of: how many there are.
        why: {'scored' or 'pairs': words} for what is missing.
    """

    step: Optional[int] = None
    scored: dict = {}
    pairs: Any = None
    distances: Any = None
    among: int = 0
    of: int = 0
    why: dict = {}


def look(algorithm, state, dataset=None, why=''):
    """Sample a run's networks and judge what they give.

    Args:
        algorithm: the value that trained.
        state: `algorithm.TrainState` of NumPy arrays.
        dataset: `sources.Dataset` that it was trained on, or None.
        why: words for a missing data set.

    Returns:
        `Looked`.
    """
    samples = sampling.sample(algorithm, state, range(JUDGED))
    if samples.ndim == 2:
        why = 'Points are shown all together above, not one by one.'
        return Looked(int(state.step), why={'scored': why, 'pairs': why})
    images = writer.to_uint8(samples)
    looked, missing = Looked(int(state.step)), {}
    if algorithm.monitors is None:
        missing['scored'] = (
            f'algorithm={algorithm.name!r} has no discriminator to score by.'
        )
    else:
        looked = looked._replace(scored=by_score(
            images, algorithm.monitors.scores(state, samples)
        ))
    if dataset is None:
        missing['pairs'] = why
    else:
        looked = looked._replace(**_neighbours(images, dataset.images))
    return looked._replace(why=missing)


def by_score(images, scores):
    """Pick the worst, the median and the best.

    Args:
        images: uint8 [N, H, W, C] of the seeds 0 to N - 1.
        scores: [N], high is real.

    Returns:
        {'worst', 'median', 'best': `Scored`}, each from low to high.
    """
    order = np.argsort(scores, kind='stable')
    each = min(EACH, len(order))
    middle = (len(order) - each) // 2
    parts = {
        'worst': order[:each], 'median': order[middle:middle + each],
        'best': order[len(order) - each:],
    }
    return {
        name: Scored(
            writer.grid(images[seeds], each), seeds.tolist(),
            scores[seeds].tolist(),
        ) for name, seeds in parts.items()
    }


def _neighbours(samples, training):
    """Lay samples beside the training images that are nearest by pixels."""
    size = int(np.prod(training.shape[1:]))
    most = max(1, min(MOST_IMAGES, MOST_BYTES // size))
    count = min(len(training), most)
    places = np.arange(count) * len(training) // count
    views = [
        registry.View(images, None, None) for images in
        (samples[:MATCHED], np.asarray(training[places]))
    ]
    rows, distances = registry.closest(*views, rows=ROWS, count=NEIGHBOURS)
    return {
        'pairs': writer.grid(rows, len(rows) // len(distances)),
        'distances': distances, 'among': count, 'of': len(training),
    }


def restore(workdir):
    """Bring back a run's newest networks, and its data, and look at them.

    Args:
        workdir: folder of the run.

    Returns:
        `Looked`; what cannot be had is told in it.
    """
    try:
        algorithm, state = sampling.load(workdir)
    except (errors.UserError, OSError) as error:
        why = f'The networks cannot be restored: {_line(error)}.'
        return Looked(why={'scored': why, 'pairs': why})
    dataset, why = _data_of(workdir)
    return look(algorithm, state, dataset, why)


def _data_of(workdir):
    """Give (the data that a run was trained on or None, why not)."""
    told = sampling.load_data(workdir)
    try:
        sampling.check_data(workdir)
        dataset = builders.dataset(sampling.load_data_config(workdir))
    except (errors.UserError, OSError, ImportError) as error:
        return None, f'The training images are not at hand: {_line(error)}.'
    shape, count = list(dataset.images.shape[1:]), len(dataset.images)
    if [shape, count] != [told.get('image_shape'), told.get('count')]:
        return None, (
            f'The training images are not at hand: {dataset.name} now has '
            f'{count:,} of {shape}, and the run had {told.get("count")} of '
            f'{told.get("image_shape")}.'
        )
    return dataset, ''


def _line(error):
    return redact.mask(' '.join(str(error).split())).rstrip('.')
