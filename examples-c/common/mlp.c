#include "mlp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool mlp_create(Mlp *mlp, size_t inputs, size_t width, size_t hidden, size_t outputs, float output, Random *random)
{
    memset(mlp, 0, sizeof *mlp);
    mlp->layers = hidden + 1;
    for (size_t layer = 0; layer <= mlp->layers; layer++) {
        mlp->width[layer] = layer == 0 ? inputs : layer == mlp->layers ? outputs : width;
    }
    for (size_t layer = 0; layer < mlp->layers; layer++) {
        mlp->offset[layer] = mlp->parameters;
        mlp->parameters += (mlp->width[layer] + 1) * mlp->width[layer + 1];
    }
    float **arrays[] = {&mlp->weights, &mlp->gradient, &mlp->mean, &mlp->square};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = calloc(mlp->parameters, sizeof **arrays[i]);
        if (!*arrays[i]) {
            return false;
        }
    }
    for (size_t layer = 0; layer < mlp->layers; layer++) {
        size_t count = mlp->width[layer] * mlp->width[layer + 1];
        float factor = (layer + 1 == mlp->layers ? output : 1) / sqrtf((float)mlp->width[layer]);
        for (size_t i = 0; i < count; i++) {
            mlp->weights[mlp->offset[layer] + i] = factor * (float)random_normal(random);
        }
    }
    return true;
}

void mlp_destroy(Mlp *mlp)
{
    free(mlp->weights);
    free(mlp->gradient);
    free(mlp->mean);
    free(mlp->square);
    memset(mlp, 0, sizeof *mlp);
}

bool mlp_tape_create(MlpTape *tape, const Mlp *mlp, size_t rows)
{
    memset(tape, 0, sizeof *tape);
    for (size_t layer = 0; layer <= mlp->layers; layer++) {
        float **arrays[] = {&tape->unit[layer],    &tape->delta[layer],
                            &tape->tangent[layer], &tape->adjoint[layer],
                            layer < mlp->layers ? &tape->slope[layer] : NULL,
                            layer < mlp->layers ? &tape->curve[layer] : NULL,
                            layer < mlp->layers ? &tape->pull[layer] : NULL};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
            if (arrays[i] && !(*arrays[i] = calloc(rows * mlp->width[layer], sizeof **arrays[i]))) {
                return false;
            }
        }
    }
    return true;
}

void mlp_tape_destroy(MlpTape *tape)
{
    for (size_t layer = 0; layer <= MLP_MOST_LAYERS; layer++) {
        free(tape->unit[layer]);
        free(tape->delta[layer]);
        free(tape->tangent[layer]);
        free(tape->adjoint[layer]);
        if (layer < MLP_MOST_LAYERS) {
            free(tape->slope[layer]);
            free(tape->curve[layer]);
            free(tape->pull[layer]);
        }
    }
    memset(tape, 0, sizeof *tape);
}

/* to = x W, and + biases where there are any. */
static void multiply(const float *x, const float *weights, const float *biases, size_t rows, size_t inputs,
                     size_t outputs, float *to)
{
    for (size_t r = 0; r < rows; r++) {
        float *row = to + r * outputs;
        for (size_t o = 0; o < outputs; o++) {
            row[o] = biases ? biases[o] : 0;
        }
        for (size_t i = 0; i < inputs; i++) {
            float value = x[r * inputs + i];
            const float *line = weights + i * outputs;
            for (size_t o = 0; o < outputs; o++) {
                row[o] += value * line[o];
            }
        }
    }
}

/* to = delta W^T */
static void multiply_transposed(const float *delta, const float *weights, size_t rows, size_t inputs, size_t outputs,
                                float *to)
{
    for (size_t r = 0; r < rows; r++) {
        const float *row = delta + r * outputs;
        for (size_t i = 0; i < inputs; i++) {
            const float *line = weights + i * outputs;
            float sum = 0;
            for (size_t o = 0; o < outputs; o++) {
                sum += row[o] * line[o];
            }
            to[r * inputs + i] = sum;
        }
    }
}

/* gradient of the matrix += x^T delta; of the biases, where they are asked for, += the rows' sum of delta */
static void add_gradient(const float *x, const float *delta, size_t rows, size_t inputs, size_t outputs,
                         float *gradient, bool biases)
{
    for (size_t r = 0; r < rows; r++) {
        const float *row = delta + r * outputs;
        for (size_t i = 0; i < inputs; i++) {
            float value = x[r * inputs + i];
            float *line = gradient + i * outputs;
            for (size_t o = 0; o < outputs; o++) {
                line[o] += value * row[o];
            }
        }
        for (size_t o = 0; biases && o < outputs; o++) {
            gradient[inputs * outputs + o] += row[o];
        }
    }
}

