"""Mix the styles of two groups of seeds, as a grid.

    python -m gan_jax mix --workdir=runs/stylegan2 --rows=0-3 --columns=10-17
    python -m gan_jax mix --workdir=runs/stylegan2 --styles=4-7 \\
        --truncation=0.7 --out=fine.png

A style-based generator makes an image from several styles, two for each
resolution, the lowest first. The first column shows the samples of --rows, the
first row those of --columns. Each other image has the --styles of its column's
seed, and all other styles of its row's. The first styles change the shape and
pose, the last ones color and detail (Karras et al.,
https://arxiv.org/abs/1812.04948, 2018).
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

ROWS = flags.DEFINE_string(
    'rows', '0-3', "Seeds of the rows, such as '0-3' or '1,5'."
)
COLUMNS = flags.DEFINE_string(
    'columns', '10-17', 'Seeds of the columns.'
)
STYLES = flags.DEFINE_string(
    'styles', '0-3', "Styles that are taken from the column's seed, such as "
    "'0-3' or '4,5'."
)
OUT = flags.DEFINE_string('out', 'mix.png', 'PNG file to write.')
LABELS = flags.DEFINE_string(
    'labels', None, "Classes of the rows, then of the columns, such as '7' or "
    "'0-9', repeated; by default seed modulo number of classes."
)
TRUNCATION = run_flags.define_truncation()


def main(argv):
    """Generate the table of mixed styles and write --out."""
    from gan_jax.runs import sampling
    from gan_jax.runs import styles
    from gan_jax.runtime import writer

    rows = sampling.parse_seeds(ROWS.value, '--rows')
    columns = sampling.parse_seeds(COLUMNS.value, '--columns')
    algorithm, state = run_flags.open_run(argv)
    places = run_flags.parse_styles(STYLES.value, algorithm)
    images, width = styles.mixing_grid(
        algorithm, state, rows, columns, places,
        labels=run_flags.labels(LABELS, len(rows) + len(columns)),
        weights=run_flags.WEIGHTS.value, **TRUNCATION(),
    )
    app.save_png('--out', OUT.value, writer.grid(
        images, width, units=run_flags.units()
    ))
    app.say(
        f'Wrote {len(rows)} x {len(columns)} mixed samples of '
        f'{run_flags.describe(state)} to {OUT.value}'
    )
