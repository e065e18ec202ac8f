"""Mistyped commands: one line on stderr, no traceback, the right exit code."""

import pytest

import helpers
import image_files
from conftest import ROOT

DCGAN = f'--config={ROOT}/configs/dcgan.py'
# Flags after --config=configs/dcgan.py, and a part of the error message.
OVERRIDES = [
    # unknown keys, near and far
    (['--config.d_step=5'], 'd_steps'),
    (['--config.loss.nam=hinge'], '"name"'),
    (['--config.optimizer.learning_rate=1'], '"g_optimizer"'),
    (['--config.lr=1e-3'], "unknown config key 'lr'"),
    (['--config.penalties.r2d2.weight=1'], 'r2d2'),
    (['--config.no.such.key=1'], "'no'"),
    (['--d_steps=5'], "'d_steps'"),
    (['--workdr=x'], 'Did you mean: workdir'),
    # wrong types
    (['--config.d_steps=two'], 'd_steps=two'),
    (['--config.d_steps=2.5'], 'd_steps=2.5'),
    (['--config.d_steps='], 'd_steps='),
    (['--config.d_steps'], 'Missing value'),
    (['--config.num_steps=1e5'], 'num_steps=1e5'),
    (['--config.num_steps=10k'], 'num_steps=10k'),
    (['--config.joint_batch=maybe'], 'joint_batch=maybe'),
    (['--config.g_optimizer.learning_rate=1e-4,'], 'learning_rate=1e-4,'),
    (['--config.loss=hinge'],
     '--config.loss is a group of keys; set one as --config.loss.KEY='),
    (['--config.penalties.r1=10'], '--config.penalties.r1.KEY='),
    (['--restart=maybe'], 'restart=maybe'),
    # out of range
    (['--config.batch_size=0'], 'batch_size=0'),
    (['--config.seed=-1'], 'seed=-1'),
    (['--config.seed=99999999999999999999'], '2^63'),
    (['--config.g_optimizer.learning_rate=nan'], 'learning_rate=nan'),
    (['--config.g_optimizer.b1=1'], 'b1=1.0'),
    (['--config.ema_decay=2'], 'ema_decay=2.0'),
    (['--config.data.channels=2'], 'data.channels=2'),
    (['--config.data.image_size=64x'], "'48x80'"),
    (['--config.data.test_share=1'], 'test_share=1'),
    # unknown names
    (['--config.loss.name=hing'], "did you mean 'hinge'"),
    (['--config.loss.name='], "loss.name=''"),
    (['--config.discriminator.norm=batchnorm'], "did you mean 'batch'"),
    (['--config.g_optimizer.name=adamw'], "did you mean 'adam'"),
    (['--config.dtype=float16'], "'bfloat16'"),
    (['--config.data.name=minst'], "did you mean 'mnist'"),
    (['--config.data.name=ffhq'], 'data.path'),
    (['--config.data.name='], 'one of them must be set'),
    (['--config.data.name=folder:'], 'names nothing after'),
    (['--config.data.background=whitish'], 'whitish'),
    # keys that contradict one another
    (['--config.penalties.r1.weight=10'], "choose 'none'"),
    (['--config.generator.condition=concat'], 'both or neither'),
    (['--config.labels.real_high=0.5'], 'labels.real_low=1.0'),
    (['--config.loss.name=hinge', '--config.labels.real_low=0.9'],
     'has no targets'),
    (['--config.history.size=5'], 'less than the 64 fakes'),
    (['--config.generator.output=sigmoid'], 'allow_bad_setup'),
    (['--config.data.name=ring', '--config.data.flip=True'], 'has points'),
    (['--config.num_microbatches=3'], '63 or 66'),
    (['--config.d_optimizer.schedule=linear'], 'schedule_steps'),
    # the command line itself
    (['surplus'], "'surplus'"),
    (['config.d_steps=5'], 'overrides look like'),
    (['--workdir=/dev/null/x'], 'cannot be written'),
    (['--workdir=https://host/x'], 'on an unknown file system'),
    (['--flagfile=/nowhere'], "'/nowhere'"),
    (['--multihost'], 'finds no cluster'),
    (['--v=high'], 'high'),
]
BEGIN = 'from gan_jax import default_config\n\n\ndef get_config():\n'
RECIPES = {  # name: (content of the file, a part of the error message)
    'absent': (None, 'absent.py is not a readable file'),
    'empty': ('', "'get_config'"),
    'syntax': ('def get_config(:\n', 'syntax.py, line 1'),
    'indent': ('def get_config():\nreturn 1\n', 'indent.py, line 2'),
    'imports': ('import no_such_module\n', "'no_such_module'"),
    'name': ('x = y\n', "'y'"),
    'nothing': ('def get_config():\n    pass\n', 'returns nothing'),
    'dict': ('def get_config():\n    return {"num_steps": 5}\n', 'is missing'),
    'argument': (f'{BEGIN}    return default_config(3)\n', 'line 5'),
    'divides': (f'{BEGIN}    return 1 / 0\n', 'ZeroDivisionError: division'),
    'asserts': (f'{BEGIN}    assert 1 > 2, "why"\n', 'AssertionError: why'),
    'raises': ('raise RuntimeError("no")\n', 'raises.py, line 1'),
    'kind': (f'{BEGIN}    c = default_config()\n    c.d_steps = "2"\n',
             'kind.py, line 6'),
    'unknown': (f'{BEGIN}    c = default_config()\n    c.d_step = 2\n'
                '    return c\n', "did you mean 'd_steps'"),
    'value': (f'{BEGIN}    c = default_config()\n    c.d_steps = 0\n'
              '    return c\n', 'd_steps=0'),
}
OTHERS = [
    ([], 'name a recipe'),
    (['configs/dcgan.py'], 'name a recipe'),
    (['--config'], 'Missing value'),
    (['--config=dcgna'], "did you mean 'dcgan'?"),
    (['--config=./dcgan'], 'dcgan is not a readable file'),
    ([f'--config={ROOT}/configs'], 'configs is not a readable file'),
    ([f'{DCGAN}:minst'], "did you mean 'mnist'"),
]
NUMBER = len(OVERRIDES) + len(RECIPES) + len(OTHERS)
# Tools on a run folder, each with a valid flag besides --workdir.
TOOLS = {
    'sample': '--out=x.png', 'export': '--out=x',
    'interpolate': '--out=x.gif', 'walk': '--out=x.png',
    'arithmetic': '--sum=3+5', 'reconstruct': '--out=x.png',
    'quiz': '--out=x.html', 'encode': '--out=x.npz',
    'translate': '--out=x.png', 'mix': '--out=x.png',
}
OF_ALL_TOOLS = [  # (flags, exit code, part of the message); RUN is a run
    ([], 2, '--workdir is missing'),
    (['--workdir=nowhere'], 5, 'is not the folder of a run'),
    (['--workdir=RUN', '--step=3'], 5, 'no checkpoint of step 3'),
    (['--workdir=RUN', '--step=soon'], 2, "--step='soon'"),
    (['--workdir=RUN', '--step=best'], 5, 'saved as the best'),
    (['--workdir=RUN', '--weights=snapshots'], 2, 'snapshots.count=0'),
    (['--workdir=RUN', '--weights=best'], 2, 'weights'),
    (['--workdir=RUN', 'surplus'], 2, "'surplus'"),
    (['--workdir=RUN', '--sed=3'], 2, 'sed'),
]
OF_ONE_TOOL = [  # (tool and flags, part of the message); the exit code is 2
    (['sample', '--seeds=a'], "--seeds='a'"),
    (['sample', '--seeds=0-4-5'], "--seeds='0-4-5'"),
    (['sample', '--seeds=-1'], "--seeds='-1'"),
    (['sample', '--seeds=99999999999'], '2^31'),
    (['sample', '--labels=3'], 'has no condition'),
    (['sample', '--truncation=0'], 'truncation'),
    (['sample', '--truncation=-1'], 'truncation'),
    (['sample', '--truncation=nan'], 'truncation=nan'),
    (['sample', '--truncation=1', '--truncated_styles=2'], 'style-based'),
    (['sample', '--noise=random'], "noise='random' needs a style-based"),
    (['sample', '--between=4', '--noise=random'], 'is not for --between'),
    (['sample', '--latents=a.npz', '--seeds=1'], '--seeds=1 is not for'),
    (['sample', '--between=4', '--seeds=1'], 'two or more'),
    (['sample', '--between=4', '--out=x.npz'], '--between'),
    (['sample', '--out=/dev/null/x.png'], 'cannot be written'),
    (['sample', '--out=/dev/null/x.npz'], 'cannot be written'),
    (['interpolate', '--seeds=1'], 'two or more'),
    (['interpolate', '--seeds=1,2;3'], 'equally many'),
    (['interpolate', '--seeds=1,2;'], "--seeds=''"),
    (['interpolate', '--path=arc'], 'path'),
    (['interpolate', '--frames=1'], 'frames'),
    (['interpolate', '--fps=0'], 'fps'),
    (['interpolate', '--labels=1'], 'has no condition'),
    (['interpolate', '--out=/dev/null/x.gif'], 'cannot be written'),
    (['interpolate', '--out=/dev/null/x.mp4'], '/dev/null/x.mp4'),
    (['interpolate', '--space=w'], "space='w' needs a style-based"),
    (['interpolate', '--space=w+'], 'space'),
    (['walk', '--space=w'], "space='w' needs a style-based"),
    (['walk', '--styles=0'], '--styles=0 needs --space=w'),
    (['walk', '--coordinates=3'], 'is not in 0 to 2'),
    (['walk', '--coordinates=x'], "--coordinates='x'"),
    (['walk', '--span=0'], 'span'),
    (['walk', '--out=/dev/null/x.png'], 'cannot be written'),
    (['arithmetic', '--sum='], '--sum is missing'),
    (['arithmetic', '--space=w'], "space='w' needs a style-based"),
    (['mix'], 'needs a style-based'),
    (['mix', '--rows=a'], "--rows='a'"),
    (['mix', '--columns='], "--columns=''"),
    (['arithmetic', '--sum=3*5'], 'is not a sum'),
    (['arithmetic', '--sum=3+99999999999'], '2^31'),
    (['arithmetic', '--out=/dev/null/x.png'], 'cannot be written'),
    (['reconstruct', '--out=x.jpg'], 'must end in .png'),
    (['reconstruct', '--restarts=0'], 'restarts'),
    (['reconstruct', '--by=encoder', '--images=RUN/samples/a.png'],
     'has no encoder'),
    (['reconstruct', '--space=w+', '--images=RUN/samples/a.png'],
     "space='w+' needs a style-based"),
    (['reconstruct', '--space=w', '--by=encoder',
      '--images=RUN/samples/a.png'], 'is not for --space=w'),
    (['reconstruct', '--labels=x', '--images=RUN/samples/a.png'],
     "--labels='x'"),
    (['quiz', '--pairs=0'], 'pairs'),
    (['quiz', '--seed=-1'], 'seed'),
    (['quiz', '--split=val'], 'split'),
    (['export', '--out='], '--out is missing'),
    (['export', '--out=/dev/null/x'], 'cannot be written'),
]


