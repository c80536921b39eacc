"""In a mount namespace of its own: fills a small file system and prints as JSON what each verb does then.

unshare --mount --map-root-user python full_disk.py FOLDER
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.ledger.test_bundle import make
from tests.seal.approving import Approving
from veracity.cli.main import main
from veracity.ledger.keys import KEY_FILE, SigningKey

NO_NAMESPACE = 77
SIZE = 1 << 20
RUN = "run-20260102-030405-00000a"


def fill(folder: Path) -> Path:
    """Leave no byte on the file system."""
    path = folder / "fill"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(handle, bytes(4096))
    os.close(handle)
    return path


def said(*words: str) -> tuple[int, str]:
    """A verb's exit code, and what it told."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*words])
    return code, out.getvalue() + err.getvalue()


def names(folder: Path) -> list[str]:
    """All that lies in a folder, by its path from there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def scenario(folder: Path) -> dict[str, object]:
    """Everything that writes, on a file system without room; then with room again."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk], check=False)
    if mounted.returncode != 0:
        sys.exit(NO_NAMESPACE)
    made = Approving.made(disk)
    made.approve("lead")
    os.environ["VERACITY_HOME"] = str(made.home)
    os.chdir(disk)
    elsewhere = folder / "elsewhere" / "runs" / RUN
    elsewhere.parent.mkdir(parents=True)
    key = SigningKey.load_or_create(elsewhere.parents[1] / KEY_FILE, "veracity.local")
    make(elsewhere, entries=30, key=key)
    (elsewhere / "ledger.vkey").write_text(key.verifier.vkey + "\n")
    filler = fill(disk)
    before = names(disk)
    home = ("--home", str(elsewhere.parents[1]))
    told: dict[str, object] = {
        "bundle": said(*home, "bundle", RUN, "--output", "case.zip"),
        "redact": said(
            *home, "bundle", RUN, "--redact", "all", "--redaction-key", "names.key", "--output", "case.zip"
        ),
        "entry": said(*home, "bundle", RUN, "--entry", "1", "--output", "one.tlog-proof"),
        "seal": said("seal", "code=code"),
        "approve": said("approve", "latest", "--key", "second.pem"),
        "revoke": said("revoke", "second", "--since", "2025-01-01", "--key", "security.pem"),
        "new-key": said("approve", "--new-key", "new.pem", "--as", "new"),
        "start": said("run", "--policy", "enforce", "--seal", "latest", "--", "true"),
        "sbom": said("seal", "--sbom", "env.cdx.json", "--python", sys.executable),
    }
    told["left"] = sorted(set(names(disk)) - set(before) - {"home/runs"})
    told["holds"] = said("verify", "approvals")
    filler.unlink()
    told["then"] = said("approve", "latest", "--key", "second.pem")
    told["bundled"] = said(*home, "bundle", RUN, "--output", "case.zip")
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(scenario(Path(sys.argv[1]))))
