"""Write one HTML page about a run, or about several side by side.

    python -m gan_jax report --workdir=runs/dcgan
    python -m gan_jax report --workdir=runs/a --workdir=runs/b --out=both.html

The first leaves runs/dcgan/report.html, as the end of training does; again
after `gan_jax.evaluate`, it holds what was measured. The page is whole in
itself: plots, pictures and scripts are in it, it needs no server and asks no
host.

Of one run: what was run on what; curves, as logged and smoothed; the samples of
fixed latents over time; those of the seeds 0 to 63 beside real images; the
worst, median and best of the seeds 0 to 255 by D's logit; the numbers of
`evaluate` and of eval_every; the diagnosis; samples beside the training images
that they are nearest to; config and environment. Of several: facts, last
numbers and the keys that differ in tables, curves overlaid, grids in rows.

The film has at most 60 pictures, evenly chosen; where these have over 6 MiB
they are made smaller. What the folder does not hold is told in the page.
"""

from absl import flags

from gan_jax.cli import app

WORKDIR = flags.DEFINE_multi_string(
    'workdir', [], 'Folder of a run; several are compared.'
)
OUT = flags.DEFINE_string(
    'out', '', "HTML file to write; by default 'report.html' in the folder of "
    "the run, and of several 'comparison.html' here."
)


def main(argv):
    """Write the page of each --workdir into --out."""
    from gan_jax.core import errors
    from gan_jax import reporting
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if not WORKDIR.value or not all(WORKDIR.value):
        raise errors.ConfigError('name a run, such as --workdir=runs/dcgan')
    environment.prepare()
    if len(WORKDIR.value) > 1:
        page = reporting.comparison(WORKDIR.value)
        out = OUT.value or 'comparison.html'
    else:
        (workdir,) = WORKDIR.value
        page = reporting.report(workdir)
        out = OUT.value or reporting.default_out(workdir)
    try:
        reporting.save(out, page)
    except OSError as error:
        raise errors.ConfigError(
            f'--out={out} cannot be written: {error.strerror or error}'
        ) from error
    app.say(f'The report is {out} ({len(page) / 1e6:.1f} MB)')
