//! Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011).
//!
//! A number is a pure function of (seed, step, stream, element): nothing is carried along, so any thread or device
//! draws any part of a batch in any order and a resumed run continues bit for bit. Element `e` is word `e % 4` of
//! block `e / 4`. Every operation below is an integer operation or a correctly rounded float operation (`mul_add` is
//! one rounding), so that all processors and the CUDA kernels agree on every bit.

/// The purpose of a random number. Each purpose has a stream of its own, so no two share noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Initial weights; the step is the network (0 value, 1 generator) and layer.
    Init = 0,
    /// Which source rows enter a batch.
    SourceIndex = 1,
    /// Which target rows enter a batch.
    TargetIndex = 2,
    /// Latents z.
    Latent = 3,
    /// Endpoint noise xi.
    Endpoint = 4,
    /// Bridge noise eta.
    Bridge = 5,
    /// Bridge times t.
    Time = 6,
    /// The choice among a source sample's components.
    Component = 7,
    /// How pictures of the source are changed.
    SourceChange = 8,
    /// How pictures of the target are changed.
    TargetChange = 9,
}

/// The largest number of steps of a training. Each step takes two of the 2^56 step numbers of a sequence, and 64-bit
/// floats count this far exactly.
pub(crate) const MAX_STEPS: u64 = 1 << 53;

/// A sequence of random numbers, whose elements are numbered from zero.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    key: [u32; 2],
    step: [u32; 2],
}

const LANES: usize = 16;

impl Sequence {
    /// Returns the sequence of `stream` at `step` (below 2^56) under `seed`.
    pub fn new(seed: u64, step: u64, stream: Stream) -> Self {
        let high = (step >> 32) as u32 & 0x00ff_ffff;
        Self { key: [seed as u32, (seed >> 32) as u32], step: [step as u32, high | (stream as u32) << 24] }
    }

    /// Returns the four words of block `block`.
    pub fn block(&self, block: u64) -> [u32; 4] {
        philox([block as u32, (block >> 32) as u32, self.step[0], self.step[1]], self.key)
    }

    /// Returns one word.
    pub fn word(&self, element: u64) -> u32 {
        self.block(element / 4)[(element % 4) as usize]
    }

    /// Fills `out` with uniform numbers in (0, 1], elements `first..first + out.len()`.
    pub fn uniforms(&self, first: u64, out: &mut [f32]) {
        for (i, u) in out.iter_mut().enumerate() {
            *u = unit(self.word(first.wrapping_add(i as u64)));
        }
    }

