// A tile of a product C = A B, A with k columns: staging, multiplication, and the way to C's epilogue. What the products
// are is said in product.cu and conv.cu.
//
// A tile is ROWS x COLS results of a block. Its threads are SLICES groups, every one of which covers the whole tile but
// only its own part of every DEPTH of k: the smaller the tile, the more groups, so that even one block on a
// multiprocessor has warps enough to hide the latencies. Groups are added up at the end, in their order. k goes through
// shared memory DEPTH at a time in two buffers, so that the next loads are in flight during the multiplication, with one
// barrier each.
//
// Both operands lie in shared memory by lines of ROWS or COLS words of equal k, of PACK neighbouring k each. How words are
// made, multiplied and laid down again is the tile's own: scalar_tile.cuh has those in 32 bits, tensor_tile.cuh those of
// tensor cores.
#pragma once

#include "operand.cuh"

// Shared memory of a tile: the two buffers, and later the slices' sums.
template <u32 ROWS, u32 COLS, u32 LINES, u32 SLICES>
struct ProductMemory {
    static constexpr u32 BUFFERS = 2 * (ROWS + COLS) * LINES, SUMS = SLICES * ROWS * COLS;
    static constexpr u32 QUADS = (BUFFERS > SUMS ? BUFFERS : SUMS) / 4;
};

template <class T>
__device__ inline float* product_memory() {
    SHARED(float4, product_tile, T::SHARED_QUADS);
    return reinterpret_cast<float*>(product_tile);
}

// How the threads share an operand with SIDE rows or columns in the tile.
template <class T, u32 SIDE, bool ALONG>
struct Share {
    // Quads that a thread stages.
    static constexpr u32 STAGED = SIDE * T::DEPTH / 4 / T::THREADS;
    static constexpr u32 QUADS = (ALONG ? T::DEPTH : SIDE) / 4;
    // Quads of neighbouring lines that a thread stages together, as the PACK numbers of a word.
    static constexpr u32 TOGETHER = ALONG ? 1 : T::PACK;
    static_assert(STAGED * 4 * T::THREADS == SIDE * T::DEPTH, "threads must share the work evenly");
    static_assert(STAGED % TOGETHER == 0, "a thread must have whole words");
    static_assert(T::THREADS % QUADS == 0, "a thread's quads must lie at one place");

    // Where the thread's i-th quad lies: `line` rows of the matrix in memory, and `at` within the row.
    static __device__ u32 line(u32 i) {
        return (threadIdx.x + i / TOGETHER * T::THREADS) / QUADS * TOGETHER + i % TOGETHER;
    }
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

    __device__ void stage(const Quads& staged, float* to) const { T::template stage<Own, SIDE, ALONG>(staged, to); }
};

// In the place of a tile's ColumnSums, where nobody wants them.
struct NoColumnSums {
    template <u32 STAGED>
    __device__ void fetched(const float4 (&)[STAGED]) {}
    __device__ void staged(const float*) {}
};

// Adds A B to the slices' sums. `columns` sees what a thread fetched of B, and every part of B that is staged. All threads
// are done with the shared memory when it returns.
template <class T, class A, class B, class Columns>
__device__ inline void accumulate(const typename T::Place& place, const A& a, const B& b, u32 depth,
                                  typename T::Sums& sum, Columns& columns) {
    float* const memory = product_memory<T>();
    const Staging<T, T::ROWS, A> from_a(a);
    const Staging<T, T::COLS, B> from_b(b);
    typename Staging<T, T::ROWS, A>::Quads next_a;
    typename Staging<T, T::COLS, B>::Quads next_b;
    from_a.fetch(0, next_a);
    from_b.fetch(0, next_b);
    u32 buffer = 0;
    for (u32 left = depth; left > 0; buffer ^= 1) {
        float *const here = memory + buffer * (T::ROWS + T::COLS) * T::LINES, *const beside = here + T::ROWS * T::LINES;
        from_a.stage(next_a, here);
        from_b.stage(next_b, beside);
        columns.fetched(next_b);
        // Behind it nobody reads the other buffer any more.
        __syncthreads();
        const u32 staged = left < T::DEPTH ? left : T::DEPTH;
        left -= staged;
        if (left > 0) {
            from_a.fetch(depth - left, next_a);
            from_b.fetch(depth - left, next_b);
        }
        if (place.slice * T::PART < staged) {
            T::template multiply<A::ALONG, B::ALONG>(place, here, beside, sum);
        }
        columns.staged(beside);
    }
    __syncthreads();
}

template <class T, u32 V, class Body>
__device__ inline void add_slices(const float* memory, u32 rows, u32 cols, const Body& body) {
    for (u32 index = threadIdx.x; index < T::ROWS * T::COLS / V; index += T::THREADS) {
        const u32 row = index / (T::COLS / V), col = index % (T::COLS / V) * V;
        if (row >= rows || col >= cols) {
            continue;
        }
        const float* at = memory + row * T::COLS + (col ^ T::spread(row));
        Lanes<V> total = take<V>(at);
#pragma unroll
        for (u32 slice = 1; slice < T::SLICES; ++slice) {
            const Lanes<V> x = take<V>(at + slice * T::ROWS * T::COLS);
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
__device__ inline void finish(const typename T::Place& place, const typename T::Sums& sum, u32 rows, u32 cols, bool whole,
                              const Body& body) {
    float* const memory = product_memory<T>();
    T::lay_down(place, sum, memory);
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
    const typename T::Place place = T::place();
    typename T::Sums sum = {};
    typename T::ColumnSums columns;
    for (u32 pair = 0; pair < count; ++pair) {
        columns.wanted = bias != 0 && top == 0 && pair == 0;
        accumulate<T>(place, pairs.a(pair, top), pairs.b(pair, left), pairs.depth, sum, columns);
    }
    if (top == 0) {
        columns.put(out + (u64)inputs * outputs + left, outputs - left);
    }
    finish<T>(place, sum, inputs - top, outputs - left, whole, Dense{out, top, left, outputs});
}

// A kernel whose body knows its tile as Tile.
#define KERNEL_OF_TILE(name, tile, blocks, parameters, ...)                               \
    extern "C" __global__ void __launch_bounds__(tile::THREADS, blocks) name parameters { \
        using Tile = tile;                                                                \
        __VA_ARGS__;                                                                      \
    }
