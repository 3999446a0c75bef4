"""Tests of the picture networks in PyTorch against the library's, of the judges, and of the made-up pictures; no downloads."""
import pathlib
import sys
import tempfile
import unittest

import numpy as np
import torch

import picture_data
import picture_judge
import picture_lite
import sfeuot_ctypes as sfeuot

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import picture_networks as networks  # noqa: E402

LATENT, SIGMA, TAU, STEPS = 5, 0.6, 30.0, 3
TOLERANCE = 1e-4        # of 32-bit sums in two orders, over the largest number


def trained(context, shape, residual=False, **network):
    """A trainer with a few steps behind it, so that no weights are zero, and its samples."""
    rng = np.random.default_rng(0)
    source, target = (rng.normal(size=(40, *shape)).astype(np.float32) * width + shift for width, shift in ((0.5, 0.1), (1.5, -0.3)))
    network = {"kind": "conv"} | network
    trainer = sfeuot.Trainer(context, source, target, divergence="softplus", sigma=SIGMA, tau=TAU / source[0].size, latent_dimension=LATENT,
                             deterministic=1, components=1, batch_sources=8, generator_learning_rate=2e-2, value_learning_rate=2e-2,
                             value_network=network, generator_network=network | {"residual": int(residual)})
    trainer.step(STEPS)
    return trainer, source, target


class Networks(unittest.TestCase):
    """Of both programs, on the same weights."""

    def agree(self, shape, blocks=1, channels=8, levels=0, residual=False, bounds=None):
        low, high = bounds or (0, 0)
        with sfeuot.Context(threads=1) as context:
            trainer, source, target = trained(context, shape, residual, channels=channels, blocks=blocks, levels=levels, low=low, high=high)
            with trainer, trainer.model() as model, model.session() as session, tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "model.safetensors"
                model.save(path)
                tensors, _ = networks.tensors(path)
                found = {network: networks.parameters(tensors, network) for network in ("value", "generator")}
                units = picture_data.Units.of(source, target)
                self.assertAlmostEqual(model.info()["data_scale"] / units.scale, 1, 5)
                half = None
                if bounds:
                    units, half = units._replace(centre=np.float32(0.5 * (low + high))), 0.5 * (high - low) / units.scale
                size = {"channels": channels, "levels": levels, "blocks": blocks}
                value, generator = networks.Value(shape, **size), networks.Generator(shape, LATENT, residual=residual, half=half, **size)
                value.take(found["value"])
                generator.take(found["generator"])
                normal = lambda x: torch.from_numpy((x - units.centre) / np.float32(units.scale))
                rows = lambda x: x.reshape(len(x), -1)
                near = lambda a, b: self.assertLess(np.abs(a - b).max() / np.abs(b).max(), TOLERANCE)

                t, x = torch.full((len(target), 1), 0.3), normal(target).requires_grad_()
                slope, = torch.autograd.grad(value(t, x).sum(), x)
                near(session.drift(0.3, target), -units.scale * rows(slope.numpy()))
                with torch.no_grad():
                    at_end = value(torch.ones(len(target), 1), normal(target)).numpy()
                near(session.density_ratio(target), 2 / (1 + np.exp(-at_end / TAU)))
                self.generators_agree(found, path, context, source, generator, normal, units, near)

    def generators_agree(self, found, path, context, source, generator, normal, units, near):
        """The library draws latents that cannot be drawn here. They go into the embedding's first layer alone, so a model file whose
        layer has the bias that one latent would give, and no weights, generates by that latent."""
        latent = torch.randn(LATENT, generator=torch.Generator().manual_seed(0))
        weights, biases = LATENT * generator.embedding, (LATENT + 1) * generator.embedding
        first = found["generator"][:biases].copy()
        first[weights:] += latent.numpy() @ first[:weights].reshape(LATENT, -1)
        first[:weights] = 0
        data = bytearray(path.read_bytes())
        start = bytes(data).find(found["generator"].tobytes())
        data[start:start + first.nbytes] = first.tobytes()
        with sfeuot.Model.load_memory(context, bytes(data)) as fixed, fixed.session() as session, torch.no_grad():
            here = generator(normal(source), latent.expand(len(source), -1)).numpy() * units.scale + units.centre
            near(session.generate(source), here.reshape(len(source), -1))

    def test_grey_pictures_that_are_folded(self):
        self.agree((1, 16, 16))

    def test_pictures_that_are_not_folded(self):
        self.agree((1, 8, 8), residual=True)

    def test_ranges(self):
        self.agree((1, 12, 16), bounds=(-1, 3))
        self.agree((3, 6, 8), residual=True, bounds=(-2, 2))

    def test_colours_and_sides_that_are_padded(self):
        self.agree((3, 13, 18), blocks=2, channels=16)

    def test_three_levels(self):
        self.agree((2, 28, 28))

    def test_a_value_function_that_sums_over_pixels(self):
        self.agree((1, 36, 36), levels=1, channels=16)


class Lite(unittest.TestCase):
    def test_equal_pictures_have_no_distance_and_noise_has_one(self):
        net, data = picture_lite.network(), picture_data.made_up(28, 24)
        noise = np.random.default_rng(0).uniform(-1, 1, data.test.shape).astype(np.float32)
        real, same, far = (picture_judge.moments(picture_lite.features(net, x)) for x in (data.test, data.test[::-1].copy(), noise))
        self.assertEqual(real[0].shape, (1280,))
        size = np.trace(real[1])
        self.assertLess(abs(picture_judge.frechet(real, same)), 1e-3 * size)
        self.assertGreater(picture_judge.frechet(real, far), size)

    def test_the_network_sees_what_it_was_taught_with(self):
        picture = np.zeros((1, 1, 28, 28), np.float32)
        picture[..., 14:, :] = 1
        seen = picture_lite.as_seen(picture).numpy()
        self.assertEqual(seen.shape, (1, 3, 224, 224))
        # 128 and 255 of bytes from 0 to 255.
        np.testing.assert_allclose(seen[:, :, 0], 1 / 128, atol=1e-6)
        np.testing.assert_allclose(seen[:, :, -1], 1, atol=1e-6)


class Settings(unittest.TestCase):
    def test_networks_are_named_by_their_kind(self):
        config = sfeuot.trainer_config(value_network={"kind": "conv_base", "channels": 12, "residual": 0})
        network = config.value_network.contents
        self.assertEqual((network.kind, network.channels, network.residual), (4, 12, 0))


if __name__ == "__main__":
    unittest.main()
