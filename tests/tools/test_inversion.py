"""Inversion of images to latents, by search and by encoder."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
import image_files
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.tools import inversion

FAST = inversion.SearchOptions(restarts=3, steps=150)


def write_run(folder, images=True, **changes):
    """Write a run of tiny dense networks on random 8x8 images."""
    config = helpers.tiny_mlp()
    config.update_from_flattened_dict({
        key.replace('__', '.'): value for key, value in changes.items()
    })
    data = {
        'images': helpers.random_images(), 'labels': np.arange(32) % 3
    } if images else {}
    return helpers.untrained(config, folder, **data)


@pytest.mark.parametrize('changes', [
    {}, {'latent': 'uniform'}, {'latent': 'sphere'},
    {'generator__condition': 'concat', 'discriminator__condition': 'concat'},
    {'latent': 'fitted', 'algorithm': 'vae'},
], ids=['gaussian', 'uniform', 'sphere', 'conditional', 'fitted'])
def test_search_finds_images_that_the_generator_made(changes, tmp_path):
    if 'latent' in changes and 'algorithm' in changes:
        changes = {**changes, 'g_optimizer__b1': 0.9, 'd_optimizer__b1': 0.9}
    run = write_run(tmp_path, **changes)
    targets = writer.to_uint8(run.sample([3, 9, 40]))
    labels = [0, 0, 1] if run.algorithm.num_classes else None
    found = inversion.search(run.algorithm, run.state, targets, labels, FAST)
    assert found.images.shape == targets.shape
    spread = (targets / 127.5 - 1).std()
    assert (found.error < 0.1 * spread + 0.01).all()
    np.testing.assert_allclose(found.images, sampling.generate(
        run.algorithm, run.state, found.codes,
        None if labels is None else np.array(labels),
    ), atol=1e-5)
    difference = (targets / 127.5 - 1 - found.images).reshape(3, -1)
    np.testing.assert_allclose(
        found.error, np.sqrt(np.square(difference).mean(1)), rtol=1e-4
    )
    if run.algorithm.latent == 'uniform':
        assert np.abs(found.codes).max() <= 1
    if run.algorithm.latent == 'sphere':
        norms = np.linalg.norm(found.codes, axis=1)
        np.testing.assert_allclose(norms, np.sqrt(3), rtol=1e-5)


def test_the_best_start_is_kept(tmp_path):
    run = write_run(tmp_path)
    images = helpers.random_images(4)  # no generator makes these
    errors_of = [
        inversion.search(
            run.algorithm, run.state, images, None,
            inversion.SearchOptions(restarts=starts, steps=30),
        ).error for starts in (1, 8)
    ]
    assert (errors_of[1] <= errors_of[0] + 1e-6).all()
    assert (errors_of[1] < errors_of[0] - 1e-4).any()
    again = inversion.search(
        run.algorithm, run.state, images, None, inversion.SearchOptions(1, 30)
    )
    np.testing.assert_array_equal(again.error, errors_of[0])


def test_prior_pulls_z_to_the_centre(tmp_path):
    run = write_run(tmp_path)
    images = helpers.random_images(4)
    free, pulled = (
        inversion.search(
            run.algorithm, run.state, images, None, FAST._replace(prior=prior)
        ) for prior in (0.0, 10.0)
    )
    assert np.abs(pulled.codes).max() < 0.2 < np.abs(free.codes).max()
    assert (free.error <= pulled.error + 1e-6).all()


def test_encode_returns_the_codes_of_the_encoder(tmp_path):
    run = write_run(
        tmp_path, algorithm='vae', g_optimizer__b1=0.9,
        d_optimizer__b1=0.9, latent='fitted',
    )
    images = helpers.random_images(5)
    found = inversion.encode(run.algorithm, run.state, images)
    np.testing.assert_allclose(
        found.codes, run.algorithm.encode(run.state, images),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(
        found.images, sampling.reconstruct(run.algorithm, run.state, images)
    )


def test_codes_that_name_a_class_cannot_be_searched(tmp_path):
    run = write_run(
        tmp_path, algorithm='pose_decoder', g_optimizer__b1=0.9,
        d_optimizer__b1=0.9, latent='fitted',
    )
    with pytest.raises(errors.ConfigError, match='name a class'):
        inversion.search(run.algorithm, run.state, helpers.random_images(2))


@pytest.fixture
def digits(tmp_path):
    """A run whose data are the digits, with a split held out."""
    config = helpers.tiny_mlp()
    config.data.test_share = 0.1
    return helpers.untrained(config, tmp_path / 'digits')


def test_indices_are_of_held_out_images_if_there_are_any(digits):
    test = inversion.load_targets(digits.workdir, '3,0-1')
    assert test.source.endswith('test') and test.names == ('3', '0', '1')
    train = inversion.load_targets(digits.workdir, '3', 'train')
    assert train.source.endswith('train')
    assert not np.array_equal(train.images[0], test.images[0])
    assert train.labels.shape == (1,)
    with pytest.raises(errors.ConfigError, match='has the indices 0 to 17'):
        inversion.load_targets(digits.workdir, '99999')


def test_missing_held_out_images_are_an_error(digits):
    path = digits.workdir / 'config.json'
    config = json.loads(path.read_text())
    config['data']['test_share'] = 0.0
    path.write_text(json.dumps(config))
    with pytest.raises(errors.DataError, match='held out no images'):
        inversion.load_targets(digits.workdir, '0', 'test')
    assert inversion.load_targets(digits.workdir, '0').source.endswith('train')


def test_files_are_resized_to_the_shape_of_the_run(tmp_path):
    run = write_run(tmp_path / 'run')
    red, grey = tmp_path / 'red.png', tmp_path / 'grey.png'
    red.write_bytes(image_files.flat((255, 0, 0), (20, 30)))
    grey.write_bytes(image_files.flat(100, (8, 8)))
    found = inversion.load_targets(run.workdir, f'{grey},{red}', labels=[2, 0])
    assert found.images.shape == (2, 8, 8, 1)
    assert (found.images[0] == 100).all() and found.labels.tolist() == [2, 0]
    assert found.names == ('grey.png', 'red.png')
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / 'one.png').write_bytes(grey.read_bytes())
    targets = inversion.load_targets(run.workdir, str(folder))
    assert (targets.images == 100).all()


def test_bad_files_are_refused(tmp_path):
    run = write_run(tmp_path / 'run')
    with pytest.raises(errors.DataError, match='No such file'):
        inversion.load_targets(run.workdir, f'{tmp_path}/absent.png')
    text = tmp_path / 'text.png'
    text.write_text('no image')
    with pytest.raises(errors.DataError, match='is none of BMP'):
        inversion.load_targets(run.workdir, str(text))
    with pytest.raises(errors.DataError, match='arrays that were given'):
        inversion.load_targets(run.workdir, '0')


def test_images_are_above_their_reconstructions():
    images = helpers.random_images(5)
    made = np.linspace(-1, 1, 5, dtype=np.float32)
    made = np.broadcast_to(made[:, None, None, None], images.shape)
    table, columns = inversion.pairs(images, made, 3)
    assert columns == 3 and len(table) == 12
    shown = writer.to_uint8(table)
    np.testing.assert_array_equal(shown[[0, 1, 2, 6, 7]], images)
    np.testing.assert_allclose(table[[3, 4, 5, 9, 10]], made)
    assert (shown[[8, 11]] == 255).all()


def test_command_writes_pairs_and_z(tmp_path, digits):
    class_run = write_run(
        tmp_path / 'run', generator__condition='concat',
        discriminator__condition='concat',
    )
    points = write_run(tmp_path / 'points', images=False, data__name='ring')
    image = tmp_path / 'a.png'
    image.write_bytes(image_files.flat(9, (8, 8)))
    short = ['--steps=3', '--restarts=2']
    results = helpers.commands([
        ['gan_jax', 'reconstruct', f'--workdir={digits.workdir}',
         '--images=0-3',
         '--out=deep/rec.png', *short],
        ['gan_jax', 'reconstruct', f'--workdir={class_run.workdir}',
         f'--images={image}', '--labels=1', *short],
        ['gan_jax', 'reconstruct', f'--workdir={class_run.workdir}',
         f'--images={image}', *short],
        ['gan_jax', 'reconstruct', f'--workdir={points.workdir}',
         '--images=0-99', '--out=points.png', *short],
        ['gan_jax', 'reconstruct', f'--workdir={points.workdir}',
         '--images=a.png', *short],
    ], tmp_path)
    assert [code for code, _, _ in results] == [0, 0, 2, 0, 2], results
    assert '4 images of digits' in results[0][1]
    assert len(results[0][1].splitlines()) == 5
    assert len(results[3][1].splitlines()) == 1
    assert 'by --labels' in results[2][2] and 'by index' in results[4][2]
    with np.load(tmp_path / 'deep' / 'rec.npz') as held:
        assert held['z'].shape == (4, 3) and held['error'].shape == (4,)
        made = sampling.generate(digits.algorithm, digits.state, held['z'])
        np.testing.assert_allclose(held['reconstructions'], made, atol=1e-5)
        expected = writer.grid(*inversion.pairs(held['images'], made))
    with Image.open(tmp_path / 'deep' / 'rec.png') as picture:
        np.testing.assert_array_equal(
            np.asarray(picture), expected[..., 0]
        )
