"""Translate images or films by a run of CycleGAN or pix2pix.

    python -m gan_jax translate --workdir=runs/cyclegan --input=a.jpg \\
      --out=b.png
    python -m gan_jax translate --workdir=runs/cyclegan --input=photos \\
      --direction=b_to_a --out=translated
    python -m gan_jax translate --workdir=runs/cyclegan --input=film.mp4 \\
      --out=translated.mp4

A picture becomes a PNG. A folder becomes a new folder of PNGs with the same
names and subfolders; bad files are named and skipped. An animated GIF becomes a
GIF with the same durations. An MP4, which needs ffmpeg, becomes an MP4 with the
same frame rate and sound.

Images keep their size; channels and background are those of training. A side
that the network cannot take is padded by reflection, and the result is cut. An
image with a side longer than --tile is translated in tiles, which are blended
where they overlap. An instance norm then uses the statistics of a tile, so
colors can change from tile to tile; a larger --tile needs more memory.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

INPUT = flags.DEFINE_string(
    'input', '', 'Image file, folder, animated GIF or MP4 to translate.'
)
OUT = flags.DEFINE_string(
    'out', '', 'File to write (.png for a picture, .gif, .mp4), or a folder to '
    'create if --input is a folder.'
)
DIRECTION = run_flags.define_direction()
TILE = flags.DEFINE_integer(
    'tile', 256, 'Longest side that is translated at once, in pixels; it is '
    'rounded up to a side that the network takes.', lower_bound=1
)
OVERLAP = flags.DEFINE_integer(
    'overlap', 32, 'Fewest pixels that neighbouring tiles share, at most half '
    'of --tile.', lower_bound=0
)
SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of dropout, the noise of pix2pix; it is the same for each '
    'picture, tile and frame.', lower_bound=0, upper_bound=2**31 - 1
)


def main(argv):
    """Translate --input by the run --workdir and write --out."""
    from gan_jax.core import errors
    from gan_jax.data import reading
    from gan_jax.tools import image_translation

    algorithm, state = run_flags.open_run(argv)
    for name, flag in (('input', INPUT), ('out', OUT)):
        if not flag.value:
            raise errors.ConfigError(f'--{name} is missing')
    direction = DIRECTION.value or 'a_to_b'
    translator = image_translation.build(
        run_flags.WORKDIR.value, algorithm, state, direction,
        weights=run_flags.WEIGHTS.value, tile=TILE.value,
        overlap=OVERLAP.value, seed=SEED.value,
    )
    source = image_translation.load_input(INPUT.value, OUT.value)
    with app.written('--out', OUT.value):
        result = image_translation.write(translator, source, OUT.value)
    reading.report_skipped(INPUT.value, result.skipped)
    unit = 'frames' if source.kind in image_translation.FILMS else 'pictures'
    app.say(
        f'Wrote {result.images:,} {unit}, {direction} by '
        f'{run_flags.describe(state)}, to {OUT.value}'
    )
    reading.check(
        INPUT.value, result.skipped, result.images, translator.max_bad
    )
