"""Bad, unusual and unused values of config keys: refused in one line, or used.

Most tests parse the flags in this process, by the functions of `gan_jax.main`.
"""

import random

import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import update_order
from gan_jax.config import builders
from gan_jax.config import key_table
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.config import defaults as defaults_lib
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import online_eval
from gan_jax import networks
from gan_jax.objectives import losses
from gan_jax.ops import optimizers
from gan_jax.runtime import parallel


# recipe, what is typed, words of the line
REFUSED = [
    ('dcgan', ['latent_size=2147483648'], 'at most 65,536'),
    ('dcgan', ['generator.width=1000000000'], 'at most 65,536'),
    ('dcgan', ['data.image_size=100000x100000'], 'more than 89,478,485'),
    ('dcgan', ['data.image_size=1000000000000'], "such as '64'"),
    ('gan', ['data.image_size=00'], "such as '64'"),
    ('gan', ['data.image_size=0x64'], "such as '64'"),
    ('dcgan', ['data.image_size=٦٤'], "such as '64'"),
    ('dcgan', ['data.image_size=9000x9000', 'packing=64'], 'GiB'),
    ('gan', ['generator.depth=100000'], 'at most 200'),
    ('dcgan', ['packing=1000000'], 'at most 64'),
    ('dcgan', ['d_steps=1000000'], 'at most 100'),
    ('unrolled', ['schedule.unroll_steps=100000'], 'at most 100'),
    ('dcgan', ['num_steps=9223372036854775808'], 'at most 2,147,483,647'),
    ('dcgan', ['num_steps=9223372036854775807'], 'at most 2,147,483,647'),
    ('dcgan', ['num_steps=2147483648'], 'at most 2,147,483,647'),
    ('dcgan', ['num_steps=2147483647', 'd_steps=2'], 'a 32-bit integer'),
    ('dcgan', ['batch_size=2147483647', 'packing=2'], 'a 32-bit integer'),
    ('dcgan', ['log_every=2147483648'], 'below 2^31'),
    ('dcgan', ['penalties.drift.weight=1e39'], 'not a float32'),
    ('dcgan', ['penalties.drift.weight=1e-320'], 'not a float32'),
    ('dcgan', ['instance_noise.std=1e300'], 'not a float32'),
    ('dcgan', ['clip_weights=1e308'], 'not a float32'),
    ('dcgan', ['g_optimizer.learning_rate=1e-60'], 'not a float32'),
    ('dcgan', ['data.background=rgb(999,0,0)'], 'is not a color'),
    ('dcgan', ['data.classes=,'], "such as '3,7'"),
    ('dcgan', ['data.classes=3,3'], 'of different names'),
    ('dcgan', ['on_collapse=restart', 'max_restarts=0'], 'never restarts'),
    ('dcgan', ['num_steps=2', 'num_steps=3'], '--config.num_steps is set'),
    ('dcgan', ['loss.name=hinge', 'loss.name=hinge'], 'is set twice'),
    ('dcgan', ['joint_batch', 'joint_batch=False'], 'is set twice'),
    # what nothing uses
    ('hinge_resnet', ['generator.kernel_size=5'], "name='resnet', which has"),
    ('gan', ['generator.kernel_size=5'], "generator.name='mlp', which has"),
    ('gan', ['discriminator.kernel_size=1000000000'], 'at most 100'),
    ('dcgan', ['generator.depth=7'], "generator.name='dcgan', which has"),
    ('wgan', ['schedule.unroll_steps=9'], "'unrolled', not of 'wgan'"),
    ('dcgan', ['schedule.burst_steps=7'], "'wgan', not of 'alternating'"),
    ('dcgan', ['augment.probability=0.5'], 'augment.translation to be on'),
    ('dcgan', ['augment.color=True', 'augment.adaptive=True',
               'augment.probability=0.5'], 'needs augment.adaptive to be off'),
    ('dcgan', ['augment.target=0.5'], 'needs augment.adaptive to be on'),
    ('dcgan', ['history.share=0.9'], 'needs history.size to be on, not 0'),
    ('dcgan', ['snapshots.every=3'], 'needs snapshots.count to be on'),
    ('dcgan', ['penalties.r1.every=4'], 'penalties.r1.weight to be on'),
    ('mixtures', ['instance_noise.decay_steps=5'], 'instance_noise.std to be'),
    ('dcgan', ['g_optimizer.momentum=0.9'], "'sgd', not of 'adam'"),
    ('dcgan', ['g_optimizer.name=sgd', 'g_optimizer.b2=0.5'], "not of 'sgd'"),
    ('dcgan', ['d_optimizer.schedule_steps=5'], "not of 'constant'"),
    ('dcgan', ['eval_metrics=fid'], 'needs eval_every to be on'),
    ('dcgan', ['eval_every=1', 'eval_samples=99'], 'needs eval_metrics'),
    ('dcgan', ['ema_half_life=100', 'ema_decay=0.5'], 'ema_half_life to be of'),
    ('dcgan', ['ema_ramp=0.05'], 'needs ema_half_life or anneal.ema'),
    ('dcgan', ['anneal.b2=0.9'], 'needs anneal.images to be on'),
    ('dcgan', ['anneal.images=1000'], 'moves no value; set one of anneal.'),
    ('wgan', ['anneal.images=1000', 'anneal.b2=0.9'], "must be 'adam'"),
    ('dcgan', ['anneal.images=9', 'anneal.augment=0.5'], 'augment.color or'),
    ('dcgan', ['reuse_fakes', 'fresh_reals'], 'reuse_fakes=True must be off'),
    ('vae', ['anneal.images=9'], 'has no discriminator'),
    ('mixtures', ['data.image_size=64'], "'ring' has points"),
    ('mixtures', ['data.limit=5'], "data.name='ring' generates points"),
    ('mixtures', ['data.modes=5'], "data.name='manifold', not of 'ring'"),
    ('dcgan', ['data.data_dir=/nowhere'], "'digits' is not one"),
    ('dcgan', ['data.crop=pad'], 'needs data.image_size to be on'),
    ('dcgan', ['data.feed=streaming', 'data.resident_share=0.5'], "'auto'"),
    ('gan', ['generator.norm_momentum=0.5'], "generator.norm to be 'batch'"),
    ('dcgan', ['max_restarts=5'], "needs on_collapse to be 'restart'"),
    ('dcgan', ['diagnosis.on=False', 'on_collapse=stop'], 'diagnosis.on'),
    ('hinge_resnet', ['labels.real_low=0.9', 'labels.real_high=0.9'],
     'which has no targets'),
    ('pose_decoder', ['latent_size=8'],
     "is not used by algorithm='pose_decoder'"),
    ('glo', ['discriminator.width=8'], "is not used by algorithm='glo'"),
    ('vae', ['schedule.burst_steps=7'], "not of 'alternating'"),
]


