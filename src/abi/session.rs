//! Session: one thread's workspace on a model.

use std::ffi::c_char;

use super::arguments::{Array, out};
use super::exclusive::Exclusive;
use super::handle::{self, Kind, Object};
use super::model::SfeuotModel;
use super::object_error;
use super::panic::guard;
use super::rows::Rows;
use super::session_config::SfeuotSessionConfig;
use super::status::{Failure, Outcome};
use crate::data::{TensorView, TensorViewMut};
use crate::{Model, Session};

/// One thread's workspace on a model. On the CPU its calls wait for no lock. A call allocates
/// nothing if one of its kind came before it with the same latents and time_count and no fewer
/// rows; on several threads it has to have had as many rows. sfeuot_session_bake_lut takes 48 KiB
/// in each call.
///
/// Rows. A block of "rows x dimension" floats holds one sample after the other without gaps.
/// dimension is the product of the sample's shape, and the last axis is innermost. Values are in
/// data units, the units that the samples were given in; the library scales inside. Inputs are
/// finite, and no further from the samples' centre than 10^9 times the scale that the networks see
/// them in; a refusal names that scale. Outputs must not overlap inputs, unless they are the same
/// rows: samples may be answered in place. With 0 rows a call on a valid session does nothing and
/// returns SFEUOT_OK: it looks at none of its other arguments except the shapes of tensors, and
/// arrays may be NULL.
///
/// The calls whose names end in _tensor take rows of any type and layout, such as pictures of bytes.
pub struct SfeuotSession {
    _opaque: [u8; 0],
}

pub(super) struct Workspace {
    pub(super) session: Exclusive<Session>,
    pub(super) model: Model,
    pub(super) dimension: usize,
}

impl Object for Workspace {
    type Handle = SfeuotSession;
    const KIND: Kind = Kind::Session;
}

impl Workspace {
    /// Answers for rows of host memory with other rows: by `plain` where both are floats without gaps, and by `strided`
    /// where they are anything else or the same memory.
    ///
    /// SAFETY: the input is readable and the output writable during the call.
    pub(super) unsafe fn carry(
        &self,
        (from, to): (&Rows, &Rows),
        plain: impl FnOnce(&mut Session, &[f32], &mut [f32]) -> crate::Result<()>,
        strided: impl FnOnce(&mut Session, &TensorView<'_>, &mut TensorViewMut<'_>) -> crate::Result<()>,
    ) -> Outcome<()> {
        let same = to.check_apart(from)?;
        if let (false, Some(from), Some(to)) = (same, from.plain(), to.plain()) {
            let (from, to) = (from?, to?);
            // SAFETY: as promised; they do not overlap.
            return self.session.enter(|session| unsafe { Ok(plain(session, from.read(), to.write())?) });
        }
        // SAFETY: as promised; where both are the same memory, they have the same bytes row for row.
        let (from, mut to) = unsafe { (from.host()?, to.host_mut()?) };
        self.session.enter(|session| Ok(strided(session, &from, &mut to)?))
    }

    /// Answers for floats without gaps with as many others: by `strided` where both are the same memory, else by `plain`.
    ///
    /// SAFETY: the input is readable and the output writable during the call.
    pub(super) unsafe fn carry_plain(
        &self,
        (from, to): (&Array<f32>, &Array<f32>),
        plain: impl FnOnce(&mut Session, &[f32], &mut [f32]) -> crate::Result<()>,
        strided: impl FnOnce(&mut Session, &TensorView<'_>, &mut TensorViewMut<'_>) -> crate::Result<()>,
    ) -> Outcome<()> {
        if to.is_same(from) {
            // SAFETY: as promised; an element is read before its place is written.
            let (from, mut to) = unsafe { (from.view(self.dimension)?, to.view_mut(self.dimension)?) };
            return self.session.enter(|session| Ok(strided(session, &from, &mut to)?));
        }
        to.apart_from(from)?;
        // SAFETY: as promised; they do not overlap.
        self.session.enter(|session| unsafe { Ok(plain(session, from.read(), to.write())?) })
    }
}

/// Rows must have numbers for their noise.
pub(super) fn check_numbers(rows: u64, first_row: u64) -> Outcome<()> {
    match first_row.checked_add(rows) {
        Some(_) => Ok(()),
        None => Err(Failure::argument(format!(
            "first_row is {first_row} and rows is {rows}; their sum must stay below 2^64"
        ))),
    }
}

/// SAFETY: the promise of `SfeuotSessionConfig::read` holds, and session is NULL or writable.
unsafe fn create(
    model: *mut SfeuotModel,
    config: *const SfeuotSessionConfig,
    session: *mut *mut SfeuotSession,
) -> Outcome<()> {
    let model = handle::pin::<Model>(model, "model")?;
    let session = out(session, "session")?;
    // SAFETY: as promised.
    let config = unsafe { SfeuotSessionConfig::read(config) }?;
    let workspace = Workspace {
        session: Exclusive::new("session", Session::with_config(&model, &config)?),
        model: model.clone(),
        dimension: model.info().dimension,
    };
    let created = handle::create(workspace)?;
    // SAFETY: as promised.
    unsafe { session.write(created) };
    Ok(())
}

/// Makes a session whose calls work on the calling thread alone. A model may have any number of
/// them, one for each thread that generates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_create(model: *mut SfeuotModel, session: *mut *mut SfeuotSession) -> i32 {
    // SAFETY: session is NULL or writable.
    guard("sfeuot_session_create", || unsafe { create(model, std::ptr::null(), session) })
}

/// Makes a session with settings of its own, such as the number of threads that its calls work on.
/// config NULL means the defaults, those of sfeuot_session_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_create_with(
    model: *mut SfeuotModel,
    config: *const SfeuotSessionConfig,
    session: *mut *mut SfeuotSession,
) -> i32 {
    // SAFETY: config is NULL or readable, and session NULL or writable.
    guard("sfeuot_session_create_with", || unsafe { create(model, config, session) })
}

/// Copies the sentence of the last call that failed on this session. See sfeuot_context_error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_error(session: *mut SfeuotSession, buffer: *mut c_char, size: usize) -> i32 {
    // SAFETY: buffer is NULL or has room for size bytes.
    guard("sfeuot_session_error", || unsafe { object_error::copy::<Workspace>(session, "session", buffer, size) })
}

/// Adds a reference, for a second owner. sfeuot_session_release gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_retain(session: *mut SfeuotSession) -> i32 {
    guard("sfeuot_session_retain", || handle::retain::<Workspace>(session, "session"))
}

/// Gives a reference back. With the last one the handle ends. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_release(session: *mut SfeuotSession) -> i32 {
    guard("sfeuot_session_release", || handle::release::<Workspace>(session, "session"))
}
