// Group norm: in each picture and group of neighbouring channels, the numbers less their mean, over the root of their
// mean square deviation + epsilon. A row of a matrix is a picture of `pixels` x `channels`, of which a group has
// channels / groups.
//
//   group_norm           to = y = s (x - m), where m is the mean of the group and s = (mean of (x - m)^2 + epsilon)^-1/2
//   group_norm_reverse   to = s (delta - mean of delta - y mean of (delta y)), or += with add
// to overlaps no other matrix.
//
// Launch: blocks of up to 256 threads, a block for each row and group. Reads x three times, in the reverse pass four
// times and delta three times, of which all but the first come from the caches; writes 4 bytes a number.
#include "divisor.cuh"

// The numbers of one group of a row, which the threads of a block take in turn.
struct NormGroup {
    u32 row, first, count, channels;
    Divisor each;

    __device__ NormGroup(u32 pixels, u32 channels, u32 groups)
        : row(blockIdx.x / groups), channels(channels), each(divisor(channels / groups)) {
        first = blockIdx.x % groups * each.by;
        count = pixels * each.by;
    }

    // Calls body(place in the row) for this thread's numbers.
    template <class Body>
    __device__ void each_number(const Body& body) const {
        for (u32 index = threadIdx.x; index < count; index += blockDim.x) {
            u32 channel;
            const u32 pixel = each.divide(index, channel);
            body(pixel * channels + first + channel);
        }
    }

    // The mean of what the term gives for all of them, in every thread.
    template <class Term>
    __device__ float mean(const Term& term) const {
        SHARED(float, result, 1);
        float sum = 0.0f;
        each_number([&](u32 at) { sum += term(at); });
        const double total = block_sum(sum);
        if (threadIdx.x == 0) {
            result[0] = (float)(total / count);
        }
        __syncthreads();
        return result[0];
    }
};

// The mean of a group and the scale of its deviations.
struct GroupMoments {
    float mean, scale;

    __device__ GroupMoments(const NormGroup& group, const float* x, float epsilon) {
        const float centre = group.mean([=](u32 at) { return x[at]; });
        const float square = group.mean([=](u32 at) { return (x[at] - centre) * (x[at] - centre); });
        mean = centre;
        scale = 1.0f / sqrtf(square + epsilon);
    }

    __device__ float unit(float x) const { return scale * (x - mean); }
};

extern "C" __global__ void __launch_bounds__(256, 4)
group_norm(const float* x, u32 x_stride, float* to, u32 to_stride, u32 pixels, u32 channels, u32 groups,
           float epsilon) {
    const NormGroup group(pixels, channels, groups);
    const float* from = row_of(x, x_stride, group.row);
    float* out = row_of(to, to_stride, group.row);
    const GroupMoments moments(group, from, epsilon);
    group.each_number([=](u32 at) { out[at] = moments.unit(from[at]); });
}

extern "C" __global__ void __launch_bounds__(256, 4)
group_norm_reverse(const float* x, u32 x_stride, const float* delta, u32 delta_stride, float* to, u32 to_stride,
                   u32 pixels, u32 channels, u32 groups, float epsilon, u32 add) {
    const NormGroup group(pixels, channels, groups);
    const float *from = row_of(x, x_stride, group.row), *by = row_of(delta, delta_stride, group.row);
    float* out = row_of(to, to_stride, group.row);
    const GroupMoments moments(group, from, epsilon);
    const float shift = group.mean([=](u32 at) { return by[at]; });
    const float along = group.mean([=](u32 at) { return by[at] * moments.unit(from[at]); });
    group.each_number([=](u32 at) {
        const float gradient = moments.scale * (by[at] - shift - along * moments.unit(from[at]));
        out[at] = add != 0 ? out[at] + gradient : gradient;
    });
}
