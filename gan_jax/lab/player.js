// Player of a recording: the slider chooses a picture.
'use strict';

(() => {
  const byId = (id) => document.getElementById(id);
  const { settings, schema, link, real, pictures } = JSON.parse(byId('data').textContent);
  const frames = pictures.map((text) => Pictures.unpack(
    Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer));
  const slider = byId('slider'), play = byId('play');
  let playing = false, last = 0;

  const cards = settings.gans.map((gan, place) => {
    const card = new Pictures.Card(place);
    card.name(Pictures.title(schema, gan));
    const summary = document.createElement('p');
    summary.className = 'aside';
    const weights = Object.entries(gan.penalties).map(([name, weight]) => `weight of ${name.replaceAll('_', ' ')} ${weight}`);
    summary.textContent = [...Pictures.words(schema.gan, gan, ['g_rate', 'd_rate', 'd_steps']), ...weights].join('; ');
    card.element.append(summary);
    byId('gans').append(card.element);
    return card;
  });
  byId('summary').textContent = Pictures.words(schema.settings, settings, ['data', 'seed', 'batch_size']).join('; ');
  byId('command').textContent = `python -m gan_jax lab --record=page.html --link='${link}'`;
  slider.max = pictures.length - 1;

  function show() {
    const number = Number(slider.value);
    cards.forEach((card, place) => {
      card.forget();
      for (const frame of frames.slice(0, number + 1)) card.remember(frame.gans[place]);
      card.draw(real, frames[number].gans[place]);
    });
    byId('status').textContent = `step ${frames[number].gans[0].step.toLocaleString('en')}`;
  }

  function setPlaying(value) {
    playing = value;
    play.textContent = playing ? '❚❚ Pause' : '▶ Play';
  }

  function tick(now) {
    if (playing && now - last > 80) {
      last = now;
      if (Number(slider.value) >= pictures.length - 1) setPlaying(false);
      else { slider.value = Number(slider.value) + 1; show(); }
    }
    requestAnimationFrame(tick);
  }

  play.addEventListener('click', () => {
    if (!playing && Number(slider.value) >= pictures.length - 1) slider.value = 0;
    setPlaying(!playing); show();
  });
  byId('step').addEventListener('click', () => { slider.value = Number(slider.value) + 1; show(); });
  slider.addEventListener('input', show);
  addEventListener('resize', show);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'p') play.click();
    if (event.key === 's') byId('step').click();
  });
  slider.value = pictures.length - 1;
  show();
  requestAnimationFrame(tick);
})();
