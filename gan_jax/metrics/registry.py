"""Every number about samples by name: what it compares, and with what floor.

The maths is in metrics/, the features are those of features/. A number about
two sets has for its floor the same number of two halves of the real images; a
number about one set stands beside that of the real images.
"""

import contextlib
import hashlib
from typing import Any, Callable, NamedTuple, Optional
import zipfile

import numpy as np
from scipy import special

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.metrics import frechet
from gan_jax.metrics import inception_score
from gan_jax.metrics import kernel
from gan_jax.metrics import manifolds
from gan_jax.metrics import memorization
from gan_jax.metrics import modes
from gan_jax.metrics import ms_ssim
from gan_jax.metrics import sliced_wasserstein
from gan_jax.metrics import support

CONFIDENT = 0.9  # the classifier's probability of a sample that it knows
SUPPORT_BATCH = 50  # samples among which the closest pair is looked for
SUPPORT_QUANTILE = 0.05  # of closest real pairs, under which two are the same


class Seen(NamedTuple):
    """What an extractor says of images: [N, F], and [N, K] or None."""

    features: Any
    logits: Any


class View:
    """Images and what an extractor says of them, computed once.

    Attributes:
        images: [N, H, W, C] uint8, or points [N, D].
        labels: int [N] or None.
    """

    def __init__(
        self, images, labels, extractor, *, progress=None, cache=None
    ):
        """Look at images by an `extractors.Extractor`.

        Args:
            images, labels: the attributes.
            extractor: what looks.
            progress: function of (images done, of how many), or None.
            cache: folder in which what is seen is kept, or None. Its name
                there tells of all pixels and of the extractor's fingerprint.
        """
        self.images, self.labels = images, labels
        self._extractor, self._progress = extractor, progress
        self._cache, self._seen = cache, None

    def __len__(self):
        return len(self.images)

    def part(self, places):
        """Give the view of some of the images."""
        labels = None if self.labels is None else self.labels[places]
        view = View(self.images[places], labels, self._extractor)
        view._seen = Seen(*(
            None if values is None else values[places]
            for values in self._look()
        ))
        return view

    def _look(self):
        if self._seen is None and self._cache is not None:
            self._seen = self._cached()
        elif self._seen is None:
            self._seen = self._extractor(self.images, self._progress)
        return self._seen

    def _cached(self):
        digest = hashlib.sha256(self._extractor.fingerprint.encode())
        digest.update(f'{self.images.shape} {self.images.dtype}'.encode())
        digest.update(np.ascontiguousarray(self.images))
        path = self._cache / f'reference-{digest.hexdigest()[:32]}.npz'
        try:
            with files.opened(path) as file:  # which np.load may leave open
                kept = np.load(file, allow_pickle=False)
                found = Seen(kept['features'], kept.get('logits'))
            if len(found.features) == len(self):
                return found
        except (EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # not there, or damaged: it is made again
        seen = self._extractor(self.images, self._progress)
        kept = {k: v for k, v in seen._asdict().items() if v is not None}
        # A cache that is full or read-only only costs time.
        with contextlib.suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as file:
                np.savez(file, **kept)
        return Seen(seen.features, seen.logits)

    @property
    def features(self):
        """Give float32 [N, F]."""
        return self._look().features

    @property
    def logits(self):
        """Give float32 [N, K].

        Raises:
            errors.ConfigError: where the extractor tells no classes.
        """
        logits = self._look().logits
        if logits is None:
            raise errors.ConfigError(
                f'features={self._extractor.name!r} tell no classes, which '
                'this metric needs; a classifier does'
            )
        return logits


def _fid(real, fake):
    return {'fid': frechet.frechet_distance(real.features, fake.features)}


def _kid(real, fake):
    found = kernel.kernel_distance(real.features, fake.features)
    return {'kid': found.mean, 'kid_std': found.std}


def _prdc(real, fake):
    return manifolds.prdc(real.features, fake.features)


def _swd(real, fake):
    found = sliced_wasserstein.sliced_wasserstein_distance(
        real.images, fake.images
    )
    return {
        'swd' if level == 'mean' else f'swd_{level}': value
        for level, value in found.items()
    }


def _inception_score(view):
    splits = 10 if len(view) >= 5000 else 1
    found = inception_score.inception_score(view.logits, splits=splits)
    return {'is': found.mean, 'is_std': found.std}


def _modes(view):
    """Count the classes that samples are seen as, and how surely."""
    chances = special.softmax(view.logits.astype(np.float64), 1)
    found = modes.recovered_classes(chances.argmax(1), chances.shape[1])
    return {
        **found, 'confident': float((chances.max(1) > CONFIDENT).mean())
    }


def _ms_ssim(view):
    """Take the classes that the extractor sees, where it tells any."""
    try:
        classes = view.logits.argmax(1)
    except errors.ConfigError:
        classes = None
    return {'ms_ssim': ms_ssim.diversity(view.images, classes)}


def _support(real, fake):
    closest, _ = support.closest_pairs(real.features, SUPPORT_BATCH)
    threshold = np.quantile(closest, SUPPORT_QUANTILE)
    found = support.support_size(
        fake.features, threshold, batch_size=SUPPORT_BATCH
    )
    return {
        'support': found['support'], 'support_low': found['low'],
        'support_high': found['high'],
    }


class Measure(NamedTuple):
    """One kind of number.

    Attributes:
        function: (real, fake) -> {name: float} or, of `alone`, (view) -> the
            same.
        better: name -> 'lower', 'higher' or '', which way samples are better.
        alone: whether it is of one set of images.
        images: whether it looks at pixels laid out as images.
        classes: whether it asks features that tell classes.
    """

    function: Callable
    better: dict
    alone: bool = False
    images: bool = False
    classes: bool = False


MEASURES = {
    'fid': Measure(_fid, {'fid': 'lower'}),
    'is': Measure(
        _inception_score, {'is': 'higher'}, alone=True, classes=True
    ),
    'kid': Measure(_kid, {'kid': 'lower'}),
    'modes': Measure(_modes, {
        'modes': 'higher', 'smallest_mode': 'higher', 'reverse_kl': 'lower',
        'confident': 'higher',
    }, alone=True, classes=True),
    'ms_ssim': Measure(_ms_ssim, {'ms_ssim': ''}, alone=True, images=True),
    'prdc': Measure(_prdc, {
        'precision': 'higher', 'recall': 'higher', 'density': 'higher',
        'coverage': 'higher',
    }),
    'support': Measure(_support, {'support': 'higher'}),
    'swd': Measure(_swd, {'swd': 'lower'}, images=True),
}


class Number(NamedTuple):
    """One number about samples.

    Attributes:
        value: of the samples.
        floor: of two halves of the real images, or of the real images.
    """

    value: float
    floor: Optional[float]


def measure(name, real, fake, halves=None):
    """Give the numbers of one of `MEASURES`.

    Args:
        name: of it.
        real, fake: `View`.
        halves: two `View` of parts of the real images, for the floor; None
            leaves it out.

    Returns:
        {name: `Number`}.

    Raises:
        errors.ConfigError: where the features cannot tell.
        errors.DataError: for too few images.
    """
    kind = MEASURES[name]
    if kind.images and real.images.ndim != 4:
        raise errors.ConfigError(f'metric {name!r} is of images, not of points')
    if kind.alone:
        found = kind.function(fake)
        floor = kind.function(real) if halves else {}
    else:
        found = kind.function(real, fake)
        floor = kind.function(*halves) if halves else {}
    return {
        key: Number(float(value), floor.get(key))
        for key, value in found.items()
    }


def halves(view, seed=0):
    """Part real images by chance into two views, equally large."""
    order = np.random.RandomState(seed).permutation(len(view))
    count = len(view) // 2
    return view.part(np.sort(order[:count])), view.part(
        np.sort(order[count:2 * count])
    )


def memorized(fake, held_out, training):
    """Ask whether samples copy training images, by pixels and by features.

    Args:
        fake, held_out, training: `View`.

    Returns:
        {'pixels' or 'features': dict as of `memorization.verdict`}.
    """
    return {
        'pixels': memorization.verdict(*(
            view.images for view in (fake, held_out, training)
        )),
        'features': memorization.verdict(*(
            view.features for view in (fake, held_out, training)
        )),
    }


def closest(fake, training, *, rows=10, count=7):
    """Lay out the samples nearest to the training images, with neighbours.

    Args:
        fake, training: `View` of images.
        rows: samples, the nearest of all first.
        count: neighbours of each.

    Returns:
        (uint8 [rows * (count + 1), H, W, C], a row after the other, sample
        first; float64 [rows, count] distances of pixels).
    """
    count = min(count, len(training))
    numbers, apart = memorization.neighbours(
        fake.images, training.images, count=count
    )
    chosen = apart[:, 0].argsort(kind='stable')[:rows]
    shown = [
        np.concatenate([fake.images[n:n + 1], training.images[numbers[n]]])
        for n in chosen
    ]
    return np.concatenate(shown), apart[chosen]
