// The operations around the matrix products of cublasLt: bias, activation and its derivatives, the reverse rules, and
// the column sums that are the biases' gradients. Every kernel works in place on the result of a product. The products
// of product.cu do all this themselves.
//
//   activation_silu, _tanh, _softplus   h holds x W:  a = h + bias;  h = f(a), slope = f'(a), curve = f''(a)
//   bias_add                            h holds x W:  h += bias
//   activation_scale                    p holds delta W^T (backward) or x' W (tangent): curve *= p, then p *= slope
//   activation_adjoint                  p holds delta W^T:  p = slope p + curve
//   column_sums                         nothing but the sums
// slope and curve may be null where not wanted (slope of activation_scale and _adjoint and curve of _adjoint must be
// there; curve is not written without slope). Matrices are rows x cols.
//
// Where sums is not null, the last three also write the column sums of each tile of `chunk` rows to sums
// [gridDim.y][cols]: of p as it leaves, or of curve where sum_curve is not 0. column_sums_finish adds the tiles in
// their order into out [cols], on top of what is there where accumulate is not 0.
//
// Launch: block (x, y), x y <= 256 a multiple of 32; threads along x take neighbouring columns (four each where cols
// and all strides are multiples of four and all matrices lie on 16 bytes, else one), threads along y rows of the tile.
// Grid (any, rows / chunk rounded up): blocks along x share the columns. Every matrix named is read or written once: 4
// bytes an element each, 8 for one that changes; an activation with both derivatives takes about 20 operations.
// column_sums_finish: block (32, y), y <= 32, grid (cols / 32 rounded up).
#include "activation.cuh"

// Four floats of 256 threads.
__device__ inline float* tile_memory() {
    SHARED(float4, tile, 256);
    return reinterpret_cast<float*>(tile);
}

// Calls body(row, col) for the elements of this thread and then writes the tile's column sums of what it returns.
template <u32 V, class Body>
__device__ inline void tile_rows(u32 rows, u32 cols, u32 chunk, float* sums, const Body& body) {
    const u64 from = (u64)blockIdx.y * chunk, end = from + chunk;
    const u64 to = end < rows ? end : rows;
    for (u32 left = blockIdx.x * blockDim.x * V; left < cols; left += gridDim.x * blockDim.x * V) {
        const u32 col = left + threadIdx.x * V;
        Lanes<V> sum = {};
        if (col < cols) {
            for (u64 row = from + threadIdx.y; row < to; row += blockDim.y) {
                Lanes<V> x = body((u32)row, col);
#pragma unroll
                for (u32 i = 0; i < V; ++i) {
                    sum.x[i] += x.x[i];
                }
            }
        }
        if (sums == nullptr) {
            continue;
        }
        float* tile = tile_memory();
        // Whoever read the last columns' sums is done with them.
        __syncthreads();
        put(tile + (threadIdx.y * blockDim.x + threadIdx.x) * V, sum);
        __syncthreads();
        if (threadIdx.y == 0 && col < cols) {
            for (u32 y = 1; y < blockDim.y; ++y) {
                Lanes<V> x = take<V>(tile + (y * blockDim.x + threadIdx.x) * V);
#pragma unroll
                for (u32 i = 0; i < V; ++i) {
                    sum.x[i] += x.x[i];
                }
            }
            float* out = sums + (u64)blockIdx.y * cols + col;
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                out[i] = sum.x[i];
            }
        }
    }
}

template <class F, u32 V>
__device__ inline void activate(float* h, u32 h_stride, const float* bias, float* slope, u32 slope_stride, float* curve,
                                u32 curve_stride, u32 rows, u32 cols, u32 chunk) {
    tile_rows<V>(rows, cols, chunk, nullptr, [=](u32 row, u32 col) {
        float* at = row_of(h, h_stride, row) + col;
        Lanes<V> a = take<V>(at), b = take<V>(bias + col), f, first, second;
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            F::at(a.x[i] + b.x[i], f.x[i], first.x[i], second.x[i]);
        }
        put(at, f);
        if (slope != nullptr) {
            put(row_of(slope, slope_stride, row) + col, first);
            if (curve != nullptr) {
                put(row_of(curve, curve_stride, row) + col, second);
            }
        }
        return f;
    });
}

template <class F>
__device__ inline void activate_any(float* h, u32 h_stride, const float* bias, float* slope, u32 slope_stride,
                                    float* curve, u32 curve_stride, u32 rows, u32 cols, u32 chunk) {
    bool whole = cols % 4 == 0 && vectorised(h, h_stride) && vectorised(bias, 0) && vectorised(slope, slope_stride) &&
                 vectorised(curve, curve_stride);
    if (whole) {
        activate<F, 4>(h, h_stride, bias, slope, slope_stride, curve, curve_stride, rows, cols, chunk);
    } else {
        activate<F, 1>(h, h_stride, bias, slope, slope_stride, curve, curve_stride, rows, cols, chunk);
    }
}

// Room for four blocks: by itself ptxas holds some of these kernels to fewer registers and spills one.
extern "C" __global__ void __launch_bounds__(256, 4)
activation_silu(float* h, u32 h_stride, const float* bias, float* slope, u32 slope_stride, float* curve,
                u32 curve_stride, u32 rows, u32 cols, u32 chunk) {
    activate_any<Silu>(h, h_stride, bias, slope, slope_stride, curve, curve_stride, rows, cols, chunk);
}

extern "C" __global__ void __launch_bounds__(256, 4)
activation_tanh(float* h, u32 h_stride, const float* bias, float* slope, u32 slope_stride, float* curve,
                u32 curve_stride, u32 rows, u32 cols, u32 chunk) {
    activate_any<Tanh>(h, h_stride, bias, slope, slope_stride, curve, curve_stride, rows, cols, chunk);
}

