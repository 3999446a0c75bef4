//! What the embedded machine code holds: every kernel, with the parameters and bounds of those that tests run on the
//! host.

use super::embedded;
use crate::device::cuda::kernels::Kernel;
use crate::device::cuda::tests::host::{Signature, signature};
use crate::device::cuda::tests::simulator;
use object::{Object, ObjectSection};
use std::collections::BTreeMap;
use std::io::Read;

/// One of a fatbin.
struct Entry {
    machine_code: bool,
    architecture: u32,
    bytes: Vec<u8>,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

/// Entries of a fatbin, uncompressed: kind (1 PTX, 2 machine code) and sizes stand in a header before each. None where
/// they are packed as an nvcc before CUDA 13 does it.
fn entries(fatbin: &[u8]) -> Option<Vec<Entry>> {
    const ZSTD: usize = 0x8000;
    const LZ4: usize = 0x2000;
    let mut found = Vec::new();
    let mut rest = &fatbin[u16_at(fatbin, 6)..];
    while !rest.is_empty() {
        let (header, size, packed, flags) = (u32_at(rest, 4), u32_at(rest, 8), u32_at(rest, 16), u32_at(rest, 40));
        if flags & LZ4 != 0 {
            return None;
        }
        let mut bytes = rest[header..header + size].to_vec();
        if flags & ZSTD != 0 {
            bytes.clear();
            let mut reader = ruzstd::decoding::StreamingDecoder::new(&rest[header..header + packed]).unwrap();
            reader.read_to_end(&mut bytes).unwrap();
        }
        found.push(Entry { machine_code: u16_at(rest, 0) == 2, architecture: u32_at(rest, 28) as u32, bytes });
        rest = &rest[header + size..];
    }
    Some(found)
}

/// Kernels of an ELF file: a section of attributes tells each one's parameters and its bounds.
fn of_machine_code(bytes: &[u8]) -> BTreeMap<String, Signature> {
    const PARAMETER: u8 = 0x17;
    const MAX_THREADS: u8 = 0x05;
    const SIZED: u8 = 4;
    let file = object::File::parse(bytes).unwrap();
    let mut found = BTreeMap::new();
    for section in file.sections() {
        let Some(name) = section.name().unwrap().strip_prefix(".nv.info.") else { continue };
        let mut rest = section.data().unwrap();
        let mut kernel = Signature { parameters: Vec::new(), max_threads: 1024 };
        while !rest.is_empty() {
            let (form, attribute, size) = (rest[0], rest[1], u16_at(rest, 2));
            let value = &rest[4..];
            match (form, attribute) {
                // Its number is at 4, its offset at 6, its size above 18 bits of other things.
                (SIZED, PARAMETER) => {
                    kernel.parameters.push((u16_at(value, 4), u16_at(value, 6), u32_at(value, 8) >> 18));
                }
                (SIZED, MAX_THREADS) => kernel.max_threads = (0..3).map(|i| u32_at(value, 4 * i)).product(),
                _ => {}
            }
            rest = &value[if form == SIZED { size } else { 0 }..];
        }
        kernel.parameters.sort_unstable();
        found.insert(name.to_owned(), kernel);
    }
    found
}

/// Kernels of PTX, each as `.entry name(` with a line for each parameter, then `.maxntid x`.
fn of_ptx(text: &str) -> BTreeMap<String, Signature> {
    let mut found = BTreeMap::new();
    for part in text.split(".entry ").skip(1) {
        let (name, rest) = part.split_once('(').unwrap();
        let (parameters, rest) = rest.split_once(')').unwrap();
        let mut kernel = Signature { parameters: Vec::new(), max_threads: 1024 };
        let mut end: usize = 0;
        for (number, line) in parameters.split(".param ").skip(1).enumerate() {
            let bits = line.split_whitespace().next().unwrap().trim_start_matches(|c: char| !c.is_ascii_digit());
            let size = bits.parse::<usize>().unwrap_or_else(|_| panic!("{name}: {line}")) / 8;
            let offset = end.next_multiple_of(size);
            kernel.parameters.push((number, offset, size));
            end = offset + size;
        }
        let body = rest.split_once('{').unwrap().0;
        if let Some((_, bound)) = body.split_once(".maxntid ") {
            let bound = bound.lines().next().unwrap();
            kernel.max_threads = bound.split(',').map(|n| n.trim().parse::<usize>().unwrap()).product();
        }
        found.insert(name.trim().to_owned(), kernel);
    }
    found
}

#[test]
fn the_embedded_kernels_are_those_that_tests_run() {
    let Some(image) = embedded() else {
        assert!(std::env::var_os("CI").is_none(), "the library was built without nvcc; scripts/find-nvcc installs it");
        println!("skipped: this library was built without nvcc.");
        return;
    };
    // With a GPU it is these that tests run.
    if !simulator::simulated() {
        return;
    }
    let names: Vec<_> = Kernel::NAMES.iter().map(|name| name.to_str().unwrap()).collect();
    let Some(expected) = names.iter().map(|name| signature(name)).collect::<Option<Vec<_>>>() else { return };
    let Some(found) = entries(image) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "an nvcc before CUDA 13 has made the fatbin; this test reads what newer ones make"
        );
        println!("skipped: an nvcc before CUDA 13 has packed the kernels in a way that this test does not read.");
        return;
    };
    assert!(found.iter().any(|entry| entry.machine_code) && found.iter().any(|entry| !entry.machine_code));
    for Entry { machine_code, architecture, bytes } in &found {
        let kernels = if *machine_code {
            of_machine_code(bytes)
        } else {
            of_ptx(std::str::from_utf8(bytes).expect("PTX is text"))
        };
        for (name, expected) in names.iter().zip(&expected) {
            assert_eq!(kernels.get(*name), Some(expected), "{name} of architecture {architecture}");
        }
    }
}
