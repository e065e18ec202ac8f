"""Export of an encoder or a decoder apart, to files without this package.

Both together turn an image into its code and back. The decoder's codes need not
come from the encoder: those of a model that was trained on codes will do.
"""

import json

from etils import epath
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import latents
from gan_jax.core import errors
from gan_jax.networks import convolutions
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.tools import encoding
from gan_jax.tools import export
from gan_jax.tools import graph as graph_lib
from gan_jax.tools import model_card
from gan_jax.tools import onnx_file

PARTS = ('encoder', 'decoder')
OUTPUTS = {'encoder': 'codes', 'decoder': 'images'}
USE = {'encoder': '''\
## Encode

    from jax import export
    encode = export.deserialize(bytearray(open('{program}', 'rb').read()))
    codes = encode.call(images)

`images` are float32 in [-1, 1]. Codes of a Gaussian are its mean, those of a
codebook its vectors.
''', 'decoder': '''\
## Decode

    from jax import export
    decode = export.deserialize(bytearray(open('{program}', 'rb').read()))
    images = decode.call(codes)

`codes` are those of the encoder, or of a model that was trained on them.
'''}


def write(folder, workdir, algorithm, state, part, formats=()):
    """Write the program, the weights and the card of a part.

    The weights are those of the commands `reconstruct` and `encode`.

    Args:
        folder, workdir, state: as of `export.write`.
        algorithm: `algorithm.Algorithm` with an encoder.
        part: one of `PARTS`.
        formats: 'onnx' writes PART.onnx too.

    Raises:
        OSError: if a file cannot be written.
        errors.ConfigError: if the run has no such part, or it cannot be written
            for ONNX.
    """
    encoding.check_encodes(algorithm)
    if 'page' in formats:
        raise errors.ConfigError(
            f'--page shows a generator of z; leave it out with --part={part}'
        )
    data = run_files.load_data(workdir)
    names = {
        'program': f'{part}.stablehlo', 'tensors': f'{part}.safetensors',
        'platforms': ', '.join(export.PLATFORMS),
    }
    shapes = _shapes(algorithm, data)
    function, inputs = program(algorithm, state, part, shapes)
    contents = {}
    if 'onnx' in formats:
        contents[f'{part}.onnx'] = onnx_file.content(
            graph_lib.trace(function, inputs), OUTPUTS[part],
            {'step': str(int(state.step)), 'part': part},
        )
    # The forms for CPU depend on the batch size, which is left open.
    with convolutions.plain():
        contents[names['program']] = export.serialize(function, inputs)
    about = {
        'step': str(int(state.step)), 'part': part, 'algorithm': algorithm.name,
        'code_shape': json.dumps(shapes['codes']),
        'image_shape': json.dumps(shapes['images']), **export.units(data),
    }
    weights = latents.weights(state, part, algorithm.code_weights)
    contents[names['tensors']] = export.pack(
        algorithm_lib.collections(weights), about
    )
    source = 'images' if part == 'encoder' else 'codes'
    kind = algorithm.code_weights
    contents[export.CARD] = model_card.build(workdir, state, kind, [
        ('data', export.describe(sampling.load_data_config(workdir), data)),
        *export.units_rows(workdir),
        ('trained as', f'`{algorithm.name}`'),
        ('part', part),
        ('inputs', f'`{source}` {_words(shapes[source])}'),
        ('output', _words(shapes[OUTPUTS[part]])),
    ], title=f'{epath.Path(workdir).name}, {part}', use=USE[part], names=names,
    ) + f'\n## How long it loads\n\n{export.expiry(names["program"])}\n'
    export.save(folder, contents, {**about, 'workdir': str(workdir)})


def program(algorithm, state, part, shapes):
    """Return a part as a function of arrays, with its weights inside.

    Args:
        algorithm, state, part: as of `write`.
        shapes: {'images', 'codes': shape of one}.

    Returns:
        (function, {name of the input: (dtype, shape)}).
    """
    state = jax.tree.map(jnp.asarray, state)

    def encode(images):
        codes = algorithm.encode(state, images)
        return codes.reshape(-1, *shapes['codes'])

    def decode(codes):
        size = int(np.prod(shapes['codes']))
        return algorithm.decode(state, codes.reshape(-1, size))

    function, name = {
        'encoder': (encode, 'images'), 'decoder': (decode, 'codes'),
    }[part]
    return function, {name: ('float32', (graph_lib.BATCH, *shapes[name]))}


def _shapes(algorithm, data):
    """Return the shapes of one image and of one code."""
    return {
        'images': tuple(data['image_shape']),
        'codes': tuple(algorithm.code_shape),
    }


def _words(shape):
    return f'float32 [B, {", ".join(map(str, shape))}]'
