"""The metrics of samples by name, each computed beside its floor.

The other modules of metrics/ hold the maths, gan_jax/features extracts the
features, and `catalog` lists the names. The floor of a metric of two sets is
its value between two halves of the real images; the floor of a metric of one
set is its value for the real images. This module knows neither runs nor
networks.
"""

import contextlib
import hashlib
from typing import Any, NamedTuple, Optional
import zipfile

import numpy as np
from scipy import special

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.metrics import catalog
from gan_jax.metrics import frechet
from gan_jax.metrics import inception_score
from gan_jax.metrics import kernel
from gan_jax.metrics import manifolds
from gan_jax.metrics import memorization
from gan_jax.metrics import modes
from gan_jax.metrics import ms_ssim
from gan_jax.metrics import sliced_wasserstein
from gan_jax.metrics import support

CONFIDENT = 0.9  # class probability above which the classifier is confident
SUPPORT_BATCH = 50  # samples among which the closest pair is searched
SUPPORT_QUANTILE = 0.05  # of closest real pairs; nearer pairs are duplicates


class Extracted(NamedTuple):
    """Features [N, F] of images and class logits [N, K], or None."""

    features: Any
    logits: Any


class View:
    """Images with their features, which are extracted once.

    Attributes:
        images: [N, H, W, C] uint8, or points [N, D].
        labels: int [N] or None.
    """

    def __init__(
        self, images, labels, extractor, *, progress=None, cache=None
    ):
        """Create a view; features are extracted when they are first needed.

        Args:
            images, labels: the attributes.
            extractor: `extractors.Extractor`.
            progress: function of (images done, number of images), or None.
            cache: folder that keeps the features, or None. The file name is a
                hash of all pixels and of the extractor's fingerprint.
        """
        self.images, self.labels = images, labels
        self._extractor, self._progress = extractor, progress
        self._cache, self._extracted = cache, None

    def __len__(self):
        return len(self.images)

    def part(self, indices):
        """Return the view of the images at some indices."""
        labels = None if self.labels is None else self.labels[indices]
        view = View(self.images[indices], labels, self._extractor)
        view._extracted = Extracted(*(
            None if values is None else values[indices]
            for values in self._extract()
        ))
        return view

    def _extract(self):
        if self._extracted is None and self._cache is not None:
            self._extracted = self._extract_cached()
        elif self._extracted is None:
            self._extracted = self._extractor(self.images, self._progress)
        return self._extracted

    def _extract_cached(self):
        digest = hashlib.sha256(self._extractor.fingerprint.encode())
        digest.update(f'{self.images.shape} {self.images.dtype}'.encode())
        digest.update(np.ascontiguousarray(self.images))
        path = self._cache / f'reference-{digest.hexdigest()[:32]}.npz'
        try:
            with files.open_regular(path) as file:  # np.load may leave it open
                arrays = np.load(file, allow_pickle=False)
                cached = Extracted(arrays['features'], arrays.get('logits'))
            if len(cached.features) == len(self):
                return cached
        except (EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # missing or damaged: the features are extracted again
        new = self._extractor(self.images, self._progress)
        arrays = {k: v for k, v in new._asdict().items() if v is not None}
        # If the cache cannot be written, the next process extracts again.
        with contextlib.suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            with files.atomic_write(path) as file:
                np.savez(file, **arrays)
        return Extracted(new.features, new.logits)

    @property
    def features_name(self):
        """Return the name of the extractor."""
        return self._extractor.name

    @property
    def features(self):
        """Return the features, float32 [N, F]."""
        return self._extract().features

    @property
    def logits(self):
        """Return the class logits, float32 [N, K].

        Raises:
            errors.ConfigError: if the extractor has no classes.
        """
        logits = self._extract().logits
        if logits is None:
            raise errors.ConfigError(
                f'features={self._extractor.name!r} have no class logits, '
                "which this metric needs; features='classifier' have"
            )
        return logits


def _fid(real, fake):
    return {'fid': frechet.frechet_distance(real.features, fake.features)}


def _kid(real, fake):
    distance = kernel.kernel_distance(real.features, fake.features)
    return {'kid': distance.mean, 'kid_std': distance.std}


def _prdc(real, fake):
    return manifolds.prdc(real.features, fake.features)


def _swd(real, fake):
    levels = sliced_wasserstein.sliced_wasserstein_distance(
        real.images, fake.images
    )
    return {
        'swd' if level == 'mean' else f'swd_{level}': value
        for level, value in levels.items()
    }


def _inception_score(view):
    splits = 10 if len(view) >= 5000 else 1
    score = inception_score.inception_score(view.logits, splits=splits)
    return {'is': score.mean, 'is_std': score.std}


def _modes(view):
    """Count the predicted classes of samples, and the confident predictions."""
    probs = special.softmax(view.logits.astype(np.float64), 1)
    numbers = modes.recovered_classes(probs.argmax(1), probs.shape[1])
    return {
        **numbers, 'confident': float((probs.max(1) > CONFIDENT).mean())
    }


def _ms_ssim(view):
    """Compute MS-SSIM within predicted classes, or of all without classes."""
    try:
        classes = view.logits.argmax(1)
    except errors.ConfigError:
        classes = None
    return {'ms_ssim': ms_ssim.diversity(view.images, classes)}


def _support(real, fake):
    closest, _ = support.closest_pairs(real.features, SUPPORT_BATCH)
    threshold = np.quantile(closest, SUPPORT_QUANTILE)
    size = support.support_size(
        fake.features, threshold, batch_size=SUPPORT_BATCH
    )
    return {
        'support': size['support'], 'support_low': size['low'],
        'support_high': size['high'],
    }


_FUNCTIONS = {  # (real, fake) -> {name: float}, or (view) -> the same
    'fid': _fid,
    'is': _inception_score,
    'kid': _kid,
    'modes': _modes,
    'ms_ssim': _ms_ssim,
    'prdc': _prdc,
    'support': _support,
    'swd': _swd,
}


class Number(NamedTuple):
    """A number about samples beside its floor.

    Attributes:
        value: of the samples.
        floor: between two halves of the real images, or of the real images;
            None if it was not computed.
    """

    value: float
    floor: Optional[float]


def measure(name, real, fake, halves=None):
    """Compute the numbers of a metric.

    Args:
        name: one of `catalog.METRICS`.
        real, fake: `View`.
        halves: two `View`s of halves of the real images, for the floor; None
            leaves the floor out.

    Returns:
        {name: `Number`}; names are those of `catalog.name_of`.

    Raises:
        errors.ConfigError: if the features or the data do not fit the metric.
        errors.DataError: for too few images.
    """
    metric, function = catalog.METRICS[name], _FUNCTIONS[name]
    if metric.images and real.images.ndim != 4:
        raise errors.ConfigError(f'metric {name!r} is of images, not of points')
    if metric.alone:
        values = function(fake)
        floor = function(real) if halves else {}
    else:
        values = function(real, fake)
        floor = function(*halves) if halves else {}
    return {
        catalog.name_of(key, fake.features_name): Number(
            float(value), floor.get(key)
        ) for key, value in values.items()
    }


def halves(view, seed=0):
    """Split a view at random into two views of equal size."""
    order = np.random.RandomState(seed).permutation(len(view))
    count = len(view) // 2
    return view.part(np.sort(order[:count])), view.part(
        np.sort(order[count:2 * count])
    )


def memorized(fake, held_out, training):
    """Test by pixels and by features whether samples copy training images.

    Args:
        fake, training: `View`.
        held_out: `View`; None where no images were held out.

    Returns:
        {'pixels': verdict, 'features': verdict}, dicts of
        `memorization.verdict` or, without held-out images, of
        `memorization.verdict_alone`.
    """
    views, test = (fake, held_out, training), memorization.verdict
    if held_out is None:
        views, test = (fake, training), memorization.verdict_alone
    return {
        'pixels': test(*(view.images for view in views)),
        'features': test(*(view.features for view in views)),
    }


def nearest_training_images(fake, training, *, rows=10, count=7):
    """Collect the samples nearest to training images, with their neighbours.

    Args:
        fake, training: `View` of images.
        rows: number of samples, in order of their nearest distance.
        count: neighbours of each.

    Returns:
        (uint8 [rows * (count + 1), H, W, C], row by row, the sample first;
        float64 [rows, count] Euclidean distances of pixels).
    """
    count = min(count, len(training))
    indices, distances = memorization.neighbours(
        fake.images, training.images, count=count
    )
    order = distances[:, 0].argsort(kind='stable')[:rows]
    images = [
        np.concatenate([fake.images[n:n + 1], training.images[indices[n]]])
        for n in order
    ]
    return np.concatenate(images), distances[order]
