// The generator's loss and its gradient: log-density of x_t under the mixture of the K Gaussian bridge marginals of its
// x0, forward and backward, streamed like the rows of an attention. Rows of a group (K consecutive ones) share x0 and t.
//
// With m_k = x0 + t raw[k][j], s = std(raw[k][d + j]), c = t^2 s^2 + sigma^2 t (1 - t), and for samples i of the group
//   l_ik  = -1/2 sum_j [ (x_ij - m_kj)^2 / c_kj + log(c_kj / (sigma^2 t)) ],     log p_i = logsumexp_k l_ik - log K
//   loss  = sum_i V_i + sigma^2 (log p_i - log w_i),       log w_i = -1/2 sum_j (x_ij - x0_j)^2 / (sigma^2 t)
// and with shares a_ik = exp(l_ik) / sum_k exp(l_ik) the gradient by the raw outputs, through samples and components:
//   pull_i   = sum_k a_ik (x_i - m_k) / c_k,      gx_i = g_i - sigma^2 pull_i + (x_i - x0) / t
//   mean_k   = sum_i a_ik (x_i - m_k) / c_k,      widen_k = 1/2 sum_i a_ik ((x_i - m_k)^2 / c_k^2 - 1 / c_k)
//   delta[r][j]     = scale t (gx + sigma^2 mean)
//   delta[r][d + j] = scale s (t xi gx + 2 sigma^2 t^2 s widen), 0 where log s is held at an end of its range
// all as in src/device/cpu/mixture.rs. xi [rows][d] is read only where there is a standard deviation.
//
// Nothing of size K x K leaves the chip. A block is 16 x 16 threads, stages x, m and 1/c of 32 coordinates at a time in
// shared memory (coordinates along the rows there, an odd number of floats each, so that both the staging, coalesced
// along j, and the products are free of bank conflicts), holds l_ik in registers, Q x Q of them a thread, and the shares
// in shared memory.
//
// mixture_16, _32, _64   K up to that number, the group's shares at once. Grid: groups. Writes delta and
//                        losses[group] (double). Shared memory 9, 17 and 41 KiB.
// mixture_density        any K: max_k l_ik and 1 / sum_k exp(l_ik - max) of each row to density [rows], and
//                        losses[group tiles + tile].
// mixture_gradient       any K: delta, given density. Grid of both: (tiles, groups), tiles = K / 64 rounded up. l_ik is
//                        computed three times instead of once; delta takes the tiles' contributions one by one.
//
// A group costs K^2 d times 11 operations (3 forward, 8 backward), K^2 exponentials, and 3 K d exponentials and
// logarithms of the components. Memory gives 24 bytes a row and coordinate (x_t, x0, raw, g, xi) and takes 8 (delta);
// another 24, or 40 where d is above 32, are read again from the caches.
#include "device.cuh"

constexpr u32 SIDE = 16, THREADS = SIDE * SIDE, COLUMNS = 32, EACH = COLUMNS / SIDE;

// One group's matrices, from its first row.
struct Group {
    const float *x0, *raw, *xi, *xt, *v, *g;
    float* delta;
    u32 x0_stride, raw_stride, xi_stride, xt_stride, v_stride, g_stride, delta_stride;
    u32 d, latents;
    float t, sigma2, brown, reference, scale;
    Head head;
};

// Floats between the table rows of neighbouring coordinates.
template <u32 Q>
constexpr u32 PITCH = SIDE * Q + 1;

template <u32 Q>
struct Tables {
    float *x, *mean, *inverse, *share, *line;
};

template <u32 Q>
__device__ inline Tables<Q> tables() {
    constexpr u32 size = COLUMNS * PITCH<Q>;
    SHARED(float, staged, 3 * size);
    // Shares, and before there are any the logarithms of the variances.
    SHARED(float, share, (SIDE * Q > COLUMNS ? SIDE * Q : COLUMNS) * PITCH<Q>);
    SHARED(float, line, SIDE * Q);
    return {staged, staged + size, staged + 2 * size, share, line};
}

__device__ inline float std_of(const Group& group, u32 row, u32 col, bool& inside) {
    inside = false;
    if (group.head.deterministic != 0) {
        return 0.0f;
    }
    return head_std(group.head, row_of(group.raw, group.raw_stride, row)[group.d + col], inside);
}

