"""Graphs of ONNX's operators from functions that JAX can trace.

A function is traced to a jaxpr for any batch size; each of its primitives
becomes operators of ONNX (opset 18), and what does not depend on the inputs is
computed here. `onnx_file` writes a graph as an ONNX file, `generator_page` as a
page that runs it. Only the primitives of inference are known: the generators'
and their neighbours'. Another one raises an error with its name.

The alternative jax2onnx 0.17.1 was tried with jax 0.10.2. It needs
orbax-checkpoint below 0.11.37, which this package cannot run with, and gave
nearest upsampling without its repeats, in silence.

References:
    Open Neural Network Exchange, Operator Schemas,
    https://onnx.ai/onnx/operators/.
"""

from typing import NamedTuple

import jax
from jax import export as jax_export
from jax.extend import core
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.networks import convolutions
from gan_jax.tools import graph_operators
from gan_jax.tools import graph_sizes
from gan_jax.tools.graph_sizes import dtype_of, is_known, same, Value

BATCH = 'batch'  # name of the size that is left open
IDENTITIES = (
    'copy', 'copy_p', 'optimization_barrier', 'reduce_precision',
    'stop_gradient',
)
CALLS = {  # primitives that call a jaxpr, and the name of that parameter
    'checkpoint': 'jaxpr', 'closed_call': 'call_jaxpr',
    'core_call': 'call_jaxpr', 'custom_jvp_call': 'call_jaxpr',
    'custom_vjp_call': 'call_jaxpr', 'jit': 'jaxpr', 'pjit': 'jaxpr',
    'remat2': 'jaxpr',
}


class Node(NamedTuple):
    """An operator of ONNX with one output.

    Attributes:
        op: its name.
        inputs: names of values and constants.
        output: name of its result.
        attributes: {name: int, or list of ints}.
    """

    op: str
    inputs: tuple
    output: str
    attributes: dict


class Graph(NamedTuple):
    """Operators in the order in which they run.

    Attributes:
        inputs: {name: (dtype, shape)}; a size may be `BATCH`.
        nodes: list of `Node`.
        constants: {name: array}.
        output: name of the result.
        shape: of the result, as of the inputs.
    """

    inputs: dict
    nodes: list
    constants: dict
    output: str
    shape: tuple


def structs(inputs):
    """Return a `jax.ShapeDtypeStruct` for each input, of a symbolic batch.

    Args:
        inputs: {name: (dtype, shape)}; a size may be `BATCH`.
    """
    size, = jax_export.symbolic_shape(BATCH)
    return [
        jax.ShapeDtypeStruct(
            tuple(size if n == BATCH else n for n in shape), dtype
        ) for dtype, shape in inputs.values()
    ]


def trace(function, inputs):
    """Return the graph of a function of arrays.

    Args:
        function: of arrays, in the order of `inputs`, to one float32 array.
        inputs: {name: (dtype, shape)}; the first size of the first is `BATCH`.

    Returns:
        `Graph`.

    Raises:
        errors.ConfigError: if a primitive has no rule here.
    """
    arrays = structs(inputs)
    with convolutions.plain():
        closed = jax.make_jaxpr(function)(*arrays)
    values = [
        Value(name, array.shape, np.dtype(array.dtype))
        for name, array in zip(inputs, arrays)
    ]
    builder = Builder(values[0])
    aval, = closed.out_avals
    result, = builder.run(closed.jaxpr, closed.consts, values)
    result = builder.expand(result, aval.shape)
    return Graph(
        inputs, *builder.used(builder.name(result)), builder.name(result),
        tuple(n if is_known([n]) else BATCH for n in aval.shape),
    )


