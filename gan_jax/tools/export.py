"""Export of a generator to files that do not need this package.

The files are StableHLO with the weights inside, the weights by name, a model
card, and a script that samples from the StableHLO with JAX, NumPy and Pillow.
"""

import json

from etils import epath
import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np
from safetensors import numpy as safetensors

import gan_jax
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import sources
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.tools import generator_page
from gan_jax.tools import graph as graph_lib
from gan_jax.tools import model_card
from gan_jax.tools import onnx_file

PROGRAM = 'generator.stablehlo'
TENSORS = 'generator.safetensors'
CARD = 'README.md'
ABOUT = 'export.json'
SCRIPT = 'sample.py'
FORMATS = {'onnx': 'generator.onnx', 'page': 'generator.html'}
OUTPUT = 'samples'  # name in the file of ONNX
# Months that a newer jax still loads the program, counted from the release of
# the jax that wrote it: https://docs.jax.dev/en/latest/export/export.html,
# "Compatibility guarantees".
MONTHS = 6
PLATFORMS = ('cpu', 'cuda', 'tpu')
NAMES = {
    'platforms': ', '.join(PLATFORMS), 'program': PROGRAM, 'script': SCRIPT,
    'tensors': TENSORS,
}

# Source code of `latents.LATENTS` for the script, which imports only JAX.
NORMAL = 'return jax.random.normal(key, ({size},))'
DRAWS = {
    'fitted': NORMAL,
    'gaussian': NORMAL,
    'sphere': 'z = jax.random.normal(key, ({size},))\n    '
    'return z * ({size} ** 0.5 / jax.numpy.linalg.norm(z))',
    'uniform': 'return jax.random.uniform(key, ({size},), minval=-1)',
}
SCRIPT_TEXT = '''\
"""Draw samples by seed: python sample.py 0 1 2 --out=samples.{ending}."""
import argparse
import pathlib

import jax
from jax import export
import numpy as np
{pillow}

def draw(seed):
    key = jax.random.fold_in(jax.random.key(0), seed)
    {draw}


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('seeds', type=int, nargs='*', default=range({count}))
{flags}parser.add_argument('--out', default='samples.{ending}')
args = parser.parse_args()
program = pathlib.Path(__file__).with_name('{program}').read_bytes()
seeds = np.array(args.seeds, np.int32)
{labels}inputs = {inputs}
samples = np.asarray(export.deserialize(bytearray(program)).call(*inputs))
{save}'''
LABELS = '''\
labels = seeds % {classes} if args.label is None else 0 * seeds + args.label
'''
LABEL_FLAG = "parser.add_argument('--label', type=int)\n"
TRUNCATION_FLAG = (
    "parser.add_argument('--truncation', type=float, default=1)\n"
)
SAVE_IMAGES = '''\
if args.out.endswith('.npy'):
    np.save(args.out, samples)
else:
    row = np.concatenate(samples, 1) * 127.5 + 127.5
    row = np.clip(np.round(row), 0, 255).astype(np.uint8)
    Image.fromarray({row}).save(args.out)
'''

USE = '''\
## Sample

    pip install jax flatbuffers numpy pillow
    python {script} 0 1 2 3

A seed gives the same sample as `python -m gan_jax sample`. From Python:

    from jax import export
    generate = export.deserialize(bytearray(open('{program}', 'rb').read()))
    samples = generate.call({inputs})
'''
FORMAT_USE = {'onnx': f'''
## ONNX

`{FORMATS["onnx"]}` is the generator for ONNX Runtime and other programs, with
the same inputs, any batch size, and one output, `{OUTPUT}`, in float32.

    import onnxruntime
    session = onnxruntime.InferenceSession('{FORMATS["onnx"]}')
    print([(i.name, i.type, i.shape) for i in session.get_inputs()])
''', 'page': f'''
## Page

`{FORMATS["page"]}` runs the generator in a browser. It needs no server and no
network. It compares its own samples with those of JAX, and says so.
'''}


