// A tile of a product C = A B, A with k columns: staging, multiplication, and the way to C's epilogue. What the products
// are is said in product.cu and conv.cu.
//
// A tile has 32 or 64 rows and columns. Its threads are SLICES groups of 8 x 8; every group covers the whole tile, a
// thread ROWS / 8 rows by COLS / 8 columns in registers, but only its own part of every DEPTH of k: the smaller the
// tile, the more groups, so that even one block on a multiprocessor has warps enough to hide the latencies. Groups are
// added up at the end, in their order. k goes through shared memory DEPTH at a time in two buffers, so that the next
// loads are in flight during the multiplication, with one barrier each.
//
//   tile    threads  ROWS x COLS  DEPTH  shared  FFMA a word of global memory  FFMA a word of shared memory
//   Narrow      256      32 x 32     32  16 KiB                           16                              2
//   Tall        128      64 x 32     16  16 KiB                           21                            2.7
//   Wide        128      64 x 64     16  32 KiB                           32                              4
//
// Both operands lie in shared memory by lines of ROWS or COLS elements of equal k. An operand whose rows run along k is
// turned over on the way, and where in a line an element then stands is permuted, by whole quads (`turn`), so that the
// 32 stores of a warp fall on 32 banks. Within a warp, neighbouring lanes share their rows, lanes two apart their
// columns: a half warp reads at most 128 different bytes of either operand.
#pragma once

#include "device.cuh"

template <u32 ROW_QUADS, u32 COL_QUADS, u32 SLICES_, u32 DEPTH_>
struct Tile {
    // A thread has so many quads along rows and along columns, 32 apart.
    static constexpr u32 EACH_ROW = 4 * ROW_QUADS, EACH_COL = 4 * COL_QUADS, ROWS = 8 * EACH_ROW, COLS = 8 * EACH_COL;
    static constexpr u32 SLICES = SLICES_, DEPTH = DEPTH_, PART = DEPTH / SLICES, THREADS = 64 * SLICES;
    // The two buffers, and later the slices' sums.
    static constexpr u32 BUFFER = (ROWS + COLS) * DEPTH, RESULTS = ROWS * COLS, SUMS = SLICES * RESULTS;
    static constexpr u32 SHARED_QUADS = (2 * BUFFER > SUMS ? 2 * BUFFER : SUMS) / 4;
    static_assert(PART % 4 == 0, "slices must share the work evenly");
    // The slices' part of k, for one row and one column.
    using Sums = float[EACH_ROW][EACH_COL];
};

using Narrow = Tile<1, 1, 4, 32>;
using Tall = Tile<2, 1, 2, 16>;
using Wide = Tile<2, 2, 2, 16>;

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

// The tile's part of an operand. e counts A's rows or B's columns within the tile: element (e, k) is at
// from[e stride + k] where ALONG, else at from[k stride + e]. Elements beyond extent or depth count as zero.
//
// conv.cuh has operands that lie elsewhere. A thread always stages the same e and, at a time, one k where ALONG, and one
// e otherwise. What of an address depends on e alone is computed once (`fixed`), and what depends on k when k moves on.
template <bool ALONG_>
struct Operand {
    static constexpr bool ALONG = ALONG_;
    using Fixed = u32;
    using Moving = u32;
    const float* from;
    u32 stride, extent, depth;
    bool whole;

    __device__ u32 fixed(u32 e) const { return e; }
    __device__ u32 moving(u32 k) const { return k; }

    // Element (e, k) and the next three, along k where ALONG, else along e.
    __device__ float4 at(u32 e, u32 k) const {
        const u32 row = ALONG ? e : k, col = ALONG ? k : e;
        const u32 rows = ALONG ? extent : depth, cols = ALONG ? depth : extent;
        const u32 left = row < rows && col < cols ? cols - col : 0;
        return quad(row_of(from, stride, row) + col, left, whole);
    }
};

// From e = first on, of `extent` altogether; first is a multiple of four.
template <bool ALONG>
__device__ inline Operand<ALONG> operand(const float* from, u32 stride, u32 first, u32 extent, u32 depth) {
    const float* start = ALONG ? row_of(from, stride, first) : from + first;
    return {start, stride, extent - first, depth, vectorised(from, stride)};
}

// How the threads share an operand with SIDE rows or columns in the tile.
template <class T, u32 SIDE, bool ALONG>
struct Share {
    // Quads that a thread stages.
    static constexpr u32 STAGED = SIDE * T::DEPTH / 4 / T::THREADS;
    static constexpr u32 QUADS = (ALONG ? T::DEPTH : SIDE) / 4;
    static_assert(STAGED * 4 * T::THREADS == SIDE * T::DEPTH, "threads must share the work evenly");
    static_assert(T::THREADS % QUADS == 0, "a thread's quads must lie at one place");

    // Where the thread's i-th quad lies: `line` rows of the matrix in memory, and `at` within the row.
    static __device__ u32 line(u32 i) { return (threadIdx.x + i * T::THREADS) / QUADS; }
    static __device__ u32 at() { return threadIdx.x % QUADS * 4; }
};

