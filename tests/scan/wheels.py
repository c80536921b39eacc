"""Small wheels made by hand, and a real environment that pip installs them into."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    *,
    version: str = "1.0",
    commands: str = "",
    executable: Sequence[str] = (),
    record: Mapping[str, str] | None = None,
) -> Path:
    """A wheel of any Python; ``record`` replaces digests in its RECORD."""
    info = f"{name}-{version}.dist-info"
    members = dict(files)
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if commands:
        members[f"{info}/entry_points.txt"] = f"[console_scripts]\n{commands}\n".encode()
    lines = []
    for path, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={(record or {}).get(path, digest)},{len(data)}")
    members[f"{info}/RECORD"] = ("\n".join(lines) + f"\n{info}/RECORD,,\n").encode()
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            member = zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0))
            member.external_attr = (0o755 if path in executable else 0o644) << 16
            archive.writestr(member, data)
    return made


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_requirements(path: Path, wheels: Sequence[Path]) -> Path:
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{sha256(wheel)}\n")
    path.write_text("".join(lines))
    return path


def make_environment(folder: Path, wheels: Sequence[Path]) -> Path:
    """A virtual environment with these wheels, installed by pip, and their bytecode; its interpreter.

    What is taken for its standard library is a file: the real one takes many seconds to compile.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (packages(python).parent / "os.py").write_text("sep = '/'\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--compile", *map(str, wheels)], check=True, timeout=120)
    return python


def packages(python: Path) -> Path:
    """The folder of packages of a virtual environment."""
    return next((python.parent.parent / "lib").glob("python3*")) / "site-packages"
