//! The sentence of the last call that failed on an object, which any thread may read.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error_text::TEXT_SIZE;
use crate::process;

const FREE: u32 = 0;

/// A C string. Whoever reads or writes it waits for another one who does, which takes as long as a copy of it.
pub(super) struct Sentence {
    /// [`FREE`], or one more than the generation of the process in which a thread is inside. One that a fork left behind
    /// inside never ends, so its mark is not believed.
    inside: AtomicU32,
    text: UnsafeCell<[u8; TEXT_SIZE]>,
}

// SAFETY: one thread at a time has the text: see `enter`.
unsafe impl Sync for Sentence {}

impl Sentence {
    pub(super) const fn new() -> Self {
        Self { inside: AtomicU32::new(FREE), text: UnsafeCell::new([0; TEXT_SIZE]) }
    }

    fn enter<R>(&self, body: impl FnOnce(&mut [u8; TEXT_SIZE]) -> R) -> R {
        let mine = process::generation().wrapping_add(1).max(1);
        let mut expected = FREE;
        while let Err(now) = self.inside.compare_exchange_weak(expected, mine, Ordering::Acquire, Ordering::Relaxed) {
            expected = if now == mine { FREE } else { now };
            if now == mine {
                std::thread::yield_now();
            }
        }
        // SAFETY: the exchange succeeded, so no other thread of this process is between here and the store below.
        let result = body(unsafe { &mut *self.text.get() });
        self.inside.store(FREE, Ordering::Release);
        result
    }

    /// Replaces the text by this one, which is shorter than [`TEXT_SIZE`].
    pub(super) fn set(&self, text: &[u8]) {
        self.enter(|held| {
            let length = text.len().min(TEXT_SIZE - 1);
            held[..length].copy_from_slice(&text[..length]);
            held[length] = 0;
        });
    }

    /// Copies the text with its terminating zero, cut at a character where the buffer is shorter. It has room for one byte
    /// or more.
    pub(super) fn copy(&self, buffer: &mut [u8]) {
        self.enter(|held| {
            let length = held.iter().position(|&byte| byte == 0).unwrap_or(TEXT_SIZE - 1);
            let mut end = length.min(buffer.len() - 1);
            // Bytes of this form go on with a character.
            while end < length && held[end] & 0xC0 == 0x80 {
                end -= 1;
            }
            buffer[..end].copy_from_slice(&held[..end]);
            buffer[end] = 0;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sentence: &Sentence, size: usize) -> String {
        let mut buffer = vec![b'?'; size];
        sentence.copy(&mut buffer);
        let end = buffer.iter().position(|&byte| byte == 0).expect("a terminating zero");
        String::from_utf8(buffer[..end].to_vec()).expect("whole characters")
    }

    #[test]
    fn a_short_buffer_gets_whole_characters() {
        let sentence = Sentence::new();
        assert_eq!(read(&sentence, 1), "");
        sentence.set("a\u{3c3}b".as_bytes());
        assert_eq!(
            [1, 2, 3, 4, 5, 9].map(|size| read(&sentence, size)),
            ["", "a", "a", "a\u{3c3}", "a\u{3c3}b", "a\u{3c3}b"]
        );
        sentence.set(&[b'x'; TEXT_SIZE + 5]);
        assert_eq!(read(&sentence, TEXT_SIZE), "x".repeat(TEXT_SIZE - 1));
        sentence.set(b"short");
        assert_eq!(read(&sentence, TEXT_SIZE), "short");
    }

    #[test]
    fn readers_see_one_sentence_or_another() {
        let sentence = Sentence::new();
        std::thread::scope(|scope| {
            for letter in [b'a', b'b'] {
                let sentence = &sentence;
                scope.spawn(move || (0..2000).for_each(|i| sentence.set(&vec![letter; 100 + i % 50])));
            }
            for _ in 0..2000 {
                let text = read(&sentence, TEXT_SIZE);
                assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]), "{text}");
            }
        });
    }

    #[test]
    fn a_thread_that_a_fork_left_inside_keeps_nobody_out() {
        let sentence = Sentence::new();
        sentence.inside.store(process::generation() + 2, Ordering::Relaxed);
        sentence.set(b"of the child");
        assert_eq!(read(&sentence, 50), "of the child");
    }
}