// The part of an operand that a thread stages.
template <class T, u32 SIDE, class X>
struct Staging {
    static constexpr bool ALONG = X::ALONG;
    using Own = Share<T, SIDE, ALONG>;
    using Quads = float4[Own::STAGED];
    const X& x;
    typename X::Fixed fixed[ALONG ? Own::STAGED : 1];

    __device__ explicit Staging(const X& from) : x(from) {
#pragma unroll
        for (u32 i = 0; i < (ALONG ? Own::STAGED : 1); ++i) {
            fixed[i] = x.fixed(ALONG ? Own::line(i) : Own::at());
        }
    }

    // k in [from, from + DEPTH), into registers.
    __device__ void fetch(u32 from, Quads& staged) const {
        typename X::Moving moving = x.moving(from + (ALONG ? Own::at() : Own::line(0)));
#pragma unroll
        for (u32 i = 0; i < Own::STAGED; ++i) {
            if (!ALONG && i > 0) {
                moving = x.moving(from + Own::line(i));
            }
            staged[i] = x.at(fixed[ALONG ? i : 0], moving);
        }
    }

    __device__ void stage(const Quads& staged, float* to) const;
};

// By what the places in the lines k .. k + 3 of a turned operand are permuted (exclusive or), k a multiple of four.
template <class T>
__device__ inline u32 turn(u32 k) {
    return k * (WARP / T::DEPTH);
}

template <class T, u32 SIDE, class X>
__device__ inline void Staging<T, SIDE, X>::stage(const Quads& staged, float* to) const {
    const u32 at = Own::at();
#pragma unroll
    for (u32 i = 0; i < Own::STAGED; ++i) {
        const u32 line = Own::line(i);
        if (ALONG) {
            float* put = to + at * SIDE + (line ^ turn<T>(at));
            put[0] = staged[i].x;
            put[SIDE] = staged[i].y;
            put[2 * SIDE] = staged[i].z;
            put[3 * SIDE] = staged[i].w;
        } else {
            store4(to + line * SIDE + at, staged[i]);
        }
    }
}

template <u32 EACH>
__device__ inline void take_quads(const float* from, float (&x)[EACH]) {
#pragma unroll
    for (u32 h = 0; h < EACH / 4; ++h) {
        const float4 four = load4(from + WARP * h);
        x[4 * h] = four.x;
        x[4 * h + 1] = four.y;
        x[4 * h + 2] = four.z;
        x[4 * h + 3] = four.w;
    }
}

// The slice's part of the staged k.
template <class T, bool A_ALONG, bool B_ALONG>
__device__ inline void multiply(const Place& place, const float* a, const float* b, typename T::Sums& sum) {
#pragma unroll
    for (u32 four = 0; four < T::PART; four += 4) {
        const u32 k = place.slice * T::PART + four;
        const float* rows = a + k * T::ROWS + (4 * place.row ^ (A_ALONG ? turn<T>(k) : 0));
        const float* cols = b + k * T::COLS + (4 * place.col ^ (B_ALONG ? turn<T>(k) : 0));
#pragma unroll
        for (u32 next = 0; next < 4; ++next) {
            float x[T::EACH_ROW], y[T::EACH_COL];
            take_quads(rows + next * T::ROWS, x);
            take_quads(cols + next * T::COLS, y);
#pragma unroll
            for (u32 i = 0; i < T::EACH_ROW; ++i) {
#pragma unroll
                for (u32 j = 0; j < T::EACH_COL; ++j) {
                    sum[i][j] += x[i] * y[j];
                }
            }
        }
    }
}

// Adds A B to the slices' sums; visit(b) sees every staged part of B. All threads are done with the shared memory when
// it returns.
template <class T, class A, class B, class Visit>
__device__ inline void accumulate(const Place& place, const A& a, const B& b, u32 depth, typename T::Sums& sum,
                                  const Visit& visit) {
    float* const memory = product_memory<T>();
    const Staging<T, T::ROWS, A> from_a(a);
    const Staging<T, T::COLS, B> from_b(b);
    typename Staging<T, T::ROWS, A>::Quads next_a;
    typename Staging<T, T::COLS, B>::Quads next_b;
    from_a.fetch(0, next_a);
    from_b.fetch(0, next_b);
    u32 buffer = 0;
    for (u32 left = depth; left > 0; buffer ^= 1) {
        float *const here = memory + buffer * T::BUFFER, *const beside = here + T::ROWS * T::DEPTH;
        from_a.stage(next_a, here);
        from_b.stage(next_b, beside);
        // Behind it nobody reads the other buffer any more.
        __syncthreads();
        const u32 staged = left < T::DEPTH ? left : T::DEPTH;
        left -= staged;
        if (left > 0) {
            from_a.fetch(depth - left, next_a);
            from_b.fetch(depth - left, next_b);
        }
        if (place.slice * T::PART < staged) {
            multiply<T, A::ALONG, B::ALONG>(place, here, beside, sum);
        }
        visit(beside);
    }
    __syncthreads();
}

