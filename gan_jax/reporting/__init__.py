"""HTML reports of one run, or of several side by side.

`load_run` reads the folder, `inspect_model` samples the networks, and
`inspect_translation` translates by them; `facts`, `figures`, `galleries` and
`pictures` turn all into values; `page` renders these by the templates beside
it. It must not know how a run is trained.
"""

from etils import epath

from gan_jax.core import files
from gan_jax.evaluation import domains
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.reporting import page

NAME = 'report.html'


def report(workdir):
    """Return the page of a run, from its folder alone.

    Args:
        workdir: folder of the run.

    Returns:
        str, a whole HTML document.

    Raises:
        errors.CheckpointError: where the folder is not a run's, or has no
            metrics yet.
    """
    return page.of_run(load_run.load(workdir), inspect_model.restore(workdir))


def comparison(workdirs):
    """Return the page of several runs; raises as `report`."""
    return page.of_runs([load_run.load(workdir) for workdir in workdirs])


def write_report(workdir, algorithm, state, config, datasets, say):
    """Write the page of a run that has just ended; an error is a warning.

    Args:
        workdir: folder of the run.
        algorithm, state, config: of the run, in memory.
        datasets: {source: `sources.Dataset`} that it was trained on.
        say: function that prints a line.
    """
    try:
        if domains.is_translation(config):
            inspection = inspect_model.inspect_translations(
                algorithm, state, config, datasets
            )
        else:
            first = next(iter(datasets.values()))
            inspection = inspect_model.inspect(algorithm, state, first)
        text = page.of_run(load_run.load(workdir), inspection)
        save(workdir / NAME, text)
        say(f'Report    {workdir / NAME}')
    except Exception as error:  # no report is worth a failed training
        line = ' '.join(str(error).split()) or type(error).__name__
        say(f'warning: no {NAME}: {line}')


def default_out(workdir):
    """Return the path of a run's page in its folder."""
    return epath.Path(workdir).expanduser() / NAME


def save(path, text):
    """Write a page whole; create its folder."""
    path = files.to_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)
