"""Export of a generator that translates images, in one direction.

The files are those of `export`; the script translates an image file.
"""

import json

from etils import epath
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import translation
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import pictures
from gan_jax.networks import convolutions
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.tools import export
from gan_jax.tools import generator_page
from gan_jax.tools import graph as graph_lib
from gan_jax.tools import image_translation as tool
from gan_jax.tools import model_card
from gan_jax.tools import onnx_file

SCRIPT = 'translate.py'
NAMES = {**export.NAMES, 'script': SCRIPT}
SCRIPT_TEXT = '''\
"""Translate an image: python translate.py image.png --out=translated.png."""
import argparse
import pathlib

from jax import export
import numpy as np
from PIL import Image, ImageOps

FORMATS = {formats}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('image', help='file; resized to {width}x{height} pixels')
parser.add_argument('--out', default='translated.png')
args = parser.parse_args()
program = pathlib.Path(__file__).with_name('{program}').read_bytes()
image = ImageOps.exif_transpose(Image.open(args.image, formats=FORMATS))
if image.mode.startswith('I;16'):  # Pillow would clip it to white
    grey = np.round(np.asarray(image).astype(np.float64) / 257)
    image = Image.fromarray(grey.astype(np.uint8))
{flatten}image = ImageOps.fit(image.convert('{mode}'), ({width}, {height}))
images = np.asarray(image, np.float32).reshape(1, {height}, {width}, {channels})
generate = export.deserialize(bytearray(program)).call
output = np.asarray(generate(images / np.float32(127.5) - 1))[0]
if args.out.endswith('.npy'):
    np.save(args.out, output)
else:
    pixels = np.clip(np.round((output + 1) * 127.5), 0, 255).astype(np.uint8)
    Image.fromarray({pixels}).save(args.out)
'''
FLATTEN = '''\
if image.has_transparency_data:
    behind = Image.new('RGBA', image.size, {background})
    image = Image.alpha_composite(behind, image.convert('RGBA'))
'''
USE = '''\
## Translate

    pip install jax flatbuffers numpy pillow
    python {script} image.png --out=translated.png

The image is cut and resized to the size in training. From Python:

    from jax import export
    generate = export.deserialize(bytearray(open('{program}', 'rb').read()))
    translations = generate.call(images)
'''


def write(
    folder, workdir, algorithm, state, weights='ema', formats=(),
    direction='a_to_b',
):
    """Write the four files, and those that were asked for.

    Args:
        folder, workdir, state, weights, formats: as of `export.write`.
        algorithm: `algorithm.Algorithm` of the run.
        direction: one of `Translation.directions`.

    Raises:
        OSError: if a file cannot be written.
        errors.ConfigError: if the run has no such direction, or its generator
            cannot be written for ONNX.
    """
    tool.check_direction(algorithm, direction, workdir)
    contents = {}
    if formats:
        function, inputs = translator(algorithm, state, weights, direction)
        graph = graph_lib.trace(function, inputs)
    if 'page' in formats:
        images, whose = example(workdir, algorithm, direction)
        preparation, _ = tool.load_preparation(workdir, algorithm, direction)
        contents[export.FORMATS['page']] = generator_page.build_translation(
            graph, images, np.asarray(jax.jit(function)(images)),
            title=f'{epath.Path(workdir).name}, {direction}',
            about=f'step {int(state.step):,}, weights {weights}; the example '
            f'is {whose}', background=preparation.background,
        )
    if 'onnx' in formats:
        contents[export.FORMATS['onnx']] = onnx_file.content(
            graph, export.OUTPUT,
            {**export.origin(state, weights), 'direction': direction},
        )
    export.save(folder, {
        **contents,
        export.PROGRAM: program(algorithm, state, weights, direction),
        export.TENSORS: tensors(algorithm, state, weights, direction),
        SCRIPT: script(workdir, algorithm, direction),
        export.CARD: card(workdir, algorithm, state, weights, direction)
        + export.further(formats),
    }, {
        **export.origin(state, weights), 'workdir': str(workdir),
        'direction': direction,
    })


def example(workdir, algorithm, direction):
    """Return an image of the source for the page, and what it is.

    It is the first of the data, or a plain color gradient where these are not
    at hand, as beside a release.

    Args:
        workdir, algorithm, direction: as `write`.

    Returns:
        (float32 [1, H, W, C] in [-1, 1], text).
    """
    domain, _ = translation.DIRECTIONS[direction]
    shape, _ = shapes(algorithm, direction)
    try:
        sampling.check_data(workdir)
        dataset = builders.datasets(run_files.load_config(workdir))[domain]
        image = dataset.centered(np.arange(1))
        if image.shape[1:] == shape:
            return np.asarray(algorithm_lib.to_unit_range(image)), (
                f'the first image of domain {domain}'
            )
    except (errors.UserError, OSError, ImportError):
        pass
    height, width, channels = shape
    rows, columns = np.mgrid[:height, :width]
    ramps = [rows / height, columns / width, 1 - rows / height, rows * 0 + 1]
    ramps = np.stack(ramps, -1)[None, ..., :channels]
    return (2 * ramps - 1).astype(np.float32), 'a color gradient'


