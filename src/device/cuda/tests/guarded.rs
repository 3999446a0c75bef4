//! Buffers that end at a page nobody may touch, so that an access beyond them ends the test.

use super::real;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr;

const PAGE: usize = 4096;
/// What a device aligns for: sixteen-byte loads.
const ALIGN: usize = 16;

/// `len` elements whose bits are all set (NaN in floats) until written. The last one lies at most 15 bytes before a
/// guard page, the first one behind one; the bytes between are checked when the buffer is dropped.
pub struct Buffer<T> {
    pages: *mut u8,
    mapped: usize,
    /// Address of the first element, for a kernel.
    address: u64,
    start: *mut T,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    pub fn new(len: usize) -> Self {
        let bytes = (len * size_of::<T>()).next_multiple_of(ALIGN);
        let inner = bytes.next_multiple_of(PAGE);
        let mapped = inner + 2 * PAGE;
        // SAFETY: a fresh mapping; the two calls forbid its first and last page; the bytes between are ours.
        unsafe {
            let pages = libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            );
            assert!(pages != libc::MAP_FAILED);
            let pages = pages.cast::<u8>();
            pages.add(PAGE).write_bytes(0xFF, inner);
            assert_eq!(libc::mprotect(pages.cast(), PAGE, libc::PROT_NONE), 0);
            assert_eq!(libc::mprotect(pages.add(PAGE + inner).cast(), PAGE, libc::PROT_NONE), 0);
            let address = real::map(pages.add(PAGE), inner) + (inner - bytes) as u64;
            let start = pages.add(PAGE + inner - bytes).cast();
            Self { pages, mapped, address, start, len, element: PhantomData }
        }
    }

    pub fn of(values: &[T]) -> Self {
        let mut buffer = Self::new(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T> Buffer<T> {
    pub fn address(&self) -> usize {
        self.address as usize
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` numbers of which any bits are a value.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the bytes between the guard pages, and then the whole mapping, which nobody uses any more.
        unsafe {
            let inner = std::slice::from_raw_parts(self.pages.add(PAGE), self.mapped - 2 * PAGE);
            let before = self.start as usize - self.pages as usize - PAGE;
            let after = before + self.len * size_of::<T>();
            let intact = inner[..before].iter().chain(&inner[after..]).all(|&b| b == 0xFF);
            real::unmap(self.pages.add(PAGE));
            libc::munmap(self.pages.cast(), self.mapped);
            assert!(intact || std::thread::panicking(), "a kernel wrote outside a buffer");
        }
    }
}

/// A matrix with rows `stride` apart; what lies between the rows stays as it was made.
pub struct Matrix {
    pub data: Buffer<f32>,
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl Matrix {
    pub fn new(rows: usize, cols: usize, stride: usize) -> Self {
        assert!(stride >= cols);
        Self { data: Buffer::new(rows * stride), rows, cols, stride }
    }

    /// Takes values by rows.
    pub fn of(values: &[f32], cols: usize, stride: usize) -> Self {
        let mut matrix = Self::new(values.len() / cols, cols, stride);
        for (r, line) in values.chunks_exact(cols).enumerate() {
            matrix.data[r * stride..][..cols].copy_from_slice(line);
        }
        matrix
    }

    pub fn row(&self, r: usize) -> &[f32] {
        &self.data[r * self.stride..][..self.cols]
    }

    /// By rows, without gaps.
    pub fn values(&self) -> Vec<f32> {
        (0..self.rows).flat_map(|r| self.row(r).to_vec()).collect()
    }

    /// Panics where a gap between the rows was written.
    pub fn check_gaps(&self) {
        for r in 0..self.rows {
            let gap = &self.data[r * self.stride + self.cols..(r + 1) * self.stride];
            assert!(gap.iter().all(|x| x.to_bits() == u32::MAX), "a kernel wrote between rows");
        }
    }
}
