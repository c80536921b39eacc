"""What a keyed fingerprint of parameters costs, per GB, beside reading them once.

    python bench/fingerprint.py [--megabytes 256] [--rounds 7] [--threads 1]

Fingerprints of a whole model's tensors (``guard/fingerprint.py``) take turns with two floors: the sum of the
same elements, which reads every byte, and a SHA-256 of them. Of a training the guard takes the fingerprint of
a sixteenth of the elements, or of 32 Ki when that is more, at every fourth step that it looks at.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable

import torch

from veracity.guard.fingerprint import Fingerprinter


def main() -> int:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fingerprinter = Fingerprinter(b"bench")
    for dtype in (torch.float32, torch.bfloat16):
        count = arguments.megabytes * 1_000_000 // dtype.itemsize // 8
        tensors = [torch.randn(count).to(dtype) for _ in range(8)]
        ways: dict[str, Callable[[], object]] = {
            "fingerprint": lambda: fingerprinter.take(tensors),  # noqa: B023 - called within this turn
            "sum": lambda: [float(one.sum()) for one in tensors],  # noqa: B023
            "sha256": lambda: [hashlib.sha256(one.view(torch.uint8).numpy()).digest() for one in tensors],  # noqa: B023
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                found[name].append((time.perf_counter() - begun) * 1000 / arguments.megabytes)
        for name, taken in found.items():
            middle = statistics.median(taken)
            print(f"{dtype} {name:>11}: {middle:.3f} s per GB ({min(taken):.3f}-{max(taken):.3f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