def shapes(algorithm, direction):
    """Return the shapes of the images of source and target, in training."""
    return tuple(
        tuple(algorithm.shapes[translation.DOMAINS.index(domain)])
        for domain in translation.DIRECTIONS[direction]
    )


def program(algorithm, state, weights, direction):
    """Export a generator as StableHLO for any batch size.

    It maps images [B, H, W, C] in [-1, 1], of the size in training, to images.
    The weights are constants of the program. Dropout has the keys of seeds 0 to
    B - 1, see `translation.Translation.translate`.

    Args:
        algorithm, state, weights, direction: as `write`.

    Returns:
        bytes, for `jax.export.deserialize`.
    """
    chosen = _weights(algorithm, state, weights, direction)

    def generate(images):
        # `len` of a symbolic size fails, so the default keys are made here.
        keys = jax.vmap(jax.random.key)(jnp.arange(images.shape[0]))
        return algorithm.translate(chosen, images, direction, keys)

    # The forms for CPU depend on the batch size, which is left open.
    with convolutions.plain():
        return export.serialize(generate, _inputs(algorithm, direction))


def translator(algorithm, state, weights, direction):
    """Return the translation of images one by one, as `export.generator`.

    Dropout is that of seed 0 in each image, as of the command `translate`.

    Args:
        algorithm, state, weights, direction: as `write`.

    Returns:
        (function, {name of the input: (dtype, shape)}).
    """
    chosen = _weights(algorithm, state, weights, direction)
    keys = jax.random.key(0)[None]

    def one(image):
        return algorithm.translate(chosen, image[None], direction, keys)[0]

    return jax.vmap(one), _inputs(algorithm, direction)


def _weights(algorithm, state, weights, direction):
    """Return the weights of one direction, as `translate` takes them."""
    return {direction: jax.tree.map(
        jnp.asarray, algorithm.weights(state, weights)[direction]
    )}


def _inputs(algorithm, direction):
    source, _ = shapes(algorithm, direction)
    return {'images': ('float32', (graph_lib.BATCH, *source))}


def tensors(algorithm, state, weights, direction):
    """Return the weights by name, float32, as bytes of a safetensors file.

    Args:
        algorithm, state, weights, direction: as `write`.
    """
    source, target = shapes(algorithm, direction)
    return export.pack(
        algorithm_lib.collections(algorithm.weights(state, weights)[direction]),
        {
            **export.origin(state, weights),
            'algorithm': algorithm.name,
            'direction': direction,
            'source_shape': json.dumps(source),
            'target_shape': json.dumps(target),
        },
    )


def script(workdir, algorithm, direction):
    """Return the source code of the script that translates an image.

    Args:
        workdir, algorithm, direction: as `write`.

    Returns:
        str.
    """
    (height, width, channels), target = shapes(algorithm, direction)
    preparation, _ = tool.load_preparation(workdir, algorithm, direction)
    return SCRIPT_TEXT.format(
        height=height, width=width, channels=channels,
        mode=pictures.CHANNELS[channels], program=export.PROGRAM,
        formats=pictures.FORMATS,
        flatten='' if channels == 4 else (
            FLATTEN.format(background=(*preparation.background, 255))
        ),
        pixels='pixels[..., 0]' if target[-1] == 1 else 'pixels',
    )


def card(workdir, algorithm, state, weights, direction):
    """Return the model card, built from the files of the run folder.

    Args:
        workdir, algorithm, state, weights, direction: as `write`.

    Returns:
        str, Markdown.
    """
    config, data = run_files.load_config(workdir), run_files.load_sources(
        workdir
    )
    source, target = (
        f'float32 [B, {", ".join(map(str, shape))}] in [-1, 1]'
        for shape in shapes(algorithm, direction)
    )
    return model_card.build(workdir, state, weights, [
        *((f'data {name}', _describe(
            defaults.of_source(config, name), data[name]
        )) for name in translation.DOMAINS),
        ('trained as', f'`{algorithm.name}`, loss `{config.loss.name}`'),
        ('direction', f'`{direction}`'),
        ('inputs', f'`images` {source}'),
        ('output', target),
    ], title=f'{epath.Path(workdir).name}, {direction}', use=USE, names=NAMES,
        direction=direction)


def _describe(config, data):
    """Describe the data of a domain in a line, with their task."""
    task, side = config.data.task, config.data.side
    return export.describe(config, data) + (
        f', side {side} of the task `{task}`' if task else ''
    )
