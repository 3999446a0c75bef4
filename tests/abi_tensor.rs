//! Tensors that a session generates from and into, and views of DLPack tensors.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut, without_provenance};

use common::*;
use sfeuot::abi::*;

const BLOCK: usize = ROWS * DIMENSION;

/// A tensor of 32-bit floats in host memory, row-major.
fn tensor(values: &mut [f32], shape: &[i64]) -> SfeuotTensor {
    let mut tensor = init(sfeuot_tensor_init);
    (tensor.data, tensor.rank, tensor.shape) = (values.as_mut_ptr().cast(), shape.len() as u32, shape.as_ptr());
    tensor
}

fn generate(session: *mut SfeuotSession, source: &SfeuotTensor, generated: &SfeuotTensor) -> i32 {
    // SAFETY: what the tensors point to lives in the test, or is what it broke on purpose.
    unsafe { sfeuot_session_generate_tensor(session, source, 3, 5, generated) }
}

/// What sfeuot_session_generate draws for the same seed and rows.
fn plain(session: *mut SfeuotSession, source: &[f32]) -> Vec<f32> {
    let mut generated = vec![0f32; source.len()];
    let rows = (source.len() / DIMENSION) as u64;
    // SAFETY: a live handle and arrays of as many rows.
    ok(unsafe { sfeuot_session_generate(session, source.as_ptr(), rows, 3, 5, generated.as_mut_ptr()) });
    generated
}

#[test]
fn host_tensors_give_the_bits_of_arrays_in_every_shape_of_a_sample() {
    let (rows, mut problem) = (ROWS as i64, Problem::new());
    let samples = [rows, 2, 1];
    for side in [&mut problem.source, &mut problem.target] {
        (side.samples.rank, side.samples.shape) = (3, samples.as_ptr());
    }
    let handles = Handles::new(&problem);
    let mut source = problem.source.values.clone();
    let expected = plain(handles.session, &source);
    let [flat, deep] = [&[rows, 2][..], &samples[..]];
    for (from, to) in [(flat, flat), (deep, deep), (flat, deep), (deep, flat)] {
        let mut values = vec![0f32; BLOCK];
        ok(generate(handles.session, &tensor(&mut source, from), &tensor(&mut values, to)));
        assert_eq!(values, expected);
    }
    // Strides that say the same; those of an axis of one number say nothing.
    let mut values = vec![0f32; BLOCK];
    let mut strided = tensor(&mut values, deep);
    strided.strides = const { &[2, 1, -77] }.as_ptr();
    ok(generate(handles.session, &tensor(&mut source, flat), &strided));
    assert_eq!(values, expected);
    let mut one = [0f32; 2];
    let mut single = tensor(&mut one, &[1, 2]);
    single.strides = const { &[-5, 1] }.as_ptr();
    ok(generate(handles.session, &tensor(&mut source[..2], &[1, 2]), &single));
    assert_eq!(one, expected[..2]);
}

type Break = fn(&mut SfeuotTensor);

/// What is wrong with a tensor as an input and as an output.
#[rustfmt::skip]
const BROKEN: &[(&str, Break)] = &[
    (".struct_size", |t| t.struct_size = 8),
    (".dtype", |t| t.dtype = 5),
    (".scale", |t| t.scale = 0.0),
    (".scale", |t| t.scale = f64::NAN),
    (".offset", |t| t.offset = f64::INFINITY),
    (".memory", |t| t.memory = -1),
    (".memory", |t| t.memory = SFEUOT_MEMORY_CUDA),
    (".read_only", |t| t.read_only = 2),
    (".data", |t| t.data = null()),
    (".data", |t| t.data = t.data.wrapping_byte_add(2)),
    (".rank", |t| t.rank = 0),
    (".rank", |t| t.rank = 9),
    (".shape", |t| t.shape = null()),
    (".shape", |t| t.rank = 1),
    (".shape", |t| t.shape = const { &[ROWS as i64, 3] }.as_ptr()),
    (".shape", |t| t.shape = const { &[ROWS as i64, 1] }.as_ptr()),
    (".shape", |t| { t.rank = 3; t.shape = const { &[ROWS as i64, 1, 2] }.as_ptr() }),
    (".shape", |t| t.shape = const { &[0, 2] }.as_ptr()),
    (".shape", |t| t.shape = const { &[-1, 2] }.as_ptr()),
    (".shape", |t| t.shape = const { &[i64::MAX, 2] }.as_ptr()),
    (".shape", |t| t.shape = const { &[ROWS as i64 - 1, 2] }.as_ptr()),
    (".strides", |t| t.strides = const { &[i64::MAX, 1] }.as_ptr()),
    (".strides", |t| t.strides = const { &[2, i64::MIN] }.as_ptr()),
];

