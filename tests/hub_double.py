"""Double of huggingface_hub, whose hub is a folder."""

import os
import pathlib
import shutil
import types


def make(folder):
    """Return a module whose hub and cache are in a folder."""
    folder = pathlib.Path(folder)
    store, module = folder / 'hub', types.ModuleType('huggingface_hub')
    module.calls, module.offline = [], False
    module.sizes = lambda path: path.stat().st_size
    module.sha = lambda revision: f'sha-of-{revision or "main"}'

    class HfApi:
        def model_info(self, repo, *, revision, files_metadata):
            assert files_metadata
            if module.offline:
                raise ConnectionError('no network')
            if not (store / repo).is_dir():
                error = OSError(f'404: no {repo}\nRequest ID: 1')
                error.response = 404
                raise error
            return types.SimpleNamespace(sha=module.sha(revision), siblings=[
                types.SimpleNamespace(
                    rfilename=path.name, size=module.sizes(path)
                ) for path in (store / repo).iterdir()
            ])

        def create_repo(self, repo, *, private, exist_ok):
            module.calls.append((repo, private, exist_ok))
            (store / repo).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(
            self, *, repo_id, folder_path, revision, allow_patterns,
            commit_message,
        ):
            for name in os.listdir(folder_path):
                if name in allow_patterns:
                    shutil.copy(f'{folder_path}/{name}', store / repo_id)
            return f'https://hub/{repo_id}/commit/1'

    def snapshot_download(
        repo, *, revision, allow_patterns, local_dir=None,
        local_files_only=False,
    ):
        module.calls.append((repo, revision))
        # As in the real cache, a branch or a tag is known if it was asked for
        # by its name.
        revision = revision or 'main'
        cache, by_sha = folder / 'cache', revision.startswith('sha-of-')
        ref = cache / f'ref-{revision}'
        if local_files_only:
            if not by_sha and not ref.exists():
                raise OSError('not in the cache')
            return str(cache / (revision if by_sha else ref.read_text()))
        if local_dir is None:
            sha = revision if by_sha else f'sha-of-{revision}'
            local_dir = cache / sha
            local_dir.mkdir(parents=True, exist_ok=True)
            if not by_sha:
                ref.write_text(sha)
        # As in the cache of the hub, files are links.
        pathlib.Path(local_dir).mkdir(exist_ok=True)
        for name in os.listdir(store / repo):
            if name in allow_patterns:
                path = pathlib.Path(local_dir, name)
                path.unlink(missing_ok=True)
                path.symlink_to(store / repo / name)
        return str(local_dir)

    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    return module
