"""The emoji of two sets: downloads, hostile archives, the split."""

import hashlib
import io
import os
import tarfile

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.data import pictures as pictures_lib
from gan_jax.data import sources

script, parse = helpers.load_script('emoji')
POINTS = [f'1f4{number:02x}' for number in range(20)]
NAMES = sorted(
    f'{point}{tone}.png' for point in POINTS for tone in ('', '-1f3fb')
)


def picture(number, letter):
    """A PNG file of one color."""
    color = (number, 128 if letter == 'A' else 0, 0, 255)
    file = io.BytesIO()
    Image.new('RGBA', (4, 4), color).save(file, 'PNG')
    return file.getvalue()


def pictures(letter, names=None):
    return {
        name: picture(number, letter)
        for number, name in enumerate(NAMES if names is None else names)
    }


def pack(path, members):
    """Write a compressed tar of {name: content, or a link's target}."""
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                content = b''
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture(name='registry')
def fixture_registry(monkeypatch, tmp_path):
    """Folder in place of the registry, with one package of each domain."""
    folder = tmp_path / 'registry'
    folder.mkdir()
    packages = {}
    for letter, name in (('A', 'google'), ('B', 'twitter')):
        path = folder / f'emoji-datasource-{name}-{script.VERSION}.tgz'
        pack(path, {
            f'package/img/{name}/64/{file}': content
            for file, content in pictures(letter).items()
        })
        packages[letter] = script.PACKAGES[letter]._replace(
            size=path.stat().st_size,
            sha512=hashlib.sha512(path.read_bytes()).hexdigest(),
        )
    monkeypatch.setattr(script, 'PACKAGES', packages)
    monkeypatch.setattr(script.Package, 'url', property(
        lambda package: (folder / package.file).as_uri()
    ))
    return folder


def test_packages_are_those_of_the_registry():
    urls = [package.url for package in script.PACKAGES.values()]
    assert urls == [
        f'https://registry.npmjs.org/emoji-datasource-{name}/-/'
        f'emoji-datasource-{name}-16.0.0.tgz' for name in ('google', 'twitter')
    ]
    assert all(len(p.sha512) == 128 for p in script.PACKAGES.values())


def test_one_command_writes_two_domains(registry, tmp_path, capsys):
    out = tmp_path / 'emoji'
    parse(f'--downloads={tmp_path / "kept"}', f'--out={out}')
    script.main([])
    said = capsys.readouterr().out
    assert said.count('Downloading') == 2
    assert '36 images of each domain for training and 4 for testing' in said
    assert sorted(os.listdir(out)) == [
        'README.txt', 'testA', 'testB', 'trainA', 'trainB'
    ]
    assert 'CC-BY 4.0' in (out / 'README.txt').read_text()
    for letter in 'AB':
        parts = [sorted(os.listdir(out / f'{part}{letter}'))
                 for part in ('train', 'test')]
        assert sorted(sum(parts, [])) == NAMES
        for name in parts[0]:
            assert (out / f'train{letter}' / name).read_bytes() == (
                pictures(letter)[name]
            )
    # The library reads them as two domains.
    for letter, green in (('A', 128), ('B', 0)):
        dataset = sources.load(sources.Request(
            f'folder:{out}', split='test', side=letter,
            preparation=pictures_lib.Preparation(channels=3),
        ))
        assert dataset.images.shape == (4, 4, 4, 3)
        assert np.all(dataset.images[:][..., 1] == green)
    # The archives are kept and not fetched again.
    for path in registry.iterdir():
        path.unlink()
    parse(f'--downloads={tmp_path / "kept"}', f'--out={tmp_path / "again"}')
    script.main([])
    assert 'Downloading' not in capsys.readouterr().out


@pytest.mark.parametrize('damage', [
    lambda content: content + b'x', lambda content: content[:-1],
    lambda content: content[:50] + b'?' + content[51:],
])
@pytest.mark.parametrize('place', ['registry', 'kept'])
def test_another_archive_is_refused(registry, tmp_path, place, damage):
    package, kept = script.PACKAGES['A'], tmp_path / 'kept'
    kept.mkdir()
    good = (registry / package.file).read_bytes()
    target = registry if place == 'registry' else kept
    (target / package.file).write_bytes(damage(good))
    with pytest.raises(errors.DataError, match='SHA-512'):
        script.download(package, kept)
    assert bool(os.listdir(kept)) == (place == 'kept')


