"""Which start of a job a rank belongs to: ranks of different starts have nothing to agree on."""

from __future__ import annotations

from dataclasses import dataclass

from ....core.observation import Hello
from ....core.replicas import machine_of


@dataclass(frozen=True, slots=True)
class Process:
    """To which start of a job a rank belongs, and how many of its ranks run on this machine.

    ``port`` is where all its ranks met, ``machine`` what decides the bits here.
    """

    job: tuple[str, ...]
    local: int
    port: str = ""
    machine: str = ""

    @staticmethod
    def of(hello: Hello) -> Process:
        """From what the launcher told the rank; ranks without a launcher have one parent."""
        ids = hello.ids
        name = ids.get("TORCHELASTIC_RUN_ID", "none")
        if name == "none":
            name = f"{hello.ppid}:{ids.get('MASTER_PORT', '')}"
        local = ids.get("LOCAL_WORLD_SIZE") or ids.get("WORLD_SIZE") or "1"
        size = int(local) if local.isascii() and local.isdecimal() and len(local) < 6 else 1
        return Process(
            (name, ids.get("TORCHELASTIC_RESTART_COUNT", "")),
            size,
            ids.get("MASTER_PORT", ""),
            machine_of(hello.numerics),
        )
