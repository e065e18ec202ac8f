'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const plots = [...document.querySelectorAll('.plot')];
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const touch = matchMedia('(pointer: coarse)');
  const color = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Figures come without colours: these are the page's, light or dark.
  function painted(trace) {
    const own = color(`--series-${trace.meta.series}`);
    return {...trace, line: {...trace.line, color: own}, marker: {color: own}};
  }

  function axis(own) {
    return {
      automargin: true, gridcolor: color('--line'), zerolinecolor: color('--line'),
      linecolor: color('--line'), ...own,
    };
  }

  function draw(element) {
    const {traces, layout} = data.plots[element.dataset.plot];
    Plotly.react(element, traces.map(painted), {
      ...layout,
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
      font: {color: color('--ink'), family: 'system-ui, sans-serif', size: 13},
      paper_bgcolor: color('--ground'), plot_bgcolor: color('--ground'),
      hoverlabel: {bgcolor: color('--raised'), bordercolor: color('--line'), font: {color: color('--ink')}},
      hovermode: 'x unified',
      dragmode: touch.matches ? false : 'zoom', // a finger scrolls the page
      legend: {orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom'},
      margin: {l: 10, r: 10, t: 10, b: 10},
      showlegend: traces.length > 1,
    }, {responsive: true, displayModeBar: false, displaylogo: false});
  }

  const visible = (element) => element.offsetParent !== null;
  const drawn = (element) => element.classList.contains('js-plotly-plot');
  const drawAll = () => plots.filter(visible).forEach(draw);
  drawAll();
  dark.addEventListener('change', drawAll);
  document.querySelectorAll('details').forEach((block) =>
    block.addEventListener('toggle', () => plots
      .filter((element) => block.contains(element) && visible(element) && !drawn(element))
      .forEach(draw)));

  // The range of steps, by buttons: for keys and fingers.
  const moves = {
    in: (low, high) => [low + (high - low) / 4, high - (high - low) / 4],
    out: (low, high) => [low - (high - low) / 2, high + (high - low) / 2],
    left: (low, high) => [low - (high - low) / 4, high - (high - low) / 4],
    right: (low, high) => [low + (high - low) / 4, high + (high - low) / 4],
  };
  document.querySelectorAll('.zoom button').forEach((button) =>
    button.addEventListener('click', () => {
      const element = button.closest('figure').querySelector('.plot');
      const move = moves[button.dataset.act];
      Plotly.relayout(element, move
        ? {'xaxis.range': move(...element._fullLayout.xaxis.range)}
        : {'xaxis.autorange': true, 'yaxis.autorange': true});
    }));

  // Pictures that fit are shown at full size already.
  const sizes = [...document.querySelectorAll('.size')];
  sizes.forEach((button) => button.addEventListener('click', () => {
    const full = button.previousElementSibling.classList.toggle('full');
    button.setAttribute('aria-pressed', full);
  }));
  const offer = () => sizes.forEach((button) => {
    const frame = button.previousElementSibling;
    button.hidden = frame.querySelector('img').width > 0 &&
      +frame.querySelector('img').getAttribute('width') <= frame.clientWidth;
  });
  offer();
  window.addEventListener('resize', offer);

  const slider = document.getElementById('film-slider');
  if (!slider) return;
  const image = document.getElementById('film-image');
  const play = document.getElementById('film-play');
  let timer = null;

  function show() {
    const frame = data.film[slider.value];
    image.src = frame.uri;
    image.alt = frame.alt;
    slider.setAttribute('aria-valuetext', `step ${frame.step}`);
    document.getElementById('film-step').textContent = frame.step.toLocaleString('en');
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = 'Play';
  }

  function next() {
    if (+slider.value >= data.film.length - 1) return stop();
    slider.value = +slider.value + 1;
    show();
  }

  slider.addEventListener('input', () => { stop(); show(); });
  play.addEventListener('click', () => {
    if (timer) return stop();
    if (+slider.value >= data.film.length - 1) slider.value = 0;
    show();
    play.textContent = 'Pause';
    timer = setInterval(next, Math.max(60, 6000 / data.film.length));
  });
})();
