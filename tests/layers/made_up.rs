//! The readers themselves, on small made-up sources.

use super::imports::Sources;
use super::{circles, launches, map};

const MAP: &str = "//! Text.\n//!\n//! ```text\n//! 1  ground: what all use\n//!    beside: more of it [uses ground]\n//! 2  top: the rest\n//! 3  lib: names\n//! ```\n";

/// Arrows as "file:line file".
fn arrows(texts: &[(&str, &str)]) -> Vec<String> {
    let sources = Sources::new(texts.iter().copied());
    let text = |arrow: super::Arrow| {
        format!("{}:{} {}", &sources.file(&arrow.from)[4..], arrow.line, &sources.file(&arrow.to)[4..])
    };
    sources.arrows().into_iter().map(text).collect()
}

/// What `text` as the module `a`, a file, uses of the files b.rs, c.rs, d/mod.rs, d/e.rs and a/f.rs, as "line file".
fn used(text: &str) -> Vec<String> {
    let others = [("lib.rs", ""), ("b.rs", ""), ("c.rs", ""), ("d/mod.rs", ""), ("d/e.rs", ""), ("a/f.rs", "")];
    let all: Vec<_> = others.into_iter().chain([("a.rs", text)]).collect();
    arrows(&all).into_iter().map(|arrow| arrow.strip_prefix("a.rs:").expect("the others are empty").into()).collect()
}

fn map_faults(texts: &[(&str, &str)]) -> Vec<String> {
    let sources = Sources::new(texts.iter().copied());
    map::faults(&map::read(MAP).expect("a map"), &sources, &sources.arrows())
}

fn circle_faults(texts: &[(&str, &str)]) -> Vec<String> {
    let sources = Sources::new(texts.iter().copied());
    circles::faults(&sources, &sources.arrows())
}

#[test]
fn uses_of_every_form_are_read() {
    assert_eq!(used("use crate::b::Thing;\nuse crate::c::*;\n"), ["1 b.rs", "2 c.rs"]);
    assert_eq!(used("use super::b;"), ["1 b.rs"]);
    assert_eq!(used("pub use f::Thing;\npub(crate) use self::f::Other;"), ["1 a/f.rs", "2 a/f.rs"]);
    assert_eq!(
        used("use crate::{\n    b::{X, y::Z},\n    d::{self, e::{P, Q}},\n};"),
        ["2 b.rs", "3 d/mod.rs", "3 d/e.rs"]
    );
    assert_eq!(used("use crate::b::X as Y;\nuse crate::{c as sea, d::e as _};"), ["1 b.rs", "2 c.rs", "2 d/e.rs"]);
    assert_eq!(used("use crate::d::e;\nuse crate::d::Thing;"), ["1 d/e.rs", "2 d/mod.rs"]);
    assert_eq!(used("use crate::Thing;"), ["1 lib.rs"]);
}

#[test]
fn paths_in_code_are_uses() {
    assert_eq!(used("fn x() -> crate::b::T { super::c::y(f::z::<u8>()) }"), ["1 b.rs", "1 c.rs", "1 a/f.rs"]);
    assert_eq!(used("macro_rules! m { () => { $crate::d::e::X } }"), ["1 d/e.rs"]);
    assert_eq!(used("fn x() { use crate::b::X; }"), ["1 b.rs"]);
    assert_eq!(used("\n#[serde(deserialize_with = \"crate::b::list\")]\nx: X,"), ["2 b.rs"]);
    assert_eq!(
        used("mod own {\n    use super::super::b;\n    use super::f;\n}\nuse super::c;"),
        ["2 b.rs", "3 a/f.rs", "5 c.rs"]
    );
}

#[test]
fn what_only_looks_like_a_use_is_none() {
    assert!(used("// use crate::b::X;\n/* use crate::b; /* nested */ crate::c::y() */").is_empty());
    assert!(used("const A: &str = \"use crate::b; \\\" crate::c::X\"; fn x() { y(\"crate::b::Z\") }").is_empty());
    assert!(used("const A: &str = r#\"crate::b::X \" crate::c\"#; const B: &[u8] = br\"crate::b::X\";").is_empty());
    assert_eq!(used("const A: char = '\"'; use crate::b; const B: char = '\\'';"), ["1 b.rs"]);
    assert_eq!(used("fn x<'a>(y: &'a str) -> &'a str { y }\nuse crate::b;"), ["2 b.rs"]);
    assert!(used("use std::fmt; use ::b::X; use half::f16; fn x() { other::b::y(); z.b::<u8>(); }").is_empty());
    assert!(used("pub(in crate::b) fn x() {} fn y() -> impl Iterator<Item = u8> + use<> { z() }").is_empty());
    assert!(used("use super::a::X; use self::Y; use crate::a::Z;").is_empty());
}

