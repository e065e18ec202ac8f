"""Graphs of ONNX's operators from functions that JAX can trace.

A function is traced to a jaxpr for any batch size; each of its primitives
becomes operators of ONNX (opset 18), and what does not depend on the inputs is
computed here. `onnx_file` writes a graph as a file of ONNX, `page` as a page
that runs it. Only the primitives of inference are known: the generators' and
their neighbours'. Another one raises an error with its name.

The alternative jax2onnx 0.17.1 was tried with jax 0.10.2. It needs
orbax-checkpoint below 0.11.37, which this package cannot run with, and gave
nearest upsampling without its repeats, in silence.

References:
    Open Neural Network Exchange, Operator Schemas,
    https://onnx.ai/onnx/operators/.
"""

import math
from typing import NamedTuple

import jax
from jax import export as jax_export
from jax.extend import core
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.networks import convolutions

BATCH = 'batch'  # name of the size that is left open
END = np.iinfo(np.int64).max  # beyond each axis, for Slice

UNARY = {
    'abs': 'Abs', 'ceil': 'Ceil', 'cos': 'Cos', 'erf': 'Erf', 'exp': 'Exp',
    'floor': 'Floor', 'log': 'Log', 'logistic': 'Sigmoid', 'neg': 'Neg',
    'not': 'Not', 'sign': 'Sign', 'sin': 'Sin', 'sqrt': 'Sqrt', 'tanh': 'Tanh',
}
BINARY = {
    'add': 'Add', 'add_any': 'Add', 'and': 'And', 'div': 'Div', 'eq': 'Equal',
    'ge': 'GreaterOrEqual', 'gt': 'Greater', 'le': 'LessOrEqual', 'lt': 'Less',
    'max': 'Max', 'min': 'Min', 'mul': 'Mul', 'or': 'Or', 'pow': 'Pow',
    'sub': 'Sub',
}
REDUCTIONS = {
    'reduce_max': 'ReduceMax', 'reduce_min': 'ReduceMin',
    'reduce_prod': 'ReduceProd', 'reduce_sum': 'ReduceSum',
}
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


