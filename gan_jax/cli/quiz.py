"""Write an HTML page that asks people which of two images is real.

    python -m gan_jax quiz --workdir=runs/dcgan --out=quiz.html
    python -m gan_jax evaluate --human=answers.csv

The page is one file without network access. Open it in a browser, on a phone if
you like, answer the questions and save the answers as CSV. The second command
counts the answers of all files that you give it.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

OUT = flags.DEFINE_string('out', 'quiz.html', 'HTML file to write.')
PAIRS = flags.DEFINE_integer(
    'pairs', 20, 'Number of questions.', lower_bound=1, upper_bound=1000
)
SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed that chooses the real images, the fakes and their sides.',
    lower_bound=0, upper_bound=2**32 - 1,
)
SPLIT = flags.DEFINE_enum(
    'split', '', ['', 'test', 'train'], "Split of the real images; by default "
    "'test' if images were held out, else 'train'."
)


def main(argv):
    """Write a quiz of --workdir to --out."""
    from gan_jax.core import files
    from gan_jax.tools import quiz

    algorithm, state = run_flags.open_run(argv)
    text = quiz.page(
        run_flags.WORKDIR.value, algorithm, state, count=PAIRS.value,
        seed=SEED.value, split=SPLIT.value, weights=run_flags.WEIGHTS.value,
    )
    with app.written('--out', OUT.value):
        path = files.to_path(OUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    app.say(
        f'Wrote {PAIRS.value} pairs of {run_flags.describe(state)} to '
        f'{OUT.value}'
    )
