"""Image listings of zip and tar archives, which are read in place.

Nothing is extracted to disk, so no member can write outside the archive. Sizes
are bounded before they are read, because archives are untrusted.
"""

import lzma
import os
import pathlib
import tarfile
import threading
import weakref
import zipfile
import zlib

from gan_jax.core import errors
from gan_jax.data import label_files
from gan_jax.data import listing as listing_lib
from gan_jax.data import memory

MAX_HELD = 4 * 2**30  # bytes of a compressed tar's images, kept in memory
MAX_MEMBERS = 500_000  # of a compressed tar; each takes a kilobyte of memory
MAX_HEADER = 2**18  # bytes of a name or another extended header of a tar
MAX_HEADERS = 2**28  # bytes of all extended headers
ZIP_HEADER = 30  # least bytes before a member's name and content
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError,
    MemoryError, NotImplementedError, OverflowError, RuntimeError, ValueError,
)


def zip_listing(path):
    """List a zip archive.

    Returns:
        `listing.Listing`, sorted by name.

    Raises:
        errors.DataError: if it cannot be read.
    """
    file = _file(path)
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, *DAMAGED) as error:
        raise _unreadable(path, error) from error
    _refuse_overlaps(path, archive.infolist())
    members = [
        (_name(info.filename), info, _zip_complaint(info))
        for info in archive.infolist() if not info.filename.endswith('/')
    ]
    lock = threading.Lock()  # one file position for all threads

    def read(info):
        complaint = _zip_complaint(info)  # of a file of labels
        if complaint:
            raise ValueError(complaint)
        try:
            with lock, archive.open(info) as member:
                # At most the size in the header, even if there is more.
                return member.read(info.file_size)
        except DAMAGED as error:
            raise ValueError(f'cannot be unpacked: {error}') from error

    return _listing(path, file, members, read)


def _refuse_overlaps(path, members):
    """Check that no members of a zip share bytes, as in a zip bomb.

    Raises:
        errors.DataError: with the names of two that do.
    """
    ordered = sorted(members, key=lambda info: info.header_offset)
    for info, after in zip(ordered, ordered[1:]):
        end = info.header_offset + ZIP_HEADER + info.compress_size
        if after.header_offset < end:
            names = [
                listing_lib.shown(member.filename) for member in (info, after)
            ]
            raise errors.DataError(
                f'{path} is not a whole archive: {names[0]} and {names[1]} '
                'overlap in it'
            )


def _zip_complaint(info):
    """Return why a member cannot be read; '' if it can."""
    if info.flag_bits & 1:
        return 'is encrypted'
    # The unpacked size of other methods cannot be bounded.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return 'has a compression method other than deflate'
    return listing_lib.too_large(info.file_size)


class _Info(tarfile.TarInfo):
    """A member of a tar whose extended headers are bounded.

    The methods are those that tarfile documents in comments for subclasses.
    """

    def _proc_member(self, archive):
        if self.type in LONG:
            archive.headers = getattr(archive, 'headers', 0) + self.size
            if self.size > MAX_HEADER or archive.headers > MAX_HEADERS:
                raise ValueError('its headers are too long')
        if self.type == tarfile.GNUTYPE_SPARSE:
            extended = self._sparse_structs[1]
            if extended:  # of any length
                raise ValueError(f'{self.name} is a sparse file')
        return super()._proc_member(archive)

    def _proc_gnusparse_10(self, member, headers, archive):
        member.sparse = []  # the map may have any length and is not read

    def _apply_pax_info(self, headers, encoding, errors):
        super()._apply_pax_info(headers, encoding, errors)
        self.pax_headers = {}  # otherwise each member keeps a copy


LONG = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE,
    tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)


def tar_listing(path):
    """List a tar archive; the images of a compressed one are read to memory.

    Returns:
        `listing.Listing`, sorted by name.

    Raises:
        errors.DataError: if it cannot be read, or is compressed and contains
            more than `MAX_HELD` bytes of images.
    """
    file = _file(path)
    try:
        with tarfile.open(file, 'r:', tarinfo=_Info) as archive:
            members = archive.getmembers()
    except tarfile.ReadError:
        return _compressed(path, file)
    except (OSError, *DAMAGED) as error:
        raise _unreadable(path, error) from error
    content = os.open(file, os.O_RDONLY)

    def read(member):
        complaint = _complaint(member)  # of a file of labels
        if complaint:
            raise ValueError(complaint)
        return os.pread(content, member.size, member.offset_data)

    weakref.finalize(read, os.close, content)
    return _listing(path, file, _files(members), read)


def _compressed(path, file):
    """List a compressed tar, which can only be read from start to end."""
    members, contents, total = [], {}, 0
    most = min(MAX_HELD, memory.free())
    try:
        with tarfile.open(file, 'r:*', tarinfo=_Info) as archive:
            for member in archive:
                members.append(member)
                if len(members) > MAX_MEMBERS:
                    raise errors.DataError(
                        f'{path} is compressed and holds more than '
                        f'{MAX_MEMBERS:,} members: unpack it'
                    )
                name = _name(member.name)
                if not _complaint(member) and (
                    label_files.is_one(name)
                    or not listing_lib.why_ignored(name)
                ):
                    total += member.size
                    if total > most:
                        raise errors.DataError(
                            f'{path} is compressed and holds more than '
                            f'{most:,} bytes of images: unpack it, or use '
                            'a tar without compression'
                        )
                    file_object = archive.extractfile(member)
                    contents[member.offset] = file_object.read()
    except (OSError, *DAMAGED) as error:
        raise _unreadable(path, error) from error

    def read(member):
        if member.offset not in contents:
            raise ValueError(_complaint(member))
        return contents[member.offset]

    return _listing(path, file, _files(members), read)


def _files(members):
    """List (name, member, why it is bad or '') of all members but folders."""
    return [
        (_name(member.name), member, _complaint(member))
        for member in members if not member.isdir()
    ]


def _name(path):
    """Remove the parts of a path that lead out of the archive, or nowhere.

    './cat/1.png', '../cat/1.png' and '/cat/1.png' become 'cat/1.png'.
    """
    return '/'.join(
        part for part in path.split('/') if part not in ('', '.', '..')
    )


def _complaint(member):
    """Return why a member of a tar cannot be read; '' if it can."""
    if not member.isreg() or member.issparse():
        return 'is not a regular file in the archive'
    return listing_lib.too_large(member.size)


def _file(path):
    file = pathlib.Path(os.path.expanduser(path))
    if not os.path.isfile(file):
        raise errors.DataError(f'{path} is not a file')
    return file


def _unreadable(path, error):
    reason = str(error).partition('\n')[0].rstrip(':')
    return errors.DataError(
        f'{path} is not a whole archive: {reason or type(error).__name__}'
    )


def _listing(path, file, members, read):
    """Build a listing of (name, member, why it is bad or '')."""
    status = file.stat()
    return listing_lib.make(
        path,
        [(name, member, listing_lib.why_ignored(name), complaint)
         for name, member, complaint in members],
        read,
        listing_lib.digest(
            file.resolve(), status.st_size, status.st_mtime_ns
        ),
    )
