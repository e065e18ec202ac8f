"""The port's Inception-v3 in PyTorch, and the golden numbers it gives.

    pip install -e '.[convert]'
    python tests/torch_inception.py

Written apart from gan_jax/features/inception.py: modules are named, and the
shapes of kernels and paddings given, as torchvision's Inception3 has them, with
the blocks that pytorch-fid puts in their places. The command writes
inception_golden.npz: the features and logits of `images()` with the weights of
`inception_state.random_state()`.
"""

import pathlib

import torch
from torch import nn
from torch.nn import functional

import inception_state

GOLDEN = pathlib.Path(__file__).parent / 'inception_golden.npz'


class BasicConv2d(nn.Module):
    def __init__(self, inputs, outputs, **fields):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, bias=False, **fields)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)))


def mean_pool(x):
    return functional.avg_pool2d(
        x, kernel_size=3, stride=1, padding=1, count_include_pad=False
    )


def max_pool(x):
    return functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)


def halving_pool(x):
    return functional.max_pool2d(x, kernel_size=3, stride=2)


class InceptionA(nn.Module):
    def __init__(self, inputs, pool_features):
        super().__init__()
        self.branch1x1 = BasicConv2d(inputs, 64, kernel_size=1)
        self.branch5x5_1 = BasicConv2d(inputs, 48, kernel_size=1)
        self.branch5x5_2 = BasicConv2d(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(inputs, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(inputs, pool_features, kernel_size=1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        double = self.branch3x3dbl_3(double)
        pooled = self.branch_pool(mean_pool(x))
        return torch.cat([self.branch1x1(x), five, double, pooled], 1)


class InceptionB(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.branch3x3 = BasicConv2d(inputs, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(inputs, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, stride=2)

    def forward(self, x):
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        double = self.branch3x3dbl_3(double)
        return torch.cat([self.branch3x3(x), double, halving_pool(x)], 1)


class InceptionC(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        row = {'kernel_size': (1, 7), 'padding': (0, 3)}
        column = {'kernel_size': (7, 1), 'padding': (3, 0)}
        self.branch1x1 = BasicConv2d(inputs, 192, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(inputs, width, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(width, width, **row)
        self.branch7x7_3 = BasicConv2d(width, 192, **column)
        self.branch7x7dbl_1 = BasicConv2d(inputs, width, kernel_size=1)
        self.branch7x7dbl_2 = BasicConv2d(width, width, **column)
        self.branch7x7dbl_3 = BasicConv2d(width, width, **row)
        self.branch7x7dbl_4 = BasicConv2d(width, width, **column)
        self.branch7x7dbl_5 = BasicConv2d(width, 192, **row)
        self.branch_pool = BasicConv2d(inputs, 192, kernel_size=1)

    def forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_2(self.branch7x7dbl_1(x))
        double = self.branch7x7dbl_4(self.branch7x7dbl_3(double))
        double = self.branch7x7dbl_5(double)
        pooled = self.branch_pool(mean_pool(x))
        return torch.cat([self.branch1x1(x), seven, double, pooled], 1)


class InceptionD(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.branch3x3_1 = BasicConv2d(inputs, 192, kernel_size=1)
        self.branch3x3_2 = BasicConv2d(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(inputs, 192, kernel_size=1)
        self.branch7x7x3_2 = BasicConv2d(
            192, 192, kernel_size=(1, 7), padding=(0, 3)
        )
        self.branch7x7x3_3 = BasicConv2d(
            192, 192, kernel_size=(7, 1), padding=(3, 0)
        )
        self.branch7x7x3_4 = BasicConv2d(192, 192, kernel_size=3, stride=2)

    def forward(self, x):
        cross = self.branch7x7x3_2(self.branch7x7x3_1(x))
        cross = self.branch7x7x3_4(self.branch7x7x3_3(cross))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, cross, halving_pool(x)], 1)


class InceptionE(nn.Module):
    def __init__(self, inputs, pool):
        super().__init__()
        row = {'kernel_size': (1, 3), 'padding': (0, 1)}
        column = {'kernel_size': (3, 1), 'padding': (1, 0)}
        self.pool = pool
        self.branch1x1 = BasicConv2d(inputs, 320, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(inputs, 384, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(384, 384, **row)
        self.branch3x3_2b = BasicConv2d(384, 384, **column)
        self.branch3x3dbl_1 = BasicConv2d(inputs, 448, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, **row)
        self.branch3x3dbl_3b = BasicConv2d(384, 384, **column)
        self.branch_pool = BasicConv2d(inputs, 192, kernel_size=1)

    def forward(self, x):
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([
            self.branch1x1(x),
            self.branch3x3_2a(single), self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        ], 1)


class Inception3(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, mean_pool)
        self.Mixed_7c = InceptionE(2048, max_pool)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, images):
        """Map [B, 3, H, W] in [-1, 1] to features, logits with bias."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(halving_pool(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(halving_pool(x))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(x)))
        x = self.Mixed_7c(self.Mixed_7b(x))
        features = functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        return features, self.fc(features)


def load(state):
    """Give the network in evaluation mode; every name must be known."""
    network = Inception3()
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    counts = {
        name: value for name, value in network.state_dict().items()
        if name.endswith('num_batches_tracked')
    }
    network.load_state_dict({**tensors, **counts}, strict=True)
    return network.eval()


def prepare(images):
    """uint8 NHWC to what the network reads, as pytorch-fid does it."""
    x = torch.tensor(images).permute(0, 3, 1, 2) / 255
    x = functional.interpolate(
        x, size=(299, 299), mode='bilinear', align_corners=False
    )
    return 2 * x - 1


def nchw(images):
    return torch.tensor(images).permute(0, 3, 1, 2)


def main():
    import numpy as np

    network = load(inception_state.random_state())
    with torch.no_grad():
        features, logits = network(nchw(inception_state.images()))
    print(f'torch {torch.__version__}: features from {features.min():.3g} to '
          f'{features.max():.3g}, {features.std():.3g} about their mean')
    np.savez(GOLDEN, features=features.numpy(), logits=logits.numpy())


if __name__ == '__main__':
    main()
