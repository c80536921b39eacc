"""What the standard library writes: values of its types in all protocols, and archives of them."""

from __future__ import annotations

import array
import bz2
import collections
import datetime
import decimal
import fractions
import gzip
import io
import ipaddress
import lzma
import pathlib
import pickle
import random
import tarfile
import uuid
import zipfile
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

UTC = datetime.timezone.utc
WHEN = datetime.datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


def values() -> dict[str, object]:
    """By name, what programs keep beside their models."""
    generator = random.Random(3)
    recursive: list[object] = [1]
    recursive.append(recursive)
    return {
        "history": {"loss": [generator.random() for _ in range(200)], "epoch": 7, "best": None},
        "vocabulary": {f"token{number}": number for number in range(3000)},
        "containers": [(), (1,), {1, 2}, frozenset("ab"), b"\0\xff", bytearray(b"abc"), 1 << 90, -1.5, 2j, ..., range(9), slice(2)],
        "times": [WHEN, WHEN.date(), WHEN.time(), datetime.timedelta(1, 2, 3), UTC],
        "numbers": [decimal.Decimal("0.1"), fractions.Fraction(1, 3), float("nan"), float("inf"), -0.0],
        "ids": [uuid.UUID(int=7), ipaddress.ip_address("127.0.0.1"), pathlib.PurePosixPath("data/train")],
        "collections": [
            collections.OrderedDict(a=1), collections.Counter("abca"), collections.deque([1, 2], 5),
            collections.defaultdict(list, {"a": [1]}), collections.ChainMap({"a": 1}),
        ],
        "arguments": Namespace(lr=1e-3, epochs=3, data=pathlib.PosixPath("data")),
        "names": SimpleNamespace(best=0.3, path="model.pt"),
        "array": array.array("d", [0.1, 0.2]),
        "random-state": random.Random(5).getstate(),
        "recursive": recursive,
        "text-like-code": {"prompt": "import os; os.system('ls') # cos\nsystem\n", "answer": "__import__('os')", "reduce": "R."},
    }  # fmt: skip


def make(folder: Path, scratch: Path) -> None:
    """Every value in some protocol, some in all, and containers of them."""
    for number, (name, value) in enumerate(values().items()):
        for protocol in range(6) if name in ("history", "containers", "collections") else (number % 6, 4):
            (folder / f"{name}-{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))
    history = pickle.dumps(values()["history"])
    (folder / "by-python.pkl").write_bytes(_by_python(values()["times"]))
    (folder / "several.pkl").write_bytes(b"".join(pickle.dumps({"step": number}) for number in range(50)))
    (folder / "history.pkl.gz").write_bytes(gzip.compress(history, mtime=0))
    (folder / "history.pkl.bz2").write_bytes(bz2.compress(history))
    (folder / "history.pkl.xz").write_bytes(lzma.compress(history))
    (folder / "large.pkl").write_bytes(pickle.dumps([{"id": n, "text": f"row {n}"} for n in range(20_000)]))
    with tarfile.open(folder / "run.tar.gz", "w:gz") as archive:
        archive.add(folder / "history-4.pkl", "run/history.pkl")
        archive.add(folder / "times-4.pkl", "run/times.pkl")
    with zipfile.ZipFile(folder / "run.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(folder / "history-2.pkl", "run/history.pkl")
        packed.writestr("run/notes.txt", "lr 0.1 was too high\n")
    (folder / "notes.md").write_text("# Run\n\nThe loss went down. `pickle.load` was not needed.\n")
    (folder / "metrics.csv").write_text("step,loss\n1,0.9\n2,0.7\n")
    (folder / "history.json").write_text('{"loss": [0.9, 0.7], "command": "python -c \\"import os\\""}\n')
    (folder / "lines.jsonl").write_text('{"text": "os.system"}\n{"text": "!!python/object"}\n')
    (folder / "empty.log").write_text("started\n")
    (folder / "random.bin").write_bytes(random.Random(11).randbytes(4096))


def _by_python(value: object) -> bytes:
    buffer = io.BytesIO()
    pickle._Pickler(buffer, 4).dump(value)
    return buffer.getvalue()
