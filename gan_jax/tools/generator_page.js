/* The page of a generator: z by seed, sliders, and a check of the images. */
'use strict';

const model = JSON.parse(document.getElementById('model').textContent);
const graph = { ...model.graph, constants: Object.fromEntries(
  Object.entries(model.graph.constants).map(([k, v]) => [k, unpack(v)])) };
const find = id => document.getElementById(id);
const points = model.shape.length === 1;
const LARGEST_ERROR = 1e-4;  // of the check
const SHOWN = 8;  // sliders of z at once
const STRIP = 9;  // images of an interpolation
const CLOUD = 500;  // points that are drawn
const state = { z: [], seed: 0, label: 0, truncation: 1, first: 0 };

/* Encrypt two words by Threefry-2x32, as jax.random does (Salmon et al.,
   Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011). */
function threefry([k0, k1], x0, x1) {
  const keys = [k0, k1, k0 ^ k1 ^ 0x1bd11bda];
  const rotations = [[13, 15, 26, 6], [17, 29, 16, 24]];
  let a = (x0 + k0) | 0, b = (x1 + k1) | 0;
  for (let round = 0; round < 5; round++) {
    for (const n of rotations[round % 2]) {
      a = (a + b) | 0;
      b = ((b << n) | (b >>> (32 - n))) ^ a;
    }
    a = (a + keys[(round + 1) % 3]) | 0;
    b = (b + keys[(round + 2) % 3] + round + 1) | 0;
  }
  return [a, b];
}

/* Return the inverse of the error function (Giles, Approximating the erfinv
   function, 2011), as XLA computes it. */
function erfinv(x) {
  let w = -Math.log1p(-x * x);
  const p = w < 5 ?
    [2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06,
     0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941] :
    [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844,
     0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682];
  w = w < 5 ? w - 2.5 : Math.sqrt(w) - 3;
  return p.reduce((sum, c) => sum * w + c, 0) * x;
}

/* Return the z of a seed, the one of every tool of gan_jax. */
function draw(seed) {
  const key = threefry([0, 0], 0, seed), result = new Float32Array(model.size);
  for (let i = 0; i < model.size; i++) {
    const [a, b] = threefry(key, 0, i);
    const share = ((a ^ b) >>> 9) / 2 ** 23;  // in [0, 1)
    const low = model.latent === 'uniform' ? -1 : -0.99999994;
    const u = Math.max(low, Math.fround(share * 2 + low));
    result[i] = model.latent === 'uniform' ? u : Math.SQRT2 * erfinv(u);
  }
  if (model.latent === 'sphere') scale(result, Math.sqrt(model.size));
  return result;
}

/* Scale a vector to a length, in place. */
function scale(z, length) {
  const factor = length / Math.hypot(...z);
  for (let i = 0; i < z.length; i++) z[i] *= factor;
}

/* Return the images [N, H, W, C] of several z. */
function generate(many, labels, truncation) {
  const data = new Float32Array(many.length * model.size);
  many.forEach((z, k) => data.set(z, k * model.size));
  return run(graph, {
    z: tensor([many.length, model.size], data),
    labels: tensor([many.length], Int32Array.from(labels)),
    truncation: tensor([], Float32Array.of(truncation)),
  });
}

const own = many => generate(many, many.map(() => state.label), state.truncation);

/* Draw one image of a batch [N, H, W, C] on a canvas. */
function paint(canvas, images, index) {
  const [height, width, channels] = images.shape.slice(1);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const target = context.createImageData(width, height);
  const start = index * height * width * channels;
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 4; c++) {
      const at = start + i * channels + (channels < 3 ? 0 : c);
      target.data[4 * i + c] = c === 3 && channels < 4 ? 255 :
        Math.round(images.data[at] * 127.5 + 127.5);
    }
  }
  context.putImageData(target, 0, 0);
}

/* Draw the first two coordinates of points, of fresh z. */
function paintPoints(canvas) {
  const cloud = own(Array.from({ length: CLOUD }, (_, k) => draw(state.seed + k)));
  const one = own([state.z]), side = canvas.width = canvas.height = 400;
  const context = canvas.getContext('2d');
  const far = 1.1 * Math.max(...cloud.data.map(Math.abs), 1e-6);
  const place = value => side / 2 * (1 + value / far);
  const dot = (data, k, size) => context.fillRect(
    place(data[k * model.shape[0]]) - size / 2,
    place(-data[k * model.shape[0] + 1]) - size / 2, size, size);
  context.fillStyle = getComputedStyle(document.body).color;
  for (let k = 0; k < CLOUD; k++) dot(cloud.data, k, 2);
  context.fillStyle = getComputedStyle(find('play')).backgroundColor;
  dot(one.data, 0, 10);
}

