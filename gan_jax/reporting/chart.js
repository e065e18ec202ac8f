'use strict';
// Line charts as SVG: hover, zoom, pan, a logarithmic axis, curves on and off.
class Chart {
  static margin = {top: 26, right: 12, bottom: 40};
  static superscripts = '⁰¹²³⁴⁵⁶⁷⁸⁹';

  constructor(figure, {axis, log, curves}) {
    Object.assign(this, {figure, axis, log, curves, view: {}});
    this.shown = curves.map(() => true);
    this.plot = figure.querySelector('.plot');
    this.tip = document.createElement('div');
    this.tip.className = 'tip';
    this.tip.hidden = true;
    this.svg = this.add(this.plot, 'svg');
    this.plot.append(this.tip);
    this.reset();
    // Draws at the start, at a change of size and when a folded block opens.
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.listen();
  }

  add(parent, name, attributes = {}, text = '') {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    parent.append(node);
    return node;
  }

  // The ranges of all shown curves; of a logarithmic axis, the log10 of its range.
  whole() {
    const steps = [], values = [];
    this.curves.forEach((curve, n) => {
      if (!this.shown[n]) return;
      steps.push(curve.steps[0], curve.steps.at(-1));
      for (const value of curve.values) values.push(this.level(value));
    });
    const range = (list, pad) => {
      if (!list.length) return [0, 1];
      const low = list.reduce((a, b) => Math.min(a, b)), high = list.reduce((a, b) => Math.max(a, b));
      const room = high > low ? pad * (high - low) : (Math.abs(high) || 1) / 2;
      return [low - room, high + room];
    };
    const markers = this.curves.some((curve) => curve.markers);
    return {x: range(steps, markers ? .03 : 0), y: range(values, .05)};
  }

  level(value) { return this.log ? Math.log10(value) : value; }

  reset() { this.view = this.whole(); }

  x(step) {
    const [low, high] = this.view.x;
    return this.left + (step - low) / (high - low) * this.width;
  }

  y(value) {
    const [low, high] = this.view.y;
    return Chart.margin.top + (high - this.level(value)) / (high - low) * this.height;
  }

  // The value of an axis at a place on the screen.
  inverse(axis, place) {
    const [low, high] = this.view[axis];
    const share = axis === 'x' ? (place - this.left) / this.width
      : 1 - (place - Chart.margin.top) / this.height;
    return low + share * (high - low);
  }

