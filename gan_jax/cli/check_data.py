"""Check a data set before training on it.

    python -m gan_jax check_data my/images --data.image_size=64 --out=check.png
    python -m gan_jax check_data mnist

The argument is a folder, an archive, an array file, a pack, or the name of a
data set. The command prints the number of images, their sizes, colour modes and
classes, duplicates, and each file that is skipped with the reason. It writes a
grid of sample images, and the mean image beside it.
"""

import pathlib

from absl import flags

from gan_jax.cli import app
from gan_jax.data import listing

DATA = app.define_data()
OUT = flags.DEFINE_string(
    'out', 'check.png', 'PNG file to write the grid to; the mean image gets '
    'the same name with _mean.'
)


def main(argv):
    """Check the source that is named on the command line."""
    from gan_jax.data import inspection
    from gan_jax.data import reading
    from gan_jax.runtime import writer

    request = app.request(argv, DATA.value)
    report = inspection.inspect(request)
    _print(request, report)
    grid = pathlib.Path(OUT.value)
    mean = grid.with_stem(f'{grid.stem}_mean')
    app.save_png('--out', grid, writer.grid(report.shown))
    app.save_png('--out', mean, writer.grid(report.mean[None]))
    app.say(
        f'Pictures  {grid} ({len(report.shown)} images), {mean} (their mean)'
    )
    reading.check(
        request.name, report.skipped, report.count, request.max_bad
    )


def _print(request, report):
    """Print an `inspection` report as a table of two columns."""
    bad, left = len(report.skipped), len(report.ignored)
    app.say(
        f'Source    {request.name}\n'
        f'Images    {report.count:,} good, {bad:,} bad, {left:,} other files\n'
        f'Sizes     {_counts(report.sizes, _size)} (height x width)\n'
        f'Modes     {_counts(report.modes, str)}\n'
        f'Classes   {_classes(report.classes)}'
    )
    shapes = _counts(report.shapes, _size)
    if len({shape[:2] for shape in report.shapes}) > 1:
        app.say('Trains    no: sizes differ; set --data.image_size')
    else:
        app.say(f'Trains    as {shapes}')
    for names in report.duplicates:
        app.say(f'Same      {" = ".join(map(listing.shown, names))}')
    same = len(report.duplicates)
    app.say(f'          {same} groups of images have equal pixels')
    for name, reason in report.skipped:
        app.say(f'Skipped   {listing.shown(name)}: it {reason}')
    for name, reason in report.ignored:
        app.say(f'Ignored   {listing.shown(name)}: it {reason}')


def _counts(counts, show, most=8):
    """Format {key: count}, largest count first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f'{show(key)}: {count:,}' for key, count in ordered[:most]]
    more = len(ordered) - most
    return ', '.join(shown) + (f' and {more} more' if more > 0 else '')


def _classes(classes):
    if not classes:
        return 'none'
    shown = ', '.join(
        f'{listing.shown(name)} {count:,}' for name, count in classes.items()
    )
    return f'{len(classes)}: {shown}'


def _size(sides):
    return 'x'.join(map(str, sides))
