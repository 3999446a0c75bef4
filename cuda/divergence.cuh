// The conjugates Psi* and their derivatives, as src/euot/divergence.rs has them: in double, one evaluation a row.
#pragma once

#include "device.cuh"

enum Divergence : u32 { BALANCED = 0, KL = 1, CHI2 = 2, SOFTPLUS = 3 };

// KL is continued linearly past this v / tau.
constexpr double KL_LINEAR_FROM = 8.0;

__device__ inline void conjugate_of(u32 divergence, double tau, double v, double& value, double& slope) {
    double r = v / tau;
    switch (divergence) {
        case KL: {
            double beyond = r > KL_LINEAR_FROM ? r - KL_LINEAR_FROM : 0.0;
            r -= beyond;
            slope = exp(r);
            value = tau * (expm1(r) + slope * beyond);
            break;
        }
        case CHI2:
            if (r > -2.0) {
                value = v + 0.25 * v * r;
                slope = 1.0 + 0.5 * r;
            } else {
                // A NaN is not above -2 and must come through.
                value = r != r ? v : -tau;
                slope = r != r ? v : 0.0;
            }
            break;
        case SOFTPLUS:
            slope = 2.0 / (1.0 + exp(-r));
            value = 2.0 * tau * ((r > 0.0 ? r : 0.0) + log1p(exp(-fabs(r))) - 0.693147180559945309417232121458);
            break;
        case BALANCED:
            value = v;
            slope = 1.0;
            break;
        default:
            // A divergence that has no case here shows at once, instead of passing for another one.
            value = slope = not_a_number();
    }
}
