//! Conjugates of the divergences as a plain function.

use super::arguments::array;
use super::enums::Coded;
use super::panic::guard;
use super::status::Failure;
use crate::Divergence;
use crate::formulas::Conjugate;

/// Computes the conjugate of a divergence and its derivative, the density ratio, as
/// SFEUOT_DIVERGENCE_* state them. It needs no handle, and any number of threads may be inside it.
///   divergence  SFEUOT_DIVERGENCE_*
///   tau         the divergence's weight, a finite number above 0, in the units of v
///   v           count numbers: the value function at time 1
///   conjugate   count numbers Psi*(v), or NULL
///   ratio       count numbers Psi*'(v), or NULL
/// The outputs must not overlap v or each other. With a count of 0 nothing is done, and arrays may
/// be NULL. A v that is not a number gives results that are not either.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_conjugate(
    divergence: i32,
    tau: f64,
    v: *const f64,
    count: u64,
    conjugate: *mut f64,
    ratio: *mut f64,
) -> i32 {
    guard("sfeuot_conjugate", || {
        let of = Conjugate { divergence: Divergence::of(divergence, "divergence")?, tau };
        if !(tau > 0.0 && tau.is_finite()) {
            return Err(Failure::argument(format!("tau is {tau}, but must be a finite number above 0")));
        }
        if count == 0 {
            return Ok(());
        }
        let most = isize::MAX as u64 / size_of::<f64>() as u64;
        if count > most {
            return Err(Failure::argument(format!("count is {count}, but memory holds {most} numbers at most")));
        }
        let v = array(v, "v", count, 1)?;
        let optional = |pointer: *mut f64, name| {
            (!pointer.is_null()).then(|| array(pointer.cast_const(), name, count, 1)).transpose()
        };
        let outputs = [optional(conjugate, "conjugate")?, optional(ratio, "ratio")?];
        for output in outputs.iter().flatten() {
            output.apart_from(&v)?;
        }
        if let [Some(conjugate), Some(ratio)] = &outputs {
            ratio.apart_from(conjugate)?;
        }
        // SAFETY: all arrays are the host's for the length of the call, and do not overlap.
        let (v, [mut conjugate, mut ratio]) =
            unsafe { (v.read(), outputs.each_ref().map(|output| output.as_ref().map(|output| output.write()))) };
        for (i, &v) in v.iter().enumerate() {
            let (value, slope) = of.evaluate(v);
            if let Some(to) = &mut conjugate {
                to[i] = value;
            }
            if let Some(to) = &mut ratio {
                to[i] = slope;
            }
        }
        Ok(())
    })
}