// Exclusive or on the places in a row of the slices' sums, for stores without bank conflicts.
__device__ inline u32 half_row(u32 row) { return (row >> 2 & 1) << 4; }

template <class T, u32 V, class Body>
__device__ inline void add_slices(const float* memory, u32 rows, u32 cols, const Body& body) {
    for (u32 index = threadIdx.x; index < T::RESULTS / V; index += T::THREADS) {
        const u32 row = index / (T::COLS / V), col = index % (T::COLS / V) * V;
        if (row >= rows || col >= cols) {
            continue;
        }
        const float* at = memory + row * T::COLS + (col ^ half_row(row));
        Lanes<V> total = take<V>(at);
#pragma unroll
        for (u32 slice = 1; slice < T::SLICES; ++slice) {
            const Lanes<V> x = take<V>(at + slice * T::RESULTS);
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
__device__ inline void finish(const Place& place, const typename T::Sums& sum, u32 rows, u32 cols, bool whole,
                              const Body& body) {
    float* const memory = product_memory<T>();
    float* const mine = memory + place.slice * T::RESULTS;
#pragma unroll
    for (u32 i = 0; i < T::EACH_ROW; ++i) {
        const u32 row = 4 * place.row + i % 4 + i / 4 * WARP;
        float* to = mine + row * T::COLS + (4 * place.col ^ half_row(row));
#pragma unroll
        for (u32 h = 0; h < T::EACH_COL / 4; ++h) {
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

// An epilogue for a tile that begins at (top, left). Not a generic lambda, which NVRTC takes for a function of the
// host.
template <class E>
struct Placed {
    const E& epilogue;
    u32 top, left;

    template <u32 V>
    __device__ void operator()(u32 row, u32 col, const Lanes<V>& p) const {
        epilogue.apply(top + row, left + col, p);
    }
};

// A tile of a dense matrix, which begins at (top, left), as it is.
struct Dense {
    float* out;
    u32 top, left, cols;

    template <u32 V>
    __device__ void operator()(u32 row, u32 col, const Lanes<V>& p) const {
        put(out + (u64)(top + row) * cols + left + col, p);
    }
};

// Where the block's tile of m x n results begins.
template <class T>
__device__ inline void corner(u32 n, u32& top, u32& left) {
    const u32 across = (n - 1) / T::COLS + 1;
    top = blockIdx.x / across * T::ROWS;
    left = blockIdx.x % across * T::COLS;
}

// The block's tile of a split's sum over one or two pairs of A^T delta, into `out`, a dense matrix of inputs x outputs.
// pairs.a(pair, top) and pairs.b(pair, left) are the operands, whose k has pairs.depth. Behind the matrix go delta's
// column sums of the first pair, or zeros without bias. They are taken on the side by the blocks that have the first
// rows, from what they staged; a row of ones would cost a row of tiles at the usual widths.
template <class T, class Pairs>
__device__ inline void gradient_of(const Pairs& pairs, u32 count, u32 inputs, u32 outputs, u32 bias, float* out,
                                   bool whole) {
    u32 top, left;
    corner<T>(outputs, top, left);
    const Place place = place_of_thread();
    typename T::Sums sum = {};
    float column = 0.0f;
    for (u32 pair = 0; pair < count; ++pair) {
        const bool summed = bias != 0 && top == 0 && pair == 0;
        accumulate<T>(place, pairs.a(pair, top), pairs.b(pair, left), pairs.depth, sum, [&](const float* staged) {
            if (summed) {
#pragma unroll
                for (u32 k = 0; k < T::DEPTH; k += T::THREADS / T::COLS) {
                    column += staged[k * T::COLS + threadIdx.x];
                }
            }
        });
    }
    if (top == 0) {
        SHARED(float, columns, T::THREADS);
        columns[threadIdx.x] = column;
        __syncthreads();
        if (threadIdx.x < T::COLS && left + threadIdx.x < outputs) {
            for (u32 part = T::COLS; part < T::THREADS; part += T::COLS) {
                column += columns[part + threadIdx.x];
            }
            out[(u64)inputs * outputs + left + threadIdx.x] = column;
        }
    }
    finish<T>(place, sum, inputs - top, outputs - left, whole, Dense{out, top, left, outputs});
}

// A kernel whose body knows its tile as Tile.
#define KERNEL_OF_TILE(name, tile, blocks, parameters, ...)                                     \
    extern "C" __global__ void __launch_bounds__(tile::THREADS, blocks) name parameters {       \
        using Tile = tile;                                                                      \
        __VA_ARGS__;                                                                            \
    }

// Two kernels of one body: `name` with Narrow tiles, and `name`_wide with Wide ones. Room for three blocks of either: a
// fourth of Narrow would leave 64 registers, of which some architectures spill.
#define KERNEL_OF_BOTH_TILES(name, parameters, ...)          \
    KERNEL_OF_TILE(name, Narrow, 3, parameters, __VA_ARGS__) \
    KERNEL_OF_TILE(name##_wide, Wide, 3, parameters, __VA_ARGS__)
