"""The way in. ``sitecustomize`` calls :func:`start`; everything else happens when torch arrives."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from types import ModuleType

from . import early, imports
from .session import CONFIG_VARIABLE, DISTRIBUTED, SAFETENSORS, Session, read_config

_session: Session | None = None


def start(archive: str) -> None:
    """Prepare a process of the job: watch imports, and wake up when torch has been imported.

    Does nothing without a readable configuration: that is no guarded job, or one whose silence the
    monitor will report.
    """
    global _session
    path = os.environ.get(CONFIG_VARIABLE)
    if _session is not None or not path:
        return
    try:
        config = read_config(path)
    except (OSError, ValueError, KeyError):
        return
    if os.path.realpath(config.archive) != os.path.realpath(archive):
        return
    session = Session(config)
    _session = session
    importlib.import_module(f"{__package__}.protection")  # where ``veracity.protect`` looks for it
    before = session.shield.run("start", early.look_back)
    watch = imports.watch_imports(session)
    for name in (SAFETENSORS, *DISTRIBUTED):
        imports.after_import(name, session.arrived)
    if "torch" in sys.modules:
        session.shield.run("install", _install, session, watch, before, sys.modules["torch"])
    else:
        imports.after_import(
            "torch", lambda torch: session.shield.run("install", _install, session, watch, before, torch)
        )


def session() -> Session | None:
    """This process's session, None when it is not guarded."""
    return _session


def _install(
    session: Session, watch: imports.ImportWatch, before: early.Early | None, torch: ModuleType
) -> None:
    # The objects of torch are many, and what is made here is kept: to collect now would find nothing.
    collects = gc.isenabled()
    gc.disable()
    try:
        from . import install

        install.install(session, watch, torch)
    finally:
        if collects:
            gc.enable()
    if before is not None:
        session.emit("began", before.body())
    atexit.register(session.say_goodbye)
