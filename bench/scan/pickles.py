"""What following and judging pickles costs, by processor time, beside ``pickletools.genops`` and a loop.

    python -m bench.scan.pickles [--rounds 7]

For each stream: the machine alone, the machine with all rules about pickles, ``pickletools.genops`` (which
most scanners build on, and which only splits the stream into opcodes), and as the floor a loop that does
nothing, once per opcode. They take turns in each round; shown is the median with the lowest and highest.
``opcodes`` are those that genops counts.
"""

from __future__ import annotations

import argparse
import collections
import gc
import pickle
import pickletools
import statistics
import time
from collections.abc import Callable, Sequence

from veracity.core.observation import PickleRead
from veracity.core.origin import monitor_origin
from veracity.detect.detector import Detector
from veracity.detect.filerules import FILE_DETECTORS
from veracity.observe.pickle import walk
from veracity.observe.pickle.policy import permitted

ORIGIN = monitor_origin(0)


def streams() -> dict[str, bytes]:
    """By name; no library is asked for, so that all machines measure the same."""
    mixed = {
        "a": [1, 2, 3, 4.5] * 10,
        "b": {"x": "hello", "y": (1, 2, 3)},
        "c": list(range(200)),
        "names": [f"layer{number}" for number in range(40)],
        "state": collections.OrderedDict(a=1),
    }
    return {
        "1 kB, mixed, protocol 2": pickle.dumps(mixed, 2),
        "1 kB, mixed, protocol 4": pickle.dumps(mixed, 4),
        "1 kB, state dict of torch": state_dict(12),
        "6 MB, 3 million small ints": pickle.dumps([1] * 3_000_000, 2),
        "5 MB, 3 million memo gets and marks": b"\x80\x02Nq\x00" + b"(h\x00h\x00h\x00h\x001" * 500_000 + b".",
        "9 MB, floats": pickle.dumps([1.5] * 1_000_000, 4),
        "7 MB, dicts": pickle.dumps([{"id": number, "text": str(number)} for number in range(300_000)], 4),
    }


def state_dict(tensors: int) -> bytes:
    """What torch.save writes into ``data.pkl`` for so many tensors."""
    parts = [b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("]
    for number in range(tensors):
        key = f"{number}.weight".encode()
        parts.append(b"X" + len(key).to_bytes(4, "little") + key)
        parts.append(b"ctorch._utils\n_rebuild_tensor_v2\nq\x02" if not number else b"h\x02")
        parts.append(b"((X\x07\x00\x00\x00storageq\x03")
        parts.append(b"ctorch\nFloatStorage\nq\x04" if not number else b"h\x04")
        parts.append(
            b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQK\x00K\x04K\x04\x86K\x04K\x01\x86\x89h\x00)RtR"
        )
    return b"".join(parts) + b"u."


def judged(data: bytes, detectors: Sequence[Detector]) -> None:
    """The machine and the rules."""
    read = PickleRead(ORIGIN, "file", "", walk(data))
    for one in detectors:
        list(one.observe(read))


def floor(count: int) -> None:
    """A loop that does nothing."""
    for _ in range(count):
        pass


def seconds(work: Callable[[], object], times: int) -> float:
    """Processor time of one of ``times`` runs."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    detectors = [one() for one in FILE_DETECTORS if PickleRead in one.takes]
    for one in detectors:
        list(one.observe(permitted(ORIGIN)))
    gc.freeze()
    print("| Stream | bytes | opcodes | floor | machine | with rules | genops |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, data in streams().items():
        opcodes = sum(1 for _ in pickletools.genops(data))
        times = max(1, 20_000 // opcodes)
        works: tuple[Callable[[], object], ...] = (
            lambda count=opcodes: floor(count),  # type: ignore[misc]
            lambda data=data: walk(data),  # type: ignore[misc]
            lambda data=data: judged(data, detectors),  # type: ignore[misc]
            lambda data=data: collections.deque(pickletools.genops(data), 0),  # type: ignore[misc]
        )
        taken: list[list[float]] = [[] for _ in works]
        for _ in range(rounds):
            for place, work in enumerate(works):
                taken[place].append(seconds(work, times))
        print(f"| {name} | {len(data):,} | {opcodes:,} | {' | '.join(map(shown, taken))} |")
    return 0


def shown(values: list[float]) -> str:
    """Median with the lowest and highest, in µs or ms."""
    unit, scale = ("ms", 1e3) if statistics.median(values) > 0.01 else ("µs", 1e6)
    low, middle, high = (scale * one for one in (min(values), statistics.median(values), max(values)))
    return f"{middle:.0f} {unit} ({low:.0f}–{high:.0f})"


if __name__ == "__main__":
    raise SystemExit(main())