/// What is wrong with a tensor as an output: its elements share memory, or its strides do not nest.
const SHARED: &[[i64; 2]] = &[[0, 1], [1, 1], [2, 0], [-1, 1], [2, 2], [0, 0]];

#[test]
fn a_broken_tensor_is_refused_by_name_and_nothing_is_written() {
    let handles = Handles::new(&Problem::new());
    let shape = [ROWS as i64, DIMENSION as i64];
    let (mut source, mut values) = (vec![0.25f32; BLOCK], vec![7f32; BLOCK]);
    for (i, (field, break_it)) in BROKEN.iter().enumerate() {
        for output in [false, true] {
            let (mut from, mut to) = (tensor(&mut source, &shape), tensor(&mut values, &shape));
            break_it(if output { &mut to } else { &mut from });
            let status = generate(handles.session, &from, &to);
            let (text, side) = (last_error(), if output { "generated" } else { "source" });
            assert_eq!(status, SFEUOT_ERROR_INVALID_ARGUMENT, "entry {i}, {side}{field}: {text}");
            assert!(text.contains(side) && text.contains(&field[1..]), "entry {i}, {side}{field}: {text}");
        }
    }
    for strides in SHARED {
        let (from, mut to) = (tensor(&mut source, &shape), tensor(&mut values, &shape));
        to.strides = strides.as_ptr();
        refused(generate(handles.session, &from, &to), SFEUOT_ERROR_INVALID_ARGUMENT, "generated.strides [");
        assert!(last_error().contains(&format!("{strides:?}")), "{}", last_error());
    }
    assert!(values.iter().all(|&value| value == 7.0));
}

#[test]
fn outputs_may_be_neither_read_only_nor_the_input_and_rows_need_numbers() {
    let handles = Handles::new(&Problem::new());
    let (shape, fewer) = ([ROWS as i64, 2], [ROWS as i64 - 1, 2]);
    let mut values = vec![0.25f32; 2 * BLOCK];
    let (from, to) = values.split_at_mut(BLOCK);
    let (mut source, mut generated) = (tensor(from, &shape), tensor(to, &shape));
    // Only of outputs.
    source.read_only = 1;
    ok(generate(handles.session, &source, &generated));
    generated.read_only = 1;
    refused(generate(handles.session, &source, &generated), SFEUOT_ERROR_INVALID_ARGUMENT, "generated.read_only is 1");
    source.read_only = 0;
    generated.read_only = 0;
    for floats in [1, BLOCK - 1] {
        generated.data = source.data.wrapping_byte_add(4 * floats);
        refused(generate(handles.session, &source, &generated), SFEUOT_ERROR_INVALID_ARGUMENT, "overlaps");
    }
    generated.shape = fewer.as_ptr();
    refused(generate(handles.session, &source, &generated), SFEUOT_ERROR_INVALID_ARGUMENT, "generated.shape");
    generated.shape = shape.as_ptr();
    // SAFETY: sound tensors.
    let status = unsafe { sfeuot_session_generate_tensor(handles.session, &source, 0, u64::MAX, &generated) };
    refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "first_row");
    values[3] = f32::NAN;
    let source = tensor(&mut values, &shape);
    let mut room = vec![0f32; BLOCK];
    refused(generate(handles.session, &source, &tensor(&mut room, &shape)), SFEUOT_ERROR_INVALID_ARGUMENT, "NaN");
}

