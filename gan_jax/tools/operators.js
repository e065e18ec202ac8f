/* Operators of ONNX in plain JavaScript, those that graph.py writes.

A tensor is {shape, data}: floats are Float32Array, whole numbers Int32Array,
booleans Uint8Array. */
'use strict';

const count = shape => shape.reduce((a, b) => a * b, 1);
const tensor = (shape, data) => ({ shape, data });

/* Return the steps between neighbours along each axis. */
function steps(shape) {
  const result = Array(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) {
    result[axis] = step;
    step *= shape[axis];
  }
  return result;
}

/* Return the shape of tensors that are broadcast, and the steps of each. */
function broadcast(tensors) {
  const rank = Math.max(...tensors.map(t => t.shape.length));
  const shapes = tensors.map(
    t => [...Array(rank - t.shape.length).fill(1), ...t.shape]);
  const shape = shapes[0].map((_, k) => shapes.reduce(
    (n, own) => own[k] === 1 ? n : own[k], 1));
  return [shape, shapes.map(
    own => steps(own).map((step, k) => own[k] === 1 ? 0 : step))];
}

/* Call visit(places, output, length) for each row along the last axis, where
   places are those of the inputs, which move by the steps of that axis. */
function rows(shape, strides, visit) {
  const last = shape.length - 1;
  if (last < 0) return visit(strides.map(() => 0), 0, 1);
  let output = 0;
  const enter = (axis, places) => {
    if (axis === last) {
      visit(places, output, shape[last]);
      output += shape[last];
      return;
    }
    for (let k = 0; k < shape[axis]; k++) {
      enter(axis + 1, places.map((p, i) => p + k * strides[i][axis]));
    }
  };
  enter(0, strides.map(() => 0));
}

const unary = f => ([x]) => {
  const data = new x.data.constructor(x.data.length);
  for (let i = 0; i < data.length; i++) data[i] = f(x.data[i]);
  return tensor(x.shape, data);
};

const binary = (f, type) => ([x, y]) => {
  const [shape, strides] = broadcast([x, y]);
  const data = new (type || x.data.constructor)(count(shape));
  const [a, b] = [x.data, y.data];
  const [p, q] = strides.map(own => own.at(-1) || 0);
  rows(shape, strides, ([i, j], output, length) => {
    for (let k = 0; k < length; k++) {
      data[output + k] = f(a[i + k * p], b[j + k * q]);
    }
  });
  return tensor(shape, data);
};

function where([which, x, y]) {
  const [shape, strides] = broadcast([which, x, y]);
  const data = new x.data.constructor(count(shape));
  const [o, p, q] = strides.map(own => own.at(-1) || 0);
  rows(shape, strides, ([h, i, j], output, length) => {
    for (let k = 0; k < length; k++) {
      data[output + k] = which.data[h + k * o] ?
        x.data[i + k * p] : y.data[j + k * q];
    }
  });
  return tensor(shape, data);
}

/* Copy the entries at the given steps from a start, in order. */
function gatherSteps(x, shape, start, strides) {
  const data = new x.data.constructor(count(shape));
  const step = strides.at(-1) || 0;
  rows(shape, [strides], ([i], output, length) => {
    for (let k = 0; k < length; k++) data[output + k] = x.data[start + i + k * step];
  });
  return tensor(shape, data);
}

function transpose([x], { perm }) {
  const own = steps(x.shape);
  return gatherSteps(
    x, perm.map(k => x.shape[k]), 0, perm.map(k => own[k]));
}

function expand([x, sizes]) {
  const target = tensor([...sizes.data], null);
  const [shape, strides] = broadcast([x, target]);
  return gatherSteps(x, shape, 0, strides[0]);
}

function reshape([x, sizes]) {
  const shape = [...sizes.data];
  const open = shape.indexOf(-1);
  if (open >= 0) shape[open] = -x.data.length / count(shape);
  return tensor(shape, x.data);
}