class Value(NamedTuple):
    """A result that is known when the graph runs.

    A size of its shape may be 1 where the jaxpr has another: the operators
    broadcast it where they can, and `Builder.expand` where they cannot.

    Attributes:
        name: in the graph.
        shape: of ints, and of a symbolic size.
        dtype: NumPy's.
    """

    name: str
    shape: tuple
    dtype: np.dtype


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
        tuple(n if _is_known([n]) else BATCH for n in aval.shape),
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
        if name not in RULES:
            raise errors.ConfigError(
                f"this generator has the operation {name!r} of JAX, which "
                f'cannot be written for ONNX'
            )
        shapes = [var.aval.shape for var in equation.invars]
        if name not in BROADCASTING:
            values = [self.expand(*pair) for pair in zip(values, shapes)]
        outputs = RULES[name](self, equation, *values)
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
            shape = _broadcast(*(value.shape for value in inputs))
        names = tuple(self.name(value) for value in inputs)
        output = f'{op}_{len(self.nodes)}'
        self.nodes.append(Node(op, names, output, attributes))
        return Value(
            output, tuple(shape), np.dtype(dtype or _dtype(inputs[0]))
        )

    def name(self, value):
        """Return the name of a value; arrays become constants."""
        if isinstance(value, Value):
            return value.name
        array = np.asarray(value, _dtype(value))
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
        if _is_known(shape):
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
            np.array([n], np.int64) if _is_known([n]) else self.add(
                'Mul', self._batch, np.array([n // self.size], np.int64)
            ) for n in shape
        ]
        return self.add('Concat', *parts, shape=(len(shape),), axis=0)

    def expand(self, value, shape):
        """Expand a value to a shape, if it has another."""
        if _same(np.shape(value) if not isinstance(value, Value)
                 else value.shape, shape):
            return value
        if not isinstance(value, Value) and _is_known(shape):
            return jnp.broadcast_to(value, shape)
        # Expand takes a size 1 as that of its input.
        wanted = [
            1 if _same([old], [new]) else new
            for old, new in zip(value.shape, shape)
        ]
        return self.add('Expand', value, self.sizes(wanted), shape=shape)

    def reshape(self, value, shape):
        """Reshape a value; at most one size may be symbolic."""
        if _same(value.shape, shape):
            return value
        if not isinstance(value, Value):
            return jnp.reshape(value, shape)
        sizes = [n if _is_known([n]) else -1 for n in shape]
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
            or not _same([bound[1]], [value.shape[axis]])
        }
        if not bounds:
            return value
        shape = list(value.shape)
        for axis, (start, end, step) in bounds.items():
            if step > 0:
                shape[axis] = -((start - end) // step)
        columns = list(zip(*(
            (_bound(start, value.shape[axis]), _bound(end, value.shape[axis]),
             step) for axis, (start, end, step) in bounds.items()
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


def _dtype(value):
    """Return the dtype in the graph, where numbers below float32 are float32.
    """
    if value.dtype == jnp.bfloat16 or value.dtype == np.float16:
        return np.dtype(np.float32)
    return np.dtype(value.dtype)


def _is_known(shape):
    return all(isinstance(n, (int, np.integer)) for n in shape)


def _same(first, second):
    """Return whether two shapes are equal, symbolic sizes too."""
    return len(first) == len(second) and all(
        _is_known([a]) == _is_known([b]) and a == b
        for a, b in zip(first, second)
    )


def _bound(place, length):
    """Return a place along an axis, counted from the end if it is symbolic."""
    if _is_known([place]):
        return place
    from_end = place - length
    return END if _same([from_end], [0]) else from_end


def _broadcast(*shapes):
    """Return the shape of arrays that are broadcast, of the same rank."""
    rank = max(map(len, shapes))
    shapes = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(
        next((n for n in sizes if not _same([n], [1])), 1)
        for sizes in zip(*shapes)
    )


def _compute(equation, values):
    """Return the outputs of an equation of constants, or None.

    None stands for results of a symbolic size.
    """
    shapes = [var.aval.shape for var in equation.invars]
    if equation.primitive.name in BROADCASTING and values:
        ranks = {len(shape) for shape in shapes}
        if len(ranks) == 1:
            values = jnp.broadcast_arrays(*values)
    elif not all(map(_is_known, shapes)):
        return None
    else:
        values = [
            value if np.shape(value) == tuple(shape)
            else jnp.broadcast_to(value, shape)
            for value, shape in zip(values, shapes)
        ]
    if equation.primitive.name in ('broadcast_in_dim', 'dim_as_value'):
        return None  # the first stays small
    if not all(_is_known(var.aval.shape) for var in equation.outvars) and (
        equation.primitive.name not in BROADCASTING
    ):
        return None
    outputs = equation.primitive.bind(*values, **equation.params)
    return outputs if equation.primitive.multiple_results else [outputs]


def _unary(op):
    return lambda builder, equation, x: builder.add(op, x)


def _binary(op):
    def rule(builder, equation, x, y):
        dtype = equation.outvars[0].aval.dtype
        return builder.add(op, x, y, dtype=_dtype(np.zeros((), dtype)))
    return rule


def _number(x, number):
    return np.asarray(number, _dtype(x))


def _square(builder, equation, x):
    return builder.add('Mul', x, x)


def _rsqrt(builder, equation, x):
    return builder.add('Reciprocal', builder.add('Sqrt', x))


def _integer_pow(builder, equation, x):
    return builder.add('Pow', x, _number(x, equation.params['y']))


def _log1p(builder, equation, x):
    return builder.add('Log', builder.add('Add', x, _number(x, 1)))


def _expm1(builder, equation, x):
    return builder.add('Sub', builder.add('Exp', x), _number(x, 1))


def _erfc(builder, equation, x):
    return builder.add('Sub', _number(x, 1), builder.add('Erf', x))


def _not_equal(builder, equation, x, y):
    return builder.add('Not', builder.add('Equal', x, y, dtype=bool))


def _clamp(builder, equation, low, x, high):
    return builder.add('Min', builder.add('Max', x, low), high)


def _select(builder, equation, which, *cases):
    first, second = cases
    if which.dtype != bool:
        which = builder.add('Cast', which, dtype=bool, to='bool')
    return builder.add('Where', which, second, first, dtype=_dtype(first))


def _convert(builder, equation, x):
    dtype = _dtype(np.zeros((), equation.params['new_dtype']))
    if dtype == _dtype(x):
        return x
    return builder.add('Cast', x, dtype=dtype, to=dtype.name)


def _broadcast_in_dim(builder, equation, x, *sizes):
    """Add axes of size 1; the operators that follow broadcast them."""
    shape = [1] * len(equation.params['shape'])
    for axis, n in zip(equation.params['broadcast_dimensions'], x.shape):
        shape[axis] = n
    return builder.reshape(x, tuple(shape))


def _to_output_shape(builder, equation, x, *sizes):
    return builder.reshape(x, equation.outvars[0].aval.shape)


def _transpose(builder, equation, x):
    return builder.transpose(x, equation.params['permutation'])


def _reduction(op):
    def rule(builder, equation, x):
        axes = np.array(equation.params['axes'], np.int64)
        return builder.add(
            op, x, axes, shape=equation.outvars[0].aval.shape, keepdims=0
        )
    return rule


def _concatenate(builder, equation, *parts):
    axis = equation.params['dimension']
    parts = [part for part in parts if not _same([part.shape[axis]], [0])]
    if len(parts) == 1:
        return parts[0]
    return builder.add(
        'Concat', *parts, shape=equation.outvars[0].aval.shape, axis=int(axis)
    )


def _stack(builder, equation, *parts):
    axis, shape = equation.params['axis'], equation.outvars[0].aval.shape
    parts = [
        builder.reshape(part, (*part.shape[:axis], 1, *part.shape[axis:]))
        for part in parts
    ]
    return builder.add('Concat', *parts, shape=shape, axis=int(axis))


def _split(builder, equation, x):
    axis, ends = equation.params['axis'], np.cumsum(equation.params['sizes'])
    return [
        builder.slice(x, {axis: (int(start), int(end), 1)})
        for start, end in zip([0, *ends], ends)
    ]


def _slice(builder, equation, x):
    params = equation.params
    strides = params['strides'] or [1] * len(x.shape)
    return builder.slice(x, dict(enumerate(
        zip(params['start_indices'], params['limit_indices'], strides)
    )))


def _reverse(builder, equation, x):
    return builder.slice(x, {
        axis: (-1, -END, -1) for axis in equation.params['dimensions']
    })


def _pad(builder, equation, x, fill):
    low, high, between = zip(*equation.params['padding_config'])
    for axis, count in enumerate(between):
        if count:
            x = _insert(builder, x, fill, axis, count)
    return builder.pad(x, fill, list(low), list(high))


def _insert(builder, x, fill, axis, count):
    """Place copies of a number between the entries along an axis."""
    shape, rank = x.shape, len(x.shape)
    x = builder.reshape(x, (*shape[:axis + 1], 1, *shape[axis + 1:]))
    widths = [0] * (rank + 1)
    widths[axis + 1] = count
    x = builder.pad(x, fill, [0] * (rank + 1), widths)
    length = shape[axis] * (count + 1)
    x = builder.reshape(x, (*shape[:axis], length, *shape[axis + 1:]))
    return builder.slice(x, {axis: (0, length - count, 1)})


def _gather(builder, equation, x, indices):
    """Take whole slices by indices into one axis; indices are in range.

    One slice at a known place can have any size.
    """
    numbers = equation.params['dimension_numbers']
    sizes, axes = equation.params['slice_sizes'], numbers.start_index_map
    if not isinstance(indices, Value) and indices.ndim == 1:
        starts = [0] * len(sizes)
        for axis, start in zip(axes, indices):
            starts[axis] = start
        return builder.reshape(
            _cut(builder, x, starts, sizes), equation.outvars[0].aval.shape
        )
    whole = all(
        _same([a], [b]) for k, (a, b) in enumerate(zip(sizes, x.shape))
        if k not in axes
    )
    if len(axes) != 1 or tuple(numbers.collapsed_slice_dims) != tuple(axes) or (
        not whole or numbers.operand_batching_dims
    ):
        raise errors.ConfigError(
            'this generator selects from an array in a way that cannot be '
            'written for ONNX'
        )
    axis, = axes
    indices = builder.reshape(indices, indices.shape[:-1])
    rank = len(indices.shape)
    # ONNX puts the axes of the indices in place of the one that is indexed.
    found = builder.add(
        'Gather', x, indices, axis=int(axis),
        shape=(*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]),
    )
    offsets = iter([*range(axis), *range(axis + rank, len(found.shape))])
    batches = iter(range(axis, axis + rank))
    return builder.transpose(found, [
        next(offsets if k in numbers.offset_dims else batches)
        for k in range(len(found.shape))
    ])


def _dynamic_slice(builder, equation, x, *starts):
    sizes = equation.params['slice_sizes']
    if any(isinstance(start, Value) for start in starts):
        raise errors.ConfigError(
            'this generator slices an array at places that depend on its '
            'inputs, which cannot be written for ONNX'
        )
    return _cut(builder, x, starts, sizes)


def _cut(builder, x, starts, sizes):
    """Select a part at known starts, which are moved so that the slice fits."""
    bounds = {}
    for axis, (start, size) in enumerate(zip(starts, sizes)):
        if not _same([size], [x.shape[axis]]):
            start = min(max(int(start), 0), x.shape[axis] - size)
            bounds[axis] = (start, start + size, 1)
    return builder.slice(x, bounds)


def _dim_as_value(builder, equation):
    """Return the batch size, or a multiple of it, as a number."""
    sizes = builder.sizes([equation.params['dim']])
    number = builder.reshape(sizes, ())
    return builder.add('Cast', number, dtype=np.int32, to='int32')


def _iota(builder, equation, *sizes):
    """Return [0, 1, ...] along an axis; a symbolic one cannot be counted."""
    shape, axis = equation.params['shape'], equation.params['dimension']
    if not _is_known([shape[axis]]):
        raise errors.ConfigError(
            'this generator counts its samples, which cannot be written for '
            'ONNX'
        )
    counted = [1] * len(shape)
    counted[axis] = shape[axis]
    return jnp.arange(
        shape[axis], dtype=equation.params['dtype']
    ).reshape(counted)


def _dot_general(builder, equation, x, y):
    """Multiply matrices, after the axes are brought in order."""
    (over_x, over_y), (batch_x, batch_y) = equation.params['dimension_numbers']
    shape = equation.outvars[0].aval.shape
    free_x, free_y = (
        [k for k in range(len(value.shape)) if k not in (*over, *batch)]
        for value, over, batch in ((x, over_x, batch_x), (y, over_y, batch_y))
    )
    batch = tuple(x.shape[k] for k in batch_x)
    rows, inner, columns = (
        math.prod([value.shape[k] for k in axes])
        for value, axes in ((x, free_x), (x, over_x), (y, free_y))
    )
    x = builder.transpose(x, [*batch_x, *free_x, *over_x])
    y = builder.transpose(y, [*batch_y, *over_y, *free_y])
    product = builder.add(
        'MatMul', builder.reshape(x, (*batch, rows, inner)),
        builder.reshape(y, (*batch, inner, columns)),
        shape=(*batch, rows, columns),
    )
    return builder.reshape(product, shape)


def _convolution(builder, equation, x, kernel):
    """Convolve by Conv, or by ConvTranspose if the input is dilated."""
    params = equation.params
    numbers = params['dimension_numbers']
    groups = params['feature_group_count']
    dilated = any(n != 1 for n in params['lhs_dilation'])
    stride = any(n != 1 for n in params['window_strides'])
    if params['batch_group_count'] != 1 or dilated and (stride or groups != 1):
        raise errors.ConfigError(
            'this generator has a convolution that cannot be written for ONNX'
        )
    x = builder.transpose(x, numbers.lhs_spec)  # [B, C, H, W]
    kernel = builder.transpose(kernel, numbers.rhs_spec)  # [F, C, kh, kw]
    convolve = _transposed_conv if dilated else _conv
    y = convolve(builder, params, x, kernel)
    return builder.transpose(y, np.argsort(numbers.out_spec))


def _extents(params, kernel):
    """Return the sides of a kernel with the gaps of its dilation."""
    return [
        (n - 1) * gap + 1
        for n, gap in zip(kernel.shape[2:], params['rhs_dilation'])
    ]


def _conv(builder, params, x, kernel):
    low, high = map(list, zip(*params['padding']))
    if min(low + high) < 0:
        x = builder.pad(x, 0, [0, 0, *low], [0, 0, *high])
        low = high = [0] * len(low)
    sides = [
        (a + n + b - extent) // stride + 1 for a, n, b, extent, stride in zip(
            low, x.shape[2:], high, _extents(params, kernel),
            params['window_strides'],
        )
    ]
    return builder.add(
        'Conv', x, kernel, shape=(x.shape[0], kernel.shape[0], *sides),
        strides=list(params['window_strides']), pads=low + high,
        dilations=list(params['rhs_dilation']),
        group=params['feature_group_count'],
    )


def _transposed_conv(builder, params, x, kernel):
    """Convolve what has zeros between its pixels, by the transposed kernel."""
    spatial = range(2, len(kernel.shape))
    if isinstance(kernel, Value):
        kernel = builder.slice(kernel, {k: (-1, -END, -1) for k in spatial})
    else:
        kernel = jnp.flip(kernel, spatial)
    kernel = builder.transpose(kernel, [1, 0, *spatial])
    extents, strides = _extents(params, kernel), params['lhs_dilation']
    # A transposed convolution is cut where the padding is less than full.
    low, high = (
        [extent - 1 - n for extent, n in zip(extents, widths)]
        for widths in zip(*params['padding'])
    )
    cut = [[max(0, n) for n in widths] for widths in (low, high)]
    sides = [
        (n - 1) * stride + extent - a - b for n, stride, extent, a, b in zip(
            x.shape[2:], strides, extents, *cut
        )
    ]
    y = builder.add(
        'ConvTranspose', x, kernel, pads=cut[0] + cut[1],
        shape=(x.shape[0], kernel.shape[1], *sides), strides=list(strides),
        dilations=list(params['rhs_dilation']), group=1,
    )
    return builder.pad(y, 0, *(
        [0, 0, *(max(0, -n) for n in widths)] for widths in (low, high)
    ))


_ELEMENTWISE = {
    **{name: _unary(op) for name, op in UNARY.items()},
    **{name: _binary(op) for name, op in BINARY.items()},
    'clamp': _clamp, 'convert_element_type': _convert, 'erfc': _erfc,
    'expm1': _expm1,
    'integer_pow': _integer_pow, 'log1p': _log1p, 'ne': _not_equal,
    'rsqrt': _rsqrt, 'select_n': _select, 'square': _square,
}
# Primitives that take a size 1 in place of another.
BROADCASTING = (*_ELEMENTWISE, 'broadcast_in_dim', 'transpose')
RULES = {
    **_ELEMENTWISE,
    **{name: _reduction(op) for name, op in REDUCTIONS.items()},
    'broadcast_in_dim': _broadcast_in_dim, 'concatenate': _concatenate,
    'conv_general_dilated': _convolution, 'dim_as_value': _dim_as_value,
    'dot_general': _dot_general,
    'dynamic_slice': _dynamic_slice, 'expand_dims': _to_output_shape,
    'gather': _gather, 'iota': _iota, 'pad': _pad, 'reshape': _to_output_shape,
    'rev': _reverse, 'slice': _slice, 'split': _split,
    'squeeze': _to_output_shape, 'stack': _stack, 'transpose': _transpose,
}