class Builder:
    """The nodes and constants of a graph that is being built."""

    def __init__(self, first):
        """Start empty.

        Args:
            first: `Value` of an input, whose first size is that of the batch.
        """
        self.first, self.size = first, first.shape[0]
        self.nodes, self.constants, self._names = [], {}, {}
        self._batch = None

    def run(self, jaxpr, consts, inputs):
        """Add the equations of a jaxpr.

        Args:
            jaxpr: open.
            consts: arrays of its `constvars`.
            inputs: a `Value` or array for each of its `invars`.

        Returns:
            A `Value` or array for each of its `outvars`.
        """
        known = dict(zip(jaxpr.constvars, consts))
        known.update(zip(jaxpr.invars, inputs))

        def read(var):
            if isinstance(var, core.Literal):
                return np.asarray(var.val, var.aval.dtype)
            return known[var]

        for equation in jaxpr.eqns:
            outputs = self._apply(equation, [read(v) for v in equation.invars])
            known.update(zip(equation.outvars, outputs))
        return [read(var) for var in jaxpr.outvars]

    def _apply(self, equation, values):
        """Return the outputs of an equation, computed where they can be."""
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            called = params[CALLS[name]]
            consts = getattr(called, 'consts', ())
            return self.run(getattr(called, 'jaxpr', called), consts, values)
        if name in IDENTITIES:
            return values
        if not any(isinstance(value, Value) for value in values):
            outputs = _compute(equation, values)
            if outputs is not None:
                return outputs
        if name not in graph_operators.RULES:
            raise errors.ConfigError(
                f"this generator has the operation {name!r} of JAX, which "
                f'cannot be written for ONNX'
            )
        shapes = [var.aval.shape for var in equation.invars]
        if name not in graph_operators.BROADCASTING:
            values = [self.expand(*pair) for pair in zip(values, shapes)]
        outputs = graph_operators.RULES[name](self, equation, *values)
        return outputs if isinstance(outputs, list) else [outputs]

    def add(self, op, *inputs, shape=None, dtype=None, **attributes):
        """Add a node.

        Args:
            op: name of the operator.
            *inputs: `Value`s and arrays.
            shape: of the result; by default that of the broadcast inputs.
            dtype: of the result; by default that of the first input.
            **attributes: of the operator.

        Returns:
            `Value`.
        """
        if shape is None:
            shape = graph_sizes.broadcast_shape(
                *(value.shape for value in inputs)
            )
        names = tuple(self.name(value) for value in inputs)
        output = f'{op}_{len(self.nodes)}'
        self.nodes.append(Node(op, names, output, attributes))
        return Value(
            output, tuple(shape), np.dtype(dtype or dtype_of(inputs[0]))
        )

    def name(self, value):
        """Return the name of a value; arrays become constants."""
        if isinstance(value, Value):
            return value.name
        array = np.asarray(value, dtype_of(value))
        content = array.dtype.str, array.shape, array.tobytes()
        if content not in self._names:
            self._names[content] = f'constant_{len(self.constants)}'
            self.constants[self._names[content]] = array
        return self._names[content]

    def used(self, output):
        """Return (nodes, constants) that a result depends on."""
        needed, nodes = {output}, []
        for node in reversed(self.nodes):
            if node.output in needed:
                needed.update(node.inputs)
                nodes.append(node)
        return nodes[::-1], {
            k: v for k, v in self.constants.items() if k in needed
        }

    def sizes(self, shape):
        """Return a shape as a 1-D array, or as a `Value` if it is symbolic."""
        if is_known(shape):
            return np.array(shape, np.int64)
        if self._batch is None:
            whole = self.add(
                'Shape', self.first, dtype=np.int64,
                shape=(len(self.first.shape),),
            )
            self._batch = self.add(
                'Gather', whole, np.zeros(1, np.int64), shape=(1,), axis=0
            )
        parts = [
            np.array([n], np.int64) if is_known([n]) else self.add(
                'Mul', self._batch, np.array([n // self.size], np.int64)
            ) for n in shape
        ]
        return self.add('Concat', *parts, shape=(len(shape),), axis=0)

    def expand(self, value, shape):
        """Expand a value to a shape, if it has another."""
        if same(value.shape, shape):
            return value
        if not isinstance(value, Value) and is_known(shape):
            return jnp.broadcast_to(value, shape)
        # Expand takes a size 1 as that of its input.
        wanted = [
            1 if same([old], [new]) else new
            for old, new in zip(value.shape, shape)
        ]
        return self.add('Expand', value, self.sizes(wanted), shape=shape)

    def reshape(self, value, shape):
        """Reshape a value; at most one size may be symbolic."""
        if same(value.shape, shape):
            return value
        if not isinstance(value, Value):
            return jnp.reshape(value, shape)
        sizes = [n if is_known([n]) else -1 for n in shape]
        if sizes.count(-1) > 1:
            raise errors.ConfigError(
                f'a reshape to {shape} cannot be written for ONNX'
            )
        return self.add(
            'Reshape', value, np.array(sizes, np.int64), shape=shape
        )

    def transpose(self, value, axes):
        """Move the axes of a value."""
        if list(axes) == list(range(len(axes))):
            return value
        if not isinstance(value, Value):
            return jnp.transpose(value, axes)
        return self.add(
            'Transpose', value, shape=[value.shape[k] for k in axes],
            perm=list(map(int, axes)),
        )

    def slice(self, value, bounds):
        """Select a part of a value, {axis: (start, end, step)}."""
        bounds = {
            axis: bound for axis, bound in bounds.items()
            if bound[0] or bound[2] != 1
            or not same([bound[1]], [value.shape[axis]])
        }
        if not bounds:
            return value
        shape = list(value.shape)
        for axis, (start, end, step) in bounds.items():
            if step > 0:
                shape[axis] = -((start - end) // step)
        columns = list(zip(*(
            (*(graph_sizes.place_from_end(place, value.shape[axis])
               for place in (start, end)), step)
            for axis, (start, end, step) in bounds.items()
        )))
        return self.add('Slice', value, *(
            np.array(column, np.int64) for column in
            (columns[0], columns[1], list(bounds), columns[2])
        ), shape=shape)

    def pad(self, value, fill, low, high):
        """Pad with a number; negative widths cut."""
        value = self.slice(value, {
            axis: (max(0, -a), value.shape[axis] - max(0, -b), 1)
            for axis, (a, b) in enumerate(zip(low, high)) if min(a, b) < 0
        })
        low, high = ([max(0, n) for n in widths] for widths in (low, high))
        if not any(low + high):
            return value
        shape = [a + n + b for a, n, b in zip(low, value.shape, high)]
        return self.add(
            'Pad', value, np.array(low + high, np.int64),
            np.asarray(fill, value.dtype), shape=shape,
        )


def _compute(equation, values):
    """Return the outputs of an equation of constants, or None.

    None stands for results of a symbolic size.
    """
    shapes = [var.aval.shape for var in equation.invars]
    if equation.primitive.name in graph_operators.BROADCASTING and values:
        ranks = {len(shape) for shape in shapes}
        if len(ranks) == 1:
            values = jnp.broadcast_arrays(*values)
    elif not all(map(is_known, shapes)):
        return None
    else:
        values = [
            value if np.shape(value) == tuple(shape)
            else jnp.broadcast_to(value, shape)
            for value, shape in zip(values, shapes)
        ]
    if equation.primitive.name in ('broadcast_in_dim', 'dim_as_value'):
        return None  # the first stays small
    if not all(is_known(var.aval.shape) for var in equation.outvars) and (
        equation.primitive.name not in graph_operators.BROADCASTING
    ):
        return None
    outputs = equation.primitive.bind(*values, **equation.params)
    return outputs if equation.primitive.multiple_results else [outputs]
