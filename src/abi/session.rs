//! Session: one thread's workspace on a model.

use super::arguments::{array, at_least_one, out};
use super::exclusive::Exclusive;
use super::handle::{self, Kind, Object};
use super::model::SfeuotModel;
use super::panic::guard;
use super::rows::Rows;
use super::status::{Failure, Outcome};
use super::tensor::{Memory, SfeuotTensor};
use crate::data::{TensorView, TensorViewMut};
use crate::{Model, Session};

/// One thread's workspace on a model. On the CPU its calls take no lock. A call allocates nothing if
/// one of its kind came before it with the same latents and time_count and no fewer rows.
///
/// Rows. A block of "rows x dimension" floats holds one sample after the other without gaps.
/// dimension is the product of the sample's shape, and the last axis is innermost. Values are in
/// data units, the units that the samples were given in; the library scales inside. Inputs are
/// finite, and no further from the samples' centre than 10^9 times the scale that the networks see
/// them in; a refusal names that scale. Outputs must not overlap inputs, unless they are tensors of
/// the same rows. With 0 rows a call on a valid session does nothing and returns SFEUOT_OK: it looks
/// at none of its other arguments except the shapes of tensors, and arrays may be NULL.
///
/// The calls whose names end in _tensor take rows of any type and layout, such as pictures of bytes.
pub struct SfeuotSession {
    _opaque: [u8; 0],
}

pub(super) struct Workspace {
    pub(super) session: Exclusive<Session>,
    model: Model,
    dimension: usize,
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
    unsafe fn carry(
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

/// Makes a session. A model may have any number of them, one for each thread that generates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_create(model: *mut SfeuotModel, session: *mut *mut SfeuotSession) -> i32 {
    guard("sfeuot_session_create", || {
        let session = out(session, "session")?;
        let model = handle::pin::<Model>(model, "model")?;
        let workspace = Workspace {
            session: Exclusive::new("session", Session::new(&model)?),
            model: model.clone(),
            dimension: model.info().dimension,
        };
        let created = handle::create(workspace)?;
        // SAFETY: session is writable.
        unsafe { session.write(created) };
        Ok(())
    })
}

/// Draws one sample of the plan for each source row, in one pass through the generator.
///   source     rows x dimension, data units
///   generated  rows x dimension, data units
/// The noise of row i depends on seed and first_row + i alone. So rows drawn in pieces equal rows
/// drawn at once, and a particle keeps its fate from frame to frame if it keeps its number. On a GPU
/// that holds up to rounding, by which about one row in a million draws another component. Another
/// seed draws other samples for the same sources.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_generate(
    session: *mut SfeuotSession,
    source: *const f32,
    rows: u64,
    seed: u64,
    first_row: u64,
    generated: *mut f32,
) -> i32 {
    guard("sfeuot_session_generate", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        if rows == 0 {
            return Ok(());
        }
        check_numbers(rows, first_row)?;
        let source = array(source, "source", rows, workspace.dimension)?;
        let generated = array(generated.cast_const(), "generated", rows, workspace.dimension)?;
        generated.apart_from(&source)?;
        workspace.session.enter(|session| {
            // SAFETY: both arrays are the host's for the length of the call, and do not overlap.
            let (source, generated) = unsafe { (source.read(), generated.write()) };
            Ok(session.generate(source, seed, first_row, generated)?)
        })
    })
}

