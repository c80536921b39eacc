"""What a file's name promises, where its content is nothing that is known.

A format is told by content and never by name. But an empty, cut off or encrypted ``model.pt`` was meant for
a loader that nobody here has followed, and a key or a filter of its own may make it one later: it was not
read, and what was not read is not clean.
"""

from __future__ import annotations

import codecs
import os

PROMISING = frozenset(
    {
        *(".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt", ".distcp", ".safetensors", ".gguf"),
        *(".onnx", ".h5", ".hdf5", ".keras", ".npy", ".npz", ".whl", ".egg", ".zip", ".tar", ".tgz", ".7z"),
        *(".gz", ".bz2", ".xz", ".zst", ".lz4", ".mar", ".nemo", ".pyc", ".ipynb"),
    }
)
"""Suffixes that say "for a loader"; not ``.bin``, ``.data`` or ``.model``, which may be anything."""

_DECODER = codecs.getincrementaldecoder("utf-8")


def broken_promise(path: str, head: bytes) -> str:
    """Why a file that no reader took is incomplete all the same; empty where its name promises nothing.

    ``head`` is its beginning. Text is no loader's: a pointer to a file in another store, or a page.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in PROMISING or _is_text(head):
        return ""
    if not head:
        # Python reads a folder's .pth files as lists of paths, and a list may have none.
        return "" if suffix == ".pth" else f"is empty, and its name promises a {suffix} file"
    return f"its name promises a {suffix} file, and no reader knows its content"


def _is_text(head: bytes) -> bool:
    try:
        decoded = _DECODER().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return bool(decoded) and all(one.isprintable() or one.isspace() for one in decoded)
