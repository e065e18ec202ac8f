"""The lab in Chromium, as a user sees it."""

import re
import time

import pytest

from gan_jax.lab import recording
from gan_jax.lab import session as session_lib
from gan_jax.lab import settings as settings_lib

pytest.importorskip('websockets', reason="pip install -e '.[lab]'")
import test_lab_server  # noqa: E402

pytestmark = pytest.mark.slow
WIDE = 'document.documentElement.scrollWidth - innerWidth'
TIMEOUT = 60_000  # milliseconds, for a busy machine


@pytest.fixture(scope='module')
def address():
    with test_lab_server.serving() as (address, _):
        yield address


class Visit:
    """A tab, with its requests and console messages."""

    def __init__(self, browser, url, width=1440, scheme='light'):
        """Open a page at a width."""
        self.page = browser.new_page(
            viewport={'width': width, 'height': 900}, color_scheme=scheme
        )
        self.page.set_default_timeout(TIMEOUT)
        self.messages, self.urls = [], []
        self.page.on('console', lambda line: self.messages.append(line.text))
        self.page.on('pageerror', lambda e: self.messages.append(str(e)))
        self.page.on('request', lambda request: self.urls.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector('#play:enabled')
        self.page.wait_for_selector('.numbers dd')
        self.own = url.partition('#')[0]

    def number(self, term, place=0):
        """Return a number below a GAN's picture."""
        numbers = self.page.locator('.numbers').nth(place)
        row = numbers.locator('div', has=self.page.get_by_text(
            term, exact=True
        )).locator('dd')
        return float(re.sub('[ ,%]|of.*', '', row.inner_text()))

    def drawn(self):
        return int(self.page.get_attribute('body', 'data-drawn') or 0)

    def wait_for_step(self, least):
        self.wait_until(lambda: self.number('Step') >= least)

    def wait_for_link(self, part):
        self.wait_until(lambda: part in self.page.url)

    def wait_until(self, holds):
        """Poll in Python, as the page's policy forbids polling scripts."""
        end = time.monotonic() + TIMEOUT / 1000
        while not holds():
            assert time.monotonic() < end, self.page.inner_text('#status')
            self.page.wait_for_timeout(50)

    def __enter__(self):
        """Return the tab."""
        return self

    def __exit__(self, *error):
        """Assert that there were no errors and no requests to other hosts."""
        self.page.close()
        if error[0] is None:
            assert self.messages == []
            assert all(url.startswith((self.own, 'data:', 'blob:'))
                       for url in self.urls), self.urls


def stroke(page, canvas, points):
    """Draw with the mouse through points, given as shares of a canvas."""
    box = page.locator(canvas).bounding_box()
    for number, (x, y) in enumerate(points):
        page.mouse.move(
            box['x'] + x * box['width'], box['y'] + y * box['height'], steps=8
        )
        if not number:
            page.mouse.down()
    page.mouse.up()


def test_draw_play_change_the_loss_step_and_reset(browser, address):
    with Visit(browser, address) as visit, Visit(browser, address) as second:
        page = visit.page
        page.bring_to_front()
        stroke(page, '#board', [(0.2, 0.2), (0.8, 0.2), (0.5, 0.8)])
        visit.wait_for_link('drawing=')
        page.click('#play')
        visit.wait_for_step(30)
        began, first = time.monotonic(), visit.drawn()
        page.wait_for_timeout(3000)
        rate = (visit.drawn() - first) / (time.monotonic() - began)
        page.select_option('[name=loss]', 'hinge')
        visit.wait_for_link('0.loss=hinge')
        assert page.inner_text('.title') == 'GAN A: Hinge'
        reached = visit.number('Step')
        assert reached >= 30  # the networks were kept
        visit.wait_for_step(reached + 10)
        page.click('#play')
        page.wait_for_timeout(1500)
        still = visit.number('Step')
        page.click('#step')
        visit.wait_for_step(still + 1)
        assert visit.number('Step') == still + 1
        page.click('#reset')
        visit.wait_until(lambda: not visit.number('Step'))
        assert second.number('Step') == 0
        assert 'drawing' not in second.page.url
        second.page.click('#step')
        second.wait_for_step(1)
        assert rate >= 20, f'{rate:.1f} pictures a second'


def test_live_settings_change_while_it_plays(browser, address):
    with Visit(browser, address) as visit:
        page = visit.page
        page.click('#play')
        visit.wait_for_step(5)
        count = page.get_attribute('body', 'data-compiled')
        page.focus('[name=g_rate] + input[type=range]')
        for _ in range(5):
            page.keyboard.press('ArrowRight')
        visit.wait_for_link('0.g_rate=')
        visit.wait_for_step(visit.number('Step') + 10)
        assert page.get_attribute('body', 'data-compiled') == count
        page.fill('[name=seed]', '5')
        page.keyboard.press('Tab')
        visit.wait_for_link('seed=5')


def slider(page, name, share):
    """Drag the slider of a GAN's setting to a share of its length."""
    track = page.locator(f'[name={name}] + input[type=range]')
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    y = box['y'] + box['height'] / 2
    page.mouse.move(box['x'] + box['width'] / 2, y)
    page.mouse.down()
    page.mouse.move(box['x'] + share * box['width'], y, steps=4)
    page.mouse.up()


def test_each_slider_changes_its_setting(browser, address):
    with Visit(browser, address) as visit:
        page, values = visit.page, {}
        for name, share in (('g_rate', 0.3), ('d_rate', 0.7), ('g_rate', 0.9)):
            slider(page, name, share)
            values[name] = float(page.input_value(f'[name={name}]'))
            visit.wait_until(lambda: all(
                f'0.{name}={value}&' in f'{page.url}&'
                for name, value in values.items()
            ))
            page.wait_for_timeout(300)
        page.fill('[name=g_rate]', '0.25')
        page.keyboard.press('Tab')
        visit.wait_for_link('0.g_rate=0.25')
        assert f'0.d_rate={values["d_rate"]}' in page.url


@pytest.mark.parametrize('patience', [60, 5000])
def test_changes_before_the_servers_answer_are_kept(
    browser, address, monkeypatch, patience
):
    change = session_lib.Session.change

    def slowly(session, settings):
        time.sleep(1)
        change(session, settings)

    with Visit(browser, address) as visit:
        page = visit.page
        monkeypatch.setattr(session_lib.Session, 'change', slowly)
        page.evaluate("""patience => {
            const later = setTimeout;
            setTimeout = (call, time) => later(call, time && patience);
        }""", patience)
        page.fill('[name=seed]', '5')
        page.keyboard.press('Tab')
        page.wait_for_timeout(100)
        for name in ('g_rate', 'd_rate'):
            page.focus(f'[name={name}] + input[type=range]')
            page.keyboard.press('ArrowRight')
            visit.wait_for_link('seed=5')  # the first answer
        for part in ('0.g_rate=0.00112', '0.d_rate=0.00112'):
            visit.wait_for_link(part)


def test_keys_and_focus(browser, address):
    with Visit(browser, address) as visit:
        page = visit.page
        page.keyboard.press('s')
        visit.wait_for_step(1)
        page.keyboard.press('p')
        page.locator('#play').filter(has_text='Pause').wait_for()
        visit.wait_for_step(9)
        page.keyboard.press('p')
        page.locator('#play').filter(has_text='▶ Play').wait_for()
        page.focus('[name=seed]')
        page.keyboard.press('p')  # typing, not playing
        assert '▶' in page.inner_text('#play')
        page.evaluate('document.activeElement.blur()')
        page.keyboard.press('r')
        visit.wait_until(lambda: not visit.number('Step'))
        unnamed = page.evaluate("""[...document.querySelectorAll(
            'button, input, select')].filter((one) => !one.innerText
            && !one.ariaLabel && !(one.labels && one.labels.length)).length""")
        assert unnamed == 0


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1440])
@pytest.mark.parametrize('preset', settings_lib.PRESETS)
def test_page_fits_its_window(browser, address, preset, width, scheme):
    link = settings_lib.to_link(settings_lib.PRESETS[preset][1])
    with Visit(browser, f'{address}#{link}', width, scheme) as visit:
        page = visit.page
        page.evaluate(
            "for (const one of document.querySelectorAll('details')) "
            'one.open = true'
        )
        assert page.evaluate(WIDE) <= 0
        page.click('#step')
        visit.wait_for_step(1)
        ground = page.evaluate('getComputedStyle(document.body).background')
        dark = sum(map(int, re.findall(r'\d+', ground)[:3])) < 200
        assert dark == (scheme == 'dark')


