"""Conversion of official StyleGAN2 pickles to run folders."""

import numpy as np

from gan_jax.config import builders
from gan_jax.config import stylegan2_settings
from gan_jax.config import stylegan2_weights
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import torch_pickles
from gan_jax.data import sources
from gan_jax.runs import run_folder
from gan_jax.runtime import lock


def read(path, most):
    """Read and check the networks of a pickle.

    Args:
        path: of the file.
        most: largest size in bytes.

    Returns:
        As of `stylegan2_settings.read`.

    Raises:
        errors.CheckpointError: where it cannot be read, is damaged or hostile,
            or holds other networks.
    """
    try:
        data = files.read(path, most)
        settings, tensors = stylegan2_settings.read(torch_pickles.load(data))
        torch_pickles.check_sizes((
            tensor for network in tensors.values()
            for tensor in network.values()
        ), len(data))
        return settings, tensors
    except OSError as error:
        raise errors.CheckpointError(
            f'{path} cannot be read: {error.strerror or error}'
        ) from error
    except ValueError as error:
        raise errors.CheckpointError(f'{path} {error}') from error


def write(workdir, path, config, settings, tensors):
    """Write a run folder of step 0 that holds official networks.

    Args:
        workdir: folder to create; it must not hold a run.
        path: of the networks' file, for messages.
        config: validated ConfigDict of the run.
        settings, tensors: of `read`.

    Raises:
        errors.UserError: where the networks do not fit the data or the config,
            or the folder holds a run or cannot be written.
    """
    datasets = {builders.REAL: _dataset(config, settings)}
    specs = builders.data_specs(datasets)
    algorithm = builders.algorithm(config, specs)
    state = stylegan2_weights.convert(
        path, builders.abstract_state(config, algorithm, specs), tensors,
        settings.image_shape[0], settings.probability,
    )
    workdir = run_folder.at(workdir)
    with run_folder.created(workdir), lock.held(workdir):
        run_folder.check_entries(workdir)
        if (workdir / 'config.json').exists():
            raise errors.ConfigError(
                f'--workdir={workdir} holds a run; choose another folder'
            )
        checkpoints = run_folder.open_checkpoints(
            workdir, config, datasets, override=False
        )
        try:
            checkpoints.save(0, state)
        finally:
            checkpoints.close()


def _dataset(config, settings):
    """Return the data of a config, which must fit; none where unknown.

    Raises:
        errors.DataError: where they have another shape or number of classes.
    """
    classes = tuple(map(str, range(settings.num_classes)))
    if config.data.name == sources.UNKNOWN and not config.data.path:
        return sources.Dataset(
            sources.UNKNOWN, np.zeros((0, *settings.image_shape), np.uint8),
            None, classes,
        )
    dataset = builders.dataset(config)
    for what, own, expected in (
        ('images of shape', dataset.sample_shape, settings.image_shape),
        ('classes', len(dataset.classes), settings.num_classes),
    ):
        if expected and own != expected:
            raise errors.DataError(
                f'{dataset.name} has {what} {own}, and the networks have '
                f'{expected}'
            )
    return dataset
