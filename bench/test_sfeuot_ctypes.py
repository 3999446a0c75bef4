"""Tests of the ctypes binding that need a library and no GPU; scripts/gpu-rehearsal runs them."""
import unittest

import sfeuot_ctypes as sfeuot


class Handles(unittest.TestCase):
    def test_the_default_stream_is_refused(self):
        """Its number is 0, by which the library understands a stream of its own."""
        for name in ("cuda_stream", "cuda_context"):
            for device in ("cpu", "cuda", "auto"):
                with self.assertRaisesRegex(ValueError, f"^{name} is 0: "):
                    sfeuot.Context(device=device, **{name: 0})

    def test_what_is_no_handle_is_refused(self):
        for given in (-1, 1 << 64):
            with self.assertRaisesRegex(ValueError, "^cuda_stream is"):
                sfeuot.Context(device="cpu", cuda_stream=given)
        with self.assertRaises(TypeError):
            sfeuot.Context(device="cpu", cuda_stream=1.5)

    def test_none_is_the_librarys_own(self):
        with sfeuot.Context(device="cpu", cuda_stream=None, cuda_context=None) as context:
            self.assertEqual(context.device, "cpu")


if __name__ == "__main__":
    unittest.main()