#[test]
fn code_of_tests_is_left_out() {
    assert!(used("#[cfg(test)]\nmod tests {\n    use crate::b;\n    fn x() { if y { crate::c::z() } }\n}").is_empty());
    assert!(used("#[cfg(test)]\n#[path = \"x\"]\nuse crate::{b, c::{X}};").is_empty());
    assert!(
        used("#[cfg(all(test, unix))]\npub(crate) fn x<A, B>(y: [u8; 3]) -> crate::b::T { crate::c::z() }").is_empty()
    );
    assert!(used("#![cfg(test)]\nuse crate::b;").is_empty());
    assert_eq!(used("#[cfg(test)]\nconst X: T = { crate::b::y() };\nuse crate::c;"), ["3 c.rs"]);
    assert_eq!(used("struct S { #[cfg(test)] x: crate::b::T, y: crate::c::T }"), ["1 c.rs"]);
    assert_eq!(used("#[cfg(not(test))]\nuse crate::b;\n#[cfg(unix)]\nuse crate::c;"), ["2 b.rs", "4 c.rs"]);
    let folders = [("a.rs", ""), ("b/mod.rs", ""), ("b/tests.rs", "use crate::a;"), ("b/tests/c.rs", "use crate::a;")];
    assert!(arrows(&folders).is_empty());
}

#[test]
fn a_forbidden_arrow_is_found() {
    let sound = [
        ("lib.rs", "pub use top::Thing;"),
        ("ground.rs", ""),
        ("beside.rs", "use crate::ground::X;"),
        ("top/mod.rs", "use crate::ground; use crate::beside;"),
        ("top/part.rs", "use super::other; use crate::ground;"),
        ("top/other.rs", ""),
    ];
    assert!(map_faults(&sound).is_empty());
    let with = |name: &'static str, text: &'static str| {
        let mut texts = sound.to_vec();
        texts.retain(|(other, _)| *other != name);
        texts.push((name, text));
        map_faults(&texts)
    };
    let upwards = with("ground.rs", "\nuse crate::top::part::X;");
    assert_eq!(upwards, ["src/ground.rs:2 uses src/top/part.rs: ground is of level 1 and top of level 2"]);
    let sideways = with("ground.rs", "use crate::beside;");
    assert_eq!(sideways, ["src/ground.rs:1 uses src/beside.rs: ground is of level 1 and beside of level 1"]);
    let of_root = with("top/part.rs", "use crate::Thing;");
    assert_eq!(of_root, ["src/top/part.rs:1 uses src/lib.rs: top is of level 2 and lib of level 3"]);
    assert_eq!(with("new.rs", ""), ["src/new.rs is not in the map of src/lib.rs"]);
    assert_eq!(with("beside.rs", ""), ["the map of src/lib.rs says that beside uses ground, which it does not"]);
}

#[test]
fn a_map_that_cannot_be_read_is_refused() {
    assert!(map::read("//! No map.").is_err());
    for line in ["ground: without a level", "1 ground", "1 2 3: x", "one ground: x", "2 ground: from 0 to 2"] {
        let text = format!("//! ```text\n//! {line}\n//! ```\n");
        let refusal = map::read(&text).expect_err(line);
        assert!(refusal.contains(line), "{refusal}");
    }
}

#[test]
fn circles_are_found() {
    assert!(circle_faults(&[("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "")]).is_empty());
    assert_eq!(
        circle_faults(&[("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "\nuse crate::a;")]),
        ["files use each other: src/a.rs:1 uses src/b.rs, src/b.rs:1 uses src/c.rs, src/c.rs:2 uses src/a.rs"]
    );
    let apart =
        [("a.rs", "use crate::b;"), ("b.rs", "use crate::a;"), ("c.rs", "use crate::d;"), ("d.rs", "use crate::c;")];
    assert_eq!(circle_faults(&apart).len(), 2);
}

#[test]
fn a_circle_by_way_of_a_name_that_is_passed_on_is_found() {
    let passed_on = [("m/mod.rs", "pub use a::A;\npub use b::B;"), ("m/a.rs", "use super::B;"), ("m/b.rs", "")];
    assert_eq!(
        circle_faults(&passed_on),
        ["files use each other: src/m/mod.rs:1 uses src/m/a.rs, src/m/a.rs:1 uses src/m/mod.rs"]
    );
    let direct = [("m/mod.rs", "pub use a::A;\npub use b::B;"), ("m/a.rs", "use super::b::B;"), ("m/b.rs", "")];
    assert!(circle_faults(&direct).is_empty());
}

#[test]
fn a_launch_outside_of_the_device_is_found() {
    let with = |name, text| launches(&Sources::new([("lib.rs", ""), ("device/cuda/kernels.rs", ""), (name, text)]));
    let text = "use crate::device::cuda::kernels::Dual;\nfn x() { block.launch_over(3, &Dual { y }); }";
    assert!(with("device/cuda/method.rs", text).is_empty());
    let found = with("model/session.rs", text);
    assert_eq!(
        found,
        ["src/model/session.rs:1 uses src/device/cuda/kernels.rs", "src/model/session.rs:2 calls launch_over"]
    );
    assert!(with("train/engine.rs", "fn x() { self.graphs[0].launch()?; }").is_empty());
}
