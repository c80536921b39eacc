"""Small wheels made by hand, and a real environment that pip installs them into."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
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

    It is made from an installation whose library is links: the real one takes many seconds to compile.
    """
    base = make_installation(folder.with_name(f"{folder.name}-base"))
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    for name in ("python", "python3", base.name):
        (folder / "bin" / name).unlink(missing_ok=True)
        (folder / "bin" / name).symlink_to(base)
    settings = (folder / "pyvenv.cfg").read_text()
    (folder / "pyvenv.cfg").write_text(re.sub(r"(?m)^home.*", f"home = {base.parent}", settings))
    if not wheels:
        return python
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--compile", *map(str, wheels)], check=True, timeout=120)
    return python


def make_installation(folder: Path) -> Path:
    """A Python whose library is links to this one's; its interpreter."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    real = Path(sysconfig.get_path("stdlib"))
    library = folder / "lib" / name
    library.mkdir(parents=True)
    (folder / "bin").mkdir()
    for path in real.iterdir():
        if path.name not in ("__pycache__", "site-packages", "dist-packages"):
            (library / path.name).symlink_to(path)
    for path in real.parent.glob("libpython*"):
        (folder / "lib" / path.name).symlink_to(path)
    shutil.copy(os.path.realpath(sys.executable), folder / "bin" / name)
    return folder / "bin" / name


def packages(python: Path) -> Path:
    """The folder of packages of a virtual environment."""
    return next((python.parent.parent / "lib").glob("python3*")) / "site-packages"