@pytest.mark.parametrize(
    'stem, words, line', REFUSED, ids=lambda value: str(value)[:40]
)
def test_bad_and_unused_values_are_refused_in_one_line(stem, words, line):
    with pytest.raises(errors.ConfigError) as caught:
        helpers.typed(stem, *words)
    assert line in str(caught.value) and '\n' not in str(caught.value)
    key = words[-1].partition('=')[0]
    assert key.rpartition('.')[2] in str(caught.value)


# What looks odd and is right: recipe, what is typed, key, its value.
ACCEPTED = [
    ('gan', ['data.image_size=1x1'], 'data.image_size', '1x1'),
    ('dcgan', ['data.limit=1'], 'data.limit', 1),  # one image, again and again
    ('dcgan', ['ema_decay=1.0'], 'ema_decay', 1.0),  # its share grows to 1
    ('dcgan', ['ema_decay=-0.0'], 'ema_decay', 0.0),
    ('dcgan', ['penalties.r1.weight=-0.0'], 'penalties.r1.weight', 0.0),
    ('dcgan', ['seed=0x10'], 'seed', 16),  # as Python writes whole numbers
    ('dcgan', ['num_steps=1_000'], 'num_steps', 1000),
    ('dcgan', ['joint_batch=1'], 'joint_batch', True),
    ('dcgan', ['data.classes='], 'data.classes', ''),  # all
    # A Fréchet distance of points is that of their coordinates.
    ('mixtures', ['eval_metrics=fid', 'eval_every=1'], 'eval_every', 1),
    ('dcgan', ['num_steps=2147483647'], 'num_steps', 2**31 - 1),
]


