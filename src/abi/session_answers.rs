//! What a session answers beside samples: paths, the drift and the density ratio.

use super::arguments::array;
use super::handle;
use super::panic::guard;
use super::rows::Rows;
use super::session::{SfeuotSession, Workspace, check_numbers};
use super::tensor::SfeuotTensor;

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
///   drift  rows x dimension; it may be state itself
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
        // SAFETY: both arrays are the host's for the length of the call.
        unsafe {
            workspace.carry_plain(
                (&state, &drift),
                |session, state, drift| session.drift(time, state, drift),
                |session, state, drift| session.drift_tensor(time, state, drift),
            )
        }
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
