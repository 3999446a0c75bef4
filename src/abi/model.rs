//! Model: what a training learnt, frozen.

use std::ffi::{c_char, c_void};

use super::arguments::{array, at_least_one, out, path as file};
use super::config::{self, Versioned};
use super::context::SfeuotContext;
use super::handle::{self, Kind, Object};
use super::object_error;
use super::panic::guard;
use super::status::Failure;
use crate::{Context, Model, ModelInfo};

/// What a training learnt: a generator and a value network. It never changes, and many threads may
/// use it at once.
pub struct SfeuotModel {
    _opaque: [u8; 0],
}

/// What a model is. Fill it with sfeuot_model_info_init before sfeuot_model_info.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotModelInfo {
    /// Set by sfeuot_model_info_init.
    pub struct_size: u32,
    /// How many axes one sample has; sfeuot_model_sample_shape tells their sizes.
    pub sample_rank: u32,
    /// Numbers of one sample, which is the product of its shape.
    pub dimension: u64,
    /// Numbers of noise that the generator sees beside the sample; 0 for none.
    pub latent_dimension: u32,
    /// Gaussians of the mixture that a source sample is given. With latents: how many of them a
    /// training drew for each source sample.
    pub components: u32,
    /// SFEUOT_DIVERGENCE_* of the training.
    pub divergence: i32,
    /// Always 0.
    pub reserved: u32,
    /// Noise of the coupling in data units, whichever units it was given in.
    pub sigma: f64,
    /// Price of unmatched mass in data units squared.
    pub tau: f64,
    /// The common scale of the samples that the library measured, in data units.
    pub data_scale: f64,
    /// Training steps behind the model.
    pub steps: u64,
    /// Weights of both networks together.
    pub parameters: u64,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Versioned for SfeuotModelInfo {
    const NAME: &'static str = "SfeuotModelInfo";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            sample_rank: 0,
            dimension: 0,
            latent_dimension: 0,
            components: 0,
            divergence: 0,
            reserved: 0,
            sigma: 0.0,
            tau: 0.0,
            data_scale: 0.0,
            steps: 0,
            parameters: 0,
        }
    }
}

impl From<&ModelInfo> for SfeuotModelInfo {
    fn from(core: &ModelInfo) -> Self {
        Self {
            sample_rank: core.sample_shape.len() as u32,
            dimension: core.dimension as u64,
            latent_dimension: core.latent_dimension as u32,
            components: core.components as u32,
            divergence: core.divergence.into(),
            reserved: 0,
            sigma: core.sigma,
            tau: core.tau,
            data_scale: core.data_scale,
            steps: core.steps,
            parameters: core.parameters,
            ..Self::defaults()
        }
    }
}

impl Object for Model {
    type Handle = SfeuotModel;
    const KIND: Kind = Kind::Model;
}

/// Fills info with zeros and its struct_size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_info_init(info: *mut SfeuotModelInfo) -> i32 {
    // SAFETY: info is NULL or writable.
    guard("sfeuot_model_info_init", || unsafe { config::init(info, "info", SfeuotModelInfo::SIZES[0]) })
}

/// Writes the model to a file. A file of that name is replaced whole or, on failure, left as it was.
/// Saves of one file at the same time, in any threads and processes, come one after the other. A
/// save fails with SFEUOT_ERROR_IO when the one before it has written nothing for a minute, as one
/// that is stopped. Errors: SFEUOT_ERROR_IO, SFEUOT_ERROR_FORMAT (a weight or a setting is not a
/// finite number, so that the file could not be loaded), SFEUOT_ERROR_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_save(model: *mut SfeuotModel, path: *const c_char) -> i32 {
    guard("sfeuot_model_save", || {
        let model = handle::pin::<Model>(model, "model")?;
        // SAFETY: path is NULL or a C string.
        let path = unsafe { file(path, "path") }?;
        Ok(model.save(&path)?)
    })
}

