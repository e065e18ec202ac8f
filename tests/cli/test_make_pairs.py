"""The command `make_pairs`: from a source to pairs that are trained on."""

import shlex

import numpy as np

import helpers
from gan_jax.data import pair_folders
from gan_jax.data import sources
from gan_jax.data import tasks


def test_each_layout_of_digits_is_read_by_the_keys_that_are_printed(tmp_path):
    layouts = sorted(pair_folders.LAYOUTS)
    results = helpers.commands([
        ['gan_jax', 'make_pairs', 'digits', '--task=stripes', '--data.limit=40',
         f'--layout={layout}', f'--out={tmp_path}/{layout}']
        for layout in layouts
    ])
    digits = sources.load(sources.Request('digits', limit=40)).images
    stripes = tasks.stripes(digits)
    for layout, (code, out, err) in zip(layouts, results):
        assert (code, err) == (0, '')
        assert '36 ' in out and ' 4 for testing' in out
        values = [
            word.partition('=')[2] for word in shlex.split(out) if '=' in word
        ]
        [path] = values
        images = sources.load(
            sources.Request(f'folder:{path}', split='test', side='B')
        ).images
        places = [19, 39] if layout == 'unpaired' else [9, 19, 29, 39]
        np.testing.assert_array_equal(images, stripes[places])


def test_mistakes_end_in_one_line(tmp_path):
    np.save(tmp_path / 'rows.npy', np.zeros((30, 3)))
    (tmp_path / 'there').mkdir()
    np.save(tmp_path / 'there' / '0.npy', np.ones((4, 4, 3), np.float32))
    mistakes = [
        (['digits', '--out=x'], 2, "--task='' is not one of ['deblur'"),
        (['digits', '--task=stripe', '--out=x'], 2, "did you mean 'stripes'"),
        (['digits', '--task=edges'], 2, '--out is missing'),
        (['digits', '--task=edges', '--out=x', '--layout=AB'], 2,
         f'<{"|".join(sorted(pair_folders.LAYOUTS))}>'),
        (['digits', '--task=edges', '--out=there'], 4, 'there exists already'),
        (['--task=edges', '--out=x'], 2, 'name one source'),
        (['rows.npy', '--task=edges', '--out=x'], 4, 'rows, not images'),
        (['there', '--task=edges', '--out=x'], 4, 'not pictures of uint8'),
        (['ring', '--task=edges', '--out=x'], 2, 'has points'),
        (['digits', '--task=edges', '--out=x', '--data.limit=9'], 4,
         '9 in train and 0 in test'),
        (['digits', '--task=edges', '--out=/dev/null/x'], 4,
         'cannot be written'),
    ]
    results = helpers.commands(
        [['gan_jax', 'make_pairs', *words] for words, *_ in mistakes],
        cwd=tmp_path,
    )
    for (words, code, text), (actual, _, err) in zip(mistakes, results):
        assert actual == code and text in err, (words, err)
        assert err.startswith('error: ') and err.count('\n') == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'rows.npy', 'there'
    ]