@pytest.mark.parametrize('stem, words, key, value', ACCEPTED)
def test_unusual_valid_values_are_accepted(
    stem, words, key, value, capsys
):
    assert defaults_lib.flatten(helpers.typed(stem, *words))[key] == value
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('stem, words, left_out', [
    ('dcgan', ['loss.name=hinge'], []),
    ('dcgan', ['instance_noise.std=0'], ['instance_noise.decay_steps']),
    ('dcgan:celeb_a', ['generator.name=resnet', 'discriminator.name=resnet'],
     ['generator.kernel_size', 'discriminator.kernel_size']),
    ('gan', ['discriminator.name=resnet', 'generator.name=dcgan'],
     ['discriminator.dropout']),
    ('wgan_gp', ['generator.name=resnet', 'discriminator.name=resnet'], []),
    ('sngan', ['d_optimizer.name=sgd'], ['d_optimizer.b1', 'd_optimizer.b2']),
    ('one_dimension', ['g_optimizer.schedule=constant'],
     ['g_optimizer.schedule_steps']),
    ('acgan', ['generator.condition=concat', 'd_steps=2'], []),
])
def test_changed_choice_resets_options_of_the_recipes_choice(
    stem, words, left_out, capsys
):
    config = helpers.typed(stem, *words)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[1].partition('=')[0] for line in lines) == (
        sorted(left_out)
    )
    assert all(line.endswith('; it is left out') for line in lines)
    name, _, argument = stem.partition(':')
    before = defaults_lib.flatten(recipes.load(f'configs/{name}.py', argument))
    defaults = defaults_lib.flatten(defaults_lib.default_config())
    changed = {word.partition('=')[0] for word in words}
    for key, value in defaults_lib.flatten(config).items():
        if key in left_out:
            assert value == defaults[key] != before[key]
        elif key not in changed:
            assert value == before[key]


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=(
    lambda path: path.stem
))
def test_recipes_set_no_unused_keys(path):
    config = defaults_lib.of_source(recipes.load(path))
    assert unused_keys.find(config) == {}


@pytest.mark.parametrize('key, names', [
    ('loss.name', losses.LOSSES), ('schedule.name', update_order.SCHEDULES),
    ('g_optimizer.name', optimizers.OPTIMIZERS),
    ('generator.name', [n for n, p in networks.NETWORKS.items() if p.generator])
])
def test_every_choice_works_with_every_recipe(key, names):
    for path in (ROOT / 'configs').glob('*.py'):
        for name in names:
            config = defaults_lib.of_source(recipes.load(path))
            config.update_from_flattened_dict({key: name})
            unused_keys.leave_out(config, [key])
            assert not unused_keys.find(config).keys() - {key}


def test_unused_options_are_refused_from_python_too():
    config = helpers.tiny_mlp()
    config.loss.gamma = 0.4
    with pytest.raises(errors.ConfigError, match='loss.gamma=0.4 is an option'):
        validation.validate(config)
    assert unused_keys.leave_out(config)
    validation.validate(config)


# Changes that need more memory than there is; refused once the data are known.
LARGE = [
    (['batch_size=1000000000'], 'batch_size=1000000000'),
    (['discriminator.width=65536'], 'discriminator.width=65536'),
    (['history.size=1000000000'], 'history.size=1000000000'),
    (['snapshots.count=2000000000'], 'snapshots.count=2000000000'),
    (['generator.name=mlp', 'generator.width=65536', 'generator.depth=200'],
     'generator.width=65536'),
    (['data.image_size=8192x8192'], 'images of 8192x8192x1'),
]


@pytest.mark.parametrize('words, line', LARGE, ids=lambda value: str(value))
def test_memory_is_checked_before_anything_is_built(words, line):
    config = helpers.typed('dcgan', *words)
    size = defaults_lib.image_size(config) or (32, 32)
    with pytest.raises(errors.ConfigError) as caught:
        builders.algorithm(
            config, builders.single_source_specs((*size, 1), 10, 1797),
            memory=2**34,
        )
    assert line in str(caught.value)
    assert 'GiB, and a device has 16.0' in str(caught.value)
    builders.algorithm(
        helpers.typed('dcgan'),
        builders.single_source_specs((32, 32, 1), 10, 1797), memory=2**28,
    )


