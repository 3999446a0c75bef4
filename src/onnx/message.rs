//! Messages in the wire format of protocol buffers: fields of varints and of bytes with their length in front. What ONNX
//! needs of the format is this much.

use crate::error::Result;
use crate::memory;
use std::borrow::Cow;
use std::io::{self, Write};

/// Number of bytes that are handed on at once where numbers are turned to bytes. They lie on the stack.
const CHUNK: usize = 4096;

/// Kinds of fields on the wire.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;

/// A message without its length. Lists of numbers stay where they are until the message is written. Where memory is
/// refused, the message remembers that and takes no more.
#[derive(Default)]
pub(crate) struct Message<'a> {
    parts: Vec<Part<'a>>,
    length: u64,
    refused: bool,
}

enum Part<'a> {
    Bytes(Vec<u8>),
    Floats(Cow<'a, [f32]>),
}

impl<'a> Message<'a> {
    /// Returns how many bytes are written.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Returns the message.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`] where a part of it found no room.
    pub fn whole(self) -> Result<Self> {
        if self.refused { Err(memory::refused::<u8>("a graph", 0, self.length as usize)) } else { Ok(self) }
    }

    /// Adds a number; a negative one takes ten bytes, as the format says.
    pub fn number(&mut self, field: u64, value: i64) {
        self.tag(field, VARINT);
        self.varint(value as u64);
    }

    /// Adds bytes, or text.
    pub fn bytes(&mut self, field: u64, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.append(value);
    }

    /// Adds another message.
    pub fn message(&mut self, field: u64, value: Self) {
        self.tag(field, LENGTH);
        self.varint(value.length);
        self.refused |= value.refused;
        for part in value.parts {
            match part {
                Part::Bytes(bytes) => self.append(&bytes),
                Part::Floats(values) => self.list(values),
            }
        }
    }

    /// Adds numbers as little-endian bytes.
    pub fn floats(&mut self, field: u64, values: Cow<'a, [f32]>) {
        self.tag(field, LENGTH);
        self.varint(size_of_val::<[f32]>(&values) as u64);
        self.list(values);
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => to.write_all(bytes)?,
                Part::Floats(values) => {
                    for values in values.chunks(CHUNK / size_of::<f32>()) {
                        let bytes = &mut chunk[..size_of_val(values)];
                        for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                            *bytes = value.to_le_bytes();
                        }
                        to.write_all(bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            self.append(&[if value == 0 { low } else { low | 0x80 }]);
            if value == 0 {
                return;
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if !matches!(self.parts.last(), Some(Part::Bytes(_))) {
            self.push(Part::Bytes(Vec::new()));
        }
        if let Some(Part::Bytes(open)) = self.parts.last_mut()
            && !self.refused
        {
            match open.try_reserve(bytes.len()) {
                Ok(()) => open.extend_from_slice(bytes),
                Err(_) => self.refused = true,
            }
        }
    }

    fn list(&mut self, values: Cow<'a, [f32]>) {
        self.length += size_of_val::<[f32]>(&values) as u64;
        self.push(Part::Floats(values));
    }

    fn push(&mut self, part: Part<'a>) {
        match self.parts.try_reserve(1) {
            Ok(()) => self.parts.push(part),
            Err(_) => self.refused = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, message.len());
        bytes
    }

    /// The examples of the format's own description.
    #[test]
    fn fields_are_those_of_the_wire_format() {
        let mut message = Message::default();
        message.number(1, 150);
        assert_eq!(written(&message), [0x08, 0x96, 0x01]);
        let mut outer = Message::default();
        outer.message(3, message);
        outer.bytes(2, "testing");
        outer.number(1, -2);
        let expected = [
            &[0x1a, 0x03, 0x08, 0x96, 0x01][..],
            &[0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g'],
            &[0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ];
        assert_eq!(written(&outer), expected.concat());
    }

    #[test]
    fn numbers_inside_of_messages_count_in_every_length() {
        let values: Vec<f32> = (0..2000).map(|i| i as f32).collect();
        let mut inner = Message::default();
        inner.floats(9, Cow::Borrowed(&values));
        inner.number(2, 1);
        let mut outer = Message::default();
        outer.message(5, inner);
        outer.number(1, 7);
        let bytes = written(&outer);
        // A tag and a length of two bytes, twice, then the numbers and two fields of two bytes.
        assert_eq!(bytes.len(), 3 + 3 + 8000 + 2 + 2);
        assert_eq!(bytes[6..10], 0f32.to_le_bytes());
        assert_eq!(bytes[6 + 4 * 1999..][..4], 1999f32.to_le_bytes());
    }
}
