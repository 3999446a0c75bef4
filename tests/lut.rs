//! Look-up tables of a model of colours: every entry is the session's own conditional mean, and what cannot be baked is
//! refused.

mod common;
mod problems;

use std::ffi::c_void;
use std::ptr::null;

use problems::{Clouds, small, with_latents};
use sfeuot::abi::*;
use sfeuot::*;

const LUT: Lut = Lut { size: 5, low: [-1.0, 0.0, 0.5], high: [1.0, 2.0, 3.0], latents: 4, seed: 7, row: 3 };

fn baked(session: &mut Session, lut: &Lut) -> Result<Vec<f32>> {
    let mut table = vec![0.0; 3 * lut.size.min(300).pow(3)];
    session.bake_lut(lut, &mut |_, _| Ok(()), &mut table).map(|()| table)
}

#[test]
fn entries_are_the_sessions_conditional_mean_with_the_first_number_innermost() {
    for config in [small(), with_latents()] {
        let mut session = Session::new(&Clouds::new(3).model(config, 5)).expect("a workspace");
        for size in [2, 5, 17] {
            let lut = Lut { size, ..LUT };
            let table = baked(&mut session, &lut).expect("a sound model");
            let last = (size - 1) as f64;
            for (i, entry) in table.chunks(3).enumerate() {
                let place = [i % size, i / size % size, i / size / size];
                let colour: Vec<f32> = (0..3)
                    .map(|axis| (lut.low[axis] + place[axis] as f64 / last * (lut.high[axis] - lut.low[axis])) as f32)
                    .collect();
                let mut mean = [0.0; 3];
                session.conditional_mean(&colour, lut.latents, lut.seed, lut.row, &mut mean).expect("a row");
                assert_eq!(entry, mean, "{size}: {place:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_baked_is_refused_by_name() {
    let mut session = Session::new(&Clouds::new(3).model(small(), 1)).expect("a workspace");
    for (lut, part) in [
        (Lut { size: 1, ..LUT }, "size is 1, but must be from 2 to 256"),
        (Lut { size: 257, ..LUT }, "size is 257"),
        (Lut { low: [1.0, 0.0, 0.0], ..LUT }, "low[0] is 1e0 and high[0] 1e0"),
        (Lut { high: [2.0, f64::NAN, 2.0], ..LUT }, "high[1] NaN"),
        (Lut { latents: 0, ..LUT }, "latents is 0"),
    ] {
        let refused = baked(&mut session, &lut).expect_err(part).to_string();
        assert!(refused.contains(part), "{refused}");
    }
    let short = session.bake_lut(&LUT, &mut |_, _| Ok(()), &mut [0.0; 9]).expect_err("125 colours").to_string();
    assert_eq!(short, "table has 9 numbers, but a table of 5^3 colours has 375");
    let mut flat = Session::new(&Clouds::new(2).model(small(), 1)).expect("a workspace");
    let refused = baked(&mut flat, &LUT).expect_err("two numbers").to_string();
    assert_eq!(refused, "the model's samples have 2 numbers, but a look-up table is for samples of 3");
}

/// Halves colours on their way to the model and doubles them on their way back, and fails where it is told to.
unsafe extern "C-unwind" fn halve(userdata: *mut c_void, colours: *mut f32, rows: u64) -> i32 {
    // SAFETY: rows colours of three floats.
    unsafe { std::slice::from_raw_parts_mut(colours, 3 * rows as usize) }.iter_mut().for_each(|x| *x *= 0.5);
    userdata.expose_provenance() as i32
}

unsafe extern "C-unwind" fn double(_: *mut c_void, colours: *mut f32, rows: u64) -> i32 {
    // SAFETY: rows colours of three floats.
    unsafe { std::slice::from_raw_parts_mut(colours, 3 * rows as usize) }.iter_mut().for_each(|x| *x *= 2.0);
    0
}

#[test]
fn colours_of_another_space_are_converted_both_ways() {
    let model = Clouds::new(3).model(small(), 3);
    let folder = problems::scratch("lut.model");
    model.save(&folder).expect("the target folder is writable");
    let path = std::ffi::CString::new(folder.to_str().expect("UTF-8")).expect("no zero inside");
    let handles = common::Handles::new(&common::Problem::new());
    let (mut loaded, mut session) = (std::ptr::null_mut(), std::ptr::null_mut());
    let mut config = SfeuotLutConfig { size: 4, ..common::init(sfeuot_lut_config_init) };
    assert_eq!((config.low, config.high, config.latents), ([0.0; 3], [1.0; 3], 64));
    let mut table = vec![0f32; 3 * 64];
    // SAFETY: live handles, structs and arrays of this test.
    unsafe {
        common::ok(sfeuot_model_load(handles.context, path.as_ptr(), &mut loaded));
        common::ok(sfeuot_session_create(loaded, &mut session));
        common::refused(sfeuot_session_bake_lut(handles.session, null(), table.as_mut_ptr()), 1, "2 numbers");
        config.to_model = Some(halve);
        config.from_model = Some(double);
        common::ok(sfeuot_session_bake_lut(session, &config, table.as_mut_ptr()));
        let half = Lut { size: 4, low: [0.0; 3], high: [0.5; 3], latents: 1, seed: 0, row: 0 };
        let expected = baked(&mut Session::new(&model).expect("a workspace"), &half).expect("a sound model");
        assert!(table.iter().zip(&expected).all(|(a, b)| *a == 2.0 * b), "{table:?}");
        config.userdata = std::ptr::with_exposed_provenance_mut(9);
        let failed = sfeuot_session_bake_lut(session, &config, table.as_mut_ptr());
        common::refused(failed, SFEUOT_ERROR_CALLBACK, "config.to_model returned 9");
        config.size = u32::MAX;
        let huge = sfeuot_session_bake_lut(session, &config, table.as_mut_ptr());
        common::refused(huge, SFEUOT_ERROR_INVALID_ARGUMENT, "size is 4294967295");
        common::ok(sfeuot_session_release(session));
        common::ok(sfeuot_model_release(loaded));
    }
}
