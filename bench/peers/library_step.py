"""The training step of this library, called through its C API.

    python library_step.py --dim 2 --hidden 128 --latent 8 --sources 64 --k 16 --threads 2 --steps 500 --warmup 50 --json
"""
import math

import common

if __name__ == "__main__":
    ARGS = common.arguments(__doc__)

import sfeuot_ctypes as sfeuot


def main(a):
    source, target = common.mixture_pools(a)
    context = sfeuot.Context(device="cpu", threads=a.threads)
    trainer = sfeuot.Trainer(
        context, source, target, divergence="balanced", sigma=math.sqrt(a.epsilon), sigma_units="data", hidden_width=a.hidden,
        hidden_layers=a.layers, latent_dimension=a.latent, batch_sources=a.sources, latents_per_source=a.k,
        generator_learning_rate=a.lr_generator, value_learning_rate=a.lr_value, ema_decay=a.ema, seed=a.seed)

    def run(n):
        metrics = trainer.step(n)
        return {"dual": metrics["dual"], "generator_loss": metrics["generator_loss"]}

    common.measure(a, "library", run)


if __name__ == "__main__":
    main(ARGS)
