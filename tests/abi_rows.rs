//! Samples that one call sets: rows of floats, rows of bytes and flat samplers train as the same samples in tensors do.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::*;
use sfeuot::abi::*;

/// The model file of a training of a few steps on these sides.
fn trained(problem: &Problem, name: &str) -> Vec<u8> {
    let path = scratch(name).join("model");
    let c_path = std::ffi::CString::new(path.to_str().expect("UTF-8")).expect("no zero inside");
    let handles = Handles::new(problem);
    let mut model = null_mut();
    // SAFETY: live handles and a C string.
    unsafe {
        ok(sfeuot_trainer_step(handles.trainer, 3, null_mut()));
        ok(sfeuot_trainer_model(handles.trainer, &mut model));
        ok(sfeuot_model_save(model, c_path.as_ptr()));
        ok(sfeuot_model_release(model));
    }
    std::fs::read(path).expect("it was written")
}

#[test]
fn rows_of_floats_are_the_samples_of_a_tensor() {
    let mut problem = Problem::new();
    let expected = trained(&problem, "rows_tensor");
    for side in [&mut problem.source, &mut problem.target] {
        let values = side.values.as_ptr();
        // SAFETY: as many values are there.
        ok(unsafe { sfeuot_data_set_rows(&mut side.data, values, ROWS as u64, DIMENSION as u64) });
        assert!(side.data.samples.is_null() && !side.data.weights.is_null(), "weights stay");
    }
    assert!(trained(&problem, "rows_plain") == expected);
}

#[test]
fn rows_of_bytes_have_their_scale() {
    let mut problem = Problem::new();
    let bytes: Vec<u8> = (0..ROWS * DIMENSION).map(|i| (i * 37 % 251) as u8).collect();
    for side in [&mut problem.source, &mut problem.target] {
        side.values = bytes.iter().map(|&x| (f64::from(x) * 0.125 - 2.0) as f32).collect();
        side.samples.data = side.values.as_ptr().cast();
    }
    let expected = trained(&problem, "bytes_tensor");
    for side in [&mut problem.source, &mut problem.target] {
        let (rows, dimension) = (ROWS as u64, DIMENSION as u64);
        // SAFETY: as many bytes are there.
        ok(unsafe { sfeuot_data_set_bytes(&mut side.data, bytes.as_ptr(), rows, dimension, 0.125, -2.0) });
    }
    assert!(trained(&problem, "bytes_plain") == expected);
}

unsafe extern "C-unwind" fn draw(userdata: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
    // SAFETY: the counter that the test handed over, and a batch of this size.
    let (drawn, batch) =
        unsafe { (&mut *userdata.cast::<u64>(), std::slice::from_raw_parts_mut(batch, (rows * dimension) as usize)) };
    for x in batch {
        *drawn += 1;
        *x = (*drawn as f32 * 0.37).sin();
    }
    0
}

#[test]
fn a_flat_sampler_has_samples_of_that_many_numbers() {
    let with = |flat: bool| {
        let mut problem = Problem::new();
        let mut drawn = [0u64; 2];
        for (side, drawn) in [&mut problem.source, &mut problem.target].into_iter().zip(&mut drawn) {
            let userdata = std::ptr::from_mut(drawn).cast();
            if flat {
                // SAFETY: a struct of the test.
                ok(unsafe { sfeuot_data_set_sampler(&mut side.data, Some(draw), userdata, DIMENSION as u64) });
            } else {
                side.use_callback(Some(draw), userdata);
            }
        }
        trained(&problem, "sampler")
    };
    assert!(with(true) == with(false));
}

#[test]
fn a_side_has_one_kind_of_samples() {
    let handles = Handles::new(&Problem::new());
    let mut trainer = null_mut();
    let mut refuse = |change: &dyn Fn(&mut Side), part: &str| {
        let mut problem = Problem::new();
        change(&mut problem.source);
        refused(problem.create(handles.context, &mut trainer), SFEUOT_ERROR_INVALID_ARGUMENT, part);
    };
    refuse(&|side| side.data.rows = side.values.as_ptr().cast(), "source.samples and source.rows are both set");
    refuse(
        &|side| {
            side.use_callback(Some(draw), null_mut());
            side.data.rows = side.values.as_ptr().cast();
        },
        "source.rows and source.sample_callback are both set",
    );
    refuse(&|side| side.data.samples = null(), "source.rows; one of them must be set");
    refuse(
        &|side| {
            side.data.samples = null();
            side.data.rows = side.values.as_ptr().cast();
        },
        "source.rows.shape",
    );
    refuse(&|side| side.data.flip = 2, "source.flip is 2; allowed are 0 and 1");
    refuse(&|side| side.data.flip = 1, "source.flip is 1, which is for pictures");
    refuse(&|side| side.data.crop = u32::MAX, "source.crop is 4294967295, which is for pictures");
    refuse(
        &|side| {
            side.use_callback(Some(draw), null_mut());
            side.data.crop = 1;
        },
        "source.crop is set together with source.sample_callback",
    );
    let mut older = init(sfeuot_data_init_3);
    // SAFETY: a struct of the test.
    unsafe {
        ok(sfeuot_data_init(&mut older));
        let status = sfeuot_data_set_rows(&mut older, [1f32].as_ptr(), 1, 1);
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "data.struct_size is 48");
    }
}
