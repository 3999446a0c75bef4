"""How long the loss part of a training step takes, through the library's calls and in PyTorch alone: one thread each, in turn, the best of
some rounds.

    python loss_speed.py            # 40 rounds
    python loss_speed.py 2
"""
import sys
import time

import torch

from test_sfeuot_torch import Components, generator_loss, outputs_of, problem_of, sample, value_loss


def main(rounds):
    torch.set_num_threads(1)
    n, form = 128, (0, 0, 8)
    for d in (2, 16, 64):
        latents, deterministic, k = form
        problem, outputs, x0 = problem_of(form, d), outputs_of(form, n, d), torch.randn(n, d)
        v, slope, target = torch.randn(n * k), torch.randn(n * k, d), torch.randn(n * k)
        given = [x.requires_grad_() for x in (v, target, slope)]

        def library():
            times = problem.times("value", n, 1, 2)
            _, _, drift = problem.bridge("value", x0, outputs, times, 1, 2)
            torch.autograd.grad(problem.value_loss(*given, drift), given)
            times = problem.times("generator", n, 1, 2)
            _, xt, _ = problem.bridge("generator", x0, outputs, times, 1, 2)
            torch.autograd.grad(problem.generator_loss(outputs, x0, times, xt, v, slope), outputs)

        def alone():
            with torch.no_grad():
                of = Components(outputs, d, k, latents, deterministic)
                chosen = torch.multinomial(torch.softmax(of.logits, 1), k, replacement=True)[..., None].expand(-1, -1, d)
                of.move, of.s = of.move.gather(1, chosen), of.s.gather(1, chosen)
                _, _, drift = sample(of, x0, 0.995 * torch.rand(n, k), torch.randn(n, k, d), torch.randn(n, k, d))
            torch.autograd.grad(value_loss("kl", *given, drift.view(n * k, d)), given)
            of, t = Components(outputs, d, k, latents, deterministic), 0.2 + 0.8 * torch.rand(n, 1)
            with torch.no_grad():
                _, xt, _ = sample(of, x0, t, torch.randn(n, k, d), torch.randn(n, k, d))
            loss = generator_loss(of, x0, t[:, 0], xt, v.detach().view(n, k), slope.detach().view(n, k, d), latents, deterministic)
            torch.autograd.grad(loss, outputs)

        best = {}
        for program in (library, alone) * rounds:
            began = time.perf_counter()
            program()
            best[program] = min(best.get(program, 1e9), time.perf_counter() - began)
        print(f"loss part of a step, {n} x {k} rows, d = {d}: library {1e3 * best[library]:.2f} ms, "
              f"PyTorch {1e3 * best[alone]:.2f} ms, {best[alone] / best[library]:.1f} times")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
