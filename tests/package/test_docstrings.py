"""First words of docstrings, and retired names."""

import ast
import io
import re
import tokenize

import pytest

from conftest import ROOT

FILES = sorted((ROOT / 'gan_jax').rglob('*.py'))
CODE = FILES + [
    path for folder in ('benchmarks', 'configs', 'tests')
    for path in sorted((ROOT / folder).rglob('*.py'))
]
PAGES = [
    path for path in sorted(ROOT.rglob('*.md'))
    if not any(part.startswith('.') for part in path.relative_to(ROOT).parts)
]

# Allowed first words of functions' docstrings. Add a verb only if jax or optax
# would use it for what the function does.
VERBS = set('''
    Add Apply Average Begin Build Call Check Choose Clip Close Collect Compare
    Compile Compute Concatenate Connect Continue Convert Convolve Copy Count
    Create Crop Decode Define Delete Describe Download Downsample Draw Embed
    Encode End Estimate Evaluate Exit Expand Export Extract Fill Find Fit
    Flatten Fold Format Gather Generate Group Handle Hash Import Initialize
    Interpolate Invert Iterate Join Keep List Load Log Map Mark Mask Match
    Measure Merge Mirror Move Multiply Normalize Open Pack Pad Parse Penalize
    Place Plot Predict Prepare Print Project Raise Read Reconstruct Record
    Reduce Register Remove Rename Render Repeat Replace Report Resample Reset
    Reshape Resize Resolve Restore Return Rotate Run Sample Save Scale Score
    Select Send Serve Set Shift Show Shuffle Skip Sort Split Stack Start Stop
    Store Sum Swap Take Test Trace Train Translate Try Unpack Update Upload
    Upsample Use Validate Verify Wait Warn Wrap Write Yield
'''.split())
# Words that the docstring of a class or module must not begin with.
NOT_NOUNS = {
    'From', 'Give', 'How', 'Let', 'Say', 'Tell', 'What', 'Where', 'Whether',
}
RETIRED = {  # old name: its replacement
    'bend': 'activation', 'culprit': 'nan_trace', 'descend': 'apply_updates',
    'diagnosing': 'monitor', 'evaluating': 'runner', 'exporting': 'export',
    'films': 'video', 'gathering': 'load_run', 'heap': 'malloc',
    'leak': 'negative_slope', 'looking': 'inspect_model',
    'masking': 'redact', 'preflight': 'setup_check', 'quizzing': 'quiz',
    'regularizers': 'penalties', 'remind': 'replay_fakes',
    'share_fakes': 'reuse_fakes', 'sights': 'discriminator_inputs',
    'slots': 'sample_index', 'sweeping': 'sweep', 'together': 'joint_batch',
    'ways': 'paths',
}


def docstrings(tree):
    """Yield (node, docstring) of all modules, classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, (
                ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef,
                ast.Module)):
            text = ast.get_docstring(node)
            if text:
                yield node, text


def first_words(code):
    """Yield (line, word) of docstrings whose first word is not allowed."""
    for node, text in docstrings(ast.parse(code)):
        word = re.match(r'\W*(\w*)', text)[1]
        nouns = isinstance(node, (ast.ClassDef, ast.Module))
        if word in NOT_NOUNS if nouns else word not in VERBS:
            yield getattr(node, 'lineno', 1), word


@pytest.mark.parametrize(
    'path', FILES, ids=lambda p: str(p.relative_to(ROOT))
)
def test_docstrings_begin_with_a_plain_verb_or_noun(path):
    assert list(first_words(path.read_text())) == []


@pytest.mark.parametrize('code', [
    'def f():\n    """Give a number."""', '"""What bends."""',
    'class A:\n    def f(self):\n        """Say whether."""',
    'class A:\n    """How it is."""',
])
def test_other_first_words_are_detected(code):
    assert len(list(first_words(code))) == 1


@pytest.mark.parametrize('path', CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_retired_names_are_not_in_code(path):
    if path.name == 'test_docstrings.py':
        return
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    names = {
        token.string for token in tokens
        if token.type == tokenize.NAME and token.string in RETIRED
    }
    assert names == set()


@pytest.mark.parametrize('path', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_retired_names_are_not_in_pages(path):
    if path.name == 'CHANGELOG.md':
        return
    words = set(re.findall(r'`(?:[\w.]*\.)?(\w+)`', path.read_text()))
    assert words & set(RETIRED) == set()
