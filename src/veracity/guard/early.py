"""What was there before the guard: modules that start-up code had imported, read once when it wakes up."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

MAX_MODULES = 200


@dataclass(frozen=True, slots=True)
class Early:
    """Name and file of the modules from outside the standard library; ``more`` are not listed."""

    modules: tuple[tuple[str, str], ...]
    more: int

    def body(self) -> dict[str, object]:
        """The body of a ``began`` record."""
        return {
            "modules": [{"name": name[:200], "path": path[:4096]} for name, path in self.modules],
            "more": self.more,
            "warn_options": [str(option)[:200] for option in sys.warnoptions[:50]],
        }


def look_back() -> Early:
    """Modules imported so far that neither the standard library nor the guard's archive holds."""
    library = os.path.dirname(os.__file__) + os.sep
    found = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or "_veracity_guard" in path or name == "sitecustomize":
            continue
        if not path.startswith(library) or path.startswith((f"{library}site-", f"{library}dist-")):
            found.append((name, path))
    return Early(tuple(found[:MAX_MODULES]), max(0, len(found) - MAX_MODULES))