  static round(low, high, count, least = 0) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const unit = Math.max(least, power * [1, 2, 5, 10].find((n) => n * power >= raw * .999));
    const ticks = [];
    for (let n = Math.ceil(low / unit); n * unit <= high && ticks.length < 100; n++) ticks.push(n * unit || 0); // not -0
    return {ticks, unit};
  }

  static words(value, unit) {
    const size = Math.abs(value);
    if (size && (size >= 1e6 || unit < 1e-5)) {
      const [digits, power] = value.toExponential(3).split('e');
      return `${+digits}·${Chart.power(+power)}`;
    }
    const decimals = Math.max(0, -Math.floor(Math.log10(unit) + 1e-9));
    return value.toLocaleString('en', {minimumFractionDigits: decimals, maximumFractionDigits: decimals});
  }

  static power(exponent) {
    return '10' + (exponent < 0 ? '⁻' : '') +
      [...String(Math.abs(exponent))].map((digit) => Chart.superscripts[digit]).join('');
  }

  // [value, text] of the vertical axis.
  levels() {
    const [low, high] = this.view.y, count = this.height / 36;
    const plain = (from, to) => {
      const {ticks, unit} = Chart.round(from, to, count);
      return ticks.map((tick) => [tick, Chart.words(tick, unit)]);
    };
    if (!this.log) return plain(low, high);
    if (high - low < .7) return plain(10 ** low, 10 ** high).filter(([value]) => value > 0);
    const stride = Math.ceil((high - low) / count), ticks = [];
    for (let power = Math.ceil(low) - 1; power <= high; power++) {
      if (power % stride) continue;
      for (const factor of high - low < 2.5 ? [1, 2, 5] : [1]) {
        const value = factor * 10 ** power, level = Math.log10(value);
        if (level < low || level > high) continue;
        ticks.push([value, Math.abs(power) > 3 && factor === 1 ? Chart.power(power)
          : Math.abs(power) > 3 ? `${factor}·${Chart.power(power)}` : String(+value.toPrecision(1))]);
      }
    }
    return ticks;
  }

  draw() {
    const {clientWidth: width, clientHeight: height} = this.plot;
    if (!width || !height) return;
    const {top, right, bottom} = Chart.margin;
    this.height = height - top - bottom;
    const levels = this.levels();
    this.left = 14 + 7.5 * Math.max(2, ...levels.map(([, text]) => text.length));
    this.width = Math.max(20, width - this.left - right);
    this.svg.replaceChildren();
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const base = top + this.height, end = this.left + this.width;
    const grid = this.add(this.svg, 'g', {class: 'grid'});
    for (const [value, text] of levels) {
      const y = this.y(value);
      this.add(grid, 'path', {d: `M${this.left} ${y}H${end}`});
      this.add(grid, 'text', {x: this.left - 6, y: y + 4, 'text-anchor': 'end'}, text);
    }
    const {ticks, unit} = Chart.round(...this.view.x, Math.max(2, this.width / 90), 1);
    for (const step of ticks) {
      const x = this.x(step);
      this.add(grid, 'path', {d: `M${x} ${top}V${base}`});
      this.add(grid, 'text', {x, y: base + 17, 'text-anchor': x > end - 20 ? 'end' : 'middle'},
        Chart.words(step, unit));
    }
    this.add(grid, 'text', {x: 2, y: 14, class: 'title'}, this.axis);
    this.add(grid, 'text', {x: end, y: base + 34, class: 'title', 'text-anchor': 'end'}, 'step');
    const clip = `clip-${this.figure.dataset.chart}`;
    this.add(this.add(this.svg, 'clipPath', {id: clip}), 'rect',
      {x: this.left, y: top, width: this.width, height: this.height});
    const lines = this.add(this.svg, 'g', {'clip-path': `url(#${clip})`});
    this.curves.forEach((curve, n) => this.shown[n] && this.line(lines, curve));
    this.cross = this.add(this.svg, 'path', {class: 'cross'});
    this.band = this.add(this.svg, 'rect', {class: 'band', width: 0, height: 0});
    // Read by tests.
    this.figure.dataset.steps = this.view.x.join(' ');
  }

  line(parent, curve) {
    const look = `curve series-${curve.series} dash-${curve.dash}`;
    const [low, high] = this.view.x, {steps} = curve;
    const from = Math.max(0, steps.findIndex((step) => step >= low) - 1);
    let to = steps.findIndex((step) => step > high);
    to = to < 0 ? steps.length : to + 1;
    const path = (values, mark) => steps.slice(from, to).map((step, n) =>
      `${n && !mark ? 'L' : 'M'}${this.x(step).toFixed(1)} ${this.y(values[from + n]).toFixed(1)}${mark}`).join('');
    this.add(parent, 'path', {class: `${look}${curve.means ? ' thin' : ''}`, d: path(curve.values, '')});
    if (curve.means) this.add(parent, 'path', {class: look, d: path(curve.means, '')});
    if (curve.markers) this.add(parent, 'path', {class: `points series-${curve.series}`, d: path(curve.values, 'h0')});
  }

  // The values at the step nearest to a place, as a line and a table.
  hover(place) {
    const at = this.inverse('x', place);
    const nearest = (steps) => steps.reduce(
      (best, step, n) => Math.abs(step - at) < Math.abs(steps[best] - at) ? n : best, 0);
    const [low, high] = this.view.x;
    const found = this.curves.map((curve, n) => ({curve, place: nearest(curve.steps), shown: this.shown[n]}))
      .filter(({curve, place, shown}) => shown && curve.steps[place] >= low && curve.steps[place] <= high);
    const steps = found.map(({curve, place}) => curve.steps[place]);
    if (!steps.length) return this.leave();
    const step = steps[nearest(steps)], x = this.x(step);
    this.cross.setAttribute('d', `M${x} ${Chart.margin.top}v${this.height}`);
    const head = document.createElement('div');
    head.textContent = `step ${step.toLocaleString('en')}`;
    this.tip.replaceChildren(head, ...found
      .filter(({curve, place}) => Math.abs(this.x(curve.steps[place]) - x) < 20)
      .map(({curve, place}) => this.row(curve, place, step)));
    this.tip.hidden = false;
    const beyond = x + 12 + this.tip.offsetWidth > this.left + this.width;
    this.tip.style.left = `${Math.max(0, beyond ? x - 12 - this.tip.offsetWidth : x + 12)}px`;
  }

  row(curve, place, step) {
    const row = document.createElement('div'), own = curve.steps[place];
    const mark = this.add(row, 'svg', {class: `swatch series-${curve.series} dash-${curve.dash}`, viewBox: '0 0 28 8'});
    this.add(mark, 'path', {class: 'curve', d: 'M0 4H28'});
    const value = (number) => String(+number.toPrecision(5));
    row.append(`${curve.label}: ${curve.means ? `${value(curve.means[place])} (as logged ${value(curve.values[place])})`
      : value(curve.values[place])}${own === step ? '' : ` at step ${own.toLocaleString('en')}`}`);
    return row;
  }

  leave() {
    this.tip.hidden = true;
    this.cross?.setAttribute('d', '');
  }

  listen() {
    const place = (event) => {
      const box = this.svg.getBoundingClientRect();
      return {x: event.clientX - box.left, y: event.clientY - box.top};
    };
    const clamp = ({x, y}) => ({
      x: Math.min(Math.max(x, this.left), this.left + this.width),
      y: Math.min(Math.max(y, Chart.margin.top), Chart.margin.top + this.height),
    });
    let start = null;
    this.plot.addEventListener('pointerdown', (event) => {
      if (event.pointerType === 'touch') return this.hover(place(event).x); // a finger scrolls the page
      if (event.button) return;
      const {x, y} = place(event);
      const below = y > Chart.margin.top + this.height, beside = x < this.left;
      start = {x, y, view: this.view, pan: below ? 'x' : beside ? 'y' : event.shiftKey ? 'xy' : ''};
      this.plot.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    this.plot.addEventListener('pointermove', (event) => {
      const now = place(event);
      if (!start) return this.hover(now.x);
      this.leave();
      if (start.pan) return this.pan(start, now);
      const box = this.box(clamp(start), clamp(now));
      if (box) for (const key of ['x', 'y', 'width', 'height']) this.band.setAttribute(key, box[key]);
    });
    const end = (event) => {
      if (!start) return;
      const box = !start.pan && event.type === 'pointerup' && this.box(clamp(start), clamp(place(event)));
      start = null;
      if (!box) return this.draw();
      this.view = {
        x: [this.inverse('x', box.x), this.inverse('x', box.x + box.width)],
        y: [this.inverse('y', box.y + box.height), this.inverse('y', box.y)],
      };
      this.draw();
    };
    this.plot.addEventListener('pointerup', end);
    this.plot.addEventListener('pointercancel', end);
    this.plot.addEventListener('pointerleave', (event) =>
      start || event.pointerType === 'touch' || this.leave());
    // Values shown by a touch stay until a touch elsewhere.
    document.addEventListener('pointerdown', (event) => this.plot.contains(event.target) || this.leave());
    this.plot.addEventListener('dblclick', () => { this.reset(); this.draw(); });
    this.figure.querySelectorAll('.zoom button').forEach((button) =>
      button.addEventListener('click', () => this.act(button.dataset.act, button)));
    this.figure.querySelectorAll('.legend button').forEach((button, n) => {
      button.addEventListener('click', () => this.toggle(this.shown.map((on, m) => m === n ? !on : on)));
      button.addEventListener('dblclick', () => {
        const alone = this.shown.every((on, m) => on === (m === n));
        this.toggle(this.shown.map((_, m) => alone || m === n));
      });
    });
  }

  // The rectangle of a drag: of steps, of values or of both; null for a click.
  box(from, to) {
    const wide = Math.abs(to.x - from.x), tall = Math.abs(to.y - from.y);
    if (wide < 8 && tall < 8) return null;
    const all = {x: this.left, y: Chart.margin.top, width: this.width, height: this.height};
    return {
      ...all,
      ...(wide < 20 && tall > wide ? {} : {x: Math.min(from.x, to.x), width: wide}),
      ...(tall < 20 && wide >= tall ? {} : {y: Math.min(from.y, to.y), height: tall}),
    };
  }

  pan(start, now) {
    const move = ([low, high], share) => [low + share * (high - low), high + share * (high - low)];
    this.view = {
      x: move(start.view.x, start.pan.includes('x') ? (start.x - now.x) / this.width : 0),
      y: move(start.view.y, start.pan.includes('y') ? (now.y - start.y) / this.height : 0),
    };
    this.draw();
  }

  act(name, button) {
    const [low, high] = this.view.x, size = high - low;
    if (name === 'log') {
      this.log = !this.log;
      button.setAttribute('aria-pressed', this.log);
      this.view.y = this.whole().y;
    } else if (name === 'reset') {
      this.reset();
    } else {
      this.view.x = {
        in: [low + size / 4, high - size / 4], out: [low - size / 2, high + size / 2],
        left: [low - size / 4, high - size / 4], right: [low + size / 4, high + size / 4],
      }[name];
    }
    this.leave();
    this.draw();
  }

  toggle(shown) {
    this.shown = shown;
    this.figure.querySelectorAll('.legend button').forEach((button, n) =>
      button.setAttribute('aria-pressed', shown[n]));
    this.view.y = this.whole().y;
    this.leave();
    this.draw();
  }
}
