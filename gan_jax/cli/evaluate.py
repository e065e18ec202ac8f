"""Measure the samples of a run, compare two sets of images, or count answers.

    python -m gan_jax evaluate --workdir=runs/dcgan
    python -m gan_jax evaluate --workdir=runs/dcgan --step=all --metrics=fid,kid
    python -m gan_jax evaluate --real=mnist --fake=my/samples --features=random
    python -m gan_jax evaluate --human=answers.csv,others.csv

Each number stands beside its floor: the same of two halves of the real images,
or of the real images themselves. All that a number depends on is printed with
it and kept in a JSON file. The last counts what people answered to a page of
`gan_jax.quiz`.
"""

from absl import flags

from gan_jax.cli import app
from gan_jax.metrics import catalog

WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.')
METRICS = flags.DEFINE_string(
    'metrics', '', f"Some of '{','.join(catalog.NAMES)}'; all that the "
    'features and the data allow by default.'
)
FEATURES = flags.DEFINE_string(
    'features', 'classifier', "What images are compared by: 'classifier' (of "
    "the run's own labelled data), 'inception', 'random', 'pixels', or "
    "'discriminator', the run's own."
)
STEP = flags.DEFINE_string(
    'step', None, "A saved step, 'best', or 'all'; newest by default."
)
WEIGHTS = flags.DEFINE_enum(
    'weights', 'ema', ['ema', 'raw', 'snapshots'],
    "The generator's moving average, itself, or its snapshots' average."
)
NUM_FAKE = flags.DEFINE_integer(
    'num_fake', None, 'Samples, of the seeds 0 and on; by default as many as '
    'real images.', lower_bound=4
)
NUM_REAL = flags.DEFINE_integer(
    'num_real', 10_000, 'Real images, drawn by chance; all where there are '
    'fewer.', lower_bound=4
)
SPLIT = flags.DEFINE_string(
    'split', 'train', "Split of the real images; test is held out."
)
OUT = flags.DEFINE_string(
    'out', '', "JSON file of the results; by default 'evaluation.json' in the "
    'folder of the run.'
)
REAL = flags.DEFINE_string(
    'real', '', 'A source of real images, in place of a run.'
)
FAKE = flags.DEFINE_string('fake', '', 'A source of images to compare with it.')
HUMAN = flags.DEFINE_string(
    'human', '', 'CSV files that a page of gan_jax.quiz saved, joined by '
    'commas.'
)
DATA = app.define_data()


def main(argv):
    """Measure --workdir, or --fake against --real."""
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
    asked = runner.Asked(
        metrics=tuple(m.strip() for m in METRICS.value.split(',') if m.strip()),
        features=FEATURES.value, weights=WEIGHTS.value,
        num_fake=NUM_FAKE.value, num_real=NUM_REAL.value, split=SPLIT.value,
    )
    out = OUT.value or runner.default_out(WORKDIR.value)

    def keep(result):
        if out:
            runner.save(out, [result])
            _say(f'Kept in {out}')

    if WORKDIR.value:
        _refuse_data()
        runner.of_run(WORKDIR.value, STEP.value, asked, _say, keep)
    else:
        real, fake = (
            app.request([argv[0], name], _copy(DATA.value))
            for name in (REAL.value, FAKE.value)
        )
        keep(*runner.of_sources(real, fake, asked, _say))


def _refuse_data():
    """Refuse keys of data beside a run, which has its own."""
    from gan_jax.config import defaults
    from gan_jax.core import errors

    default = defaults.default_config().data
    for key, value in DATA.value.items():
        if value != default[key]:
            raise errors.ConfigError(
                f'--data.{key}={value!r} is for --real and --fake; the data of '
                f'--workdir={WORKDIR.value} are those that it trained on'
            )


def _count_answers():
    """Tell how often people took a fake for real."""
    from gan_jax.core import errors
    from gan_jax.evaluation import runner
    from gan_jax.tools import quiz

    if WORKDIR.value or REAL.value or FAKE.value:
        raise errors.ConfigError(
            '--human counts answers alone: leave out --workdir, --real and '
            '--fake'
        )
    results = quiz.summarize([
        answer for path in HUMAN.value.split(',')
        for answer in quiz.read_answers(path)
    ])
    for line in quiz.told(results):
        _say(line)
    if OUT.value:
        runner.save(OUT.value, results)
        _say(f'Kept in {OUT.value}')


def _copy(data):
    return data.copy_and_resolve_references()


def _say(line):
    app.say(line)
