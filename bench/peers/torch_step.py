"""The training step in PyTorch: value step, generator step, Adam for both, average of the generator.

    python torch_step.py --dim 2 --hidden 128 --sources 128 --k 8 --threads 2 --steps 500 --warmup 50 --json [--compile]
    python torch_step.py --device cuda [--compile] [--graph] [--tf32 | --bf16] ...

`--compile` runs both losses with their gradients through torch.compile (a C++ compiler is needed). `--graph` captures a
whole step, drawing, optimisers and average included, as one CUDA graph and replays it: nothing of Python is left in a step.
"""
import math

import common

if __name__ == "__main__":
    def _extra(p):
        p.add_argument("--compile", action="store_true")
        p.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
        p.add_argument("--graph", action="store_true", help="on a GPU: one CUDA graph a step")
        p.add_argument("--tf32", action="store_true", help="on a GPU: matrix products of numbers rounded to 10 bits of mantissa")
        p.add_argument("--bf16", action="store_true", help="on a GPU: the networks under autocast to bfloat16")
    ARGS = common.arguments(__doc__, _extra)

import torch
from torch import nn


class Mlp(nn.Sequential):
    """Hidden layers with SiLU between linear ones; `rounds` to bfloat16 within them, and their outputs back."""

    def __init__(self, sizes, last_scale=1.0, rounds=False):
        layers = []
        scales = [1.0] * (len(sizes) - 2) + [last_scale]
        for scale, i, o in zip(scales, sizes[:-1], sizes[1:]):
            linear = nn.Linear(i, o)
            nn.init.normal_(linear.weight, std=scale / math.sqrt(i))
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.SiLU()]
        super().__init__(*layers[:-1])
        self.rounds = rounds

    def forward(self, x):
        if not self.rounds:
            return super().forward(x)
        # A cached copy of a weight would be that of the capture, and of before the last update.
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            return super().forward(x).float()


def squares(x, t):
    """About x^2 / sqrt(2) less a mean, bent to grow like |x| far out."""
    square = x * (x / (1 + (1 + (x / common.REACH) ** 2).sqrt()))
    return math.sqrt(2) * square - (common.START + common.CHANGE * t)


def value_at(value, t, x):
    return value(torch.cat([x, t, squares(x, t)], 1))[:, 0]


def components(generator, x0, extra, form):
    """What the head reads of each row's component (rows, 2 d), and the log-probabilities (sources, k), None where all are alike."""
    if form.latent:
        return generator(torch.cat([x0, extra, squares(x0, 0)], 1)), None
    x0_once = x0[::form.k]
    raw, logits = generator(torch.cat([x0_once, squares(x0_once, 0)], 1)).split([form.outputs(x0.shape[1]) - form.k, form.k], 1)
    return raw.reshape(len(x0), -1), logits.log_softmax(1)


def chosen(raw, log_weight, uniform):
    """A component for each row in place of all in turn, drawn systematically: row j takes the one at (j + uniform) / k along the
    cumulated probabilities of its source."""
    n, k = log_weight.shape
    count = lambda end: torch.arange(end, device=raw.device)
    place = torch.searchsorted(log_weight.exp().cumsum(1)[:, :-1].contiguous(), (count(k) + uniform) / k)
    return raw[(place + k * count(n)[:, None]).flatten()]


def head(raw, x0, sigma):
    """Mean and standard deviation of x1 given x0 and the component."""
    shift, raw = raw.chunk(2, 1)
    return x0 + shift, (raw + math.log(0.5 * sigma)).clamp(common.LOG_STD_MIN, common.LOG_STD_MAX).exp()


def value_bridge(generator, batch, sigma, form):
    """The parts of the value step that have no gradient: x1, x_t, the bridge drift and t, one row per sample."""
    x0, _, extra, xi, raw_t, eta = batch
    with torch.no_grad():
        raw, log_weight = components(generator, x0, extra, form)
        mean, std = head(raw if form.latent else chosen(raw, log_weight, extra), x0, sigma)
        x1 = torch.addcmul(mean, std, xi)
        t = common.VALUE_TIME_MAX * raw_t
        away = t * std * xi + sigma * (t * (1 - t)).sqrt() * eta
        own, free = std * std, sigma * sigma
        drift = mean - x0 + (own - free) / (t * own + (1 - t) * free) * away
        return x1, torch.lerp(x0, mean, t) + away, drift, t


