# The first module of a guarded process: this file stands at the root of the guard's archive, which
# `veracity run` puts first on PYTHONPATH. It must be valid and silent in any Python from 2.7 on, because
# the job's environment decides which Python meets it; an interpreter the guard does not know is left alone.
import os
import sys


def _enter():  # type: () -> None
    archive = __file__[: -len("sitecustomize.py") - 1] if "__file__" in globals() else None
    if archive in sys.path:
        sys.path.remove(archive)
    if sys.version_info < (3, 10) or archive is None:
        return
    sys.path.insert(0, archive)
    try:
        _find_compiled(archive)
        from _veracity_guard.guard import boot  # type: ignore[import-not-found]

        boot.start(archive)
    except Exception:  # noqa: S110 - whatever is wrong with the guard, the program comes first; silence is seen outside
        pass
    finally:
        if archive in sys.path:
            sys.path.remove(archive)


def _find_compiled(archive):  # type: (str) -> None
    # Without it the guard's sources are compiled.
    try:
        from _veracity_guard.guard import compiled

        compiled.enter(archive, os.environ["VERACITY_GUARD"])
    except Exception:  # noqa: S110 - no configuration, or another's, or a file that is not as it should be
        pass


def _chain():  # type: () -> None
    # A program may have a sitecustomize of its own, further down the path. It runs exactly as it would have
    # without us: same module name, and what it raises is raised.
    mine = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        if "sitecustomize" not in sys.modules and mine is not None:
            sys.modules["sitecustomize"] = mine


_enter()
_chain()