/// Reads a model from a file, which need not be trusted. A file that asks for more than any model of
/// this library has is refused, as is what is not a regular file. Errors: SFEUOT_ERROR_IO,
/// SFEUOT_ERROR_FORMAT, SFEUOT_ERROR_OUT_OF_MEMORY, and SFEUOT_ERROR_DEVICE on a GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_load(
    context: *mut SfeuotContext,
    path: *const c_char,
    model: *mut *mut SfeuotModel,
) -> i32 {
    guard("sfeuot_model_load", || {
        let context = handle::pin::<Context>(context, "context")?;
        let model = out(model, "model")?;
        // SAFETY: path is NULL or a C string.
        let path = unsafe { file(path, "path") }?;
        let created = handle::create(Model::load(&context, &path)?)?;
        // SAFETY: model is writable.
        unsafe { model.write(created) };
        Ok(())
    })
}

/// Reads a model from size bytes (at least 1) in memory, which are the content of a file and are
/// copied. Errors: SFEUOT_ERROR_FORMAT, SFEUOT_ERROR_OUT_OF_MEMORY, and SFEUOT_ERROR_DEVICE on a
/// GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_load_memory(
    context: *mut SfeuotContext,
    bytes: *const c_void,
    size: usize,
    model: *mut *mut SfeuotModel,
) -> i32 {
    guard("sfeuot_model_load_memory", || {
        let context = handle::pin::<Context>(context, "context")?;
        let model = out(model, "model")?;
        at_least_one("size", size as u64)?;
        let bytes = array::<u8>(bytes.cast(), "bytes", size as u64, 1)?;
        // SAFETY: size bytes are readable during the call.
        let created = handle::create(Model::load_memory(&context, unsafe { bytes.read() })?)?;
        // SAFETY: model is writable.
        unsafe { model.write(created) };
        Ok(())
    })
}

/// Writes what the model is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_info(model: *mut SfeuotModel, info: *mut SfeuotModelInfo) -> i32 {
    guard("sfeuot_model_info", || {
        let model = handle::pin::<Model>(model, "model")?;
        // SAFETY: info is NULL or writable.
        let info = unsafe { config::output(info, "info") }?;
        // SAFETY: info is writable.
        unsafe { info.write(&model.info().into()) };
        Ok(())
    })
}

/// Writes the sample_rank sizes of one sample's axes. shape has room for capacity numbers.
/// SFEUOT_MAX_RANK is always enough, and too small a capacity is SFEUOT_ERROR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_sample_shape(model: *mut SfeuotModel, capacity: u32, shape: *mut i64) -> i32 {
    guard("sfeuot_model_sample_shape", || {
        let model = handle::pin::<Model>(model, "model")?;
        let sizes = &model.info().sample_shape;
        let shape = array(shape.cast_const(), "shape", sizes.len() as u64, 1)?;
        if (capacity as usize) < sizes.len() {
            return Err(Failure::argument(format!(
                "capacity is {capacity}; the samples of this model have {} axes, so it must be at least that",
                sizes.len()
            )));
        }
        // SAFETY: capacity numbers are writable, which is enough.
        for (to, &size) in unsafe { shape.write() }.iter_mut().zip(sizes) {
            *to = size as i64;
        }
        Ok(())
    })
}

/// Copies the sentence of the last call that failed on this model, sfeuot_session_create included.
/// See sfeuot_context_error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_error(model: *mut SfeuotModel, buffer: *mut c_char, size: usize) -> i32 {
    // SAFETY: buffer is NULL or has room for size bytes.
    guard("sfeuot_model_error", || unsafe { object_error::copy::<Model>(model, "model", buffer, size) })
}

/// Adds a reference, for a second owner. sfeuot_model_release gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_retain(model: *mut SfeuotModel) -> i32 {
    guard("sfeuot_model_retain", || handle::retain::<Model>(model, "model"))
}

/// Gives a reference back. With the last one the handle ends. Sessions made from the model keep what
/// they need of it. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_model_release(model: *mut SfeuotModel) -> i32 {
    guard("sfeuot_model_release", || handle::release::<Model>(model, "model"))
}
