"""What a Keras model brings and asks for, and models that bring nothing."""

from __future__ import annotations

import base64

import pytest

from tests.scan.gating import gated, is_clean, rules

ERROR, WARNING = "error", "warning"
DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {
        "units": 4,
        "dtype": {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": "float32"},
            "registered_name": None,
        },
        "activation": "relu",
        "kernel_initializer": {
            "module": "keras.initializers",
            "class_name": "GlorotUniform",
            "config": {"seed": None},
            "registered_name": None,
        },
    },
    "registered_name": None,
}


def model(*layers: object) -> dict[str, object]:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": list(layers)},
        "registered_name": "Sequential",
        "compile_config": {"optimizer": "adam", "loss": function("keras.losses", "mean_squared_error")},
    }


def layer(kind: str, config: object, module: str = "keras.layers") -> dict[str, object]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": kind}


def function(module: str, name: str) -> dict[str, object]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function"}


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
TYPE = {"class_name": "__typespec__", "config": {"module": "os", "spec_name": "system"}}
FOUND = [
    (layer("Lambda", {"function": LAMBDA}), "checkpoint-carries-code", ERROR),
    ({"class_name": "Lambda", "config": {"function": ["4wE="]}}, "checkpoint-carries-code", ERROR),
    (
        {"class_name": "Lambda", "config": {"function": "4w==", "function_type": "lambda"}},
        "checkpoint-carries-code",
        ERROR,
    ),
    (function("keras.src.utils.python_utils", "func_load"), "checkpoint-names-harm", WARNING),
    (layer("Lambda", {"function": function("os", "system")}), "checkpoint-names-harm", ERROR),
    (layer("Lambda", {"function": function("builtins", "exec")}), "checkpoint-names-harm", ERROR),
    (layer("run", {"args": "true"}, "subprocess"), "checkpoint-names-harm", ERROR),
    (layer("Mine", {}, "my_project.layers"), "checkpoint-remote-code", WARNING),
    (layer("Lambda", {"function": function("keras.utils", "get_file")}), "checkpoint-names-harm", WARNING),
    (function("keras.config", "enable_unsafe_deserialization"), "checkpoint-names-harm", WARNING),
    (function("tensorflow.io", "write_file"), "checkpoint-names-harm", WARNING),
    (layer("TFSMLayer", {"filepath": "../other"}), "checkpoint-names-harm", WARNING),
    (layer("StringLookup", {"vocabulary": "/etc/hosts"}), "checkpoint-outside-file", ERROR),
    (layer("IntegerLookup", {"vocabulary": "gs://bucket/x"}), "checkpoint-outside-file", ERROR),
    (layer("TextVectorization", {"vocabulary": "a/../../b"}), "checkpoint-outside-file", ERROR),
    (TYPE, "checkpoint-names-harm", ERROR),
]


@pytest.mark.parametrize(("one", "rule", "severity"), FOUND)
def test_what_a_model_brings_or_asks_for_is_found(one: object, rule: str, severity: str) -> None:
    assert f"{rule} {severity}" in rules(model(DENSE, one), "config.json")


@pytest.mark.parametrize(
    "one",
    [
        DENSE,
        layer("StringLookup", {"vocabulary": ["a", "b"]}),
        layer("FeatureSpace", {"features": {}}, "keras.utils"),
        layer("StringLookup", {"vocabulary": None}),
        layer("StringLookup", {"vocabulary": "assets/vocabulary.txt"}),
        layer("Lambda", {"function": function("builtins", "relu")}),
        layer("Activation", {"activation": function("keras.activations", "gelu")}),
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32"}},
        {"class_name": "person", "module": "os", "label": 1},
        layer("Text", {"text": "class_name Lambda function os.system"}),
    ],
)
def test_ordinary_models_are_clean(one: object) -> None:
    assert is_clean(model(DENSE, one), "config.json")


def test_the_pickle_of_a_torch_module_is_read_in_turn() -> None:
    inside = base64.b64encode(b'{"auto_map": {"AutoModel": "someone/else--a.B"}}').decode()
    found = gated(model(layer("TorchModuleWrapper", {"module": inside})), "config.json").findings

    assert {one.rule for one in found} == {
        *("checkpoint-carries-code", "checkpoint-names-harm", "checkpoint-remote-code"),
    }
    assert found[-1].subject.endswith("config.module")
