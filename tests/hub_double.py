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

    class HfApi:
        def model_info(self, repo, *, revision, files_metadata):
            assert files_metadata
            if module.offline:
                raise ConnectionError('no network')
            if not (store / repo).is_dir():
                error = OSError(f'404: no {repo}\nRequest ID: 1')
                error.response = 404
                raise error
            return types.SimpleNamespace(sha=f'sha of {revision}', siblings=[
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
        repo, *, revision, allow_patterns, local_dir=folder / 'cache',
        local_files_only=False,
    ):
        module.calls.append((repo, revision))
        if local_files_only:
            if not local_dir.is_dir():
                raise OSError('not in the cache')
            return str(local_dir)
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
