//! A model as a graph that other programs run.

use std::ffi::{c_char, c_void};
use std::io::{self, Write};

use super::arguments::{array, path as file};
use super::config::{self, Versioned};
use super::handle;
use super::model::SfeuotModel;
use super::panic::{guard, shield};
use super::session::check_numbers;
use super::status::{Failure, Outcome, SFEUOT_ERROR_CALLBACK};
use crate::{Model, OnnxGraph, float_mode};

/// The ONNX operator set of what sfeuot_model_export_onnx writes.
pub const SFEUOT_ONNX_OPERATOR_SET: i32 = 13;
const _: () = assert!(crate::OPERATOR_SET == SFEUOT_ONNX_OPERATOR_SET as u64);

/// Graphs, for SfeuotOnnxConfig.graph. All take and give samples in data units, as the sessions do:
/// normalisation, axes and squares are part of the graph. The first size of every input and output
/// is the number of rows, which is free; "sample" is the shape of a sample.
///
/// ---
///
/// Draws what sfeuot_session_generate draws, from noise that comes in. sfeuot_model_noise gives the
/// noise of a session; any other of the same law does as well.
///   input   x0         rows x sample   source samples
///   input   latent     rows x L        standard normal; only where the model has L latents
///   input   component  rows x 1        uniform in (0, 1]; only of several components, no latents
///   input   noise      rows x d        standard normal; not where the generator is deterministic
///   output  x1         rows x sample   draws
pub const SFEUOT_ONNX_GENERATE: i32 = 0;
/// The conditional mean, without noise: sfeuot_session_conditional_mean. With latents it is the mean
/// over SfeuotOnnxConfig.latents of them, which are part of the graph; with 1 latent a generator for
/// pictures becomes a map without noise.
///   input   x0    rows x sample
///   output  mean  rows x sample
pub const SFEUOT_ONNX_MEAN: i32 = 1;
/// The value function and the drift at time t from 0 to 1: sfeuot_session_drift. The density ratio
/// of sfeuot_session_density_ratio is a function of value at t = 1.
///   input   x      rows x sample
///   input   t      rows x 1
///   output  value  rows x 1        V(t, x), in data units squared
///   output  drift  rows x sample   -grad V(t, x)
pub const SFEUOT_ONNX_VALUE: i32 = 2;

/// Takes the next size bytes of a file that is written from front to back. Returns 0, or any other
/// number to end the call with SFEUOT_ERROR_CALLBACK and that number in the text.
pub type SfeuotWriteCallback =
    Option<unsafe extern "C-unwind" fn(userdata: *mut c_void, bytes: *const c_void, size: usize) -> i32>;

/// What sfeuot_model_export_onnx writes, and where. Fill it with sfeuot_onnx_config_init, then
/// change what you need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotOnnxConfig {
    /// Set by sfeuot_onnx_config_init.
    pub struct_size: u32,
    /// SFEUOT_ONNX_*. Default SFEUOT_ONNX_GENERATE.
    pub graph: i32,
    /// For SFEUOT_ONNX_MEAN of a model with latents: how many of them the mean is taken over, from 1
    /// to 4096. The graph passes the generator as often for each row. Default 16.
    pub latents: u32,
    /// Always 0.
    pub reserved: u32,
    /// Seed of these latents. Default 0.
    pub seed: u64,
    /// They are those that sfeuot_session_conditional_mean draws for the row of this number, and the
    /// same for every row of the graph. Default 0.
    pub row: u64,
    /// Takes the file where path is NULL. Default NULL.
    pub write: SfeuotWriteCallback,
    /// Handed to write. Default NULL.
    pub userdata: *mut c_void,
}

