"""The training step of this library, called through its C API.

    python library_step.py --dim 2 --hidden 128 --sources 128 --k 8 --threads 2 --steps 500 --warmup 50 --json
    python library_step.py --device cuda --products fused --precision tf32 ...
"""
import math

import common

if __name__ == "__main__":
    def _extra(p):
        p.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
        p.add_argument("--products", default="auto", choices=["auto", "fused", "cublaslt"], help="who multiplies matrices on a GPU")
        p.add_argument("--precision", default="f32", choices=["f32", "tf32", "bf16"], help="the arithmetic of their products on a GPU")
    ARGS = common.arguments(__doc__, _extra)

import sfeuot_ctypes as sfeuot


def main(a):
    source, target = common.mixture_pools(a)
    gpu = {"cuda_products": a.products, "cuda_precision": a.precision} if a.device == "cuda" else {}
    context = sfeuot.Context(device=a.device, threads=a.threads, **gpu)
    trainer = sfeuot.Trainer(
        context, source, target, divergence="balanced", sigma=math.sqrt(a.epsilon), sigma_units="data", hidden_width=a.hidden,
        hidden_layers=a.layers, latent_dimension=a.latent, batch_sources=a.sources, components=a.k,
        generator_learning_rate=a.lr_generator, value_learning_rate=a.lr_value, ema_decay=a.ema, seed=a.seed)

    def run(n):
        metrics = trainer.step(n)
        return {"dual": metrics["dual"], "generator_loss": metrics["generator_loss"]}

    marks = [] if a.device == "cpu" else [a.products] if a.precision == "f32" else [a.products, a.precision]
    common.measure(a, "-".join(["library", *marks]), run)


if __name__ == "__main__":
    main(ARGS)
