"""Training from Python: results, files, continuation and errors."""

import contextlib
import json

import chex
from etils import epath
import jax
import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import builders
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.runs import run_files
from gan_jax.runs import run_folder
from gan_jax.runs import sampling
from gan_jax.training import train


def run(workdir, config=None, **kwargs):
    kwargs.setdefault('images', helpers.random_images())
    return train.train(config or helpers.tiny_mlp(), workdir, **kwargs)


def test_run_writes_all_files_and_calls_the_callback(tmp_path):
    seen = []
    config = helpers.tiny_mlp()
    config.eval_every = 4
    result = run(
        tmp_path, config, callback=lambda step, m: seen.append((step, m))
    )
    left = {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob('*')
        if path.is_file() and 'checkpoints' not in path.parts
        and 'tensorboard' not in path.parts
    }
    assert left == {
        'config.json', 'data.json', 'diagnosis.jsonl', 'environment.json',
        'metrics.jsonl', 'samples/reals.png', 'samples/000000.png',
        'samples/000002.png', 'samples/000004.png',
    }
    assert list((tmp_path / 'tensorboard').glob('events*'))
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [2, 4]
    assert [step for step, _ in seen] == [2, 4]
    assert {'d/loss', 'g/loss', 'perf/images_per_sec'} <= set(seen[0][1])
    assert {'eval/diversity', 'eval/nearest_real'} <= set(seen[1][1])
    assert int(result.state.step) == 4
    assert result.sample(range(3)).shape == (3, 8, 8, 1)


def test_callback_has_the_losses_whenever_it_is_called(tmp_path):
    config = helpers.tiny_mlp()
    config.log_every, config.sample_every, config.eval_every = 3, 2, 1
    config.diagnosis.patience, seen = 1, []
    run(tmp_path, config, callback=lambda step, metrics: seen.append(
        (step, metrics['g/loss'])
    ))
    assert [step for step, _ in seen] == [3, 4]
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 2, 3, 4]


def assert_same_state(a, b):
    chex.assert_trees_all_equal(a.state, b.state)


def test_interrupted_run_ends_as_the_uninterrupted_one(tmp_path):
    whole = run(tmp_path / 'whole')
    config = helpers.tiny_mlp()
    config.num_steps = 2
    run(tmp_path / 'parts', config)
    config.num_steps = 4
    assert_same_state(run(tmp_path / 'parts', config), whole)
    starts = json.loads((tmp_path / 'parts' / 'environment.json').read_text())
    assert [start['from_step'] for start in starts] == [0, 2]


def test_finished_run_is_unchanged(tmp_path, capsys):
    first = run(tmp_path)
    before = (tmp_path / 'metrics.jsonl').read_text()
    again = run(tmp_path)
    assert 'complete: 4 of 4' in capsys.readouterr().out
    assert (tmp_path / 'metrics.jsonl').read_text() == before
    assert_same_state(first, again)


def test_another_config_in_the_same_folder_is_refused(tmp_path):
    run(tmp_path)
    config = helpers.tiny_mlp()
    config.loss.name = 'hinge'
    with pytest.raises(
        errors.CheckpointError, match="loss.name: 'non_saturating' -> 'hinge'"
    ):
        run(tmp_path, config)
    stored = run_files.load_config(tmp_path)
    assert stored.loss.name == 'non_saturating'


def test_data_of_another_shape_are_refused_and_of_another_count_warned_of(
    tmp_path, capsys
):
    config, images = helpers.tiny_mlp(), helpers.random_images()
    labels = np.arange(32) % 3
    config.num_steps = 2
    train.train(config, tmp_path, images=images, labels=labels)
    with pytest.raises(errors.CheckpointError, match='with classes'):
        train.train(config, tmp_path, images=images, labels=labels % 2)
    with pytest.raises(errors.CheckpointError, match='with image_shape'):
        train.train(config, tmp_path, images=images[:, 1:], labels=labels)
    config.num_steps = 4
    assert 'order' not in capsys.readouterr().err
    train.train(config, tmp_path, images=images[1:], labels=labels[1:])
    assert 'had 32 images when this run was last started and have 31 now' in (
        capsys.readouterr().err
    )


