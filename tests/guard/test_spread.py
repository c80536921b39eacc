"""State smaller than its parameter is read at the entries of the sampled elements, or not at all."""

from __future__ import annotations

from array import array

import pytest

pytest.importorskip("torch")

import torch

from veracity.guard.reader import Picked
from veracity.guard.spread import entries

PLACES = [0, 5, 23, 7]


def read(name: str, value: object, parameter: torch.Tensor) -> dict[str, list[float]]:
    found = entries(name, value, parameter, Picked(PLACES, None))
    return {field: [float(value) for value in array(code, data)] for field, (code, data) in found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4)])
def test_each_element_has_its_row_and_its_column(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    parameter = torch.zeros(shape, dtype=dtype)
    rows = torch.arange(parameter.sum(-1).numel(), dtype=dtype).view(*shape[:-1], 1)
    columns = torch.arange(parameter.sum(-2).numel(), dtype=dtype).view(*shape[:-2], 1, shape[-1])
    by_row = read("row_var", rows, parameter)
    assert by_row["row_var"] == rows.expand(shape).flatten()[PLACES].tolist()
    assert by_row["row_mean"] == rows.mean(-2, keepdim=True).expand(shape).flatten()[PLACES].tolist()
    assert read("col_var", columns, parameter) == {
        "col_var": columns.expand(shape).flatten()[PLACES].tolist()
    }


def test_one_number_stands_for_all_elements() -> None:
    assert read("mu_product", torch.tensor(0.25), torch.zeros(4, 6)) == {"mu_product": [0.25] * 4}


@pytest.mark.parametrize(
    "value", [None, 3.0, torch.ones(4), torch.ones(6, 1), torch.ones(1, 6), torch.ones(4, 1, device="meta")]
)
def test_what_has_another_shape_is_not_read(value: object) -> None:
    assert read("row_var", value, torch.zeros(4, 6)) == {}
    assert read("row_var", torch.ones(24, 1), torch.zeros(24)) == {}
