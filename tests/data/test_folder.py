"""A folder's images in the order of their names, and its classes and splits."""

import os
import pathlib
import shutil
import socket

import numpy as np
import pytest

import image_files
from gan_jax.core import errors
from gan_jax.data import folder
from gan_jax.data import listing as listing_lib
from gan_jax.data import sources


def fill(root, *names):
    """Write an image under each name."""
    for name in names:
        image_files.write(root / name)


def listed(root):
    return folder.listing(root)


def of_split(root, split='train', make=folder.listing):
    return listing_lib.of_split(make(root), split)


def test_flat_folder_is_listed_in_the_order_of_names(tmp_path):
    for name, grey in (('b.png', 20), ('a.PNG', 10), ('c.bmp', 30)):
        form = name[2:].upper()
        image_files.write(
            tmp_path / name, image_files.flat(grey, form=form)
        )
    found = listed(tmp_path)
    assert found.files == ('a.PNG', 'b.png', 'c.bmp')
    assert found.labels is None and found.classes == ()
    assert found.read([2, 0]) == [
        (tmp_path / name).read_bytes() for name in ('c.bmp', 'a.PNG')
    ]


def test_order_is_that_of_whole_names_as_in_an_archive(tmp_path):
    fill(tmp_path, 'cat/2.png', 'cat/1.png', 'cat-big/1.png', 'cat.png')
    assert listed(tmp_path).files == (
        'cat-big/1.png', 'cat.png', 'cat/1.png', 'cat/2.png'
    )


@pytest.mark.parametrize('ending', listing_lib.ENDINGS)
def test_each_ending_is_taken_in_either_case(ending, tmp_path):
    fill(tmp_path, f'a{ending}', f'b{ending.upper()}')
    assert len(listed(tmp_path).files) == 2


def test_subfolders_are_classes(tmp_path):
    fill(tmp_path, 'dog/1.png', 'cat/1.png', 'cat/2.png', 'cat/deep/3.png')
    found = listed(tmp_path)
    assert found.classes == ('cat', 'dog')
    np.testing.assert_array_equal(found.labels, [0, 0, 0, 1])
    assert found.labels.dtype == np.int32


@pytest.mark.parametrize('shared', ['all', 'all/of/them'])
def test_folders_that_hold_all_images_are_not_classes(shared, tmp_path):
    fill(tmp_path, f'{shared}/dog/1.png', f'{shared}/cat/1.png')
    assert listed(tmp_path).classes == ('cat', 'dog')
    fill(tmp_path, 'flat/all/1.png')
    assert listed(tmp_path / 'flat').classes == ()


def test_images_beside_folders_have_no_classes(tmp_path):
    fill(tmp_path, 'dog/1.png', 'cat/1.png', 'cover.png')
    found = listed(tmp_path)
    assert found.labels is None and found.classes == ()
    assert len(found.files) == 3


@pytest.mark.parametrize(
    'train, test', [('train', 'test'), ('training', 'val'),
                    ('train', 'validation')],
)
def test_train_and_test_are_splits_not_classes(train, test, tmp_path):
    fill(tmp_path, f'{train}/dog/1.png', f'{train}/cat/1.png')
    fill(tmp_path, f'{test}/dog/2.png', f'{test}/cat/2.png')
    for split, number in (('train', 1), ('test', 2)):
        found, chosen = of_split(tmp_path, split)
        assert chosen and found.classes == ('cat', 'dog')
        where = train if number == 1 else test
        assert found.files == (
            f'{where}/cat/{number}.png', f'{where}/dog/{number}.png'
        )


def test_other_files_beside_splits_do_not_make_them_classes(tmp_path):
    fill(tmp_path, 'train/1.png', 'test/1.png', '__MACOSX/1.png', '.x/1.png')
    (tmp_path / 'README.txt').touch()
    (tmp_path / '.DS_Store').touch()
    found, chosen = of_split(tmp_path, 'test')
    assert chosen and found.files == ('test/1.png',)


