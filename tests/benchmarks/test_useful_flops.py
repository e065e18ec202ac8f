"""FLOPs of a step are those counted by hand."""

import importlib

import pytest

from conftest import ROOT

BENCHMARKS = ROOT / 'benchmarks'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_flops_of_a_dcgan_step_are_those_counted_by_hand(script):
    case, = script('beside_torch').cases(['dcgan 32'])
    count = script('useful_flops').step
    # G: 100 to 4x4x256, then 4x4 kernels 256-128-64-3 at 4, 8 and 16 pixels a
    # side; D: 3-64-128-256 at 16, 8 and 4, then 4,096 to 1.
    g = 2 * (100 * 4096 + 16 * (
        256 * 128 * 16 + 128 * 64 * 64 + 64 * 3 * 256
    ))
    first = 2 * 16 * 3 * 64 * 256
    d = first + 2 * (16 * (64 * 128 * 64 + 128 * 256 * 16) + 4096)
    expected = 64 * (
        g + 2 * (3 * d - first) + g + 2 * d + 2 * g - 2 * 100 * 4096
    )
    assert count(case.config, case.shape) == expected
    assert expected == pytest.approx(27.0e9, rel=5e-3)


def test_flops_of_points_are_those_counted_by_hand(script):
    case, = script('beside_torch').cases(['mlp 512'])
    g = 2 * (32 * 128 + 128 * 128 + 128 * 2)
    first, d = 2 * 2 * 128, 2 * (2 * 128 + 128 * 128 + 128)
    expected = 512 * (
        g + 2 * (3 * d - first) + 3 * g - 2 * 32 * 128 + 2 * d
    )
    assert script('useful_flops').step(case.config, case.shape) == expected


def test_penalties_and_critic_updates_count(script):
    cases = script('beside_torch').cases
    count = script('useful_flops').step
    plain, r1, gp = (
        case for case in cases(['dcgan 32', 'dcgan 32 r1', 'wgan_gp 32'])
    )
    assert count(r1.config, r1.shape) > count(plain.config, plain.shape)
    both, = cases(['dcgan 32 r1 r2'])
    _, d = script('useful_flops').dcgan_pair(both.config, both.shape)
    assert count(both.config, both.shape) - count(r1.config, r1.shape) == (
        64 * (d.first + 2 * d.total)
    )
    gp.config.d_steps, five = 1, count(gp.config, gp.shape)
    # All but G's update is there five times.
    assert 3 < five / count(gp.config, gp.shape) < 5


def test_shared_fakes_save_a_forward_of_g(script):
    plain, shared = script('beside_torch').cases(
        ['dcgan 32', 'dcgan 32 shared']
    )
    flops = script('useful_flops')
    g, _ = flops.dcgan_pair(plain.config, plain.shape)
    assert flops.step(plain.config, plain.shape) - flops.step(
        shared.config, shared.shape
    ) == 64 * g.total
