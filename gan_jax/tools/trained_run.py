"""A trained run as a Python object: samples, metrics, projections."""

from typing import Any, NamedTuple

from etils import epath

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.core import files
from gan_jax.evaluation import runner
from gan_jax.runs import hub
from gan_jax.runs import sampling
from gan_jax.tools import image_translation
from gan_jax.tools import projection


class Run(NamedTuple):
    """A trained run, or one loaded from its folder or from a release.

    Attributes:
        workdir: folder of the run or of the release.
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState` of NumPy arrays.
    """

    workdir: epath.Path
    algorithm: Any
    state: algorithm_lib.TrainState

    def sample(self, seeds, **options):
        """Generate float32 images [len(seeds), H, W, C] in [-1, 1].

        Options and raises as `sampling.sample`.
        """
        return sampling.sample(self.algorithm, self.state, seeds, **options)

    def evaluate(self, metrics=(), **options):
        """Measure samples against the run's data, which must be at hand.

        Options, returns and raises as `runner.evaluate`; the step is that of
        the state.
        """
        return runner.evaluate(
            self.workdir, metrics, step=int(self.state.step), **options
        )

    def project(self, images, labels=None, **options):
        """Find the latents of images [N, H, W, C] uint8.

        Options, returns and raises as `projection.invert`.
        """
        return projection.invert(
            self.algorithm, self.state, images, labels, **options
        )

    def translate(self, image, direction='a_to_b', **options):
        """Translate an image [H, W, C] uint8, by CycleGAN or pix2pix.

        Options and raises as `image_translation.build`.
        """
        return image_translation.translate(image_translation.build(
            self.workdir, self.algorithm, self.state, direction, **options
        ), image)


def load(path, step=None):
    """Load a run folder or a release.

    Args:
        path: folder of a run or of a release, or 'hf://OWNER/NAME' of a release
            on a model hub, with '@REVISION' if not of the newest one.
        step: a saved step of a run, or 'best'; the newest by default.

    Returns:
        `Run`.

    Raises:
        errors.CheckpointError: where there is no such run or step.
        errors.ReleaseError: where a release is damaged or cannot be had.
    """
    folder = files.to_path(hub.local(path))
    return Run(folder, *sampling.load(folder, step))