/// Draws the same as sfeuot_session_generate, for arrays that lie both in host memory or both in the
/// memory of the model's GPU. Their shape is {rows, dimension} or {rows, ...shape of a sample}.
///   source     only read
///   generated  written, although data is a pointer to const; read_only must be 0
///
/// In host memory both may have any element types, strides, scales and offsets, so that pictures go
/// from one buffer into another as they are; SfeuotTensor shows some. The value v is written as the
/// element nearest to (v - offset) / scale; what lies beyond the range of the type becomes its
/// largest or smallest finite element, so 0 or 255 in bytes. No two elements of generated may share
/// memory, and each stride has to go past all that smaller ones reach. generated may be the same
/// memory as source where row for row both have the same bytes, in any order of the numbers in a
/// row. Otherwise they must not overlap, but rows of both may lie beside each other in one array, as
/// pictures in a sheet do, where both have the same strides. Where they are no rows of floats
/// without gaps, the session keeps 8 MiB to bring them over, or the size of two rows where that is
/// more. The call returns when generated is there.
///
/// In device memory the type is SFEUOT_DTYPE_F32, scale is 1, and offset is 0. The numbers of a row
/// lie one after the other, last axis innermost. The rows may be any distance apart, and generated
/// may be the same rows as source, but not overlap them otherwise. The work is queued on the
/// context's stream in the order of the calls, and the call returns without waiting for it: both
/// arrays have to stay allocated until the stream has come past it. A call with more rows than all
/// before it takes memory anew and may wait for earlier work. The library does not look at the
/// values there: values of source that are not finite are not refused and give rows that are not
/// finite, and SFEUOT_ERROR_NOT_FINITE is for host memory alone. Device memory that is not the
/// GPU's, or ends too early, is SFEUOT_ERROR_INVALID_ARGUMENT. Where the first axis of both shapes
/// is 0 the call does nothing, and data may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_generate_tensor(
    session: *mut SfeuotSession,
    source: *const SfeuotTensor,
    seed: u64,
    first_row: u64,
    generated: *const SfeuotTensor,
) -> i32 {
    guard("sfeuot_session_generate_tensor", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        let model = workspace.model.info();
        // SAFETY: both and what they point to are NULL or readable.
        let (from, to) = unsafe { (Rows::read(source, "source", model)?, Rows::read(generated, "generated", model)?) };
        let memory = to.check_output(&from)?;
        if from.rows == 0 {
            return Ok(());
        }
        check_numbers(from.rows as u64, first_row)?;
        match memory {
            // SAFETY: both arrays are the host's for the length of the call.
            Memory::Host => unsafe {
                workspace.carry(
                    (&from, &to),
                    |session, source, generated| session.generate(source, seed, first_row, generated),
                    |session, source, generated| session.generate_tensor(source, seed, first_row, generated),
                )
            },
            Memory::Cuda => {
                to.check_apart(&from)?;
                // SAFETY: that both stay allocated and are left alone is part of the header's contract.
                workspace.session.enter(|session| unsafe {
                    Ok(session.generate_on_device(from.device(), seed, first_row, to.device())?)
                })
            }
        }
    })
}

/// Writes the mean of what is generated for each source row: the barycentric map. It is exact where
/// the model has no latents (SfeuotModelInfo.latent_dimension is 0); latents, seed and first_row
/// then change nothing. With latents it is the mean over that many of them, drawn for each row, with
/// the rest of the noise averaged exactly. latents is from 1 to 2^24.
///   source  rows x dimension, data units
///   mean    rows x dimension, data units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_conditional_mean(
    session: *mut SfeuotSession,
    source: *const f32,
    rows: u64,
    latents: u32,
    seed: u64,
    first_row: u64,
    mean: *mut f32,
) -> i32 {
    guard("sfeuot_session_conditional_mean", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        if rows == 0 {
            return Ok(());
        }
        check_numbers(rows, first_row)?;
        at_least_one("latents", latents.into())?;
        let source = array(source, "source", rows, workspace.dimension)?;
        let mean = array(mean.cast_const(), "mean", rows, workspace.dimension)?;
        mean.apart_from(&source)?;
        workspace.session.enter(|session| {
            // SAFETY: both arrays are the host's for the length of the call, and do not overlap.
            let (source, mean) = unsafe { (source.read(), mean.write()) };
            Ok(session.conditional_mean(source, latents as usize, seed, first_row, mean)?)
        })
    })
}

/// Writes the same as sfeuot_session_conditional_mean, for arrays in host memory as
/// sfeuot_session_generate_tensor has them.
///   source  only read
///   mean    written, although data is a pointer to const; read_only must be 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_conditional_mean_tensor(
    session: *mut SfeuotSession,
    source: *const SfeuotTensor,
    latents: u32,
    seed: u64,
    first_row: u64,
    mean: *const SfeuotTensor,
) -> i32 {
    guard("sfeuot_session_conditional_mean_tensor", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        let model = workspace.model.info();
        // SAFETY: both and what they point to are NULL or readable.
        let (from, to) = unsafe { (Rows::read(source, "source", model)?, Rows::read(mean, "mean", model)?) };
        from.check_host()?;
        to.check_output(&from)?;
        if from.rows == 0 {
            return Ok(());
        }
        check_numbers(from.rows as u64, first_row)?;
        at_least_one("latents", latents.into())?;
        let latents = latents as usize;
        // SAFETY: both arrays are the host's for the length of the call.
        unsafe {
            workspace.carry(
                (&from, &to),
                |session, source, mean| session.conditional_mean(source, latents, seed, first_row, mean),
                |session, source, mean| session.conditional_mean_tensor(source, latents, seed, first_row, mean),
            )
        }
    })
}

