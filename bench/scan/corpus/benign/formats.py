"""Model formats that hold no pickles, by their own writers."""

from __future__ import annotations

import os
from pathlib import Path

from .documents import CHAT, TOOLS
from .group import Group
from .torchfiles import networks


def _safetensors(folder: Path, scratch: Path) -> None:
    import torch
    from safetensors.torch import save_file

    for name, network in networks().items():
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors", metadata={"format": "pt", "epoch": "3"})
    for kind in ("bfloat16", "float16", "int8", "bool", "float8_e4m3fn"):
        save_file({"weight": torch.zeros(3, 4).to(getattr(torch, kind))}, folder / f"{kind}.safetensors")
    save_file({"empty": torch.zeros(0, 3), "one": torch.tensor(1.0)}, folder / "empty.safetensors")


def _gguf(folder: Path, scratch: Path) -> None:
    import gguf
    import numpy as np

    for name, template in (("plain", ""), ("chat", CHAT), ("tools", TOOLS)):
        writer = gguf.GGUFWriter(str(folder / f"{name}.gguf"), "llama")
        writer.add_block_count(1)
        writer.add_context_length(128)
        writer.add_token_list([f"token{number}" for number in range(20)])
        writer.add_token_scores([0.0] * 20)
        if template:
            writer.add_chat_template(template)
        writer.add_tensor("token_embd.weight", np.zeros((20, 8), dtype=np.float32))
        writer.add_tensor("output.weight", np.zeros((20, 8), dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _onnx(folder: Path, scratch: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, 2), dtype=np.float32), "weight")
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    ins = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])]
    outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])]
    model = helper.make_model(helper.make_graph(nodes, "small", ins, outs, [weight]))
    onnx.save(model, folder / "small.onnx")
    large = helper.make_model(helper.make_graph(nodes, "large", ins, outs, [weight]))
    onnx.save(
        large,
        folder / "outside.onnx",
        save_as_external_data=True,
        location="outside.onnx.data",
        size_threshold=0,
    )
    domain = [helper.make_node("FusedMatMul", ["x", "weight"], ["y"], domain="com.microsoft")]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    fused = helper.make_model(helper.make_graph(domain, "fused", ins, outs, [weight]), opset_imports=imports)
    onnx.save(fused, folder / "fused.onnx")


def _keras(folder: Path, scratch: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    layers = keras.layers
    entry = keras.Input((4,))
    built = keras.Model(entry, layers.Dense(2)(layers.Concatenate()([layers.Dense(3)(entry), entry])))
    models = {
        "sequential": keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dropout(0.1), layers.Dense(1)]),
        "pictures": keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]),
        "words": keras.Sequential([keras.Input((5,)), layers.Embedding(10, 4), layers.LSTM(4), layers.Dense(1, kernel_regularizer="l2")]),
        "functional": built,
    }  # fmt: skip
    for name, model in models.items():
        model.compile("adam", "mse")
        model.save(folder / f"{name}.keras")
        model.save_weights(folder / f"{name}.weights.h5")
        model.save(folder / f"{name}.h5")
        (folder / f"{name}.json").write_text(model.to_json())


GROUPS = (
    Group("safetensors", "safetensors", _safetensors),
    Group("gguf", "gguf", _gguf),
    Group("onnx", "onnx", _onnx),
    Group("keras", "keras", _keras),
)