// t^2 s^2 + sigma^2 t (1 - t). Two roundings, here and for the mean, as on the CPU: samples lie so close to their own
// component that what is rounded differently shows.
__device__ inline float variance_of(const Group& group, u32 component, u32 col) {
    bool inside;
    const float ts = group.t * std_of(group, component, col, inside);
    return __fadd_rn(__fmul_rn(ts, ts), group.brown);
}

// Sums of log(variance / (sigma^2 t)) of SIDE Q components into the line, in the order of the coordinates; the shares'
// place is in use until the last barrier.
template <u32 Q>
__device__ inline void log_variances(const Group& group, const Tables<Q>& at, u32 components) {
    float sum = 0.0f;
    for (u32 first = 0; first < group.d; first += COLUMNS) {
        __syncthreads();
        for (u32 i = threadIdx.x; i < COLUMNS * SIDE * Q; i += THREADS) {
            const u32 j = i % COLUMNS, r = i / COLUMNS, col = first + j, k = components + r;
            const bool there = col < group.d && k < group.latents;
            at.share[j * PITCH<Q> + r] = there ? logf(variance_of(group, k, col) / group.reference) : 0.0f;
        }
        __syncthreads();
        if (threadIdx.x < SIDE * Q) {
            const u32 cols = group.d - first < COLUMNS ? group.d - first : COLUMNS;
            for (u32 j = 0; j < cols; ++j) {
                sum += at.share[j * PITCH<Q> + threadIdx.x];
            }
        }
    }
    if (threadIdx.x < SIDE * Q) {
        at.line[threadIdx.x] = sum;
    }
    __syncthreads();
}

// Stages coordinates first.. of SIDE Q samples and as many components; zeros beyond either's end.
template <u32 Q>
__device__ inline void stage(const Group& group, const Tables<Q>& at, u32 first, u32 samples, u32 components) {
    for (u32 i = threadIdx.x; i < COLUMNS * SIDE * Q; i += THREADS) {
        const u32 j = i % COLUMNS, r = i / COLUMNS, col = first + j, place = j * PITCH<Q> + r, k = components + r;
        float x = 0.0f, mean = 0.0f, inverse = 0.0f;
        if (col < group.d && samples + r < group.latents) {
            x = row_of(group.xt, group.xt_stride, samples + r)[col];
        }
        if (col < group.d && k < group.latents) {
            mean = __fadd_rn(row_of(group.x0, group.x0_stride, k)[col],
                             __fmul_rn(group.t, row_of(group.raw, group.raw_stride, k)[col]));
            inverse = 1.0f / variance_of(group, k, col);
        }
        at.x[place] = x;
        at.mean[place] = mean;
        at.inverse[place] = inverse;
    }
}

// l of samples (samples + ty + 16 a) and components (components + tx + 16 b); minus infinity for components beyond the
// last. Leaves the last coordinates staged, and the shares' place free. Terms are added as the CPU adds them: l is a
// difference of sums over d terms, whose rounding would show in high dimension.
template <u32 Q>
__device__ inline void log_densities(const Group& group, const Tables<Q>& at, u32 samples, u32 components,
                                     float (&l)[Q][Q]) {
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    log_variances<Q>(group, at, components);
#pragma unroll
    for (u32 b = 0; b < Q; ++b) {
#pragma unroll
        for (u32 a = 0; a < Q; ++a) {
            l[a][b] = at.line[tx + SIDE * b];
        }
    }
    for (u32 first = 0; first < group.d; first += COLUMNS) {
        __syncthreads();
        stage<Q>(group, at, first, samples, components);
        __syncthreads();
        const u32 cols = group.d - first < COLUMNS ? group.d - first : COLUMNS;
#pragma unroll 2
        for (u32 j = 0; j < cols; ++j) {
            float x[Q];
#pragma unroll
            for (u32 a = 0; a < Q; ++a) {
                x[a] = at.x[j * PITCH<Q> + ty + SIDE * a];
            }
#pragma unroll
            for (u32 b = 0; b < Q; ++b) {
                const u32 place = j * PITCH<Q> + tx + SIDE * b;
                const float mean = at.mean[place], inverse = at.inverse[place];
#pragma unroll
                for (u32 a = 0; a < Q; ++a) {
                    const float diff = x[a] - mean;
                    l[a][b] = __fmaf_rn(__fmul_rn(diff, diff), inverse, l[a][b]);
                }
            }
        }
    }
#pragma unroll
    for (u32 b = 0; b < Q; ++b) {
        const bool there = components + tx + SIDE * b < group.latents;
#pragma unroll
        for (u32 a = 0; a < Q; ++a) {
            l[a][b] = there ? -0.5f * l[a][b] : -infinity();
        }
    }
}

