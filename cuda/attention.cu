// Self-attention between the pixels of a picture: products of matrices, one for each row and head, and the softmax of
// lines.
//
//   attention_tiles     to = factor A B, or += with add. A (m x k) begins `a_head` numbers after that of the head before,
//                       and its element (i, j) lies at i ai + j ak; B (k x n) at b_head, i bk + j bj; to at to_head,
//                       i ti + j.
//   softmax_lines       each line of `length` numbers of a row becomes e^x over the line's sum of that
//   softmax_lines_reverse   delta, the gradient by weights w that the softmax gave, becomes the one by what it took:
//                       w (delta - sum over the line of w delta)
// to and delta overlap no other matrix.
//
// Launch: attention_tiles: blocks of 16 x 16 threads, a block for each tile of 16 x 16 elements, of a head, of a row.
// The others: one-dimensional, any number of blocks; a warp takes one line after another, and reads it three times, or
// twice and its weights too.
#include "device.cuh"

constexpr u32 ATTENTION_TILE = 16;

// A matrix whose elements lie at these distances.
struct Strided {
    const float* start;
    u32 rows, columns, down, across;

    // Brings a tile into shared memory, [row][column], zeros beyond the edges. Threads along x read neighbours.
    __device__ void stage(float* tile, u32 row, u32 column) const {
        const bool turned = across != 1;
        const u32 i = turned ? threadIdx.x : threadIdx.y, j = turned ? threadIdx.y : threadIdx.x;
        const bool inside = row + i < rows && column + j < columns;
        tile[i * (ATTENTION_TILE + 1) + j] = inside ? start[(row + i) * down + (column + j) * across] : 0.0f;
    }
};

extern "C" __global__ void __launch_bounds__(256, 4)
attention_tiles(const float* a, u32 a_stride, u32 a_head, u32 ai, u32 ak, const float* b, u32 b_stride, u32 b_head,
                  u32 bk, u32 bj, float* to, u32 to_stride, u32 to_head, u32 ti, u32 m, u32 n, u32 k, u32 heads,
                  float factor, u32 add) {
    SHARED(float, left, ATTENTION_TILE * (ATTENTION_TILE + 1));
    SHARED(float, right, ATTENTION_TILE * (ATTENTION_TILE + 1));
    const u32 down = (m + ATTENTION_TILE - 1) / ATTENTION_TILE, across = (n + ATTENTION_TILE - 1) / ATTENTION_TILE;
    const u32 tile = blockIdx.x % (down * across), of = blockIdx.x / (down * across);
    const u32 head = of % heads, row = of / heads;
    const u32 i = tile / across * ATTENTION_TILE, j = tile % across * ATTENTION_TILE;
    const Strided first = {row_of(a, a_stride, row) + head * a_head, m, k, ai, ak};
    const Strided second = {row_of(b, b_stride, row) + head * b_head, k, n, bk, bj};
    float sum = 0.0f;
    for (u32 from = 0; from < k; from += ATTENTION_TILE) {
        first.stage(left, i, from);
        second.stage(right, from, j);
        __syncthreads();
#pragma unroll
        for (u32 step = 0; step < ATTENTION_TILE; ++step) {
            sum += left[threadIdx.y * (ATTENTION_TILE + 1) + step] * right[step * (ATTENTION_TILE + 1) + threadIdx.x];
        }
        __syncthreads();
    }
    if (i + threadIdx.y < m && j + threadIdx.x < n) {
        float* out = row_of(to, to_stride, row) + head * to_head + (i + threadIdx.y) * ti + j + threadIdx.x;
        *out = factor * sum + (add != 0 ? *out : 0.0f);
    }
}

// Calls body(row, first place of the line in it, lane) for the lines of this thread's warp.
template <class Body>
__device__ inline void each_line(u32 rows, u32 lines, u32 length, const Body& body) {
    const u64 total = (u64)rows * lines, step = (u64)gridDim.x * (blockDim.x / WARP);
    for (u64 index = (u64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; index < total; index += step) {
        u32 line;
        const u32 row = (u32)divide(index, lines, line);
        body(row, line * length, threadIdx.x % WARP);
    }
}

extern "C" __global__ void __launch_bounds__(256, 4)
softmax_lines(float* to, u32 to_stride, u32 rows, u32 lines, u32 length) {
    each_line(rows, lines, length, [=](u32 row, u32 first, u32 lane) {
        float* x = row_of(to, to_stride, row) + first;
        float top = -infinity();
        for (u32 i = lane; i < length; i += WARP) {
            top = larger(top, x[i]);
        }
        top = lanes_max<WARP>(top);
        float sum = 0.0f;
        for (u32 i = lane; i < length; i += WARP) {
            x[i] = expf(x[i] - top);
            sum += x[i];
        }
        const float scale = 1.0f / lanes_sum<WARP>(sum);
        for (u32 i = lane; i < length; i += WARP) {
            x[i] *= scale;
        }
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
softmax_lines_reverse(const float* weights, u32 weights_stride, float* delta, u32 delta_stride, u32 rows, u32 lines,
                u32 length) {
    each_line(rows, lines, length, [=](u32 row, u32 first, u32 lane) {
        const float* weight = row_of(weights, weights_stride, row) + first;
        float* x = row_of(delta, delta_stride, row) + first;
        float mean = 0.0f;
        for (u32 i = lane; i < length; i += WARP) {
            mean += weight[i] * x[i];
        }
        mean = lanes_sum<WARP>(mean);
        for (u32 i = lane; i < length; i += WARP) {
            x[i] = weight[i] * (x[i] - mean);
        }
    });
}
