"""Config of CycleGAN for `translation_speed.py`: the paper's networks.

The argument is the number of residual blocks: the paper's is 6 for images of
128x128, 9 for larger ones.
"""

from gan_jax.config import defaults


def get_config(argument='6'):
    """Return the config of a step on images without augmentation."""
    config = defaults.default_config()
    config.algorithm = 'cyclegan'
    config.data = defaults.grouped_data('a', 'b')
    config.data.name = 'digits'  # replaced by noise
    config.batch_size = 1
    config.loss.name = 'least_squares'
    config.history.size = 50
    config.translation.cycle, config.translation.identity = 5.0, 2.5
    config.generator.name = 'resnet_translator'
    config.generator.num_blocks = int(argument)
    config.discriminator.name = 'patchgan'
    config.discriminator.depth = 3
    for player in (config.generator, config.discriminator):
        player.norm, player.width = 'instance', 64
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate, optimizer.b1 = 2e-4, 0.5
        optimizer.b2 = 0.999
    return config
