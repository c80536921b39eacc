"""The code checker's worker: says "same" of honest bytecode and of no other."""

from __future__ import annotations

import asyncio
import base64
import dis
import io
import json
import json as json_package
import marshal
import os
import py_compile
import signal
import subprocess
import sys
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.guard import codecheck

SRC = Path(codecheck.__file__).parents[2]
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from veracity.guard.codecheck import main; main()"
# Some damaged bodies hold the interpreter for good: in the tests they are given up sooner.
LIMITED = PROGRAM.replace("main()", "import veracity.guard.codecheck as own; own.CPU_SECONDS = 0.2; main()")
HONEST = "RATE = 0.1\ndef step(x):\n    return x - RATE * x\n"


def _ask(source: Path, body: bytes | None, **more: object) -> dict[str, object]:
    request: dict[str, object] = {"id": 1, "source": str(source), **more}
    if body is not None:
        request["body"] = base64.b64encode(body).decode()
    return codecheck.answer(json.dumps(request).encode())


def _body(text: str, path: str = "m.py", optimize: int = 0) -> bytes:
    return marshal.dumps(compile(text, path, "exec", dont_inherit=True, optimize=optimize))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "m.py"
    path.write_text(HONEST)
    return path


@pytest.mark.parametrize("optimize", [0, 1, 2])
def test_honest_bytecode_is_the_same(module: Path, optimize: int) -> None:
    text = HONEST + '"doc"\nassert True\n'
    module.write_text(text)
    reply = _ask(module, _body(text, "/built/elsewhere.py", optimize), optimize=optimize)
    assert reply["same"] is True
    assert reply["reason"] == ""


def test_forged_body_names_the_function(module: Path) -> None:
    reply = _ask(module, _body(HONEST.replace("x - RATE", "x + RATE")))
    assert reply["same"] is False
    assert reply["reason"] == "changed: step"


def test_forged_top_level_is_found(module: Path) -> None:
    reply = _ask(module, _body(HONEST.replace("0.1", "0.2")))
    assert (reply["same"], reply["reason"]) == (False, "the module's top level differs")


def test_added_code_is_found(module: Path) -> None:
    reply = _ask(module, _body(HONEST + "def extra(): pass\n"))
    assert reply["reason"] == "added: extra"


def test_bytecode_without_columns_is_the_same(module: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("columns exist since 3.11")
    script = f"import marshal,sys;sys.stdout.buffer.write(marshal.dumps(compile({HONEST!r},'m.py','exec')))"
    body = subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-c", script], check=True, capture_output=True
    ).stdout
    reply = _ask(module, body)
    assert (reply["same"], reply["reason"]) == (True, "compiled without column positions")


def test_other_positions_are_no_difference(module: Path) -> None:
    reply = _ask(module, _body(HONEST.replace("x - RATE", "x  - RATE")))
    reason = codecheck.OTHERWISE if sys.version_info >= (3, 11) else ""
    assert (reply["same"], reply["reason"]) == (True, reason)


def test_a_function_that_begins_elsewhere_is_a_difference(module: Path) -> None:
    assert _ask(module, _body("# a remark\n" + HONEST))["same"] is False


def test_a_stack_that_is_too_small_is_found(module: Path) -> None:
    """Python compares such code as equal, and writes beyond its end."""
    honest = compile(HONEST, "m.py", "exec", dont_inherit=True)
    constants = tuple(
        one.replace(co_stacksize=0) if isinstance(one, CodeType) else one for one in honest.co_consts
    )
    body = marshal.dumps(honest.replace(co_consts=constants))
    assert _ask(module, body)["same"] is False


OTHER_RELEASE = Path(__file__).parents[1] / "vectors/bytecode/cpython-3.11.2.json"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="bytecode of 3.11 is for 3.11")
def test_bytecode_of_another_release_is_the_same(tmp_path: Path) -> None:
    for name, one in json.loads(OTHER_RELEASE.read_bytes()).items():
        source = tmp_path / f"{name}.py"
        source.write_text(one["source"])
        reply = _ask(source, base64.b64decode(one["body"]))
        assert (reply["same"], reply["reason"]) == (True, codecheck.OTHERWISE)
        assert reply["functions"]
        source.write_text(
            one["source"].replace('text += "s"', 'text += "i"').replace("found == 0", "found == 1")
        )
        reply = _ask(source, base64.b64decode(one["body"]))
        assert (reply["same"], reply["functions"]) == (False, {})
        assert reply["reason"] in ("changed: kinds", "changed: pivot")


