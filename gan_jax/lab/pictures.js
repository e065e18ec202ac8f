// Pictures of a session, shared by the live page and by a recording.
'use strict';

const Pictures = (() => {
  const KINDS = { uint8: Uint8Array, int16: Int16Array, float32: Float32Array };
  const letter = (place) => 'ABCD'[place];

  // Unpack a picture of session.pack: 4 bytes of length, JSON, arrays.
  function unpack(buffer) {
    const size = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    for (const look of head.gans) {
      for (const [name, value] of Object.entries(look)) {
        if (value && value.kind) {
          look[name] = new KINDS[value.kind](buffer, 4 + size + value.first, value.count);
        }
      }
    }
    return head;
  }

  let colours = null;
  function palette() {
    if (!colours) {
      const style = getComputedStyle(document.documentElement);
      const read = (name) => style.getPropertyValue(`--${name}`).trim();
      const names = ['ground', 'ink', 'soft', 'line', 'real', 'fake', 'judge', 'best',
        'real-tint', 'fake-tint', 'middle'];
      colours = Object.fromEntries(names.map((name) => [name, read(name)]));
    }
    return colours;
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { colours = null; });

  const channels = (hex) => [1, 3, 5].map((first) => parseInt(hex.slice(first, first + 2), 16));

  // Return the context of a canvas at the screen's resolution, scaled to CSS pixels.
  function sharp(canvas) {
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const context = canvas.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height };
  }

  // Map of D's output: blue where D says real, orange where it says generated.
  function heat(context, surface, width, height) {
    const side = Math.round(Math.sqrt(surface.length));
    const small = heat.canvas || (heat.canvas = document.createElement('canvas'));
    small.width = small.height = side;
    const inner = small.getContext('2d'), image = inner.createImageData(side, side);
    const { middle, 'real-tint': real, 'fake-tint': fake } = palette();
    const [from, high, low] = [channels(middle), channels(real), channels(fake)];
    for (let i = 0; i < surface.length; i++) {
      const value = surface[i] / 127.5 - 1, to = value > 0 ? high : low;
      for (let c = 0; c < 3; c++) {
        image.data[4 * i + c] = from[c] + (to[c] - from[c]) * Math.abs(value);
      }
      image.data[4 * i + 3] = 255;
    }
    inner.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(small, 0, 0, width, height);
  }

  function dots(context, points, width, reach) {
    const half = width / 2, { real, ground } = palette();
    context.fillStyle = real; context.strokeStyle = ground; context.lineWidth = 0.6;
    for (let i = 0; i < points.length; i += 2) {
      context.beginPath();
      context.arc(half + points[i] / reach * half, half - points[i + 1] / reach * half,
        width > 300 ? 2.2 : 1.8, 0, 7);
      context.fill(); context.stroke();
    }
  }

  function crosses(context, shorts, width) {
    const half = width / 2, arm = width > 300 ? 3.2 : 2.6;
    context.beginPath();
    for (let i = 0; i < shorts.length; i += 2) {
      const x = half + shorts[i] / 32767 * width, y = half - shorts[i + 1] / 32767 * width;
      context.moveTo(x - arm, y - arm); context.lineTo(x + arm, y + arm);
      context.moveTo(x - arm, y + arm); context.lineTo(x + arm, y - arm);
    }
    context.strokeStyle = palette().ground; context.lineWidth = 3; context.stroke();
    context.strokeStyle = palette().fake; context.lineWidth = 1.5; context.stroke();
  }

  // Image of a grid of z under G: its rows and its columns.
  function net(context, shorts, width) {
    const count = shorts.length / 2, side = Math.round(Math.sqrt(count)), half = width / 2;
    const square = side * side === count;
    const move = (i, first) => {
      const x = half + shorts[2 * i] / 32767 * width, y = half - shorts[2 * i + 1] / 32767 * width;
      if (first) context.moveTo(x, y); else context.lineTo(x, y);
    };
    context.beginPath();
    if (square) {
      for (let a = 0; a < side; a++) {
        for (let b = 0; b < side; b++) move(a * side + b, b === 0);
        for (let b = 0; b < side; b++) move(b * side + a, b === 0);
      }
    } else {
      for (let i = 0; i < count; i++) move(i, i === 0);
    }
    context.strokeStyle = palette().fake; context.globalAlpha = 0.55;
    context.lineWidth = 1; context.stroke(); context.globalAlpha = 1;
  }

  function plane(canvas, real, look) {
    const { context, width, height } = sharp(canvas);
    heat(context, look.surface, width, height);
    net(context, look.manifold, width);
    crosses(context, look.points, width);
    dots(context, real.points, width, real.reach);
  }

  function trace(context, values, place, style, width, dash = []) {
    context.beginPath();
    let open = false;
    values.forEach((value, i) => {
      if (value === null || !Number.isFinite(value)) { open = false; return; }
      const [x, y] = place(i, value);
      if (open) context.lineTo(x, y); else context.moveTo(x, y);
      open = true;
    });
    context.setLineDash(dash); context.strokeStyle = style; context.lineWidth = width;
    context.stroke(); context.setLineDash([]);
  }

  // Figure 1 of Goodfellow et al., https://arxiv.org/abs/1406.2661, 2014.
  function line(canvas, real, look) {
    const { context, width, height } = sharp(canvas);
    const ink = palette(), floor = height * 0.68, top = 18, tall = floor - top;
    const most = 1.35 * Math.max(...real.density);
    const across = (share) => share * width;
    const density = (count, value) => floor - Math.min(value / most, 1.02) * tall;
    const n = look.curve.length, bins = look.generated.length;
    let curve = Array.from(look.curve);
    if (look.tells === 'score') {
      const low = Math.min(...curve), high = Math.max(...curve);
      curve = curve.map((value) => (value - low) / Math.max(high - low, 1e-9));
    }
    const judged = (i, value) => [across(i / (n - 1)), floor - Math.min(Math.max(value, -0.02), 1.05) * tall];
    context.strokeStyle = ink.line; context.lineWidth = 1;
    context.beginPath();
    for (const y of [floor - tall / 2, floor]) { context.moveTo(0, y); context.lineTo(width, y); }
    context.stroke();
    context.fillStyle = ink.soft; context.font = '12px system-ui, sans-serif';
    if (look.tells !== 'score') {
      context.fillText('D = 1', 4, top - 5); context.fillText('D = ½', 4, floor - tall / 2 - 5);
    }
    trace(context, Array.from(real.density), (i, v) => [across(i / (n - 1)), density(0, v)], ink.real, 3, [8, 4]);
    trace(context, Array.from(look.generated), (i, v) => [across((i + 0.5) / bins), density(0, v)], ink.fake, 2.2);
    if (look.best) trace(context, Array.from(look.best), judged, ink.best, 2.2, [2, 4]);
    trace(context, curve, judged, ink.judge, 2.2);
    // Below: evenly spaced z on the lower line, G(z) on the upper one.
    const upper = floor + 16, lower = height - 16;
    context.strokeStyle = ink.soft; context.lineWidth = 1;
    context.beginPath();
    for (const y of [upper, lower]) { context.moveTo(0, y); context.lineTo(width, y); }
    context.stroke();
    context.beginPath();
    look.arrows.forEach((x, i) => {
      context.moveTo(across((i + 0.5) / look.arrows.length), lower);
      context.lineTo(across((x / real.reach + 1) / 2), upper);
    });
    context.strokeStyle = ink.fake; context.globalAlpha = 0.7; context.stroke(); context.globalAlpha = 1;
    context.fillText('x', width - 12, upper - 4); context.fillText('z', width - 12, lower + 12);
  }

  const short = (value) => {
    if (value === null || value === undefined) return '–';
    const size = Math.abs(value);
    return size !== 0 && (size < 0.01 || size >= 10000) ? value.toExponential(1) : value.toFixed(size < 10 ? 3 : 1);
  };

  function curves(canvas, history) {
    const { context, width, height } = sharp(canvas);
    const ink = palette();
    context.font = '12px system-ui, sans-serif'; context.fillStyle = ink.soft;
    if (history.length < 2) { context.fillText('Losses appear here during training.', 8, 18); return; }
    const values = history.flatMap((row) => [row.d, row.g]).filter(Number.isFinite).sort((a, b) => a - b);
    const at = (share) => values[Math.floor(share * (values.length - 1))];
    let [low, high] = [at(0.01), at(0.99)];  // outliers should not flatten the rest
    if (!(high - low > 1e-9)) { low -= 0.5; high += 0.5; }
    const first = history[0].step, last = history[history.length - 1].step;
    const place = (name) => (i, value) => [
      44 + (history[i].step - first) / Math.max(last - first, 1) * (width - 52),
      8 + (high - Math.min(Math.max(value, low), high)) / (high - low) * (height - 30)];
    context.fillText(short(high), 4, 14); context.fillText(short(low), 4, height - 20);
    context.fillText(`step ${first}`, 44, height - 5);
    const end = `step ${last}`;
    context.fillText(end, width - 8 - context.measureText(end).width, height - 5);
    trace(context, history.map((row) => row.d), place('d'), ink.judge, 1.6);
    trace(context, history.map((row) => row.g), place('g'), ink.fake, 1.6, [6, 3]);
  }

  const SIGNS = {
    real: '<circle cx="10" cy="7" r="4" class="real"/>',
    fake: '<path d="M6 3l8 8m0-8l-8 8" class="fake"/>',
    net: '<path d="M1 3q10 6 20 0M1 11q10-6 20 0M6 1v12M16 1v12" class="net"/>',
    tintReal: '<rect x="2" y="1" width="18" height="12" class="tint-real"/>',
    tintFake: '<rect x="2" y="1" width="18" height="12" class="tint-fake"/>',
    realLine: '<path d="M0 7h22" class="realline"/>',
    fakeLine: '<path d="M0 7h22" class="fake"/>',
    judge: '<path d="M0 7h22" class="judge"/>',
    best: '<path d="M0 7h22" class="best"/>',
    dashed: '<path d="M0 7h22" class="fake dash"/>',
  };

  function legend(items) {
    const list = document.createElement('ul');
    list.className = 'legend';
    for (const [sign, words] of items) {
      const item = list.appendChild(document.createElement('li'));
      item.innerHTML = `<svg viewBox="0 0 22 14" aria-hidden="true">${SIGNS[sign]}</svg>`;
      item.append(words);
    }
    return list;
  }

  const JUDGES = {
    probability: 'D(x), the probability that x is real',
    target: 'D(x), 1 for real', score: "D's score, from lowest to highest",
  };

  // Card of one GAN: its pictures, its numbers and the history of its losses.
  class Card {
    constructor(place) {
      this.history = [];
      this.element = document.createElement('article');
      this.element.className = 'card';
      this.element.innerHTML = `<div class="seen"><h2><span class="title"></span></h2>
        <figure><canvas class="plot" role="img"></canvas><figcaption></figcaption></figure>
        <dl class="numbers"></dl>
        <figure><canvas class="curves" role="img" aria-label="Losses of D and G by step"></canvas><figcaption></figcaption></figure></div>`;
      [this.plot, this.losses] = this.element.querySelectorAll('canvas');
      [this.caption, this.below] = this.element.querySelectorAll('figcaption');
      this.below.append(legend([['judge', "D's loss"], ['dashed', "G's loss"]]));
      this.title = this.element.querySelector('.title');
      this.numbers = this.element.querySelector('.numbers');
      this.place = place; this.form = '';
    }

    name(words) { this.title.textContent = `GAN ${letter(this.place)}: ${words}`; }

    remember(look) {
      const history = this.history, last = history[history.length - 1];
      if (last && look.step <= last.step) {
        if (look.step === last.step) return;
        history.length = 0;
      }
      if ('d/loss' in look.metrics) {
        history.push({ step: look.step, d: look.metrics['d/loss'], g: look.metrics['g/loss'] });
      }
      if (history.length > 1200) this.history = history.filter((row, i) => i % 2 || i > 1000);
    }

    forget() { this.history = []; }

    draw(real, look) {
      this._showLegend(real, look);
      if (real.dimension === 2) plane(this.plot, real, look); else line(this.plot, real, look);
      curves(this.losses, this.history);
      this._showNumbers(real, look);
    }

    _showLegend(real, look) {
      const form = `${real.dimension} ${look.tells}`;
      if (form === this.form) return;
      this.form = form;
      this.plot.classList.toggle('on-line', real.dimension === 1);
      const score = look.tells === 'score';
      this.caption.replaceChildren(legend(real.dimension === 2 ? [
        ['real', 'real points'], ['fake', 'generated points'], ['net', "G's image of a grid of z"],
        ['tintReal', score ? "D's score is high" : 'D says real'],
        ['tintFake', score ? "D's score is low" : 'D says generated'],
      ] : [
        ['realLine', 'density of the data'], ['fakeLine', 'density of generated points; lines from z to x'],
        ['judge', JUDGES[look.tells]], ...(score ? [] : [['best', 'optimal D: data / (data + generated)']]),
      ]));
    }

    _showNumbers(real, look) {
      const rows = [['Step', look.step.toLocaleString('en')],
        ["D's loss", short(look.metrics['d/loss'])], ["G's loss", short(look.metrics['g/loss'])]];
      if (real.modes) {
        rows.push(['Modes found', `${look.modes} of ${real.modes}`],
          ['Points near a mode', `${Math.round(100 * look.high_quality)} %`]);
      }
      if (real.dimension === 1) {
        rows.push(['Distance (KS)', short(look.distance)]);
        if ('gap' in look) rows.push(['Mean |D − ½|', short(look.gap)]);
      }
      const known = ['d/loss', 'g/loss', 'd/real_logits', 'd/fake_logits', 'd/grad_norm', 'g/grad_norm'];
      for (const [name, value] of Object.entries(look.metrics)) {
        if (!known.includes(name)) rows.push([name.slice(2).replaceAll('_', ' '), short(value)]);
      }
      while (this.numbers.children.length > rows.length) this.numbers.lastChild.remove();
      rows.forEach(([term, value], i) => {
        let row = this.numbers.children[i];
        if (!row) {
          row = this.numbers.appendChild(document.createElement('div'));
          row.append(document.createElement('dt'), document.createElement('dd'));
        }
        if (row.firstChild.textContent !== term) row.firstChild.textContent = term;
        if (row.lastChild.textContent !== value) row.lastChild.textContent = value;
      });
      this.plot.setAttribute('aria-label', rows.map((row) => row.join(' ')).join(', '));
    }
  }

  // Describe the settings that differ from the defaults of a schema.
  function words(fields, settings, always = []) {
    return fields.filter((field) => always.includes(field.name) || settings[field.name] !== field.default)
      .map((field) => {
        const value = settings[field.name];
        return `${field.label.toLowerCase()} ${field.choices ? field.choices[value].toLowerCase() : value}`;
      });
  }

  function title(schema, gan) {
    const loss = schema.gan.find((field) => field.name === 'loss').choices[gan.loss];
    const added = schema.penalties.filter((one) => one.name in gan.penalties).map((one) => one.label);
    return [loss, ...added].map((text) => text.replace(/ \(.*/, '')).join(' + ');
  }

  return { unpack, Card, sharp, dots, trace, palette, words, title };
})();
