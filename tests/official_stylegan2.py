"""Small StyleGAN2 networks in the layout of the authors' pickles.

Made of names, shapes and random numbers, without their code or PyTorch.
"""

import zlib

import numpy as np

import torch_files

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
SIDE, WIDTH, LATENT = 16, 16, 8
CHANNELS = {4: 16, 8: 16, 16: 8}  # by side
SCALES = (  # end of a name, factor and shift of standard normal numbers
    ('affine.bias', 0.3, 1), ('noise_strength', 0.3, 0), ('w_avg', 0.5, 0),
    ('noise_const', 1, 0), ('bias', 0.3, 0), ('weight', 1, 0), ('const', 1, 0),
)


def value(network, name, shape):
    """Return the numbers of a tensor, which depend on its name alone."""
    random = np.random.RandomState(zlib.crc32(f'{network}.{name}'.encode()))
    factor, shift = next(
        (factor, shift) for end, factor, shift in SCALES if name.endswith(end)
    )
    if '.fc' in name and 'mapping' in name:
        factor *= 100
    numbers = shift + factor * random.standard_normal(shape)
    return np.asarray(numbers, np.float32)


class _Builder:
    """Modules of one network, whose tensors are `value` of their names."""

    def __init__(self, network, prefix=''):
        self.network, self.prefix = network, prefix

    def below(self, name):
        return _Builder(self.network, f'{self.prefix}{name}.')

    def tensors(self, **shapes):
        return {
            name: value(self.network, self.prefix + name, shape)
            for name, shape in shapes.items()
        }

    def dense(self, name, inputs, outputs, rate=1, activation='linear'):
        return torch_files.module(
            'FullyConnectedLayer', self.below(name).tensors(
                weight=(outputs, inputs), bias=(outputs,)
            ), activation=activation, bias_gain=rate,
            weight_gain=torch_files.number(rate / np.sqrt(inputs)),
        )

    def conv(self, name, inputs, outputs, size=3, bias=True):
        shapes = {'weight': (outputs, inputs, size, size)}
        shapes.update({'bias': (outputs,)} if bias else {})
        tensors = self.below(name).tensors(**shapes)
        return torch_files.module(
            'Conv2dLayer', tensors if bias else {**tensors, 'bias': None},
            {'resample_filter': FILTER}, conv_clamp=None,
            activation='lrelu' if bias else 'linear',
        )

    def styled(self, name, side, inputs, outputs):
        own = self.below(name)
        return torch_files.module(
            'SynthesisLayer', own.tensors(
                weight=(outputs, inputs, 3, 3), bias=(outputs,),
                noise_strength=(),
            ), {
                'resample_filter': FILTER,
                **own.tensors(noise_const=(side, side)),
            }, {'affine': own.dense('affine', LATENT, inputs)},
            activation='lrelu', use_noise=True, conv_clamp=None,
        )

    def mapping(self, *, num_layers, inputs, outputs, classes, mean):
        own, modules = self.below('mapping'), {}
        if classes:
            modules['embed'] = own.dense('embed', classes, outputs)
            inputs += outputs
        for number in range(num_layers):
            modules[f'fc{number}'] = own.dense(
                f'fc{number}', inputs if number == 0 else outputs, outputs,
                0.01, 'lrelu',
            )
        buffers = own.tensors(w_avg=(outputs,)) if mean else {}
        return torch_files.module(
            'MappingNetwork', (), buffers, modules, num_layers=num_layers,
        )


def generator(network='G_ema', classes=0, **changes):
    """Return a generator as in the authors' pickles.

    Args:
        network: 'G' or 'G_ema'; it seeds the numbers.
        classes: number of classes.
        changes: attributes that differ.
    """
    own = _Builder(network)
    synthesis, blocks = own.below('synthesis'), {}
    for side, width in CHANNELS.items():
        block, inputs = synthesis.below(f'b{side}'), CHANNELS.get(side // 2, 0)
        rgb = block.below('torgb')
        modules = {'conv1': block.styled('conv1', side, width, width)}
        if inputs:
            modules['conv0'] = block.styled('conv0', side, inputs, width)
        modules['torgb'] = torch_files.module(
            'ToRGBLayer', rgb.tensors(weight=(3, width, 1, 1), bias=(3,)),
            modules={'affine': rgb.dense('affine', LATENT, width)},
            conv_clamp=None,
        )
        blocks[f'b{side}'] = torch_files.module(
            'SynthesisBlock',
            {} if inputs else block.tensors(const=(width, side, side)),
            {'resample_filter': FILTER}, modules, architecture='skip',
            use_fp16=False,
        )
    return torch_files.module('Generator', modules={
        'synthesis': torch_files.module(
            'SynthesisNetwork', modules=blocks, num_ws=6
        ),
        'mapping': own.mapping(
            num_layers=2, inputs=LATENT, outputs=LATENT, classes=classes,
            mean=True,
        ),
    }, **{
        'z_dim': LATENT, 'w_dim': LATENT, 'c_dim': classes,
        'img_resolution': SIDE, 'img_channels': 3, **changes,
    })


def discriminator(classes=0, architecture='resnet'):
    """Return a discriminator as in the authors' pickles."""
    own, modules = _Builder('D'), {}
    for side, width in reversed(CHANNELS.items()):
        block, name = own.below(f'b{side}'), f'b{side}'
        if side > 4:
            inner = {
                'conv0': block.conv('conv0', width, width),
                'conv1': block.conv('conv1', width, CHANNELS[side // 2]),
            }
            if side == SIDE:
                inner['fromrgb'] = block.conv('fromrgb', 3, width, 1)
            if architecture == 'resnet':
                inner['skip'] = block.conv(
                    'skip', width, CHANNELS[side // 2], 1, bias=False
                )
            modules[name] = torch_files.module(
                'DiscriminatorBlock', (), {'resample_filter': FILTER}, inner,
                architecture=architecture, use_fp16=False,
            )
    if classes:
        modules['mapping'] = own.mapping(
            num_layers=8, inputs=0, outputs=WIDTH, classes=classes, mean=False,
        )
    end = own.below('b4')
    modules['b4'] = torch_files.module(
        'DiscriminatorEpilogue', modules={
            'mbstd': torch_files.module(
                'MinibatchStdLayer', group_size=4, num_channels=1
            ),
            'conv': end.conv('conv', WIDTH + 1, WIDTH),
            'fc': end.dense('fc', WIDTH * 16, WIDTH, 1, 'lrelu'),
            'out': end.dense('out', WIDTH, WIDTH if classes else 1),
        }, architecture=architecture,
    )
    return torch_files.module(
        'Discriminator', modules=modules, c_dim=classes, img_resolution=SIDE,
        img_channels=3,
    )


def snapshot(classes=0, architecture='resnet', probability=0.25):
    """Return what the authors' training saves, to be pickled."""
    return {
        'training_set_kwargs': torch_files.Call(
            'dnnlib.util.EasyDict', [('path', '/data/images.zip')]
        ),
        'G': generator('G', classes),
        'D': discriminator(classes, architecture),
        'G_ema': generator('G_ema', classes),
        'augment_pipe': None if probability is None else torch_files.module(
            'AugmentPipe', (), {'p': np.float32(probability)}
        ),
    }


def latents():
    """Return z of four samples."""
    z = np.random.RandomState(0).standard_normal((4, LATENT))
    return z.astype(np.float32)


def images():
    """Return four images in [-1, 1], [4, SIDE, SIDE, 3]."""
    shape = (4, SIDE, SIDE, 3)
    return np.random.RandomState(1).uniform(-1, 1, shape).astype(np.float32)
