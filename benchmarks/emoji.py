"""Download two sets of emoji as a data set of two domains: one style each.

    python benchmarks/emoji.py --downloads=my/downloads --out=my/emoji

Domain A is Google's Noto Emoji (Apache License 2.0), domain B is Twitter's
Twemoji (CC-BY 4.0): 3,786 images of 64x64 with transparency in each, with the
same names. They are the packages emoji-datasource-google and -twitter 16.0.0 of
registry.npmjs.org, 136 MB, which are kept in --downloads. The folder --out gets
trainA, trainB, testA and testB, and README.txt with the origin of the images.

A tenth of the base code points, the first part of a name, is held out. All skin
tones and sequences that begin with one are on the same side, and so are base
code points that share an image. The choice depends on the names alone.
"""

import collections
import contextlib
import hashlib
import http.client
import os
import pathlib
import re
from typing import NamedTuple
import urllib.request

from absl import flags

from gan_jax.cli import app
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import archive
from gan_jax.data import packs

DOWNLOADS = flags.DEFINE_string(
    'downloads', '', 'Folder that keeps the downloaded archives.'
)
OUT = flags.DEFINE_string('out', '', 'Folder to create for the images.')

VERSION = '16.0.0'
CHUNK = 2**20  # bytes read at once
PATIENCE = 60  # seconds without an answer of the registry
TEST_SHARE = 0.1  # of the base code points
MAX_IMAGE = 2**16  # bytes; the largest has 9,216
MAX_IMAGES = 10_000  # of a set
NAME = re.compile(r'[0-9a-f]{4,6}(-[0-9a-f]{4,6}){0,15}\.png')
SIGNATURE = b'\x89PNG\r\n\x1a\n'


class Package(NamedTuple):
    """Package of the registry that holds one set of images.

    Attributes:
        name: of the set, in the name of the package and in its folders.
        size: bytes of the archive.
        sha512: of the archive, in hexadecimal.
        origin: artist and licence.
    """

    name: str
    size: int
    sha512: str
    origin: str

    @property
    def file(self):
        """Return the name of the archive."""
        return f'emoji-datasource-{self.name}-{VERSION}.tgz'

    @property
    def url(self):
        """Return the address of the archive."""
        package = f'emoji-datasource-{self.name}'
        return f'https://registry.npmjs.org/{package}/-/{self.file}'


PACKAGES = {
    'A': Package('google', 74_344_091, (
        '6517b17f3b3b315a0b9e6cd998db0ee132a19c0269e43fbe566e8fa54a47fe31'
        '104257a6a7797cf028d9f83a19d9f68cf51e10c5990e3c90a84fc0e53e17d0dc'
    ), (
        'Noto Emoji, Google, Apache License 2.0, '
        'https://github.com/googlefonts/noto-emoji'
    )),
    'B': Package('twitter', 61_683_754, (
        'ec5fae0ae1c7fbb427adcd793f9b676ef2a483d13ab65ce2e0c9d3dae5b54653'
        '78a4b613cdae9c3ff76cb487d20ccb698c52d6b997b05a0f2305bb8bd9ec842d'
    ), (
        'Twemoji, Twitter and other contributors, CC-BY 4.0, '
        'https://github.com/jdecked/twemoji'
    )),
}