def test_nan_constants_are_the_same(module: Path) -> None:
    text = "x = 1e999 - 1e999\n"
    module.write_text(text)
    assert _ask(module, _body(text))["same"] is True


def test_text_and_twin_replace_files(module: Path) -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    comment = HONEST + "# remark\n"
    reply = _ask(module, None, text=encoded(comment), twin=encoded(HONEST))
    assert reply["same"] is True
    reply = _ask(module, None, twin=encoded(HONEST.replace("0.1", "0.2")))
    assert reply["same"] is False


def test_functions_are_listed_without_a_body(module: Path) -> None:
    reply = _ask(module, None)
    assert reply["same"] is None
    assert isinstance(reply["functions"], dict)
    assert list(reply["functions"]) == ["step"]


@pytest.mark.parametrize("text", ["def broken(:\n", "x = 1\0\n"])
def test_source_that_does_not_compile_differs(module: Path, text: str) -> None:
    module.write_text(text)
    reply = _ask(module, _body(HONEST))
    assert reply["same"] is False
    assert "does not compile" in str(reply["reason"])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\n",
        b"[]\n",
        b"{}\n",
        b'{"id":1,"source":1}\n',
        b"[" * 100_000,
        b'{"id":1,"source":"/nowhere"}',
    ],
)
def test_malformed_requests_are_answered(line: bytes) -> None:
    assert "error" in codecheck.answer(line)


def test_malformed_base64_and_level_are_answered(module: Path) -> None:
    for more in ({"body": "!"}, {"optimize": 7}, {"twin": "\u00e4"}):
        request = json.dumps({"id": 1, "source": str(module), **more}).encode()
        assert "error" in codecheck.answer(request)


def _ask_worker(bodies: list[bytes]) -> list[bool]:
    """``same`` of each body, from a worker: such bodies claim gigabytes, which it bounds."""
    text = base64.b64encode(HONEST.encode()).decode()
    requests = [
        json.dumps({"id": 1, "source": "m.py", "text": text, "body": base64.b64encode(body).decode()})
        for body in bodies
    ]
    return _answers(requests)


def _answers(requests: list[str]) -> list[bool]:
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", LIMITED, str(SRC)],
        input="\n".join(requests).encode() + b"\n",
        check=True,
        capture_output=True,
    )
    return [json.loads(line)["same"] for line in result.stdout.splitlines()]


def test_the_worker_ends_itself_over_a_request_that_takes_too_long(module: Path) -> None:
    module.write_text("x = [1, 2, 3]\n" * 600_000)
    request = json.dumps({"id": 1, "source": str(module)}).encode() + b"\n"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", LIMITED, str(SRC)],
        input=request,
        check=False,
        capture_output=True,
    )
    assert (result.returncode, result.stdout) == (-signal.SIGPROF, b"")


@settings(max_examples=examples(8))
@given(st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=20, max_size=60))
def test_no_edited_body_is_the_same(edits: list[tuple[int, int]]) -> None:
    honest = _body(HONEST)
    bodies = []
    for position, mask in edits:
        edited = bytearray(honest)
        edited[position % len(edited)] ^= mask
        bodies.append(bytes(edited))
    fresh = compile(HONEST, "m.py", "exec", dont_inherit=True)
    for body, same in zip(bodies, _ask_worker(bodies), strict=True):
        if same:
            # marshal's own flags and references, positions and the file name may change without any meaning.
            assert _without_positions(marshal.loads(body)) == _without_positions(fresh)


def _without_positions(code: CodeType) -> CodeType:
    """And with no operands of instructions that take none, which nobody reads."""
    plain = bytearray(code.co_code)
    for at in range(0, len(plain), 2):
        if plain[at] < dis.HAVE_ARGUMENT:
            plain[at + 1] = 0
    constants = tuple(_without_positions(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_linetable=b"", co_filename="", co_code=bytes(plain), co_consts=constants)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="instructions are specialised since 3.11")
