//! What the library keeps of cublasLt, and what becomes of it beside captures.

use super::simulator;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::graph::Graph;
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::product::{Operand, Product};
use crate::device::gpus::{CudaConfig, Products};
use std::sync::Arc;

/// A GPU with cublasLt, for a test of this name that is alone in its process.
fn opened(name: &str) -> Option<Arc<Gpu>> {
    if simulator::real_gpu() || simulator::folder().is_none() {
        return None;
    }
    let name = format!("device::cuda::tests::simulated::plans::{name}");
    if let Some(output) = simulator::in_child(&name, &[]) {
        assert!(output.status.success(), "{output:?}");
        return None;
    }
    simulator::load_with_compiler();
    let config = CudaConfig { products: Products::CublasLt, ..Default::default() };
    Some(Gpu::open(&config, &mut |_, _| ()).expect("the simulated GPU"))
}

/// `rows` times a 4 x 4 matrix, in memory for 2000 rows.
fn product(at: &DeviceBuffer<f32>, rows: usize) -> Product {
    let operand = |first: usize| Operand { address: at.address() + 4 * first as u64, stride: 4, transposed: false };
    let [a, b, c] = [operand(0), operand(8000), operand(8064)];
    Product { m: rows, n: 4, k: 4, a, b, c, accumulate: false }
}

#[test]
fn plans_stay_until_what_needs_them_is_captured() {
    let Some(gpu) = opened("plans_stay_until_what_needs_them_is_captured") else { return };
    let _entered = gpu.enter().unwrap();
    let at = DeviceBuffer::<f32>::new(&gpu, 16_064, "a test").unwrap();
    let many = |rows: std::ops::Range<usize>| {
        let _entered = gpu.enter().unwrap();
        rows.for_each(|rows| gpu.library.prepare(&gpu.account, &product(&at, rows)).unwrap());
    };
    let capture = || Graph::capture(&gpu, |stream, _| gpu.library.multiply(gpu.account(), stream, &product(&at, 1)));
    let held = gpu.hold_products();
    many(1..2);
    // Another thread's sessions, with ever other numbers of rows.
    std::thread::scope(|scope| {
        scope.spawn(|| many(2..1500));
    });
    capture().unwrap();
    drop(held);
    // Nobody needs them now: the next one clears them.
    many(1500..1501);
    let refused = capture().err().expect("a capture allows no search").to_string();
    assert!(refused.contains("cannot plan a product of 1 x 4 and 4 x 4"), "{refused}");
    many(1..2);
    capture().unwrap();
}

#[test]
fn a_product_without_an_algorithm_is_refused_with_a_sentence() {
    let Some(gpu) = opened("a_product_without_an_algorithm_is_refused_with_a_sentence") else { return };
    let _entered = gpu.enter().unwrap();
    let at = DeviceBuffer::<f32>::new(&gpu, 16_064, "a test").unwrap();
    simulator::fail_next(c"cublasLt finds nothing", 1);
    let refused = gpu.library.prepare(&gpu.account, &product(&at, 3)).unwrap_err().to_string();
    assert!(refused.contains("cannot plan a product of 3 x 4 and 4 x 4"), "{refused}");
    gpu.library.prepare(&gpu.account, &product(&at, 3)).unwrap();

    simulator::fail_next(c"cublasLt finds nothing", 1);
    let mut told = String::new();
    let other = Gpu::open(&CudaConfig::default(), &mut |_, text| told += text).unwrap();
    assert!(!other.library.is_there() && told.contains("cublasLt cannot be used"), "{told}");
}
