"""Page that runs a generator in a browser, without a network.

The page is one HTML file: the generator's graph and weights, an interpreter of
its operators in JavaScript (`operators.js`), and samples of this program, with
which the page compares its own.
"""

import base64
from importlib import resources
import json
import string

import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib

SEEDS = (0, 1, 7, 2**31 - 1)  # of the samples that are compared
LARGEST = np.iinfo(np.int32).max  # of whole numbers in the page


def build(graph, algorithm, weights, *, title, about, shape, classes):
    """Build the page.

    Args:
        graph: `graph.Graph` of the generator.
        algorithm: `algorithm.Algorithm` of the run.
        weights: its `Weights`.
        title, about: text.
        shape: of a sample.
        classes: a name for each class; () if the generator takes none.

    Returns:
        str, HTML.
    """
    model = {
        'title': title, 'about': about, 'shape': shape, 'classes': classes,
        'latent': algorithm.latent, 'size': algorithm.latent_size,
        'truncates': 'truncation' in graph.inputs,
        'graph': _packed(graph),
        'check': _samples(algorithm, weights, 'truncation' in graph.inputs),
    }
    return _render(model)


def build_translation(graph, example, result, *, title, about, background):
    """Build the page of a generator that translates images.

    Args:
        graph: `graph.Graph` of it, with the input `images`.
        example: float32 [1, H, W, C] in [-1, 1], shown first and checked.
        result: its translation by JAX, float32 [1, H, W, C'].
        title, about: text.
        background: (red, green, blue) behind transparent pixels.

    Returns:
        str, HTML.
    """
    return _render({
        'title': title, 'about': about, 'source': example.shape[1:],
        'shape': result.shape[1:], 'graph': _packed(graph),
        'background': 'rgb({}, {}, {})'.format(*background),
        'check': {'inputs': pack(example), 'images': pack(result)},
    })


def _packed(graph):
    """Return a graph as the page reads it."""
    return {
        'nodes': [list(node) for node in graph.nodes],
        'constants': {k: pack(v) for k, v in graph.constants.items()},
        'output': graph.output,
    }


def _render(model):
    """Return the page of a model, HTML."""
    own = resources.files('gan_jax.tools')
    page = string.Template((own / 'generator_page.html').read_text())
    return page.substitute(
        # Names of classes and runs must not end the element.
        MODEL=json.dumps(model).replace('<', '\\u003c'),
        OPERATORS=(own / 'operators.js').read_text(),
        PAGE=(own / 'generator_page.js').read_text(),
    )


def pack(array):
    """Return an array as {shape, dtype, data: base64} for the page."""
    array = np.asarray(array)
    dtype = array.dtype.name
    if dtype == 'int64':
        array = np.clip(array, -LARGEST, LARGEST)
    little = {'bool': '|b1', 'float32': '<f4', 'int32': '<i4', 'int64': '<i4'}
    content = array.astype(little[dtype]).tobytes()
    return {
        'shape': list(array.shape), 'dtype': dtype,
        'data': base64.b64encode(content).decode(),
    }


def _samples(algorithm, weights, truncates):
    """Return the samples of `SEEDS`, with what they are made from."""
    inputs = algorithm.inputs(SEEDS)
    truncation = 0.7 if truncates else 1
    numbers = {'truncation': np.float32(truncation)} if truncates else None
    labels = np.zeros(len(SEEDS), np.int32) if inputs.labels is None else (
        np.asarray(inputs.labels, np.int32)
    )
    images = algorithm.apply(weights, algorithm_lib.Inputs(
        inputs.main, inputs.labels, numbers=numbers
    ))
    return {
        'seeds': SEEDS, 'z': pack(np.asarray(inputs.main, np.float32)),
        'labels': labels.tolist(), 'truncation': truncation,
        'images': pack(np.asarray(images, np.float32)),
    }
