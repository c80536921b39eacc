"""A real run whose names are planted, packed with pseudonyms: nothing of them is in the archive."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from tests.jobs.conftest import LIMIT, Jobs
from veracity.ledger.redaction import our_words

MARKS = ("zzuserzz", "zzprojzz", "zzmodulezz", "zzwordzz", "zzvaluezz", "zznamezz")
PROGRAM = """
    import os, zzmodulezz
    steps(3)
    torch.save(model.state_dict(), os.path.join(os.path.dirname(__file__), "zznamezz.pt"))
    for group in optimizer.param_groups:
        group["lr"] = 0.37
    steps(3)
"""


def spellings(mark: str) -> list[bytes]:
    """A mark as it is, in hexadecimal, and in the middle of base64 of any alignment."""
    raw = mark.encode()
    inner = [base64.b64encode(b"x" * at + raw)[4 if at else 0 : -4] for at in range(3)]
    return [raw, raw.hex().encode(), *inner, *(one.replace(b"+", b"-").replace(b"/", b"_") for one in inner)]


def readings(data: bytes) -> list[bytes]:
    """The bytes, and what they are when they were compressed or are base64."""
    found = [data, data.lower()]
    for window in (15, -15, 31):
        try:
            found.append(zlib.decompressobj(window).decompress(data, 1 << 24))
        except zlib.error:
            continue
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            found += [inner.read(name) for name in inner.namelist()]
    return found


def test_planted_names_are_nowhere_in_a_redacted_bundle(jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "zzuserzz" / "zzprojzz"
    folder.mkdir(parents=True)
    (folder / "zzmodulezz.py").write_text("CONSTANT = 1\n")
    program = jobs.write(PROGRAM, train=True).replace(folder / "zztrainzz.py")
    environment = {
        **jobs.environment(),
        "USER": "zzuserzz",
        "LOGNAME": "zzuserzz",
        "CUBLAS_WORKSPACE_CONFIG": "zzvaluezz",
        "SLURM_JOB_ID": "4242",
    }
    command: list[str | Path] = ["--name", "zzwordzz", "--", sys.executable, program, "--zzwordzz"]
    subprocess.run(
        jobs.command("run", "--no-stacks", *command),
        env=environment,
        cwd=folder,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    target, secret = tmp_path / "case.zip", tmp_path / "names.key"
    words: list[str | Path] = ["bundle", "--redact", "all", "--to", "zzuserzz", "--output", target]
    words += ["--redaction-key", secret]
    done = subprocess.run(
        jobs.command(*words), env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "entries and" in done.stderr

    marks = [*MARKS, "zztrainzz", str(tmp_path), os.fspath(jobs.home)]
    host = socket.gethostname()
    if len(host) > 3 and host.casefold() not in our_words():
        marks.append(host)
    with zipfile.ZipFile(target) as archive:
        for name in archive.namelist():
            for reading in readings(name.encode() + b"\n" + archive.read(name)):
                for mark in marks:
                    for spelling in spellings(mark):
                        assert spelling not in reading, f"{mark} in {name}"
        told = json.loads(archive.read("redaction.json"))["redaction"]
    assert told["entries"]["0"]["user"].startswith("person-")
    names = secret.read_text()
    assert all(mark in names for mark in ("zzuserzz", "zzprojzz", "zztrainzz"))

    alone = subprocess.run(
        [sys.executable, "-I", "-c", _checker(target), target], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 2, alone.stdout
    assert "what is there holds, but " in alone.stdout
    whole = subprocess.run(
        jobs.command("verify", target, "--redaction-key", secret),
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert whole.returncode == 2, whole.stderr
    assert "made whole with it, each with its hash in the tree" in whole.stdout
    assert 'stands for "zzuserzz"' in whole.stdout


def _checker(bundle: Path) -> str:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read("verify_evidence.py").decode()
