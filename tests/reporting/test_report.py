"""Reports by command, at the end of training and in a browser."""

import base64
import html
import io
import re
import shutil

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors
from gan_jax import reporting
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.runtime import writer
from gan_jax.training import train


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Return the folder of a small run on the digits, and its `train.Run`."""
    config = helpers.tiny_mlp()
    config.num_steps, config.log_every, config.eval_every = 12, 1, 4
    config.report = True
    folder = tmp_path_factory.mktemp('runs') / 'mine'
    return folder, train.train(config, folder)


def call(*arguments):
    """Run the command in this process; raises its errors."""
    report, parse = helpers.load_script('report', 'gan_jax/cli')
    report.main(parse(*map(str, arguments)))


def test_training_writes_a_complete_report(run):
    text = html.unescape((run[0] / reporting.NAME).read_text())
    for words in (
        '12 of 12', 'digits: 1,797 images of 32x32x1', 'the lowest of D',
        'among all 1,797', 'nearest_real', "D's loss", 'id="film-slider"',
        'All 7 pictures',
    ):
        assert words in text, words
    assert 'not finished' not in text


def test_report_from_the_folder_equals_the_one_of_training(run):
    def settled(text):
        return re.sub('Written by gan_jax [^<]*', '', text)

    left = (run[0] / reporting.NAME).read_text()
    assert settled(reporting.report(run[0])) == settled(left)


def test_report_is_written_where_the_key_is_on(tmp_path, capsys):
    config = helpers.tiny_mlp()
    images = helpers.random_images()
    train.train(config, tmp_path / 'without', images=images)
    assert not (tmp_path / 'without' / reporting.NAME).exists()
    assert reporting.NAME not in capsys.readouterr().out
    config.report = True
    train.train(config, tmp_path / 'with', images=images)
    assert (tmp_path / 'with' / reporting.NAME).exists()
    assert f'Report    {tmp_path}/with/report.html' in capsys.readouterr().out


def test_failed_report_is_a_warning_after_training(
    tmp_path, monkeypatch, capsys
):
    def fail(*args):
        raise RuntimeError('no\nluck with https://me:hunter2@host')

    monkeypatch.setattr(inspect_model, 'inspect', fail)
    config = helpers.tiny_mlp()
    config.report = True
    trained = train.train(config, tmp_path, images=helpers.random_images())
    assert int(trained.state.step) == 4
    assert not (tmp_path / reporting.NAME).exists()
    (line,) = [
        line for line in capsys.readouterr().out.splitlines()
        if 'report.html' in line
    ]
    assert line == 'warning: no report.html: no luck with https://***@host'


def test_run_on_arrays_has_no_neighbours_later(tmp_path):
    train.train(helpers.tiny_mlp(), tmp_path, images=helpers.random_images())
    looked = inspect_model.restore(tmp_path)
    assert list(looked.scored) == ['worst', 'median', 'best']
    assert looked.pairs is None
    assert 'given from Python' in looked.reasons['pairs']


def test_run_whose_checkpoints_are_gone_has_its_curves(run, tmp_path):
    folder = tmp_path / 'mine'
    shutil.copytree(run[0], folder)
    shutil.rmtree(folder / 'checkpoints')
    text = reporting.report(folder)
    assert 'The networks cannot be restored: no checkpoints in' in text
    assert 'All 7 pictures' in text and "D's loss" in html.unescape(text)


def test_half_finished_run_has_a_report(run, tmp_path):
    folder = tmp_path / 'mine'
    shutil.copytree(run[0], folder)
    path = folder / writer.METRICS
    path.write_text('\n'.join(path.read_text().splitlines()[:5])[:-9])
    (folder / 'samples' / '000012.png').write_bytes(b'cut')
    text = reporting.report(folder)
    assert '4 of 12 (not finished)' in text
    assert '1 of the lines of metrics cannot be read' in text


@pytest.mark.parametrize('name, words', [
    ('autoencoder', 'has no discriminator to score by'),
    ('adversarial', 'the lowest of D'),
])
def test_conditions_and_autoencoders_have_reports(name, words, tmp_path):
    config = helpers.tiny_mlp()
    config.report = True
    config.algorithm = name
    if name == 'adversarial':
        config.generator.condition = config.discriminator.condition = 'concat'
    labels = np.arange(32) % 3
    train.train(
        config, tmp_path, images=helpers.random_images(), labels=labels
    )
    text = (tmp_path / reporting.NAME).read_text()
    assert words in text and 'among all 32' in text
    assert ('and their reconstructions' in text) == (name == 'autoencoder')


def test_points_have_a_report(tmp_path):
    config = helpers.tiny_mlp()
    config.data.name, config.report = 'ring', True
    train.train(config, tmp_path)
    text = (tmp_path / reporting.NAME).read_text()
    assert 'ring: points in 2 dimensions' in text
    assert text.count('Points are shown all together') == 2


def test_command_writes_to_out_or_to_the_default(
    run, tmp_path, capsys, monkeypatch
):
    call(f'--workdir={run[0]}', f'--out={tmp_path / "x.html"}')
    assert '<h1>mine</h1>' in (tmp_path / 'x.html').read_text()
    assert f'Wrote {tmp_path / "x.html"} (' in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    call(f'--workdir={run[0]}', f'--workdir={run[0]}')
    assert '2 runs side by side' in (tmp_path / 'comparison.html').read_text()
    before = (run[0] / reporting.NAME).stat().st_mtime_ns
    call(f'--workdir={run[0]}')
    assert (run[0] / reporting.NAME).stat().st_mtime_ns > before


@pytest.mark.parametrize('arguments, code, words', [
    ((), 2, '--workdir is missing'),
    (('--workdir=',), 2, '--workdir is missing'),
    (('--workdir={}/none',), 5, 'is not the folder of a run'),
    (('--workdir={}', 'x'), 2, "unexpected argument 'x'"),
    (('--workdir={}', '--out={}/file/x.html'), 2, 'cannot be written'),
    (('--workdir={}', '--workdir={}/none'), 5, 'is not the folder of a run'),
    (('--workdir=no://where',), 2, 'is on an unknown file system'),
])
def test_mistakes_are_errors_of_one_line(arguments, code, words, run, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(run[0], folder)
    (folder / 'file').write_text('')
    with pytest.raises(errors.UserError, match=words) as caught:
        call(*(argument.format(folder) for argument in arguments))
    assert caught.value.exit_code == code
    assert '\n' not in str(caught.value)


def test_command_refuses_a_folder_without_metrics(tmp_path):
    done = helpers.run('gan_jax', 'report', f'--workdir={tmp_path}')
    assert done.returncode == 5 and done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: --workdir={tmp_path} is not the folder')


class Visit:
    """An opened page with its requests and console messages."""

    def __init__(self, browser, path, width, scheme='light', touch=False):
        """Open a file at a width."""
        self.page = browser.new_page(
            viewport={'width': width, 'height': 800}, color_scheme=scheme,
            has_touch=touch,
        )
        self.page.set_default_timeout(120_000)
        self.messages, self.urls = [], []
        self.page.on('console', lambda message: (
            self.messages.append(message.text)
        ))
        self.page.on('pageerror', lambda error: (
            self.messages.append(str(error))
        ))
        self.page.on(
            'request', lambda request: self.urls.append(request.url)
        )
        self.page.goto(path.as_uri())
        self.page.wait_for_selector('.plot .curve')

    def image(self):
        return self.page.get_attribute('#film-image', 'src')

    def close(self):
        """Check that there was no message and no request to a host."""
        assert self.messages == []
        assert {
            url.partition(':')[0] for url in self.urls
        } <= {'file', 'data', 'blob'}
        self.page.close()


def pixels(source):
    """Return the grey levels of a data URI."""
    data = base64.b64decode(source.removeprefix('data:image/webp;base64,'))
    with Image.open(io.BytesIO(data), formats=['WEBP']) as image:
        return np.asarray(image.convert('L'))


def is_of_step(source, samples, step):
    """Return whether a data URI is the picture of a step, made smaller."""
    with Image.open(samples / f'{step:06d}.png', formats=['PNG']) as image:
        picture = np.asarray(image)
    shown = pixels(source)
    factor = len(picture) // len(shown)
    return np.array_equal(shown.repeat(factor, 0).repeat(factor, 1), picture)


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1440])
def test_browser_shows_the_report(run, browser, width, scheme):
    visit = Visit(browser, run[0] / reporting.NAME, width, scheme)
    page = visit.page
    wide = 'document.documentElement.scrollWidth - innerWidth'
    assert page.evaluate(wide) <= 0
    for block in page.query_selector_all('summary'):
        block.click()
    page.wait_for_timeout(200)
    assert page.evaluate(wide) <= 0
    plots = page.query_selector_all('.plot')
    assert len(plots) == len(page.query_selector_all('.plot:has(.curve)')) > 5
    ink = page.evaluate(
        "getComputedStyle(document.querySelector('.plot text')).fill"
    )
    dark = sum(map(int, re.findall(r'\d+', ink)[:3])) > 400
    assert dark == (scheme == 'dark')
    visit.close()


@pytest.mark.slow
def test_slider_moves_the_film(run, browser):
    visit = Visit(browser, run[0] / reporting.NAME, 390)
    page, samples = visit.page, run[0] / 'samples'
    assert is_of_step(visit.image(), samples, 12)
    page.focus('#film-slider')
    page.keyboard.press('Home')
    assert is_of_step(visit.image(), samples, 0)
    assert page.inner_text('#film-step') == '0'
    page.keyboard.press('ArrowRight')
    assert is_of_step(visit.image(), samples, 2)
    assert page.get_attribute('#film-image', 'alt').endswith('at step 2')
    page.click('#film-play')
    page.locator('#film-step').filter(has_text='12').wait_for()
    assert is_of_step(visit.image(), samples, 12)
    visit.close()


def reach(page):
    """Return how many steps the first chart shows."""
    low, high = map(float, page.get_attribute('.chart', 'data-steps').split())
    return high - low


@pytest.mark.slow
def test_curves_zoom_by_mouse_and_by_keys(run, browser):
    visit = Visit(browser, run[0] / reporting.NAME, 1440)
    page = visit.page
    whole = reach(page)
    page.focus('.zoom button[data-act=in]')
    page.keyboard.press('Enter')
    assert reach(page) == pytest.approx(whole / 2)
    before = page.get_attribute('.chart', 'data-steps')
    page.click('.zoom button[data-act=left]')
    assert reach(page) == pytest.approx(whole / 2)
    assert page.get_attribute('.chart', 'data-steps') != before
    page.click('.zoom button[data-act=reset]')
    assert reach(page) == pytest.approx(whole)
    box = page.query_selector('.plot').bounding_box()
    middle = box['y'] + box['height'] / 2
    page.mouse.move(box['x'] + box['width'] / 4, middle)
    page.mouse.down()
    page.mouse.move(box['x'] + box['width'] / 2, middle, steps=5)
    page.mouse.up()
    assert reach(page) < whole / 2
    page.mouse.dblclick(box['x'] + box['width'] / 2, middle)
    assert reach(page) == pytest.approx(whole)
    visit.close()


@pytest.mark.slow
def test_hover_shows_the_values_of_all_curves_at_a_step(run, browser):
    visit = Visit(browser, run[0] / reporting.NAME, 1440)
    page = visit.page
    assert not page.is_visible('.tip')
    box = page.query_selector('.plot').bounding_box()
    middle = box['y'] + box['height'] / 2
    page.mouse.move(box['x'] + box['width'] - 20, middle)
    words = page.inner_text('.tip')
    last = load_run.load(run[0]).records[-1]
    assert words.startswith('step 12')
    for name, key in (("D's loss", 'd/loss'), ("G's loss", 'g/loss')):
        (value,) = re.findall(f'{name}: ([0-9.]+)', words)
        assert float(value) == pytest.approx(last[key], rel=1e-4)
    page.mouse.move(0, 0)
    assert not page.is_visible('.tip')
    visit.close()


@pytest.mark.slow
def test_touch_shows_values_until_a_touch_elsewhere(run, browser):
    visit = Visit(browser, run[0] / reporting.NAME, 390, touch=True)
    page = visit.page
    page.locator('.plot').first.tap()
    assert page.inner_text('.tip').startswith('step ')
    page.locator('h1').tap()
    assert not page.is_visible('.tip')
    visit.close()


@pytest.mark.slow
def test_drag_of_an_axis_moves_it(run, browser):
    visit = Visit(browser, run[0] / reporting.NAME, 1440)
    page = visit.page
    whole, before = reach(page), page.get_attribute('.chart', 'data-steps')
    page.locator('.chart').first.scroll_into_view_if_needed()
    box = page.query_selector('.plot').bounding_box()
    page.mouse.move(box['x'] + 300, box['y'] + box['height'] - 10)
    page.mouse.down()
    page.mouse.move(box['x'] + 200, box['y'] + box['height'] - 10, steps=3)
    page.mouse.up()
    assert reach(page) == pytest.approx(whole)
    assert page.get_attribute('.chart', 'data-steps') != before
    visit.close()


@pytest.mark.slow
def test_legend_switches_curves_and_the_axis_its_scale(run, browser):
    visit = Visit(browser, run[0] / reporting.NAME, 1440)
    page = visit.page
    chart = page.locator('.chart').first

    def shown():
        return [
            button.get_attribute('aria-pressed') == 'true'
            for button in chart.locator('.legend button').all()
        ]

    assert shown() == [True, True]
    first = chart.locator('.legend button').first
    first.press('Enter')
    assert shown() == [False, True]
    assert chart.locator('g .series-0').count() == 0
    first.press('Enter')
    first.dblclick()
    assert shown() == [True, False]
    first.dblclick()
    assert shown() == [True, True]
    curve = chart.locator('g .curve').first
    path = curve.get_attribute('d')
    log = chart.locator('[data-act=log]')
    pressed = log.get_attribute('aria-pressed')
    log.click()
    assert log.get_attribute('aria-pressed') != pressed
    assert curve.get_attribute('d') != path
    visit.close()


@pytest.mark.slow
def test_hostile_text_does_not_run(run, browser, tmp_path):
    folder = tmp_path / 'mine'
    shutil.copytree(run[0], folder)
    evil = '<img src=x onerror=alert(1)><script>alert(2)</script>'
    (folder / load_run.DIAGNOSIS).write_text(
        f'{{"level": "alarm", "text": "{evil}", "rule": "{evil}"}}\n'
    )
    with (folder / writer.METRICS).open('a') as file:
        file.write(f'{{"step": 13, "eval/{evil}": 1}}\n')
        file.write(f'{{"step": 14, "eval/{evil}": 2, "{evil}": 2}}\n')
    path = tmp_path / 'x.html'
    reporting.save(path, reporting.report(folder))
    visit = Visit(browser, path, 1440)
    assert visit.page.inner_text('.findings').count(evil) == 2
    assert visit.page.query_selector('img[src=x]') is None
    visit.close()


@pytest.mark.slow
def test_browser_shows_a_comparison(run, browser, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(run[0], other)
    path = tmp_path / 'both.html'
    reporting.save(path, reporting.comparison([run[0], other]))
    visit = Visit(browser, path, 390)
    page = visit.page
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    legend = page.text_content('.chart .legend')
    assert 'mine' in legend and 'other' in legend
    assert len(page.query_selector_all('#samples img')) == 4
    visit.close()