/// A host tensor of any type; places are in elements.
fn host<T>(values: &mut [T], start: usize, dtype: i32, strides: &'static [i64; 2]) -> SfeuotTensor {
    let mut tensor = tensor(&mut [], const { &[ROWS as i64, 2] });
    (tensor.dtype, tensor.data, tensor.strides) =
        (dtype, values.as_mut_ptr().wrapping_add(start).cast(), strides.as_ptr());
    tensor
}

#[test]
fn host_tensors_may_have_any_type_and_layout_and_be_generated_in_place() {
    let handles = Handles::new(&Problem::new());
    let session = handles.session;
    let floats: Vec<f32> = (0..BLOCK).map(|i| (i * 37 % 128) as f32 / 64.0).collect();
    let expected = plain(session, &floats);
    let [mut mean, mut ratio] = [vec![0f32; BLOCK], vec![0f32; ROWS]];
    let rows = ROWS as u64;
    // SAFETY: live handles and arrays of as many rows, here and below.
    unsafe {
        ok(sfeuot_session_conditional_mean(session, floats.as_ptr(), rows, 2, 3, 5, mean.as_mut_ptr()));
        ok(sfeuot_session_density_ratio(session, floats.as_ptr(), rows, ratio.as_mut_ptr()));
    }
    // Each layout as an input and as an output: numbers of a row apart, in turn, and from the end to the start.
    const LAYOUTS: [(usize, [i64; 2]); 4] = [(0, [2, 1]), (1, [4, 2]), (0, [1, ROWS as i64]), (2 * ROWS - 1, [-2, -1])];
    static STRIDES: [[i64; 2]; 4] = [LAYOUTS[0].1, LAYOUTS[1].1, LAYOUTS[2].1, LAYOUTS[3].1];
    let place = |layout: usize, i: usize| {
        let (start, [far, near]) = LAYOUTS[layout];
        (start as i64 + far * (i / 2) as i64 + near * (i % 2) as i64) as usize
    };
    let room = 4 * ROWS;
    for from in 0..4 {
        let mut bytes = vec![0u8; room];
        let mut doubles = vec![0f64; room];
        for (i, &value) in floats.iter().enumerate() {
            bytes[place(from, i)] = (value * 64.0) as u8;
            doubles[place(from, i)] = 3.0 * f64::from(value) + 1.0;
        }
        let mut source = host(&mut bytes, LAYOUTS[from].0, SFEUOT_DTYPE_U8, &STRIDES[from]);
        source.scale = 1.0 / 64.0;
        let mut wide = host(&mut doubles, LAYOUTS[from].0, SFEUOT_DTYPE_F64, &STRIDES[from]);
        (wide.scale, wide.offset) = (1.0 / 3.0, -1.0 / 3.0);
        for to in 0..4 {
            let mut values = vec![7f32; room];
            let generated = host(&mut values, LAYOUTS[to].0, SFEUOT_DTYPE_F32, &STRIDES[to]);
            ok(generate(session, &source, &generated));
            let at = |values: &[f32]| (0..BLOCK).map(|i| values[place(to, i)]).collect::<Vec<f32>>();
            assert_eq!(at(&values), expected);
            assert_eq!(values.iter().filter(|&&value| value == 7.0).count(), room - BLOCK, "beside the output");
            // SAFETY: as above.
            ok(unsafe { sfeuot_session_conditional_mean_tensor(session, &source, 2, 3, 5, &generated) });
            assert_eq!(at(&values), mean);
        }
        let mut given = vec![0f32; ROWS];
        // SAFETY: as above.
        ok(unsafe { sfeuot_session_density_ratio_tensor(session, &source, given.as_mut_ptr()) });
        assert_eq!(given, ratio);
        // In place, with values of another kind coming out; the other direction of a row is the same memory.
        let mut out = SfeuotTensor { scale: 0.5, offset: 1.0, ..wide };
        let turned = [STRIDES[from][0], -STRIDES[from][1]];
        let turn = from == 1;
        if turn {
            out.data = wide.data.wrapping_byte_add(16);
            out.strides = turned.as_ptr();
        }
        ok(generate(session, &wide, &out));
        for (i, &value) in expected.iter().enumerate() {
            let element = doubles[place(from, if turn { i ^ 1 } else { i })];
            let difference = element - (f64::from(value) - 1.0) / 0.5;
            assert!(difference.abs() < 1e-6, "{element} for {value}");
        }
    }

    // In place with plain floats, and what is neither the same rows nor apart.
    let mut values = floats.clone();
    let whole = tensor(&mut values, const { &[ROWS as i64, 2] });
    ok(generate(session, &whole, &whole));
    assert_eq!(values, expected);
    let mut bytes = vec![0u8; room];
    let source = host(&mut bytes, 0, SFEUOT_DTYPE_U8, const { &[4, 1] });
    let beside = host(&mut bytes, 2, SFEUOT_DTYPE_U8, const { &[4, 1] });
    ok(generate(session, &source, &beside));
    for (start, strides) in
        [(1, const { &[4, 1] }), (2, const { &[4, 2] }), (0, const { &[2, 1] }), (4, const { &[4, 1] })]
    {
        let over = host(&mut bytes, start, SFEUOT_DTYPE_U8, strides);
        refused(generate(session, &source, &over), SFEUOT_ERROR_INVALID_ARGUMENT, "generated overlaps source");
    }
    let (shape, strides) = ([ROWS as i64, 2], [-4, 1]);
    let back =
        SfeuotTensor { data: source.data.wrapping_byte_add(4 * (ROWS - 1)), strides: strides.as_ptr(), ..source };
    let back = SfeuotTensor { shape: shape.as_ptr(), ..back };
    refused(generate(session, &source, &back), SFEUOT_ERROR_INVALID_ARGUMENT, "generated overlaps source");
    // SAFETY: refused before anything is written.
    let status = unsafe { sfeuot_session_density_ratio_tensor(session, &whole, whole.data.cast_mut().cast()) };
    refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "ratio overlaps target");
    let device = SfeuotTensor { memory: SFEUOT_MEMORY_CUDA, data: without_provenance(1 << 20), ..whole };
    // SAFETY: as above.
    unsafe {
        let status = sfeuot_session_density_ratio_tensor(session, &device, ratio.as_mut_ptr());
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "target.memory is SFEUOT_MEMORY_CUDA (1)");
        let status = sfeuot_session_conditional_mean_tensor(session, &device, 2, 3, 5, &device);
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "source.memory is SFEUOT_MEMORY_CUDA (1)");
    }
}

