// The generator's loss and its gradient: log-density of x_t under the mixture of the K Gaussian bridge marginals of its
// x0, forward and backward, streamed like the rows of an attention. Rows of a group (K consecutive ones) share x0 and
// their time.
//
// With sigma_j of axis j (axes.cuh), t_j its time at the group's (clock.cuh; time [rows][3]), m_k = x0 + t_j raw[k][j],
// s = std(raw[k][d + j]), c = t_j^2 s^2 + sigma_j^2 t_j (1 - t_j), r_j = sigma_j^2 t_j, and for samples i of the group
//   l_ik  = -1/2 sum_j [ (x_ij - m_kj)^2 / c_kj + log(c_kj / r_j) ],
//   log p_i = K / (K - n) log(mean over all k of exp l_ik)
//             - n / (K - n) log(mean over the n of i's own half of exp l_ik),
//   loss  = sum_i V_i + noise (log p_i - log w_i),         log w_i = -1/2 sum_j (x_ij - x0_j)^2 / r_j
// with halves k < K/2 and the rest (deterministic, or K = 1: not split, n = K and log p_i the first mean alone), and
// with shares a_ik = K / (K - n) exp(l_ik) / sum_k exp(l_ik) - [k in i's half] n / (K - n) exp(l_ik) / sum over it of
// exp(l_ik)
// the gradient by the raw outputs, through the samples x_i alone:
//   pull_i   = sum_k a_ik (x_i - m_k) / c_k,      gx_i = g_i + noise ((x_i - x0) / r - pull_i)
//   delta[r][j]     = scale t_j gx
//   delta[r][d + j] = scale t_j^2 s^2 (x - m) / c gx, 0 where log s is held at an end of its range
// and where deterministic through the components too, with push_k = sum_i a_ik (x_i - m_k) / c_k,
//   delta[r][j]     = scale t_j (gx + noise push),
// g is the gradient of V by x; where squares is not 0, V sees those of the first coordinates too, and s' g_s is added
// to it (squares.cuh), g_s in the columns of g from d + 1 on. With log_weight the components of a group are weighted by
// w_k = exp log_weight_k, K times a probability: l_ik then has + log_weight_k, halves are not split, row i counts w_i
// times in the loss and in delta, and row_losses[i] is its own loss. src/device/cpu/mixture.rs computes the same, and
// src/euot/generator_step.rs gives the reasons.
//
// Nothing of size K x K leaves the chip. A block is 16 x 16 threads, stages x, m and 1/c of 32 coordinates at a time in
// shared memory (coordinates along the rows there, an odd number of floats each, so that both the staging, coalesced
// along j, and the products are free of bank conflicts), holds l_ik in registers, Q x Q of them a thread, and the
// shares in shared memory.
//
// mixture_16, _32, _64   K up to that number, the group's shares at once. Grid: groups. Writes delta and
//                        losses[group] (double). Shared memory 9, 17 and 41 KiB.
// mixture_density        any K: max_k l_ik and the factors of exp(l_ik - max) of each row to density [rows], and
//                        losses[group tiles + tile].
// mixture_gradient       any K: delta, given density. Grid of both: (tiles, groups), tiles = K / 64 rounded up. l_ik is
//                        computed twice, three times where deterministic; delta takes the tiles' contributions one by
//                        one.
//
// A group costs K^2 d times 6 operations (3 forward, 3 backward; 6 where deterministic), K^2 exponentials, and 4 K d
// exponentials and logarithms of the components. Memory gives 20 bytes a row and coordinate (x_t, x0, raw, g) and takes
// 8 (delta); another 28, or 44 where d is above 32, are read again from the caches, and 4 with squares.
#include "mixture.cuh"

