"""A training step on pictures with convolutional networks: the library's, or the same one in PyTorch.

    python picture_step.py --program library --side 16 --sources 64 --threads 1 --steps 100 --json
    python picture_step.py --program torch [--compile] ...
"""
import common

if __name__ == "__main__":
    def _extra(p):
        p.add_argument("--program", default="library", choices=["library", "torch"])
        p.add_argument("--side", type=int, default=16, help="pixels of a side")
        p.add_argument("--depth", type=int, default=1, help="colours of a picture")
        p.add_argument("--channels", type=int, default=32, help="of the finest level")
        p.add_argument("--compile", action="store_true")
    ARGS = common.arguments(__doc__, _extra)

import numpy as np

import sfeuot_ctypes as sfeuot

LATENT, SIGMA, TAU = 32, 0.6, 0.5       # relative units; tau for each number of a picture
ROWS = 1000                             # pictures of each side, drawn once: what is in them takes no time


def library(a, source, target):
    network = {"kind": "conv", "channels": a.channels, "residual": 0}
    trainer = sfeuot.Trainer(
        sfeuot.Context(threads=a.threads), source, target, divergence="softplus", sigma=SIGMA, tau=TAU,
        latent_dimension=LATENT, deterministic=1, components=1, batch_sources=a.sources, generator_learning_rate=a.lr_generator,
        value_learning_rate=a.lr_value, ema_decay=a.ema, decay_steps=a.steps, seed=a.seed, value_network=network,
        generator_network=network)
    told = trainer.memory[0] / 2 ** 20

    def run(n):
        metrics = trainer.step(n)
        return {"loss": metrics["generator_loss"], "told_mib": told}
    return run


def torch_steps(a):
    """Memory is counted from the packages on, so they come before the rest."""
    import torch
    import picture_methods as methods
    torch.set_num_threads(a.threads)
    return lambda *arguments: torch_training(torch, methods, *arguments)


def torch_training(torch, methods, a, source, target):
    draw = lambda pool: lambda rows: pool[torch.randint(len(pool), (rows,))]
    settings = methods.Settings(steps=a.steps, batch=a.sources, generator_rate=a.lr_generator, value_rate=a.lr_value, ema=a.ema,
                                latent=LATENT, sigma=SIGMA, tau=TAU, channels=a.channels)
    source, target = (draw(torch.from_numpy(pool)) for pool in (source, target))
    training = methods.Training("torch", source, target, (a.depth, a.side, a.side), settings, a.seed)
    if a.compile:
        training.compile()

    def run(n):
        training.run(n)
        return {}
    return run


def main(a):
    rng = np.random.default_rng(a.seed)
    source, target = (rng.standard_normal((ROWS, a.depth, a.side, a.side), np.float32) for _ in range(2))
    a.dim, a.hidden, a.latent, a.k = source[0].size, a.channels, LATENT, 1
    program = library if a.program == "library" else torch_steps(a)
    a.resident_before = common.resident()
    run = program(a, source, target)
    common.measure(a, a.program + "-compile" * a.compile, run)


if __name__ == "__main__":
    main(ARGS)
