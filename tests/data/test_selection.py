"""Which images a run takes: classes, split and number."""

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.data import selection
from gan_jax.data import sources

CLASSES = ('cat', 'dog', 'owl', 'yak')
LABELS = np.arange(400, dtype=np.int32) % 4
NAMES = tuple(f'{place:04d}.png' for place in range(400))


def select(labels=LABELS, *, count=400, names=None, has_splits=False, **asked):
    """Give (places, labels, classes) of what a request asks."""
    count = count if labels is None else len(labels)
    return selection.select(
        sources.Request('mine', **asked), count, labels,
        () if labels is None else CLASSES, names=names, has_splits=has_splits,
    )


def test_all_is_taken_where_nothing_is_asked():
    places, labels, classes = select()
    np.testing.assert_array_equal(places, np.arange(400))
    np.testing.assert_array_equal(labels, LABELS)
    assert classes == CLASSES
    assert select(None)[1] is None


@pytest.mark.parametrize('asked', [('yak', 'dog'), ('dog', 'yak')])
def test_classes_are_numbered_anew_in_the_order_of_the_set(asked):
    places, labels, classes = select(classes=asked)
    assert classes == ('dog', 'yak')
    np.testing.assert_array_equal(places, np.flatnonzero(LABELS % 2))
    np.testing.assert_array_equal(labels, LABELS[places] // 2)
    assert labels.dtype == np.int32


def test_unknown_class_is_named_with_the_nearest():
    with pytest.raises(errors.DataError) as caught:
        select(classes=('dog', 'yack'))
    assert "data.classes='yack' is not one of ['cat'" in str(caught.value)
    assert "did you mean 'yak'" in str(caught.value)


def test_classes_of_a_set_without_labels_are_refused():
    with pytest.raises(errors.DataError, match="'3,7': mine has no labels"):
        select(None, classes=('3', '7'))


def test_class_without_an_image_is_refused_and_beside_others_is_not():
    labels = np.array([0, 1, 1], np.int32)
    with pytest.raises(errors.DataError, match="no image of 3 .*'yak'"):
        select(labels, classes=('yak',))
    _, labels, classes = select(labels, classes=('dog', 'yak'))
    np.testing.assert_array_equal(labels, [0, 0])
    assert classes == ('dog', 'yak')


@pytest.mark.parametrize('names', [None, NAMES])
@pytest.mark.parametrize('share', [0.01, 0.25, 0.9])
def test_train_and_test_are_disjoint_and_complete(share, names):
    train, train_labels, _ = select(names=names, test_share=share)
    test, test_labels, _ = select(names=names, test_share=share, split='test')
    assert len(test) == share * 400
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, test])), np.arange(400)
    )
    for places, labels in ((train, train_labels), (test, test_labels)):
        assert (np.diff(places) > 0).all()
        np.testing.assert_array_equal(labels, LABELS[places])


@pytest.mark.parametrize('names, first', [
    (None, [12, 15, 37, 59]), (NAMES, [15, 19, 21, 27]),
])
def test_what_is_held_out_is_the_same_in_every_run(names, first):
    test, _, _ = select(names=names, test_share=0.1, split='test')
    np.testing.assert_array_equal(test[:4], first)


def test_a_new_file_moves_few_others():
    before = {NAMES[place] for place in select(
        names=NAMES, test_share=0.1, split='test'
    )[0]}
    more = tuple(sorted(NAMES + ('0000a.png', 'first.png', '0200x.png')))
    after = {more[place] for place in select(
        None, count=403, names=more, test_share=0.1, split='test'
    )[0]}
    assert len(before - after) <= 3 and len(after) == 40


def test_names_that_are_no_utf_8_are_drawn_like_others():
    names = ('a\udcff.png', 'b.png')
    places, _, _ = select(None, count=2, names=names, test_share=0.5)
    assert len(places) == 1


@pytest.mark.parametrize('names', [None, NAMES])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_smaller_limit_takes_some_of_a_larger_ones(split, names):
    taken = [
        set(select(names=names, limit=limit, test_share=0.4, split=split)[0])
        for limit in (10, 11, 100, 150, 0)
    ]
    assert [len(places) for places in taken[:4]] == [10, 11, 100, 150]
    for few, more in zip(taken, taken[1:]):
        assert few < more


def test_a_limit_takes_the_same_whatever_is_held_out():
    taken = [
        select(names=NAMES, limit=50, test_share=share)[0]
        for share in (0, 0.1, 0.8)
    ]
    np.testing.assert_array_equal(taken[0], taken[1])
    np.testing.assert_array_equal(taken[0], taken[2])


@pytest.mark.parametrize('names', [None, NAMES])
def test_limit_draws_evenly_from_all_places_and_classes(names):
    labels = np.repeat(np.arange(4, dtype=np.int32), 100)  # class after class
    places, labels, _ = select(labels, names=names, limit=100)
    assert (np.diff(places) > 0).all()
    # 25 of each in the mean, with deviation 3.8.
    assert np.bincount(labels, minlength=4).min() > 12


def test_larger_limit_takes_all():
    assert len(select(limit=400)[0]) == len(select(limit=1000)[0]) == 400


@pytest.mark.parametrize('names', [None, NAMES])
def test_limit_holds_within_classes_and_split(names):
    taken = {}
    for split in ('train', 'test'):
        taken[split], labels, classes = select(
            names=names, split=split, classes=('owl', 'cat'), test_share=0.5,
            limit=30,
        )
        assert len(taken[split]) == 30 and classes == ('cat', 'owl')
        np.testing.assert_array_equal(labels, LABELS[taken[split]] // 2)
        assert set(LABELS[taken[split]]) == {0, 2}
    assert not set(taken['train']) & set(taken['test'])


@pytest.mark.parametrize('changes, says', [
    ({'split': 'test'}, 'data.test_share=0.1 holds a tenth'),
    ({'split': 'train[:10]'}, "mine has only 'train' and 'test'"),
    ({'split': 'validation', 'test_share': 0.1}, "only 'train' and 'test'"),
    ({'split': 'test', 'test_share': 0.001}, 'no image of 400 is left'),
    ({'test_share': 0.9999}, 'no image of 400 is left'),
])
def test_split_that_is_not_there_is_refused(changes, says):
    with pytest.raises(errors.DataError, match=says):
        select(**changes)


def test_source_with_splits_chooses_its_own():
    places, _, _ = select(has_splits=True, split='train[:10]', limit=7)
    assert len(places) == 7


@pytest.mark.parametrize('name', ['mnist', 'tfds:x', 'stacked_mnist'])
def test_sets_of_tfds_refuse_a_share_of_their_own_splits(name):
    with pytest.raises(errors.DataError, match='has splits of its own'):
        sources.load(sources.Request(name, test_share=0.1))