// SAFETY: repr(C), struct_size first, plain numbers and pointers, NULL among them.
unsafe impl Versioned for SfeuotOnnxConfig {
    const NAME: &'static str = "SfeuotOnnxConfig";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            graph: SFEUOT_ONNX_GENERATE,
            latents: 16,
            reserved: 0,
            seed: 0,
            row: 0,
            write: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

impl SfeuotOnnxConfig {
    fn graph(&self) -> Outcome<OnnxGraph> {
        match self.graph {
            SFEUOT_ONNX_GENERATE => Ok(OnnxGraph::Generate),
            SFEUOT_ONNX_MEAN => Ok(OnnxGraph::Mean { latents: self.latents as usize, seed: self.seed, row: self.row }),
            SFEUOT_ONNX_VALUE => Ok(OnnxGraph::Value),
            other => Err(Failure::argument(format!(
                "config.graph is {other}; allowed are SFEUOT_ONNX_GENERATE (0), SFEUOT_ONNX_MEAN (1), \
                 SFEUOT_ONNX_VALUE (2)"
            ))),
        }
    }
}

/// A write callback as a writer, and once it failed, why.
struct HostWriter {
    callback: unsafe extern "C-unwind" fn(*mut c_void, *const c_void, usize) -> i32,
    userdata: *mut c_void,
    failure: Option<Failure>,
}

impl Write for HostWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the host gave the callback for these arguments.
        let call = || unsafe { (self.callback)(self.userdata, bytes.as_ptr().cast(), bytes.len()) };
        let returned = shield(|| float_mode::as_host(call));
        let text = match returned {
            Ok(0) => return Ok(bytes.len()),
            Ok(number) => format!("the write callback returned {number}; 0 means that the bytes are taken"),
            Err(text) => format!("the write callback panicked: {text}"),
        };
        self.failure = Some(Failure::new(SFEUOT_ERROR_CALLBACK, text));
        Err(io::ErrorKind::Other.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills config with the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_onnx_config_init(config: *mut SfeuotOnnxConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_onnx_config_init", || unsafe { config::init(config, "config", SfeuotOnnxConfig::SIZES[0]) })
}

/// Writes a graph of the model as an ONNX file (operator set SFEUOT_ONNX_OPERATOR_SET), for programs
/// without this library. Its operators are those that TensorRT, DirectML and Unity's Sentis have,
/// all numbers are 32-bit floats, and results are those of a session up to rounding. config may be
/// NULL for the defaults. Either path names the file, which is replaced whole or, on failure, left
/// as it was, or path is NULL and config->write takes the bytes. Errors: SFEUOT_ERROR_IO,
/// SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_FORMAT (a weight is not a finite number, or the file would be
/// longer than 2 GiB), SFEUOT_ERROR_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_export_onnx(
    model: *mut SfeuotModel,
    config: *const SfeuotOnnxConfig,
    path: *const c_char,
) -> i32 {
    guard("sfeuot_model_export_onnx", || {
        let model = handle::pin::<Model>(model, "model")?;
        // SAFETY: config is NULL or readable.
        let config = unsafe { config::read_or_defaults(config, "config") }?;
        let graph = config.graph()?;
        match (path.is_null(), config.write) {
            (false, None) => {
                // SAFETY: path is a C string.
                let path = unsafe { file(path, "path") }?;
                Ok(model.export_onnx(graph, &path)?)
            }
            (true, Some(callback)) => {
                let mut writer = HostWriter { callback, userdata: config.userdata, failure: None };
                let written = model.write_onnx(graph, &mut writer);
                match writer.failure {
                    Some(failure) => Err(failure),
                    None => Ok(written?),
                }
            }
            (true, None) => Err(Failure::argument(
                "path is NULL and so is config.write; one of them must say where the graph goes".to_owned(),
            )),
            (false, Some(_)) => {
                Err(Failure::argument("path is given and so is config.write; only one of them may be".to_owned()))
            }
        }
    })
}

/// Writes the noise by which sfeuot_session_generate draws these rows, in the form in which a graph
/// of SFEUOT_ONNX_GENERATE takes it. The same seed and row numbers then give the same draws there.
/// Each array may be NULL; those that the graph has no input for need not be given.
///   latent     rows x latent_dimension of SfeuotModelInfo
///   component  rows
///   noise      rows x dimension
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_noise(
    model: *mut SfeuotModel,
    rows: u64,
    seed: u64,
    first_row: u64,
    latent: *mut f32,
    component: *mut f32,
    noise: *mut f32,
) -> i32 {
    guard("sfeuot_model_noise", || {
        let model = handle::pin::<Model>(model, "model")?;
        if rows == 0 {
            return Ok(());
        }
        check_numbers(rows, first_row)?;
        let info = model.info();
        let list = |pointer: *mut f32, name, numbers: usize| {
            if pointer.is_null() {
                return Ok(None);
            }
            array(pointer.cast_const(), name, rows, numbers).map(Some)
        };
        let lists = [
            list(latent, "latent", info.latent_dimension)?,
            list(component, "component", 1)?,
            list(noise, "noise", info.dimension)?,
        ];
        for (i, one) in lists.iter().enumerate() {
            for other in lists[..i].iter().flatten() {
                one.as_ref().map_or(Ok(()), |one| one.apart_from(other))?;
            }
        }
        // SAFETY: the arrays are writable during the call, and do not overlap.
        let [latent, component, noise] = lists.map(|list| list.map(|list| unsafe { list.write() }));
        Ok(model.noise(seed, first_row, latent, component, noise)?)
    })
}
