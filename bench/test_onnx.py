"""Tests of the graphs that a model is exported to: ONNX's checker takes them, they have no operators but those that the guide
names, and ONNX Runtime gives what a session gives. Needs numpy, onnx and onnxruntime (bench/requirements-onnx.txt)."""
import pathlib
import re
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime

import sfeuot_ctypes as sfeuot

TOLERANCE = 1e-5        # of 32-bit sums in two orders, over the largest number
ROWS = 7
GUIDE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "guide.md"


def operators():
    """Those that the guide names."""
    text = GUIDE.read_text().split("Graphs are made of", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"`(\w+)`", text))


class Graph:
    """One that runs."""

    def __init__(self, data):
        self.model = onnx.load_from_string(data)
        onnx.checker.check_model(self.model, full_check=True)
        self.operators = {node.op_type for node in self.model.graph.node}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]

    def __call__(self, **inputs):
        given = {name: inputs[name].astype(np.float32) for name in self.inputs}
        return dict(zip((one.name for one in self.session.get_outputs()), self.session.run(None, given)))


def clouds(d, rows=300, correlated=False, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, rows, d))
    target[: rows // 2] += 2
    if correlated:
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.geomspace(1, 30, d)
        source, target = source @ turn, target @ turn[::-1] * 0.5
    return (source + offset).astype(np.float32), (1.5 * target + 1 + offset).astype(np.float32)


def clusters(d, count=3, rows=900, correlated=False, seed=0):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, rows, d))
    centres = 5 * rng.normal(size=(count, d))
    target = 0.3 * target + centres[np.arange(rows) % count]
    if correlated:
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.geomspace(1, 10, d)
        source, target = source @ turn, target @ turn
    return source.astype(np.float32), target.astype(np.float32)