NASTY = [
    '', ' ', '0', '-0', '-1', '1', '2', '1.5', '1e400', '-1e400', 'nan', 'inf',
    '-inf', '1e-320', '1e39', '0x10', '1_000', '2147483647', '2147483648',
    '9223372036854775808', '1' * 400, 'True', 'None', '[]', '{}', '()', '[1,2]',
    "'x'", '"', '\\', '%s', '{0}', '$HOME', '../..', '/dev/null', '~', ':',
    'folder:', 'npz:/dev/null', 'tfds:', '\x00', '\x1b[31m', '\n', '\u202e',
    'hіnge', '٦٤', '00', '0x0', '64x', '1x1', '99999x99999', 'a' * 5000, ',',
    'fid', 'fid,fid', 'ring', 'mlp', 'resnet', 'mlp_autoencoder', 'vae', 'wgan',
    'hinge', 'energy_based', 'sgd', 'linear', 'none', 'restart', 'resident',
]
TRIED, COMMANDS = 150, 30


def nasty(count, seed):
    """Draw (key, text) pairs."""
    draw = random.Random(seed)
    keys = sorted(key_table.keys())
    return [(draw.choice(keys), draw.choice(NASTY)) for _ in range(count)]


def check(key, text):
    """Check a value in this process as far as the start of training.

    Returns:
        The error message, or '' if the value is accepted.
    """
    try:
        config = helpers.typed('gan', f'{key}={text}')
        if config.population > 1:  # is for the command `sweep`
            return ''
        dataset = builders.dataset(config)
        points = dataset.images.ndim == 2
        validation.validate(config, points=points)
        online_eval.check(config, dataset)
        builders.algorithm(
            config, builders.data_specs({builders.REAL: dataset}),
            parallel.device_memory(),
        )
    except errors.UserError as error:
        line = ' '.join(str(error).split())
        assert line
        return line
    flat = defaults_lib.flatten(config)
    assert not unused_keys.find(config, points)
    kind = type(flat[key])
    parsed = {'1': True, '0': False}.get(text, text) if kind is bool else text
    assert str(flat[key]) == str(parsed) or flat[key] == kind(
        int(text, 0) if kind is int else parsed
    ) or (text == 'True' and flat[key] is True)
    return ''


@pytest.fixture
def small_digits(monkeypatch):
    """Load the digits only once."""
    digits = sources.load(sources.Request('digits'))
    load = sources.load
    monkeypatch.setattr(sources, 'load', lambda request: (
        digits if request == sources.Request('digits', memory=request.memory)
        else load(request)
    ))


@pytest.mark.parametrize('key, text', nasty(25, 0), ids=lambda v: repr(v)[:30])
def test_random_values_are_refused_or_used(key, text, small_digits):
    check(key, text)


@pytest.mark.slow
def test_150_random_values_are_refused_or_used(small_digits):
    outcomes = [check(*pair) for pair in nasty(TRIED, 1)]
    assert sum(map(bool, outcomes)) > TRIED // 2


TINY = [
    f'--config={ROOT}/configs/gan.py', '--config.report=False',
    '--workdir=run',
]
SMALL = {
    'generator.width': 4, 'discriminator.width': 4, 'batch_size': 4,
    'num_steps': 1, 'sample_every': 0, 'data.limit': 40,
}


def run_commands(pairs, folder):
    """Run a command for each; return [(key, text, code, stderr)]."""
    lists = [
        [*TINY, *(f'--config.{k}={v}' for k, v in SMALL.items() if k != key),
         f'--config.{key}={text}']
        for key, text in pairs
    ]
    results = []
    for (key, text), line in zip(pairs, lists):
        ((code, _, err),) = helpers.commands([line], folder)
        results.append((key, text, code, err))
    return results


@pytest.mark.slow
def test_30_random_values_are_refused_or_used_by_the_command(tmp_path):
    pairs = [
        pair for pair in nasty(2 * COMMANDS, 2)
        # absl ends at a NUL, which no shell passes on
        if '\x00' not in pair[1] and pair[0] not in ('num_steps', 'population')
    ][:COMMANDS]
    for number, (key, text, code, err) in enumerate(
            run_commands(pairs, tmp_path)):
        assert code in (0, 2, 3, 4), f'{key}={text!r}: {err}'
        assert len(err.splitlines()) == bool(code), f'{key}={text!r}: {err}'
        assert 'Traceback' not in err