def download(package, folder):
    """Download the archive of a package, unless it is there already.

    Args:
        package: `Package`.
        folder: of the archives; it is created.

    Returns:
        Path of the archive, whose size and SHA-512 are right.

    Raises:
        errors.DataError: if it cannot be downloaded or written, or differs.
    """
    path = pathlib.Path(os.path.expanduser(folder), package.file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not files.lexists(path):
            app.say(f'Downloading {package.url} ({package.size:,} bytes)')
            with contextlib.closing(urllib.request.urlopen(
                    package.url, timeout=PATIENCE
            )) as answer, files.atomic_write(path) as file:
                _check(package, package.url, answer, file)
        else:
            with files.open_regular(path) as file:
                _check(package, path, file)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', None) or error
        raise errors.DataError(f'{package.url} as {path}: {reason}') from error
    return path


def _check(package, name, source, target=None):
    """Read an archive to its end, and copy it to a file if there is one.

    Raises:
        errors.DataError: if its size or SHA-512 is wrong.
    """
    digest, size = hashlib.sha512(), 0
    while size <= package.size and (chunk := source.read(CHUNK)):
        size += len(chunk)
        digest.update(chunk)
        if target:
            target.write(chunk)
    if size > package.size or digest.hexdigest() != package.sha512:
        raise errors.DataError(
            f'{name} is not the archive of {package.size:,} bytes with '
            f'SHA-512 {package.sha512[:12]}…: it is damaged or another version'
        )


def images_of(path, name):
    """Read the images of 64x64 from the archive of a package.

    Only regular files package/img/NAME/64/*.png are read, into memory. Links,
    other names and whatever else the archive holds are left out.

    Args:
        path: of the archive.
        name: of the set.

    Returns:
        {name of the file: content}, sorted.

    Raises:
        errors.DataError: if it cannot be read, or has no images, too many, or
            one that is too large or not a PNG file.
    """
    listing = archive.tar_listing(path)
    folder = f'package/img/{name}/64'
    indices = [
        index for index, file in enumerate(listing.files)
        if os.path.dirname(file) == folder
        and NAME.fullmatch(os.path.basename(file))
    ]
    if not 0 < len(indices) <= MAX_IMAGES:
        raise errors.DataError(
            f'{path} has {len(indices):,} images in {folder}; expected at '
            f'least 1 and at most {MAX_IMAGES:,}'
        )
    images = {}
    for index in indices:
        content, = listing.read([index])
        if len(content) > MAX_IMAGE or not content.startswith(SIGNATURE):
            raise errors.DataError(
                f'{path}: {listing.files[index]} is not a PNG file of at most '
                f'{MAX_IMAGE:,} bytes'
            )
        images[os.path.basename(listing.files[index])] = content
    return images


def base(name):
    """Return the first code point of a name: '1f44b-1f3fb.png' -> '1f44b'."""
    return re.split('[-.]', name)[0]


def groups(*domains):
    """Group names whose images belong on the same side of the split.

    These are the names of one base code point, and of all base code points that
    share an image in a domain, such as flags that look alike.

    Args:
        *domains: {name: content} each, with the same names.

    Returns:
        List of sorted lists of names, sorted.
    """
    parents = {}  # of a base code point: another one of its group, or itself

    def root(point):
        while parents.setdefault(point, point) != point:
            point = parents[point]
        return point

    for domain in domains:
        owners = {}  # {content: base code point}
        for name, content in domain.items():
            point, owner = base(name), owners.setdefault(content, base(name))
            parents[root(point)] = root(owner)
    members = collections.defaultdict(list)
    for name in domains[0]:
        members[root(base(name))].append(name)
    return sorted(map(sorted, members.values()))


def split(members):
    """Hold out a tenth of the groups, at least one, by the hash of a name.

    Args:
        members: list of lists of names, at least two.

    Returns:
        {'train': sorted names, 'test': sorted names}.

    Raises:
        errors.DataError: for fewer groups.
    """
    if len(members) < 2:
        raise errors.DataError(
            'the sets share fewer than two base code points, and one is held '
            'out'
        )
    ordered = sorted(members, key=lambda names: hashlib.sha256(
        base(names[0]).encode()
    ).digest())
    count = max(1, round(TEST_SHARE * len(members)))
    return {
        'train': sorted(sum(ordered[count:], [])),
        'test': sorted(sum(ordered[:count], [])),
    }


def write(domains, out):
    """Write trainA, trainB, testA and testB of the names in both domains.

    Args:
        domains: {'A': {name: content}, 'B': the same}.
        out: folder to create; it must not exist.

    Returns:
        {'train': number of names, 'test': number of names}.

    Raises:
        errors.DataError: if there are too few names, or the folder exists or
            cannot be written.
    """
    names = sorted(set.intersection(*map(set, domains.values())))
    shared = {
        letter: {name: images[name] for name in names}
        for letter, images in domains.items()
    }
    parts = split(groups(*shared.values()) if names else [])
    with packs.new_folder(out) as folder:
        for part, chosen in parts.items():
            for letter, images in shared.items():
                target = folder / f'{part}{letter}'
                target.mkdir()
                for name in chosen:
                    files.write(target / name, images[name])
        files.write(folder / 'README.txt', _origins())
    return {part: len(chosen) for part, chosen in parts.items()}


def _origins():
    """Return the text that names the artists and the licences."""
    lines = [
        f'Domain {letter}: {package.origin}, from {package.url}\n'
        for letter, package in PACKAGES.items()
    ]
    return ''.join(lines)


def main(argv):
    """Download both sets and write the folders of --out."""
    del argv
    for flag in (DOWNLOADS, OUT):
        if not flag.value:
            raise errors.ConfigError(
                f'--{flag.name} is missing, such as --{flag.name}=my/emoji'
            )
    if files.lexists(files.to_path(OUT.value)):  # before the download
        raise errors.DataError(f'{OUT.value} exists already')
    counts = write({
        letter: images_of(download(package, DOWNLOADS.value), package.name)
        for letter, package in PACKAGES.items()
    }, OUT.value)
    app.say(
        f'Wrote {counts["train"]:,} images of each domain for training and '
        f'{counts["test"]:,} for testing to {OUT.value}; train on them with '
        f'--config.data.path={OUT.value}'
    )


if __name__ == '__main__':
    app.run(main)
