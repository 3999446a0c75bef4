//! Memory that a child shares with its parent: where the child is, what it called last, and what it found. It outlives
//! the child however that ends.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

const LINES: usize = 128;
const LINE: usize = 1016;
const FOUND: usize = 1 << 20;
/// Between two findings, and between the headline of one and the rest.
const END: u8 = 0x1E;

#[repr(C)]
pub struct Board {
    /// Numbers of the part's own: how far it came.
    pub place: [AtomicU64; 8],
    next_line: AtomicUsize,
    lines: [Line; LINES],
    found: AtomicUsize,
    text: [u8; FOUND],
}

#[repr(C)]
struct Line {
    length: AtomicUsize,
    text: [u8; LINE],
}

impl Board {
    /// A new one, all zeros. It is never given back: a run needs a few.
    pub fn new() -> &'static Self {
        // SAFETY: new memory of the size asked for, in which zeros are a Board; it is never unmapped.
        unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let memory =
                libc::mmap(std::ptr::null_mut(), size_of::<Self>(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(memory, libc::MAP_FAILED, "no shared memory");
            &*memory.cast::<Self>()
        }
    }

    /// Forgets calls and findings; the places stay.
    pub fn clear(&self) {
        self.next_line.store(0, Relaxed);
        self.found.store(0, Relaxed);
    }

    /// Notes a call that comes next; the last ones are kept.
    pub fn note(&self, text: &str) {
        let line = &self.lines[self.next_line.fetch_add(1, Relaxed) % LINES];
        let bytes = &text.as_bytes()[..text.len().min(LINE)];
        // SAFETY: a line has room for so many bytes; one thread at a time has it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), line.text.as_ptr().cast_mut(), bytes.len()) };
        line.length.store(bytes.len(), Relaxed);
    }

    /// The calls noted last, oldest first.
    pub fn last(&self) -> Vec<String> {
        let next = self.next_line.load(Relaxed);
        (next.saturating_sub(LINES)..next)
            .map(|number| {
                let line = &self.lines[number % LINES];
                String::from_utf8_lossy(&line.text[..line.length.load(Relaxed)]).into_owned()
            })
            .collect()
    }

    /// Adds a finding: what it is in one line, the same for the same cause, and whatever helps to understand it.
    pub fn find(&self, headline: &str, detail: &str) {
        let length = headline.len() + detail.len() + 2;
        let at = self.found.fetch_add(length, Relaxed);
        if at + length > FOUND {
            self.found.store(FOUND, Relaxed);
            return;
        }
        let mut at = at;
        for part in [headline.as_bytes(), &[END], detail.as_bytes(), &[END]] {
            // SAFETY: these bytes were reserved for this finding.
            unsafe {
                let to = self.text.as_ptr().cast_mut().add(at);
                std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            }
            at += part.len();
        }
    }

    /// Headlines and details of what was found.
    pub fn found(&self) -> Vec<(String, String)> {
        let bytes = &self.text[..self.found.load(Relaxed).min(FOUND)];
        let parts: Vec<String> =
            bytes.split(|&byte| byte == END).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}
