//! What a session generates: samples of the plan, and their means.

use super::arguments::{array, at_least_one};
use super::handle;
use super::panic::guard;
use super::rows::Rows;
use super::session::{SfeuotSession, Workspace, check_numbers};
use super::tensor::{Memory, SfeuotTensor};

/// Draws one sample of the plan for each source row, in one pass through the generator.
///   source     rows x dimension, data units
///   generated  rows x dimension, data units; it may be source itself
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
        // SAFETY: both arrays are the host's for the length of the call.
        unsafe {
            workspace.carry_plain(
                (&source, &generated),
                |session, source, generated| session.generate(source, seed, first_row, generated),
                |session, source, generated| session.generate_tensor(source, seed, first_row, generated),
            )
        }
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
///   mean    rows x dimension, data units; it may be source itself
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
        let latents = latents as usize;
        // SAFETY: both arrays are the host's for the length of the call.
        unsafe {
            workspace.carry_plain(
                (&source, &mean),
                |session, source, mean| session.conditional_mean(source, latents, seed, first_row, mean),
                |session, source, mean| session.conditional_mean_tensor(source, latents, seed, first_row, mean),
            )
        }
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