def value_loss(value, generator, batch, sigma, conjugate, form):
    """Minus the dual objective."""
    x1, x_t, drift, t = value_bridge(generator, batch, sigma, form)
    y = batch[1]
    x_t.requires_grad_()
    ends = value_at(value, y.new_ones(len(x1) + len(y), 1), torch.cat([x1, y]))
    potential = ends[:len(x1)].mean() - conjugate(ends[len(x1):]).mean()
    gradient, = torch.autograd.grad(value_at(value, t, x_t).sum(), x_t, create_graph=True)
    return (gradient * (0.5 * gradient + drift)).sum(1).mean() - potential


def log_mixture(x_t, centre, variance, log_weight):
    """log of the sum over k of exp(log_weight_k) N(x_t; centre_k, variance_k); arguments (sources, k, d). Of components that are
    drawn and equally likely, None, it is twice that, less that over the sample's own half, whose bias is twice as large; k even."""
    square = ((x_t[:, :, None] - centre[:, None]) ** 2 / variance[:, None]).sum(-1)
    log_det = variance.log().sum(-1)[:, None]
    pairs, k, h = -0.5 * (square + log_det), x_t.shape[1], x_t.shape[1] // 2
    if log_weight is not None:
        return torch.logsumexp(pairs + log_weight[:, None], 2) - 0.5 * x_t.shape[2] * math.log(2 * math.pi)
    own = torch.cat([torch.logsumexp(pairs[:, :h, :h], 2), torch.logsumexp(pairs[:, h:, h:], 2)], 1)
    return 2 * (torch.logsumexp(pairs, 2) - math.log(k)) - (own - math.log(h)) - 0.5 * x_t.shape[2] * math.log(2 * math.pi)


def generator_loss(generator, value, batch, sigma, form):
    x0, _, extra, xi, raw_t, eta = batch
    d, eps = x0.shape[1], sigma * sigma
    raw, log_weight = components(generator, x0, extra, form)
    mean, std = head(raw, x0, sigma)
    t = common.GENERATOR_TIME_MIN + (1 - common.GENERATOR_TIME_MIN) * raw_t
    noise_var = eps * t * (1 - t)
    centre, variance = torch.lerp(x0, mean, t), (t * std) ** 2 + noise_var
    deviation = variance.sqrt()
    with torch.no_grad():
        away = (t * std * xi + noise_var.sqrt() * eta) / deviation
    x_t = centre + deviation * away
    group = lambda a: a.view(-1, form.k, d)
    # Through the samples alone: the part through the components has mean zero.
    held = None if form.latent else log_weight.detach()
    log_p = log_mixture(group(x_t), group(centre.detach()), group(variance.detach()), held).flatten()
    log_w = -0.5 * (((x_t - x0) ** 2).sum(1) / (eps * t[:, 0]) + d * (2 * math.pi * eps * t[:, 0]).log())
    losses = value_at(value, t, x_t) + eps * (log_p - log_w)
    return losses.mean() if form.latent else (log_weight.exp() * losses.view(-1, form.k)).sum(1).mean()


def draw(source, target, n, form):
    """One batch: x0, y, z, xi, raw t, eta; n * k rows each, a source's k rows next to each other. Without latents, in place of z
    what the components are drawn by: one uniform number a source."""
    k, d, rows, on = form.k, source.shape[1], n * form.k, {"device": source.device}
    x0 = source[torch.randint(len(source), (n,), **on)].repeat_interleave(k, 0)
    y = target[torch.randint(len(target), (rows,), **on)]
    raw_t = torch.rand(n, 1, **on).repeat_interleave(k, 0)
    extra = torch.randn(rows, form.latent, **on) if form.latent else torch.rand(n, 1, **on)
    return x0, y, extra, torch.randn(rows, d, **on), raw_t, torch.randn(rows, d, **on)