def test_unknown_data_may_become_any_of_the_shape(tmp_path, monkeypatch):
    config, images = helpers.tiny_mlp(), helpers.random_images()
    labels = np.arange(32) % 3
    config.num_steps, config.data.name = 2, 'unknown'
    unknown = sources.from_arrays(images, name='unknown')._replace(
        images=images[:0], classes=('0', '1', '2')
    )
    with pytest.raises(errors.DataError, match='set data.path'):
        train.train(config, tmp_path)
    with contextlib.closing(run_folder.open_checkpoints(
        epath.Path(tmp_path), config, {'real': unknown}, False
    )) as checkpoints:
        specs = builders.data_specs({'real': unknown})
        algorithm = builders.algorithm(config, specs)
        state = builders.initial_state(config, algorithm, specs)
        checkpoints.save(0, state)
    config.data.name, config.data.flip = 'digits', True
    with pytest.raises(errors.CheckpointError, match='classes 3, not 2'):
        train.train(config, tmp_path, images=images, labels=labels % 2)
    with pytest.raises(errors.CheckpointError, match='with image_shape'):
        train.train(config, tmp_path, images=images[:, 1:], labels=labels)
    train.train(config, tmp_path, images=images, labels=labels)
    assert run_files.load_data(tmp_path)['count'] == 32
    config.data.flip = False  # now the data are known
    with pytest.raises(errors.CheckpointError, match='data.flip'):
        train.train(config, tmp_path, images=images, labels=labels)


def test_seed_decides_the_result(tmp_path):
    same = run(tmp_path / 'a'), run(tmp_path / 'b')
    assert_same_state(*same)
    config = helpers.tiny_mlp()
    config.seed = 1
    other = run(tmp_path / 'c', config)
    assert not np.array_equal(
        same[0].sample(range(4)), other.sample(range(4))
    )


def test_bfloat16_computes_apart_and_keeps_the_state_in_float32(tmp_path):
    config = helpers.tiny_mlp()
    full = run(tmp_path / 'float32', config)
    config.dtype = 'bfloat16'
    half = run(tmp_path / 'bfloat16', config)
    assert {leaf.dtype for leaf in jax.tree.leaves(half.state)} == {
        np.dtype('float32'), np.dtype('int32'), np.dtype('bool')
    }
    samples = [result.sample(range(16)) for result in (full, half)]
    assert not np.array_equal(*samples)
    np.testing.assert_allclose(*samples, atol=0.05)


def points_config(name='ring'):
    config = helpers.tiny_mlp()
    config.data.name = name
    config.eval_every = 2
    return config


def test_points_train_and_are_measured_by_modes(tmp_path, capsys):
    result = train.train(points_config(), tmp_path)
    assert 'ring: endless points in 2' in capsys.readouterr().out
    assert result.sample(range(5)).shape == (5, 2)
    lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert {'eval/modes', 'eval/high_quality', 'eval/reverse_kl'} <= set(
        json.loads(lines[-1])
    )
    with Image.open(tmp_path / 'samples' / '000004.png') as picture:
        assert picture.size == (640, 640)


def test_points_resume_as_the_uninterrupted_run(tmp_path):
    config = points_config()
    config.d_steps = 2
    whole = train.train(config, tmp_path / 'whole')
    config.num_steps = 2
    train.train(config, tmp_path / 'parts')
    config.num_steps = 4
    assert_same_state(train.train(config, tmp_path / 'parts'), whole)


def test_points_without_modes_are_measured_by_distances(tmp_path):
    train.train(points_config('moons'), tmp_path)
    line = (tmp_path / 'metrics.jsonl').read_text().splitlines()[-1]
    assert {'eval/diversity', 'eval/nearest_real'} <= set(json.loads(line))


def test_image_network_on_points_is_refused(tmp_path):
    config = points_config()
    config.generator.name = 'dcgan'
    unused_keys.leave_out(config)
    with pytest.raises(errors.ConfigError, match='the mlp network takes any'):
        train.train(config, tmp_path)


def test_cadences_of_zero_are_off(tmp_path):
    config = helpers.tiny_mlp()
    config.sample_every = config.log_every = config.checkpoint_every = 0
    run(tmp_path, config)
    assert [p.name for p in (tmp_path / 'samples').iterdir()] == ['reals.png']
    assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['4']
    assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 1


