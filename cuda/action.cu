// The action term along the bridges and the direction of its gradient, in one pass.
//
// From g = grad V(t, x_t) and b = b_t, both rows x d:
//   w = scale (g + b),  action[block] = sum over the block's elements of g (g / 2 + b).
// Where append is not 0, column d of w is set to 0: the tangent has no component along time.
//
// Launch: one-dimensional, any number of blocks; a thread takes one element of the rows x d matrix after another, four
// where d and all strides are multiples of four and all matrices lie on 16 bytes. Reads 8 bytes, writes 4 bytes and does
// 5 operations an element. Terms are summed in float over four elements at most, then in double.
#include "device.cuh"

extern "C" __global__ void __launch_bounds__(256)
action_terms(const float* g, u32 g_stride, const float* b, u32 b_stride, float* w, u32 w_stride, u32 rows, u32 d,
             float scale, u32 append, double* action) {
    const bool whole =
        d % 4 == 0 && vectorised(g, g_stride) && vectorised(b, b_stride) && vectorised(w, w_stride);
    const u32 parts = whole ? d / 4 : d;
    const u64 total = (u64)rows * parts, step = (u64)gridDim.x * blockDim.x;
    double sum = 0.0;
    for (u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x; index < total; index += step) {
        u32 part;
        const u32 row = (u32)divide(index, parts, part);
        const float *gs = row_of(g, g_stride, row), *bs = row_of(b, b_stride, row);
        float* ws = row_of(w, w_stride, row);
        if (whole) {
            float4 x = load4(gs + 4 * part), y = load4(bs + 4 * part);
            float first = x.x * (0.5f * x.x + y.x) + x.y * (0.5f * x.y + y.y);
            float second = x.z * (0.5f * x.z + y.z) + x.w * (0.5f * x.w + y.w);
            sum += first + second;
            store4(ws + 4 * part, make_float4(scale * (x.x + y.x), scale * (x.y + y.y), scale * (x.z + y.z),
                                              scale * (x.w + y.w)));
        } else {
            float x = gs[part], y = bs[part];
            sum += x * (0.5f * x + y);
            ws[part] = scale * (x + y);
        }
        if (append != 0 && part + 1 == parts) {
            ws[d] = 0.0f;
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        action[blockIdx.x] = sum;
    }
}
