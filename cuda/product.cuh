// A square tile of a product C = A B, A with k columns: staging, multiplication, and the way to C's epilogue. What the
// products are is said in product.cu.
//
// A tile has SIDE = 32 or 64 rows and columns. Its threads are SLICES groups of 8 x 8; every group covers the whole
// tile, a thread SIDE / 8 rows by as many columns in registers, but only its own part of every DEPTH of k: the smaller
// the tile, the more groups, so that even one block on a multiprocessor has warps enough to hide the latencies. Groups
// are added up at the end, in their order. k goes through shared memory DEPTH at a time in two buffers, so that the
// next loads are in flight during the multiplication, with one barrier each.
//
//   tile    threads  SIDE  DEPTH  shared  FFMA a word of global memory  FFMA a word of shared memory
//   Narrow      256    32     32  16 KiB                           16                              2
//   Wide        128    64     16  32 KiB                           32                              4
//
// Both operands lie in shared memory by lines of SIDE elements of equal k. An operand whose rows run along k is turned
// over on the way, and where in a line an element then stands is permuted, by whole quads (`turn`), so that the 32
// stores of a warp fall on 32 banks. Within a warp, neighbouring lanes share their rows, lanes two apart their columns:
// a half warp reads at most 128 different bytes of either operand.
#pragma once

#include "device.cuh"

template <u32 QUADS_, u32 SLICES_, u32 DEPTH_>
struct Tile {
    // A thread has QUADS quads along rows and along columns, 32 apart.
    static constexpr u32 QUADS = QUADS_, EACH = 4 * QUADS, SIDE = 8 * EACH;
    static constexpr u32 SLICES = SLICES_, DEPTH = DEPTH_, PART = DEPTH / SLICES, THREADS = 64 * SLICES;
    // Floats of one staged operand, and quads of it that a thread stages.
    static constexpr u32 OPERAND = SIDE * DEPTH, STAGED = OPERAND / 4 / THREADS;
    // The two buffers, and later the slices' sums.
    static constexpr u32 BUFFERS = 4 * OPERAND, SUMS = SLICES * SIDE * SIDE;
    static constexpr u32 SHARED_QUADS = (BUFFERS > SUMS ? BUFFERS : SUMS) / 4;
    static_assert(STAGED * 4 * THREADS == OPERAND && PART % 4 == 0, "threads must share the work evenly");
};

using Narrow = Tile<1, 4, 32>;
using Wide = Tile<2, 2, 16>;

template <class T>
__device__ inline float* product_memory() {
    SHARED(float4, product_tile, T::SHARED_QUADS);
    return reinterpret_cast<float*>(product_tile);
}

// Which rows and columns of the tile a thread has, and which slice it belongs to.
struct Place {
    u32 row, col, slice;
};

__device__ inline Place place_of_thread() {
    const u32 lane = threadIdx.x % 64;
    return {(lane >> 1 & 1) | (lane >> 3 & 6), (lane & 1) | (lane >> 1 & 6), threadIdx.x / 64};
}

// The tile's part of an operand. e counts A's rows or B's columns within the tile: element (e, k) is at
// from[e stride + k] where ALONG, else at from[k stride + e]. Elements beyond extent or depth count as zero.
template <bool ALONG>
struct Operand {
    const float* from;
    u32 stride, extent, depth;
    bool whole;
};

// From e = first on, of `extent` altogether; first is a multiple of four.
template <bool ALONG>
__device__ inline Operand<ALONG> operand(const float* from, u32 stride, u32 first, u32 extent, u32 depth) {
    const float* start = ALONG ? row_of(from, stride, first) : from + first;
    return {start, stride, extent - first, depth, vectorised(from, stride)};
}

// Four neighbours of which `left` are there.
__device__ inline float4 quad(const float* from, u32 left, bool whole) {
    if (whole && left >= 4) {
        return load4(from);
    }
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (left > 0) {
        x.x = from[0];
    }
    if (left > 1) {
        x.y = from[1];
    }
    if (left > 2) {
        x.z = from[2];
    }
    if (left > 3) {
        x.w = from[3];
    }
    return x;
}

// Where the thread's i-th quad of an operand lies: `line` rows of the matrix in memory, and `at` within the row.
template <class T, bool ALONG>
__device__ inline void staged_at(u32 i, u32& line, u32& at) {
    constexpr u32 quads = (ALONG ? T::DEPTH : T::SIDE) / 4;
    const u32 index = threadIdx.x + i * T::THREADS;
    line = index / quads;
    at = index % quads * 4;
}

// k in [from, from + DEPTH), into registers.
template <class T, bool ALONG>
__device__ inline void fetch(const Operand<ALONG>& x, u32 from, float4 (&staged)[T::STAGED]) {
#pragma unroll
    for (u32 i = 0; i < T::STAGED; ++i) {
        u32 line, at;
        staged_at<T, ALONG>(i, line, at);
        const u32 row = ALONG ? line : from + line, col = ALONG ? from + at : at;
        const u32 rows = ALONG ? x.extent : x.depth, cols = ALONG ? x.depth : x.extent;
        const u32 left = row < rows && col < cols ? cols - col : 0;
        staged[i] = quad(row_of(x.from, x.stride, row) + col, left, x.whole);
    }
}

// By what the places in the lines k .. k + 3 of a turned operand are permuted (exclusive or), k a multiple of four.
template <class T>
__device__ inline u32 turn(u32 k) {
    return k * (WARP / T::DEPTH);
}

