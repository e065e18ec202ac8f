"""Runner of a notebook's code cells, in one namespace, without Jupyter.

    python tests/notebook_worker.py notebook.ipynb

Each figure that a cell shows is written to the working directory. The cells
are plain Python: no magic and no shell lines.
"""

import json
import sys

import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402


def _save_figures():
    """Write the open figures to figure-<n>.png and close them."""
    for number in plt.get_fignums():
        _save_figures.count += 1
        plt.figure(number).savefig(f'figure-{_save_figures.count}.png')
    plt.close('all')


_save_figures.count = 0


def main(path):
    """Run the code cells of the notebook in their order."""
    plt.show, names = _save_figures, {'__name__': '__main__'}
    with open(path, encoding='utf-8') as file:
        cells = json.load(file)['cells']
    for cell in cells:
        if cell['cell_type'] == 'code':
            exec(compile(''.join(cell['source']), cell['id'], 'exec'), names)


if __name__ == '__main__':
    main(sys.argv[1])