function slice([x, starts, ends, axes, along]) {
  const shape = [...x.shape], strides = steps(x.shape);
  let start = 0;
  axes.data.forEach((axis, k) => {
    const length = x.shape[axis], step = along.data[k];
    const place = (n, low, high) =>
      Math.min(Math.max(n < 0 ? n + length : n, low), high);
    const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
    const first = place(starts.data[k], low, high);
    const end = place(ends.data[k], low, high);
    shape[axis] = Math.max(0, Math.ceil((end - first) / step));
    start += first * strides[axis];
    strides[axis] *= step;
  });
  return gatherSteps(x, shape, start, strides);
}

/* Write a tensor into a part of another, at a place along each axis. */
function put(target, shape, x, places) {
  const strides = steps(shape), own = steps(x.shape);
  const start = places.reduce((sum, place, k) => sum + place * strides[k], 0);
  rows(x.shape, [strides, own], ([i, j], _, length) => {
    for (let k = 0; k < length; k++) target[start + i + k] = x.data[j + k];
  });
}

function concat(parts, { axis }) {
  const shape = [...parts[0].shape];
  shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis], 0);
  const data = new parts[0].data.constructor(count(shape));
  let place = 0;
  for (const part of parts) {
    put(data, shape, part, shape.map((_, k) => k === axis ? place : 0));
    place += part.shape[axis];
  }
  return tensor(shape, data);
}

function pad([x, widths, fill]) {
  const rank = x.shape.length, w = widths.data;
  const shape = x.shape.map((n, k) => n + w[k] + w[k + rank]);
  const data = new x.data.constructor(count(shape)).fill(fill.data[0]);
  put(data, shape, x, [...w.slice(0, rank)]);
  return tensor(shape, data);
}

function gather([x, indices], { axis }) {
  const length = x.shape[axis];
  const before = count(x.shape.slice(0, axis));
  const after = count(x.shape.slice(axis + 1));
  const number = indices.data.length;
  const data = new x.data.constructor(before * number * after);
  for (let b = 0; b < before; b++) {
    for (let k = 0; k < number; k++) {
      const index = indices.data[k] + (indices.data[k] < 0 ? length : 0);
      const from = (b * length + index) * after;
      data.set(x.data.subarray(from, from + after), (b * number + k) * after);
    }
  }
  return tensor(
    [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)],
    data);
}

const reduce = (f, first) => ([x, axes]) => {
  const over = new Set(axes.data), own = steps(x.shape);
  const kept = x.shape.map((_, k) => k).filter(k => !over.has(k));
  const inner = x.shape.map((_, k) => k).filter(k => over.has(k));
  const order = [...kept, ...inner];
  const moved = gatherSteps(
    x, order.map(k => x.shape[k]), 0, order.map(k => own[k]));
  const shape = kept.map(k => x.shape[k]);
  const data = new x.data.constructor(count(shape));
  const length = x.data.length / data.length;
  for (let i = 0; i < data.length; i++) {
    let result = first;
    for (let k = i * length; k < (i + 1) * length; k++) {
      result = f(result, moved.data[k]);
    }
    data[i] = result;
  }
  return tensor(shape, data);
};

/* Add the product of a [rows, inner], whose entries lie at the given steps, and
   b [inner, columns] to c. Four rows of b at once save stores. */
function multiply(c, cStart, a, aStart, aRow, aInner, b, bStart,
                  numRows, inner, columns) {
  for (let i = 0; i < numRows; i++) {
    const to = cStart + i * columns;
    let k = 0;
    for (; k + 3 < inner; k += 4) {
      const at = aStart + i * aRow + k * aInner;
      const w0 = a[at], w1 = a[at + aInner];
      const w2 = a[at + 2 * aInner], w3 = a[at + 3 * aInner];
      const b0 = bStart + k * columns, b1 = b0 + columns;
      const b2 = b1 + columns, b3 = b2 + columns;
      for (let j = 0; j < columns; j++) {
        c[to + j] += w0 * b[b0 + j] + w1 * b[b1 + j] +
          w2 * b[b2 + j] + w3 * b[b3 + j];
      }
    }
    for (; k < inner; k++) {
      const w = a[aStart + i * aRow + k * aInner], from = bStart + k * columns;
      for (let j = 0; j < columns; j++) c[to + j] += w * b[from + j];
    }
  }
}

