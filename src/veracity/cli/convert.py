"""``veracity convert``: the tensors of a file that can execute, in one that cannot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .output import deliver
from .parsing import Parser, add_verb, format_of

if TYPE_CHECKING:
    from ..scan.loading.convert import Flat
    from ..scan.loading.load import Loaded

_DESCRIPTION = """\
Load IN without executing anything that it says, and write its tensors to OUT in the safetensors format, which
holds numbers and names and nothing else. IN is judged first, as `veracity scan` does; what has findings is
not loaded. Names of dictionaries in dictionaries are joined with dots. What is no tensor is left out, and
listed. The digest of IN is noted in OUT."""

_EXAMPLES = """\
  veracity convert checkpoint.pt weights.safetensors
  veracity convert checkpoint.pt weights.safetensors --key model
  veracity convert checkpoint.pt weights.safetensors --digest sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e\
5c1fa7425e73043362938b9824"""

MAX_LISTED = 40


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``convert``."""
    codes = (
        ("0", "every tensor of IN, or of what --key names, is in OUT"),
        ("1", "IN has findings, or is not the file that --digest names"),
        ("2", "IN could not be read or built, or OUT not written"),
    )
    parser = add_verb(
        subparsers, "convert", "write a checkpoint's tensors as safetensors", _DESCRIPTION, _EXAMPLES, codes
    )
    parser.add_argument("source", metavar="IN", type=Path, help="a file of torch, pickle or safetensors")
    parser.add_argument("target", metavar="OUT", type=Path, help="the file to write: NAME.safetensors")
    parser.add_argument(
        "--key", default="", metavar="NAME", help="only what lies there, such as model or a.b"
    )
    parser.add_argument("--digest", default="", metavar="DIGEST", help="IN must be this file: sha256:HEX")
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there")


def execute(arguments: argparse.Namespace) -> int:
    """Convert; errors say why not."""
    form = format_of(arguments, "text", "json")
    target: Path = arguments.target
    if target.suffix != ".safetensors":
        raise UsageError(
            f"{target} does not end in .safetensors",
            remedy="programs know files of this format by their ending",
        )
    if target.exists() and not arguments.force:
        raise UsageError(f"{target} is there already", remedy="name another file, or use --force")
    from ..scan.loading.convert import flatten
    from ..scan.loading.load import load_whole
    from ..scan.loading.safetensors import write_safetensors

    loaded = load_whole(arguments.source, digest=arguments.digest)
    flat = flatten(loaded.value, arguments.key)
    metadata = {"format": "pt", "veracity.source": str(loaded.digest)}
    write_safetensors(target, flat.tensors, metadata, force=arguments.force)
    if form == "json":
        deliver(arguments, _document(target, loaded, flat))
    elif not arguments.quiet or arguments.output is not None:
        deliver(arguments, _text(target, loaded, flat))
    return 0


def _text(target: Path, loaded: Loaded, flat: Flat) -> str:
    from ..core.quantity import quantity
    from ..render.visible import visible

    size = sum(one.numel() * one.element_size() for one in flat.tensors.values())
    lines = [
        f"{target}: {quantity(len(flat.tensors), 'tensor')}, {quantity(size, 'byte')}, of {loaded.digest}"
    ]
    if flat.left_out:
        lines.append(f"left out, since they are no tensors: {len(flat.left_out):,}")
    lines += [f"  {name or '(the whole)'}: {what}" for name, what in flat.left_out[:MAX_LISTED]]
    if len(flat.left_out) > MAX_LISTED:
        lines.append(f"  and {len(flat.left_out) - MAX_LISTED:,} more; --format json has them all")
    return "\n".join(map(visible, lines)) + "\n"


def _document(target: Path, loaded: Loaded, flat: Flat) -> str:
    body = {
        "version": 1,
        "written": str(target),
        "source": str(loaded.digest),
        "tensors": [
            {"name": name, "dtype": str(one.dtype).removeprefix("torch."), "shape": list(one.shape)}
            for name, one in flat.tensors.items()
        ],
        "left_out": [{"name": name, "what": what} for name, what in flat.left_out],
    }
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"
