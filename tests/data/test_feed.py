"""Feeds: the same batches from memory and from files."""

import threading

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.data import feed
from gan_jax.data import on_demand
from gan_jax.data import order
from gan_jax.data import sources

SIZE, BATCH, SEED = 10, 4, 3
FEEDS = (feed.ResidentFeed, feed.StreamingFeed)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    for thread in threading.enumerate():
        if thread.name.startswith('grain'):
            thread.join(timeout=5)
            assert not thread.is_alive()


def dataset(labels=True, log=None):
    """Return images whose pixels are their index, and a log of reads."""
    array = np.arange(SIZE, dtype=np.uint8).reshape(-1, 1, 1, 1)
    array = np.tile(array, (1, 2, 2, 1))

    def fetch(places):
        log.extend(places.tolist())
        return array[places]

    images = array if log is None else on_demand.OnDemand(array.shape, fetch)
    return sources.Dataset('x', images, np.arange(SIZE) if labels else None)


def make(kind, *, host_slice=None, **options):
    return kind(
        dataset(**options), seed=SEED, batch_size=BATCH, host_slice=host_slice
    )


def images_of(made, position, count):
    """Return what the device selects from a read."""
    return made.select(made.resident, made.read(position, count))


@pytest.mark.parametrize('kind', FEEDS)
@pytest.mark.parametrize('labels', [False, True])
def test_batches_are_those_of_the_order(kind, labels):
    made = make(kind, labels=labels)
    images, given = images_of(made, 3, 2)
    expected = order.indices(SEED, 3, 2, BATCH, SIZE)
    np.testing.assert_array_equal(images[..., 0, 0, 0], expected)
    if labels:
        np.testing.assert_array_equal(given, expected)
    else:
        assert given is None
    made.close()


def test_resident_images_are_rows_without_a_copy():
    data = dataset()
    made = feed.ResidentFeed(data, seed=SEED, batch_size=BATCH)
    rows, _ = made.resident
    assert rows.shape == (SIZE, 4) and np.shares_memory(rows, data.images)


@pytest.mark.parametrize('kind', FEEDS)
def test_reads_of_any_length_are_contiguous(kind):
    made = make(kind)
    parts = [images_of(made, *at)[0] for at in ((0, 1), (1, 3), (4, 2))]
    whole, _ = images_of(made, 0, 6)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    made.close()


@pytest.mark.parametrize('kind', FEEDS)
def test_each_image_occurs_once_per_epoch(kind):
    made = make(kind)
    images, _ = images_of(made, 0, 5)  # 20 images are two epochs
    drawn = images[..., 0, 0, 0].reshape(2, SIZE)
    np.testing.assert_array_equal(np.sort(drawn), [range(SIZE)] * 2)
    made.close()


@pytest.mark.parametrize('kind', FEEDS)
def test_slices_of_hosts_form_the_batch(kind):
    whole = make(kind)
    hosts = [make(kind, host_slice=share) for share in ((0, 1), (1, 4))]
    parts = [images_of(host, 2, 3)[0] for host in hosts]
    np.testing.assert_array_equal(
        np.concatenate(parts, axis=1), images_of(whole, 2, 3)[0]
    )
    for made in (whole, *hosts):
        made.close()


def test_a_host_reads_only_its_slice():
    log = []
    made = make(feed.StreamingFeed, host_slice=(1, 3), log=log)
    made.read(0, 2)
    made.close()
    ahead = 2 + feed.MAX_AHEAD + 8  # threads may hold some more
    mine = order.indices(SEED, 0, ahead, BATCH, SIZE)[:, 1:3]
    assert set(map(tuple, np.reshape(log, (-1, 2)))) <= set(map(tuple, mine))


def test_reads_that_follow_each_other_read_each_batch_once():
    log = []
    made = make(feed.StreamingFeed, log=log)
    for position in range(0, 30, 3):
        made.read(position, 3)
    made.close()
    assert len(log) <= BATCH * (30 + feed.MAX_AHEAD + 8)


def test_reading_in_advance_is_bounded():
    log = []
    made = make(feed.StreamingFeed, log=log)
    made.read(0, 1)
    threading.Event().wait(0.3)
    made.close()
    assert BATCH < len(log) <= BATCH * (feed.MAX_AHEAD + 8)


def test_fewer_large_batches_are_read_in_advance(monkeypatch):
    monkeypatch.setattr(feed, 'MAX_BYTES_AHEAD', 3 * BATCH * 4)
    log = []
    made = make(feed.StreamingFeed, log=log)
    assert made.bytes_per_batch == BATCH * 4
    made.read(0, 1)
    threading.Event().wait(0.3)
    made.close()
    assert len(log) <= BATCH * (3 + 8)


def test_an_error_of_a_reader_reaches_the_caller():
    def fetch(places):
        raise errors.DataError('no image is left')

    made = feed.StreamingFeed(
        sources.Dataset('x', on_demand.OnDemand((SIZE, 2, 2, 1), fetch)),
        seed=SEED, batch_size=BATCH,
    )
    with pytest.raises(errors.DataError, match='no image is left'):
        made.read(0, 1)
    made.close()