function matmul([x, y]) {
  const [m, inner] = x.shape.slice(-2), n = y.shape.at(-1);
  const [shape, strides] = broadcast([
    tensor(x.shape.slice(0, -2)), tensor(y.shape.slice(0, -2))]);
  const data = new Float32Array(count(shape) * m * n);
  const step = strides.map(own => own.at(-1) || 0);
  rows(shape, strides, ([i, j], output, length) => {
    for (let k = 0; k < length; k++) {
      multiply(data, (output + k) * m * n, x.data,
               (i + k * step[0]) * m * inner, inner, 1,
               y.data, (j + k * step[1]) * inner * n, m, inner, n);
    }
  });
  return tensor([...shape, m, n], data);
}

/* Visit the rows of pixels that each place of a kernel sees in padded images:
   visit(place, image, map, first, number), where the pixel `image` is seen by
   the place of the map `map`, and so are the next ones. */
function windows(sides, mapSides, kernel, { strides, pads, dilations }, visit) {
  for (let ky = 0, place = 0; ky < kernel[0]; ky++) {
    for (let kx = 0; kx < kernel[1]; kx++, place++) {
      const left = kx * dilations[1] - pads[1];
      const first = Math.max(0, Math.ceil(-left / strides[1]));
      const end = Math.min(
        mapSides[1], Math.ceil((sides[1] - left) / strides[1]));
      for (let y = 0; y < mapSides[0]; y++) {
        const row = y * strides[0] + ky * dilations[0] - pads[0];
        if (row < 0 || row >= sides[0] || end <= first) continue;
        visit(place, row * sides[1] + first * strides[1] + left,
              y * mapSides[1] + first, end - first);
      }
    }
  }
}

function conv([x, kernel], attributes) {
  const { strides, pads, dilations, group } = attributes;
  const [batch, channels, ...sides] = x.shape;
  const [features, own, ...window] = kernel.shape;
  const mapSides = sides.map((n, k) => Math.floor(
    (n + pads[k] + pads[k + 2] - (window[k] - 1) * dilations[k] - 1) /
    strides[k]) + 1);
  const pixels = count(mapSides), places = count(window);
  const data = new Float32Array(batch * features * pixels);
  const columns = new Float32Array(own * places * pixels);
  const each = features / group, area = count(sides);
  for (let n = 0; n < batch; n++) {
    for (let g = 0; g < group; g++) {
      columns.fill(0);
      for (let c = 0; c < own; c++) {
        const from = (n * channels + g * own + c) * area;
        windows(sides, mapSides, window, attributes,
                (place, image, map, number) => {
          const to = (c * places + place) * pixels + map;
          for (let k = 0; k < number; k++) {
            columns[to + k] = x.data[from + image + k * strides[1]];
          }
        });
      }
      multiply(data, (n * features + g * each) * pixels, kernel.data,
               g * each * own * places, own * places, 1, columns, 0,
               each, own * places, pixels);
    }
  }
  return tensor([batch, features, ...mapSides], data);
}

