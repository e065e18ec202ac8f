"""Files of ONNX from graphs of its operators.

The package `onnx` (extra `onnx`) writes them; nothing else here needs it.
"""

import numpy as np

from gan_jax.core import errors

OPSET, IR = 18, 10  # of the operators; of the file, read since 2024


def content(graph, output, metadata):
    """Return a graph as the bytes of a file of ONNX, after its check.

    Args:
        graph: `graph.Graph`.
        output: name of the result in the file.
        metadata: {name: text}, kept in the file.

    Returns:
        bytes.

    Raises:
        errors.ConfigError: if the package `onnx` is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise errors.ConfigError(
            "--onnx needs the package onnx: pip install 'gan_jax[onnx]'"
        ) from error
    helper = onnx.helper
    nodes = [
        helper.make_node(node.op, node.inputs, [node.output], **{
            key: _type_of(value) if key == 'to' else value
            for key, value in node.attributes.items()
        }) for node in graph.nodes
    ]
    # The result has its own name, also where it is an input or a constant.
    nodes.append(helper.make_node('Identity', [graph.output], [output]))
    model = helper.make_model(
        helper.make_graph(
            nodes, 'generator',
            [helper.make_tensor_value_info(name, _type_of(dtype), shape)
             for name, (dtype, shape) in graph.inputs.items()],
            [helper.make_tensor_value_info(
                output, _type_of('float32'), graph.shape
            )],
            [onnx.numpy_helper.from_array(np.ascontiguousarray(array)
                                          if array.ndim else array, name)
             for name, array in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR,
        producer_name='gan_jax',
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _type_of(dtype):
    """Return the number that ONNX has for a dtype of NumPy."""
    from onnx import helper
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
