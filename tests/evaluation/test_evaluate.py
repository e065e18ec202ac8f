"""Evaluation of a run and of two sets of images, from data to JSON."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
import image_files
from conftest import ROOT
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import reference
from gan_jax.evaluation import runner
from gan_jax.metrics import registry
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.training import train

RANDOM = runner.EvaluationOptions(features='random', num_fake=96)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run of two saved steps on digits, with some held out."""
    config = helpers.tiny_mlp()
    config.data.test_share, config.data.limit = 0.2, 500
    folder = tmp_path_factory.mktemp('run')
    train.train(config, folder)
    return folder


def test_all_possible_metrics_are_measured_and_others_skipped(folder):
    lines = []
    (result,) = runner.evaluate_run(folder, None, RANDOM, lines.append)
    text = '\n'.join(lines)
    assert {'fid', 'kid', 'precision', 'recall', 'density', 'coverage',
            'ms_ssim', 'swd', 'support', 'memorization', 'probe'
            } <= set(result['values'])
    for name in ('is', 'modes'):
        assert f"{name} is skipped: features='random' have no" in text
    fid = result['values']['fid']
    assert fid['value'] > 3 * fid['floor'] > 0
    (line,) = [line for line in lines if line.startswith('fid ')]
    for part in (
        f'{fid["value"]:.4g}', f'{fid["floor"]:.4g}', 'lower is better',
        'untrained network of seed 0', result['features']['fingerprint'],
        'real 500 of digits train 32x32x1', 'halves of 250',
        'fake 96 of step 4 ema seeds 0-95',
    ):
        assert part in line, part
    assert 'fewer than the 10,000' in text
    assert result['values']['memorization']['pixels']['verdict'] == (
        'no sign of copying'
    )
    with Image.open(folder / 'neighbours.png') as picture:
        assert picture.size[0] > picture.size[1] / 2


def test_number_is_that_of_the_samples_of_the_step(folder):
    asked = RANDOM._replace(metrics=('fid',), num_real=200, features='pixels')
    every = runner.evaluate_run(folder, 'all', asked, print)
    assert [result['step'] for result in every] == [2, 4]
    raw = asked._replace(weights='raw')
    (one,) = runner.evaluate_run(folder, '2', raw, print)
    assert one['num_real'] == 200
    values = {r['values']['fid']['value'] for r in (*every, one)}
    assert len(values) == 3
    again = runner.evaluate_run(folder, '2', raw, print)
    assert again == [one]


def test_a_run_on_arrays_needs_its_arrays(tmp_path):
    config = helpers.tiny_mlp()
    train.train(config, tmp_path, images=helpers.random_images(
        shape=(32, 32, 1)  # as the digits have it, which the config names
    ))
    with pytest.raises(errors.DataError, match='arrays that were given'):
        runner.evaluate_run(tmp_path, None, RANDOM, print)


def test_each_step_is_kept_and_a_lost_step_skipped(
    folder, monkeypatch
):
    load, kept, lines = sampling.load, [], []

    def pruned(workdir, step=None):
        if step == 2:
            raise errors.CheckpointError('step 2 is gone')
        return load(workdir, step)

    monkeypatch.setattr(sampling, 'load', pruned)
    asked = RANDOM._replace(metrics=('fid',), num_real=50, features='pixels')
    found = runner.evaluate_run(folder, 'all', asked, lines.append, kept.append)
    assert [result['step'] for result in found] == [4]
    assert kept == found and 'Skipped: step 2 is gone' in lines
    with pytest.raises(errors.CheckpointError, match='gone'):
        runner.evaluate_run(folder, '2', asked, lines.append)


def test_picture_has_a_row_for_each_sample(folder, monkeypatch):
    monkeypatch.setattr(registry, 'nearest_training_images', lambda *views: (
        np.zeros((4 * 8, 8, 8, 1), np.uint8), np.zeros((4, 7))
    ))
    asked = RANDOM._replace(
        metrics=('memorization',), num_real=50, num_fake=4, features='pixels'
    )
    runner.evaluate_run(folder, '4', asked, print)
    with Image.open(folder / 'neighbours.png') as picture:
        assert picture.size[0] > 1.5 * picture.size[1]  # 8 in each of 4 rows


def test_discriminator_features_are_those_of_the_step(folder):
    asked = RANDOM._replace(metrics=('fid',), features='discriminator')
    two, four = runner.evaluate_run(folder, 'all', asked, print)
    assert two['features']['note'] == 'discriminator of step 2'
    assert two['features']['fingerprint'] != four['features']['fingerprint']