/* silu(a) = a s with s the logistic function of a, whose derivative is s (1 - s). */
static void activate(float *a, float *slope, float *curve, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float s = 1 / (1 + expf(-a[i])), falls = s * (1 - s);
        slope[i] = s + a[i] * falls;
        curve[i] = falls * (2 + a[i] * (1 - 2 * s));
        a[i] *= s;
    }
}

void mlp_forward(const Mlp *mlp, MlpTape *tape, size_t rows)
{
    tape->rows = rows;
    for (size_t layer = 0; layer < mlp->layers; layer++) {
        size_t inputs = mlp->width[layer], outputs = mlp->width[layer + 1];
        const float *weights = mlp->weights + mlp->offset[layer];
        multiply(tape->unit[layer], weights, weights + inputs * outputs, rows, inputs, outputs, tape->unit[layer + 1]);
        if (layer + 1 < mlp->layers) {
            activate(tape->unit[layer + 1], tape->slope[layer + 1], tape->curve[layer + 1], rows * outputs);
        }
    }
}

void mlp_backward(Mlp *mlp, MlpTape *tape, bool add)
{
    for (size_t layer = mlp->layers; layer-- > 0;) {
        size_t inputs = mlp->width[layer], outputs = mlp->width[layer + 1], rows = tape->rows;
        const float *delta = tape->delta[layer + 1];
        if (add) {
            add_gradient(tape->unit[layer], delta, rows, inputs, outputs, mlp->gradient + mlp->offset[layer], true);
        }
        float *pull = layer > 0 ? tape->pull[layer] : tape->delta[0];
        multiply_transposed(delta, mlp->weights + mlp->offset[layer], rows, inputs, outputs, pull);
        for (size_t i = 0; layer > 0 && i < rows * inputs; i++) {
            tape->delta[layer][i] = tape->slope[layer][i] * pull[i];
        }
    }
}

void mlp_backward_directional(Mlp *mlp, MlpTape *tape)
{
    size_t rows = tape->rows, last = mlp->layers;
    /* The tangent of each layer. `adjoint` first holds a', then what the activation makes of it. */
    for (size_t layer = 0; layer + 1 < last; layer++) {
        size_t inputs = mlp->width[layer], outputs = mlp->width[layer + 1];
        float *a = tape->adjoint[layer + 1];
        multiply(tape->tangent[layer], mlp->weights + mlp->offset[layer], NULL, rows, inputs, outputs, a);
        for (size_t i = 0; i < rows * outputs; i++) {
            tape->tangent[layer + 1][i] = tape->slope[layer + 1][i] * a[i];
            /* f''(a) p a', what the activation adds to the adjoint */
            a[i] *= tape->curve[layer + 1][i] * tape->pull[layer + 1][i];
        }
    }
    /* The derivative by a of the output is one and the output is linear, so nothing comes from there but the tangent. */
    for (size_t layer = last; layer-- > 0;) {
        size_t inputs = mlp->width[layer], outputs = mlp->width[layer + 1];
        float *gradient = mlp->gradient + mlp->offset[layer];
        add_gradient(tape->tangent[layer], tape->delta[layer + 1], rows, inputs, outputs, gradient, false);
        if (layer + 1 == last) {
            continue;
        }
        const float *q = tape->adjoint[layer + 1];
        add_gradient(tape->unit[layer], q, rows, inputs, outputs, gradient, true);
        if (layer > 0) {
            /* The layer's tangent is of no more use, so its room takes what comes from the layer above. */
            float *from_above = tape->tangent[layer];
            multiply_transposed(q, mlp->weights + mlp->offset[layer], rows, inputs, outputs, from_above);
            for (size_t i = 0; i < rows * inputs; i++) {
                tape->adjoint[layer][i] += tape->slope[layer][i] * from_above[i];
            }
        }
    }
}

void mlp_step(Mlp *mlp, uint64_t step, double rate)
{
    const double decay = 0.5, slow = 0.99;
    double unbiased = rate / (1 - pow(decay, (double)step)), spread = 1 / (1 - pow(slow, (double)step));
    for (size_t i = 0; i < mlp->parameters; i++) {
        double g = mlp->gradient[i];
        mlp->mean[i] = (float)(decay * mlp->mean[i] + (1 - decay) * g);
        mlp->square[i] = (float)(slow * mlp->square[i] + (1 - slow) * g * g);
        mlp->weights[i] -= (float)(unbiased * mlp->mean[i] / (sqrt(spread * mlp->square[i]) + 1e-8));
        mlp->gradient[i] = 0;
    }
}