def test_instructions_that_an_interpreter_writes_for_itself_are_found() -> None:
    """Python shows specialised instructions as the plain ones they stand for; what they find is in caches."""
    honest = _body("def f(x):\n    return x.rate\n")
    at = honest.index(bytes([dis.opmap["LOAD_ATTR"]]))
    bodies = []
    for opcode in range(1, 255):
        edited = bytearray(honest)
        edited[at] = opcode
        bodies.append(bytes(edited))
    cached = bytearray(honest)
    cached[at + 4] ^= 7
    text = base64.b64encode(b"def f(x):\n    return x.rate\n").decode()
    requests = [
        json.dumps({"id": 1, "source": "m.py", "text": text, "body": base64.b64encode(body).decode()})
        for body in (*bodies, bytes(cached), honest)
    ]
    found = _answers(requests)
    assert [number for number, same in enumerate(found) if same] == [dis.opmap["LOAD_ATTR"] - 1, 255]


@settings(max_examples=examples(8))
@given(st.lists(st.binary(max_size=200), min_size=20, max_size=60))
def test_random_bodies_never_pass(bodies: list[bytes]) -> None:
    assert not any(_ask_worker(bodies))


def test_main_answers_line_by_line(module: Path) -> None:
    requests = b"".join(
        json.dumps({"id": number, "source": str(module)}).encode() + b"\n" for number in range(3)
    )
    sink = io.BytesIO()
    codecheck.main(io.BytesIO(requests), sink)
    assert [json.loads(line)["id"] for line in sink.getvalue().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("package", [json_package, asyncio])
def test_all_bytecode_of_the_standard_library_is_the_same(package: ModuleType, tmp_path: Path) -> None:
    assert package.__file__ is not None
    sources = sorted(Path(package.__file__).parent.glob("*.py"))
    assert len(sources) >= 4
    for source in sources:
        target = tmp_path / f"{source.stem}.pyc"
        py_compile.compile(str(source), cfile=str(target), doraise=True)
        reply = _ask(source, target.read_bytes()[16:])
        assert (reply["same"], reply["reason"]) == (True, ""), source


def _interpreters() -> list[str]:
    """This interpreter, and others of the supported range where pyenv has them."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = {f"3.{minor}": sorted(root.glob(f"versions/3.{minor}.*/bin/python")) for minor in (10, 12, 13)}
    return [sys.executable] + [str(paths[-1]) for paths in found.values() if paths]


@pytest.mark.parametrize("python", _interpreters())
def test_forged_file_with_its_header_kept_is_found(python: str, module: Path) -> None:
    """The attack itself: source intact, header intact, body exchanged; the job's interpreter runs it."""
    cached = module.parent / "m.pyc"
    forge = (
        "import py_compile,marshal,sys\n"
        "source, cached = sys.argv[1:]\n"
        "py_compile.compile(source, cfile=cached, doraise=True)\n"
        "data = open(cached, 'rb').read()\n"
        "code = compile(open(source).read().replace('x - RATE', 'x + RATE'), source, 'exec')\n"
        "open(cached + '.forged', 'wb').write(data[:16] + marshal.dumps(code))\n"
    )
    subprocess.run([python, "-I", "-S", "-B", "-c", forge, str(module), str(cached)], check=True)
    honest, forged = cached.read_bytes(), Path(f"{cached}.forged").read_bytes()
    assert honest[:16] == forged[:16]
    requests = b""
    for number, data in enumerate((honest, forged, b"\0" * 16 + b"nonsense")):
        request = {"id": number, "source": str(module), "body": base64.b64encode(data[16:]).decode()}
        requests += json.dumps(request).encode() + b"\n"
    result = subprocess.run(
        [python, "-I", "-S", "-B", "-c", PROGRAM, str(SRC)], input=requests, check=True, capture_output=True
    )
    replies = [json.loads(line) for line in result.stdout.splitlines()]
    assert [reply["same"] for reply in replies] == [True, False, False]
    assert replies[1]["reason"] == "changed: step"
