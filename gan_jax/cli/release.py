"""Release a run: a folder with all networks, to give to others.

    python -m gan_jax release --workdir=runs/dcgan --out=released \\
      --license=cc-by-4.0
    python -m gan_jax sample --workdir=released --seeds=0-63
    python -m gan_jax train --config=./released --config.init_from=released \\
      --workdir=runs/tuned

The folder is in the layout of model hubs: safetensors of all networks and
averages, the config, a model card with samples and metrics, and SHA256SUMS. All
commands on runs take it as --workdir. With --training it also holds optimizers
and memory, so that a run can go on from it to the bit.

    pip install -e '.[hub]'
    python -m gan_jax release --workdir=runs/dcgan --out=released \\
      --push=OWNER/NAME
    python -m gan_jax release --pull=OWNER/NAME --out=theirs

The first of these also uploads it to a Hugging Face model hub, as a private
repository unless --public is given; the second gets one.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.cli import run_flags

OUT = flags.DEFINE_string('out', '', 'Folder to write the release to.')
TRAINING = flags.DEFINE_bool(
    'training', False, 'Also release optimizers and memory, with which '
    '--config.init_resume goes on.'
)
LICENSE = flags.DEFINE_string(
    'license', '', "Licence as the hub names it, such as 'apache-2.0' or "
    "'cc-by-4.0'; 'other' with --license_name."
)
LICENSE_NAME = flags.DEFINE_string(
    'license_name', '', 'Name of a licence that the hub does not know.'
)
LICENSE_LINK = flags.DEFINE_string(
    'license_link', '', 'Address of its text.'
)
DATA_LICENSE = flags.DEFINE_string(
    'data_license', '', 'Licence or terms of the training data, for the card.'
)
PUSH = flags.DEFINE_string(
    'push', '', 'Repository OWNER/NAME of a model hub to push the release to.'
)
PUBLIC = flags.DEFINE_bool(
    'public', False, 'Create the repository of --push as a public one.'
)
PULL = flags.DEFINE_string(
    'pull', '', 'Repository OWNER/NAME, or OWNER/NAME@REVISION, to get a '
    'release from instead of --workdir.'
)


def main(argv):
    """Write the run --workdir, or the release --pull, to --out."""
    from gan_jax.core import errors
    from gan_jax.runs import hub

    if not OUT.value:
        raise errors.ConfigError('--out is missing, such as --out=released')
    for name in (PUSH.value, PULL.value):
        if name:
            hub.parse(name)
    if PULL.value:
        _pull(argv)
    else:
        _write(argv)


def _pull(argv):
    """Write the release --pull to --out, and verify it."""
    from gan_jax.core import errors
    from gan_jax.runs import hub
    from gan_jax.runs import sampling
    from gan_jax.tools import release

    others = (
        TRAINING, LICENSE, LICENSE_NAME, LICENSE_LINK, DATA_LICENSE, PUSH,
        PUBLIC, run_flags.WORKDIR,
    )
    if len(argv) > 1 or any(flag.value for flag in others):
        raise errors.ConfigError(
            '--pull takes --out only; leave out --workdir, --push, --training '
            'and all others'
        )
    with app.written('--out', OUT.value):
        release.check_folder(OUT.value)
        before = release.model_hash(OUT.value)
        hub.pull(PULL.value, OUT.value)
        if release.model_hash(OUT.value) != before:
            release.move_numbers(OUT.value)
    _, state = sampling.load(OUT.value)
    app.say(f'Wrote {PULL.value}, step {int(state.step)}, to {OUT.value}')


def _write(argv):
    """Write the run --workdir to --out, and push it if --push is given."""
    from gan_jax.runs import hub
    from gan_jax.tools import release
    from gan_jax.tools import release_card

    licence = release_card.Licence(
        LICENSE.value, LICENSE_NAME.value, LICENSE_LINK.value,
        DATA_LICENSE.value,
    )
    release_card.check_licence(licence)
    algorithm, state = run_flags.open_run(argv)
    with app.written('--out', OUT.value):
        sizes = release.write(
            OUT.value, run_flags.WORKDIR.value, algorithm, state,
            training=TRAINING.value, weights=run_flags.WEIGHTS.value,
            licence=licence,
        )
    app.say(
        f'Wrote {run_flags.describe(state)} to {OUT.value}, '
        f'{sum(sizes.values()) / 1e6:.1f} MB'
    )
    for path in _data_paths(run_flags.WORKDIR.value):
        app.say(f'note: config and card name the path of the data, {path}')
    if PUSH.value:
        address = hub.push(OUT.value, PUSH.value, PUBLIC.value)
        app.say(f'Pushed it: {address}')


def _data_paths(workdir):
    """Return the paths of the data of a run, one for each source with one."""
    from gan_jax.config import defaults
    from gan_jax.runs import run_files

    config = run_files.load_config(workdir)
    paths = (
        defaults.of_source(config, source).data.path
        for source in run_files.load_sources(workdir)
    )
    return [path for path in dict.fromkeys(paths) if path]