template <class T, bool ALONG>
__device__ inline void stage(const float4 (&staged)[T::STAGED], float* to) {
#pragma unroll
    for (u32 i = 0; i < T::STAGED; ++i) {
        u32 line, at;
        staged_at<T, ALONG>(i, line, at);
        if (ALONG) {
            float* put = to + at * T::SIDE + (line ^ turn<T>(at));
            put[0] = staged[i].x;
            put[T::SIDE] = staged[i].y;
            put[2 * T::SIDE] = staged[i].z;
            put[3 * T::SIDE] = staged[i].w;
        } else {
            store4(to + line * T::SIDE + at, staged[i]);
        }
    }
}

template <class T>
__device__ inline void take_quads(const float* from, float (&x)[T::EACH]) {
#pragma unroll
    for (u32 h = 0; h < T::QUADS; ++h) {
        const float4 four = load4(from + WARP * h);
        x[4 * h] = four.x;
        x[4 * h + 1] = four.y;
        x[4 * h + 2] = four.z;
        x[4 * h + 3] = four.w;
    }
}

// The slice's part of the staged k.
template <class T, bool A_ALONG, bool B_ALONG>
__device__ inline void multiply(const Place& place, const float* a, const float* b, float (&sum)[T::EACH][T::EACH]) {
#pragma unroll
    for (u32 four = 0; four < T::PART; four += 4) {
        const u32 k = place.slice * T::PART + four;
        const float* rows = a + k * T::SIDE + (4 * place.row ^ (A_ALONG ? turn<T>(k) : 0));
        const float* cols = b + k * T::SIDE + (4 * place.col ^ (B_ALONG ? turn<T>(k) : 0));
#pragma unroll
        for (u32 next = 0; next < 4; ++next) {
            float x[T::EACH], y[T::EACH];
            take_quads<T>(rows + next * T::SIDE, x);
            take_quads<T>(cols + next * T::SIDE, y);
#pragma unroll
            for (u32 i = 0; i < T::EACH; ++i) {
#pragma unroll
                for (u32 j = 0; j < T::EACH; ++j) {
                    sum[i][j] += x[i] * y[j];
                }
            }
        }
    }
}

// Adds A B to the slices' sums; visit(b) sees every staged part of B. All threads are done with the shared memory when
// it returns.
template <class T, bool A_ALONG, bool B_ALONG, class Visit>
__device__ inline void accumulate(const Place& place, const Operand<A_ALONG>& a, const Operand<B_ALONG>& b, u32 depth,
                                  float (&sum)[T::EACH][T::EACH], const Visit& visit) {
    float* const memory = product_memory<T>();
    float4 next_a[T::STAGED], next_b[T::STAGED];
    fetch<T>(a, 0, next_a);
    fetch<T>(b, 0, next_b);
    u32 buffer = 0;
    for (u32 left = depth; left > 0; buffer ^= 1) {
        float *const here = memory + buffer * 2 * T::OPERAND, *const beside = here + T::OPERAND;
        stage<T, A_ALONG>(next_a, here);
        stage<T, B_ALONG>(next_b, beside);
        // Behind it nobody reads the other buffer any more.
        __syncthreads();
        const u32 staged = left < T::DEPTH ? left : T::DEPTH;
        left -= staged;
        if (left > 0) {
            fetch<T>(a, depth - left, next_a);
            fetch<T>(b, depth - left, next_b);
        }
        if (place.slice * T::PART < staged) {
            multiply<T, A_ALONG, B_ALONG>(place, here, beside, sum);
        }
        visit(beside);
    }
    __syncthreads();
}

// Exclusive or on the places in a row of the slices' sums, for stores without bank conflicts.
__device__ inline u32 half_row(u32 row) { return (row >> 2 & 1) << 4; }

template <class T, u32 V, class Body>
__device__ inline void add_slices(const float* memory, u32 rows, u32 cols, const Body& body) {
    for (u32 index = threadIdx.x; index < T::SIDE * T::SIDE / V; index += T::THREADS) {
        const u32 row = index / (T::SIDE / V), col = index % (T::SIDE / V) * V;
        if (row >= rows || col >= cols) {
            continue;
        }
        const float* at = memory + row * T::SIDE + (col ^ half_row(row));
        Lanes<V> total = take<V>(at);
#pragma unroll
        for (u32 slice = 1; slice < T::SLICES; ++slice) {
            const Lanes<V> x = take<V>(at + slice * T::SIDE * T::SIDE);
#pragma unroll
            for (u32 i = 0; i < V; ++i) {
                total.x[i] += x.x[i];
            }
        }
        body(row, col, total);
    }
}

// Calls body(row, col, elements) for the tile's elements within rows x cols, by fours where whole (cols is then a
// multiple of four): consecutive threads have consecutive elements of a row.
template <class T, class Body>
__device__ inline void finish(const Place& place, const float (&sum)[T::EACH][T::EACH], u32 rows, u32 cols, bool whole,
                              const Body& body) {
    float* const memory = product_memory<T>();
    float* const mine = memory + place.slice * T::SIDE * T::SIDE;
#pragma unroll
    for (u32 i = 0; i < T::EACH; ++i) {
        const u32 row = 4 * place.row + i % 4 + i / 4 * WARP;
        float* to = mine + row * T::SIDE + (4 * place.col ^ half_row(row));
#pragma unroll
        for (u32 h = 0; h < T::QUADS; ++h) {
            const float* x = sum[i] + 4 * h;
            store4(to + WARP * h, make_float4(x[0], x[1], x[2], x[3]));
        }
    }
    __syncthreads();
    if (whole) {
        add_slices<T, 4>(memory, rows, cols, body);
    } else {
        add_slices<T, 1>(memory, rows, cols, body);
    }
}
