"""Names of operators in TorchScript: found however they are written, and not in text or in other names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.archive.looking import look
from veracity.observe.torchscript import MAX_NAMES, operators_in_bytecode, operators_in_code


@pytest.mark.parametrize(
    "code",
    [
        "y = torch.save(x, 'f')",
        "y = ops.aten.save(x, 'f')",
        "y = torch . save(x, 'f')",
        "y = torch.\\\n  save",
        "_0 = torch\n_0.save(x, 'f')",
        "_0 = torch\n_1 = _0\n_1.save(x, 'f')",
        "_0 = ops.aten\n_0.save(x, 'f')",
        "_0 = ops\n_0.aten.save(x, 'f')",
        "_0 = torch.save\n_0(x, 'f')",
        "a = 'it\\'s'; torch.save(x, 'f')  # it's",
        "# it's\ntorch.save(x, 'f')",
        '"""a"""; torch.save(x)',
    ],
)
def test_an_operator_is_found(code: str) -> None:
    assert "aten.save" in operators_in_code(code.replace("\\\n", " "))


@pytest.mark.parametrize(
    "code",
    [
        "print('torch.save(')",
        "# torch.save(x)",
        "self.torch.save(x)",
        "self.save(x)",
        "mytorch.save(x)",
        "torch.savefig(x)",
        "'''\ntorch.save(x)\n'''",
        "_0 = torch.relu\n_0.save(x)",
    ],
)
def test_what_is_no_operator_is_not(code: str) -> None:
    assert "aten.save" not in operators_in_code(code)


@given(st.text(alphabet="torchps.ave='\"#\n \\", max_size=200))
def test_any_text_is_read_and_bounded(text: str) -> None:
    assert len(operators_in_code(text)) <= MAX_NAMES
    operators_in_bytecode(text.encode())


def test_operators_of_bytecode() -> None:
    assert operators_in_bytecode(b"X\x09\x00\x00\x00aten::save\x94X\x00\x00\x00\x00aten::relu") == (
        "aten.relu",
        "aten.save",
    )


def test_what_torch_scripts_is_judged(tmp_path: Path) -> None:
    program = (
        "import sys, torch\n"
        "class Acts(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        torch.manual_seed(7)\n"
        "        y = torch.from_file('inert', True, 10)\n"
        "        torch.save(x, 'inert')\n"
        "        return x + y\n"
        "class Honest(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        print('torch.save(x)')\n"
        "        return torch.nn.functional.dropout(x, 0.5)\n"
        "for one in (Acts, Honest):\n"
        "    made = torch.jit.script(one())\n"
        "    made.save(f'{sys.argv[1]}/{one.__name__}.pt')\n"
        "    made._save_for_lite_interpreter(f'{sys.argv[1]}/{one.__name__}.ptl')\n"
    )
    (tmp_path / "program.py").write_text(program)  # torch compiles from the source
    subprocess.run([sys.executable, "-W", "ignore", tmp_path / "program.py", tmp_path], check=True)

    for kind in ("pt", "ptl"):
        assert look((tmp_path / f"Acts.{kind}").read_bytes()).rules == {
            ("checkpoint-script-acts", "error"),
            ("checkpoint-script-acts", "warning"),
        }
        assert look((tmp_path / f"Honest.{kind}").read_bytes()).rules == set()