def own_clusters(d, count=3, rows=3000, seed=0):
    """Each stretched along axes of its own."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, rows, d))
    centres, which = 5 * rng.normal(size=(count, d)), np.arange(rows) % count
    axes = np.stack([np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(count)])
    target = np.einsum("nj,nji->ni", target * np.geomspace(0.15, 1.5, d), axes[which]) + centres[which]
    return source.astype(np.float32), target.astype(np.float32)


class Exports(unittest.TestCase):
    """Of every kind of model."""

    def agree(self, source, target, steps=12, tau=1.0, sigma=0.4, peaks=False, own=False, **config):
        shape = source.shape[1:]
        flat = lambda x: np.asarray(x).reshape(len(x), -1)
        lines = []
        with sfeuot.Context(threads=1, log=lambda _, line: lines.append(line), log_level="info") as context, \
                sfeuot.Trainer(context, source, target, sigma=sigma, tau=tau, sigma_units="relative", batch_sources=16,
                               generator_learning_rate=1e-2, value_learning_rate=1e-2, **config) as trainer:
            trainer.step(steps)
            self.assertEqual(any("each cluster of the target has axes of its own" in line for line in lines), own)
            with trainer.model() as model, model.session() as session:
                info = model.info()
                if peaks:
                    with tempfile.TemporaryDirectory() as folder:
                        model.save(pathlib.Path(folder) / "model")
                        self.assertTrue(b"peaks" in (pathlib.Path(folder) / "model").read_bytes())
                spread = np.concatenate([flat(source), flat(target)]).std()
                near = lambda found, expected, unit: self.assertLess(
                    np.abs(flat(found).astype(np.float64) - flat(expected)).max() / max(unit, np.abs(expected).max()), TOLERANCE)
                for rows in (1, ROWS):
                    x0 = source[:rows]
                    draws = Graph(model.onnx("generate"))
                    noise = model.noise(rows, seed=5, first_row=9)
                    found = draws(x0=x0, **noise)["x1"]
                    self.assertEqual(found.shape, (rows, *shape))
                    near(found, session.generate(flat(x0), seed=5, first_row=9), spread)
                    expected = {"x0"} | ({"latent"} if info["latent_dimension"] else set())
                    expected |= {"component"} if not info["latent_dimension"] and info["components"] > 1 else set()
                    expected |= set() if config.get("deterministic") else {"noise"}
                    self.assertEqual(set(draws.inputs), expected)

                    mean = Graph(model.onnx("mean", latents=3, seed=8, row=4))
                    self.assertEqual(mean.inputs, ["x0"])
                    found = mean(x0=x0)["mean"]
                    one = [session.conditional_mean(flat(row[None]), latents=3, seed=8, first_row=4)[0] for row in x0]
                    near(found, np.stack(one), spread)

                    value = Graph(model.onnx("value"))
                    for time in (0.0, 0.3, 1.0):
                        x = (1 - time) * source[:rows] + time * target[:rows]
                        found = value(x=x, t=np.full((rows, 1), time))
                        drift = session.drift(time, flat(x))
                        near(found["drift"], drift, 1e-3 * spread)
                    if info["divergence"] == sfeuot.DIVERGENCES["kl"]:
                        ratio = np.exp(np.minimum(found["value"][:, 0].astype(np.float64) / info["tau"], 8))
                        expected = session.density_ratio(flat(x))
                        self.assertLess(np.abs(ratio - expected).max(), 1e-30 + 1e-4 * np.abs(expected).max() * (
                            1 + np.abs(found["value"]).max() / info["tau"]))
                self.slopes(value, source[:ROWS], info)
                named = operators()
                for graph in (draws, mean, value):
                    self.assertLessEqual(graph.operators, named)
                    self.assertEqual([one.version for one in graph.model.opset_import], [13])

    def slopes(self, value, x, info):
        """The drift is the slope of the value: along one direction, over a step that 32 bits resolve."""
        direction = np.random.default_rng(1).normal(size=x.shape)
        axes = tuple(range(1, x.ndim))
        direction /= np.sqrt((direction**2).sum(axis=axes, keepdims=True))
        step, t = 0.02 * info["data_scale"], np.full((len(x), 1), 0.4)
        there, here = (value(x=x + side * step * direction, t=t)["value"][:, 0].astype(np.float64) for side in (1, -1))
        slope = (there - here) / (2 * step)
        along = -(value(x=x, t=t)["drift"] * direction).sum(axis=axes)
        near = 0.05 * np.abs(along).max() + 1e-6 * np.abs(there).max() / step
        self.assertLess(np.abs(slope - along).max(), near)

    def test_components(self):
        self.agree(*clouds(2))

    def test_one_number(self):
        self.agree(*clouds(1), activation="tanh")

    def test_many_numbers(self):
        self.agree(*clouds(300), hidden_width=32, hidden_layers=1, components=2)

    def test_one_component(self):
        self.agree(*clouds(3), components=1, divergence="chi2")

    def test_axes(self):
        self.agree(*clouds(12, correlated=True), activation="softplus")

    def test_far_from_zero(self):
        self.agree(*clouds(3, offset=1000.0))

    def test_sides_far_apart(self):
        source, target = clouds(3)
        self.agree(source - 200, target + 200)

    def test_without_squares(self):
        self.agree(*clouds(4, correlated=True), squares=0, divergence="balanced", sigma=2.0)

    def test_peaks(self):
        for count, components in ((2, 2), (3, 3), (3, 7)):
            self.agree(*clusters(2, count), peaks=True, divergence="balanced", components=components)

    def test_peaks_along_axes(self):
        self.agree(*clusters(3, correlated=True), peaks=True, divergence="balanced")

    def test_many_peaks(self):
        self.agree(*clusters(12, count=20, rows=2000), peaks=True, divergence="balanced", components=30)

    def test_peaks_with_axes_of_their_own(self):
        # As many components as peaks, and more.
        for components in (3, 40, 64):
            self.agree(*own_clusters(3), peaks=True, own=True, divergence="balanced", components=components)
        self.agree(*own_clusters(16, count=5, rows=6000), peaks=True, own=True, divergence="balanced")

    def test_latents(self):
        self.agree(*clouds(3, correlated=True), latent_dimension=5, divergence="softplus")

    def test_latents_without_noise_of_their_own(self):
        self.agree(*clouds(3), latent_dimension=4, deterministic=1)

    def test_samples_with_a_shape(self):
        source, target = clouds(12)
        self.agree(source.reshape(-1, 3, 2, 2), target.reshape(-1, 3, 2, 2))

    def test_networks_that_differ(self):
        self.agree(*clouds(3), value_network={"hidden_width": 40, "hidden_layers": 2, "activation": "tanh"},
                   generator_network={"hidden_width": 24, "squares": 0})

    def pictures(self, shape, **network):
        rng = np.random.default_rng(0)
        source, target = (rng.normal(size=(40, *shape)).astype(np.float32) * width + shift for width, shift in ((0.5, 0.1), (1.5, -0.3)))
        generator = network | {"residual": network.pop("residual", 1)}
        generator.setdefault("kind", "conv")
        own = {name: network.pop(name) for name in ("low", "high", "upsampling", "norm_groups", "attention_heads") if name in network}
        self.agree(source, target, steps=3, tau=0.25, divergence="softplus", latent_dimension=5, deterministic=1, components=1,
                   value_network={"kind": "conv"} | network, generator_network=generator | own)

    def test_pictures(self):
        self.pictures((1, 16, 16), channels=8)

    def test_pictures_from_noise_with_a_range(self):
        self.pictures((1, 12, 16), channels=8, residual=0, low=-1, high=3)

    def test_residual_pictures_with_a_range_that_are_not_folded(self):
        self.pictures((3, 6, 8), channels=8, low=-2, high=2)

    def test_colours_and_sides_that_are_padded(self):
        self.pictures((3, 13, 18), channels=16, blocks=2)

    def test_three_levels_of_grey_pictures(self):
        self.pictures((28, 28), channels=8, activation="softplus")

    def test_a_value_function_that_sums_over_pixels(self):
        self.pictures((1, 36, 36), levels=1, channels=8, activation="tanh")

    def test_bilinear_upsampling(self):
        self.pictures((2, 10, 13), channels=8, upsampling="bilinear")

    def test_group_norm(self):
        self.pictures((1, 9, 8), channels=8, norm_groups=4, residual=0)

    def test_attention(self):
        self.pictures((2, 9, 12), channels=8, attention_heads=4)
        self.pictures((1, 16, 16), channels=8, attention_heads=1, norm_groups=2, upsampling="bilinear")

    def test_presets(self):
        self.pictures((1, 8, 8), kind="conv_tiny")
        self.pictures((3, 8, 12), kind="conv_small", residual=0)
        self.pictures((3, 16, 16), kind="conv_base")


class Files(unittest.TestCase):
    def test_a_file_is_what_a_callback_gets(self):
        with sfeuot.Context(threads=1) as context, sfeuot.Trainer(context, *clouds(2), sigma=0.5) as trainer, \
                trainer.model() as model, tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "generate.onnx"
            sfeuot.call("model_export_onnx", model.pointer, None, str(path).encode())
            self.assertEqual(path.read_bytes(), model.onnx())
            self.assertEqual([one.name for one in pathlib.Path(folder).iterdir()], ["generate.onnx"])


if __name__ == "__main__":
    unittest.main()
