"""Write one HTML page about a run, or about several side by side.

    python -m gan_jax report --workdir=runs/dcgan
    python -m gan_jax report --workdir=runs/a --workdir=runs/b --out=both.html

The first command writes runs/dcgan/report.html, as training does at its end.
Run it again after `python -m gan_jax evaluate` to include those metrics. The
page is one file without network access: plots, pictures and scripts are inside.

The report of one run shows the config, data and environment; curves, raw and
smoothed; a film of the samples of fixed latents; samples of the seeds 0 to 63
beside real images; the worst, median and best of the seeds 0 to 255 by D's
logit; all evaluations; the diagnosis; and samples beside their nearest training
images. The report of several runs compares facts, last metrics and differing
config keys in tables, overlays the curves, and puts the grids in rows.

The film has at most 60 pictures, evenly chosen, scaled down if they take more
than 6 MiB. If the folder lacks something, the page says so.
"""

from absl import flags

from gan_jax.cli import app

WORKDIR = flags.DEFINE_multi_string(
    'workdir', [], 'Folder of a run, or of one of several to compare'
)
OUT = flags.DEFINE_string(
    'out', '', "HTML file to write; by default 'report.html' in the folder of "
    "the run, or 'comparison.html' in this folder for several runs."
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
