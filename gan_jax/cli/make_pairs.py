"""Write the pairs of an image-to-image task, made from any images, as PNGs.

    python -m gan_jax make_pairs digits --task=stripes --out=my/stripes
    python -m gan_jax make_pairs my/images --data.image_size=64 --task=edges \\
      --layout=side_by_side --out=my/edges

The argument is a folder, an archive, an array file, a pack, or the name of a
data set. A tenth of the images is held out as the split test; --data.test_share
sets another share. Layouts:

    folders       A/train, A/test, B/train, B/test; names are those of partners
    unpaired      trainA, trainB, testA, testB; no image is in both domains
    side_by_side  train, test; the left half of a file is A, the right half B
"""

from absl import flags

from gan_jax.cli import app

DATA = app.define_data()
OUT = flags.DEFINE_string('out', '', 'Folder to create for the files.')
TASK = flags.DEFINE_string(
    'task', '', 'Task, such as stripes, invert, edges or deblur; '
    'gan_jax/data/README.md shows all.'
)
LAYOUT = flags.DEFINE_enum(
    'layout', 'folders', ['folders', 'side_by_side', 'unpaired'],
    'Where the two images of a pair are.'
)
TEST_SHARE = 0.1


def main(argv):
    """Write the pairs of --task to --out."""
    from gan_jax.core import errors
    from gan_jax.data import pair_folders
    from gan_jax.data import sources
    from gan_jax.data import tasks

    request = app.request(argv, DATA.value)
    if TASK.value not in tasks.TASKS:
        raise errors.ConfigError(
            errors.unknown_name('--task', TASK.value, tasks.TASKS)
        )
    if not OUT.value:
        raise errors.ConfigError('--out is missing, such as --out=my/pairs')
    dataset = sources.load(request._replace(test_share=0.0))
    sources.check_pictures(dataset)
    counts = pair_folders.write(
        dataset.images, TASK.value, OUT.value, layout=LAYOUT.value,
        test_share=request.test_share or TEST_SHARE,
    )
    what = 'images' if LAYOUT.value == 'unpaired' else 'pairs'
    app.say(
        f'Wrote {counts["train"]:,} {what} for training and {counts["test"]:,} '
        f'for testing to {OUT.value}; train on them with '
        f'--config.data.path={OUT.value}'
    )
