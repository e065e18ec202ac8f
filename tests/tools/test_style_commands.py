"""Commands on a run of StyleGAN2: mixing, spaces, noise, projection, export."""

import jax
from jax import export as jax_export
import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.runs import sampling
from gan_jax.runs import styles
from gan_jax.runtime import writer
from gan_jax.tools import export
from gan_jax.tools import inversion
from gan_jax.tools import projection

SEEDS = [4, 0, 11]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return helpers.untrained(
        helpers.tiny_stylegan2(), tmp_path_factory.mktemp('run'),
        helpers.random_images(), np.arange(32) % 3,
    )


@pytest.fixture(scope='module')
def written(run, tmp_path_factory):
    """Run the commands; return (folder, results)."""
    folder = tmp_path_factory.mktemp('out')
    image = folder / 'a.png'
    writer.save_png(image, writer.to_uint8(run.sample([5], labels=[1]))[0])
    lines = [
        ['sample', '--seeds=4,0,11', '--truncation=-0.5',
         '--truncated_styles=3', '--out=a.npz'],
        ['sample', '--seeds=4,0,11', '--noise=random', '--out=noisy.png'],
        ['sample', '--latents=a.npz', '--out=again.npz'],
        ['mix', '--rows=4,0', '--columns=11', '--styles=1-2', '--labels=2',
         '--truncation=0.8', '--out=mix.png'],
        ['interpolate', '--seeds=4,0', '--space=w', '--frames=3',
         '--out=path.png'],
        ['walk', '--seeds=4', '--space=w', '--coordinates=0-1', '--frames=3',
         '--styles=0', '--out=walk.png'],
        ['arithmetic', '--sum=4+0-11', '--space=w', '--out=sum.png'],
        ['reconstruct', '--space=w+', f'--images={image}', '--steps=20',
         '--feature_weight=0.5', '--out=found.png'],
        ['sample', '--latents=found.npz', '--out=found_again.npz'],
        ['export', '--out=exported'],
        ['mix', '--styles=3-4', '--out=x.png'],
        ['sample', '--truncation=0.5', '--truncated_styles=5', '--out=x.png'],
        ['sample', '--truncation=nan', '--out=x.png'],
        ['interpolate', '--space=w', '--path=slerp', '--out=x.png'],
        ['walk', '--directions=coordinates', '--out=x.png'],
        ['walk', '--styles=0', '--out=x.png'],
        ['reconstruct', '--space=w+', '--labels=1', '--out=x.png'],
    ]
    return folder, helpers.commands([
        ['gan_jax', tool, f'--workdir={run.workdir}', *given]
        for tool, *given in lines
    ], folder)


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)[..., None]


def assert_grid(path, images, columns):
    """Check a PNG up to one grey level."""
    np.testing.assert_allclose(
        pixels(path).astype(int), writer.grid(images, columns), atol=1
    )


def test_commands_say_what_they_wrote_or_what_is_wrong(written):
    _, results = written
    assert [code for code, _, _ in results] == [0] * 10 + [2] * 7, results
    assert results[3][1] == (
        'Wrote 2 x 1 mixed samples of step 4 (ema) to mix.png\n'
    )
    for (_, _, err), words in zip(results[10:], (
            'the generator has the styles 0 to 3', 'is not from 1 to 4',
            'truncation=nan is not finite', "path='slerp' is for space='z'",
            '--directions=coordinates needs --space=w',
            '--styles=0 needs --space=w', '--labels=1 has no effect with')):
        assert words in err and len(err.splitlines()) == 1


def test_samples_of_written_latents_are_the_same(run, written):
    with np.load(written[0] / 'a.npz') as held:
        first = dict(held)
    with np.load(written[0] / 'again.npz') as held:
        again = dict(held)
    assert first['w'].shape == (3, 4, 6) and first['z'].shape == (3, 6)
    np.testing.assert_array_equal(first['w'], again['w'])
    np.testing.assert_allclose(first['samples'], again['samples'], atol=1e-5)
    np.testing.assert_allclose(first['samples'], run.sample(
        SEEDS, truncation=-0.5, truncated_styles=3
    ), atol=1e-5)
    np.testing.assert_array_equal(
        first['z'], sampling.latents_of(run.algorithm, SEEDS)
    )


