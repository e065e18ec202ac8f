"""List the images of a zip or tar archive and read them where they lie.

Nothing is unpacked, so no member can write or lead outside of the archive.
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
from gan_jax.data import listing as listing_lib
from gan_jax.data import memory

MAX_HELD = 4 * 2**30  # bytes of a compressed tar's images, held in memory
MAX_MEMBERS = 500_000  # of a compressed tar; each takes a kilobyte
MAX_HEADER = 2**18  # bytes of a name, or of what else a tar says of a member
MAX_HEADERS = 2**28  # bytes of all of them
ZIP_HEADER = 30  # bytes before the name of a member and its content, at least
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError,
    MemoryError, NotImplementedError, OverflowError, RuntimeError, ValueError,
)


def zip_listing(path):
    """List a zip archive.

    Returns:
        `listing.Listing`, sorted by name.

    Raises:
        errors.DataError: where it cannot be read.
    """
    file = _file(path)
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, *DAMAGED) as error:
        raise _unreadable(path, error) from error
    _refuse_overlaps(path, archive.infolist())
    found = [
        (_name(info.filename), info, _zip_complaint(info))
        for info in archive.infolist() if not info.filename.endswith('/')
    ]
    lock = threading.Lock()  # one file position for all threads

    def read(info):
        try:
            with lock, archive.open(info) as member:
                # No more than the header says, whatever it unpacks to.
                return member.read(info.file_size)
        except DAMAGED as error:
            raise ValueError(f'cannot be unpacked: {error}') from error

    return _listing(path, file, found, read)


def _refuse_overlaps(path, members):
    """Refuse a zip in which members share bytes, so that few give many.

    Raises:
        errors.DataError: naming two of them.
    """
    ordered = sorted(members, key=lambda info: info.header_offset)
    for info, after in zip(ordered, ordered[1:]):
        end = info.header_offset + ZIP_HEADER + info.compress_size
        if after.header_offset < end:
            names = [
                listing_lib.shown(each.filename) for each in (info, after)
            ]
            raise errors.DataError(
                f'{path} is not a whole archive: {names[0]} and {names[1]} '
                'overlap in it'
            )


def _zip_complaint(info):
    if info.flag_bits & 1:
        return 'is encrypted'
    # What the others unpack to cannot be bounded.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return 'is compressed otherwise than zip archives commonly are'
    return listing_lib.too_large(info.file_size)


class _Info(tarfile.TarInfo):
    """A member of a tar whose headers are read within bounds.

    The entry points are those that tarfile's comments name for subclasses.
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
        member.sparse = []  # its map, of any length, is left with its content

    def _apply_pax_info(self, headers, encoding, errors):
        super()._apply_pax_info(headers, encoding, errors)
        self.pax_headers = {}  # which each member would hold anew


LONG = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE,
    tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)


def tar_listing(path):
    """List a tar archive; the images of a compressed one are held in memory.

    Returns:
        `listing.Listing`, sorted by name.

    Raises:
        errors.DataError: where it cannot be read, or is compressed and holds
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
        return os.pread(content, member.size, member.offset_data)

    weakref.finalize(read, os.close, content)
    return _listing(path, file, _found(members), read)


def _compressed(path, file):
    """List a tar that can be read from end to end alone."""
    members, held, total = [], {}, 0
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
                if not _complaint(member) and not listing_lib.why_ignored(
                        _name(member.name)):
                    total += member.size
                    if total > most:
                        raise errors.DataError(
                            f'{path} is compressed and holds more than '
                            f'{most:,} bytes of images: unpack it, or use '
                            'a tar without compression'
                        )
                    held[member.offset] = archive.extractfile(member).read()
    except (OSError, *DAMAGED) as error:
        raise _unreadable(path, error) from error
    return _listing(
        path, file, _found(members), lambda member: held[member.offset]
    )


def _found(members):
    """Give (name, member, why it is bad) of what is not a folder."""
    return [
        (_name(member.name), member, _complaint(member))
        for member in members if not member.isdir()
    ]


def _name(path):
    """Leave out of a member's path what leads out of the archive, or nowhere.

    'cat/1.png' of './cat/1.png', '../cat/1.png' and '/cat/1.png'.
    """
    return '/'.join(
        part for part in path.split('/') if part not in ('', '.', '..')
    )


def _complaint(member):
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


def _listing(path, file, found, read):
    """Make a listing of (name, member, why it is bad)."""
    status = file.stat()
    return listing_lib.make(
        path,
        [(name, member, listing_lib.why_ignored(name), complaint)
         for name, member, complaint in found],
        read,
        listing_lib.digest(
            file.resolve(), status.st_size, status.st_mtime_ns
        ),
    )
