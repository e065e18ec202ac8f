"""Add and subtract latents, as Radford et al., 1511.06434, 2015, did.

    python -m gan_jax arithmetic --workdir=runs/dcgan --sum=3+5-7
    python -m gan_jax arithmetic --workdir=runs/dcgan --sum=1,2,3-4,5,6+7,8,9

Commas join the seeds of a term, whose z are averaged. The picture has a row for
each term: its seeds, then, in the last column, their mean; under the means, in
the last row, the sum.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

SUM = flags.DEFINE_string('sum', '', "Seeds, such as '3+5-7'.")
RESCALE = flags.DEFINE_bool(
    'rescale', False, 'Give the sum the length that latents have.'
)
OUT = flags.DEFINE_string('out', 'arithmetic.png', 'PNG file to write.')
LABELS = run_flags.define_labels()
TRUNCATION = run_flags.define_truncation()


def main(argv):
    """Draw --sum of --workdir into --out."""
    from gan_jax.core import errors
    from gan_jax.runtime import writer
    from gan_jax.tools import latent_paths

    if not SUM.value:
        raise errors.ConfigError('name a sum of seeds, such as --sum=3+5-7')
    terms = latent_paths.parse_sum(SUM.value)
    algorithm, state = run_flags.open_run(argv)
    images, columns = latent_paths.pictures_of_sum(
        algorithm, state, terms, run_flags.labels(LABELS, 1),
        run_flags.WEIGHTS.value, rescale=RESCALE.value,
        truncation=TRUNCATION.value,
    )
    if images.ndim == 2:
        raise errors.ConfigError('a sum is shown of images, not of points')
    app.save_png('--out', OUT.value, writer.grid(images, columns))
    app.say(f'{SUM.value} of {run_flags.told(state)} is in {OUT.value}')
