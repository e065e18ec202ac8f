"""Kernels of a step: their names in a trace, groups, streams of a GPU."""

import importlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from conftest import ROOT

BENCHMARKS = ROOT / 'benchmarks'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_a_trace_names_the_kernels_of_a_call(script):
    kernels = script('kernels')
    product = jax.jit(lambda x: x @ x)
    x = jnp.ones((512, 512))
    product(x).block_until_ready()
    groups = kernels.grouped(
        kernels.trace(lambda: product(x).block_until_ready()), 1
    )
    (name, seconds, share), = groups['other']['longest']
    assert name.startswith(('dot', 'ynn'))  # the library, where it is used
    assert 0 < seconds < 10 and 0.5 < share <= groups['other']['share'] <= 1


def test_kernels_are_grouped_by_what_they_do(script):
    kernels = script('kernels')
    names = {
        'dgrad': [
            'sm90_xmma_dgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32',
            'void dgrad2d_grouped_direct_kernel<float>',
            'cutlass_tensorop_s1688dgrad_analytic_tf32_128x64',
        ],
        'wgrad': ['sm80_xmma_wgrad_implicit_gemm_indexed_tf32f32'],
        'fprop': [
            'sm90_xmma_fprop_implicit_gemm_bf16bf16_nhwckrsc_nhwc',
            'sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_nchw_nchw',
            'cutlass_tensorop_s16816fprop_optimized_nhwc_align8',
            'void implicit_convolve_sgemm<float>', 'convolution.12',
        ],
        'padding and layout': [
            'void cudnn::ops::nhwcAddPaddingKernel<__half>', 'MemcpyD2D',
            'void cudnn::ops::nchwToNhwcKernel<float>', 'loop_pad_fusion.2',
            'input_transpose_fusion', 'loop_slice_fusion', 'copy.4',
        ],
        'normalisation and reductions': [
            'input_multiply_reduce_fusion_3', 'loop_reduce_fusion',
            'void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>',
        ],
        'other': ['loop_multiply_fusion', 'nvjet_hsh_128x128', 'dot.3'],
    }
    for group, members in names.items():
        for name in members:
            assert kernels.group(name) == group, name
    groups = kernels.grouped(
        {'dgrad_a': 3.0, 'wgrad_b': 4.0, 'dgrad_c': 2.0, 'add': 1.0}, 2
    )
    assert groups == {
        'dgrad': {'share': 0.5, 'longest': [('dgrad_a', 3.0, 0.3)]},
        'wgrad': {'share': 0.4, 'longest': [('wgrad_b', 4.0, 0.4)]},
        'other': {'share': 0.1, 'longest': []},
    }
    assert list(kernels.rows(groups))[2:] == [
        '| dgrad | 50.0% | dgrad_a 30.0% |',
        '| wgrad | 40.0% | wgrad_b 40.0% |',
        '| other | 10.0% |  |',
    ]
    assert kernels.grouped({}, 2) == {}


def test_kernels_of_a_gpu_are_those_of_its_streams(script):
    def line(name, **events):
        return SimpleNamespace(name=name, events=[
            SimpleNamespace(name=kernel, duration_ns=taken)
            for kernel, taken in events.items()
        ])

    def plane(name, *lines):
        return SimpleNamespace(name=name, lines=lines)

    gpu = plane(
        '/device:GPU:0', line('Stream #13(Compute)', gemm=3e9, loop=1e9),
        line('Stream #14', gemm=1e9), line('Steps', gemm=9e9),
    )
    host = plane('/host:CPU', line('python', dot=9e9))
    add_up = script('kernels').add_up
    assert add_up(iter([host, gpu])) == {'gemm': 4, 'loop': 1}
    threads = line('tf_XLAEigen', **{
        'dot.3': 2e9, 'while.6': 9e9, 'ThunkExecutor::Execute': 9e9,
    })
    assert add_up([plane('/host:CPU', threads)]) == {'dot.3': 2}