def test_steps_that_cadences_do_not_divide_are_all_made(tmp_path):
    config = helpers.tiny_mlp()
    config.num_steps = 5
    assert int(run(tmp_path, config).state.step) == 5


def test_far_too_high_learning_rate_raises_a_non_finite_error(tmp_path):
    config = helpers.tiny_mlp()
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.name, optimizer.learning_rate = 'sgd', 1e30
    config.loss.name = 'least_squares'
    with pytest.raises(errors.NonFiniteError, match='at step 1, and with'):
        run(tmp_path, config)


def test_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.ConfigError, match='--workdir='):
        run(tmp_path / 'file' / 'run')


def test_image_size_that_the_network_cannot_make_is_refused(tmp_path):
    from gan_jax.config import defaults

    config = helpers.tiny(defaults.default_config())
    with pytest.raises(errors.ConfigError, match='30x30'):
        run(tmp_path, config, images=helpers.random_images(8, (30, 30, 1)))


def test_few_images_warn(tmp_path, capsys):
    run(tmp_path, images=helpers.random_images(5))
    assert '5 images are fewer than a batch of 8' in capsys.readouterr().out


def test_sample_of_a_seed_does_not_depend_on_the_others(tmp_path):
    result = run(tmp_path)
    whole = result.sample(range(70))
    np.testing.assert_array_equal(result.sample([69, 3]), whole[[69, 3]])


def test_run_loads_from_its_folder_alone(tmp_path):
    result = run(tmp_path)
    gan, state = sampling.load(tmp_path)
    np.testing.assert_array_equal(
        sampling.sample(gan, state, range(4)), result.sample(range(4))
    )
    _, earlier = sampling.load(tmp_path, step=2)
    assert int(earlier.step) == 2


def test_run_older_than_a_key_is_loaded_and_continued(tmp_path):
    config = helpers.tiny_mlp()
    run(tmp_path, config)
    path = tmp_path / 'config.json'
    stored = json.loads(path.read_text())
    del stored['schedule'], stored['instance_noise']
    path.write_text(json.dumps(stored))
    _, state = sampling.load(tmp_path)
    assert int(state.step) == 4
    config.num_steps = 6
    assert int(run(tmp_path, config).state.step) == 6


def test_run_of_an_earlier_format_is_refused_in_one_line(tmp_path):
    run(tmp_path)
    path = tmp_path / 'data.json'
    path.write_text(json.dumps(json.loads(path.read_text())['real']))
    for use in (sampling.load, run):
        with pytest.raises(errors.CheckpointError) as caught:
            use(tmp_path)
        assert 'format is older' in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_raw_and_averaged_samples_differ(tmp_path):
    result = run(tmp_path)
    assert not np.array_equal(
        result.sample([0]), result.sample([0], weights='raw')
    )


@pytest.mark.parametrize(
    'text, seeds', [('0-3', [0, 1, 2, 3]), ('7', [7]), ('3,1-2', [3, 1, 2])]
)
def test_seeds_are_parsed(text, seeds):
    assert sampling.parse_seeds(text) == seeds


@pytest.mark.parametrize('text', ['', 'x', '3-1', '-1', '1,,2', '2147483648'])
def test_bad_seeds_are_refused(text):
    with pytest.raises(errors.ConfigError, match='--seeds='):
        sampling.parse_seeds(text)


def test_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(errors.CheckpointError, match='not the folder of a run'):
        sampling.load(tmp_path)


@pytest.mark.parametrize('kind', [jax.errors.JaxRuntimeError, ValueError])
def test_a_lost_host_is_reported_in_one_line(kind, tmp_path, monkeypatch):
    def fail(*args):
        raise kind('UNKNOWN: Gloo AllReduce failed')

    monkeypatch.setattr(train, '_train', fail)
    with pytest.raises(kind, match='Gloo'):
        train.train(helpers.tiny_mlp(), tmp_path)
    monkeypatch.setattr(
        train.parallel, 'is_lost_host_error', lambda error: True
    )
    with pytest.raises(errors.HostError, match='Start all of them again'):
        train.train(helpers.tiny_mlp(), tmp_path)
