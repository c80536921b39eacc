"""What the configuration of a Keras model asks for when the model is rebuilt from it.

Every object in it is ``{"class_name": …, "config": …}``, since Keras 3 with ``module`` and
``registered_name``. The loader imports ``module`` and takes the class, or calls the function, of that name.
Three kinds bring code along: a lambda (marshalled bytecode in base64, in Keras 2 a list that begins with
it), a torch module (a pickle in base64) and layers that load a file by its path.

Source: ``deserialize_keras_object`` in ``keras/src/saving/serialization_lib.py`` and ``Lambda.from_config``;
CVE-2024-3660, CVE-2025-1550, CVE-2025-9906, CVE-2025-12058, CVE-2026-1462.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from ...core.observation import CodeCarried, FileAsked, NameAsked, Observation
from ..artifact.input import Input
from ..artifact.reading import Nested
from .saying import Saying
from .value import Fields, Path, Value, objects

NEEDLE = re.compile(rb"class_name")
MAX_NAMES = 20_000
_LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")


def keras_objects(root: Value, saying: Saying) -> Iterator[Observation | Nested]:
    """All that the objects in a document ask for, each name once."""
    asked: set[tuple[str, str]] = set()
    for path, fields in objects(root):
        kind = fields.text("class_name")
        if not kind or "config" not in fields.names():
            continue
        for one in _object(path, fields, kind, saying):
            if isinstance(one, NameAsked):
                if (one.module, one.attribute) in asked or len(asked) >= MAX_NAMES:
                    continue
                asked.add((one.module, one.attribute))
            yield one


def _object(path: Path, fields: Fields, kind: str, saying: Saying) -> Iterator[Observation | Nested]:
    if kind == "__lambda__":
        yield saying.carries(saying.where(path), "keras", "bytecode")
    for module in fields.get("module"):
        if isinstance(module, str) and module:
            yield from _named(path, fields, kind, module, saying)
    for config in fields.get("config"):
        if not isinstance(config, Fields):
            continue
        where = saying.where(path, "config")
        if kind == "Lambda":
            yield from _lambda(where, config, saying)
        elif kind == "TorchModuleWrapper":
            yield from _torch(where, config, saying)
        elif kind in _LOOKUPS:
            yield from _file(where, config, "vocabulary", saying)
        elif kind == "TFSMLayer":
            yield from _file(where, config, "filepath", saying)
        elif kind == "__typespec__" and config.text("module"):
            yield saying.asks_of(where, "keras", "called", config.text("module"), config.text("spec_name"))


def _named(path: Path, fields: Fields, kind: str, module: str, saying: Saying) -> Iterator[NameAsked]:
    if kind != "function":
        yield saying.asks_of(saying.where(path), "keras", "called", module, kind)
        return
    for config in fields.get("config"):
        name = (
            config if isinstance(config, str) else config.text("name") if isinstance(config, Fields) else ""
        )
        yield saying.asks_of(saying.where(path), "keras", "called", module, name)


def _lambda(where: str, config: Fields, saying: Saying) -> Iterator[CodeCarried | NameAsked]:
    for key in ("function", "output_shape", "mask"):
        for function in config.get(key):
            code = function[0] if isinstance(function, list) and function else function
            is_lambda = isinstance(function, list) or config.text(f"{key}_type") == "lambda"
            if isinstance(code, str) and is_lambda:
                yield saying.carries(f"{where}.{key}", "keras", "bytecode")
            elif key == "function" and isinstance(function, str) and config.text("module"):
                yield saying.asks_of(f"{where}.{key}", "keras", "called", config.text("module"), function)


def _torch(where: str, config: Fields, saying: Saying) -> Iterator[CodeCarried | Nested]:
    yield saying.carries(where, "keras", "pickle")
    for module in config.get("module"):
        text = module if isinstance(module, str) else ""
        try:
            data = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            continue
        if data:
            yield Nested(Input.of_bytes(f"{saying.name}!{where}.module", data, saying.depth + 1))


def _file(where: str, config: Fields, key: str, saying: Saying) -> Iterator[FileAsked]:
    for value in config.get(key):
        if isinstance(value, str):
            yield saying.file(f"{where}.{key}", "keras", value)