// log w of a row, the same in the sixteen lanes that share it.
__device__ inline float log_reference(const Group& group, u32 row) {
    float sum = 0.0f;
    if (row < group.latents) {
        const float *x = row_of(group.xt, group.xt_stride, row), *x0 = row_of(group.x0, group.x0_stride, row);
        for (u32 j = threadIdx.x % SIDE; j < group.d; j += SIDE) {
            const float away = x[j] - x0[j];
            sum += away * away;
        }
    }
    return -0.5f * lanes_sum<SIDE>(sum) / group.reference;
}

__device__ inline float row_loss(const Group& group, u32 row, float log_p, float log_w) {
    return group.v[(u64)row * group.v_stride] + group.sigma2 * (log_p - log_w);
}

// Backward through the staged coordinates from `first` on, by the shares a(sample, component), which lie at
// share[component PITCH + sample]. Row r of the tile from `rows` on takes part as a sample (its x staged, `count`
// components) or as a component (its mean and variance staged, `count` samples), or as both (count rows of one tile).
// `start` writes delta, otherwise it is added to.
template <u32 Q, bool SAMPLE, bool COMPONENT>
__device__ inline void backward(const Group& group, const Tables<Q>& at, u32 first, u32 rows, u32 count, bool start) {
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    float x[EACH][Q], mean[EACH][Q], inverse[EACH][Q], pull[EACH][Q], push[EACH][Q], widen[EACH][Q], weight[Q];
#pragma unroll
    for (u32 a = 0; a < Q; ++a) {
        weight[a] = 0.0f;
#pragma unroll
        for (u32 e = 0; e < EACH; ++e) {
            const u32 place = (ty + SIDE * e) * PITCH<Q> + tx + SIDE * a;
            x[e][a] = at.x[place];
            mean[e][a] = at.mean[place];
            inverse[e][a] = at.inverse[place];
            pull[e][a] = push[e][a] = widen[e][a] = 0.0f;
        }
    }
    for (u32 c = 0; c < count; ++c) {
        float as_sample[Q], as_component[Q];
#pragma unroll
        for (u32 a = 0; a < Q; ++a) {
            const u32 r = tx + SIDE * a;
            as_sample[a] = SAMPLE ? at.share[c * PITCH<Q> + r] : 0.0f;
            as_component[a] = COMPONENT ? at.share[r * PITCH<Q> + c] : 0.0f;
            weight[a] += as_component[a];
        }
#pragma unroll
        for (u32 e = 0; e < EACH; ++e) {
            const u32 place = (ty + SIDE * e) * PITCH<Q> + c;
            const float xc = at.x[place], mean_c = at.mean[place], inverse_c = at.inverse[place];
#pragma unroll
            for (u32 a = 0; a < Q; ++a) {
                if (SAMPLE) {
                    pull[e][a] += as_sample[a] * ((x[e][a] - mean_c) * inverse_c);
                }
                if (COMPONENT) {
                    const float scaled = (xc - mean[e][a]) * inverse[e][a], force = as_component[a] * scaled;
                    push[e][a] += force;
                    widen[e][a] += force * scaled;
                }
            }
        }
    }
    // Through the tables, so that the rows are written along their coordinates.
    __syncthreads();
#pragma unroll
    for (u32 a = 0; a < Q; ++a) {
#pragma unroll
        for (u32 e = 0; e < EACH; ++e) {
            const u32 place = (ty + SIDE * e) * PITCH<Q> + tx + SIDE * a;
            at.x[place] = pull[e][a];
            at.mean[place] = push[e][a];
            at.inverse[place] = 0.5f * (widen[e][a] - inverse[e][a] * weight[a]);
        }
    }
    __syncthreads();
    const float t = group.t, sigma2 = group.sigma2, scale = group.scale;
    for (u32 i = threadIdx.x; i < COLUMNS * SIDE * Q; i += THREADS) {
        const u32 j = i % COLUMNS, r = i / COLUMNS, col = first + j, row = rows + r, place = j * PITCH<Q> + r;
        if (col >= group.d || row >= group.latents) {
            continue;
        }
        float gx = 0.0f;
        if (SAMPLE) {
            gx = -sigma2 * at.x[place];
            if (start) {
                const float away =
                    row_of(group.xt, group.xt_stride, row)[col] - row_of(group.x0, group.x0_stride, row)[col];
                gx += row_of(group.g, group.g_stride, row)[col] + away / t;
            }
        }
        float* delta = row_of(group.delta, group.delta_stride, row);
        float by_mean = scale * t * (COMPONENT ? gx + sigma2 * at.mean[place] : gx);
        delta[col] = start ? by_mean : delta[col] + by_mean;
        if (group.head.deterministic == 0) {
            bool inside;
            const float s = std_of(group, row, col, inside);
            float gs = 0.0f;
            if (SAMPLE) {
                gs += t * row_of(group.xi, group.xi_stride, row)[col] * gx;
            }
            if (COMPONENT) {
                gs += sigma2 * at.inverse[place] * 2.0f * t * t * s;
            }
            const float by_std = inside ? scale * gs * s : 0.0f;
            delta[group.d + col] = start ? by_std : delta[group.d + col] + by_std;
        }
    }
}

