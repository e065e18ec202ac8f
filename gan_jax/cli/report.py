"""Write one HTML page about a run, or about several side by side.

    python -m gan_jax report --workdir=runs/dcgan
    python -m gan_jax report --workdir=runs/a --workdir=runs/b --out=both.html

The first writes runs/dcgan/report.html, as the end of training does. Run it
again after `gan_jax evaluate` to add the metrics. The page contains its curves,
pictures and scripts: it needs no server and contacts no host.

A report of one run shows its command, data and environment; curves, as logged
and smoothed; the samples of fixed latents over time; samples of the seeds 0 to
63 beside real images of each source; the worst, median and best of the seeds 0
to 255 by D's logit; of a style-based generator samples at several truncations
and with mixed styles; the metrics of `gan_jax evaluate` and of eval_every; the
diagnosis; samples beside their nearest training images; the config. A report of
several runs has tables of facts, last metrics and differing config keys, curves
in common charts and a row of grids for each run.

The film of samples has at most 60 pictures, evenly chosen. Pictures are exact
where they are small, else compressed with loss, as the page says; the files in
samples/ stay exact. The page says what the folder lacks.
"""

from absl import flags

from gan_jax.cli import app

WORKDIR = flags.DEFINE_multi_string(
    'workdir', [], 'Folder of a run; repeat it to compare several runs.'
)
OUT = flags.DEFINE_string(
    'out', '', "HTML file to write. Default: report.html in the run's folder; "
    "comparison.html in the current folder for several runs."
)


def main(argv):
    """Write the report of --workdir to --out."""
    from gan_jax.core import errors
    from gan_jax import reporting
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if not WORKDIR.value or not all(WORKDIR.value):
        raise errors.ConfigError(
            '--workdir is missing, such as --workdir=runs/dcgan'
        )
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
    app.say(f'Wrote {out} ({len(page) / 1e6:.1f} MB)')