    /// Fills `out` with standard normal numbers, elements `first..first + out.len()`.
    pub fn normals(&self, first: u64, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                // SAFETY: the features were found on this processor.
                return unsafe {
                    if has!("avx512f") { normals_avx512(self, first, out) } else { normals_avx2(self, first, out) }
                };
            }
        }
        normals(self, first, out);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn normals_avx512(sequence: &Sequence, first: u64, out: &mut [f32]) {
    normals(sequence, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn normals_avx2(sequence: &Sequence, first: u64, out: &mut [f32]) {
    normals(sequence, first, out);
}

/// Computes sixteen blocks at a time, word by word, so that the compiler turns each line into vector instructions.
#[inline(always)]
fn normals(sequence: &Sequence, first: u64, out: &mut [f32]) {
    let skip = (first % 4) as usize;
    let mut block = first / 4;
    let mut done = 0;
    while done < out.len() {
        let mut word = [[0u32; LANES]; 4];
        for lane in 0..LANES {
            let b = block.wrapping_add(lane as u64);
            word[0][lane] = b as u32;
            word[1][lane] = (b >> 32) as u32;
            word[2][lane] = sequence.step[0];
            word[3][lane] = sequence.step[1];
        }
        philox_lanes(&mut word, sequence.key);
        let mut normal = [[0f32; 4]; LANES];
        for lane in 0..LANES {
            let (a, b) = box_muller(word[0][lane], word[1][lane]);
            let (c, d) = box_muller(word[2][lane], word[3][lane]);
            normal[lane] = [a, b, c, d];
        }
        let from = if done == 0 { skip } else { 0 };
        let flat = &normal.as_flattened()[from..];
        let n = flat.len().min(out.len() - done);
        out[done..done + n].copy_from_slice(&flat[..n]);
        done += n;
        block = block.wrapping_add(LANES as u64);
    }
}

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut word = counter.map(|c| [c; 1]);
    philox_lanes(&mut word, key);
    word.map(|w| w[0])
}

#[inline(always)]
fn philox_lanes<const N: usize>(word: &mut [[u32; N]; 4], mut key: [u32; 2]) {
    for _ in 0..10 {
        for lane in 0..N {
            let p0 = u64::from(MULTIPLIER[0]) * u64::from(word[0][lane]);
            let p1 = u64::from(MULTIPLIER[1]) * u64::from(word[2][lane]);
            let (w1, w3) = (word[1][lane], word[3][lane]);
            word[0][lane] = (p1 >> 32) as u32 ^ w1 ^ key[0];
            word[1][lane] = p1 as u32;
            word[2][lane] = (p0 >> 32) as u32 ^ w3 ^ key[1];
            word[3][lane] = p0 as u32;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
}

/// Returns a word as a number in (0, 1].
#[inline(always)]
pub(crate) fn unit(word: u32) -> f32 {
    (word as f32).mul_add(1.0 / 4_294_967_296.0, 0.5 / 4_294_967_296.0)
}

/// Returns two independent standard normals from two words (Box and Muller, 1958).
#[inline(always)]
fn box_muller(a: u32, b: u32) -> (f32, f32) {
    let radius = (-2.0 * ln_unit(unit(a))).sqrt();
    let (sin, cos) = sincos_half_turns(b as i32 as f32 * (1.0 / 2_147_483_648.0));
    (radius * cos, radius * sin)
}

/// ln x for x in (0, 1], about one unit in the last place: x = 2^k m with m in [sqrt(1/2), sqrt 2), then the odd
/// series of ln((1 + s)/(1 - s)), s = (m - 1)/(m + 1).
#[inline(always)]
fn ln_unit(x: f32) -> f32 {
    let bits = x.to_bits();
    let k = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((k << 23) as u32));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let p = s2.mul_add(2.0 / 9.0, 2.0 / 7.0);
    let p = s2.mul_add(p, 2.0 / 5.0);
    let p = s2.mul_add(p, 2.0 / 3.0);
    let p = (s2 * s).mul_add(p, 2.0 * s);
    (k as f32).mul_add(std::f32::consts::LN_2, p)
}

/// sin(pi x) and cos(pi x) for x in [-1, 1]: reduce to a quarter turn, then Taylor polynomials, whose truncation is
/// below a rounding there.
#[inline(always)]
fn sincos_half_turns(x: f32) -> (f32, f32) {
    // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, in every vector unit.
    const ROUND: f32 = 12_582_912.0;
    let quadrant = x.mul_add(2.0, ROUND) - ROUND;
    let r = quadrant.mul_add(-0.5, x) * std::f32::consts::PI;
    let r2 = r * r;
    let s = r2.mul_add(1.0 / 362_880.0, -1.0 / 5_040.0);
    let s = r2.mul_add(s, 1.0 / 120.0);
    let s = r2.mul_add(s, -1.0 / 6.0);
    let s = (r2 * r).mul_add(s, r);
    let c = r2.mul_add(1.0 / 40_320.0, -1.0 / 720.0);
    let c = r2.mul_add(c, 1.0 / 24.0);
    let c = r2.mul_add(c, -0.5);
    let c = r2.mul_add(c, 1.0);
    let q = quadrant as i32;
    let (s, c) = if q & 1 == 0 { (s, c) } else { (c, s) };
    let sin_sign = ((q & 2) as u32) << 30;
    let cos_sign = ((q.wrapping_add(1) & 2) as u32) << 30;
    (f32::from_bits(s.to_bits() ^ sin_sign), f32::from_bits(c.to_bits() ^ cos_sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox 4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    /// Vectors of any kind, any cut, one element at a time: always the same bits.
    #[test]
    fn normals_do_not_depend_on_how_they_are_drawn() {
        let sequence = Sequence::new(0x1234_5678_9abc_def0, (1 << 40) + 7, Stream::Bridge);
        let mut whole = vec![0f32; 1000];
        sequence.normals(0, &mut whole);
        let mut plain = vec![0f32; 1000];
        normals(&sequence, 0, &mut plain);
        assert_eq!(whole, plain);
        for (first, len) in [(0, 1), (1, 3), (3, 130), (4, 64), (517, 483)] {
            let mut part = vec![0f32; len];
            sequence.normals(first as u64, &mut part);
            assert_eq!(part, whole[first..first + len]);
        }
    }

    #[test]
    fn normals_follow_the_definition_and_its_moments() {
        let sequence = Sequence::new(5, 3, Stream::Latent);
        let n = 400_000;
        let mut x = vec![0f32; n];
        sequence.normals(0, &mut x);
        for e in (0..n as u64).step_by(997) {
            let [a, b, c, d] = sequence.block(e / 4);
            let (u, v) = if e % 4 < 2 { (a, b) } else { (c, d) };
            let u = (f64::from(u) + 0.5) / 4_294_967_296.0;
            let angle = std::f64::consts::PI * f64::from(v as i32) / 2_147_483_648.0;
            let radius = (-2.0 * u.ln()).sqrt();
            let exact = radius * if e % 2 == 0 { angle.cos() } else { angle.sin() };
            assert!((f64::from(x[e as usize]) - exact).abs() < 2e-6 * (1.0 + radius), "{} {exact}", x[e as usize]);
        }
        let moment = |p: i32| x.iter().map(|&v| f64::from(v).powi(p)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.006 && (moment(2) - 1.0).abs() < 0.009);
        assert!(moment(3).abs() < 0.025 && (moment(4) - 3.0).abs() < 0.07);
    }

    #[test]
    fn streams_and_steps_differ() {
        let word = |seed, step, stream| Sequence::new(seed, step, stream).word(0);
        let base = word(1, 1, Stream::Time);
        assert_ne!(base, word(2, 1, Stream::Time));
        assert_ne!(base, word(1, 2, Stream::Time));
        assert_ne!(base, word(1, 1, Stream::Latent));
    }
}
