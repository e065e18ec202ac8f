"""Worker that trains or continues a run and saves the order of its images.

    python tests/devices_worker.py FOLDER NETWORK FEED

The pixels of each image are its index. With SGD and without BatchNorm the
number of devices must change nothing.
"""

import pathlib
import sys

import jax
import numpy as np

import helpers
import order_worker
from gan_jax.config import unused_keys
from gan_jax.training import train

STEPS, SAVED, BATCH, D_STEPS = 12, 6, 16, 2


def config_of(network, feed):
    """Return a config whose samples do not depend on the devices."""
    config = helpers.tiny_mlp()
    for player in (config.generator, config.discriminator):
        player.name = network
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.name, optimizer.learning_rate = 'sgd', 0.1
    config.num_steps, config.checkpoint_every = STEPS, SAVED
    config.batch_size, config.d_steps = BATCH, D_STEPS
    config.data.feed, config.sample_every = feed, 0
    if network == 'r3gan':
        config.loss.name = 'relativistic'
        config.penalties.r1.weight = config.penalties.r2.weight = 0.1
        config.anneal.images = STEPS * BATCH
        config.anneal.learning_rate = config.anneal.penalties = 0.5
        config.anneal.ema_half_life = 4 * BATCH
        config.augment.adaptive, config.augment.target = True, -1.0  # p rises
        config.augment.adaptive_images = STEPS * D_STEPS * BATCH
    if network == 'stylegan2':
        config.discriminator.stddev_group = 0  # groups are of one device
        config.penalties.r1.weight, config.penalties.r1.every = 0.1, 4
        config.penalties.path_length.weight = 0.01
        config.penalties.path_length.every = 2
        config.ema_half_life, config.ema_ramp = 4 * BATCH, 0.5
    unused_keys.leave_out(config)
    return config


def main(folder, network, feed):
    folder = pathlib.Path(folder)
    with order_worker.watched() as log:
        run = train.train(
            config_of(network, feed), folder, images=order_worker.numbered(8)
        )
    np.savez(
        folder / 'dealt.npz', dealt=np.concatenate(log),
        devices=jax.device_count(), position=int(run.state.position),
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
