"""Add and subtract latent vectors, and draw the result.

    python -m gan_jax arithmetic --workdir=runs/dcgan --sum=3+5-7
    python -m gan_jax arithmetic --workdir=runs/dcgan --sum=1,2,3-4,5,6+7,8,9

Each number is a seed. A term of several seeds, joined by commas, stands for the
mean of their z. The picture has one row for each term: the samples of its
seeds, and in the last column the sample of their mean. The last row has the
sample of the sum. Radford et al., https://arxiv.org/abs/1511.06434, 2015,
introduced this. With --space=w of a style-based generator, the offsets of w
from the mean w are added.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SUM = flags.DEFINE_string(
    'sum', '', "Seeds to add and subtract, such as '3+5-7'."
)
RESCALE = flags.DEFINE_bool(
    'rescale', False, 'Scale the sum to the typical length of a latent.'
)
OUT = flags.DEFINE_string('out', 'arithmetic.png', 'PNG file to write.')
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()
SPACE = run_flags.define_space('latents are added')


def main(argv):
    """Draw the latent sum --sum of the run --workdir into --out."""
    from gan_jax.core import errors
    from gan_jax.runtime import writer
    from gan_jax.tools import latent_paths

    if not SUM.value:
        raise errors.ConfigError('--sum is missing, such as --sum=3+5-7')
    terms = latent_paths.parse_sum(SUM.value)
    algorithm, state = run_flags.open_run(argv)
    images, columns = latent_paths.pictures_of_sum(
        algorithm, state, terms, run_flags.labels(LABELS, 1),
        run_flags.WEIGHTS.value, space=SPACE.value, rescale=RESCALE.value,
        **TRUNCATION(),
    )
    if images.ndim == 2:
        raise errors.ConfigError('arithmetic needs a run on images, not points')
    app.save_png('--out', OUT.value, writer.grid(
        images, columns, units=run_flags.units()
    ))
    app.say(
        f'Wrote {SUM.value} of {run_flags.describe(state)} to {OUT.value}'
    )