// A whole group of up to 16 Q rows.
template <u32 Q>
__device__ inline void whole_group(const Group& group, double* losses) {
    const Tables<Q> at = tables<Q>();
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    log_references<Q>(group, at, 0);
    float l[Q][Q];
    log_densities<Q>(group, at, 0, 0, l);
    const u32 half = half_of(group);
    double loss = 0.0;
#pragma unroll
    for (u32 a = 0; a < Q; ++a) {
        const u32 row = ty + SIDE * a;
        float top = l[a][0];
#pragma unroll
        for (u32 b = 1; b < Q; ++b) {
            top = larger(top, l[a][b]);
        }
        top = lanes_max<SIDE>(top);
        float low = 0.0f, high = 0.0f;
#pragma unroll
        for (u32 b = 0; b < Q; ++b) {
            l[a][b] = expf(l[a][b] - top);
            (tx + SIDE * b < half ? low : high) += l[a][b];
        }
        low = lanes_sum<SIDE>(low);
        high = lanes_sum<SIDE>(high);
        float log_p;
        const RowDensity density = row_density(group, row, top, low, high, log_p);
#pragma unroll
        for (u32 b = 0; b < Q; ++b) {
            const u32 component = tx + SIDE * b;
            at.share[component * PITCH<Q> + row] =
                row < group.components ? share_of(group, density, row, component, l[a][b]) : 0.0f;
        }
        if (tx == 0 && row < group.components) {
            loss += row_loss(group, row, log_p, at.reference[row]);
        }
    }
    // Its barriers also stand between the shares and their readers.
    loss = block_sum(loss);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = loss;
    }
    for (u32 first = 0; first < group.d; first += COLUMNS) {
        if (group.d > COLUMNS) {
            __syncthreads();
            stage<Q>(group, at, first, 0, 0);
            __syncthreads();
        }
        if (group.deterministic != 0) {
            backward<Q, true, true>(group, at, first, 0, group.components, true);
        } else {
            backward<Q, true, false>(group, at, first, 0, group.components, true);
        }
    }
}

#define MIXTURE_PARAMETERS                                                                                             \
    const float *x0, u32 x0_stride, const float *raw, u32 raw_stride, const float *time, u32 time_stride,              \
        const float *xt, u32 xt_stride, const float *v, u32 v_stride, const float *g, u32 g_stride, u32 squares,       \
        u32 components, u32 d, const float *axes, float noise, u32 deterministic, float scale,                         \
        const float *log_weight, float *row_losses, float *delta, u32 delta_stride

// Group `index` of the parameters above.
#define MIXTURE_GROUP(index)                                                                                           \
    group_of(index, x0, x0_stride, raw, raw_stride, time, time_stride, xt, xt_stride, v, v_stride, g, g_stride,        \
             squares, components, d, axes, noise, deterministic, scale, log_weight, row_losses, delta, delta_stride)

__device__ inline Group group_of(u32 index, MIXTURE_PARAMETERS) {
    const u64 row = (u64)index * components;
    Group group;
    group.x0 = x0 + row * x0_stride;
    group.raw = raw + row * raw_stride;
    group.xt = xt + row * xt_stride;
    group.v = v + row * v_stride;
    group.g = g + row * g_stride;
    group.log_weight = log_weight != nullptr ? log_weight + row : nullptr;
    group.loss = row_losses != nullptr ? row_losses + row : nullptr;
    group.delta = delta + row * delta_stride;
    group.x0_stride = x0_stride;
    group.raw_stride = raw_stride;
    group.xt_stride = xt_stride;
    group.v_stride = v_stride;
    group.g_stride = g_stride;
    group.delta_stride = delta_stride;
    group.d = d;
    group.squares = squares;
    group.components = components;
    group.deterministic = deterministic;
    group.against = tick_of(time + row * time_stride).against;
    group.noise = noise;
    group.scale = scale;
    group.axes = axes_of(axes, d);
    return group;
}

// Room for four blocks: by itself ptxas holds to 48 registers on some architectures and spills one.
extern "C" __global__ void __launch_bounds__(THREADS, 4) mixture_16(MIXTURE_PARAMETERS, double* losses) {
    whole_group<1>(MIXTURE_GROUP(blockIdx.x), losses);
}

// As mixture_16.
extern "C" __global__ void __launch_bounds__(THREADS, 4) mixture_32(MIXTURE_PARAMETERS, double* losses) {
    whole_group<2>(MIXTURE_GROUP(blockIdx.x), losses);
}

// Room for two blocks, as for mixture_gradient.
extern "C" __global__ void __launch_bounds__(THREADS, 2) mixture_64(MIXTURE_PARAMETERS, double* losses) {
    whole_group<4>(MIXTURE_GROUP(blockIdx.x), losses);
}

