//! What the build makes of the heads of kernels: who adds a kernel to cuda/ finds it in Rust, or is told what is wrong.

#[path = "../../../../cuda/build/arguments.rs"]
mod arguments;

use super::simulator::build::signatures::{self, Kernel, Parameter, read};

/// Names and types of a kernel's parameters, those of a macro behind its name.
fn described(kernel: &Kernel) -> Vec<String> {
    let of = |parameter: &Parameter| match parameter {
        Parameter::One(value) => vec![format!("{} {:?} `{}`", value.name, value.kind, value.declared)],
        Parameter::Shared(shared) => {
            shared.values.iter().map(|value| format!("{}.{} {:?}", shared.name, value.name, value.kind)).collect()
        }
    };
    kernel.parameters.iter().flat_map(of).collect()
}

fn one(text: &str) -> Kernel {
    let mut kernels = read(text).unwrap();
    assert_eq!(kernels.len(), 1);
    kernels.remove(0)
}

#[test]
fn a_new_kernel_is_found_with_its_parameters() {
    let kernel = one(r#"#line 1 "shift.cu"
// extern "C" __global__ void commented(float* x) {}
#include "device.cuh"
#pragma once
/* extern "C" __global__
   void commented_too(float* x) {} */
extern "C" __global__ void __launch_bounds__(TILE * (2 + 1), 4)
shift_rows(const float* __restrict__ x, // the rows, strided
           u32 x_stride,
           /* how many, at most */ const u32 rows, u64 first,
           float by, double scale,
           Plan *plan) {
    call("//", x);
}
"#);
    assert_eq!((kernel.name.as_str(), kernel.file.as_str()), ("shift_rows", "shift.cu"));
    assert_eq!(kernel.threads, "TILE*(2+1)");
    assert_eq!(
        described(&kernel),
        [
            "x Address `const float* __restrict__`",
            "x_stride U32 `u32`",
            "rows U32 `const u32`",
            "first U64 `u64`",
            "by F32 `float`",
            "scale F64 `double`",
            "plan Address `Plan*`",
        ]
    );
    let rust = arguments::write(&[kernel]);
    for part in [
        "ShiftRows,",
        "c\"shift_rows\",",
        "pub(crate) struct ShiftRows {",
        "pub x: u64,",
        "pub x_stride: u32,",
        "pub by: f32,",
        "pub scale: f64,",
        "MOST_ARGUMENTS: usize = 7;",
        "impl ArgumentsOfOne for ShiftRows {}",
    ] {
        assert!(rust.contains(part), "{part} is not in\n{rust}");
    }
}

#[test]
fn a_kernel_may_take_nothing() {
    assert!(one("extern \"C\" __global__ void __launch_bounds__(32) nothing() {}").parameters.is_empty());
}

#[test]
fn parameters_of_a_macro_are_a_struct_that_kernels_share() {
    let text = r#"#line 7 "draw.cu"
#define DRAW_PARAMETERS        \
    const u32 *table, u32 count, \
        double rate
extern "C" __global__ void __launch_bounds__(64) draw_more(DRAW_PARAMETERS, float* to) {}
extern "C" __global__ void __launch_bounds__(64) draw_first(float* to, DRAW_PARAMETERS) {}
"#;
    let kernels = read(text).unwrap();
    assert_eq!(kernels.iter().map(|kernel| kernel.name.as_str()).collect::<Vec<_>>(), ["draw_first", "draw_more"]);
    let shared = ["draw.table Address", "draw.count U32", "draw.rate F64"];
    assert_eq!(described(&kernels[0])[1..], shared);
    assert_eq!(described(&kernels[1])[..3], shared);
    let rust = arguments::write(&kernels);
    assert_eq!(rust.matches("pub(crate) struct DrawParameters {").count(), 1);
    assert_eq!(rust.matches("pub draw: DrawParameters,").count(), 2);
    let order = ["self.draw.rate", "self.to"].map(|of| rust.rfind(of).unwrap());
    assert!(order[0] < order[1], "the arguments are in the order of the parameters");
}

#[test]
fn kernels_that_macros_make_are_found_where_the_macros_are_used() {
    let text = r#"#line 1 "pairs.cu"
#define PAIR(name, parameters, ...)                                     \
    extern "C" __global__ void __launch_bounds__(256) name parameters { \
        using T = Narrow;                                               \
        __VA_ARGS__;                                                    \
    }                                                                   \
    extern "C" __global__ void __launch_bounds__(Wide::THREADS) name##_wide parameters { __VA_ARGS__; }
#define SQUASHED(name, F) PAIR(name, (float* x, u32 n), squash<F>(x, n))
PAIR(add, (float* x, u32 n,
           float by), add_all<1, 2>(x, n), again(x))
SQUASHED(tanh, Tanh)
"#;
    let kernels = read(text).unwrap();
    let found: Vec<_> = kernels.iter().map(|kernel| (kernel.name.as_str(), kernel.threads.as_str())).collect();
    assert_eq!(found, [("add", "256"), ("add_wide", "Wide::THREADS"), ("tanh", "256"), ("tanh_wide", "Wide::THREADS")]);
    assert_eq!(described(&kernels[1]), ["x Address `float*`", "n U32 `u32`", "by F32 `float`"]);
    // One struct for each pair, which is launched by the kernel's name.
    let rust = arguments::write(&kernels);
    assert_eq!(rust.matches("pub(crate) struct").count(), 2);
    assert!(rust.contains("&[Kernel::Tanh, Kernel::TanhWide]") && !rust.contains("impl ArgumentsOfOne"));
}

#[test]
fn what_is_not_understood_is_said_with_its_place() {
    let kernel = |parameters: &str| {
        format!("#line 41 \"odd.cu\"\n\nextern \"C\" __global__ void __launch_bounds__(32)\nodd({parameters}) {{}}\n")
    };
    for (text, sentence) in [
        (
            kernel("u32 n,\n    half x"),
            "cuda/odd.cu:44: the parameter x of odd has the type `half`; a kernel takes u32, u64, float, double and pointers",
        ),
        (kernel("const Plan& plan"), "cuda/odd.cu:43: the parameter plan of odd has the type `const Plan&`"),
        (kernel("float** x"), "has the type `float**`"),
        (kernel("const float*, u32 n"), "cuda/odd.cu:43: the parameter `const float*` of odd has no name"),
        (kernel("u32 n,, u32 m"), "cuda/odd.cu:43: odd has an empty parameter between two commas"),
        (kernel("ODD_PARAMETERS"), "cuda/odd.cu:43: the parameter `ODD_PARAMETERS` of odd has no name"),
        (
            "#line 5 \"odd.cu\"\n__global__ void odd(u32 n) {}".into(),
            "cuda/odd.cu:5: a kernel begins with `extern \"C\"",
        ),
        ("#line 5 \"odd.cu\"\nextern \"C\" __global__ void odd(u32 n) {}".into(), "cuda/odd.cu:5: this is not `extern"),
        (
            "#line 5 \"odd.cu\"\n#define PAIR(a, b) extern \"C\" __global__ void a b\nPAIR(x)".into(),
            "cuda/odd.cu:6: PAIR takes 2 arguments and is given 1",
        ),
    ] {
        let said = read(&text).unwrap_err();
        assert!(said.contains(sentence), "{said}");
    }
}