function convTranspose([x, kernel], attributes) {
  const { strides, pads, dilations } = attributes;
  const [batch, channels, ...mapSides] = x.shape;
  const [, features, ...window] = kernel.shape;
  const sides = mapSides.map((n, k) => (n - 1) * strides[k] +
    (window[k] - 1) * dilations[k] + 1 - pads[k] - pads[k + 2]);
  const pixels = count(mapSides), places = count(window), area = count(sides);
  const data = new Float32Array(batch * features * area);
  const columns = new Float32Array(features * places * pixels);
  for (let n = 0; n < batch; n++) {
    columns.fill(0);
    multiply(columns, 0, kernel.data, 0, 1, features * places, x.data,
             n * channels * pixels, features * places, channels, pixels);
    for (let f = 0; f < features; f++) {
      const to = (n * features + f) * area;
      windows(sides, mapSides, window, attributes,
              (place, image, map, number) => {
        const from = (f * places + place) * pixels + map;
        for (let k = 0; k < number; k++) {
          data[to + image + k * strides[1]] += columns[from + k];
        }
      });
    }
  }
  return tensor([batch, features, ...sides], data);
}

/* Return the error function, to 1.2e-7 (Abramowitz and Stegun's form in
   Numerical Recipes, erfcc). */
function erf(x) {
  const t = 1 / (1 + Math.abs(x) / 2);
  const p = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
             -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223];
  const y = 1 - t * Math.exp(-x * x + p.reduce((sum, c) => sum * t + c, 0));
  return x < 0 ? -y : y;
}

const TYPES = { bool: Uint8Array, float32: Float32Array, int32: Int32Array,
                int64: Int32Array };

const OPERATORS = {
  Abs: unary(Math.abs), Ceil: unary(Math.ceil), Cos: unary(Math.cos),
  Erf: unary(erf), Exp: unary(Math.exp), Floor: unary(Math.floor),
  Log: unary(Math.log), Neg: unary(x => -x), Not: unary(x => !x),
  Reciprocal: unary(x => 1 / x), Sigmoid: unary(x => 1 / (1 + Math.exp(-x))),
  Sign: unary(Math.sign), Sin: unary(Math.sin), Sqrt: unary(Math.sqrt),
  Tanh: unary(Math.tanh),
  Add: binary((x, y) => x + y), And: binary((x, y) => x && y),
  Div: binary((x, y) => x / y), Equal: binary((x, y) => x === y, Uint8Array),
  Greater: binary((x, y) => x > y, Uint8Array),
  GreaterOrEqual: binary((x, y) => x >= y, Uint8Array),
  Less: binary((x, y) => x < y, Uint8Array),
  LessOrEqual: binary((x, y) => x <= y, Uint8Array),
  Max: binary((x, y) => x > y ? x : y), Min: binary((x, y) => x < y ? x : y),
  Mul: binary((x, y) => x * y), Or: binary((x, y) => x || y),
  Pow: binary((x, y) => x ** y), Sub: binary((x, y) => x - y),
  Cast: ([x], { to }) => tensor(x.shape, to === 'bool' ?
    Uint8Array.from(x.data, value => value !== 0) : new TYPES[to](x.data)),
  Concat: concat, Conv: conv, ConvTranspose: convTranspose, Expand: expand,
  Gather: gather, MatMul: matmul, Pad: pad,
  ReduceMax: reduce((x, y) => x > y ? x : y, -Infinity),
  ReduceMin: reduce((x, y) => x < y ? x : y, Infinity),
  ReduceProd: reduce((x, y) => x * y, 1),
  ReduceSum: reduce((x, y) => x + y, 0),
  Reshape: reshape,
  Shape: ([x]) => tensor([x.shape.length], Int32Array.from(x.shape)),
  Slice: slice, Transpose: transpose, Where: where,
};

/* Return the bytes of a text in base64. */
function bytes(text) {
  const raw = atob(text), result = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) result[i] = raw.charCodeAt(i);
  return result;
}

/* Return the tensor of {shape, dtype, data: base64, little-endian}. */
function unpack({ shape, dtype, data }) {
  return tensor(shape, new TYPES[dtype](bytes(data).buffer));
}

/* Run a graph of {nodes, constants, output} on tensors by name. */
function run(graph, inputs) {
  const known = { ...graph.constants, ...inputs };
  for (const [op, names, output, attributes] of graph.nodes) {
    known[output] = OPERATORS[op](names.map(name => known[name]), attributes);
  }
  return known[graph.output];
}
