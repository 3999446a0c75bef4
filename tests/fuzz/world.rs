//! What the parts share of a host: samples, callbacks, buffers whose change is noticed.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};

use sfeuot::abi::*;

use super::common::init;
use super::random::Random;

/// Samples of one side, with weights where asked for. Boxed, since the structs hold addresses.
pub struct Side {
    pub data: SfeuotData,
    pub samples: SfeuotTensor,
    pub weights: SfeuotTensor,
    pub values: Vec<f32>,
    pub shape: Vec<i64>,
    weight_values: Vec<f64>,
    weight_shape: [i64; 1],
}

impl Side {
    pub fn new(random: &mut Random, rows: usize, sample_shape: &[i64], weighted: bool, shift: f32) -> Box<Self> {
        let dimension: i64 = sample_shape.iter().product();
        let mut side = Box::new(Self {
            data: init(sfeuot_data_init_3),
            samples: init(sfeuot_tensor_init),
            weights: init(sfeuot_tensor_init),
            values: (0..rows * dimension as usize).map(|_| shift + random.unit() as f32).collect(),
            shape: [&[rows as i64], sample_shape].concat(),
            weight_values: (0..rows).map(|_| 0.1 + random.unit()).collect(),
            weight_shape: [rows as i64],
        });
        side.samples.data = side.values.as_ptr().cast();
        side.samples.rank = side.shape.len() as u32;
        side.samples.shape = side.shape.as_ptr();
        side.weights.dtype = SFEUOT_DTYPE_F64;
        side.weights.data = side.weight_values.as_ptr().cast();
        side.weights.rank = 1;
        side.weights.shape = side.weight_shape.as_ptr();
        side.data.samples = &raw const side.samples;
        if weighted {
            side.data.weights = &raw const side.weights;
        }
        side
    }

    /// The same side as a callback that always fills alike.
    pub fn as_callback(&self) -> SfeuotData {
        let mut data: SfeuotData = init(sfeuot_data_init_3);
        data.sample_callback = Some(fill);
        data.sample_rank = self.samples.rank - 1;
        data.sample_shape = self.shape[1..].as_ptr();
        data
    }
}

unsafe extern "C-unwind" fn fill(_: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
    // SAFETY: the batch has room for rows x dimension floats.
    let batch = unsafe { std::slice::from_raw_parts_mut(batch, (rows * dimension) as usize) };
    for (i, value) in batch.iter_mut().enumerate() {
        *value = (i * 37 % 61) as f32 / 61.0;
    }
    0
}

pub const PATTERN: u8 = 0xA5;

/// An output that is known not to have been written.
pub fn untouched<T>() -> T {
    let mut value = std::mem::MaybeUninit::uninit();
    // SAFETY: used for plain numbers and addresses that nobody follows.
    unsafe {
        std::ptr::write_bytes(value.as_mut_ptr(), PATTERN, 1);
        value.assume_init()
    }
}

pub fn bytes_of<T>(values: &[T]) -> &[u8] {
    // SAFETY: used for plain numbers without padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

pub fn is_untouched<T>(values: &[T]) -> bool {
    bytes_of(values).iter().all(|&byte| byte == PATTERN)
}

/// Fowler-Noll-Vo, to compare outputs.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

pub fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().expect("UTF-8")).expect("no zero inside")
}

/// An empty folder of this name.
pub fn folder(name: &str) -> PathBuf {
    super::common::scratch(&format!("fuzz-{name}"))
}
