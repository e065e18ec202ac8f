"""Images that the translations of a run are measured and shown with.

For each direction: images to translate, held out if any are; their true
translations, if they are known; and real images of the target. Knows the config
of a run, but neither networks nor metrics.
"""

import functools
import re
from typing import Any, NamedTuple, Optional

import numpy as np

from gan_jax.algorithms import translation
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import on_demand
from gan_jax.data import pairs as pairs_lib
from gan_jax.data import sources
from gan_jax.data import tasks

GREY = 1  # channel


class Direction(NamedTuple):
    """The images of one direction.

    All are cut as in training, where that is on a random part of each.

    Attributes:
        name: one of `translation.DIRECTIONS`.
        source, target: names of the domains.
        inputs: `sources.Dataset` of images of the source.
        partners: images of the target, in the same order: their true
            translations; None if these are not known.
        known_by: why they are known, in words; ''.
        split: of the inputs.
        held_out: whether the inputs were not trained on.
        training: `sources.Dataset` of images of the target, trained on.
        test: `sources.Dataset` of images of the target, held out, or None.
    """

    name: str
    source: str
    target: str
    inputs: sources.Dataset
    partners: Any
    known_by: str
    split: str
    held_out: bool
    training: sources.Dataset
    test: Optional[sources.Dataset]


def is_translation(config):
    """Return whether the algorithm of a config translates images."""
    return config.algorithm in translation.KINDS


def directions(config, split='', training=None, paired=False):
    """Load the images of all directions of a run.

    Args:
        config: ConfigDict of a run, for which `is_translation`.
        split: of the images to translate; '' for the held-out ones, or those
            trained on if none are held out.
        training: {source: `sources.Dataset`} that it was trained on, if they
            are loaded.
        paired: whether files of the same name in both domains are pairs.

    Returns:
        List of `Direction`.

    Raises:
        errors.DataError: where images are missing or cannot be read.
    """
    training = training or builders.datasets(config)
    own = held_out_config(config, training)
    held_out = own and _datasets_or_none(own)
    if held_out and not _alike(held_out, training):
        held_out = None
    if split:
        own = _with_splits(config, dict.fromkeys(training, split), training)
        inputs, unseen = builders.datasets(own), _unseen(config, split)
    elif held_out:
        inputs, unseen = held_out, True
    else:
        own, inputs, unseen = config, training, False
    loaded = []
    for name in translation.KINDS[config.algorithm]:
        source, target = translation.DIRECTIONS[name]
        images, partners, known_by = _pairs(own, source, target, inputs, paired)
        loaded.append(Direction(
            name, source, target, cut(images),
            partners and cut(partners).images, known_by,
            defaults.of_source(own, source).data.split, unseen,
            cut(training[target]), held_out and cut(held_out[target]),
        ))
    return loaded


def held_out_config(config, training):
    """Return the config with splits of images that were not trained on.

    The split of 'train' is 'test', that of 'trainA' is 'testA'.

    Args:
        config: ConfigDict of a run with groups of data keys.
        training: {source: `sources.Dataset`}.

    Returns:
        ConfigDict; None if the run was trained on such splits.
    """
    splits = {
        name: defaults.of_source(config, name).data.split for name in training
    }
    names = set().union(*map(_names, splits.values()))
    if any(name.startswith('test') or name == 'all' for name in names):
        return None
    return _with_splits(config, {
        name: 'test' + re.match(r'(?:train(\w*))?', split).expand(r'\1')
        for name, split in splits.items()
    }, training)


def _names(split):
    """Return the names in a split such as 'train[:80%]+test[:1000]'."""
    return {part.partition('[')[0].strip() for part in split.split('+')}


def _unseen(config, split):
    """Return whether no source was trained on a split."""
    trained = set().union(*(
        _names(defaults.of_source(config, name).data.split)
        for name in defaults.groups(config)
    ))
    names = _names(split)
    return not names & trained and 'all' not in names | trained


def _with_splits(config, splits, training):
    """Return a config of other splits, and of the size of training images."""
    own = config.copy_and_resolve_references()
    for name, split in splits.items():
        group = own.data[name]
        group.split = split
        if not group.image_size:
            height, width = training[name].images.shape[1:3]
            group.image_size = f'{height}x{width}'
    return own


def _datasets_or_none(config):
    try:
        return builders.datasets(config)
    except errors.DataError:
        return None


def _alike(held_out, training):
    """Return whether sources have the shapes that were trained on."""
    return all(
        held_out[name].images.shape[1:] == dataset.images.shape[1:]
        for name, dataset in training.items()
    )


def _pairs(config, source, target, inputs, paired):
    """Return (inputs, true translations or None, why they are known).

    Args:
        config: of the inputs.
        source, target: domains.
        inputs: {source: `sources.Dataset`}.
        paired: as of `directions`.
    """
    if len(set(translation.SOURCES[config.algorithm].values())) == 1:
        return inputs[source], inputs[target], 'trained on pairs'
    requests = {
        name: builders.request(defaults.of_source(config, name))
        for name in (source, target)
    }
    own, other = requests.values()
    if own.task and other.task:
        originals = sources.load(own._replace(task='', side=''))
        images = tasks.apply(originals.images, other.task, other.side)
        partners = inputs[source]._replace(images=images, labels=None)
        return inputs[source], partners, f'data.task={other.task!r}'
    halves = _are_halves(own, other)
    if halves or paired:
        naming = functools.partial(defaults.naming, config)
        pairs = pairs_lib.load(requests, naming)
        known_by = 'halves of one picture' if halves else 'files of one name'
        return pairs[source], pairs[target], known_by
    return inputs[source], None, ''


def _are_halves(own, other):
    """Return whether two sources are the halves of the same pictures."""
    if own.name != other.name or own.task or other.task:
        return False
    halves = [sources.files(request) for request in (own, other)]
    return None not in halves and all(
        files.request.preparation.half for files in halves
    ) and halves[0].listing.files == halves[1].listing.files


def cut(dataset):
    """Return a data set of the middles of images that are randomly cropped."""
    if dataset.random_crop is None:
        return dataset
    shape = (len(dataset.images), *dataset.sample_shape)
    return dataset._replace(
        images=on_demand.OnDemand(shape, dataset.centered), random_crop=None
    )


def with_channels(images, channels):
    """Convert images to the channels of another domain, unless they have them.

    Args:
        images: [N, H, W, C] uint8.
        channels: 1, 3 or 4.

    Returns:
        uint8 [N, H, W, channels]: grey is repeated, colors become grey, with
        opaque alpha where it is added.
    """
    own = images.shape[-1]
    if own == channels:
        return images
    if channels == GREY:
        return tasks.grey(images)
    colors = images.repeat(3, -1) if own == GREY else images[..., :3]
    if channels == 3:
        return colors
    return np.concatenate([colors, np.full_like(colors[..., :1], 255)], -1)
