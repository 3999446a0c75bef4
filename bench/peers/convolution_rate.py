"""The rate of PyTorch's convolutions of 3 x 3 taps, which are oneDNN's on a processor: a line of JSON, GFLOP/s by operation.

    python convolution_rate.py --side 16 --channels 32 --seconds 1

Pictures have their channels beside each other, as oneDNN likes them best, and as many channels go in as come out. Two operations
count for a multiply-add, taps beyond the edges too. One thread; each number is the median of bursts of about 10 ms.
"""
import argparse
import json

from bursts import median_time


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--side", type=int, required=True)
    p.add_argument("--channels", type=int, required=True)
    p.add_argument("--pictures", type=int, default=64)
    p.add_argument("--seconds", type=float, default=1.0)
    a = p.parse_args()
    import torch
    torch.set_num_threads(1)
    if not torch.backends.mkldnn.is_available():
        raise SystemExit("this PyTorch has no oneDNN")
    last = dict(memory_format=torch.channels_last)
    shape, taps = (a.pictures, a.channels, a.side, a.side), (a.channels, a.channels, 3, 3)
    x, y, w = torch.randn(shape).to(**last), torch.randn(shape).to(**last), torch.randn(taps).to(**last)
    edges = [1, 1], [1, 1], [1, 1]      # stride, padding, dilation
    backward = lambda *wanted: torch.ops.aten.convolution_backward(y, x, w, [a.channels], *edges, False, [0, 0], 1, [*wanted, False])
    calls = {"convolution": lambda: torch.conv2d(x, w, padding=1), "convolution_reverse": lambda: backward(True, False),
             "convolution_weights": lambda: backward(False, True)}
    operations = 2e-9 * 9 * a.channels ** 2 * a.pictures * a.side ** 2
    with torch.no_grad():
        print(json.dumps({name: operations / median_time(call, a.seconds) for name, call in calls.items()}))


if __name__ == "__main__":
    main()
