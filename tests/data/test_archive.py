"""Zip and tar archives, and what is refused in them."""

import bz2
from concurrent import futures
import gc
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.data import archive
from gan_jax.data import listing as listing_lib
from gan_jax.data import memory
from gan_jax.data import pictures
from gan_jax.data import reading
from gan_jax.data import sources

PACKED = {'gz': gzip.compress, 'bz2': bz2.compress, 'xz': lzma.compress}
PNG = image_files.flat(1)
FORMS = [
    'stored.zip', 'deflated.zip', 'x.tar', 'x.tgz', 'x.tar.gz', 'x.tar.bz2',
    'x.tar.xz',
]
METHODS = {
    'stored': zipfile.ZIP_STORED, 'deflated': zipfile.ZIP_DEFLATED,
    'bzip2': zipfile.ZIP_BZIP2, 'lzma': zipfile.ZIP_LZMA,
}


def zip_of(members, method='deflated'):
    """Return a zip; members are (name, bytes), or names for folders."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', METHODS[method]) as made:
        for name, content in members:
            made.writestr(name, content)
    return file.getvalue()


def tar_of(members, form=tarfile.PAX_FORMAT):
    """Return a tar; members are (name, bytes) or TarInfo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w', format=form) as made:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                made.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            made.addfile(info, io.BytesIO(member[1]))
    return file.getvalue()


def write(path, members):
    """Write an archive in the format of its name."""
    if path.suffix == '.zip':
        content = zip_of(members, path.stem)
    else:
        form = 'gz' if path.suffix == '.tgz' else path.suffix[1:]
        content = PACKED.get(form, bytes)(tar_of(members))
    path.write_bytes(content)
    return path


def listing(path):
    kind = archive.zip_listing if path.suffix == '.zip' else archive.tar_listing
    return kind(path)


def levels(listed):
    """Decode images of a single grey level each."""
    contents = listed.read(list(range(len(listed.files))))
    return [
        int(pictures.decode(content).pixels[0, 0, 0]) for content in contents
    ]


@pytest.mark.parametrize('name', FORMS)
def test_images_are_read_sorted_with_classes(name, tmp_path):
    path = write(tmp_path / name, [
        ('pets/dog/2.PNG', image_files.flat(2)),
        ('pets/dog/1.png', image_files.flat(1)),
        ('pets/read.me', b'no image'),
        ('pets/cat/3.webp', image_files.flat(3, form='WEBP', lossless=True)),
        ('pets/.hidden.png', b''),
        ('__MACOSX/pets/cat/3.png', b''),
    ])
    listed = listing(path)
    assert listed.files == (
        'pets/cat/3.webp', 'pets/dog/1.png', 'pets/dog/2.PNG'
    )
    assert listed.classes == ('cat', 'dog')
    np.testing.assert_array_equal(listed.labels, [0, 1, 1])
    assert levels(listed) == [3, 1, 2]
    assert dict(listed.ignored) == {
        'pets/read.me': 'ends in .me', 'pets/.hidden.png': 'is hidden',
        '__MACOSX/pets/cat/3.png': 'is hidden',
    }
    assert listed.skipped == ()
    for room in (None, 0):
        dataset = sources.load(
            sources.Request(sources.uri_of_path(path), memory=room)
        )
        np.testing.assert_array_equal(dataset.images[:][:, 0, 0, 0], [3, 1, 2])
        np.testing.assert_array_equal(dataset.labels, [0, 1, 1])


@pytest.mark.parametrize('name', FORMS)
def test_threads_read_what_one_reads(name, tmp_path):
    contents = [
        image_files.encoded(image)
        for image in helpers.random_images(60, (12, 12, 3))
    ]
    listed = listing(write(tmp_path / name, [
        (f'{place:02d}.png', content) for place, content in enumerate(contents)
    ]))
    assert listed.labels is None
    orders = [np.random.RandomState(n).permutation(60) for n in range(24)]
    with futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(listed.read, orders))
    for order, given in zip(orders, read):
        assert given == [contents[place] for place in order]