/* Return the z between two, on the arc of their directions (slerp); uniform z
   on the line. */
function between(a, b, t) {
  const lengths = [Math.hypot(...a), Math.hypot(...b)];
  const cosine = a.reduce((sum, x, i) => sum + x * b[i], 0) /
    (lengths[0] * lengths[1]);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  if (model.latent === 'uniform' || angle < 1e-4) {
    return a.map((x, i) => x + t * (b[i] - x));
  }
  const [p, q] = [Math.sin((1 - t) * angle), Math.sin(t * angle)];
  const length = lengths[0] + t * (lengths[1] - lengths[0]);
  return a.map((x, i) => length * (p * x / lengths[0] + q * b[i] / lengths[1]) /
    Math.sin(angle));
}

/* Show the image of the state. */
function show() {
  if (points) paintPoints(find('image'));
  else paint(find('image'), own([state.z]), 0);
}

function showStrip() {
  if (points) return;
  const [a, b] = [draw(state.seed), draw(Number(find('other').value))];
  const images = own(Array.from(
    { length: STRIP }, (_, k) => between(a, b, k / (STRIP - 1))));
  [...find('strip').children].forEach(
    (canvas, k) => paint(canvas, images, k));
}

function showSliders() {
  [...find('sliders').children].forEach((row, k) => {
    const at = state.first + k;
    row.hidden = at >= model.size;
    if (row.hidden) return;
    row.firstChild.textContent = `z ${at}`;
    row.lastChild.value = state.z[at];
  });
}

/* Take the z of the seed. */
function seed(value) {
  state.seed = Math.max(0, Math.floor(value) || 0);
  find('seed').value = state.seed;
  state.z = draw(state.seed);
  find('way').value = 0;
  showSliders();
  show();
  showStrip();
}

/* Move along the way to the other seed. */
function move(t) {
  state.z = between(draw(state.seed), draw(Number(find('other').value)), t);
  find('way').value = t;
  showSliders();
  show();
}

let playing = 0;
function play() {
  playing = playing ? 0 : performance.now();
  find('play').textContent = playing ? 'Stop' : 'Play';
  const frame = now => {
    if (!playing) return;
    const t = (now - playing) / 4000 % 2;  // there and back
    move(t < 1 ? t : 2 - t);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

/* Compare z and images with those that JAX gave, and say so. */
function check() {
  const expected = unpack(model.check.images), z = unpack(model.check.z);
  const seeds = model.check.seeds.map(draw);
  const differ = (a, b) => a.reduce(
    (most, x, i) => Math.max(most, Math.abs(x - b[i]) || (x === b[i] ? 0 : Infinity)), 0);
  const many = model.check.seeds.map(
    (_, k) => z.data.slice(k * model.size, (k + 1) * model.size));
  const images = generate(many, model.check.labels, model.check.truncation);
  const error = differ(images.data, expected.data);
  const drawn = Math.max(...seeds.map((own, k) => differ(own, many[k])));
  const good = error <= LARGEST_ERROR && drawn <= LARGEST_ERROR &&
    images.data.length === expected.data.length;
  generate(many, model.check.labels, model.check.truncation);  // compiled now
  let start = performance.now(), runs = 0;
  while (performance.now() - start < 500) {
    own([many[0]]);
    runs++;
  }
  const speed = runs / (performance.now() - start) * 1000;
  find('check').className = good ? 'good' : 'bad';
  find('check').textContent = (good ? '✓ Self-check passed: ' :
    '✗ Self-check failed: ') + `${seeds.length} samples differ from JAX by at ` +
    `most ${error.toExponential(1)}, their z by ${drawn.toExponential(1)}; ` +
    `${Number(speed.toPrecision(2))} samples a second here`;
  Object.assign(find('check').dataset, { good, error, drawn, speed });
}

/* Return a picture as the generator takes it, [1, H, W, C] in [-1, 1]: its
   middle, of the size in training. */
function toInput(picture) {
  const [height, width, channels] = model.source;
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.fillStyle = model.background;
  if (channels < 4) context.fillRect(0, 0, width, height);
  const factor = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * factor, picture.height * factor];
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, width, height);
  const result = new Float32Array(height * width * channels);
  for (let i = 0; i < height * width; i++) {
    const [r, g, b] = data.slice(4 * i, 4 * i + 3);
    for (let c = 0; c < channels; c++) {
      const level = channels < 3 ?
        Math.round(0.299 * r + 0.587 * g + 0.114 * b) : data[4 * i + c];
      result[i * channels + c] = level / 127.5 - 1;
    }
  }
  return tensor([1, height, width, channels], result);
}