@pytest.fixture(scope='module')
def results_of_main(tmp_path_factory):
    """Return (arguments, message, exit code, stdout, stderr) of each."""
    folder = tmp_path_factory.mktemp('commands')
    (folder / 'cwd').mkdir()
    for name, (text, _) in RECIPES.items():
        if text is not None:
            (folder / f'{name}.py').write_text(text)
    commands = [([DCGAN, *flags], says) for flags, says in OVERRIDES] + [
        ([f'--config={folder}/{name}.py'], says)
        for name, (_, says) in RECIPES.items()
    ] + OTHERS
    results = helpers.commands(
        [arguments for arguments, _ in commands], folder / 'cwd'
    )
    assert list((folder / 'cwd').iterdir()) == []  # no folder of a run
    return [(*command, *result) for command, result in zip(commands, results)]


@pytest.fixture(scope='module')
def results_of_tools(tmp_path_factory):
    """Return (arguments, message, expected code, code, stdout, stderr)."""
    folder = tmp_path_factory.mktemp('tools')
    workdir = folder / 'run'
    helpers.untrained(
        helpers.tiny_mlp(), workdir, helpers.random_images()
    )
    image_files.write(
        workdir / 'samples' / 'a.png', image_files.flat((1, 2, 3))
    )
    cases = [
        ([tool, *flags, out], words, code) for tool, out in TOOLS.items()
        for flags, code, words in OF_ALL_TOOLS
    ] + [
        ([tool, '--workdir=RUN', TOOLS[tool], *flags], words, 2)
        for (tool, *flags), words in OF_ONE_TOOL
    ]
    (folder / 'cwd').mkdir()
    results = helpers.commands([
        ['gan_jax', tool, *(f.replace('RUN', str(workdir)) for f in flags)]
        for (tool, *flags), _, _ in cases
    ], folder / 'cwd')
    assert list((folder / 'cwd').iterdir()) == []  # nothing is half written
    return [(*case, *result) for case, result in zip(cases, results)]


@pytest.mark.parametrize(
    'number', range(len(TOOLS) * len(OF_ALL_TOOLS) + len(OF_ONE_TOOL))
)
def test_mistake_of_a_tool_is_one_line(number, results_of_tools):
    arguments, says, expected, code, out, err = results_of_tools[number]
    assert code == expected, f'{arguments}: {out}{err}'
    assert len(err.splitlines()) == 1, f'{arguments}: {err}'
    assert err.startswith('error: ') and says in err, f'{arguments}: {err}'
    assert len(err) < 500 and out == '', arguments


@pytest.mark.parametrize('number', range(NUMBER))
def test_mistake_is_one_line_and_code_2(number, results_of_main):
    arguments, says, code, out, err = results_of_main[number]
    assert code == 2, f'{arguments}: {out}{err}'
    assert len(err.splitlines()) == 1, f'{arguments}: {err}'
    assert err.startswith('error: ') and says in err, arguments
    assert len(err) < 500, f'{arguments}: {err}'
    assert 'Traceback' not in err and out == '', arguments