def test_a_missing_archive_is_one_line(registry, tmp_path):
    package = script.PACKAGES['A']
    (registry / package.file).unlink()
    with pytest.raises(errors.DataError, match='google.*No such file'):
        script.download(package, tmp_path)
    assert not (tmp_path / package.file).exists()


def test_only_images_leave_a_hostile_archive(tmp_path):
    path, good = tmp_path / 'x.tgz', picture(1, 'A')
    folder = 'package/img/google/64'
    pack(path, {
        f'{folder}/1f600.png': good,
        f'{folder}/1f601.png': '/etc/passwd',
        f'{folder}/1f602.png': '1f600.png',
        f'{folder}/../../1f603.png': good,  # read, without its dots
        f'{folder}/..png': good, f'{folder}/1f604.png/1f605.png': good,
        '/1f606.png': good, '../../1f607.png': good,
        f'{folder}/1f608.png.sh': good, f'{folder}/1F609.png': good,
        'package/img/twitter/64/1f60a.png': good,
    })
    assert script.images_of(path, 'google') == {
        '1f600.png': good, '1f603.png': good,
    }


@pytest.mark.parametrize('content, match', [
    (b'not an image', 'not a PNG'),
    (script.SIGNATURE + bytes(2**16), 'at most 65,536 bytes'),
])
def test_bad_images_are_refused(tmp_path, content, match):
    pack(tmp_path / 'x.tgz', {'package/img/google/64/1f600.png': content})
    with pytest.raises(errors.DataError, match=match):
        script.images_of(tmp_path / 'x.tgz', 'google')


def test_an_archive_without_images_is_refused(tmp_path):
    pack(tmp_path / 'x.tgz', {'package/README.png': b'x'})
    with pytest.raises(errors.DataError, match='has 0 images'):
        script.images_of(tmp_path / 'x.tgz', 'google')


def test_a_base_code_point_is_on_one_side(tmp_path):
    parts = script.split(script.groups(pictures('A'), pictures('B')))
    sides = [{script.base(name) for name in parts[part]} for part in parts]
    assert not sides[0] & sides[1] and len(sides[1]) == 2
    assert sorted(parts['train'] + parts['test']) == NAMES


def test_the_split_does_not_depend_on_the_order():
    domains = pictures('A'), pictures('B')
    backwards = [dict(reversed(domain.items())) for domain in domains]
    assert script.split(script.groups(*domains)) == (
        script.split(script.groups(*backwards))
    )


def test_base_code_points_with_a_common_image_are_one_group():
    domains = pictures('A'), pictures('B')
    first, second, third = (f'{point}.png' for point in POINTS[:3])
    domains[0][second] = domains[0][first]
    domains[1][third] = domains[1][second]
    groups = script.groups(*domains)
    assert len(groups) == 18
    assert groups[0] == sorted(NAMES[:6])


def test_names_of_one_domain_are_left_out(tmp_path):
    domains = {
        'A': pictures('A'), 'B': pictures('B', NAMES[:-2] + ['1f999.png'])
    }
    counts = script.write(domains, tmp_path / 'out')
    assert sum(counts.values()) == len(NAMES) - 2
    with pytest.raises(errors.DataError, match='exists already'):
        script.write(domains, tmp_path / 'out')


@pytest.mark.parametrize('names', [[], ['1f600.png', '1f600-1f3fb.png']])
def test_too_few_names_are_refused(tmp_path, names):
    domains = {letter: pictures(letter, names) for letter in 'AB'}
    with pytest.raises(errors.DataError, match='fewer than two base'):
        script.write(domains, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('arguments, match', [
    ([], '--downloads is missing'), (['--downloads=x'], '--out is missing'),
])
def test_missing_flags_are_named(arguments, match):
    parse(*arguments)
    with pytest.raises(errors.ConfigError, match=match):
        script.main([])
