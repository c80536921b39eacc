"""contract.toml says what was declared, and is valid TOML whatever the names are."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.contract import OptimizerDeclaration, TensorDeclaration
from veracity.core.observation import OptimizerDeclared
from veracity.core.origin import Origin, Trust
from veracity.monitor.contractfile import ContractFile

tomllib = pytest.importorskip("tomllib") if sys.version_info >= (3, 11) else pytest.importorskip("tomli")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)


def _declared(groups: list[dict[str, object]], rank: int = 0) -> OptimizerDeclared:
    origin = Origin("guard", Trust.USERLAND, 1, rank, 0, 0)
    tensors = [TensorDeclaration("w", [2, 3], "float32", 6, 0)]
    declaration = OptimizerDeclaration(0, "torch.optim.sgd.SGD", "", 0, groups, tensors)  # type: ignore[arg-type]
    return OptimizerDeclared(origin, declaration)


def test_hyper_parameters_come_back_as_declared(tmp_path: Path) -> None:
    file = ContractFile(tmp_path / "contract.toml")
    file.take(_declared([{"lr": 1e-05, "betas": [0.9, 0.95], "nesterov": False, "foreach": None}]))
    file.write()
    read = tomllib.loads((tmp_path / "contract.toml").read_text())
    (optimizer,) = read["optimizer"]
    assert optimizer["class"] == "torch.optim.sgd.SGD"
    assert optimizer["parameters"] == 6
    assert optimizer["group"] == [{"lr": 1e-05, "betas": [0.9, 0.95], "nesterov": False}]


def test_other_ranks_and_later_declarations_change_nothing(tmp_path: Path) -> None:
    file = ContractFile(tmp_path / "contract.toml")
    file.take(_declared([{"lr": 0.5}], rank=1))
    file.take(_declared([{"lr": 0.1}]))
    file.take(_declared([{"lr": 0.2}]))
    file.write()
    assert tomllib.loads((tmp_path / "contract.toml").read_text())["optimizer"][0]["group"] == [{"lr": 0.1}]


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), SCALARS, max_size=6))
def test_any_hyper_parameters_give_valid_toml(
    tmp_path_factory: pytest.TempPathFactory, group: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("contract") / "contract.toml"
    file = ContractFile(path)
    file.take(_declared([group]))
    file.write()
    (read,) = tomllib.loads(path.read_text())["optimizer"][0]["group"]
    assert read.keys() == {key for key, value in group.items() if value is not None}
    for key, value in read.items():
        assert value == group[key] or math.isinf(value)