constexpr u32 TILE = 4 * SIDE;

// Room for three: by itself ptxas holds to 64 registers on some architectures and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 3)
mixture_density(MIXTURE_PARAMETERS, RowDensity* density, double* losses) {
    const Group group = MIXTURE_GROUP(blockIdx.y);
    const Tables<4> at = tables<4>();
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE, rows = blockIdx.x * TILE;
    float top[4], low[4], high[4];
#pragma unroll
    for (u32 a = 0; a < 4; ++a) {
        top[a] = -infinity();
        low[a] = high[a] = 0.0f;
    }
    const u32 half = half_of(group);
    log_references<4>(group, at, rows);
    for (u32 first_component = 0; first_component < components; first_component += TILE) {
        float l[4][4];
        log_densities<4>(group, at, rows, first_component, l);
#pragma unroll
        for (u32 a = 0; a < 4; ++a) {
            float most = larger(larger(l[a][0], l[a][1]), larger(l[a][2], l[a][3]));
            most = larger(top[a], lanes_max<SIDE>(most));
            float in_low = 0.0f, in_high = 0.0f;
#pragma unroll
            for (u32 b = 0; b < 4; ++b) {
                (first_component + tx + SIDE * b < half ? in_low : in_high) += expf(l[a][b] - most);
            }
            const float before = expf(top[a] - most);
            low[a] = low[a] * before + lanes_sum<SIDE>(in_low);
            high[a] = high[a] * before + lanes_sum<SIDE>(in_high);
            top[a] = most;
        }
    }
    double loss = 0.0;
#pragma unroll
    for (u32 a = 0; a < 4; ++a) {
        const u32 row = rows + ty + SIDE * a;
        if (tx == 0 && row < components) {
            float log_p;
            density[(u64)blockIdx.y * components + row] = row_density(group, row, top[a], low[a], high[a], log_p);
            loss += row_loss(group, row, log_p, at.reference[row - rows]);
        }
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) {
        losses[(u64)blockIdx.y * gridDim.x + blockIdx.x] = loss;
    }
}

// Shares of samples and components of two tiles, from l and the samples' sums.
__device__ inline void share_tile(const Group& group, const Tables<4>& at, const RowDensity* density,
                                  u32 samples, u32 first_component) {
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    float l[4][4];
    log_densities<4>(group, at, samples, first_component, l);
#pragma unroll
    for (u32 a = 0; a < 4; ++a) {
        const u32 sample = ty + SIDE * a;
        const bool there = samples + sample < group.components;
        const RowDensity row = there ? density[samples + sample] : RowDensity{0.0f, 0.0f, 0.0f};
#pragma unroll
        for (u32 b = 0; b < 4; ++b) {
            const u32 component = tx + SIDE * b;
            const float e = expf(l[a][b] - row.top);
            at.share[component * PITCH<4> + sample] =
                there ? share_of(group, row, samples + sample, first_component + component, e) : 0.0f;
        }
    }
}

// Room for two blocks: by itself ptxas holds to 64 registers on some architectures and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
mixture_gradient(MIXTURE_PARAMETERS, const RowDensity* density) {
    const Group group = MIXTURE_GROUP(blockIdx.y);
    const Tables<4> at = tables<4>();
    density += (u64)blockIdx.y * components;
    const u32 rows = blockIdx.x * TILE;
    for (u32 others = 0; others < components; others += TILE) {
        const u32 count = components - others < TILE ? components - others : TILE;
        share_tile(group, at, density, rows, others);
        for (u32 first = 0; first < d; first += COLUMNS) {
            __syncthreads();
            stage<4>(group, at, first, rows, others);
            __syncthreads();
            backward<4, true, false>(group, at, first, rows, count, others == 0);
        }
        if (deterministic == 0) {
            continue;
        }
        share_tile(group, at, density, others, rows);
        for (u32 first = 0; first < d; first += COLUMNS) {
            __syncthreads();
            stage<4>(group, at, first, others, rows);
            __syncthreads();
            backward<4, false, true>(group, at, first, rows, count, false);
        }
    }
}