@pytest.mark.parametrize('name', FORMS)
def test_names_that_lead_out_of_the_archive_write_nothing(name, tmp_path):
    inside = tmp_path / 'a' / 'b'
    inside.mkdir(parents=True)
    outside = tmp_path / 'outside.png'
    listed = listing(write(inside / name, [
        ('../../outside.png', image_files.flat(1)),
        (str(outside), image_files.flat(2)),
        ('./plain.png', image_files.flat(3)),
        ('../.hidden.png', image_files.flat(4)),
    ]))
    assert sorted(levels(listed)) == [1, 2, 3]
    assert all('..' not in file for file in listed.files)
    assert len(listed.ignored) == 1
    assert sorted(tmp_path.rglob('*')) == [
        tmp_path / 'a', inside, inside / name
    ]


@pytest.mark.parametrize('name', ['x.tar', 'x.tar.gz'])
@pytest.mark.parametrize('kind', [
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
    tarfile.BLKTYPE,
])
def test_members_of_a_tar_that_are_not_files_are_skipped(kind, name, tmp_path):
    link = tarfile.TarInfo('a.png')
    link.type, link.linkname = kind, '/etc/passwd'
    folder = tarfile.TarInfo('folder')
    folder.type = tarfile.DIRTYPE
    listed = listing(write(
        tmp_path / name, [folder, link, ('b.png', image_files.flat(5))]
    ))
    assert listed.files == ('b.png',) and levels(listed) == [5]
    assert listed.skipped == (
        ('a.png', 'is not a regular file in the archive'),
    )


@pytest.mark.parametrize('sparse', [
    {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0',
     'GNU.sparse.name': 'a.png', 'GNU.sparse.realsize': '99999999999'},
    {'GNU.sparse.map': '0,1', 'GNU.sparse.size': '99999999999'},
])
@pytest.mark.parametrize('name', ['x.tar', 'x.tar.gz'])
def test_sparse_member_is_skipped(name, sparse, tmp_path):
    info = tarfile.TarInfo('a.png')
    info.pax_headers, info.size = sparse, 512
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as made:
        made.addfile(info, io.BytesIO(b'1\n0\n1\n'.ljust(512, b'\0')))
    packed = PACKED.get(name.rpartition('.')[2], bytes)(file.getvalue())
    (tmp_path / name).write_bytes(packed)
    ((member, reason),) = listing(tmp_path / name).skipped
    assert (member, reason) == ('a.png', 'is not a regular file in the archive')


def test_encrypted_member_is_skipped(tmp_path):
    members = [('a.png', b'x'), ('b.png', image_files.flat(7))]
    content = bytearray(zip_of(members))
    for signature, offset in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / 'x.zip').write_bytes(content)
    listed = listing(tmp_path / 'x.zip')
    assert listed.skipped == (('a.png', 'is encrypted'),)
    assert levels(listed) == [7]


@pytest.mark.parametrize('method', ['bzip2', 'lzma'])
def test_unbounded_compression_is_skipped(method, tmp_path):
    path = tmp_path / 'x.zip'
    path.write_bytes(zip_of([('a.png', image_files.flat(7))], method))
    ((_, reason),) = listing(path).skipped
    assert reason.startswith('has a compression method')


