// Live page: controls, drawing board, and messages of the server.
'use strict';

(() => {
  const byId = (id) => document.getElementById(id);
  const MOST_POINTS = 512, BINS = 64;
  let schema = null, settings = null, real = null, picture = null, socket = null;
  let playing = false, compiling = false, fresh = false, ended = false;
  let cards = [], drawn = [], heights = null, stroke = null;
  let drawCount = 0, stepCount = 0, since = performance.now();

  const make = (tag, about = {}, ...inside) => {
    const element = Object.assign(document.createElement(tag), about);
    element.append(...inside);
    return element;
  };
  const send = (type, more = {}) => {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...more }));
  };
  const copy = (value) => JSON.parse(JSON.stringify(value));

  function say(words, alarm = false) {
    const status = byId('status');
    if (status.textContent !== words) status.textContent = words;
    status.classList.toggle('alarm', alarm);
  }

  function showStatus() {
    if (ended || !picture) return;
    const dead = picture.gans.flatMap((look, place) => (look.alive ? [] : [`GAN ${'ABCD'[place]}`]));
    if (compiling) say('compiling …');
    else if (dead.length) say(`${dead.join(' and ')} stopped at a number that is not finite; reset, or lower the learning rates`, true);
    else say(playing ? 'training' : 'paused');
  }

  function setPlaying(value) {
    playing = value;
    byId('play').textContent = playing ? '❚❚ Pause' : '▶ Play';
    showStatus();
  }

  // Settings go to the server, which confirms them by 'settings'. An answer to
  // an older request than the page's last change is ignored.
  let waiting = 0, asked = '', held = '';
  function change(soon = false) {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      waiting = 0; asked = JSON.stringify(settings);
      send('set', { settings });
    }, soon ? 60 : 0);
  }
  function openLink(link) {
    clearTimeout(waiting);
    waiting = 0; asked = shown = form = '';
    cards.forEach((card) => card.forget());
    send('open', { link });
  }

  // Controls

  let numbered = 0;
  function field(about, value, change) {
    const id = `field-${numbered++}`, small = make('small', { id: `${id}-words`, textContent: about.words });
    const label = make('label', { htmlFor: id, textContent: about.label, className: about.live ? 'live' : '' });
    let control, slider = null;
    if (about.choices) {
      control = make('select');
      for (const [name, words] of Object.entries(about.choices)) {
        control.append(make('option', { value: name, textContent: words }));
      }
      control.value = value;
      control.addEventListener('change', () => change(control.value));
    } else if (about.kind === 'bool') {
      control = make('input', { type: 'checkbox', checked: value });
      control.addEventListener('change', () => change(control.checked));
    } else {
      const whole = about.kind === 'int';
      control = make('input', { type: 'number', min: about.low, max: about.high, step: whole ? 1 : 'any', value });
      control.addEventListener('change', () => {
        const number = Number(control.value);
        if (control.value === '' || !control.checkValidity()) { control.reportValidity(); return; }
        if (slider) slider.value = Math.log10(number);
        change(number);
      });
      if (about.log) {
        slider = make('input', { type: 'range', min: Math.log10(about.low), max: Math.log10(about.high), step: 0.05, value: Math.log10(value) });
        slider.setAttribute('aria-label', `${about.label}, on a logarithmic scale`);
        slider.addEventListener('input', () => {
          const number = Number((10 ** Number(slider.value)).toPrecision(3));
          control.value = Math.min(Math.max(number, about.low), about.high);
          change(Number(control.value), true);
        });
      }
    }
    control.id = id; control.name = about.name;
    control.setAttribute('aria-describedby', small.id);
    return make('div', { className: 'field' }, label, control, ...(slider ? [slider] : []), small);
  }

  function sharedFields() {
    const made = schema.settings.map((about) => field(about, settings[about.name], (value, soon) => {
      if (about.name === 'data') chooseData(value);
      else { settings[about.name] = value; change(soon); }
    }));
    const first = schema.settings.findIndex((about) => about.name === 'data');
    byId('data-field').replaceChildren(...made.splice(first, 1));
    byId('shared-fields').replaceChildren(...made);
  }

  function chooseData(name) {
    const source = schema.sources[name];
    if (source.dimension !== schema.sources[settings.data].dimension) {
      const { seed, drawing } = settings;
      settings = copy(schema.presets[source.dimension === 1 ? 'line' : 'plane'].settings);
      Object.assign(settings, { seed, drawing });
    }
    settings.data = name;
    showControls();
    if (source.drawn && !settings.drawing) {
      real = { ...real, points: [], density: new Array(BINS).fill(0), dimension: source.dimension, reach: 1.2, modes: 0 };
      drawn = []; drawBoard();
      say('draw in the picture of the real data');
      return;
    }
    change();
  }

  function ganFields(gan, place) {
    const boxes = {};
    for (const about of schema.gan) {
      boxes[about.group] = boxes[about.group] || make('div', { className: 'fields' });
      boxes[about.group].append(field(about, gan[about.name], (value, soon) => { settings.gans[place][about.name] = value; change(soon); }));
    }
    const added = make('div', { className: 'fields' });
    for (const one of schema.penalties) {
      const on = one.name in gan.penalties;
      const toggle = field({ ...one, kind: 'bool' }, on, (value) => {
        const weights = settings.gans[place].penalties;
        if (value) weights[one.name] = one.weight; else delete weights[one.name];
        change();
      });
      if (on) {
        toggle.append(field({
          name: `weight-${one.name}`, label: 'weight', words: '', kind: 'float', low: 1e-4, high: schema.most_weight, live: true, log: true,
        }, gan.penalties[one.name], (value, soon) => { settings.gans[place].penalties[one.name] = value; change(soon); }));
        toggle.lastChild.classList.add('weight');
      }
      added.append(toggle);
    }
    const remove = make('button', { textContent: `Remove GAN ${'ABCD'[place]}`, disabled: settings.gans.length < 2 });
    remove.addEventListener('click', () => {
      let last = place;  // of equal neighbours the first one continues
      while (JSON.stringify(settings.gans[last + 1]) === JSON.stringify(settings.gans[place])) last++;
      settings.gans.splice(last, 1);
      cards.splice(last, 1)[0].element.remove();
      showControls(); change();
    });
    const fold = (words, open, inside) => make('details', { open },
      make('summary', { textContent: `${words} of GAN ${'ABCD'[place]}` }), inside);
    const groups = Object.entries(schema.groups).map(
      ([name, words]) => fold(words, name === 'rules', boxes[name]));
    groups.splice(1, 0, fold('Penalties', Object.keys(gan.penalties).length > 0, added));
    return [...groups, make('p', {}, remove)];
  }

  // Rebuild the controls only if their number or kind changes.
  let form = '', shown = '';
  function showControls() {
    const now = JSON.stringify([settings.data, settings.gans.map((gan) => [gan.loss, Object.keys(gan.penalties).sort()])]);
    const values = JSON.stringify(settings);
    if (values === shown) return;
    const editing = document.activeElement, name = editing && editing.name;
    const owner = editing && editing.closest && editing.closest('.card');
    const place = owner ? cards.findIndex((card) => card.element === owner) : -1;
    if (now === form && editing && editing.type === 'range') { shown = values; return; }
    [form, shown] = [now, values];
    const open = cards.map((card) => [...card.element.querySelectorAll('details')].map((one) => one.open));
    sharedFields();
    while (cards.length > settings.gans.length) cards.pop().element.remove();
    settings.gans.forEach((gan, at) => {
      if (!cards[at]) {
        cards.push(new Pictures.Card(at));
        byId('gans').append(cards[at].element);
        cards[at].controls = cards[at].element.appendChild(make('div'));
      }
      const card = cards[at];
      card.place = at;
      card.name(Pictures.title(schema, gan));
      card.controls.replaceChildren(...ganFields(gan, at));
      [...card.element.querySelectorAll('details')].forEach((one, i) => {
        if (open[at] && open[at][i] !== undefined) one.open = open[at][i] || one.open && i > 0;
      });
    });
    if (name) {
      const root = place >= 0 && cards[place] ? cards[place].element : document;
      const again = root.querySelector(`[name="${name}"]`);
      if (again) again.focus({ preventScroll: true });
    }
    byId('add').disabled = settings.gans.length >= schema.most_gans;
  }

  // The drawing board

  const board = byId('board');
  const onLine = () => real && real.dimension === 1;
  function encode(points) {
    const bytes = points.flatMap((point) => point.map((v) => Math.round((Math.min(Math.max(v, -1), 1) + 1) / 2 * 255)));
    return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  }
  function decode(text) {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const points = [];
    for (let i = 0; i + 1 < bytes.length; i += 2) points.push([bytes[i] / 127.5 - 1, bytes[i + 1] / 127.5 - 1]);
    return points;
  }

  function drawBoard() {
    if (!real) return;
    board.classList.toggle('on-line', onLine());
    const { context, width, height } = Pictures.sharp(board);
    const ink = Pictures.palette();
    if (onLine()) {
      const values = stroke ? heights : real.density, most = stroke ? 1 : 1.35 * Math.max(...values, 1e-9);
      Pictures.trace(context, Array.from(values),
        (i, v) => [i / (values.length - 1) * width, height - 4 - v / most * (height - 12)], ink.real, 3, [8, 4]);
      return;
    }
    const mine = stroke ? drawn : null;
    Pictures.dots(context, mine ? mine.flat() : real.points, width, mine ? 1.2 : real.reach);
  }

  function at(event) {
    const box = board.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width * 2 - 1) * 1.2,
      -((event.clientY - box.top) / box.height * 2 - 1) * 1.2];
  }
  const bin = (x) => Math.min(Math.max(Math.floor((x / 1.2 + 1) / 2 * BINS), 0), BINS - 1);

  function putLine(from, to) {
    const [first, last] = [bin(from[0]), bin(to[0])], by = last >= first ? 1 : -1;
    for (let b = first; ; b += by) {
      const share = first === last ? 1 : (b - first) / (last - first);
      heights[b] = Math.min(Math.max((from[1] + (to[1] - from[1]) * share) / 2.4 + 0.5, 0), 1);
      if (b === last) break;
    }
  }
  function putPlane(from, to) {
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const count = Math.max(1, Math.floor(Math.hypot(dx, dy) / 0.025));
    for (let i = 1; i <= count && drawn.length < MOST_POINTS; i++) {
      const point = [from[0] + dx * i / count, from[1] + dy * i / count];
      if (point.every((v) => Math.abs(v) <= 1.05)) drawn.push(point);
    }
    if (drawn.length >= MOST_POINTS) say(`the drawing has the maximum of ${MOST_POINTS} points`);
  }

  // Points at equal quantiles of the drawn curve, as the server takes only points.
  function fromHeights() {
    const total = heights.reduce((a, b) => a + b, 0), points = [];
    if (total <= 0) return points;
    let below = 0, b = 0;
    for (let i = 0; i < 256; i++) {
      const share = (i + 0.5) / 256 * total;
      while (b < BINS - 1 && below + heights[b] < share) below += heights[b++];
      const x = ((b + (share - below) / Math.max(heights[b], 1e-9)) / BINS * 2 - 1) * 1.2;
      points.push([x, 0]);
    }
    return points;
  }

  board.addEventListener('pointerdown', (event) => {
    if (!settings) return;
    event.preventDefault();
    board.setPointerCapture(event.pointerId);
    stroke = at(event);
    if (onLine()) { heights = heights || new Array(BINS).fill(0); putLine(stroke, stroke); }
    else {
      drawn = settings.data === 'drawn' && settings.drawing ? decode(settings.drawing) : [];
      putPlane(stroke, stroke);
    }
    drawBoard();
  });
  board.addEventListener('pointermove', (event) => {
    if (!stroke) return;
    const next = at(event);
    if (onLine()) putLine(stroke, next);
    else if (Math.hypot(next[0] - stroke[0], next[1] - stroke[1]) < 0.025) return;
    else putPlane(stroke, next);
    stroke = next;
    drawBoard();
  });
  const lift = () => {
    if (!stroke) return;
    const points = onLine() ? fromHeights() : drawn;
    stroke = null;
    if (!points.length) { drawBoard(); return; }
    settings.data = onLine() ? 'drawn_line' : 'drawn';
    settings.drawing = encode(points);
    change();
  };
  board.addEventListener('pointerup', lift);
  board.addEventListener('pointercancel', lift);
  byId('clear').addEventListener('click', () => {
    drawn = []; heights = null;
    if (!settings) return;
    settings.drawing = '';
    real = { ...real, points: [], density: (real.density || []).map(() => 0) };
    stroke = null;
    drawBoard();
    say('draw in the picture of the real data');
  });

  // Messages of the server

  const MESSAGES = {
    hello(message) {
      schema = message.schema;
      byId('preset').replaceChildren(
        make('option', { value: '', textContent: 'Choose …' }),
        ...Object.entries(schema.presets).map(([name, one]) => make('option', { value: name, textContent: one.label })));
      openLink(location.hash);
    },
    compiling() { compiling = true; say('compiling …'); },
    settings(message) {
      compiling = false;
      document.body.dataset.compiled = message.compiled;
      if (real && real.dimension !== message.real.dimension) { heights = null; cards.forEach((card) => card.forget()); }
      real = message.real; held = JSON.stringify(message.settings);
      if (!waiting && (!asked || asked === held)) settings = message.settings;
      if (picture && picture.gans.length !== settings.gans.length) picture = null;
      history.replaceState(null, '', message.link ? `#${message.link}` : location.pathname);
      showControls();
      for (const id of ['play', 'step', 'reset', 'link']) byId(id).disabled = false;
      drawBoard(); showStatus();
    },
    refused(message) {
      compiling = false;
      if (!settings) { say(`${message.reason}; using the default settings`, true); openLink(''); return; }
      if (!waiting) { settings = JSON.parse(held); asked = shown = form = ''; showControls(); }
      say(message.reason, true);
    },
    ended(message) { ended = true; playing = false; say(message.reason, true); },
  };

  function receive(event) {
    if (typeof event.data === 'string') {
      const message = JSON.parse(event.data);
      MESSAGES[message.type](message);
      return;
    }
    const next = Pictures.unpack(event.data);
    send('seen', { number: next.number });
    document.body.dataset.compiled = next.compiled;
    if (!settings || next.gans.length !== settings.gans.length) return;
    if (picture) stepCount += Math.max(0, next.gans[0].step - picture.gans[0].step);
    picture = next; fresh = true;
    next.gans.forEach((look, place) => { if (cards[place]) cards[place].remember(look); });
    if (next.playing !== playing && !next.gans.some((look) => look.alive)) setPlaying(false);
    showStatus();
  }

  function paint(now) {
    if (fresh && picture && real && cards.length === picture.gans.length
        && ('manifold' in picture.gans[0]) === (real.dimension === 2)) {
      fresh = false;
      picture.gans.forEach((look, place) => cards[place].draw(real, look));
      document.body.dataset.drawn = ++drawCount;
    }
    if (now - since > 1000) {
      const seconds = (now - since) / 1000, made = drawCount - (paint.before || 0);
      byId('rate').textContent = playing ? `${Math.round(made / seconds)} pictures/s, ${Math.round(stepCount / seconds)} steps/s` : '';
      [paint.before, stepCount, since] = [drawCount, 0, now];
    }
    requestAnimationFrame(paint);
  }

  function redraw() { fresh = Boolean(picture); drawBoard(); }

  byId('play').addEventListener('click', () => { setPlaying(!playing); send(playing ? 'play' : 'pause'); });
  byId('step').addEventListener('click', () => { setPlaying(false); send('step'); });
  byId('reset').addEventListener('click', () => { cards.forEach((card) => card.forget()); send('reset'); });
  byId('link').addEventListener('click', async () => {
    try { await navigator.clipboard.writeText(location.href); say('link copied'); }
    catch { say('the link is in the address bar'); }
  });
  byId('preset').addEventListener('change', (event) => {
    const preset = schema.presets[event.target.value];
    if (preset) {
      settings = copy(preset.settings);
      cards.forEach((card) => card.forget());
      showControls(); change();
    }
    event.target.value = '';
  });
  byId('add').addEventListener('click', () => { settings.gans.push(copy(settings.gans[settings.gans.length - 1])); change(); });
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !settings) return;
    if (event.target.matches && event.target.matches('select, input[type=number]')) return;
    const id = { p: 'play', s: 'step', r: 'reset', l: 'link' }[event.key.toLowerCase()];
    if (id) byId(id).click();
  });
  addEventListener('hashchange', () => openLink(location.hash));
  addEventListener('resize', redraw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTimeout(redraw));

  socket = new WebSocket(`ws://${location.host}/socket`);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('message', receive);
  socket.addEventListener('close', () => {
    if (!ended) say('no connection to the server; start it again and reload this page', true);
    ended = true;
    for (const id of ['play', 'step', 'reset']) byId(id).disabled = true;
    setPlaying(false);
  });
  requestAnimationFrame(paint);
})();