def test_named_metrics_that_cannot_be_measured_are_errors(folder):
    asked = RANDOM._replace(metrics=('is',))
    with pytest.raises(errors.ConfigError, match='have no class logits'):
        runner.evaluate_run(folder, None, asked, print)
    asked = RANDOM._replace(metrics=('fib',))
    with pytest.raises(errors.ConfigError, match="mean 'fid'"):
        runner.evaluate_run(folder, None, asked, print)
    with pytest.raises(errors.ConfigError, match='--paired is for runs'):
        options = RANDOM._replace(paired=True)
        runner.evaluate_run(folder, None, options, print)
    with pytest.raises(errors.ConfigError, match='--features='):
        options = RANDOM._replace(features='vgg')
        runner.evaluate_run(folder, None, options, print)
    with pytest.raises(errors.CheckpointError, match='no checkpoint of step 3'):
        runner.evaluate_run(folder, '3', RANDOM, print)


def test_conditional_run_has_a_classification_accuracy(
    tmp_path, monkeypatch
):
    config = helpers.tiny_mlp()
    config.data.test_share, config.data.limit = 0.2, 200
    config.generator.condition = 'concat'
    config.discriminator.condition = 'concat'
    train.train(config, tmp_path)
    seen = []

    def accuracy(images, labels, others, other_labels):
        seen.append((images, labels))
        assert len(others) == len(other_labels) > 0
        return len(seen) / 10

    monkeypatch.setattr(
        runner.classifier, 'classifier_accuracy', accuracy
    )
    lines = []
    asked = RANDOM._replace(metrics=('cas',), num_fake=25)
    (result,) = runner.evaluate_run(tmp_path, None, asked, lines.append)
    assert result['values']['cas'] == {'value': 0.1, 'floor': 0.2}
    assert lines[0].startswith('cas 10.0 % (trained on real: 20.0 %')
    images, labels = seen[0]
    gan, state = sampling.load(tmp_path)
    sevens = sampling.sample(gan, state, [17], labels=[7])
    assert labels[17] == 7
    np.testing.assert_array_equal(
        images[17], runner.writer.to_uint8(sevens)[0]
    )


def saved_images(path, images):
    np.save(path, images)
    return sources.Request(f'npy:{path}')


def test_two_sources_are_compared_and_copies_are_detected(tmp_path):
    real = sources.Request('digits', test_share=0.3)
    training = sources.load(real).images
    random = np.random.RandomState(0)
    chosen = training[random.permutation(len(training))[:300]]
    noise = random.randint(-8, 9, chosen.shape)
    noisy = np.clip(chosen.astype(int) + noise, 0, 255).astype(np.uint8)
    others = sources.load(real._replace(split='test')).images[:300]
    asked = RANDOM._replace(metrics=('fid', 'memorization'), num_fake=300)
    verdicts = {}
    for name, images in (
        ('copies', chosen), ('noisy', noisy), ('others', others[::-1]),
    ):
        fake = saved_images(tmp_path / f'{name}.npy', images)
        (result,) = runner.compare_sources(real, fake, asked, print)
        found = result['values']
        assert found['fid']['value'] < 5 * found['fid']['floor']
        verdicts[name] = found['memorization']['pixels']['verdict']
    assert verdicts == {
        'copies': 'copies', 'noisy': 'copies', 'others': 'no sign of copying',
    }


def test_images_of_different_sizes_are_refused(tmp_path):
    fake = saved_images(tmp_path / 'a.npy', helpers.random_images())
    with pytest.raises(errors.DataError, match='32x32x1 and npy:.* of 8x8x1'):
        runner.compare_sources(sources.Request('digits'), fake, RANDOM, print)


def folder_of(path, **splits):
    """Write images as <split>/<class>/<number>.png; return their config."""
    for split, classes in splits.items():
        for name, images in classes.items():
            (path / split / name).mkdir(parents=True)
            for number, image in enumerate(images):
                content = image_files.encoded(image)
                (path / split / name / f'{number}.png').write_bytes(content)
    config = helpers.tiny_mlp()
    config.data.path = str(path)
    return config


def test_held_out_images_are_resized_like_the_training_images(tmp_path):
    config = folder_of(
        tmp_path, train={'a': helpers.random_images(5)},
        test={'a': helpers.random_images(3, (12, 10, 3))},
    )
    training = builders.dataset(config)
    assert reference.held_out_of(config).images.shape == (3, 12, 10, 3)
    held_out = reference.held_out_of(config, like=training)
    assert held_out.images.shape == (3, 8, 8, 1)


def test_held_out_images_of_other_classes_or_arrays_are_not_used(tmp_path):
    images = helpers.random_images(4)
    config = folder_of(
        tmp_path, train={'a': images, 'b': images}, test={'b': images},
    )
    training = builders.dataset(config)
    assert training.classes == ('a', 'b')
    assert reference.held_out_of(config).classes != training.classes
    assert reference.held_out_of(config, like=training) is None
    arrays = sources.from_arrays(images)
    assert reference.held_out_of(config, like=arrays) is None