def write(
    folder, workdir, algorithm, state, weights='ema', formats=()
):
    """Write the four files, and those that were asked for.

    Args:
        folder: local or of a file system of etils.epath; created if missing.
        workdir: folder of the run.
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState`.
        weights: one of `Algorithm.weight_names`.
        formats: of `FORMATS`, which are written too.

    Raises:
        OSError: if a file cannot be written.
        errors.ConfigError: if the generator cannot be written for ONNX.
    """
    data, contents = run_files.load_data(workdir), {}
    if formats:
        graph = graph_lib.trace(*generator(algorithm, state, weights))
    if 'onnx' in formats:
        contents[FORMATS['onnx']] = onnx_file.content(graph, OUTPUT, {
            **origin(state, weights), 'latent': algorithm.latent,
        })
    if 'page' in formats:
        if 'units' in data:
            raise errors.ConfigError(
                '--page draws pictures, and this run is on .npy files; leave '
                'it out'
            )
        source = describe(sampling.load_data_config(workdir), data)
        contents[FORMATS['page']] = generator_page.build(
            graph, algorithm, algorithm.weights(state, weights),
            title=epath.Path(workdir).name, shape=data['image_shape'],
            about=f'step {int(state.step):,}, weights {weights}; {source}',
            classes=[str(name) for name in data['classes']]
            if algorithm.num_classes else [],
        )
    save(folder, {
        **contents,
        PROGRAM: program(algorithm, state, weights),
        TENSORS: tensors(workdir, algorithm, state, weights),
        SCRIPT: script(algorithm, data),
        CARD: card(workdir, algorithm, state, weights) + further(formats),
    }, {**origin(state, weights), 'workdir': str(workdir)})


def expiry(name=PROGRAM):
    """Return the sentence on how long the StableHLO can be loaded."""
    return (
        f'{name} was written by jax {jax.__version__}. JAX promises that '
        f'versions released up to {MONTHS} months after that one load it. '
        'Repeat the command to make it anew.'
    )


def save(folder, contents, about):
    """Write files to a folder, and what they are made of to `ABOUT`.

    Args:
        folder: as of `write`.
        contents: {name: bytes or text}.
        about: dict for `ABOUT`.

    Raises:
        errors.ConfigError: where a file of such a name is not of an export.
    """
    folder = files.to_path(folder)
    if not files.lexists(folder / ABOUT):
        for name in contents:
            if files.lexists(folder / name):
                raise errors.ConfigError(
                    f'--out={folder} holds another {name}; name a new folder, '
                    'or that of an export to replace'
                )
    folder.mkdir(parents=True, exist_ok=True)
    # First, so that the folder of a killed export can be written again.
    files.write_json(folder / ABOUT, {
        **about, 'jax': jax.__version__,
        'stablehlo': {'months': MONTHS, 'platforms': PLATFORMS,
                      'promise': expiry()},
        'files': sorted(contents),
    })
    for name, content in contents.items():
        files.write(folder / name, content)


def program(algorithm, state, weights='ema'):
    """Export the generator as StableHLO for any batch size.

    It maps z [B, latent_size], labels [B] if there are classes, and the
    truncation [] if the generator is style-based, to images. The weights, and
    the noise maps, are constants of the program.

    Args:
        algorithm, state, weights: as `write`.

    Returns:
        bytes, for `jax.export.deserialize`.
    """
    return serialize(*generator(algorithm, state, weights))


def generator(algorithm, state, weights='ema'):
    """Return the generator as a function of arrays, with its weights inside.

    Args:
        algorithm, state, weights: as `write`.

    Returns:
        (function, {name of an input: (dtype, shape)}), for `graph.structs`.
    """
    weights = jax.tree.map(jnp.asarray, algorithm.weights(state, weights))
    inputs = {name: {
        'z': ('float32', (graph_lib.BATCH, algorithm.latent_size)),
        'labels': ('int32', (graph_lib.BATCH,)), 'truncation': ('float32', ()),
    }[name] for name in input_names(algorithm)}

    def generate(*arrays):
        named = dict(zip(inputs, arrays))
        numbers = {k: v for k, v in named.items() if k == 'truncation'}
        return algorithm.apply(weights, algorithm_lib.Inputs(
            named['z'], named.get('labels'), numbers=numbers or None
        ))

    return generate, inputs


def serialize(function, inputs):
    """Export a function of arrays as StableHLO, for all `PLATFORMS`.

    Args:
        function: of arrays, that can be traced.
        inputs: {name: (dtype, shape)} of each.

    Returns:
        bytes, for `jax.export.deserialize`.
    """
    exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)
    return bytes(exported(*graph_lib.structs(inputs)).serialize())


def further(formats):
    """Return the part of a card on how long it loads, and on `FORMATS`."""
    parts = [f'\n## How long it loads\n\n{expiry()}\n']
    parts += [text for name, text in FORMAT_USE.items() if name in formats]
    return ''.join(parts)


def input_names(algorithm):
    """Return the names of the program's inputs, in their order."""
    return [
        'z', *['labels'] * bool(algorithm.num_classes),
        *['truncation'] * bool(algorithm.num_styles),
    ]


