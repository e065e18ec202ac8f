"""Four hosts of eight chips: which data a host reads, and the traced call."""

import json
import re
import subprocess
import sys
import types
from unittest import mock

import jax
import numpy as np
import pytest

from conftest import ROOT
import helpers
from gan_jax.cli import recipe_files
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.runtime import parallel

HOSTS, CHIPS = 4, 8
DEVICES = [
    types.SimpleNamespace(process_index=number // CHIPS)
    for number in range(HOSTS * CHIPS)
]
# One of each algorithm, and points.
RECIPES = {
    'gan': 'adversarial', 'autoencoder': 'autoencoder', 'vae': 'vae',
    'glo': 'glo', 'cyclegan': 'cyclegan', 'pix2pix': 'pix2pix',
    'pose_decoder': 'pose_decoder', 'mixtures': 'adversarial', 'aae': 'aae',
    'kl_autoencoder': 'kl_autoencoder', 'vae_gan': 'vae_gan',
    'vq_gan': 'vq_gan',
}
FAST = RECIPES.keys() - {'mixtures'}
script, _ = helpers.load_script('tpu_compile')


def config_of(recipe):
    """Return its config with the batch of a pod."""
    return script.load_config(
        script.Case(recipe, 'v5e:4x8', 'float32'), len(DEVICES)
    )


def read(config, host, devices):
    """Return [what a host is fed, places of its samples], by source."""
    with script.as_if_on(devices, 2**34), mock.patch.object(
        jax, 'process_index', lambda: host
    ):
        feeds = builders.feeds(config, script.unread_datasets(config))
        taken = {name: feed.read(3, 2) for name, feed in feeds.items()}
        for feed in feeds.values():
            feed.close()
        start, stop = parallel.host_slice(defaults.images_per_batch(config))
        split = parallel.split({
            name: part[:, None] for name, part in taken.items()
        })
    return taken, np.arange(start, stop), split


def check_quarters(recipe):
    """Assert that the parts of the hosts, in order, are the global batch."""
    config = config_of(recipe)
    size = defaults.images_per_batch(config)
    whole, places, _ = read(config, 0, DEVICES[:1])
    np.testing.assert_array_equal(places, np.arange(size))
    hosts = [read(config, host, DEVICES) for host in range(HOSTS)]
    np.testing.assert_array_equal(
        np.concatenate([places for _, places, _ in hosts]), np.arange(size)
    )
    for name, batch in whole.items():
        assert batch.shape == (2, size)
        parts = [taken[name] for taken, *_ in hosts]
        assert [part.shape for part in parts] == [(2, size // HOSTS)] * HOSTS
        np.testing.assert_array_equal(np.concatenate(parts, 1), batch)
        for _, _, split in hosts:  # [chips, S, K, images of a chip]
            assert split[name].shape == (
                CHIPS, 2, 1, size // len(DEVICES)
            )


def test_there_is_a_recipe_of_each_algorithm():
    own = {  # other tests add algorithms of their own
        name for name in builders.ALGORITHMS if not name.startswith('toy')
    }
    assert set(RECIPES.values()) == own
    for recipe, name in RECIPES.items():
        assert config_of(recipe).algorithm == name


@pytest.mark.parametrize('recipe', sorted(FAST))
def test_each_of_four_hosts_reads_its_quarter_of_a_batch(recipe):
    check_quarters(recipe)


@pytest.mark.integration
@pytest.mark.parametrize(
    'recipe', sorted(recipe_files.summaries().keys() - FAST)
)
def test_so_it_is_for_every_recipe(recipe):
    check_quarters(recipe)


TRACE = '''
import json, re, sys
sys.path[:0] = [{benchmarks!r}, {tests!r}]
import jax
import helpers
script, _ = helpers.load_script('tpu_compile')
found = {{}}
for recipe in sys.argv[1:]:
    config = script.load_config(
        script.Case(recipe, 'v5e:4x8', 'float32'), len(jax.devices())
    )
    lowered, _, _ = script.lower(config, jax.devices(), 2**34)
    text = lowered.as_text()
    reduced = re.findall(r'all_reduce.*?replica_groups = .*?tensor<(\\w+)>',
                         text, re.DOTALL)
    found[recipe] = sorted(set(reduced))
print(json.dumps(found))
'''


@pytest.mark.integration
def test_gradients_are_averaged_over_all_chips_of_the_pod():
    done = subprocess.run(
        [sys.executable, '-c', TRACE.format(
            benchmarks=str(ROOT / 'benchmarks'), tests=str(ROOT / 'tests'),
        ), *RECIPES], capture_output=True, text=True, cwd=ROOT,
        env=helpers.environment(len(DEVICES)),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        recipe: [f'1x{len(DEVICES)}xi64'] for recipe in RECIPES
    }


def example(language):
    """Return the block of a language in the page on hosts."""
    page = (ROOT / 'configs' / 'HOSTS.md').read_text()
    return re.search(rf'```{language}\n(.*?)```', page, re.DOTALL)[1]


def assert_trains(words):
    """Assert that a command is one of ours, for 32 devices."""
    assert words[:5] == ['python', '-m', 'gan_jax', 'train', '--multihost']
    flags = dict(word.split('=', 1) for word in words[5:])
    assert int(flags['--config.batch_size']) % len(DEVICES) == 0
    assert recipe_files.path_of(flags['--config']).endswith('dcgan.py:celeb_a')
    assert {'--workdir', '--config.data.data_dir'} < flags.keys()


def test_slurm_has_a_task_for_each_gpu():
    text = example('bash')
    options = dict(re.findall(r'#SBATCH --([a-z-]+)=(.*)', text))
    assert options['nodes'] == str(HOSTS)
    assert options['ntasks-per-node'] == options['gpus-per-node'] == str(CHIPS)
    assert_trains(text.split('srun ')[1].replace('\\\n', ' ').split())


def test_job_of_gke_is_one_that_jax_finds():
    yaml = pytest.importorskip('yaml')  # flax needs it
    *_, service, job = yaml.safe_load_all(example('yaml'))
    spec = job['spec']
    assert spec['completionMode'] == 'Indexed'
    assert spec['completions'] == spec['parallelism'] == HOSTS
    assert service['spec']['clusterIP'] == 'None'
    assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
    pod = spec['template']['spec']
    assert pod['subdomain'] == service['metadata']['name']
    container, = pod['containers']
    assert container['resources']['limits']['nvidia.com/gpu'] == CHIPS
    assert_trains(container['command'])
