"""Operators of ONNX for the primitives of JAX.

Each rule is a function (`graph.Builder`, equation, *values) -> the result or a
list of results; `RULES` lists them by the primitive's name.

References:
    Open Neural Network Exchange, Operator Schemas,
    https://onnx.ai/onnx/operators/.
"""

import math

import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.tools.graph_sizes import dtype_of, END, is_known, same, Value

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


def _unary(op):
    return lambda builder, equation, x: builder.add(op, x)


def _binary(op):
    def rule(builder, equation, x, y):
        dtype = equation.outvars[0].aval.dtype
        return builder.add(op, x, y, dtype=dtype_of(np.zeros((), dtype)))
    return rule


def _number(x, number):
    return np.asarray(number, dtype_of(x))


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
    return builder.add('Where', which, second, first, dtype=dtype_of(first))


def _convert(builder, equation, x):
    dtype = dtype_of(np.zeros((), equation.params['new_dtype']))
    if dtype == dtype_of(x):
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
    parts = [part for part in parts if not same([part.shape[axis]], [0])]
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
        same([a], [b]) for k, (a, b) in enumerate(zip(sizes, x.shape))
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
        if not same([size], [x.shape[axis]]):
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
    if not is_known([shape[axis]]):
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
