// Activations by themselves, where products do not carry them: networks whose layers form a graph (activation.cuh has
// the functions).
//
//   apply_silu, _tanh, _softplus                           to = f(a)
//   apply_linear_silu, _linear_tanh, _linear_softplus      to = f'(a) x: the tangent and the reverse rule
//   apply_adjoint_silu, _adjoint_tanh, _adjoint_softplus   to = f'(a) q + f''(a) tangent delta; q may be null
// The last two have to += where add is not 0. Matrices are rows x cols; to may be one of the others.
//
// Launch: one-dimensional, any number of blocks; a thread takes four neighbours after another where cols, strides and
// addresses allow it, else one. Every matrix is read or written once: 4 bytes a number, 8 for one that changes; about 20
// operations a number.
#include "activation.cuh"

template <u32 V>
struct Derivatives {
    Lanes<V> value, slope, curve;
};

template <class F, u32 V>
__device__ inline Derivatives<V> derivatives_at(const float* a) {
    const Lanes<V> from = take<V>(a);
    Derivatives<V> of;
#pragma unroll
    for (u32 i = 0; i < V; ++i) {
        F::at(from.x[i], of.value.x[i], of.slope.x[i], of.curve.x[i]);
    }
    return of;
}

// Calls body(row, col) for the first of every V numbers.
template <u32 V, class Body>
__device__ inline void each_lanes(u32 rows, u32 cols, const Body& body) {
    each_element(rows, cols / V, [&](u64 row, u32 part) { body((u32)row, V * part); });
}

template <u32 V>
__device__ inline void leave(float* to, const Lanes<V>& x, u32 add) {
    Lanes<V> sum = x;
    if (add != 0) {
        const Lanes<V> before = take<V>(to);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            sum.x[i] += before.x[i];
        }
    }
    put(to, sum);
}

template <class F, u32 V>
__device__ inline void apply(const float* a, u32 a_stride, float* to, u32 to_stride, u32 rows, u32 cols) {
    each_lanes<V>(rows, cols, [=](u32 row, u32 col) {
        put(row_of(to, to_stride, row) + col, derivatives_at<F, V>(row_of(a, a_stride, row) + col).value);
    });
}

template <class F, u32 V>
__device__ inline void apply_linear(const float* a, u32 a_stride, const float* x, u32 x_stride, float* to,
                                    u32 to_stride, u32 rows, u32 cols, u32 add) {
    each_lanes<V>(rows, cols, [=](u32 row, u32 col) {
        Lanes<V> sum = take<V>(row_of(x, x_stride, row) + col);
        const Derivatives<V> of = derivatives_at<F, V>(row_of(a, a_stride, row) + col);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            sum.x[i] *= of.slope.x[i];
        }
        leave(row_of(to, to_stride, row) + col, sum, add);
    });
}

template <class F, u32 V>
__device__ inline void apply_adjoint(const float* a, u32 a_stride, const float* tangent, u32 tangent_stride,
                                     const float* delta, u32 delta_stride, const float* q, u32 q_stride, float* to,
                                     u32 to_stride, u32 rows, u32 cols, u32 add) {
    each_lanes<V>(rows, cols, [=](u32 row, u32 col) {
        Lanes<V> sum = take<V>(row_of(tangent, tangent_stride, row) + col);
        const Lanes<V> by = take<V>(row_of(delta, delta_stride, row) + col);
        const Derivatives<V> of = derivatives_at<F, V>(row_of(a, a_stride, row) + col);
        const Lanes<V> own = q == nullptr ? Lanes<V>{} : take<V>(row_of(q, q_stride, row) + col);
#pragma unroll
        for (u32 i = 0; i < V; ++i) {
            sum.x[i] = of.slope.x[i] * own.x[i] + of.curve.x[i] * (sum.x[i] * by.x[i]);
        }
        leave(row_of(to, to_stride, row) + col, sum, add);
    });
}

// Room for four blocks: by itself ptxas holds some kernels to fewer registers and spills one.
#define APPLIED(name, F)                                                                                          \
    extern "C" __global__ void __launch_bounds__(256, 4)                                                          \
    name(const float* a, u32 a_stride, float* to, u32 to_stride, u32 rows, u32 cols) {                            \
        if (cols % 4 == 0 && vectorised(a, a_stride) && vectorised(to, to_stride)) {                              \
            apply<F, 4>(a, a_stride, to, to_stride, rows, cols);                                                  \
        } else {                                                                                                  \
            apply<F, 1>(a, a_stride, to, to_stride, rows, cols);                                                  \
        }                                                                                                         \
    }

#define APPLIED_LINEAR(name, F)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256, 4)                                                          \
    name(const float* a, u32 a_stride, const float* x, u32 x_stride, float* to, u32 to_stride, u32 rows,          \
         u32 cols, u32 add) {                                                                                     \
        if (cols % 4 == 0 && vectorised(a, a_stride) && vectorised(x, x_stride) && vectorised(to, to_stride)) {   \
            apply_linear<F, 4>(a, a_stride, x, x_stride, to, to_stride, rows, cols, add);                         \
        } else {                                                                                                  \
            apply_linear<F, 1>(a, a_stride, x, x_stride, to, to_stride, rows, cols, add);                         \
        }                                                                                                         \
    }

#define APPLIED_ADJOINT(name, F)                                                                                  \
    extern "C" __global__ void __launch_bounds__(256, 4)                                                          \
    name(const float* a, u32 a_stride, const float* tangent, u32 tangent_stride, const float* delta,              \
         u32 delta_stride, const float* q, u32 q_stride, float* to, u32 to_stride, u32 rows, u32 cols, u32 add) { \
        const bool whole = cols % 4 == 0 && vectorised(a, a_stride) && vectorised(tangent, tangent_stride) &&     \
                           vectorised(delta, delta_stride) && vectorised(q, q_stride) &&                          \
                           vectorised(to, to_stride);                                                             \
        if (whole) {                                                                                              \
            apply_adjoint<F, 4>(a, a_stride, tangent, tangent_stride, delta, delta_stride, q, q_stride, to,       \
                                to_stride, rows, cols, add);                                                      \
        } else {                                                                                                  \
            apply_adjoint<F, 1>(a, a_stride, tangent, tangent_stride, delta, delta_stride, q, q_stride, to,       \
                                to_stride, rows, cols, add);                                                      \
        }                                                                                                         \
    }

APPLIED(apply_silu, Silu)
APPLIED(apply_tanh, Tanh)
APPLIED(apply_softplus, Softplus)
APPLIED_LINEAR(apply_linear_silu, Silu)
APPLIED_LINEAR(apply_linear_tanh, Tanh)
APPLIED_LINEAR(apply_linear_softplus, Softplus)
APPLIED_ADJOINT(apply_adjoint_silu, Silu)
APPLIED_ADJOINT(apply_adjoint_tanh, Tanh)
APPLIED_ADJOINT(apply_adjoint_softplus, Softplus)
