"""The one audit hook, in processes of their own: a hook cannot be taken out again."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run(text: str) -> list[str]:
    """What a program printed that has an ``audit`` and a list ``failures``."""
    start = """
        import os, sys
        from veracity.guard.audit import Audit
        failures = []
        audit = Audit(lambda event, error: failures.append((event, str(error))))
    """
    code = textwrap.dedent(start) + textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_event_goes_to_those_who_asked_in_their_order() -> None:
    lines = run("""
        seen = []
        audit.on("one", lambda arguments: seen.append(("a", arguments)))
        audit.install()
        audit.on("one", lambda arguments: seen.append(("b", arguments)))
        audit.on("two", lambda arguments: seen.append(("c", arguments)))
        sys.audit("one", 1, "x")
        sys.audit("three")
        sys.audit("two")
        print(seen)
    """)
    assert lines == ["[('a', (1, 'x')), ('b', (1, 'x')), ('c', ())]"]


def test_a_callback_that_fails_costs_the_program_nothing() -> None:
    lines = run("""
        audit.on("open", lambda arguments: 1 / 0)
        audit.install()
        print(len(open(os.devnull).read()), failures[0])
    """)
    assert lines == ["0 ('open', 'division by zero')"]


def test_what_a_callback_does_calls_no_callback() -> None:
    lines = run("""
        seen = []
        def opened(arguments):
            seen.append(arguments[0])
            open("/dev/null").close()
        audit.on("open", opened)
        audit.install()
        open(os.devnull).close()
        open(os.devnull).close()
        print(seen)
    """)
    assert lines == ["['/dev/null', '/dev/null']"]


def test_two_threads_are_told_apart() -> None:
    lines = run("""
        import threading
        seen = []
        inside, done = threading.Event(), threading.Event()
        def first(arguments):
            seen.append(arguments[0])
            if arguments[0] == "slow":
                inside.set()
                done.wait(20)
        audit.on("mine", first)
        audit.install()
        thread = threading.Thread(target=lambda: sys.audit("mine", "slow"))
        thread.start()
        inside.wait(20)
        sys.audit("mine", "quick")
        done.set()
        thread.join()
        print(seen)
    """)
    assert lines == ["['slow', 'quick']"]