def tensors(workdir, algorithm, state, weights='ema'):
    """Return the weights by name, float32, as bytes of a safetensors file.

    Args:
        workdir, algorithm, state, weights: as `write`.
    """
    data = run_files.load_data(workdir)
    return pack(algorithm.collections(algorithm.weights(state, weights)), {
        **origin(state, weights),
        'latent': algorithm.latent,
        'latent_size': str(algorithm.latent_size),
        'num_classes': str(algorithm.num_classes),
        'image_shape': json.dumps(data['image_shape']),
        **units(data),
    })


def units(data):
    """Return the metadata of tensors on units, {name: JSON}; {} of pictures.

    Args:
        data: dict of `run_files.load_data`.
    """
    return {'units': json.dumps(data['units'])} if 'units' in data else {}


def origin(state, weights):
    """Return the metadata that every file of tensors has, {name: text}."""
    return {
        'made_by': f'gan_jax {gan_jax.__version__}',
        'step': str(int(state.step)),
        'weights': weights,
    }


def pack(collections, metadata):
    """Return a pytree by name, float32, as bytes of a safetensors file."""
    named = {
        jax.tree_util.keystr(path, simple=True, separator='.'): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(collections)
    }
    return safetensors.save(
        {name: np.asarray(leaf, np.float32) for name, leaf in named.items()},
        metadata=metadata,
    )


def script(algorithm, data):
    """Return the source code of the script that samples.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        data: dict of `run_files.load_data`.

    Returns:
        str.
    """
    shape = data['image_shape']
    plain = len(shape) == 1 or 'units' in data  # written as an array
    classes = algorithm.num_classes
    added = LABEL_FLAG * bool(classes)
    added += TRUNCATION_FLAG * bool(algorithm.num_styles)
    arrays = {
        'z': 'jax.vmap(draw)(seeds)', 'labels': 'labels',
        'truncation': 'np.float32(args.truncation)',
    }
    inputs = [arrays[name] for name in input_names(algorithm)]
    return SCRIPT_TEXT.format(
        ending='npy' if plain else 'png', count=1000 if plain else 16,
        pillow='' if plain else 'from PIL import Image\n',
        program=PROGRAM,
        draw=DRAWS[algorithm.latent].format(size=algorithm.latent_size),
        flags=added,
        labels=LABELS.format(classes=classes) if classes else '',
        inputs=', '.join(inputs) + ',' * (len(inputs) == 1),
        save='np.save(args.out, samples)\n' if plain else (
            SAVE_IMAGES.format(row='row[..., 0]' if shape[2] == 1 else 'row')
        ),
    )


def card(workdir, algorithm, state, weights='ema'):
    """Return the model card, built from the files of the run folder.

    Args:
        workdir, algorithm, state, weights: as `write`.

    Returns:
        str, Markdown.
    """
    config = sampling.load_data_config(workdir)
    data = run_files.load_data(workdir)
    points = len(data['image_shape']) == 1
    inputs = f'`z` float32 [B, {algorithm.latent_size}] ({algorithm.latent})'
    if algorithm.num_classes:
        inputs += f', `labels` int32 [B] in [0, {algorithm.num_classes})'
    if algorithm.num_styles:
        inputs += (
            ', `truncation` float32 []: psi, which moves w towards its mean; 1 '
            'is none, 0 the mean. The noise maps are fixed'
        )
    kind_of_run = f'`{algorithm.name}`' if algorithm.monitors is None else (
        f'GAN, loss `{config.loss.name}`'
    )
    return model_card.build(workdir, state, weights, [
        ('data', describe(config, data)),
        *units_rows(workdir),
        ('trained as', kind_of_run),
        ('inputs', inputs),
        ('output', f'float32 [B, {", ".join(map(str, data["image_shape"]))}]'
         + ('' if points else ' in [-1, 1]')),
    ], title=epath.Path(workdir).name, use=USE, names={
        **NAMES, 'inputs': ', '.join(input_names(algorithm)),
    })


def units_rows(workdir):
    """Return the rows of a card on the units of a run; () of pictures."""
    units = run_files.units(workdir)
    return () if units is None else ((
        'units', f'-1 to 1 stand for {units.described()}, channel by channel; '
        'exact in the metadata of the safetensors file'
    ),)


def describe(config, data):
    """Describe the data of a run in a line.

    Args:
        config: of the source, as of `defaults.of_source`.
        data: its entry of `run_files.load_sources`.
    """
    source = defaults.source(config)
    if data.get('name') == sources.ARRAYS:
        source = 'arrays passed from Python'
    kind = 'points' if len(data['image_shape']) == 1 else 'images'
    shape = 'x'.join(map(str, data['image_shape']))
    classes = ', '.join(data['classes'])
    return f'{source}, {data["count"]:,} {kind} of {shape}' + (
        f', classes {classes}' if classes else ''
    )