def test_single_folder_is_not_a_split(tmp_path):
    fill(tmp_path, 'train/cat/1.png', 'train/dog/1.png')
    found, chosen = of_split(tmp_path)
    assert not chosen and found.classes == ('cat', 'dog')


@pytest.mark.parametrize('other', ['dog/1.png', 'cover.png'])
def test_other_images_beside_splits_make_them_classes(other, tmp_path):
    fill(tmp_path, 'train/1.png', 'test/1.png', other)
    found, chosen = of_split(tmp_path)
    assert not chosen and len(found.files) == 3


def test_files_with_names_of_splits_are_not_splits(tmp_path):
    fill(tmp_path, 'cat/1.png', 'dog/1.png')
    (tmp_path / 'train').touch()
    (tmp_path / 'test').touch()
    found, chosen = of_split(tmp_path)
    assert not chosen and found.classes == ('cat', 'dog')


@pytest.mark.parametrize('form', ['folder', 'zip', 'tar'])
def test_split_reaches_the_data_set(form, tmp_path):
    root = tmp_path / 'root'
    fill(root, 'x/train/1.png', 'x/train/2.png', 'x/test/1.png')
    path = root if form == 'folder' else shutil.make_archive(
        root, form, tmp_path, 'root'
    )
    for split, count in (('train', 2), ('test', 1)):
        request = sources.Request(f'{form}:{path}', split=split)
        assert len(sources.load(request).images) == count
        assert len(sources.files(request).listing.files) == count


def test_bad_files_of_the_other_split_are_not_reported(tmp_path):
    fill(tmp_path, 'train/1.png', 'test/1.png')
    for split in ('train', 'test'):
        os.symlink('nowhere', tmp_path / split / 'bad.png')
        found, _ = of_split(tmp_path, split)
        assert [name for name, _ in found.skipped] == [f'{split}/bad.png']
        tmp_path.joinpath(split, 'bad.png').unlink()


def test_hidden_and_other_files_are_ignored_with_reasons(tmp_path):
    fill(
        tmp_path, 'good.png', '._good.png', '.DS_Store', '.cache/1.png',
        '__MACOSX/1.png', 'note.txt', 'LICENSE', 'movie.mp4', 'x.png.part',
    )
    found = listed(tmp_path)
    assert found.files == ('good.png',) and found.skipped == ()
    assert dict(found.ignored) == {
        '.DS_Store': 'is hidden', '.cache': 'is hidden',
        '._good.png': 'is hidden', '__MACOSX/1.png': 'is hidden',
        'LICENSE': 'has no ending', 'movie.mp4': 'ends in .mp4',
        'note.txt': 'ends in .txt', 'x.png.part': 'ends in .part',
    }


@pytest.mark.parametrize('name, reason', [
    ('.git/x.png', 'is hidden'), ('a/__MACOSX/x.png', 'is hidden'),
    ('a/._x.png', 'is hidden'), ('a.png/x', 'has no ending'),
    ('a/x.Png', ''),
])
def test_member_of_an_archive_is_ignored_by_its_path(name, reason):
    assert listing_lib.why_ignored(name) == reason


def test_links_are_followed_and_each_folder_entered_once(tmp_path):
    root = tmp_path / 'root'
    fill(root, 'a/1.png')
    fill(tmp_path, 'far/2.png')
    (root / 'link.png').symlink_to(root / 'a' / '1.png')
    (root / 'a' / 'up').symlink_to(root)
    (root / 'far').symlink_to(tmp_path / 'far')
    (root / 'z').symlink_to(root / 'a')
    found = listed(root)
    assert found.files == ('a/1.png', 'far/2.png', 'link.png')
    assert found.ignored == tuple(
        (name, 'leads back to a folder that is read') for name in ('a/up', 'z')
    )


def sparse(path, size=listing_lib.MAX_BYTES + 1):
    path.touch()
    os.truncate(path, size)