// A whole group of up to 16 Q rows.
template <u32 Q>
__device__ inline void whole_group(const Group& group, double* losses) {
    const Tables<Q> at = tables<Q>();
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    float l[Q][Q];
    log_densities<Q>(group, at, 0, 0, l);
    const float log_latents = logf((float)group.latents);
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
        float total = 0.0f;
#pragma unroll
        for (u32 b = 0; b < Q; ++b) {
            l[a][b] = expf(l[a][b] - top);
            total += l[a][b];
        }
        total = lanes_sum<SIDE>(total);
        const float inverse = 1.0f / total, log_w = log_reference(group, row);
#pragma unroll
        for (u32 b = 0; b < Q; ++b) {
            at.share[(tx + SIDE * b) * PITCH<Q> + row] = row < group.latents ? l[a][b] * inverse : 0.0f;
        }
        if (tx == 0 && row < group.latents) {
            loss += row_loss(group, row, top + logf(total) - log_latents, log_w);
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
        backward<Q, true, true>(group, at, first, 0, group.latents, true);
    }
}

#define MIXTURE_PARAMETERS                                                                                           \
    const float *x0, u32 x0_stride, const float *raw, u32 raw_stride, const float *xi, u32 xi_stride,                \
        const float *time, const float *xt, u32 xt_stride, const float *v, u32 v_stride, const float *g,             \
        u32 g_stride, u32 latents, u32 d, float sigma, float log_std_offset, float log_std_low, float log_std_high,  \
        u32 deterministic, float scale, float *delta, u32 delta_stride

// Group `index` of the parameters above.
#define MIXTURE_GROUP(index)                                                                                         \
    group_of(index, x0, x0_stride, raw, raw_stride, xi, xi_stride, time, xt, xt_stride, v, v_stride, g, g_stride,    \
             latents, d, sigma, log_std_offset, log_std_low, log_std_high, deterministic, scale, delta, delta_stride)

__device__ inline Group group_of(u32 index, MIXTURE_PARAMETERS) {
    const u64 row = (u64)index * latents;
    const float t = time[row], sigma2 = sigma * sigma;
    Group group;
    group.x0 = x0 + row * x0_stride;
    group.raw = raw + row * raw_stride;
    group.xi = xi == nullptr ? nullptr : xi + row * xi_stride;
    group.xt = xt + row * xt_stride;
    group.v = v + row * v_stride;
    group.g = g + row * g_stride;
    group.delta = delta + row * delta_stride;
    group.x0_stride = x0_stride;
    group.raw_stride = raw_stride;
    group.xi_stride = xi_stride;
    group.xt_stride = xt_stride;
    group.v_stride = v_stride;
    group.g_stride = g_stride;
    group.delta_stride = delta_stride;
    group.d = d;
    group.latents = latents;
    group.t = t;
    group.sigma2 = sigma2;
    group.brown = sigma2 * t * (1.0f - t);
    group.reference = sigma2 * t;
    group.scale = scale;
    group.head = {log_std_offset, log_std_low, log_std_high, deterministic};
    return group;
}