@pytest.mark.parametrize('split, held_out', [
    ('train', True), ('train[:1000]', True), ('train[:50%]+train[60%:]', True),
    ('train + test_images', True), ('test', False), ('test[:1000]', False),
    ('train+test', False), ('train[:10%] + test[:10]', False), ('all', False),
    ('all[:5]+train', False),
])
def test_splits_that_were_used_are_not_held_out(split, held_out, monkeypatch):
    found = sources.from_arrays(helpers.random_images(4))
    monkeypatch.setattr(reference.sources, 'load', lambda request: found)
    config = helpers.tiny_mlp()
    assert (reference.held_out_of(config, split) is found) == held_out
    config.data.split = split
    assert (reference.held_out_of(config) is found) == held_out


def test_points_are_compared_directly(tmp_path):
    config = helpers.tiny_mlp()
    config.data.name = 'ring'
    train.train(config, tmp_path)
    lines = []
    (result,) = runner.evaluate_run(
        tmp_path, None, runner.EvaluationOptions(num_fake=200, num_real=500),
        lines.append,
    )
    assert result['features']['name'] == 'pixels'
    assert {'fid', 'kid', 'recall'} <= set(result['values'])
    assert any('points are compared as they are' in line for line in lines)


def test_training_evaluates_and_keeps_the_best_step(tmp_path):
    config = helpers.tiny_mlp()
    config.num_steps, config.keep_checkpoints = 8, 1
    config.eval_every, config.checkpoint_every = 2, 0
    config.eval_metrics, config.eval_features = 'fid,prdc', 'random'
    config.eval_samples, config.keep_best = 64, 'eval/fid'
    train.train(config, tmp_path)
    lines = [
        json.loads(line)
        for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()
    ]
    found = {line['step']: line['eval/fid'] for line in lines}
    assert sorted(found) == [2, 4, 6, 8]
    assert all('eval/coverage' in line for line in lines)
    _, state = sampling.load(tmp_path, 'best')
    assert int(state.step) == min(found, key=found.get)
    options = runner.EvaluationOptions(
        ('fid',), 'random', num_fake=64, num_real=64
    )
    (measured,) = runner.evaluate_run(tmp_path, 'best', options, print)
    assert measured['values']['fid']['value'] == pytest.approx(
        found[int(state.step)], rel=1e-5
    )


@pytest.mark.parametrize('flags, message', [
    ((), 'name a run'),
    (('--workdir=x', '--real=digits', '--fake=digits'), 'name a run'),
    (('--real=digits',), 'by --real and --fake'),
    (('--workdir=none', '--data.limit=5'),
     '--data.limit=5 applies only to --real'),
    (('--workdir=none',), 'is not the folder of a run'),
    (('--real=digits', '--fake=digitz'), 'digitz'),
    (('x',), "unexpected argument 'x'"),
])
def test_mistakes_of_the_command_line_are_one_line(flags, message):
    done = helpers.run('gan_jax', 'evaluate', *flags)
    assert done.returncode in (2, 5), done.stderr
    assert done.stderr.count('\n') == 1 and message in done.stderr


def test_command_saves_what_it_prints(folder):
    done = helpers.run(
        'gan_jax', 'evaluate', f'--workdir={folder}', '--features=pixels',
        '--metrics=fid', '--num_fake=64',
    )
    assert done.returncode == 0, done.stderr
    kept = json.loads((folder / 'evaluation.json').read_text())
    assert f'fid {kept[-1]["values"]["fid"]["value"]:.4g} ' in done.stdout
    assert str(ROOT) not in json.dumps(kept)


def test_run_without_labels_and_held_out_images_is_evaluated(tmp_path):
    for number, image in enumerate(helpers.random_images(60)):
        writer.save_png(tmp_path / 'images' / f'{number}.png', image)
    config = helpers.tiny_mlp()
    config.data.path = str(tmp_path / 'images')
    train.train(config, tmp_path / 'run')
    lines = []
    (result,) = runner.evaluate(
        tmp_path / 'run', ('fid', 'memorization'), say=lines.append,
        num_fake=32,
    )
    text = '\n'.join(lines)
    assert result['features']['name'] == 'random' in text
    assert 'has no labels' in text
    assert '--features=efficientnet_lite0 or inception' in text
    assert 'no images were held out' in text and 'data.test_share' in text
    assert '% of other training images' in text
    assert set(result['values']['memorization']) == {'pixels', 'features'}
    assert (tmp_path / 'run' / 'neighbours.png').exists()


def test_features_that_are_asked_for_are_not_replaced(tmp_path):
    for number, image in enumerate(helpers.random_images(40)):
        writer.save_png(tmp_path / f'{number}.png', image)
    request = sources.Request(f'folder:{tmp_path}')
    with pytest.raises(errors.UserError, match='label'):
        runner.compare_sources(
            request, request,
            runner.EvaluationOptions(features='classifier'), print,
        )