def compiled_losses(value, generator, sigma, form):
    """Both losses with their gradients, each traced into one graph."""
    from torch.func import functional_call, grad_and_value

    call = lambda module, params: lambda x: functional_call(module, params, (x,))

    def value_part(value_params, generator_params, batch):
        x1, x_t, drift, t = value_bridge(call(generator, generator_params), batch, sigma, form)

        def loss(params):
            net, y = call(value, params), batch[1]
            ends = value_at(net, y.new_ones(len(x1) + len(y), 1), torch.cat([x1, y]))
            gradient = torch.func.grad(lambda x: value_at(net, t, x).sum())(x_t)
            return (gradient * (0.5 * gradient + drift)).sum(1).mean() - (ends[:len(x1)].mean() - ends[len(x1):].mean())

        return grad_and_value(loss)(value_params)

    def generator_part(generator_params, value_params, batch):
        loss = lambda params: generator_loss(call(generator, params), call(value, value_params), batch, sigma, form)
        return grad_and_value(loss)(generator_params)

    return torch.compile(value_part), torch.compile(generator_part)


def captured(step):
    """`step` as one CUDA graph: a function that replays it and returns the tensors that it writes."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):       # what is made at the first calls must not be part of the graph
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outcome = step()

    def replay():
        graph.replay()
        return outcome
    return replay


def main(a):
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high" if a.tf32 else "highest")
    source, target = (torch.from_numpy(p).to(a.device) for p in common.mixture_pools(a))
    sigma, form = math.sqrt(a.epsilon), common.Form(a.k, a.latent)
    value_inputs, generator_inputs = form.inputs(a.dim)
    value = Mlp([value_inputs, *[a.hidden] * a.layers, 1], rounds=a.bf16).to(a.device)
    generator = Mlp([generator_inputs, *[a.hidden] * a.layers, form.outputs(a.dim)], 0.5, a.bf16).to(a.device)
    value_params, generator_params = list(value.parameters()), list(generator.parameters())
    average = [p.detach().clone() for p in generator_params]
    settings = {"betas": (0.5, 0.99), "fused": True, "capturable": a.graph}
    value_adam = torch.optim.Adam(value_params, lr=a.lr_value, **settings)
    generator_adam = torch.optim.Adam(generator_params, lr=a.lr_generator, **settings)
    batch = lambda: draw(source, target, a.sources, form)

    if a.compile:
        value_part, generator_part = compiled_losses(value, generator, sigma, form)
        value_named, generator_named = dict(value.named_parameters()), dict(generator.named_parameters())

        @torch.no_grad()
        def value_gradients():
            gradients, loss = value_part(value_named, generator_named, batch())
            return loss, [gradients[name] for name in value_named]

        @torch.no_grad()
        def generator_gradients():
            gradients, loss = generator_part(generator_named, value_named, batch())
            return loss, [gradients[name] for name in generator_named]
    else:
        # Asking for the gradients by name leaves out those of the other network's parameters.
        def value_gradients():
            loss = value_loss(value, generator, batch(), sigma, lambda v: v, form)
            return loss.detach(), torch.autograd.grad(loss, value_params)

        def generator_gradients():
            loss = generator_loss(generator, value, batch(), sigma, form)
            return loss.detach(), torch.autograd.grad(loss, generator_params)

    def update(optimizer, params, gradients):
        for p, g in zip(params, gradients):
            p.grad = g
        optimizer.step()

    def step():
        value_loss_now, gradients = value_gradients()
        update(value_adam, value_params, gradients)
        generator_loss_now, gradients = generator_gradients()
        update(generator_adam, generator_params, gradients)
        with torch.no_grad():
            torch._foreach_lerp_(average, generator_params, 1 - a.ema)
        return -value_loss_now, generator_loss_now

    one = captured(step) if a.graph else step

    def run(n):
        for _ in range(n):
            dual, loss = one()
        return {"dual": dual.item(), "generator_loss": loss.item()}

    marks = [mark for mark in ("compile", "graph", "tf32", "bf16") if getattr(a, mark)]
    common.measure(a, "-".join(["torch", *marks]), run)


if __name__ == "__main__":
    main(ARGS)
