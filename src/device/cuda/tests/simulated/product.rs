//! cublasLt.

use super::*;
use cudarc::cublaslt::{result as lt, sys as types};
use proptest::prelude::*;
use types::cublasLtMatmulDescAttributes_t::*;
use types::cublasLtMatmulPreferenceAttributes_t::*;
use types::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_ORDER;

const FLOAT: types::cudaDataType = types::cudaDataType::CUDA_R_32F;
static WORKSPACE: usize = 1000;

/// A matrix in memory: extents, whether by rows, and unused elements behind each line.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    cols: usize,
    by_rows: bool,
    gap: usize,
}

impl Shape {
    fn stride(self) -> usize {
        self.gap + if self.by_rows { self.cols } else { self.rows }
    }

    fn len(self) -> usize {
        self.stride() * if self.by_rows { self.rows } else { self.cols }
    }

    fn at(self, row: usize, col: usize) -> usize {
        if self.by_rows { row * self.stride() + col } else { col * self.stride() + row }
    }

    fn layout(self) -> types::cublasLtMatrixLayout_t {
        let layout = lt::create_matrix_layout(FLOAT, self.rows as u64, self.cols as u64, self.stride() as i64).unwrap();
        let order = i32::from(self.by_rows);
        // SAFETY: the layout lives; the attribute is an int.
        unsafe {
            let attribute = CUBLASLT_MATRIX_LAYOUT_ORDER;
            lt::set_matrix_layout_attribute(layout, attribute, (&raw const order).cast(), 4).unwrap();
        }
        layout
    }
}

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut x = vec![0f32; count];
    Sequence::new(seed, 0, Stream::Init).normals(0, &mut x);
    x
}

/// op(A) op(B) into D, ready to be queued.
struct Product<'a> {
    gpu: &'a Gpu,
    handle: types::cublasLtHandle_t,
    operation: types::cublasLtMatmulDesc_t,
    preference: types::cublasLtMatmulPreference_t,
    layouts: [types::cublasLtMatrixLayout_t; 3],
    algorithm: types::cublasLtMatmulAlgo_t,
    matrices: [sys::CUdeviceptr; 3],
    workspace: sys::CUdeviceptr,
}

impl<'a> Product<'a> {
    fn new(gpu: &'a Gpu, shapes: [Shape; 3], transposed: [bool; 2]) -> Self {
        let mut seed = 0;
        let matrices = shapes.map(|shape| {
            seed += 1;
            gpu.upload(&values(seed, shape.len()))
        });
        // SAFETY: descriptors live until they are destroyed; attributes have the size of what is read.
        unsafe {
            let handle = lt::create_handle().unwrap();
            let operation = lt::create_matmul_desc(types::cublasComputeType_t::CUBLAS_COMPUTE_32F, FLOAT).unwrap();
            for (attribute, kind) in
                [CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB].into_iter().zip(transposed)
            {
                let kind = i32::from(kind);
                lt::set_matmul_desc_attribute(operation, attribute, (&raw const kind).cast(), 4).unwrap();
            }
            let preference = lt::create_matmul_pref().unwrap();
            let (attribute, most) = (CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE);
            lt::set_matmul_pref_attribute(preference, attribute, (&raw const most).cast(), 8).unwrap();
            let layouts = shapes.map(Shape::layout);
            let [a, b, d] = layouts;
            let found = lt::get_matmul_algo_heuristic(handle, operation, a, b, d, d, preference).unwrap();
            let workspace = gpu.alloc(WORKSPACE / 4);
            Self { gpu, handle, operation, preference, layouts, algorithm: found.algo, matrices, workspace }
        }
    }

