"""Worker that trains a few steps on the available devices; saves the state.

    python tests/train_worker.py GAME out.npz [coordinator index count]

GAME is a network, and after a dash a schedule or a feed: mlp, dcgan,
mlp-unrolled, mlp-wgan, mlp-streaming. With SGD and without BatchNorm the number
of devices must change nothing.
"""

import logging
import sys

import jax
import numpy as np

import helpers
from gan_jax.config import defaults
from gan_jax.runtime import parallel
from gan_jax.training import train


class CountCompilations(logging.Handler):
    """Log handler that counts how often the train step is compiled."""

    count = 0

    def emit(self, record):
        text = record.getMessage()
        # jax.pmap hands jit a function called _fun.
        self.count += text.startswith('Finished XLA compilation of jit(_fun)')


def main(game, out, *cluster):
    network, _, schedule = game.partition('-')
    if cluster:
        coordinator, index, count = cluster
        parallel.initialize_hosts(
            coordinator_address=coordinator,
            process_id=int(index),
            num_processes=int(count),
        )
    config = helpers.tiny(defaults.default_config())
    for player in (config.generator, config.discriminator):
        player.name, player.norm = network, 'none'
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.name, optimizer.learning_rate = 'sgd', 0.1
    config.num_steps, config.d_steps = 3, 2
    config.instance_noise.std = 0.3
    config.snapshots.count, config.snapshots.every = 2, 1
    if schedule == 'streaming':
        config.data.feed, schedule = schedule, ''
    config.data.flip = config.data.dequantize = True
    config.schedule.name = schedule or config.schedule.name
    if schedule == 'wgan':
        config.schedule.burst_steps, config.schedule.burst_first = 4, 1
    config.log_every = config.checkpoint_every = 1

    counter = CountCompilations()
    logging.getLogger('jax').addHandler(counter)
    jax.config.update('jax_log_compiles', True)
    run = train.train(config, out + '.run', images=helpers.random_images())
    leaves = jax.tree.leaves(run.state)
    np.savez(
        out,
        compilations=counter.count,
        devices=jax.device_count(),
        **{f'leaf{i}': leaf for i, leaf in enumerate(leaves)},
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
