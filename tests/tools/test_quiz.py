"""The quiz: its page, tested in a browser, and the count of answers."""

import base64
import csv
import functools
import html.parser
import io
import json
import os
import shutil
import time

import numpy as np
from PIL import Image
import pytest
import scipy.stats

import helpers
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.runtime import writer
from gan_jax.tools import quiz as quiz_lib

HEAD = 'quiz,run,step,weights,pair,real,answer,confidence\n'
BAD_CSVS = {  # text, line, part of the error message
    'empty': ('', 1, "no column 'run'"),
    'column': ('quiz,pair,real\n', 1, "no column 'run'"),
    'side': (f'{HEAD}a,r,1,ema,1,left,up,2\n', 2, "answer='up'"),
    'key': (f'{HEAD}a,r,1,ema,1,,left,2\n', 2, "real=''"),
    'level': (f'{HEAD}a,r,1,ema,1,left,left,4\n', 2, "confidence='4'"),
    'short': (f'{HEAD}a,r,1,ema,1,left,left,1\na,r,1\n', 3, 'has fewer cells'),
    'long': (f'{HEAD}a,r,1,ema,1,left,left,1,9\n', 2, 'has more cells'),
    'twice': (f'{HEAD}' + 'a,r,1,ema,1,left,left,1\n' * 2, 3, 'twice'),
    'quote': (f'{HEAD}a,"r"x,1,ema,1,left,left,1\n', 2, 'expected after'),
}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run whose data are the digits, with a split held out."""
    config = helpers.tiny_mlp()
    config.data.test_share = 0.1
    folder = tmp_path_factory.mktemp('r') / 'a,<run>'  # to be quoted
    return helpers.untrained(config, folder)


@functools.cache
def held_out():
    request = sources.Request('digits', split='test', test_share=0.1)
    return sources.load(request).images


def page(run, **changes):
    return quiz_lib.page(run.workdir, run.algorithm, run.state, **changes)


class Reader(html.parser.HTMLParser):
    """Parser that collects the data and all links of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self._in_data, self.data = [], False, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._in_data = attributes.get('id') == 'data'
        self.links += [
            attributes[name] for name in ('src', 'href') if name in attributes
        ]

    def handle_data(self, text):
        if self._in_data:
            self.data, self._in_data = json.loads(text), False


def pixels(uri):
    kind, _, content = uri.partition(',')
    assert kind == 'data:image/png;base64'
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return np.asarray(picture)[..., None]


def test_each_pair_is_one_real_and_one_fake_image(run):
    quiz = Reader(page(run, count=30)).data
    assert len(quiz['pairs']) == 30
    assert quiz['data'].endswith('test') and quiz['run'] == 'a,<run>'
    fakes = writer.to_uint8(run.sample([p['fake_seed'] for p in quiz['pairs']]))
    for pair, fake in zip(quiz['pairs'], fakes):
        other = {'left': 'right', 'right': 'left'}[pair['real']]
        np.testing.assert_array_equal(
            pixels(pair[pair['real']]), held_out()[pair['real_number']]
        )
        np.testing.assert_array_equal(pixels(pair[other]), fake)
    assert len({pair['real_number'] for pair in quiz['pairs']}) == 30
    assert 5 < sum(pair['real'] == 'left' for pair in quiz['pairs']) < 25


def test_all_choices_depend_on_the_seed_alone(run):
    assert page(run, count=4) == page(run, count=4)
    one, other = (Reader(page(run, count=4, seed=s)).data for s in (0, 1))
    assert one['id'] != other['id']
    assert [p['fake_seed'] for p in one['pairs']] != [
        p['fake_seed'] for p in other['pairs']
    ]


def test_page_loads_nothing_from_elsewhere(run):
    reader = Reader(page(run, count=2))
    assert reader.links == ['data:,']
    text = page(run, count=2)
    assert 'http' not in text.replace('http-equiv', '')


def test_too_few_images_and_points_are_refused(run, tmp_path):
    with pytest.raises(errors.ConfigError, match='--pairs=999'):
        page(run, count=999)
    config = helpers.tiny_mlp()
    config.data.name = 'ring'
    with pytest.raises(errors.ConfigError, match='not points'):
        page(helpers.untrained(config, tmp_path))


