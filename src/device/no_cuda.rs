//! What stands in the place of the CUDA device in a library that was built without it: there is no GPU, and asking for one
//! is answered by a sentence. Its names are those of `cuda` that the rest of the crate uses.

/// The GPU that there never is.
pub mod gpu {
    use crate::device::gpus::{CudaConfig, DeviceInfo};
    use crate::error::{Error, Result};
    use crate::log::LogLevel;
    use std::ffi::c_void;
    use std::sync::Arc;

    /// Has no values.
    #[derive(Debug)]
    pub enum Gpu {}

    impl Gpu {
        /// # Errors
        /// [`Error::UnsupportedDevice`] always.
        pub fn open(_: &CudaConfig, _: &mut dyn FnMut(LogLevel, &str)) -> Result<Arc<Self>> {
            Err(Error::UnsupportedDevice("this library was built without its feature `cuda`, and knows no GPU".into()))
        }

        pub fn info(&self) -> &DeviceInfo {
            match *self {}
        }

        pub fn account(&self) -> &Self {
            self
        }

        pub fn used(&self) -> u64 {
            match *self {}
        }

        pub fn stream(&self) -> *mut c_void {
            match *self {}
        }

        pub fn enter(&self) -> Result<()> {
            match *self {}
        }

        pub fn synchronise(&self) -> Result<()> {
            match *self {}
        }

        pub fn check_pointer(&self, _: &str, _: u64, _: u64) -> Result<()> {
            match *self {}
        }

        pub fn read(&self, _: u64, _: &mut [u8]) -> Result<()> {
            match *self {}
        }

        /// # Safety
        /// None is needed: there is no GPU.
        pub unsafe fn resident<'a>(
            self: &Arc<Self>,
            _: &'static str,
            _: u64,
            _: crate::data::ArrayLayout,
        ) -> Box<dyn crate::data::Resident + 'a> {
            match **self {}
        }
    }
}

/// The driver that is never asked.
pub mod driver {
    use crate::device::gpus::DeviceInfo;
    use crate::error::Result;

    pub fn is_there() -> bool {
        false
    }

    /// Returns no GPU.
    ///
    /// # Errors
    /// None.
    pub fn devices() -> Result<Vec<DeviceInfo>> {
        Ok(Vec::new())
    }
}
