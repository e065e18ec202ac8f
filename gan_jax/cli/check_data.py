"""Look through a source of images before training on it.

    python -m gan_jax check_data my/images --data.image_size=64 --out=check.png
    python -m gan_jax check_data mnist

Prints counts, sizes, modes, classes, images that are the same, and every file
that is skipped with its reason; writes a grid and the mean image.
"""

import pathlib

from absl import flags

from gan_jax.cli import app
from gan_jax.data import listing

DATA = app.define_data()
OUT = flags.DEFINE_string(
    'out', 'check.png', 'Grid to write; the mean image lies beside it.'
)


def main(argv):
    """Inspect the one source that is named on the command line."""
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
        f'Pictures  {grid} ({len(report.shown)} images), {mean} (the mean)'
    )
    reading.check(
        request.name, report.skipped, report.count, request.max_bad
    )


def _print(request, report):
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
        app.say('Trains    not yet: sizes differ, so set data.image_size')
    else:
        app.say(f'Trains    as {shapes}')
    for names in report.duplicates:
        app.say(f'Same      {" = ".join(map(listing.shown, names))}')
    same = len(report.duplicates)
    app.say(f'          {same} sets of images have the same pixels')
    for name, reason in report.skipped:
        app.say(f'Skipped   {listing.shown(name)}: it {reason}')
    for name, reason in report.ignored:
        app.say(f'Left out  {listing.shown(name)}: it {reason}')


def _counts(counts, show, most=8):
    """Show {key: count}, the commonest first."""
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
