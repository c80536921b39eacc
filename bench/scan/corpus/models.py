"""Model formats other than pickles, each with what its own reader would run, open or render."""

from __future__ import annotations

import base64
import json
import marshal
import struct
from collections.abc import Iterator

from .assemble import Call, Name, stream
from .containers import zipped
from .gadgets import TRUE
from .sample import Sample

OUTSIDE = "../../../../../../../../dev/null/veracity-corpus"
REACHES = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
RUNS = "{{ cycler.__init__.__globals__.os.popen('true').read() }}"
SPELLED = "{% set a = '__cla' ~ 'ss__' %}{{ (''|attr(a))|attr('__mro__') }}"
HOPS = "{{ self.__init__.__globals__.__builtins__.__import__('os').system('true') }}"
FORMATTED = "{{ '{0.__class__}'.format(messages) }}"
TEMPLATES = {"subclasses": REACHES, "globals": RUNS, "spelled": SPELLED, "self": HOPS, "formatted": FORMATTED}
SEEN_IN = {
    "subclasses": "__subclasses__",
    "globals": "popen",
    "spelled": "__cla",
    "self": "system",
    "formatted": "__class__",
}


def models() -> Iterator[Sample]:
    """All samples of this module."""
    yield from _gguf()
    yield from _keras()
    yield from _onnx()
    yield from _saved_models()
    yield from _safetensors()


# --- GGUF ----------------------------------------------------------------------------------------


def gguf(pairs: dict[str, str | int | list[str]], tensors: int = 0, version: int = 3) -> bytes:
    """A GGUF file of these keys and no tensors, whatever number it says it has."""
    data = b"GGUF" + struct.pack("<IQQ", version, tensors, len(pairs))
    for key, value in pairs.items():
        data += _gguf_text(key)
        if isinstance(value, int):
            data += struct.pack("<II", 4, value)
        elif isinstance(value, str):
            data += struct.pack("<I", 8) + _gguf_text(value)
        else:
            data += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_gguf_text, value))
    return data + b"\0" * (-len(data) % 32)


def _gguf_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _gguf() -> Iterator[Sample]:
    head: dict[str, str | int | list[str]] = {"general.architecture": "llama", "llama.block_count": 1}
    for word, template in TEMPLATES.items():
        data = gguf({**head, "tokenizer.chat_template": template})
        yield Sample(f"gguf-template-{word}", 10, "gguf", SEEN_IN[word], {"model.gguf": data})
    named = gguf(
        {**head, "tokenizer.chat_template": "{{ messages }}", "tokenizer.chat_template.tool_use": RUNS}
    )
    yield Sample("gguf-template-named", 10, "gguf", "popen", {"model.gguf": named})
    data = gguf({**head, "tokenizer.chat_template": HOPS})
    yield Sample("gguf-unnamed", 6, "gguf", "system", {"weights.bin": data})


# --- Keras ---------------------------------------------------------------------------------------


def _layers(*layers: dict[str, object]) -> bytes:
    return json.dumps({
        "module": "keras", "class_name": "Sequential", "registered_name": None,
        "config": {"name": "sequential", "trainable": True, "layers": list(layers)},
    }).encode()  # fmt: skip


def _keras() -> Iterator[Sample]:
    code = base64.b64encode(marshal.dumps(compile("lambda x: x", "x", "eval"))).decode()
    function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    configs: dict[str, tuple[str, bytes]] = {
        "lambda": ("Lambda", _layers({"module": "keras.layers", "class_name": "Lambda", "config": {"name": "l", "function": function}})),
        "lambda-old": ("Lambda", _layers({"class_name": "Lambda", "config": {"name": "l", "function": [code, None, None], "function_type": "lambda"}})),
        "module-os": ("system", _layers({"module": "os", "class_name": "system", "config": "true", "registered_name": "system"})),
        "module-function": ("Popen", _layers({"module": "subprocess", "class_name": "function", "config": "Popen", "registered_name": "Popen"})),
        "module-import": ("run_path", _layers({"module": "runpy", "class_name": "run_path", "config": {"path_name": OUTSIDE}})),
        "get-file": ("get_file", _layers({"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"})),
        "load-model": ("load_model", _layers({"module": "keras.models", "class_name": "function", "config": "load_model", "registered_name": "load_model"})),
        "initializer": ("system", _layers({"module": "keras.layers", "class_name": "Dense", "config": {"units": 1, "kernel_initializer": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}}})),
        "lambda-in-wrapper": ("__lambda__", _layers({"module": "keras.layers", "class_name": "TimeDistributed", "config": {"layer": {"module": "keras.layers", "class_name": "Lambda", "config": {"function": function}}}})),
        "torch-module": ("TorchModuleWrapper", _layers({"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": {"class_name": "__bytes__", "config": {"value": base64.b64encode(stream(Call(Name("os", "system"), (TRUE,)))).decode()}}}})),
        "custom": ("veracity_corpus", _layers({"module": "veracity_corpus.layers", "class_name": "Layer", "config": {}, "registered_name": "Layer"})),
    }  # fmt: skip
    metadata = b'{"keras_version": "3.8.0", "date_saved": "2026-11-01@12:00:00"}'
    for word, (names, config) in configs.items():
        files = {"metadata.json": metadata, "config.json": config, "model.weights.h5": b"\x89HDF\r\n\x1a\n"}
        yield Sample(f"keras-{word}", 10, "keras", names, {"model.keras": zipped(files)})
        if word in ("lambda", "module-os", "lambda-old"):
            yield Sample(f"keras-{word}-json", 10, "keras", names, {"model.json": config})
    inside = zipped({"metadata.json": metadata, "config.json": configs["lambda"][1], "model.weights.h5": b""})
    yield Sample("keras-unnamed", 6, "keras", "Lambda", {"model.zip": inside})
    yield from _keras_h5(configs)


