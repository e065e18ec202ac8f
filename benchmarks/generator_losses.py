"""Plot the generator losses and their gradients against D's output.

    python benchmarks/generator_losses.py --out=runs/generator_losses.png

It shows which losses still give G a gradient when D is sure that a sample is
fake. It draws every generator loss of `losses.LOSSES` and the magnitude of its
gradient with respect to D's logit, which is what G receives, and prints the
gradient at three points. Each batch has one fake, options are those of
`default_config()`, and memory is as at the start. Losses that compare fakes
with real images get one real logit, 0.

The axis D(G(z)) = sigmoid(logit) is a probability for the cross-entropy losses.
For the others it only orders the outputs. Energies have their own axis.
"""

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.cli import app
from gan_jax.config import defaults
from gan_jax.objectives import losses
from gan_jax.runtime import writer

OUT = flags.DEFINE_string(
    'out', 'runs/generator_losses.png', 'PNG file to write.'
)
DPI = flags.DEFINE_integer(
    'dpi', 100, 'Dots per inch; the picture is 12 inches wide.', lower_bound=20
)

PROBABILITIES = np.linspace(0.001, 0.999, 999)
ENERGIES = np.linspace(0.0, 20.0, 201)
REAL_LOGIT = 0.0
SURE_OF_FAKE = 0.15  # D(G(z)) below this is shaded
# Okabe and Ito's colours, apart for the colour-blind too, black last.
COLOURS = (
    '#0072b2', '#e69f00', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#000000',
)
# A curve that coincides with n others gets the style n, so that all show.
STYLES = ('-', (0, (4, 4)), (0, (1, 5)))


def to_logits(probabilities):
    """Compute log(p / (1 - p)), the inverse of the sigmoid."""
    probabilities = np.asarray(probabilities, np.float64)
    return np.log(probabilities) - np.log1p(-probabilities)


def curves(name, logits):
    """Compute a generator's loss for one fake, and its gradient's magnitude.

    Args:
        name: one of `losses.LOSSES`.
        logits: [N] D's outputs, each a batch of one fake; energies for a loss
            of energies.

    Returns:
        (loss [N], |d loss / d logit| [N]), float32.
    """
    loss = losses.LOSSES[name]
    options = defaults.default_config().loss
    more = {o.name: options[o.name] for o in loss.options}
    if loss.memory is not None:
        more['memory'] = loss.memory.init()
    real_logits = jnp.full(1, REAL_LOGIT)

    def of_one(logit):
        return loss.generator(real_logits, logit[None], **more)

    values, slopes = jax.vmap(jax.value_and_grad(of_one))(
        jnp.asarray(logits, jnp.float32)
    )
    return np.asarray(values), np.abs(np.asarray(slopes))


def names_of(energies):
    """List the losses of energies, or those of logits, by name."""
    return sorted(n for n, l in losses.LOSSES.items() if l.energies == energies)


def table(names, title, points, outputs):
    """Format the gradient's magnitude at points, one line for each loss."""
    head = f'{title:22}' + ''.join(f'{point:>10g}' for point in points)
    return '\n'.join([head, *(
        f'{name:22}' + ''.join(f'{g:10.3f}' for g in curves(name, outputs)[1])
        for name in names
    )])


def _plot(row, names, x, outputs):
    """Draw losses in a row's first axes, gradients in its second.

    Args:
        row: axes.
        names: of losses.
        x: [N], the horizontal axis.
        outputs: [N], what D puts out there.

    Returns:
        list of lines, one a loss, for the legend.
    """
    lines, drawn = [], []
    for index, name in enumerate(names):
        values, slopes = curves(name, outputs)
        below = sum(np.allclose(slopes, s, 1e-3, 1e-5) for s in drawn)
        drawn.append(slopes)
        style = {
            'color': COLOURS[index % len(COLOURS)],
            'linestyle': STYLES[min(below, len(STYLES) - 1)],
            'linewidth': 2.5 / (1 + index // len(COLOURS)),
            'label': name,
        }
        lines += row[0].plot(x, values, **style)
        row[1].plot(x, slopes, **style)
    for axes in row[:2]:
        axes.grid(alpha=0.3)
        axes.margins(x=0)
    return lines


def _legend(axes, handles, title):
    """Draw a legend in its own axes."""
    axes.axis('off')
    axes.legend(
        handles=handles, title=title, loc='upper left', handlelength=4,
        borderaxespad=0,
    )


def draw(dpi):
    """Draw losses and gradients, logits above energies.

    Args:
        dpi: pixels per inch of 12 by 8.

    Returns:
        uint8 [8 dpi, 12 dpi, 3].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), dpi=dpi, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    upper, lower = figure.subplots(
        2, 3, width_ratios=(4, 4, 2), height_ratios=(5, 3)
    )
    lines = _plot(
        upper, names_of(False), PROBABILITIES, to_logits(PROBABILITIES)
    )
    for axes in upper[:2]:
        shade = axes.axvspan(
            0, SURE_OF_FAKE, color='#999999', alpha=0.25, linewidth=0,
            label='D is sure it is fake:\nwhere G starts',
        )
        axes.set(xlim=(0, 1), xlabel='D(G(z)) = sigmoid(logit)')
    # least_squares leaves the frame: its outputs have no bound.
    upper[0].set(title="G's loss, one fake", ylim=(-7, 8))
    upper[1].set(
        title='|d loss / d logit| where D(G(z)) → 0:\n'
        'minimax → 0, non_saturating → 1', ylim=(0, 2.5),
    )
    _legend(upper[2], [*lines, shade], f'logits (real logit {REAL_LOGIT:g})')
    lines = _plot(lower, names_of(True), ENERGIES, ENERGIES)
    for axes in lower[:2]:
        axes.set(xlabel='energy of G(z)', xticks=range(0, 21, 5))
    lower[0].set(title="G's loss, one fake")
    lower[1].set(title='|d loss / d energy|', ylim=(0, 2.5))
    _legend(lower[2], lines, 'energies')
    return writer.rasterize(figure)


def main(argv):
    """Print the gradients at three points and write the picture."""
    del argv
    points = (0.001, 0.5, 0.999)
    print(f'|d loss / d logit|, real logit {REAL_LOGIT:g}')
    print(table(names_of(False), 'D(G(z))', points, to_logits(points)))
    points = (0.0, 10.0, 20.0)
    print('\n|d loss / d energy|')
    print(table(names_of(True), 'energy', points, points))
    writer.save_png(OUT.value, draw(DPI.value))
    print(f'\nWrote {OUT.value}')


if __name__ == '__main__':
    app.run(main)
