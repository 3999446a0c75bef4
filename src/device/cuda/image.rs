use crate::LogLevel;
use crate::error::*;
use std::path::Path;
pub(crate) fn embedded() -> Option<&'static [u8]> {
    None
}
pub(crate) fn compiled(_c: (u32, u32), _cache: Option<&Path>, _log: &mut dyn FnMut(LogLevel, &str)) -> Result<Vec<u8>> {
    Err(Error::UnsupportedDevice("stub".into()))
}
