"""Layering: each package imports from lower layers alone."""

import ast
import re

import pytest

from conftest import ROOT

PACKAGE = ROOT / 'gan_jax'

# The layer of each package. A module imports from packages on lower layers or
# from its own package.
FLOORS = {
    'core': 0,
    'data': 1, 'diagnosis': 1, 'metrics': 1, 'ops': 1,
    'networks': 2, 'objectives': 2,
    'algorithms': 3,
    'features': 4, 'runtime': 4,
    'config': 5,
    'runs': 6,
    'evaluation': 7,
    'lab': 8, 'monitoring': 8, 'reporting': 8, 'tools': 8,
    'training': 9,
    'cli': 10,
    '__main__': 11, 'main': 11,
}
PURE = {'diagnosis', 'metrics', 'objectives', 'ops'}
IO = {'absl', 'etils', 'logging', 'pathlib', 'time', 'tensorboardX', 'tqdm'}
FORBIDDEN = {
    **{room: IO | {'flax', 'ml_collections', 'orbax'} for room in PURE},
    'networks': IO | {'ml_collections', 'orbax'},
    'features': IO - {'pathlib', 'tqdm'} | {'ml_collections', 'orbax', 'torch'},
    'data': {'jax', 'flax', 'optax', 'ml_collections', 'orbax'},
    'algorithms': IO | {'ml_collections', 'orbax'},
    'runtime': {'ml_collections'},
}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports(path):
    """Yield the dotted names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: imports are absolute'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


FILES = sorted(PACKAGE.rglob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_imports_point_down(path):
    if path == PACKAGE / '__init__.py':
        return
    here = room(path)
    for name in imports(path):
        top, *rest = name.split('.')
        assert top not in FORBIDDEN.get(here, ()), f'{here} imports {name}'
        assert top not in ('tests', 'benchmarks', 'configs', 'helpers')
        there = rest[0] if rest else None
        if top == 'gan_jax' and there in FLOORS and there != here:
            assert FLOORS[there] < FLOORS[here], f'{here} imports {name}'


def test_every_room_has_a_floor():
    packages = {room(path) for path in FILES} - {'__init__'}
    assert packages == set(FLOORS)


DEVICES_AND_LOOPS = {
    'all_gather', 'all_to_all', 'associative_scan', 'axis_index', 'fori_loop',
    'pmap', 'pmean', 'ppermute', 'psum', 'scan', 'shard_map', 'while_loop',
}


def devices_and_loops(code):
    """List the uses of devices and device loops in a file."""
    names, tree = [], ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in DEVICES_AND_LOOPS:
            names.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [
                alias.name for alias in node.names
                if alias.name in DEVICES_AND_LOOPS
            ]
    # Aliases of functions of `parallel` count too.
    for node in tree.body:
        if isinstance(node, ast.Assign) and (
                ast.unparse(node.value).startswith('parallel.')):
            names.append(ast.unparse(node))
    return names


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_only_parallel_knows_of_devices_and_loops(path):
    if path != PACKAGE / 'runtime' / 'parallel.py':
        assert devices_and_loops(path.read_text()) == []


@pytest.mark.parametrize('code', [
    'jax.lax.scan(f, a, b)', 'from jax.lax import fori_loop',
    'scan = parallel.scan_or_none(convolutional=False)', 'jax.pmap(f)',
    'loop = lax.while_loop',
])
def test_devices_and_loops_are_detected(code):
    assert devices_and_loops(code)


# Packages that may name a player: the algorithms, the networks, and the
# builders that create both from a config.
NAMES_PLAYERS = {'algorithms', 'config', 'networks'}


def players_named(code):
    """List where a file names a player or a baseline."""
    names = []
    for node in ast.walk(_without_docstrings(ast.parse(code))):
        if isinstance(node, ast.Attribute) and node.attr in (
                'generator', 'discriminator'):
            names.append(ast.unparse(node))
        elif isinstance(node, ast.Subscript) and (
                isinstance(node.slice, ast.Constant)
                and getattr(node.value, 'attr', '') in ('players', 'averages')):
            names.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += re.findall('baseline', node.value)
        elif isinstance(node, ast.Name) and 'baseline' in node.id:
            names.append(node.id)
    return names


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_only_algorithms_and_builders_name_players(path):
    if room(path) not in NAMES_PLAYERS:
        assert players_named(path.read_text()) == []


@pytest.mark.parametrize('code', [
    'state.generator.params', "state.players['generator']", 'baseline = 1',
    "config['baseline.name']", "state.averages['decoder']",
])
def test_named_players_are_detected(code):
    assert players_named(code)


def _without_docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(0)
    return tree


DANGEROUS = {
    'pickle', 'cloudpickle', 'dill', 'marshal', 'shelve', 'joblib', 'eval',
    'exec', 'os.system', 'os.popen', 'torch.load', 'extractall',
}


def dangers(code):
    """List the calls in a file that could execute its input."""
    calls = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            names.append(getattr(node, 'module', None) or '')
            calls += [n for n in names if n.split('.')[0] in DANGEROUS]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if {name, name.split('.')[-1]} & DANGEROUS:
                calls += [] if _reads_tensors_alone(name, node) else [name]
            calls += [
                f'{key.arg}=True' for key in node.keywords
                if key.arg in ('allow_pickle', 'shell')
                and ast.unparse(key.value) != 'False'
            ]
    return calls


def _reads_tensors_alone(name, call):
    keywords = [ast.unparse(keyword) for keyword in call.keywords]
    return name == 'torch.load' and 'weights_only=True' in keywords


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_no_input_is_executed(path):
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize('code, expected', [
    ('import pickle', ['pickle']),
    ('from joblib import load', ['joblib']),
    ('np.load(path, allow_pickle=True)', ['allow_pickle=True']),
    ('np.load(path, allow_pickle=False)', []),
    ('subprocess.run(x, shell=yes)', ['shell=True']),
    ('eval(text)', ['eval']),
    ('archive.extractall(path)', ['archive.extractall']),
    ('os.system(x)', ['os.system']),
    ('torch.load(path)', ['torch.load']),
    ('torch.load(path, weights_only=flag)', ['torch.load']),
    ('torch.load(path, weights_only=True)', []),
])
def test_dangers_are_detected(code, expected):
    assert dangers(code) == expected


def bare_prints(code):
    """List the calls in a file that print without masking and escaping."""
    tree = ast.parse(code)
    written = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call)
        and ast.unparse(node.func) == 'tqdm.write'
        and not ast.unparse(node.args[0]).startswith('redact.escape(')
    ]
    return written + [
        node for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == 'print'
    ]


def openers(code):
    """List the calls in a file that let Pillow guess a format."""
    return [
        ast.unparse(node) for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith('Image.open')
        and 'formats' not in [keyword.arg for keyword in node.keywords]
    ]


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_all_output_is_masked_and_escaped(path):
    if path.stem != 'redact':
        assert bare_prints(path.read_text()) == []


@pytest.mark.parametrize('code', [
    'print(line)', 'tqdm.write(line)', 'def f(say=print): pass',
])
def test_bare_prints_are_detected(code):
    assert bare_prints(code)


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_pillow_opens_only_named_formats_in_one_module(path):
    code = path.read_text()
    assert openers(code) == []
    # The second is in the text of a script.
    own = [PACKAGE / name for name in (
        'data/pictures.py', 'tools/export_translation.py'
    )]
    assert 'Image.open(' not in code or path in own
    assert 'Image import open' not in code


def test_openers_are_detected():
    assert openers('with Image.open(f) as a: pass') == ['Image.open(f)']
    assert openers('PIL.Image.open(f, formats=A)') == []


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.name))
def test_files_are_written_by_one_module(path):
    """`Path.write_text` and the like would write through a link."""
    code = path.read_text()
    own = {'files.py', 'lock.py', 'packs.py'}  # the last: into new folders
    if path.name not in own:
        assert not re.search(r"write_(text|bytes)\(|open\([^)]*'[wax]b?'", code)
        assert 'json.load(' not in code and 'loads(path' not in code


# Modules whose files may be on a file system that only etils.epath knows.
OF_RUNS = [
    path for path in FILES
    if path.stem in ('loop', 'train', 'run_folder', 'sampling')
] + sorted((PACKAGE / 'runtime').glob('*.py'))
LOCAL = {  # local calls that are allowed
    'os.link', 'pathlib.Path', 'platformdirs.user_cache_dir',
    'shutil.disk_usage',
}


def local_calls(code):
    """List the calls in a file that open or change local files."""
    calls = [
        ast.unparse(node.func) for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and not any(isinstance(n, ast.Call) for n in ast.walk(node.func))
    ]
    harmless = ('os.cpu_count', 'os.getpid', 'os.kill', 'os.sysconf',
                'os._exit', 'os.environ.get', 'os.geteuid', 'os.path.basename')
    return [
        call for call in calls if call == 'open' or call not in harmless
        and call.split('.')[0] in ('os', 'shutil', 'tempfile', 'pathlib', 'io')
    ]


@pytest.mark.parametrize('path', OF_RUNS, ids=lambda p: str(p.name))
def test_run_files_are_opened_by_epath_alone(path):
    assert set(local_calls(path.read_text())) <= LOCAL


@pytest.mark.parametrize('code', [
    'open(path)', 'os.rename(a, b)', 'shutil.rmtree(a)', 'os.listdir(a)',
    'tempfile.mkdtemp()', 'pathlib.Path(a)',
])
def test_local_calls_are_detected(code):
    assert local_calls(code)
    assert not local_calls('epath.Path(a).open()')
