"""Graphs of ONNX and TensorFlow: operators and files that are no part of a calculation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.observe.protobuf.messages import Value, message
from tests.scan.gating import gated, is_clean, rules

VECTORS = Path(__file__).parents[2] / "vectors" / "onnx"
OPERATOR, FILE = "checkpoint-operator", "checkpoint-outside-file"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("external-up", f"{FILE} error"),
        ("external-root", f"{FILE} error"),
        ("external-attribute", f"{FILE} error"),
        ("domain", f"{OPERATOR} warning"),
        ("domain-nested", f"{OPERATOR} warning"),
        ("domain-function", f"{OPERATOR} warning"),
        ("python", f"{OPERATOR} error"),
    ],
)
def test_models_of_onnx_that_do_more_than_calculate(name: str, found: str) -> None:
    assert rules((VECTORS / f"{name}.onnx").read_bytes()) == [found]


@pytest.mark.parametrize("name", ["plain", "beside", "function"])
def test_ordinary_models_of_onnx_are_clean(name: str) -> None:
    data = (VECTORS / f"{name}.onnx").read_bytes()

    assert is_clean(data)
    assert "onnx" in gated(data).formats


def test_fields_in_another_order_or_unknown_ones_hide_nothing() -> None:
    node: list[tuple[int, Value]] = [(4, "PythonOp"), (7, "com.microsoft")]
    graph: Value = [(1, node)]

    assert rules(message((7, graph), (1, 8))) == [f"{OPERATOR} error"]
    assert rules(message((1, 8), (999, "x"), (7, graph), (500, 3))) == [f"{OPERATOR} error"]
    assert rules(message((7, 1), (1, 8), (7, ""), (7, graph))) == [f"{OPERATOR} error"]
    assert rules(message((1, 8), (7, graph), *[(999, 1)] * 25_000)) == [f"{OPERATOR} error"]


def graph_node(name: str, operator: str, *inputs: str) -> tuple[int, Value]:
    return 1, [(1, name), (2, operator), *((3, one) for one in inputs), (5, [(1, "T"), (2, [(6, 1)])])]


def function(name: str, *nodes: tuple[int, Value]) -> tuple[int, Value]:
    return 1, [(1, [(1, name)]), *((3, body) for _, body in nodes)]


SAVER = function(
    "__inference__traced_save_1",
    graph_node("prefix", "Placeholder"),
    graph_node("names", "Const"),
    graph_node("part", "ShardedFilename", "prefix"),
    graph_node("save", "SaveV2", "part:output:0", "names"),
    graph_node("merge", "MergeV2Checkpoints", "names:0", "prefix"),
)
ORDINARY = [graph_node("x", "Placeholder"), graph_node("c", "Const"), graph_node("y", "MatMul", "x", "c")]


def saved(
    *functions: tuple[int, Value], nodes: list[tuple[int, Value]] | None = None, more: Value = ""
) -> bytes:
    graph: Value = [*(nodes or ORDINARY), (2, list(functions)), (4, [(1, 1)])]
    return message((1, 1), (2, [(1, [(1, "x")]), (2, graph), *([(7, more)] if more else [])]))


HARMFUL = [
    ("WriteFile", ()),
    ("ReadFile", ()),
    ("PyFunc", ()),
    ("EagerPyFunc", ()),
    ("PyFuncStateless", ()),
    ("MatchingFiles", ()),
    ("SaveV2", ("c", "x")),
    ("Save", ("c:0", "x")),
]


@pytest.mark.parametrize(("operator", "inputs"), HARMFUL)
def test_operators_of_tensorflow_that_run_code_or_touch_files(operator: str, inputs: tuple[str, ...]) -> None:
    node = graph_node("n", operator, *inputs)
    in_function = function("__inference_serving_1", graph_node("c", "Const"), node)

    for data in (
        saved(SAVER, nodes=[*ORDINARY, node]),
        saved(SAVER, in_function),
        message(*ORDINARY, node),
        message(*ORDINARY, (2, [in_function])),
        message((1, [(1, "meta")]), (2, [*ORDINARY, node]), (3, [(1, "save")])),
    ):
        assert rules(data) == [f"{OPERATOR} error"], operator


def test_graphs_in_parts_or_with_unknown_fields_hide_nothing() -> None:
    node = graph_node("n", "WriteFile")
    meta: Value = [(2, []), (2, [*ORDINARY, node]), (77, 1)]
    only_functions = (2, [function("f", node)])

    assert rules(message((1, 1), (2, []), (2, meta), (99, "x"))) == [f"{OPERATOR} error"]
    assert rules(message((1, []), only_functions)) == [f"{OPERATOR} error"]
    assert rules(message((1, ""), *ORDINARY, node)) == [f"{OPERATOR} error"]


@pytest.mark.parametrize(
    ("operator", "key", "value", "harm"),
    [
        ("PrintV2", "output_stream", [(2, "file:///dev/null/nothing")], True),
        ("DebugIdentityV2", "debug_urls", [(1, [(2, "file:///dev/null/nothing")])], True),
        ("PrintV2", "output_stream", [(2, "stderr")], False),
        ("Const", "value", [(2, "file:///a text")], False),
    ],
)
def test_prints_to_addresses_are_told(operator: str, key: str, value: Value, harm: bool) -> None:
    one = message((1, [(1, "n"), (2, operator), (5, [(1, key), (2, value)])]))
    assert rules(one) == (["checkpoint-operator error"] if harm else [])


def test_a_model_that_can_save_itself_is_clean() -> None:
    one = saved(SAVER)
    first = message(graph_node("save/filename", "Const"), graph_node("save/Const", "PlaceholderWithDefault"))
    old = first + message(graph_node("save/SaveV2", "SaveV2", "save/Const"), *ORDINARY)

    for data in (one, old):
        assert is_clean(data)
        assert "tensorflow" in gated(data).formats


def test_metadata_of_keras_is_read() -> None:
    code = {"class_name": "Lambda", "config": {"function": ["4wE=", None, None]}}
    layer: Value = [(2, 1), (3, "root"), (4, "_tf_keras_layer"), (5, json.dumps(code))]
    user: Value = [(1, [(4, [(1, "_tf_keras_layer"), (3, json.dumps(code))])])]

    assert rules(message((1, layer))) == ["checkpoint-carries-code error"]
    assert rules(saved(SAVER, more=user)) == ["checkpoint-carries-code error"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x1c\0\0\0TFL3" + bytes(100),
        b'<?xml version="1.0"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"/>',
        b'<?xml version="1.0"?><net name="m" version="11"><layers><layer id="0"/></layers></net>',
        message((1, 4), (2, [(1, [(1, "x")])]), (500, [(1, "layer")])),
        b"RDX3\nX\n\0\0\0\3",
    ],
)
def test_formats_that_are_not_read_are_never_called_clean(data: bytes) -> None:
    result = gated(data)

    assert result.status == "incomplete"
    assert "known and not read" in result.gaps[0].reason


def test_ordinary_texts_are_taken_for_none_of_them() -> None:
    for text in (
        "\n\nimport os\n",
        "\nname: value\n",
        '<?xml version="1.0"?><svg/>',
        "<net>",
        "\x08text",
        "\n",
    ):
        assert is_clean(text)
        assert not {"onnx", "tensorflow", "unread format"} & set(gated(text).formats)