extern "C" __global__ void __launch_bounds__(THREADS) mixture_16(MIXTURE_PARAMETERS, double* losses) {
    whole_group<1>(MIXTURE_GROUP(blockIdx.x), losses);
}

extern "C" __global__ void __launch_bounds__(THREADS) mixture_32(MIXTURE_PARAMETERS, double* losses) {
    whole_group<2>(MIXTURE_GROUP(blockIdx.x), losses);
}

extern "C" __global__ void __launch_bounds__(THREADS) mixture_64(MIXTURE_PARAMETERS, double* losses) {
    whole_group<4>(MIXTURE_GROUP(blockIdx.x), losses);
}

constexpr u32 TILE = 4 * SIDE;

extern "C" __global__ void __launch_bounds__(THREADS)
mixture_density(MIXTURE_PARAMETERS, float2* density, double* losses) {
    const Group group = MIXTURE_GROUP(blockIdx.y);
    const Tables<4> at = tables<4>();
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE, rows = blockIdx.x * TILE;
    float top[4], total[4];
#pragma unroll
    for (u32 a = 0; a < 4; ++a) {
        top[a] = -infinity();
        total[a] = 0.0f;
    }
    for (u32 components = 0; components < latents; components += TILE) {
        float l[4][4];
        log_densities<4>(group, at, rows, components, l);
#pragma unroll
        for (u32 a = 0; a < 4; ++a) {
            float high = larger(larger(l[a][0], l[a][1]), larger(l[a][2], l[a][3]));
            high = larger(top[a], lanes_max<SIDE>(high));
            float sum = (expf(l[a][0] - high) + expf(l[a][1] - high)) + (expf(l[a][2] - high) + expf(l[a][3] - high));
            total[a] = total[a] * expf(top[a] - high) + lanes_sum<SIDE>(sum);
            top[a] = high;
        }
    }
    const float log_latents = logf((float)latents);
    double loss = 0.0;
#pragma unroll
    for (u32 a = 0; a < 4; ++a) {
        const u32 row = rows + ty + SIDE * a;
        const float log_w = log_reference(group, row);
        if (tx == 0 && row < latents) {
            density[(u64)blockIdx.y * latents + row] = make_float2(top[a], 1.0f / total[a]);
            loss += row_loss(group, row, top[a] + logf(total[a]) - log_latents, log_w);
        }
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) {
        losses[(u64)blockIdx.y * gridDim.x + blockIdx.x] = loss;
    }
}

// Shares of samples and components of two tiles, from l and the samples' sums.
__device__ inline void share_tile(const Group& group, const Tables<4>& at, const float2* density, u32 samples,
                                  u32 components) {
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    float l[4][4];
    log_densities<4>(group, at, samples, components, l);
#pragma unroll
    for (u32 a = 0; a < 4; ++a) {
        const u32 sample = ty + SIDE * a;
        const bool there = samples + sample < group.latents;
        const float2 sum = there ? density[samples + sample] : make_float2(0.0f, 0.0f);
#pragma unroll
        for (u32 b = 0; b < 4; ++b) {
            at.share[(tx + SIDE * b) * PITCH<4> + sample] = there ? expf(l[a][b] - sum.x) * sum.y : 0.0f;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) mixture_gradient(MIXTURE_PARAMETERS, const float2* density) {
    const Group group = MIXTURE_GROUP(blockIdx.y);
    const Tables<4> at = tables<4>();
    density += (u64)blockIdx.y * latents;
    const u32 rows = blockIdx.x * TILE;
    for (u32 others = 0; others < latents; others += TILE) {
        const u32 count = latents - others < TILE ? latents - others : TILE;
        share_tile(group, at, density, rows, others);
        for (u32 first = 0; first < d; first += COLUMNS) {
            __syncthreads();
            stage<4>(group, at, first, rows, others);
            __syncthreads();
            backward<4, true, false>(group, at, first, rows, count, others == 0);
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
