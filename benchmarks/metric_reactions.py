"""Show how each metric reacts to damaged or badly chosen images.

    python benchmarks/metric_reactions.py --out=runs/metric_reactions.png
    python benchmarks/metric_reactions.py --data=mnist --num=5000

It compares real images with equally many other real images that are damaged
more and more, or badly chosen:

  noise       (1 - a) x + a n, n Gaussian of mean 127.5 and deviation 64
  blur        Gaussian kernel with a deviation of a pixels
  salt        a share a of the pixels becomes black or white, equally often
  swirl       rotated about the centre by a exp(-5 r / (ln 2 s)) radians at
              distance r, where s is the longer side
  kept        only a classes of the data remain: dropped modes
  each        only a images of each class remain, and are repeated

The first four are those of Heusel et al., GANs trained by a two time-scale
update rule converge to a local Nash equilibrium,
https://arxiv.org/abs/1706.08500, 2017, figure 3, with their levels, except that
the noise and the extent of the swirl have other scales there. Features are
those of a classifier that was trained on all images, so it knows both sets
equally well. The row `real` has undamaged other real images.
"""

from typing import Any, Callable, NamedTuple, Tuple

from absl import flags
import numpy as np
from scipy import ndimage

from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.features import classifier
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax.metrics import registry
from gan_jax.runtime import environment
from gan_jax.runtime import writer

