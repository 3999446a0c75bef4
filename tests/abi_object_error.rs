//! The sentence of a failure stays with the object that it was about, whatever thread the call was on and whoever reads it.

mod common;

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

use common::*;
use sfeuot::abi::*;

/// What an object says.
fn sentence<T>(read: unsafe extern "C" fn(*mut T, *mut c_char, usize) -> i32, object: *mut T) -> String {
    let mut buffer = [b'?'; SFEUOT_TEXT_SIZE];
    // SAFETY: a live handle and a buffer of this size; a C string when the call succeeded.
    unsafe {
        ok(read(object, buffer.as_mut_ptr().cast(), buffer.len()));
        CStr::from_ptr(buffer.as_ptr().cast()).to_str().expect("UTF-8").to_owned()
    }
}

struct Live(Handles);
// SAFETY: any thread may use a handle.
unsafe impl Sync for Live {}

impl Live {
    /// A method, so that closures take the whole struct with them.
    fn handles(&self) -> &Handles {
        &self.0
    }
}

#[test]
fn each_object_keeps_the_sentence_of_its_own_last_failure() {
    let live = Live(Handles::new(&Problem::new()));
    let of_all = || {
        let Handles { context, trainer, model, session, own } = *live.handles();
        [
            sentence(sfeuot_context_error, context),
            sentence(sfeuot_trainer_error, trainer),
            sentence(sfeuot_model_error, model),
            sentence(sfeuot_session_error, session),
            sentence(sfeuot_problem_error, own),
        ]
    };
    assert_eq!(of_all(), [""; 5]);
    // On threads of their own, where nobody can ask for sfeuot_last_error afterwards.
    let failing: [&(dyn Fn() -> i32 + Sync); 5] = [
        // SAFETY: here and below live handles; the calls refuse what is wrong with them.
        &|| unsafe { sfeuot_model_load(live.handles().context, c"no/such/file".as_ptr(), &mut null_mut()) },
        &|| unsafe { sfeuot_trainer_step(live.handles().trainer, 0, null_mut()) },
        &|| unsafe { sfeuot_model_save(live.handles().model, c"no/such/folder/file".as_ptr()) },
        &|| unsafe {
            sfeuot_session_density_ratio(live.handles().session, [f32::NAN; 2].as_ptr(), 1, [0f32].as_mut_ptr())
        },
        &|| unsafe {
            sfeuot_bridge_times(live.handles().own, SFEUOT_HALF_VALUE, 1, 0, u64::MAX, 0, [0f32; 8].as_mut_ptr())
        },
    ];
    for call in failing {
        std::thread::scope(|scope| {
            scope.spawn(move || assert_ne!(call(), SFEUOT_OK));
        });
    }
    let texts = of_all();
    for (text, part) in texts.iter().zip([
        "sfeuot_model_load: ",
        "sfeuot_trainer_step: steps is 0",
        "sfeuot_model_save: ",
        "sfeuot_session_density_ratio: target row 0",
        "sfeuot_bridge_times: step is",
    ]) {
        assert!(text.starts_with(part), "{text}");
    }
    // Calls that succeed, that fail elsewhere, and that only ask leave it alone.
    // SAFETY: as above.
    unsafe {
        ok(sfeuot_trainer_step(live.handles().trainer, 1, null_mut()));
        refused(sfeuot_trainer_step(null_mut(), 1, null_mut()), SFEUOT_ERROR_INVALID_ARGUMENT, "trainer is NULL");
        refused(sfeuot_trainer_error(live.handles().trainer, null_mut(), 5), SFEUOT_ERROR_INVALID_ARGUMENT, "buffer");
        refused(
            sfeuot_trainer_error(live.handles().trainer, [0].as_mut_ptr(), 0),
            SFEUOT_ERROR_INVALID_ARGUMENT,
            "size",
        );
    }
    assert_eq!(of_all(), texts);
}

#[test]
fn the_parent_keeps_why_a_creation_failed_and_outputs_are_part_of_it() {
    let mut problem = Problem::new();
    let handles = Handles::new(&problem);
    problem.config.sigma = -1.0;
    let mut trainer = null_mut();
    refused(problem.create(handles.context, &mut trainer), SFEUOT_ERROR_INVALID_ARGUMENT, "sigma is -1");
    assert_eq!(sentence(sfeuot_context_error, handles.context), last_error());
    // SAFETY: live handles.
    unsafe {
        refused(sfeuot_trainer_model(handles.trainer, null_mut()), SFEUOT_ERROR_INVALID_ARGUMENT, "model is NULL");
        assert_eq!(sentence(sfeuot_trainer_error, handles.trainer), last_error());
        refused(sfeuot_session_create(handles.model, null_mut()), SFEUOT_ERROR_INVALID_ARGUMENT, "session is NULL");
        assert_eq!(sentence(sfeuot_model_error, handles.model), last_error());
        let config = own_config();
        refused(
            sfeuot_problem_create(handles.context, &config, null_mut()),
            SFEUOT_ERROR_INVALID_ARGUMENT,
            "problem is NULL",
        );
        assert_eq!(sentence(sfeuot_context_error, handles.context), last_error());
    }
}

#[test]
fn a_handle_that_takes_the_place_of_another_begins_without_a_sentence() {
    for _ in 0..3 {
        let handles = Handles::new(&Problem::new());
        assert_eq!(sentence(sfeuot_session_error, handles.session), "");
        // SAFETY: a live handle.
        let status =
            unsafe { sfeuot_session_drift(handles.session, 2.0, [0f32; 2].as_ptr(), 1, [0f32; 2].as_mut_ptr()) };
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "time is 2");
        assert!(!sentence(sfeuot_session_error, handles.session).is_empty());
    }
}