/// More rows than a session holds at a time have the bits of rows in one array, and keep their numbers in errors.
#[test]
fn rows_of_many_parts_are_the_same_rows() {
    let handles = Handles::new(&Problem::new());
    let rows = (1 << 19) + 77;
    let mut doubles: Vec<f64> = (0..2 * rows).map(|i| (i % 1000) as f64 / 1000.0).collect();
    let floats: Vec<f32> = doubles.iter().map(|&x| x as f32).collect();
    let expected = plain(handles.session, &floats);
    let mut values = vec![0f32; 2 * rows];
    let shape = [rows as i64, 2];
    let source = SfeuotTensor { dtype: SFEUOT_DTYPE_F64, data: doubles.as_mut_ptr().cast(), ..tensor(&mut [], &shape) };
    ok(generate(handles.session, &source, &tensor(&mut values, &shape)));
    assert!(values == expected);
    values.fill(7.0);
    doubles[2 * rows - 5] = f64::NAN;
    refused(
        generate(handles.session, &source, &tensor(&mut values, &shape)),
        SFEUOT_ERROR_INVALID_ARGUMENT,
        &format!("source row {}, number 1 is NaN", rows - 3),
    );
    assert!(values.iter().all(|&value| value == 7.0));
}

#[test]
fn device_memory_needs_a_model_on_a_gpu() {
    let handles = Handles::new(&Problem::new());
    let shape = [ROWS as i64, 2];
    let on_device = |address: usize, strides: Option<&[i64; 2]>| {
        let mut tensor = tensor(&mut [], &shape);
        (tensor.data, tensor.memory) = (without_provenance(address), SFEUOT_MEMORY_CUDA);
        tensor.strides = strides.map_or(null(), |strides| strides.as_ptr());
        tensor
    };
    let refuse = |from: &SfeuotTensor, to: &SfeuotTensor, part| {
        refused(generate(handles.session, from, to), SFEUOT_ERROR_INVALID_ARGUMENT, part);
    };
    let far = on_device(1 << 30, None);
    // Layouts that would do, so that the device is what is refused; no address is followed.
    refuse(&on_device(1 << 20, None), &far, "CPU");
    refuse(&on_device(1 << 20, Some(&[6, 1])), &far, "CPU");
    refuse(&far, &far, "CPU");
    refuse(&on_device(1 << 20, Some(&[4, 1])), &on_device((1 << 20) + 8, Some(&[4, 1])), "CPU");
    // Layouts that would not.
    refuse(&on_device(1 << 20, Some(&[1, 1])), &far, "source.strides");
    refuse(&on_device(1 << 20, Some(&[0, 1])), &far, "source.strides");
    refuse(&on_device(1 << 20, Some(&[-2, 1])), &far, "source.strides");
    refuse(&on_device(1 << 20, Some(&[4, 2])), &far, "source.strides");
    refuse(&on_device(1 << 31, Some(&[1 << 40, 1])), &far, "source has rows");
    refuse(&on_device(1 << 20, Some(&[i64::MAX, 1])), &far, "address space");
    refuse(&on_device(1 << 20, None), &on_device((1 << 20) + 4, None), "overlaps");
    refuse(&on_device(usize::MAX - 31, None), &far, "address space");
}