def bound(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


NO_FILES = {
    'fifo': (os.mkfifo, 'is not a regular file'),
    'socket': (bound, 'is not a regular file'),
    'device': (lambda path: path.symlink_to('/dev/null'),
               'is not a regular file'),
    'dangling link': (lambda path: path.symlink_to('nothing'),
                      'is a link to nothing'),
    'link to itself': (lambda path: path.symlink_to(path.name),
                       'cannot be read: Too many levels of symbolic links'),
    'huge': (sparse, 'has 268,435,457 bytes, over 268,435,456'),
}


@pytest.mark.parametrize('make, reason', NO_FILES.values(), ids=NO_FILES)
def test_special_files_are_bad_without_being_opened(
    make, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    fill(tmp_path, 'good.png')
    make(pathlib.Path('bad.png'))
    found = listed(tmp_path)
    assert found.files == ('good.png',)
    assert found.skipped == (('bad.png', reason),)


def test_file_of_the_largest_size_is_listed(tmp_path):
    sparse(tmp_path / 'large.png', listing_lib.MAX_BYTES)
    assert listed(tmp_path).files == ('large.png',)


def test_unreadable_folder_is_reported_as_bad(tmp_path, monkeypatch):
    fill(tmp_path, 'cat/1.png', 'dog/1.png')
    scandir = os.scandir

    def shut(path):
        if str(path).endswith('dog'):
            raise PermissionError(13, 'Permission denied')
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', shut)
    found = listed(tmp_path)
    assert found.files == ('cat/1.png',)
    assert found.skipped == (('dog', 'cannot be read: Permission denied'),)


@pytest.mark.parametrize(
    'name', ['none', 'file.png', 'file.png/below', 'dangling']
)
def test_path_that_is_not_a_folder_is_named(name, tmp_path):
    fill(tmp_path, 'file.png')
    (tmp_path / 'dangling').symlink_to('nothing')
    with pytest.raises(errors.DataError, match=f"{name}' is not a folder"):
        folder.listing(tmp_path / name)


def test_path_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'loop').symlink_to('loop')
    with pytest.raises(errors.DataError, match='cannot be read: Too many'):
        folder.listing(tmp_path / 'loop')


def test_tilde_is_the_home_folder(tmp_path, monkeypatch):
    fill(tmp_path, 'images/1.png')
    monkeypatch.setenv('HOME', str(tmp_path))
    found = listed('~/images')
    assert found.files == ('1.png',) and found.name == '~/images'


def test_fingerprint_follows_names_sizes_and_times(tmp_path):
    fill(tmp_path, 'a.png', 'b.png')
    seen = {listed(tmp_path).fingerprint}
    fill(tmp_path, '.DS_Store')
    assert listed(tmp_path).fingerprint in seen
    os.utime(tmp_path / 'a.png', (1, 1))
    seen.add(listed(tmp_path).fingerprint)
    (tmp_path / 'a.png').write_bytes(b'other')
    os.utime(tmp_path / 'a.png', (1, 1))
    seen.add(listed(tmp_path).fingerprint)
    (tmp_path / 'b.png').rename(tmp_path / 'c.png')
    seen.add(listed(tmp_path).fingerprint)
    assert len(seen) == 4


def test_name_that_is_not_utf_8_is_listed(tmp_path):
    name = os.fsdecode(b'\xff.png')
    fill(tmp_path, name)
    found = listed(tmp_path)
    assert found.files == (name,) and found.fingerprint


def test_folder_with_splits_refuses_a_test_share(tmp_path):
    fill(tmp_path, 'train/1.png', 'test/1.png')
    with pytest.raises(errors.DataError, match='has splits of its own'):
        sources.load(
            sources.Request(f'folder:{tmp_path}', test_share=0.5)
        )


def test_home_of_an_unknown_user_is_refused():
    with pytest.raises(errors.DataError, match='is not a folder'):
        folder.listing('~no-such-user/images')