extern "C" __global__ void __launch_bounds__(256, 4)
activation_softplus(float* h, u32 h_stride, const float* bias, float* slope, u32 slope_stride, float* curve,
                    u32 curve_stride, u32 rows, u32 cols, u32 chunk) {
    activate_any<Softplus>(h, h_stride, bias, slope, slope_stride, curve, curve_stride, rows, cols, chunk);
}

template <u32 V>
__device__ inline void add_bias(float* h, u32 h_stride, const float* bias, u32 rows, u32 cols, u32 chunk) {
    tile_rows<V>(rows, cols, chunk, nullptr, [=](u32 row, u32 col) {
        float* at = row_of(h, h_stride, row) + col;
        Lanes<V> a = take<V>(at), b = take<V>(bias + col);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            a.x[i] += b.x[i];
        }
        put(at, a);
        return a;
    });
}

extern "C" __global__ void __launch_bounds__(256)
bias_add(float* h, u32 h_stride, const float* bias, u32 rows, u32 cols, u32 chunk) {
    if (cols % 4 == 0 && vectorised(h, h_stride) && vectorised(bias, 0)) {
        add_bias<4>(h, h_stride, bias, rows, cols, chunk);
    } else {
        add_bias<1>(h, h_stride, bias, rows, cols, chunk);
    }
}

template <u32 V>
__device__ inline void scale_rows(float* p, u32 p_stride, const float* slope, u32 slope_stride, float* curve,
                                  u32 curve_stride, u32 rows, u32 cols, u32 chunk, float* sums, u32 sum_curve) {
    tile_rows<V>(rows, cols, chunk, sums, [=](u32 row, u32 col) {
        float* at = row_of(p, p_stride, row) + col;
        Lanes<V> x = take<V>(at), s = take<V>(row_of(slope, slope_stride, row) + col), c = {};
        if (curve != nullptr) {
            float* bend = row_of(curve, curve_stride, row) + col;
            c = take<V>(bend);
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                c.x[i] *= x.x[i];
            }
            put(bend, c);
        }
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            x.x[i] *= s.x[i];
        }
        put(at, x);
        return sum_curve != 0 ? c : x;
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
activation_scale(float* p, u32 p_stride, const float* slope, u32 slope_stride, float* curve, u32 curve_stride, u32 rows,
                 u32 cols, u32 chunk, float* sums, u32 sum_curve) {
    bool whole = cols % 4 == 0 && vectorised(p, p_stride) && vectorised(slope, slope_stride) &&
                 vectorised(curve, curve_stride);
    if (whole) {
        scale_rows<4>(p, p_stride, slope, slope_stride, curve, curve_stride, rows, cols, chunk, sums, sum_curve);
    } else {
        scale_rows<1>(p, p_stride, slope, slope_stride, curve, curve_stride, rows, cols, chunk, sums, sum_curve);
    }
}

template <u32 V>
__device__ inline void adjoin_rows(float* p, u32 p_stride, const float* slope, u32 slope_stride, const float* curve,
                                   u32 curve_stride, u32 rows, u32 cols, u32 chunk, float* sums) {
    tile_rows<V>(rows, cols, chunk, sums, [=](u32 row, u32 col) {
        float* at = row_of(p, p_stride, row) + col;
        Lanes<V> x = take<V>(at), s = take<V>(row_of(slope, slope_stride, row) + col);
        Lanes<V> c = take<V>(row_of(curve, curve_stride, row) + col);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            x.x[i] = s.x[i] * x.x[i] + c.x[i];
        }
        put(at, x);
        return x;
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
activation_adjoint(float* p, u32 p_stride, const float* slope, u32 slope_stride, const float* curve, u32 curve_stride,
                   u32 rows, u32 cols, u32 chunk, float* sums) {
    bool whole = cols % 4 == 0 && vectorised(p, p_stride) && vectorised(slope, slope_stride) &&
                 vectorised(curve, curve_stride);
    if (whole) {
        adjoin_rows<4>(p, p_stride, slope, slope_stride, curve, curve_stride, rows, cols, chunk, sums);
    } else {
        adjoin_rows<1>(p, p_stride, slope, slope_stride, curve, curve_stride, rows, cols, chunk, sums);
    }
}

extern "C" __global__ void __launch_bounds__(256)
column_sums(const float* x, u32 x_stride, u32 rows, u32 cols, u32 chunk, float* sums) {
    if (cols % 4 == 0 && vectorised(x, x_stride)) {
        tile_rows<4>(rows, cols, chunk, sums,
                     [=](u32 row, u32 col) { return take<4>(row_of(x, x_stride, row) + col); });
    } else {
        tile_rows<1>(rows, cols, chunk, sums,
                     [=](u32 row, u32 col) { return take<1>(row_of(x, x_stride, row) + col); });
    }
}

extern "C" __global__ void __launch_bounds__(1024)
column_sums_finish(const float* sums, u32 tiles, u32 cols, float* out, u32 accumulate) {
    SHARED(double, part, 1024);
    const u32 col = blockIdx.x * WARP + threadIdx.x;
    double sum = 0.0;
    if (col < cols) {
        for (u32 tile = threadIdx.y; tile < tiles; tile += blockDim.y) {
            sum += sums[(u64)tile * cols + col];
        }
    }
    part[threadIdx.y * WARP + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && col < cols) {
        for (u32 y = 1; y < blockDim.y; ++y) {
            sum += part[y * WARP + threadIdx.x];
        }
        out[col] = (float)(accumulate != 0 ? out[col] + sum : sum);
    }
}