def _keras_h5(configs: dict[str, tuple[str, bytes]]) -> Iterator[Sample]:
    """Nothing where h5py is not installed: the format is too involved to be written by hand."""
    try:
        import h5py
    except ImportError:
        return
    import io

    for word in ("lambda-old", "module-os", "lambda", "get-file"):
        names, config = configs[word]
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.attrs["model_config"] = config.decode()
            file.attrs["keras_version"] = "3.8.0"
            file.create_group("model_weights")
        yield Sample(f"keras-h5-{word}", 10, "keras", names, {"model.h5": buffer.getvalue()})
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["weights"] = h5py.ExternalLink("/dev/null/veracity-corpus", "/weights")
    yield Sample(
        "h5-external-link", 10, "keras", "/dev/null/veracity-corpus", {"model.h5": buffer.getvalue()}
    )


# --- ONNX and TensorFlow --------------------------------------------------------------------------


def part(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data, number = data + bytes([number & 127 | 128]), number >> 7
    return data + bytes([number])


def onnx(nodes: bytes = b"", weights: bytes = b"") -> bytes:
    """A ModelProto with a graph of these nodes and initializers."""
    graph = nodes + part(2, "graph") + weights
    return part(1, 8) + part(2, "veracity-corpus") + part(7, graph) + part(8, part(1, "") + part(2, 17))


def external(location: str) -> bytes:
    """A TensorProto whose numbers lie in another file."""
    entry = part(13, part(1, "location") + part(2, location)) + part(13, part(1, "length") + part(2, "4"))
    return part(1, 1) + part(2, 1) + part(8, "weight") + entry + part(14, 1)


def _onnx() -> Iterator[Sample]:
    for word, place in {
        "parent": OUTSIDE, "absolute": "/dev/null/veracity-corpus", "dotted": "weights/../../../veracity-corpus",
        "link": "/proc/self/environ", "windows": "..\\..\\veracity-corpus", "address": "http://127.0.0.1:9/weights",
    }.items():  # fmt: skip
        yield Sample(
            f"onnx-{word}", 10, "onnx", place, {"model.onnx": onnx(weights=part(5, external(place)))}
        )
    attribute = part(5, part(1, "value") + part(5, external(OUTSIDE)) + part(20, 4))
    inside = part(1, part(2, "y") + part(4, "Constant") + attribute)
    yield Sample("onnx-in-attribute", 10, "onnx", OUTSIDE, {"model.onnx": onnx(inside)})
    python = part(1, part(1, "x") + part(2, "y") + part(4, "PyOp") + part(7, "ai.onnx.contrib"))
    yield Sample("onnx-python", 10, "onnx", "PyOp", {"model.onnx": onnx(python)})
    unnamed = onnx(weights=part(5, external(OUTSIDE)))
    yield Sample("onnx-unnamed", 6, "onnx", OUTSIDE, {"model.bin": unnamed})


def _saved_models() -> Iterator[Sample]:
    for operation in ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "MatchingFiles"):
        node = part(1, part(1, "node") + part(2, operation))
        meta = part(2, part(1, part(4, "serve")) + part(2, node))
        saved = part(1, 1) + meta
        yield Sample(
            f"savedmodel-{operation.lower()}", 10, "savedmodel", operation, {"model/saved_model.pb": saved}
        )
    function = part(2, part(1, part(1, part(1, "f")) + part(3, part(1, "w") + part(2, "WriteFile"))))
    saved = part(1, 1) + part(2, part(1, part(4, "serve")) + part(2, function))
    yield Sample("savedmodel-in-function", 10, "savedmodel", "WriteFile", {"model/saved_model.pb": saved})


def _safetensors() -> Iterator[Sample]:
    """Headers that the format's own reader refuses, or that name what lies outside."""

    def file(header: bytes, data: bytes = bytes(4), size: int | None = None) -> bytes:
        return struct.pack("<Q", len(header) if size is None else size) + header + data

    one = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    bad = stream(Call(Name("os", "system"), (TRUE,)), 2)
    cases = {
        "appended-pickle": (file(one, bytes(4) + bad), "os"),
        "hole": (file(one.replace(b"[0,4]", b"[%d,%d]" % (len(bad), len(bad) + 4)), bad + bytes(4)), "os"),
        "overlap": (file(one[:-1] + b',"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'), "weight"),
        "outside": (file(one.replace(b"[0,4]", b"[0,4000]")), "weight"),
        "twice": (file(one[:-1] + b',"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'), "weight"),
        "pickle-named": (bad, "os"),
    }
    for word, (data, names) in cases.items():
        yield Sample(f"safetensors-{word}", 10, "safetensors", names, {"model.safetensors": data})
