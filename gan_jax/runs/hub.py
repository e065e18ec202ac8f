"""Releases on a model hub, by the package huggingface_hub, an extra.

A release is pulled into the package's cache, or pushed from its folder. Only
files of a release are transferred. What was pulled is verified as it is loaded.
"""

import importlib
import os
import re

from gan_jax.core import errors
from gan_jax.runs import release_files

SCHEME = 'hf://'
NAME = re.compile(
    r'(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,255}))?',
    re.ASCII,
)
PATTERNS = (release_files.SUMS, *release_files.NAMES)
MOST = 8 * 2**30  # bytes of a release that is downloaded


def is_on_hub(path):
    """Return whether a path is one of a model hub, 'hf://OWNER/NAME'."""
    return os.fspath(path).startswith(SCHEME)


def local(path):
    """Return the folder of a path; a release on a hub is pulled first.

    Args:
        path: of a folder, or 'hf://OWNER/NAME' with or without '@REVISION'.

    Raises:
        errors.ConfigError: where it is no name, or the extra is missing.
        errors.ReleaseError: where it cannot be pulled.
    """
    return pull(path) if is_on_hub(path) else path


def pull(path, folder=None):
    """Download a release from a hub, at most `MOST` bytes.

    The hub is asked first for names and sizes, and then for the files of that
    revision. Where it does not answer, the cache is used, which knows what a
    branch or a tag was when it was pulled.

    Args:
        path: 'hf://OWNER/NAME', with or without the scheme and '@REVISION'.
        folder: to write to; by default one in the cache of huggingface_hub.

    Returns:
        Path of the folder, as text.

    Raises:
        errors.UserError: as `local`.
    """
    repo, revision = parse(path)

    def call(library):
        options = {'allow_patterns': list(PATTERNS)}
        if folder is not None:
            options['local_dir'] = os.fspath(folder)
        try:
            found = library.HfApi().model_info(
                repo, revision=revision, files_metadata=True
            )
        except Exception as error:
            answered = getattr(error, 'response', None) is not None
            if answered or folder is not None:
                raise
            options['local_files_only'] = True
            return library.snapshot_download(
                repo, revision=revision, **options
            )
        _check_files(path, found.siblings)
        if folder is not None:
            return library.snapshot_download(
                repo, revision=found.sha, **options
            )
        # By the given name, which the cache keeps only then.
        cached = library.snapshot_download(repo, revision=revision, **options)
        if os.path.basename(cached) != found.sha:
            raise errors.ReleaseError(
                f'{path} was changed while it was pulled; try again'
            )
        return cached

    return _call('pulled', path, call)


def _check_files(path, listed):
    """Check that a hub lists the files of a release, and that they are small.

    Raises:
        errors.ReleaseError: where it does not, or a size is not known.
    """
    sizes = {
        file.rfilename: file.size for file in listed
        if file.rfilename in PATTERNS
    }
    for name in release_files.NEEDED:
        if name not in sizes:
            raise errors.ReleaseError(
                f'{path} is not a release: it lacks {name}'
            )
    for name, size in sizes.items():
        if size is None:
            raise errors.ReleaseError(
                f'{path} cannot be pulled: the hub does not say how large '
                f'{name} is'
            )
    total = sum(sizes.values())
    if total > MOST:
        raise errors.ReleaseError(
            f'{path} cannot be pulled: its release has {total / 2**30:.1f} '
            f'GiB, and at most {MOST / 2**30:.0f} are downloaded; get it '
            'by other means and name its folder'
        )


def push(folder, name, public=False):
    """Upload a release to a hub.

    Args:
        folder: of the release, a local path.
        name: 'OWNER/NAME'; created if missing, private unless `public`.
        public: whether a new repository is public.

    Returns:
        Address of the commit, or of the repository, as text.

    Raises:
        errors.UserError: as `local`.
    """
    repo, revision = parse(name)

    def call(library):
        api = library.HfApi()
        api.create_repo(repo, private=not public, exist_ok=True)
        return api.upload_folder(
            repo_id=repo, folder_path=os.fspath(folder), revision=revision,
            allow_patterns=list(PATTERNS), commit_message='Release by gan_jax',
        )

    return str(_call('pushed', name, call))


def parse(path):
    """Return the name and the revision, or None, of a release on a hub.

    Raises:
        errors.ConfigError: where it is not of the form OWNER/NAME.
    """
    match = NAME.fullmatch(os.fspath(path).removeprefix(SCHEME))
    if match is None or '..' in match[0]:
        raise errors.ConfigError(
            f'{path!r} is not a release on a hub; it should look like '
            f'{SCHEME}OWNER/NAME or {SCHEME}OWNER/NAME@REVISION'
        )
    return match['repo'], match['revision']


def _call(done, path, function):
    """Call function(huggingface_hub); its errors become one line."""
    try:
        library = importlib.import_module('huggingface_hub')
    except ImportError as error:
        raise errors.ConfigError(
            f'{path} needs huggingface_hub: pip install -e ".[hub]"'
        ) from error
    try:
        return function(library)
    except errors.UserError:
        raise
    except Exception as error:  # of the network, the hub and the disk
        lines = str(error).split('\n')
        reason = ' '.join(lines[0].split()) or type(error).__name__
        raise errors.ReleaseError(
            f'{path} cannot be {done}: {reason:.200}'
        ) from error
