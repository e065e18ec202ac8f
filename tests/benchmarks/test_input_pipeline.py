"""The benchmark of data pipelines: their images, their speed, its table."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.data import feed
from gan_jax.data import order
from gan_jax.data import sources

script, parse = helpers.load_script('input_pipeline')
PIPELINES = [
    'fixed batch', 'resident', 'memory-mapped', 'array_record', 'source',
]


@pytest.fixture
def folder(tmp_path):
    """Twenty images of noise in a folder."""
    path = tmp_path / 'images'
    path.mkdir()
    for place, pixels in enumerate(helpers.random_images(20, (8, 8, 3))):
        Image.fromarray(pixels).save(path / f'{place:02d}.png')
    return path


@pytest.fixture
def config(folder):
    """A tiny game of dense nets on them."""
    config = helpers.tiny_mlp()
    config.data.path, config.data.feed = str(folder), 'streaming'
    return config


def test_fixed_feed_gives_the_first_batch_for_ever():
    images = helpers.random_images(20)
    dataset = sources.Dataset('x', images, np.arange(20))
    fixed = script.FixedFeed(dataset, seed=0, batch_size=4)
    first = order.indices(0, 0, 1, 4, 20)[0]
    for position in (0, 7):
        given, labels = fixed.read(position, 2)
        np.testing.assert_array_equal(given, [images[first]] * 2)
        np.testing.assert_array_equal(labels, [first] * 2)
    fixed.close()


def test_all_pipelines_feed_the_same_images(config, tmp_path):
    parse('--steps=2')
    _, pipelines = script.make_pipelines(config, tmp_path)
    assert list(pipelines) == PIPELINES
    kinds = [pipeline._feed.kind for pipeline in pipelines.values()]
    assert kinds == ['fixed', 'resident'] + 3 * ['streaming']
    read = [
        np.asarray(pipeline._feed.select(
            pipeline._feed.resident, pipeline._feed.read(0, 1)
        )[0]) for pipeline in pipelines.values()
    ]
    for images in read[1:]:
        np.testing.assert_array_equal(images, read[0])
    for pipeline in pipelines.values():
        pipeline._feed.close()


def test_a_segment_counts_its_steps_and_starts_its_feed_anew(
    config, tmp_path, monkeypatch
):
    parse('--steps=2')
    _, pipelines = script.make_pipelines(config, tmp_path)
    starts, start = [], feed.StreamingFeed._start

    def logged(self, position):
        starts.append(position)
        start(self, position)

    monkeypatch.setattr(feed.StreamingFeed, '_start', logged)
    pipeline = pipelines['source']
    for _ in range(2):
        assert pipeline.seconds_per_step(warm_up=1, steps=3) > 0
    assert starts == [0, pipeline._position // 2]
    assert pipeline._step == pipeline._position >= 8


def test_table_has_a_row_for_each_pipeline(config, capsys):
    parse('--reads=2', '--rounds=2', '--steps=2', '--warm_up=1')
    result = json.loads(json.dumps(script.compare(config)))
    script.show(result)
    assert result['shape'] == [20, 8, 8, 3]
    assert [row['way'] for row in result['rows']] == PIPELINES
    fixed, *others = result['rows']
    assert fixed['over_fixed_batch'] == 1
    assert fixed['images_per_sec_alone'] is None
    for row in others:
        assert row['images_per_sec_alone'] > 0
        each = row['over_fixed_batch_each_round']
        assert len(each) == 2
        assert row['over_fixed_batch'] == pytest.approx(np.median(each))
    shown = capsys.readouterr().out
    assert all(name in shown for name in PIPELINES)
