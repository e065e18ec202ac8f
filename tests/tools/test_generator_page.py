"""The page of a generator in Chromium: the samples of JAX, no request."""

import base64
import io
import json
import re

import jax
import numpy as np
from PIL import Image
import pytest

import conftest
import helpers
import test_export
import test_export_onnx
from gan_jax.config import recipes
from gan_jax.tools import export
from gan_jax.tools import export_translation
from gan_jax.tools import generator_page
from gan_jax.tools import graph

TIMEOUT = 60_000  # milliseconds, for a busy machine
LEAST_SPEED = 10  # samples a second of the default run's generator


def page(run):
    """Return the page of a run, as text."""
    folder = run.workdir.parent / 'out'
    export.write(
        folder, run.workdir, run.algorithm, run.state, formats=['page']
    )
    assert 'generator.html' in (folder / 'README.md').read_text()
    return folder / 'generator.html'


@pytest.fixture
def opened(browser):
    """Return a function that opens a file; no request, error or message."""
    tabs, seen = [], []

    def visit(path, width=1200):
        tab = browser.new_page(viewport={'width': width, 'height': 900})
        tabs.append(tab)
        tab.set_default_timeout(TIMEOUT)
        tab.on('console', lambda line: seen.append(line.text))
        tab.on('pageerror', lambda error: seen.append(str(error)))
        tab.on('request', lambda request: seen.extend(
            [request.url] * (request.url != f'file://{path}')
        ))
        tab.goto(f'file://{path}')
        tab.wait_for_selector('#check[data-good]')
        return tab

    yield visit
    for tab in tabs:
        tab.close()
    assert seen == []


def pixels(tab, selector):
    """Return what a canvas shows, uint8 [H, W, 4]."""
    url = tab.eval_on_selector(selector, 'canvas => canvas.toDataURL()')
    content = base64.b64decode(url.partition(',')[2])
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert('RGBA'))


def shown(samples):
    """Return a sample as the page shows it, uint8 [H, W, 3]."""
    levels = np.round(np.asarray(samples) * 127.5 + 127.5).clip(0, 255)
    return np.broadcast_to(levels, (*levels.shape[:2], 3)).astype(np.uint8)


def change(tab, selector, value, event='change'):
    tab.eval_on_selector(selector, '''(element, [value, event]) => {
        element.value = value; element['on' + event](); }''', [value, event])


@pytest.mark.parametrize('name', [
    name for name in test_export.RUNS if name != 'pose_decoder'
])
def test_page_has_the_samples_of_the_run(name, opened, tmp_path):
    config, shape = test_export.configure(name)
    data = {} if shape is None else {
        'images': helpers.random_images(32, shape),
        'labels': test_export.LABELS,
    }
    run = helpers.untrained(config, tmp_path / 'run', **data)
    tab = opened(page(run))
    assert tab.get_attribute('#check', 'class') == 'good', tab.inner_text(
        '#check'
    )
    assert tab.is_visible('#classes') == (name == 'conditional')
    assert tab.is_hidden('#styles')
    if name == 'points':
        assert pixels(tab, '#image')[..., 3].any()
        return
    for seed in (0, 5):
        change(tab, '#seed', seed)
        expected = shown(run.sample([seed], labels=[0])[0] if (
            name == 'conditional') else run.sample([seed])[0])
        assert abs(
            pixels(tab, '#image')[..., :3].astype(int) - expected
        ).max() <= 1
    change(tab, '#other', 7)
    change(tab, '#way', 1, 'input')
    last = pixels(tab, '#strip canvas:last-child')
    np.testing.assert_array_equal(pixels(tab, '#image'), last)
    assert (last != pixels(tab, '#strip canvas:first-child')).any()
    change(tab, '#seed', 0)
    ends = []
    for value in (-1, 1):
        for number in range(1, run.algorithm.latent_size + 1):
            change(tab, f'#sliders label:nth-child({number}) input', value,
                   'input')
        ends.append(pixels(tab, '#image'))
    assert (ends[0] != ends[1]).any()
    if name == 'conditional':
        change(tab, '#label', 1)
        change(tab, '#seed', 5)
        expected = shown(run.sample([5], labels=[1])[0])
        assert abs(
            pixels(tab, '#image')[..., :3].astype(int) - expected
        ).max() <= 1


def test_page_of_styles_truncates(opened, tmp_path):
    gan, state = helpers.styled_gan()
    traced = graph.trace(*export.generator(gan, state))
    path = tmp_path / 'page.html'
    path.write_text(generator_page.build(
        traced, gan, gan.weights(state, 'ema'), title='a', about='b',
        shape=helpers.SHAPE, classes=[],
    ))
    tab = opened(path)
    assert tab.get_attribute('#check', 'class') == 'good'
    first = pixels(tab, '#image')
    change(tab, '#truncation', 0, 'input')  # the mean of w, whatever z is
    mean = pixels(tab, '#image')
    change(tab, '#seed', 3)
    assert (first != mean).any()
    np.testing.assert_array_equal(pixels(tab, '#image'), mean)