def test_truncation_and_noise_of_the_real_network(run):
    own = run.sample(SEEDS)
    np.testing.assert_allclose(
        run.sample(SEEDS, truncation=1), own, atol=1e-5
    )
    same = run.sample(SEEDS, truncation=0)
    np.testing.assert_allclose(same, np.repeat(same[:1], 3, 0), atol=1e-6)
    np.testing.assert_allclose(
        run.sample(SEEDS, truncation=0.5, truncated_styles=4),
        run.sample(SEEDS, truncation=0.5), atol=1e-5,
    )
    noisy = run.sample(SEEDS, noise='random')
    assert np.abs(noisy - own).max() > 1e-3
    np.testing.assert_allclose(
        run.sample([0], noise='random', labels=[0]), noisy[1:2], atol=1e-5
    )


def test_pictures_are_those_of_the_functions(run, written):
    folder = written[0]
    given = run.algorithm, run.state
    assert_grid(folder / 'noisy.png', run.sample(SEEDS, noise='random'), None)
    images, columns = styles.mixing_grid(
        *given, [4, 0], [11], [1, 2], labels=[2] * 3, truncation=0.8
    )
    assert_grid(folder / 'mix.png', images, columns)
    assert_grid(folder / 'path.png', sampling.interpolate(
        *given, [4, 0], 3, space='w'
    ), 3)
    moved = styles.traverse(
        sampling.styles_of(*given, [4]), styles.directions(*given), [0, 1],
        3, 3, places=[0],
    )
    assert_grid(folder / 'walk.png', sampling.generate(
        *given, moved.reshape(-1, 4, 6)
    ), 3)
    w = sampling.styles_of(*given, [4, 0, 11])
    total = sampling.generate(*given, (w[0] + w[1] - w[2])[None])
    shown = pixels(folder / 'sum.png').astype(int)
    last = writer.grid(total)
    np.testing.assert_allclose(
        shown[-len(last):, -last.shape[1]:], last, atol=1
    )


def test_projection_is_sampled_again_and_written(run, written):
    with np.load(written[0] / 'found.npz') as held:
        found = dict(held)
    with np.load(written[0] / 'found_again.npz') as held:
        again = dict(held)
    assert found['w'].shape == (1, 4, 6) and 'z' not in found
    np.testing.assert_allclose(
        found['reconstructions'], again['samples'], atol=1e-5
    )


def test_more_freedom_comes_nearer(run):
    images = helpers.random_images(2)
    options = projection.OPTIONS._replace(steps=100)
    by_z = inversion.search(
        run.algorithm, run.state, images, [0, 1],
        inversion.SearchOptions(restarts=1, steps=100),
    )
    by_w, by_each = (projection.project(
        run.algorithm, run.state, images, space, options
    ) for space in ('w', 'w+'))
    assert (by_w.error < by_z.error).all()
    assert (by_each.error < by_w.error).all()


def test_exported_program_is_truncated(run, written):
    content = (written[0] / 'exported' / export.PROGRAM).read_bytes()
    program = jax_export.deserialize(bytearray(content))
    inputs = run.algorithm.inputs(SEEDS)
    for psi in (1, 0.3):
        np.testing.assert_allclose(
            program.call(inputs.main, inputs.labels, np.float32(psi)),
            run.sample(SEEDS, truncation=psi), atol=1e-5,
        )
    card = (written[0] / 'exported' / export.CARD).read_text()
    assert 'generate.call(z, labels, truncation)' in card
    assert '`truncation` float32 []' in card


def test_labels_are_part_of_the_styles(run):
    same = sampling.styles_of(run.algorithm, run.state, [4], [1])
    other = sampling.styles_of(run.algorithm, run.state, [4], [2])
    assert np.abs(same - other).max() > 1e-3
    np.testing.assert_allclose(
        sampling.generate(run.algorithm, run.state, same),
        run.sample([4], labels=[1]), atol=1e-5,
    )
    assert jax.eval_shape(
        run.algorithm.styles, run.algorithm.weights(run.state, 'raw'),
        run.algorithm.inputs(SEEDS),
    ).shape == (3, 4, 6)