def test_interval_equals_scipys_wilson_interval():
    for hits, count in ((0, 3), (3, 3), (7, 20), (1, 1000)):
        expected = scipy.stats.binomtest(hits, count).proportion_ci(
            method='wilson'
        )
        np.testing.assert_allclose(
            quiz_lib.wilson(hits, count), expected, rtol=1e-5, atol=1e-9
        )


def answers_csv(lines, run='dcgan'):
    return HEAD + ''.join(
        f'q,{run},4,ema,{number},{real},{answer},{confidence}\n'
        for number, (real, answer, confidence) in enumerate(lines)
    )


def test_fakes_taken_for_real_are_counted_by_confidence(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text(answers_csv([
        ('left', 'left', 1), ('left', 'right', 1), ('right', 'left', 1),
        ('right', 'right', 3),
    ]))
    (result,) = quiz_lib.summarize(quiz_lib.read_answers(path))
    assert result['of'] == 'dcgan at step 4 (ema)'
    counts = [(r['answers'], r['fooled'], r['share']) for r in result['rows']]
    assert counts == [(3, 2, 2 / 3), (0, 0, None), (1, 0, 0.0), (4, 2, 0.5)]
    assert (result['rows'][3]['low'], result['rows'][3]['high']) == (
        quiz_lib.wilson(2, 4)
    )


def test_command_counts_several_files(tmp_path):
    names = {'one': 'dcgan', 'two': 'dcgan', 'three': 'wgan'}
    for name, of in names.items():
        (tmp_path / f'{name}.csv').write_text(answers_csv(
            [('left', 'right', 2), ('right', 'right', 2)], of
        ))
    bad = tmp_path / 'bad.csv'
    bad.write_text(f'{HEAD}a,r,1,ema,1,left,up,2\n')
    command = ['gan_jax', 'evaluate', '--human=one.csv,two.csv,three.csv']
    results = helpers.commands([
        [*command, '--out=counted.json'], [*command, '--workdir=x'],
        ['gan_jax', 'evaluate', f'--human=one.csv,{bad}'],
        ['gan_jax', 'evaluate', '--human=absent.csv'],
    ], tmp_path)
    assert [code for code, _, _ in results] == [0, 2, 4, 4], results
    lines = results[0][1].splitlines()
    assert lines[0].startswith('Fakes of dcgan at step 4 (ema)')
    assert lines[5].split()[:5] == ['all', '4', '2', '50.0', '%']
    assert lines[6].startswith('Fakes of wgan')
    kept = json.loads((tmp_path / 'counted.json').read_text())
    assert [each['rows'][3]['answers'] for each in kept] == [4, 2]
    assert '--human cannot be combined' in results[1][2]
    assert f'{bad}, line 2: ' in results[2][2]
    for _, _, error in results[1:]:
        assert len(error.splitlines()) == 1 and error.startswith('error: ')


@pytest.mark.parametrize('name', BAD_CSVS)
def test_error_of_a_bad_csv_has_file_and_line(name, tmp_path):
    text, line, says = BAD_CSVS[name]
    path = tmp_path / f'{name}.csv'
    path.write_text(text)
    with pytest.raises(errors.DataError) as caught:
        quiz_lib.read_answers(path)
    assert str(caught.value).startswith(f'{path}, line {line}: ')
    assert says in str(caught.value)


@pytest.mark.parametrize('make, says', [
    (os.mkfifo, 'is not a regular file'),
    (lambda path: path.symlink_to('/dev/zero'), 'is not a regular file'),
    (lambda path: path.mkdir(), 'is not a regular file'),
    (lambda path: path.write_bytes(bytes(quiz_lib.MAX_BYTES + 1)), 'more than'),
])
def test_unsuitable_files_are_refused(make, says, tmp_path):
    make(tmp_path / 'a.csv')
    with pytest.raises(errors.DataError, match=says):
        quiz_lib.read_answers(tmp_path / 'a.csv')


def test_answers_of_many_runs_are_counted_quickly():
    answers = [
        quiz_lib.Answer(str(number % 20_000), True, 1)
        for number in range(40_000)
    ]
    began = time.monotonic()
    assert len(quiz_lib.summarize(answers)) == 20_000
    assert time.monotonic() - began < 5


def test_binary_and_empty_csvs_are_refused(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(errors.DataError, match='is not UTF-8 text'):
        quiz_lib.read_answers(path)
    path.write_text(HEAD)
    with pytest.raises(errors.DataError, match='holds no answers'):
        quiz_lib.read_answers(path)


@pytest.fixture
def open_page(run, tmp_path):
    """Return a function that opens the quiz in Chromium at a width."""
    sync_api = pytest.importorskip('playwright.sync_api')
    chromium = shutil.which('chromium')
    if not chromium:
        pytest.skip('chromium is not installed')
    path = tmp_path / 'quiz.html'
    path.write_text(page(run, count=4))
    complaints = []
    with sync_api.sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=chromium, args=['--no-sandbox']
        )

        def open_at(width, scheme='light', height=844):
            context = browser.new_context(
                viewport={'width': width, 'height': height},
                color_scheme=scheme,
            )
            tab = context.new_page()
            tab.on('console', lambda m: complaints.append(m.text))
            tab.on('pageerror', lambda e: complaints.append(str(e)))
            tab.on('request', lambda r: complaints.append(r.url)
                   if r.url.partition(':')[0] not in ('file', 'data', 'blob')
                   else None)
            tab.goto(path.as_uri())
            return tab

        yield open_at
        assert complaints == []
        browser.close()


@pytest.mark.slow
def test_answers_are_scored_stored_and_saved(open_page, run, tmp_path):
    tab = open_page(390)
    pairs = Reader(page(run, count=4)).data['pairs']
    real = [pair['real'] for pair in pairs]
    fake = [{'left': 'right', 'right': 'left'}[side] for side in real]
    assert tab.locator('[data-sure="1"]').is_disabled()
    tab.click(f'#{real[0]}')  # right, by touch
    tab.click('[data-sure="3"]')
    assert tab.inner_text('#where') == 'Pair 2 of 4'
    tab.keyboard.press('3')  # nothing is chosen yet
    assert tab.inner_text('#where') == 'Pair 2 of 4'
    tab.keyboard.press(f'Arrow{fake[1].title()}')  # wrong, by keyboard
    tab.keyboard.press('1')
    tab.reload()
    assert tab.inner_text('#where') == 'Pair 3 of 4'  # kept
    for number in (2, 3):
        tab.keyboard.press(f'Arrow{real[number].title()}')
        tab.keyboard.press('2')
    assert 'the real one in 3 of 4 pairs' in tab.inner_text('#score')
    with tab.expect_download() as waiting:
        tab.click('#save')
    saved = tmp_path / 'answers.csv'
    waiting.value.save_as(saved)
    assert saved.read_text() == tab.text_content('#csv')
    rows = list(csv.DictReader(io.StringIO(saved.read_text())))
    assert [row['real'] for row in rows] == real
    assert [row['answer'] for row in rows] == [
        real[0], fake[1], real[2], real[3]
    ]
    assert [row['confidence'] for row in rows] == ['3', '1', '2', '2']
    assert [int(row['fake_seed']) for row in rows] == [
        pair['fake_seed'] for pair in pairs
    ]
    (result,) = quiz_lib.summarize(quiz_lib.read_answers(saved))
    assert result['of'] == 'a,<run> at step 4 (ema)'
    assert [(r['answers'], r['fooled']) for r in result['rows']] == [
        (1, 1), (2, 0), (1, 0), (4, 1)
    ]
    wrong = tab.locator('#confusion td').all_inner_texts()
    table = np.array(wrong, int).reshape(2, 2)
    assert table.trace() == 3 and table.sum() == 4
    assert table[('left', 'right').index(real[1])].sum() == real.count(real[1])
    tab.click('#again')
    assert tab.inner_text('#where') == 'Pair 1 of 4'


@pytest.mark.slow
@pytest.mark.parametrize('width', [390, 1440])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_page_fits_its_screen(width, scheme, open_page):
    tab = open_page(width, scheme)
    assert tab.evaluate(
        'document.documentElement.scrollWidth <= window.innerWidth'
    )
    for name in ('#left', '#right', '[data-sure="3"]'):
        box = tab.locator(name).bounding_box()
        assert box['height'] >= 44 and box['y'] + box['height'] <= 844
    ground = tab.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (ground == 'rgb(255, 255, 255)') == (scheme == 'light')


@pytest.mark.slow
def test_stopping_early_shows_the_score_so_far(open_page):
    tab = open_page(390)
    assert tab.locator('#stop').is_hidden()
    tab.keyboard.press('ArrowLeft')
    tab.keyboard.press('2')
    tab.click('#stop')
    assert 'of 1 pairs' in tab.inner_text('#score')
    tab.click('#back')
    assert tab.inner_text('#where') == 'Pair 2 of 4'
