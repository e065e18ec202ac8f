"""Worker that resumes a shrunk recipe on several devices.

    python tests/resume_worker.py configs/dcgan.py folder count
"""

import pathlib
import sys

import jax

import conftest  # noqa: F401  finds test_recipes
import test_recipes


def main(path, folder, count):
    assert jax.device_count() == int(count), jax.devices()
    test_recipes.check_resume(pathlib.Path(path), pathlib.Path(folder))


if __name__ == '__main__':
    main(*sys.argv[1:])
