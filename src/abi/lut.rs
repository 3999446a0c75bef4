//! Look-up tables of colours.

use std::ffi::c_void;

use super::arguments::{array, at_least_one};
use super::config::{self, Versioned};
use super::handle;
use super::panic::{guard, shield};
use super::session::{SfeuotSession, Workspace};
use crate::{Conversion, Error, Lut};

/// Converts rows colours of 3 floats each in place, such as from sRGB to Oklab. Returns 0, or any
/// other number to end the call with SFEUOT_ERROR_CALLBACK and that number in the text.
pub type SfeuotColourCallback =
    Option<unsafe extern "C-unwind" fn(userdata: *mut c_void, colours: *mut f32, rows: u64) -> i32>;

/// A look-up table, for sfeuot_session_bake_lut. Fill it with sfeuot_lut_config_init, then change
/// what you need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotLutConfig {
    /// Set by sfeuot_lut_config_init.
    pub struct_size: u32,
    /// Entries along each axis, from 2 to 256. Default 33.
    pub size: u32,
    /// For a model with latents: how many of them each mean is taken over, from 1 to 2^24. Default
    /// 64.
    pub latents: u32,
    /// Always 0.
    pub reserved: u32,
    /// Seed of these latents. Default 0.
    pub seed: u64,
    /// They are those that sfeuot_session_conditional_mean draws for the row of this number, for
    /// every entry, so that the table is as smooth as the model. Default 0.
    pub row: u64,
    /// The colour of the first entry. Default 0, 0, 0.
    pub low: [f64; 3],
    /// The colour of the last entry, above low in each number. Default 1, 1, 1.
    pub high: [f64; 3],
    /// Takes the table's colours to the data units of the model. Default NULL: they are the same.
    pub to_model: SfeuotColourCallback,
    /// Takes what the model gives to the table's colours. Default NULL.
    pub from_model: SfeuotColourCallback,
    /// Handed to both. Default NULL.
    pub userdata: *mut c_void,
}

// SAFETY: repr(C), struct_size first, plain numbers and pointers, NULL among them.
unsafe impl Versioned for SfeuotLutConfig {
    const NAME: &'static str = "SfeuotLutConfig";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            size: 33,
            latents: 64,
            reserved: 0,
            seed: 0,
            row: 0,
            low: [0.0; 3],
            high: [1.0; 3],
            to_model: None,
            from_model: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

/// Fills config with the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_lut_config_init(config: *mut SfeuotLutConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_lut_config_init", || unsafe { config::init(config, "config", SfeuotLutConfig::SIZES[0]) })
}

/// Writes the conditional mean of a model of 3 numbers a sample on a grid of colours: a look-up
/// table that grading programs and engines apply. config may be NULL for the defaults. Entry (i,
/// j, k) of size^3 lies at 3 x (i + size x (j + size x k)), as in .cube files; its colour is low
/// plus (high - low) times (i, j, k) / (size - 1). Results are not kept within any range.
/// examples-c/common has writers of .cube files and HALD pictures.
///   table  3 x size^3 floats
/// Errors: SFEUOT_ERROR_INVALID_ARGUMENT also for a model of another dimension,
/// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_NOT_FINITE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_session_bake_lut(
    session: *mut SfeuotSession,
    config: *const SfeuotLutConfig,
    table: *mut f32,
) -> i32 {
    guard("sfeuot_session_bake_lut", || {
        let workspace = handle::pin::<Workspace>(session, "session")?;
        // SAFETY: config is NULL or readable.
        let config = unsafe { config::read_or_defaults(config, "config") }?;
        let SfeuotLutConfig { size, latents, seed, row, low, high, to_model, from_model, userdata, .. } = config;
        at_least_one("config.latents", latents.into())?;
        let lut = Lut { size: size as usize, low, high, latents: latents as usize, seed, row };
        lut.check()?;
        let table = array(table.cast_const(), "table", u64::from(size).pow(3), 3)?;
        let mut convert = |conversion, colours: &mut [f32]| {
            let (name, callback) = match conversion {
                Conversion::In => ("to_model", to_model),
                Conversion::Out => ("from_model", from_model),
            };
            let Some(callback) = callback else { return Ok(()) };
            // SAFETY: the host gave the callback for these arguments.
            let returned = shield(|| unsafe { callback(userdata, colours.as_mut_ptr(), colours.len() as u64 / 3) });
            let text = match returned {
                Ok(0) => return Ok(()),
                Ok(number) => format!("config.{name} returned {number}; 0 means that the colours are converted"),
                Err(text) => format!("config.{name} panicked: {text}"),
            };
            Err(Error::Callback(text))
        };
        workspace.session.enter(|session| {
            // SAFETY: the table is the host's for the length of the call; its size is in range.
            Ok(session.bake_lut(&lut, &mut convert, unsafe { table.write() })?)
        })
    })
}