#[test]
fn a_dlpack_tensor_is_viewed_where_it_lies() {
    let (mut values, mut shape, mut strides) = ([0f32; 24], [4i64, 3, 2], [-6i64, 2, 1]);
    let start = values.as_mut_ptr().cast::<c_void>();
    for (code, bits, dtype) in [
        (2, 32, SFEUOT_DTYPE_F32),
        (2, 64, SFEUOT_DTYPE_F64),
        (2, 16, SFEUOT_DTYPE_F16),
        (4, 16, SFEUOT_DTYPE_BF16),
        (1, 8, SFEUOT_DTYPE_U8),
    ] {
        for (device_type, memory) in
            [(1, SFEUOT_MEMORY_HOST), (2, SFEUOT_MEMORY_CUDA), (3, SFEUOT_MEMORY_HOST), (13, SFEUOT_MEMORY_CUDA)]
        {
            for (minor, flags, strides) in [(0, 0, null_mut()), (1, 1, strides.as_mut_ptr()), (9, 0b110, null_mut())] {
                let mut dlpack = DlpackTensor::new(&mut values, &mut shape);
                (dlpack.code, dlpack.bits, dlpack.device_type, dlpack.device_id) = (code, bits, device_type, 5);
                (dlpack.minor, dlpack.flags, dlpack.strides, dlpack.byte_offset) = (minor, flags, strides, 72);
                let mut view = init(sfeuot_tensor_init);
                (view.scale, view.offset) = (3.0, 4.0);
                // SAFETY: a DLPack tensor and an initialised struct.
                ok(unsafe { sfeuot_tensor_from_dlpack((&raw const dlpack).cast(), &mut view) });
                assert_eq!((view.dtype, view.rank, view.memory), (dtype, 3, memory));
                assert_eq!(
                    (view.data, view.shape),
                    (start.wrapping_byte_add(72).cast_const(), dlpack.shape.cast_const())
                );
                assert_eq!((view.strides, view.scale, view.offset), (strides.cast_const(), 1.0, 0.0));
                assert_eq!(
                    (view.read_only, view.struct_size as usize),
                    ((flags & 1) as i32, size_of::<SfeuotTensor>())
                );
            }
        }
    }
}