@pytest.mark.parametrize('damage', ['weights', 'z'])
def test_check_sees_damage(damage, opened, tmp_path):
    config, shape = test_export.configure('images')
    run = helpers.untrained(
        config, tmp_path / 'run', helpers.random_images(32, shape)
    )
    path = page(run)
    text = path.read_text()
    model = json.loads(re.search('id="model">(.*?)</script>', text)[1])
    if damage == 'weights':
        largest = max(
            model['graph']['constants'].values(), key=lambda c: len(c['data'])
        )
        largest['data'] = generator_page.pack(
            np.full(largest['shape'], 0.1, np.float32)
        )['data']
    else:
        model['check']['seeds'][1] = 2
    path.write_text(re.sub(
        '(id="model">).*?(</script>)', lambda found: found[1] + json.dumps(
            model) + found[2], text
    ))
    tab = opened(path)
    assert tab.get_attribute('#check', 'class') == 'bad'
    assert 'failed' in tab.inner_text('#check')


def test_every_operator_has_the_values_of_jax(opened, tmp_path):
    """Each function of the ONNX tests, and each family, in one page."""
    cases = {
        **{name: (function, {'x': test_export_onnx.X})
           for name, function in test_export_onnx.FUNCTIONS.items()},
        **{name: test_export_onnx.family(name)
           for name in test_export_onnx.FIELDS},
    }
    gan, state = helpers.styled_gan()
    path = tmp_path / 'page.html'
    path.write_text(generator_page.build(
        graph.trace(*export.generator(gan, state)), gan,
        gan.weights(state, 'ema'), title='a', about='b', shape=helpers.SHAPE,
        classes=[],
    ))
    tab = opened(path)
    for name, (function, inputs) in cases.items():
        traced = graph.trace(function, inputs)
        arrays = test_export_onnx.values(inputs, size=3)
        expected = np.asarray(jax.jit(function)(*arrays.values()))
        found = tab.evaluate('''([graph, inputs]) => {
            const tensors = named => Object.fromEntries(Object.entries(
                named).map(([name, packed]) => [name, unpack(packed)]));
            const result = run({...graph, constants: tensors(graph.constants)},
                               tensors(inputs));
            return [result.shape, [...result.data]];
        }''', [
            {'nodes': [list(node) for node in traced.nodes],
             'constants': {k: generator_page.pack(v)
                           for k, v in traced.constants.items()},
             'output': traced.output},
            {k: generator_page.pack(v) for k, v in arrays.items()},
        ])
        assert tuple(found[0]) == expected.shape, name
        np.testing.assert_allclose(
            np.reshape(found[1], found[0]), expected, atol=1e-4, err_msg=name
        )


def test_digits_are_quick(opened, tmp_path):
    config = recipes.load(conftest.ROOT / 'configs' / 'dcgan.py')
    run = helpers.untrained(config, tmp_path / 'run')
    tab = opened(page(run))
    assert tab.get_attribute('#check', 'class') == 'good'
    assert float(tab.get_attribute('#check', 'data-speed')) >= LEAST_SPEED


@pytest.mark.parametrize('width', [390, 1440])
def test_page_fits_its_screen(width, opened, tmp_path):
    config, shape = test_export.configure('conditional')
    run = helpers.untrained(
        config, tmp_path / '<run>', helpers.random_images(32, shape),
        test_export.LABELS,
    )
    tab = opened(page(run), width)
    assert tab.evaluate(
        'document.documentElement.scrollWidth <= window.innerWidth'
    )
    assert tab.inner_text('#title') == '<run>'


@pytest.mark.parametrize('direction', ['a_to_b', 'b_to_a'])
def test_page_translates_a_file(direction, opened, tmp_path):
    config = helpers.tiny_translation(translation__identity=0.0)
    run = helpers.untrained(config, tmp_path / 'run', {
        'a': helpers.random_images(4, (16, 16, 3)),
        'b': helpers.random_images(4, (16, 16, 1)),
    })
    export_translation.write(
        tmp_path / 'out', run.workdir, run.algorithm, run.state,
        formats=['page'], direction=direction,
    )
    tab = opened(tmp_path / 'out' / 'generator.html')
    assert tab.get_attribute('#check', 'class') == 'good', tab.inner_text(
        '#check'
    )
    assert tab.is_hidden('#sample') and tab.is_hidden('#inputs')
    first = pixels(tab, '#image-after')
    shape = (16, 16, 3 if direction == 'a_to_b' else 1)
    image = helpers.random_images(1, shape)[0]
    Image.fromarray(image.squeeze()).save(tmp_path / 'own.png')
    tab.set_input_files('#file', tmp_path / 'own.png')
    tab.wait_for_selector('#took[data-file="own.png"]')
    np.testing.assert_array_equal(
        pixels(tab, '#before')[..., :3], np.broadcast_to(image, (16, 16, 3))
    )
    expected = shown(run.translate(image, direction) / 127.5 - 1)
    found = pixels(tab, '#image-after')[..., :3].astype(int)
    assert abs(found - expected).max() <= 1
    (tmp_path / 'text.png').write_text('no image')
    tab.set_input_files('#file', tmp_path / 'text.png')
    tab.wait_for_selector('#took[data-file="text.png"]')
    assert 'text.png cannot be read' in tab.inner_text('#took')
    tab.click('#example')
    np.testing.assert_array_equal(pixels(tab, '#image-after'), first)
