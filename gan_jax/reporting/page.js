'use strict';
// The page of a report: charts, sizes of pictures, the film of samples.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  document.querySelectorAll('.chart').forEach((figure) =>
    new Chart(figure, data.charts[figure.dataset.chart]));

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
  data.film.at(-1).uri = image.src;

  function show() {
    const frame = data.film[slider.value];
    image.src = frame.uri;
    image.classList.toggle('pixelated', frame.pixelated);
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
