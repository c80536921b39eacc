"""Names of operators in TorchScript: found however they are written, and not in text or in other names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.archive.looking import look
from tests.observe.archive.torchfiles import torch_files
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


@pytest.mark.parametrize("kind", ["pt", "ptl"])
def test_what_torch_scripts_is_judged(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = torch_files(tmp_path_factory)

    assert look((folder / f"Acts.{kind}").read_bytes()).rules == {
        ("checkpoint-script-acts", "error"),
        ("checkpoint-script-acts", "warning"),
    }
    assert look((folder / f"Honest.{kind}").read_bytes()).rules == set()