    /// Queues alpha op(A) op(B) + beta D into D.
    fn queue(&self, alpha: f32, beta: f32, workspace: usize) -> Result<(), lt::CublasError> {
        let [a, b, d] = self.matrices.map(|at| at as *mut c_void);
        let [a_layout, b_layout, d_layout] = self.layouts;
        // SAFETY: the matrices are as large as their layouts say.
        unsafe {
            lt::matmul(
                self.handle,
                self.operation,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                a,
                a_layout,
                b,
                b_layout,
                d,
                d_layout,
                d,
                d_layout,
                &raw const self.algorithm,
                self.workspace as *mut c_void,
                workspace,
                self.gpu.stream.cast(),
            )
        }
    }
}

impl Drop for Product<'_> {
    fn drop(&mut self) {
        // SAFETY: each is destroyed once.
        unsafe {
            for layout in self.layouts {
                lt::destroy_matrix_layout(layout).unwrap();
            }
            lt::destroy_matmul_pref(self.preference).unwrap();
            lt::destroy_matmul_desc(self.operation).unwrap();
            lt::destroy_handle(self.handle).unwrap();
        }
    }
}

#[test]
fn misuse_is_refused() {
    let Some(gpu) = Gpu::new() else { return };
    let square = Shape { rows: 8, cols: 8, by_rows: false, gap: 0 };
    let mut product = Product::new(&gpu, [square; 3], [false; 2]);
    let invalid = types::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE;
    let mut refused = |change: &dyn Fn(&mut Product), workspace| {
        let (algorithm, matrices, place) = (product.algorithm, product.matrices, product.workspace);
        change(&mut product);
        assert_eq!(product.queue(1.0, 0.0, workspace).unwrap_err().0, invalid);
        (product.algorithm, product.matrices, product.workspace) = (algorithm, matrices, place);
    };
    refused(&|_| (), WORKSPACE - 1);
    refused(&|product| product.matrices[0] += 4, WORKSPACE);
    refused(&|product| product.matrices[1] += 256, WORKSPACE);
    refused(&|product| product.algorithm.data[0] ^= 1, WORKSPACE);
    refused(&|product| product.workspace += 256, WORKSPACE);
    product.queue(1.0, 0.0, WORKSPACE).unwrap();
    gpu.synchronise();
}

proptest! {
    #![proptest_config(super::super::support::cases(48))]

    #[test]
    fn products_are_those_of_a_plain_loop(
        m in 1usize..20, n in 1usize..20, k in 1usize..20, ta in any::<bool>(), tb in any::<bool>(),
        by_rows in any::<[bool; 3]>(), gaps in any::<[bool; 3]>(),
        beta in prop_oneof![Just(0f32), Just(1f32), Just(-0.5f32)],
    ) {
        let Some(gpu) = Gpu::new() else { return Ok(()) };
        let shape = |i: usize, rows, cols, transposed: bool| {
            let (rows, cols) = if transposed { (cols, rows) } else { (rows, cols) };
            Shape { rows, cols, by_rows: by_rows[i], gap: 3 * usize::from(gaps[i]) }
        };
        let [a, b, d] = [shape(0, m, k, ta), shape(1, k, n, tb), shape(2, m, n, false)];
        let product = Product::new(&gpu, [a, b, d], [ta, tb]);
        product.queue(2.0, beta, WORKSPACE).unwrap();
        let at = product.matrices[2];
        prop_assert_eq!(bits(&gpu.download(at, d.len())), bits(&values(3, d.len())), "it runs when waited for");
        gpu.synchronise();
        let found = gpu.download(at, d.len());
        let (x, y) = (values(1, a.len()), values(2, b.len()));
        let mut expected = values(3, d.len());
        for i in 0..m {
            for j in 0..n {
                let left = |p| f64::from(x[if ta { a.at(p, i) } else { a.at(i, p) }]);
                let right = |p| f64::from(y[if tb { b.at(j, p) } else { b.at(p, j) }]);
                let sum: f64 = (0..k).map(|p| left(p) * right(p)).sum();
                let out = &mut expected[d.at(i, j)];
                *out = (2.0 * sum + f64::from(beta) * f64::from(*out)) as f32;
            }
        }
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }
}