/// Draws the path of each source row to its generated sample at given times. The path is a Brownian
/// bridge of variance sigma^2 t (1 - t). At time 0 it is the source, and at time 1 what
/// sfeuot_session_generate draws for the same seed and row, both bit for bit. So paths between
/// pictures are a source picture that fades into the generated one, with noise of that variance on
/// every number in between. The value network has no part in them.
///   source  rows x dimension, data units
///   times   time_count numbers, ascending, within [0, 1]; with 0 of them nothing is done
///   path    rows x time_count x dimension, data units
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_trajectory(
    session: *mut SfeuotSession,
    source: *const f32,
    rows: u64,
    times: *const f64,
    time_count: u32,
    seed: u64,
    first_row: u64,
    path: *mut f32,
) -> i32 {
    guard("sfeuot_session_trajectory", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        if rows == 0 || time_count == 0 {
            return Ok(());
        }
        check_numbers(rows, first_row)?;
        let source = array(source, "source", rows, workspace.dimension)?;
        let times = array(times, "times", time_count.into(), 1)?;
        // A product beyond usize is refused by `array`, because no number of rows fits with it.
        let per_row = workspace.dimension.saturating_mul(time_count as usize);
        let path = array(path.cast_const(), "path", rows, per_row)?;
        path.apart_from(&source)?;
        path.apart_from(&times)?;
        workspace.session.enter(|session| {
            // SAFETY: the arrays are the host's for the length of the call, and the output overlaps no input.
            let (source, times, path) = unsafe { (source.read(), times.read(), path.write()) };
            Ok(session.trajectory(source, times, seed, first_row, path)?)
        })
    })
}

/// Writes the optimal drift -grad V(time, state): the mean velocity at that time and place, in data
/// units per unit of time. time lies in [0, 1]. It is exact for the V that was learnt, and as good
/// as that: V is trained where the paths of sfeuot_session_trajectory run. For pictures V is no more
/// than the critic that the generator learns from, and no accurate drift: a simulation with it gives
/// worse pictures than the one step.
///   state  rows x dimension, data units
///   drift  rows x dimension
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_drift(
    session: *mut SfeuotSession,
    time: f64,
    state: *const f32,
    rows: u64,
    drift: *mut f32,
) -> i32 {
    guard("sfeuot_session_drift", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        if rows == 0 {
            return Ok(());
        }
        let state = array(state, "state", rows, workspace.dimension)?;
        let drift = array(drift.cast_const(), "drift", rows, workspace.dimension)?;
        drift.apart_from(&state)?;
        workspace.session.enter(|session| {
            // SAFETY: both arrays are the host's for the length of the call, and do not overlap.
            let (state, drift) = unsafe { (state.read(), drift.write()) };
            Ok(session.drift(time, state, drift)?)
        })
    })
}

/// Writes the density of what is generated, relative to the target. It is about 1 where the target
/// is matched, near 0 where the target is too costly to reach, as at remote outliers, and exactly 1
/// for SFEUOT_DIVERGENCE_BALANCED. It measures cost, not rarity: outliers near the source's way keep
/// a high ratio, which rises with sigma.
///   target  rows x dimension, data units
///   ratio   rows
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_density_ratio(
    session: *mut SfeuotSession,
    target: *const f32,
    rows: u64,
    ratio: *mut f32,
) -> i32 {
    guard("sfeuot_session_density_ratio", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        if rows == 0 {
            return Ok(());
        }
        let target = array(target, "target", rows, workspace.dimension)?;
        let ratio = array(ratio.cast_const(), "ratio", rows, 1)?;
        ratio.apart_from(&target)?;
        workspace.session.enter(|session| {
            // SAFETY: both arrays are the host's for the length of the call, and do not overlap.
            let (target, ratio) = unsafe { (target.read(), ratio.write()) };
            Ok(session.density_ratio(target, ratio)?)
        })
    })
}

/// Writes the same as sfeuot_session_density_ratio, for samples in host memory as
/// sfeuot_session_generate_tensor has them.
///   target  only read
///   ratio   one number for each row of target
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_density_ratio_tensor(
    session: *mut SfeuotSession,
    target: *const SfeuotTensor,
    ratio: *mut f32,
) -> i32 {
    guard("sfeuot_session_density_ratio_tensor", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        // SAFETY: target and what it points to are NULL or readable.
        let target = unsafe { Rows::read(target, "target", workspace.model.info()) }?;
        target.check_host()?;
        if target.rows == 0 {
            return Ok(());
        }
        let ratio = array(ratio.cast_const(), "ratio", target.rows as u64, 1)?;
        target.check_beside(&ratio)?;
        // SAFETY: both arrays are the host's for the length of the call, and do not overlap.
        let (target, ratio) = unsafe { (target.host()?, ratio.write()) };
        workspace.session.enter(|session| Ok(session.density_ratio_tensor(&target, ratio)?))
    })
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
