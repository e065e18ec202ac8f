"""One page about a run, or several: what lies in their folders, as HTML.

`gathering` reads files, `looking` asks the networks, `figures` and `pictures`
shape what they found, `page` writes it. Nothing here trains.
"""

from etils import epath

from gan_jax.core import files
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.reporting import page

NAME = 'report.html'


def report(workdir):
    """Give the page of a run, from its folder alone.

    Raises:
        errors.CheckpointError: where the folder is not a run's, or has no
            numbers yet.
    """
    return page.of_run(load_run.gather(workdir), inspect_model.restore(workdir))


def comparison(workdirs):
    """Give the page of several runs; raises as `report`."""
    return page.of_runs([load_run.gather(workdir) for workdir in workdirs])


def leave(workdir, algorithm, state, dataset, say):
    """Write the page of a run that has just ended; never fail it.

    Args:
        workdir: folder of the run.
        algorithm, state, dataset: of the run, in memory.
        say: function of a line.
    """
    try:
        looked = inspect_model.look(algorithm, state, dataset)
        text = page.of_run(load_run.gather(workdir), looked)
        save(workdir / NAME, text)
        say(f'Report    {workdir / NAME}')
    except Exception as error:  # the training is done, whatever happens here
        line = ' '.join(str(error).split()) or type(error).__name__
        say(f'warning: no {NAME}: {line}')


def default_out(workdir):
    """Name the page of a run in its folder."""
    return epath.Path(workdir).expanduser() / NAME


def save(path, text):
    """Write a page whole; its folder is made."""
    path = files.at(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)