DATA = flags.DEFINE_string('data', 'digits', 'Name of a labelled data set.')
DATA_DIR = flags.DEFINE_string('data_dir', '', 'Folder of prepared TFDS data.')
FEATURES = flags.DEFINE_string('features', 'classifier', 'Name of features.')
NUM = flags.DEFINE_integer(
    'num', 0, 'Images per set; 0 is a seventh of the data, at most 5,000.'
)
OUT = flags.DEFINE_string('out', 'runs/metric_reactions.png', 'PNG to write.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
DPI = flags.DEFINE_integer('dpi', 80, 'Pixels per inch of 15.', lower_bound=20)

MOST = 5000
SETTINGS = classifier.Settings()
SHOWN = 4  # images of each level in the picture
REAL = 'real'
COLUMNS = {
    'fid': ('FID', '{:.4g}'),
    'kid': ('KID', '{:.3g}'),
    'precision': ('precision', '{:.3f}'),
    'recall': ('recall', '{:.3f}'),
    'coverage': ('coverage', '{:.3f}'),
    'is': ('IS', '{:.2f}'),
    'ms_ssim': ('MS-SSIM', '{:.3f}'),
}
# Okabe and Ito's colours, apart for the colour-blind too.
STYLES = {
    'fid': {'color': '#0072b2', 'marker': 'o'},
    'kid': {'color': '#d55e00', 'marker': 's', 'linestyle': '--'},
    'precision': {'color': '#e69f00', 'marker': '^'},
    'recall': {'color': '#009e73', 'marker': 'v'},
    'coverage': {'color': '#000000', 'marker': 's', 'linestyle': '--'},
    'is': {'color': '#cc79a7', 'marker': 'D'},
    'ms_ssim': {'color': '#56b4e9', 'marker': 'x', 'linestyle': '--'},
}


def noise(images, level, random):
    """Mix images with Gaussian noise."""
    values = random.normal(127.5, 64, images.shape)
    return _to_uint8((1 - level) * images + level * values)


def blur(images, level, random):
    """Blur images."""
    del random
    return _to_uint8(ndimage.gaussian_filter(
        images.astype(np.float32), (0, level, level, 0)
    ))


def salt(images, level, random):
    """Add salt and pepper: a pixel becomes black or white in all channels."""
    drawn = random.uniform(size=(*images.shape[:3], 1))
    images = np.where(drawn < level, np.uint8(255), images)
    return np.where(drawn < level / 2, np.uint8(0), images)


def swirl(images, level, random):
    """Rotate images about their centre, less at larger distances."""
    del random
    height, width = images.shape[1:3]
    rows, columns = np.indices((height, width), np.float64)
    middle = (height - 1) / 2, (width - 1) / 2
    down, right = rows - middle[0], columns - middle[1]
    distance = np.hypot(down, right)
    angle = np.arctan2(down, right) + level * np.exp(
        -5 * distance / (np.log(2) * max(height, width))
    )
    places = (
        middle[0] + distance * np.sin(angle),
        middle[1] + distance * np.cos(angle),
    )
    return np.stack([
        np.stack([
            _to_uint8(ndimage.map_coordinates(
                image[..., channel].astype(np.float32), places, order=1,
                mode='nearest',
            )) for channel in range(images.shape[3])
        ], -1) for image in images
    ])


def _to_uint8(values):
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def kept(labels, level, count):
    """Choose the indices of images of the first classes."""
    places = np.flatnonzero(labels < level)[:count]
    if len(places) < count:
        raise errors.DataError(
            f'{level} classes have {len(places)} images, fewer than {count}; '
            'lower --num'
        )
    return places


def each(labels, level, count):
    """Choose the indices of a few images of each class, repeated."""
    chosen = [
        np.flatnonzero(labels == label)[:level] for label in np.unique(labels)
    ]
    return np.resize(np.stack(chosen, 1), count)


class Family(NamedTuple):
    """Family of damages.

    Attributes:
        title: title of its panels.
        levels: from the least damage on.
        change: function of (images, level, random) to images; None if images
            are chosen instead.
        choose: function of (labels, level, count) to indices, or None.
    """

    title: str
    levels: Tuple
    change: Callable = None
    choose: Callable = None


FAMILIES = {
    'noise': Family('Gaussian noise', (0.25, 0.5, 0.75), noise),
    'blur': Family('Gaussian blur', (1, 2, 4), blur),
    'salt': Family('salt and pepper', (0.1, 0.2, 0.3), salt),
    'swirl': Family('swirl', (1, 2, 4), swirl),
    'kept': Family('classes kept of 10', (9, 7, 5, 2), choose=kept),
    'each': Family('images of each class', (100, 10, 1), choose=each),
}


class Row(NamedTuple):
    """Metrics of one set.

    Attributes:
        family: key of `FAMILIES`, or `REAL`.
        level: level of the family; None for real images.
        values: {name: float}.
        shown: uint8 [SHOWN, H, W, C], the first of its images.
    """

    family: str
    level: Any
    values: dict
    shown: np.ndarray


def split(dataset, count):
    """Split images at random into a reference set and the others."""
    order = np.random.RandomState(0).permutation(len(dataset.images))
    real, others = np.sort(order[:count]), order[count:]
    if not 1 < count <= len(others):
        raise errors.DataError(
            f'--num={count} is not in 2 to half of {len(order)} images'
        )
    images = np.asarray(dataset.images)
    return (
        images[real], dataset.labels[real], images[others],
        dataset.labels[others],
    )


def sets(images, labels, count):
    """Yield the sets that are compared with real images.

    Args:
        images: uint8 [M, H, W, C], in random order.
        labels: int [M].
        count: N, images of a set, at most M.

    Yields:
        (family, level, uint8 [N, H, W, C]); levels that leave nothing out at
        this N are skipped.
    """
    yield REAL, None, images[:count]
    for name, family in FAMILIES.items():
        for level in family.levels:
            if family.change is not None:
                yield name, level, family.change(
                    images[:count], level, np.random.RandomState(0)
                )
            elif family.choose is kept or level * 10 < count:
                yield name, level, images[family.choose(labels, level, count)]


def measure(real, fake):
    """Compute all metrics that the features allow, {name: float}."""
    numbers = {}
    for name in ('fid', 'kid', 'prdc', 'is', 'ms_ssim'):
        try:
            numbers |= registry.measure(name, real, fake)
        except errors.ConfigError:
            pass  # features without classes have no Inception Score
    return {name: number.value for name, number in numbers.items()}


def own(name):
    """Return the name of a number for the features that are used."""
    return catalog.name_of(name, FEATURES.value)


def column_title(name):
    """Return the title of a number of `COLUMNS`."""
    return COLUMNS[name][0] if own(name) == name else own(name)


def load():
    """Load the images, and the extractor that was trained on them."""
    request = sources.Request(DATA.value, data_dir=DATA_DIR.value)
    dataset = sources.load(request)
    if dataset.labels is None or len(dataset.classes) != 10:
        raise errors.DataError(f'{DATA.value} does not have 10 classes')
    more = {}
    if FEATURES.value == 'classifier':
        more['settings'] = SETTINGS
    try:
        held_out = sources.load(request._replace(split='test'))
    except errors.DataError:
        held_out = None
    return dataset, extractors.make(
        FEATURES.value, dataset, held_out, **more
    )


def table_row(row):
    """Format a row as Markdown."""
    shown = [
        form.format(row.values[own(name)]) if own(name) in row.values else ''
        for name, (_, form) in COLUMNS.items()
    ]
    level = '' if row.level is None else f'{row.level:g}'
    return f'| {" | ".join([row.family, level, *shown])} |'


def head():
    """Return the header of the table, two lines."""
    titles = ['set', 'level', *map(column_title, COLUMNS)]
    return f'| {" | ".join(titles)} |\n' + '|---' * len(titles) + '|'


def draw(rows, dpi):
    """Draw images and metrics over the levels of each family.

    Args:
        rows: list of `Row`, the real one first.
        dpi: pixels per inch of 15 by 9.

    Returns:
        uint8 [9 dpi, 15 dpi, 3] of 16 levels, for a small file.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(15, 9), dpi=dpi, layout='constrained')
    panels = figure.subplots(
        4, len(FAMILIES), sharex='col', height_ratios=(5, 4, 4, 4)
    )
    for column, (name, family) in zip(panels.T, FAMILIES.items()):
        levels = [rows[0], *(row for row in rows if row.family == name)]
        _show(column[0], levels)
        column[0].set_title(family.title)
        _plot(column[1], levels, ('fid', 'kid'))
        _plot(column[2], levels, ('precision', 'recall', 'coverage'))
        _plot(
            column[3], levels, ('is', 'ms_ssim'),
            rows[0].values.get(own('is')),
        )
        column[3].set_xticks(range(len(levels)), [
            REAL, *(f'{row.level:g}' for row in levels[1:])
        ])
        column[1].set_yscale('log')
        for axes in column[2:]:
            axes.set_ylim(-0.05, 1.1)
    titles = (
        '', 'distance (log)', 'share',
        'IS over that of real,\nMS-SSIM of a class',
    )
    for row, title in zip(panels, titles):
        row[0].set_ylabel(title)
        for axes in row[1:]:
            axes.tick_params(labelleft=False)
    _level(panels[1])
    names = [name for name in COLUMNS if own(name) in rows[0].values]
    figure.legend(handles=[
        Line2D([], [], label=column_title(name), **STYLES[name])
        for name in names
    ], loc='outside lower center', ncols=len(names))
    return writer.rasterize(figure) // 17 * 17


def _level(row):
    """Set the same limits for all panels of a row."""
    lows, highs = zip(*(axes.get_ylim() for axes in row))
    for axes in row:
        axes.set_ylim(min(lows), max(highs))


def _show(axes, levels):
    """Draw images, one column for each level."""
    grid = np.concatenate([
        np.concatenate(row.shown, 0) for row in levels
    ], 1).squeeze()
    axes.imshow(
        grid, cmap='gray', vmin=0, vmax=255, aspect='auto',
        extent=(-0.5, len(levels) - 0.5, 0, 1),
    )
    axes.set_yticks([])


def _plot(axes, levels, names, unit=1.0):
    """Plot metrics over levels; the Inception Score is divided by `unit`."""
    for name in names:
        if own(name) not in levels[0].values:
            continue
        values = [row.values[own(name)] for row in levels]
        if name == 'is':
            values = np.divide(values, unit)
        if name == 'kid':  # unbiased, so it can be below 0
            values = [value if value > 0 else np.nan for value in values]
        axes.plot(range(len(levels)), values, markersize=5, **STYLES[name])
    axes.grid(alpha=0.3)


def main(argv):
    """Measure all sets, print a row for each, and write the picture."""
    del argv
    dataset, extractor = load()
    count = NUM.value or min(MOST, len(dataset.images) // 7)
    images, labels, others, other_labels = split(dataset, count)
    real = registry.View(images, labels, extractor)
    print(
        f'{dataset.name}, {count:,} against {count:,} images, {extractor.note}'
        f', {extractor.fingerprint}\n\n{head()}', flush=True,
    )
    rows = []
    for family, level, fake in sets(others, other_labels, count):
        values = measure(real, registry.View(fake, None, extractor))
        rows.append(Row(family, level, values, fake[:SHOWN]))
        print(table_row(rows[-1]), flush=True)
    if JSON.value:
        writer.write_json(JSON.value, {
            'versions': environment.describe(0)['versions'],
            'data': dataset.name, 'num': count,
            'features': {
                'name': extractor.name, 'note': extractor.note,
                'fingerprint': extractor.fingerprint,
            },
            'rows': [
                {'set': row.family, 'level': row.level, **row.values}
                for row in rows
            ],
        })
    writer.save_png(OUT.value, draw(rows, DPI.value))
    print(f'\nWrote {OUT.value}')


if __name__ == '__main__':
    app.run(main)