def test_curve_drawn_in_1d_becomes_the_data(browser, address):
    with Visit(browser, address) as visit:
        page = visit.page
        page.select_option('#preset', 'line')
        page.get_by_text('Mean |D − ½|', exact=True).wait_for()
        stroke(page, '#board', [(0.1, 0.95), (0.3, 0.1), (0.9, 0.95)])
        visit.wait_for_link('data=drawn_line')
        page.click('#step')
        visit.wait_for_step(1)


def test_gans_are_added_and_removed(browser, address):
    with Visit(browser, address) as visit:
        page = visit.page
        for _ in range(2):
            page.click('#step')
        visit.wait_for_step(2)
        page.click('#add')
        page.locator('.card').nth(1).wait_for()
        page.locator('.card').nth(1).locator('[name=loss]').select_option(
            'wasserstein'
        )
        visit.wait_for_link('1.loss=wasserstein')
        page.click('#step')
        visit.wait_for_step(3)
        page.locator('.card').nth(0).get_by_text('Remove GAN').click()
        page.get_by_text('GAN A: Wasserstein').wait_for()
        assert page.locator('.card').count() == 1
        visit.wait_until(lambda: 'gans=' not in page.url)
        page.locator('.card [name=g_rate]').fill('0.25')
        page.keyboard.press('Tab')
        visit.wait_for_link('0.g_rate=0.25')
        visit.wait_until(lambda: visit.number('Step') == 1)


def test_recorded_page_opens_from_disk(browser, tmp_path):
    path = tmp_path / 'page.html'
    recording.record(path, settings_lib.PRESETS['beside'][1], 40, 5)
    for width, scheme in ((390, 'dark'), (1440, 'light')):
        with Visit(browser, path.as_uri(), width, scheme) as visit:
            page = visit.page
            assert page.evaluate(WIDE) <= 0
            assert [visit.number('Step', place) for place in (0, 1)] == [40] * 2
            assert visit.number('Modes found', 1) <= 8
            page.focus('#slider')
            page.keyboard.press('Home')
            assert visit.number('Step') == 0
            page.keyboard.press('s')
            assert visit.number('Step') == 10
            page.keyboard.press('p')
            visit.wait_for_step(40)
            titles = page.locator('.title').all_inner_texts()
            assert titles == [
                'GAN A: Wasserstein + Gradient penalty', 'GAN B: Non-saturating'
            ]
