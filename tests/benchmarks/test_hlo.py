"""Programs of XLA as text: collectives, padding, loops, by hand."""

import pytest

import helpers

hlo, _ = helpers.load_script('hlo')

# A loop of 3 steps, each with an average of two arrays, a gather in two parts,
# a gather that is spread over two fusions, and a copy to another layout.
PROGRAM = '''HloModule jit_call, is_scheduled=true, num_partitions=8

FileNames
1 "dispatch.py"

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%fused.1 (p: f32[1,16]) -> (f32[8,16], f32[4]) {
  %p = f32[1,16]{1,0:T(1,128)} parameter(0)
  %part.1 = f32[8,16]{1,0:T(8,128)S(1)} all-gather(%p), channel_id=1, dimensions={0}, frontend_attributes={chain_id="0"}
  %more = f32[4]{0:T(128)} constant({...})
  ROOT %both = (f32[8,16]{1,0:T(8,128)S(1)}, /*index=1*/f32[4]{0:T(128)}) tuple(%part.1, %more)
}

%fused.2 (p.2: f32[1,16]) -> f32[8,16] {
  %p.2 = f32[1,16]{1,0:T(1,128)} parameter(0)
  ROOT %part.2 = f32[8,16]{1,0:T(8,128)S(1)} all-gather(%p.2), channel_id=1, dimensions={0}, frontend_attributes={chain_id="0"}
}

%body.7 (state: (s32[], f32[4,8], f32[2])) -> (s32[], f32[4,8], f32[2]) {
  %state = (s32[]{:T(128)}, f32[4,8]{1,0:T(4,128)}, f32[2]{0:T(128)}) parameter(0)
  %step = s32[]{:T(128)} get-tuple-element(%state), index=0
  %grads = f32[4,8]{1,0:T(4,128)} get-tuple-element(%state), index=1
  %bias = f32[2]{0:T(128)} get-tuple-element(%state), index=2
  %mean = (f32[4,8]{1,0:T(4,128)S(1)}, f32[2]{0:T(128)S(1)}) all-reduce(%grads, %bias), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, to_apply=%add
  %row = f32[1,16]{1,0:T(1,128)} bitcast(%grads)
  %start = (f32[2]{0:T(128)}, f32[16]{0:T(128)}) all-gather-start(%bias), dimensions={0}
  %done = f32[16]{0:T(128)} all-gather-done(%start)
  %f.1 = (f32[8,16]{1,0:T(8,128)S(1)}, f32[4]{0:T(128)}) fusion(%row), kind=kOutput, calls=%fused.1
  %f.2 = f32[8,16]{1,0:T(8,128)S(1)} fusion(%row), kind=kOutput, calls=%fused.2
  %copy.1 = f32[4,8]{0,1:T(8,128)} copy(%grads), metadata={op_name="a callback (f64[2])"}
  ROOT %new = (s32[]{:T(128)}, f32[4,8]{1,0:T(4,128)}, f32[2]{0:T(128)}) tuple(%step, %grads, %bias)
}

%condition.8 (state.2: (s32[], f32[4,8], f32[2])) -> pred[] {
  %limit = s32[]{:T(128)} constant(3), metadata={op_name="while"}
  %state.2 = (s32[]{:T(128)}, f32[4,8]{1,0:T(4,128)}, f32[2]{0:T(128)}) parameter(0)
  %step.2 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  ROOT %less = pred[]{:T(512)} compare(%step.2, %limit), direction=LT
}

ENTRY %main.9 (param: f32[4,8]) -> f32[4,8] {
  %param = f32[4,8]{1,0:T(4,128)} parameter(0)
  %init = (s32[]{:T(128)}, f32[4,8]{1,0:T(4,128)}, f32[2]{0:T(128)}) tuple(%zero, %param, %two)
  %loop = (s32[]{:T(128)}, f32[4,8]{1,0:T(4,128)}, f32[2]{0:T(128)}) while(%init), condition=%condition.8, body=%body.7
  ROOT %out = f32[4,8]{1,0:T(4,128)} get-tuple-element(%loop), index=1
}
'''  # noqa: E501  as XLA writes it


def test_collectives_count_as_often_as_they_run():
    collectives = hlo.report(PROGRAM).collectives
    assert collectives == {
        # Of 4 x 8 and 2 numbers of 4 bytes.
        'all-reduce': (3, 3 * (4 * 8 + 2) * 4),
        # The one in two parts counts once, and so does the one of two fusions.
        'all-gather': (6, 3 * (2 + 16) * 4),
    }


def test_loop_has_the_length_that_is_written_or_compared_with():
    assert hlo.report(PROGRAM).loops == (3,)
    known = PROGRAM.replace(
        'body=%body.7',
        'body=%body.7, backend_config={"known_trip_count":{"n":"5"}}',
    )
    report = hlo.report(known)
    assert report.loops == (5,)
    assert report.collectives['all-reduce'][0] == 5
    unknown = PROGRAM.replace('constant(3)', 'parameter(1)')
    assert hlo.report(unknown).loops == ()


def test_padding_is_of_the_arrays_that_a_step_writes():
    report = hlo.report(PROGRAM)
    # The average, both results of the first fusion, that of the second, the
    # copy, and one byte of the condition; what is in fusions is not written.
    size = 4 * ((32 + 2) + (128 + 4) + 128 + 32) + 1
    padded = 4 * ((4 * 128 + 128) + (8 * 128 + 128) + 2 * 8 * 128) + 512
    assert report.padding == pytest.approx(padded / size)
    assert report.copies == pytest.approx(4 * 8 * 128 / padded)
    assert report.widest == (128, 4096, 'f32[4,8]')


@pytest.mark.parametrize('text, size, padded', [
    # Axes from slow to fast: 16, 3, 64, 64; the last two fill 64 and 128.
    ('bf16[16,64,64,3]{2,1,3,0:T(8,128)(2,1)}', 393_216, 786_432),
    ('bf16[16,64,64,3]{3,2,1,0:T(8,128)(2,1)S(1)}', 393_216, 16_777_216),
    ('u8[5,3]{1,0:T(32,128)(4,1)}', 15, 32 * 128),
    ('f32[130]{0:T(128)}', 520, 1024),
    ('f32[]{:T(128)}', 4, 512),
    ('f32[4,8]{1,0}', 128, 128),
    ('f32[4,8]', 128, 128),
])
def test_tiles_are_filled_up(text, size, padded):
    array, = hlo.arrays(text)
    assert (array.bytes, array.padded_bytes) == (size, padded)


def test_types_in_tuples_are_all_found():
    text = '(f32[2]{0:T(128)}, /*index=1*/(s32[], u32[]{:S(2)}), token[])'
    assert [array.dtype for array in hlo.arrays(text)] == ['f32', 's32', 'u32']


@pytest.mark.parametrize('line, unwanted', [
    ('%x = f64[2]{0} convert(%grads)', ('float64',)),
    ('%x = f32[2]{0} custom-call(%grads), '
     'custom_call_target="xla_python_cpu_callback"', ('custom-call (host)',)),
    ('%x = token[] outfeed(%grads, %token)', ('outfeed (host)',)),
    ('%x = f32[2]{0} negate(%bias)', ()),
])
def test_float64_and_transfers_to_the_host_are_named(line, unwanted):
    text = PROGRAM.replace('  %row = ', f'  {line}\n  %row = ')
    assert hlo.report(text).unwanted == unwanted


def test_text_without_an_entry_is_refused():
    with pytest.raises(ValueError, match='no entry'):
        hlo.parse('HloModule empty')
