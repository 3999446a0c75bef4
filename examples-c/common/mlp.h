/*
 * A multilayer perceptron in plain C: equal hidden layers of silu units and a linear output, with its reverse pass, the
 * gradient of a directional derivative, and Adam. It is small enough to be read beside docs/method.md, "The tangent".
 */
#ifndef EXAMPLES_MLP_H
#define EXAMPLES_MLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

enum { MLP_MOST_LAYERS = 8 };

typedef struct {
    size_t layers;                    /* weight matrices, one more than hidden layers */
    size_t width[MLP_MOST_LAYERS + 1]; /* of the input, of each hidden layer, of the output */
    size_t offset[MLP_MOST_LAYERS];   /* where a layer's matrix (inputs x outputs) begins; its biases follow it */
    size_t parameters;
    float *weights, *gradient;
    float *mean, *square; /* Adam's */
} Mlp;

/* What a pass over some rows leaves behind for those that follow. */
typedef struct {
    size_t rows;
    float *unit[MLP_MOST_LAYERS + 1];    /* h: the input, what each hidden layer gives, the output */
    float *slope[MLP_MOST_LAYERS];       /* f'(a) of each hidden layer */
    float *curve[MLP_MOST_LAYERS];       /* f''(a) */
    float *delta[MLP_MOST_LAYERS + 1];   /* the gradient of the output by a, and by the input */
    float *pull[MLP_MOST_LAYERS];        /* the gradient of the output by h */
    float *tangent[MLP_MOST_LAYERS + 1]; /* h' along a direction */
    float *adjoint[MLP_MOST_LAYERS + 1];
} MlpTape;

/* Weights are N(0, 1 / inputs) and biases 0; those of the output are times `output`. */
bool mlp_create(Mlp *mlp, size_t inputs, size_t width, size_t hidden, size_t outputs, float output, Random *random);
void mlp_destroy(Mlp *mlp);

bool mlp_tape_create(MlpTape *tape, const Mlp *mlp, size_t rows);
void mlp_tape_destroy(MlpTape *tape);

/* Passes rows forward, which are in tape->unit[0] (rows x inputs). The output is in tape->unit[layers]. */
void mlp_forward(const Mlp *mlp, MlpTape *tape, size_t rows);

/*
 * Reverse pass from the gradient by the output, which is in tape->delta[layers] (rows x outputs). Leaves the gradient by
 * the input in tape->delta[0], and with `add` adds that by the weights to mlp->gradient.
 */
void mlp_backward(Mlp *mlp, MlpTape *tape, bool add);

/*
 * Adds the gradient of sum over rows of <grad of the output by the input, w> by the weights. The network has one output,
 * w (rows x inputs) is in tape->tangent[0], and mlp_backward came before it with ones.
 */
void mlp_backward_directional(Mlp *mlp, MlpTape *tape);

/* One step of Adam, number `step` from 1, with decays 0.5 and 0.99; then the gradient is zero again. */
void mlp_step(Mlp *mlp, uint64_t step, double rate);

#endif