type BreakDlpack = fn(&mut DlpackTensor);

#[rustfmt::skip]
const NO_VIEW: &[(&str, BreakDlpack)] = &[
    ("version 0.8", |d| (d.major, d.minor) = (0, 8)),
    ("version 2.0", |d| d.major = 2),
    ("type 0", |d| d.device_type = 0),
    ("type 4", |d| d.device_type = 4),
    ("type 10", |d| d.device_type = 10),
    ("type -1", |d| d.device_type = -1),
    ("type code 0", |d| d.code = 0),
    ("type code 5", |d| (d.code, d.bits) = (5, 64)),
    ("type code 6", |d| (d.code, d.bits) = (6, 8)),
    ("type code 255", |d| d.code = 255),
    ("8 bits", |d| d.bits = 8),
    ("128 bits", |d| d.bits = 128),
    ("type code 1, 32 bits", |d| d.code = 1),
    ("type code 4, 32 bits", |d| d.code = 4),
    ("4 lanes", |d| d.lanes = 4),
    ("0 lanes", |d| d.lanes = 0),
    ("ndim is 0", |d| d.ndim = 0),
    ("ndim is 9", |d| d.ndim = 9),
    ("ndim is -1", |d| d.ndim = -1),
    ("dlpack.shape is NULL", |d| d.shape = null_mut()),
    ("dlpack.shape holds 0", |d| d.shape = const { &[3, 0] }.as_ptr().cast_mut()),
    ("dlpack.shape holds -3", |d| d.shape = const { &[-3, 2] }.as_ptr().cast_mut()),
    ("dlpack.shape holds", |d| d.shape = const { &[1 << 40, 1 << 40] }.as_ptr().cast_mut()),
    ("dlpack.data is NULL", |d| d.data = null_mut()),
    ("dlpack.byte_offset", |d| d.byte_offset = u64::MAX),
];

#[test]
fn what_no_tensor_can_view_is_refused_with_its_number() {
    let (mut values, mut shape) = ([0f32; 6], [3, 2]);
    for (part, break_it) in NO_VIEW {
        let mut dlpack = DlpackTensor::new(&mut values, &mut shape);
        break_it(&mut dlpack);
        let mut view = init(sfeuot_tensor_init);
        (view.rank, view.scale) = (77, 3.0);
        // SAFETY: a DLPack tensor and an initialised struct.
        let status = unsafe { sfeuot_tensor_from_dlpack((&raw const dlpack).cast(), &mut view) };
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, part);
        assert!(view.data.is_null() && view.rank == 77 && view.scale == 3.0, "{part}: an output was touched");
    }
}

#[test]
fn views_of_dlpack_tensors_train_and_generate_but_are_not_written_when_read_only() {
    let mut problem = Problem::new();
    let arrays = Handles::new(&problem);
    let expected = plain(arrays.session, &problem.source.values);
    let mut shape = [ROWS as i64, DIMENSION as i64];
    let mut values = problem.source.values.clone();
    let dlpack = DlpackTensor::new(&mut values, &mut shape);
    let mut room = vec![0f32; BLOCK];
    let mut output = DlpackTensor::new(&mut room, &mut shape);
    let mut generated = init(sfeuot_tensor_init);
    // SAFETY: DLPack tensors and initialised structs.
    unsafe {
        ok(sfeuot_tensor_from_dlpack((&raw const dlpack).cast(), &mut problem.source.samples));
        let views = Handles::new(&problem);
        ok(sfeuot_tensor_from_dlpack((&raw const output).cast(), &mut generated));
        ok(generate(views.session, &problem.source.samples, &generated));
        output.flags = 1;
        ok(sfeuot_tensor_from_dlpack((&raw const output).cast(), &mut generated));
        let status = generate(views.session, &problem.source.samples, &generated);
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "generated.read_only");
    }
    assert_eq!(room, expected);
}