/* Show an image [1, H, W, C] and its translation. */
function translate(images) {
  const start = performance.now();
  paint(find('before'), images, 0);
  paint(find('image-after'), run(graph, { images }), 0);
  find('took').textContent =
    `Translated in ${((performance.now() - start) / 1000).toFixed(1)} s.`;
}

/* Translate a file that was chosen. */
async function translateFile(file) {
  if (!file) return;
  try {
    translate(toInput(await createImageBitmap(file)));
  } catch (error) {
    find('took').textContent = `${file.name} cannot be read as an image.`;
  }
  find('took').dataset.file = file.name;  // that was tried last
}

/* Compare the translations of the examples with those that JAX gave. */
function checkTranslation() {
  const images = unpack(model.check.inputs), expected = unpack(model.check.images);
  const start = performance.now(), found = run(graph, { images });
  const seconds = (performance.now() - start) / 1000;
  const error = found.data.reduce((most, x, i) => Math.max(
    most, Math.abs(x - expected.data[i]) || (x === expected.data[i] ? 0 : Infinity)), 0);
  const good = error <= LARGEST_ERROR &&
    found.data.length === expected.data.length;
  find('check').className = good ? 'good' : 'bad';
  find('check').textContent = (good ? '✓ Self-check passed: ' :
    '✗ Self-check failed: ') + `the example differs from JAX by at most ` +
    `${error.toExponential(1)}; ${seconds.toFixed(1)} s here`;
  Object.assign(find('check').dataset, { good, error, seconds });
}

function buildTranslation() {
  find('sample').hidden = find('inputs').hidden = true;
  for (const part of document.querySelectorAll('.translation')) part.hidden = false;
  const [height, width] = model.source;
  find('fit').textContent = `The middle of the image is taken and made ` +
    `${width} x ${height} pixels. Nothing leaves this page.`;
  if (width < 128) document.body.classList.add('pixels');
  document.querySelector('.sides').classList.add('halves');
  const example = () => translate(unpack(model.check.inputs));
  find('file').onchange = () => translateFile(find('file').files[0]);
  find('example').onclick = example;
  example();
  setTimeout(checkTranslation, 50);
}

function build() {
  for (let k = 0; k < Math.min(SHOWN, model.size); k++) {
    const row = document.createElement('label');
    const range = Object.assign(document.createElement('input'), {
      type: 'range', min: model.latent === 'uniform' ? -1 : -3,
      max: model.latent === 'uniform' ? 1 : 3, step: 0.01 });
    range.oninput = () => {
      state.z[state.first + k] = Number(range.value);
      show();
    };
    row.append(document.createElement('span'), range);
    find('sliders').append(row);
  }
  for (let first = 0; first < model.size; first += SHOWN) {
    const end = Math.min(first + SHOWN, model.size) - 1;
    find('first').add(new Option(`${first} to ${end}`, first));
  }
  find('first').onchange = () => {
    state.first = Number(find('first').value);
    showSliders();
  };
  find('classes').hidden = !model.classes.length;
  model.classes.forEach((name, k) => find('label').add(new Option(name, k)));
  find('label').onchange = () => {
    state.label = Number(find('label').value);
    show();
    showStrip();
  };
  find('styles').hidden = !model.truncates;
  find('truncation').oninput = () => {
    state.truncation = Number(find('truncation').value);
    find('psi').textContent = state.truncation;
    show();
  };
  find('truncation').onchange = showStrip;
  find('seed').onchange = () => seed(Number(find('seed').value));
  find('new').onclick = () => seed(Math.floor(Math.random() * 2 ** 31));
  find('other').onchange = () => { find('way').value = 0; showStrip(); };
  find('way').oninput = () => move(Number(find('way').value));
  find('play').onclick = play;
  find('strip').hidden = points;
  for (let k = 0; k < STRIP; k++) {
    const canvas = document.createElement('canvas');
    canvas.onclick = () => move(k / (STRIP - 1));
    find('strip').append(canvas);
  }
  if (!points && model.shape[1] < 128) document.body.classList.add('pixels');
  if (points) find('image').classList.add('points');
  seed(0);
  setTimeout(check, 50);  // after the first image is drawn
}

find('title').textContent = document.title = model.title;
find('about').textContent = model.about;
if (model.source) buildTranslation();
else build();