@pytest.mark.parametrize('name', FORMS)
def test_member_that_is_too_large_is_skipped_unread(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr(listing_lib, 'MAX_BYTES', 1000)
    listed = listing(write(
        tmp_path / name, [('a.png', bytes(1001)), ('b.png', bytes(1000))]
    ))
    assert listed.skipped == (('a.png', 'has 1,001 bytes, over 1,000'),)
    assert listed.read([0]) == [bytes(1000)]


def test_bomb_unpacks_to_at_most_the_size_in_its_header(tmp_path):
    """The header has a size of 10 bytes, the content unpacks to 64 MiB."""
    content = bytearray(zip_of([('a.png', bytes(2**26))]))
    for signature, offset in ((b'PK\3\4', 22), (b'PK\1\2', 24)):
        place = content.index(signature) + offset
        assert struct.unpack_from('<I', content, place) == (2**26,)
        struct.pack_into('<I', content, place, 10)
    (tmp_path / 'x.zip').write_bytes(content)
    listed = listing(tmp_path / 'x.zip')
    tracemalloc.start()
    with pytest.raises(ValueError, match='cannot be unpacked: Bad CRC-32'):
        listed.read([0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def header(kind, size, content=b''):
    """Return a member of a tar that describes the next one."""
    info = tarfile.TarInfo('p')
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + content.ljust(-(-size // 512) * 512,
                                                          b'\0')


@pytest.mark.parametrize('name', ['x.tar', 'x.tar.gz'])
@pytest.mark.parametrize('kind', [
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
])
def test_long_header_of_a_tar_is_not_read(kind, name, tmp_path):
    content = header(kind, 2**25) + tar_of([('a.png', PNG)])
    packed = gzip.compress(content, 1) if name.endswith('gz') else content
    (tmp_path / name).write_bytes(packed)
    tracemalloc.start()
    with pytest.raises(errors.DataError, match='headers are too long'):
        listing(tmp_path / name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_sum_of_headers_and_count_of_members_are_bounded(tmp_path, monkeypatch):
    long = header(tarfile.GNUTYPE_LONGNAME, 512, b'x' * 500)
    (tmp_path / 'x.tar').write_bytes(
        b''.join(long + tar_of([('a', b'')])[:512] for _ in range(4))
        + bytes(1024)
    )
    assert len(listing(tmp_path / 'x.tar').ignored) == 4
    monkeypatch.setattr(archive, 'MAX_HEADERS', 2000)
    with pytest.raises(errors.DataError, match='headers are too long'):
        listing(tmp_path / 'x.tar')
    path = write(tmp_path / 'x.tar.gz', [(f'{n}.png', PNG) for n in range(5)])
    monkeypatch.setattr(archive, 'MAX_MEMBERS', 4)
    with pytest.raises(errors.DataError, match='more than 4 members'):
        listing(path)


def test_map_of_a_sparse_member_is_not_read(tmp_path):
    info = tarfile.TarInfo('a.png')
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1  # extended: blocks of 21 entries follow
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    (tmp_path / 'x.tar').write_bytes(block + bytes(1024))
    with pytest.raises(errors.DataError, match='a.png is a sparse file'):
        listing(tmp_path / 'x.tar')


def test_memory_of_a_compressed_tar_is_checked(
    tmp_path, monkeypatch
):
    path = write(tmp_path / 'x.tar.gz', [('a.png', bytes(100))])
    monkeypatch.setattr(memory, 'free', lambda: 99)
    with pytest.raises(errors.DataError, match='more than 99 bytes'):
        listing(path)
    assert len(listing(write(tmp_path / 'x.tar', [('a.png', PNG)])).files) == 1


def test_members_of_a_zip_that_share_bytes_are_refused(tmp_path):
    content = bytearray(zip_of([(f'{n}.png', PNG) for n in range(3)]))
    first = content.index(b'PK\1\2')
    third = content.rindex(b'PK\1\2')
    content[third + 42:third + 46] = content[first + 42:first + 46]  # its place
    (tmp_path / 'x.zip').write_bytes(content)
    with pytest.raises(errors.DataError, match='0.png and 2.png overlap'):
        listing(tmp_path / 'x.zip')


def test_one_member_is_unpacked_at_a_time(tmp_path, monkeypatch):
    """Eight threads with 4 MiB each would exceed the bound."""
    monkeypatch.setattr(os, 'cpu_count', lambda: 4)
    path = tmp_path / 'x.zip'
    path.write_bytes(zip_of([
        (f'{n}.png', PNG + bytes(2**22)) for n in range(16)
    ]))
    tracemalloc.start()
    images, good = reading.read(listing(path), pictures.Preparation())
    pixels = reading.Lazy(listing(path), good, images.shape[1:],
                          pictures.Preparation())[:]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(pixels, images)
    assert len(images) == 16 and peak < 12 * 2**22


def test_images_of_a_compressed_tar_are_bounded(
    tmp_path, monkeypatch
):
    members = [(f'{n}.png', bytes(100)) for n in range(5)]
    members.append(('long.txt', bytes(1000)))  # is not held
    path = write(tmp_path / 'x.tar.gz', members)
    monkeypatch.setattr(archive, 'MAX_HELD', 500)
    assert len(listing(path).files) == 5
    monkeypatch.setattr(archive, 'MAX_HELD', 499)
    with pytest.raises(errors.DataError, match='more than 499 bytes'):
        listing(path)
    assert len(listing(write(tmp_path / 'x.tar', members)).files) == 5


@pytest.mark.parametrize('name', ['stored.zip', 'x.tar', 'x.tar.gz'])
@pytest.mark.parametrize('content', [b'', b'a text', b'PK\3\4', bytes(2000)])
def test_file_that_is_not_an_archive_is_named(content, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    empty_tar = name != 'stored.zip' and content == bytes(2000)
    says = 'holds no image' if empty_tar else 'is not a whole archive'
    with pytest.raises(errors.DataError, match=says) as caught:
        sources.load(sources.Request(sources.uri_of_path(path)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize('name', FORMS)
def test_truncated_archive_is_reported(name, tmp_path):
    contents = [
        image_files.encoded(image)
        for image in helpers.random_images(4, (20, 20, 3))
    ]
    path = write(
        tmp_path / name, [(f'{n}.png', c) for n, c in enumerate(contents)]
    )
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.75):
        path.write_bytes(whole[:int(share * len(whole))])
        with pytest.raises(errors.DataError, match='is not a whole archive'):
            listing(path)


@pytest.mark.parametrize('name', FORMS)
def test_damage_anywhere_is_reported_or_harmless(name, tmp_path):
    path = write(tmp_path / name, [
        (f'c{n % 2}/{n}.png', image_files.flat(n)) for n in range(3)
    ])
    whole = path.read_bytes()
    random = np.random.RandomState(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.randint(0, len(content), random.randint(1, 4)):
            content[place] = random.randint(256)
        path.write_bytes(content)
        try:
            reading.read(listing(path), pictures.Preparation(), max_bad=1)
        except errors.DataError:
            pass


def test_damaged_member_is_skipped_and_named(tmp_path, capsys):
    members = [(f'{n}.png', image_files.flat(n)) for n in range(3)]
    path = write(tmp_path / 'stored.zip', members)
    path.write_bytes(path.read_bytes().replace(members[1][1], b'?' * len(
        members[1][1]
    )))
    images, good = reading.read(
        listing(path), pictures.Preparation(), max_bad=0.5
    )
    np.testing.assert_array_equal(good, [0, 2])
    np.testing.assert_array_equal(images[:, 0, 0, 0], [0, 2])
    told = capsys.readouterr().err
    assert '1.png' in told and 'Bad CRC-32' in told


@pytest.mark.parametrize('name', ['none.zip', '', 'x' * 300, '~nobody/x.tar'])
def test_path_that_is_not_a_file_is_named(name, tmp_path):
    for kind in (archive.zip_listing, archive.tar_listing):
        with pytest.raises(errors.DataError, match='is not a file'):
            kind(f'{tmp_path}/{name}' if name[:1] != '~' else name)


def test_later_of_two_members_of_a_name_keeps_its_own_pixels(tmp_path):
    members = [('a.png', image_files.flat(1)), ('a.png', image_files.flat(2))]
    for name in ('x.tar', 'x.tar.gz'):
        assert levels(listing(write(tmp_path / name, members))) == [1, 2]


def test_zip_member_without_a_name_is_ignored(tmp_path):
    content = bytearray(zip_of([('a', b''), ('b.png', image_files.flat(1))]))
    for signature, offset in ((b'PK\3\4', 26), (b'PK\1\2', 28)):
        # No byte of name and one of what follows it, in place of one and none.
        place = content.index(signature) + offset
        struct.pack_into('<HH', content, place, 0, 1)
    (tmp_path / 'x.zip').write_bytes(content)
    listed = listing(tmp_path / 'x.zip')
    assert listed.files == ('b.png',)
    assert listed.ignored == (('', 'has no ending'),)


@pytest.mark.integration
@pytest.mark.parametrize('name', FORMS)
def test_file_is_closed_when_its_listing_is_gone(name, tmp_path):
    path = write(tmp_path / name, [('a.png', image_files.flat(1))])
    for _ in range(3):
        assert levels(listing(path)) == [1]
    gc.collect()
    opened = [
        os.readlink(entry.path) for entry in os.scandir('/proc/self/fd')
        if os.path.exists(entry.path)
    ]
    assert str(path) not in opened


def test_fingerprint_follows_size_and_time(tmp_path):
    path = write(tmp_path / 'x.tar', [('a.png', image_files.flat(1))])
    os.utime(path, (1, 1))
    first = listing(path).fingerprint
    assert first == listing(path).fingerprint
    os.utime(path, (2, 2))
    assert listing(path).fingerprint != first
    write(path, [(f'{n}.png', image_files.flat(1)) for n in range(20)])
    os.utime(path, (1, 1))
    assert listing(path).fingerprint != first