/// Whatever else is handed over: arrays may be NULL, and no number is read or written.
#[test]
fn a_call_without_rows_does_nothing() {
    let handles = Handles::new(&Problem::new());
    let session = handles.session;
    let (x, mut out) = ([0.5f32; 2], [7.0f32; 2]);
    for array in [(null(), null_mut()), (x.as_ptr(), out.as_mut_ptr())] {
        let (x, out): (*const f32, *mut f32) = array;
        for first in [0, u64::MAX] {
            // SAFETY: there are no rows, so arrays may be NULL.
            unsafe {
                ok(sfeuot_session_generate(session, x, 0, 1, first, out));
                ok(sfeuot_session_conditional_mean(session, x, 0, 1, 1, first, out));
                ok(sfeuot_session_trajectory(session, x, 0, null(), 3, 1, first, out));
                ok(sfeuot_session_trajectory(session, x, 1, null(), 0, 1, first, out));
                ok(sfeuot_session_drift(session, 0.5, x, 0, out));
                ok(sfeuot_session_density_ratio(session, x, 0, out));
            }
        }
    }
    assert_eq!(out, [7.0; 2]);
    // SAFETY: a model's handle is no session, and a session's that was never made is none.
    unsafe {
        let foreign = handles.model.cast::<SfeuotSession>();
        for wrong in [foreign, null_mut()] {
            assert_ne!(sfeuot_session_generate(wrong, null(), 0, 1, 0, null_mut()), SFEUOT_OK);
            assert_ne!(sfeuot_session_trajectory(wrong, null(), 0, null(), 0, 1, 0, null_mut()), SFEUOT_OK);
            assert_ne!(sfeuot_session_drift(wrong, 0.5, null(), 0, null_mut()), SFEUOT_OK);
        }
    }
}

#[test]
fn tensors_without_rows_are_no_work_for_a_session_and_no_samples_for_a_trainer() {
    let mut problem = Problem::new();
    let handles = Handles::new(&problem);
    let (none, strides) = ([0, DIMENSION as i64], [DIMENSION as i64, 1]);
    for memory in [SFEUOT_MEMORY_HOST, SFEUOT_MEMORY_CUDA] {
        let (mut from, mut to) = (init(sfeuot_tensor_init), init(sfeuot_tensor_init));
        for tensor in [&mut from, &mut to] {
            (tensor.rank, tensor.shape, tensor.memory) = (2, none.as_ptr(), memory);
        }
        ok(generate(handles.session, &from, &to));
        to.strides = strides.as_ptr();
        ok(generate(handles.session, &from, &to));
        // One side without rows is a mistake.
        let some = [1, DIMENSION as i64];
        let mut value = [7.0f32; DIMENSION];
        (to.shape, to.data) = (some.as_ptr(), value.as_mut_ptr().cast());
        refused(generate(handles.session, &from, &to), SFEUOT_ERROR_INVALID_ARGUMENT, "rows");
        assert_eq!(value, [7.0; DIMENSION]);
        to.shape = const { &[0, DIMENSION as i64 + 1] }.as_ptr();
        refused(generate(handles.session, &from, &to), SFEUOT_ERROR_INVALID_ARGUMENT, "generated.shape");
    }
    let mut dlpack = DlpackTensor::new(&mut [], &mut [0, DIMENSION as i64]);
    dlpack.data = null_mut();
    let mut shape = [0, DIMENSION as i64];
    dlpack.shape = shape.as_mut_ptr();
    let mut view = init(sfeuot_tensor_init);
    // SAFETY: a DLPack tensor and an initialised struct.
    unsafe { ok(sfeuot_tensor_from_dlpack((&raw const dlpack).cast(), &mut view)) };
    ok(generate(handles.session, &view, &view));
    problem.source.samples = view;
    let mut trainer = null_mut();
    let status = problem.create(handles.context, &mut trainer);
    refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "source.samples.shape holds 0");
}
