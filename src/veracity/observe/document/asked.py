"""The names that a document gives its loaders, by what each of these would do with it.

One document may be read by several: each is followed, wherever in the document it looks. Keys mean what the
loader's own source makes of them:

``transformers``           ``auto_map`` at any depth and ``custom_pipelines``: ``module.Class`` is a file
                           beside the document, ``repository--module.Class`` one of another repository; an
                           attention implementation with a slash is a kernel fetched from a repository
``diffusers``              ``model_index.json``: ``[library, class]`` for each component
``sentence-transformers``  ``modules.json``: ``type``; activations with dots in their names are called
``peft``                   ``auto_mapping`` and ``megatron_core`` name modules that are imported
``mlx``                    ``model_file``: executed
``mlflow``                 ``loader_module``: imported
``hydra``                  ``_target_``, and what its own functions resolve; ``class_path`` of Lightning's
                           command line and ``_component_`` of torchtune do the same
``latent-diffusion``       ``target`` beside ``params``: called with them
``nemo``                   ``target``: called with what stands beside it
``logging``                ``()`` and a handler's ``class``: called by ``logging.config.dictConfig``
``jsonpickle``             ``py/object``, ``py/type``, ``py/function``, ``py/reduce``, ``py/repr``
``skops``                  ``__module__`` with ``__class__`` and ``__loader__``
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from ...core.observation import CodeCarried, NameAsked
from .resolved import interpolated
from .saying import Saying
from .value import Fields, Path, Value, objects

NEEDLE = re.compile(
    rb"auto_map|custom_pipelines|attn_implementation|_class_name|sentence_transformers|activation_f|\"idx\""
    rb"|megatron_core|model_file|loader_module|_target_|class_path|_component_|py\\?/|__loader__"
    rb"|\btarget[\"']?\s{0,4}:\s{0,4}[\"']?\w{1,20}\.\w|\(\)[\"']?\s{0,4}:|handlers[\"']?\s{0,4}:"
)
"""Bytes of which a document without escapes has some, when it asks for any name."""

_HYDRA_KEYS = ("_target_", "class_path", "_component_")
_RESOLVERS = re.compile(
    r"hydra\.utils\.(get_class|get_method|get_static_method|get_object|call|instantiate)"
    r"|hydra\._internal\.utils\._locate|omegaconf\..*"
)
# A ``target`` alone may be anything, a host say: of Python's own only what runs or opens something is meant.
_RUNS = re.compile(
    r"(os|posix|nt|subprocess|pty|builtins|runpy|importlib|shutil|pickle|marshal|ctypes|socket|sys|_thread|code)"
    r"\.(system|popen|exec\w*|spawn\w*|posix_spawnp?|Popen|run\w*|call|check_\w+|get\w*output|eval|compile|open"
    r"|__import__|import_module|rmtree|remove|unlink|loads?|CDLL|PyDLL|create_connection|socket|setattr|exit"
    r"|_exit|kill\w*|fork\w*|settrace|interact|start_new_thread)"
)
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+\Z")
_Asked = Iterator["NameAsked | CodeCarried"]


def asked(root: Value, saying: Saying) -> _Asked:
    """All names that a document gives its loaders."""
    saying = replace(saying, root=root)
    for path, fields in objects(root):
        names = fields.names()
        for key, reader in _KEYS.items():
            if key in names:
                yield from reader(path, fields, saying)
        if any(name.startswith("py/") for name in names):
            yield from _jsonpickle(path, fields, saying)
    if isinstance(root, list):
        yield from _modules(root, saying)


def _auto_map(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for value in fields.get("auto_map"):
        for key, text in _texts(value):
            where = saying.where(path, "auto_map", *key)
            if "." in text:
                yield _remote(where, "transformers", text, saying)


def _custom_pipelines(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for value in fields.get("custom_pipelines"):
        for task, given in value.pairs if isinstance(value, Fields) else ():
            for text in given.get("impl") if isinstance(given, Fields) else ():
                if isinstance(text, str):
                    where = saying.where(path, "custom_pipelines", task, "impl")
                    yield _remote(where, "transformers", text, saying)


def _remote(where: str, loader: str, text: str, saying: Saying) -> NameAsked:
    repository, found, rest = text.partition("--")
    return saying.asks(where, loader, "code", rest if found else text, repository if found else "")


def _attention(key: str) -> Callable[[Path, Fields, Saying], _Asked]:
    def reader(path: Path, fields: Fields, saying: Saying) -> _Asked:
        for value in fields.get(key):
            for more, text in _texts(value):
                repository = text.rpartition("|")[2]
                if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?(:[\w.-]+)?", repository):
                    where = saying.where(path, key, *more)
                    yield saying.asks_of(where, "transformers", "code", "", "", repository)

    return reader


def _diffusers(path: Path, fields: Fields, saying: Saying) -> _Asked:
    if path is not None or not _is_index(fields, saying.name):
        return
    for key, value in fields.pairs:
        if not isinstance(value, list) or len(value) != 2:
            continue
        library, name = value
        if isinstance(library, str) and isinstance(name, str):
            way = "code" if key == "_class_name" else "imported"
            yield saying.asks_of(saying.where(path, key), "diffusers", way, library, name)


def _is_index(fields: Fields, name: str) -> bool:
    """Whether it lists the components of a pipeline: a component's own settings have pairs of names too."""
    if name.endswith("model_index.json"):
        return True
    kinds = fields.get("_class_name")
    if any(isinstance(kind, list) or "Pipeline" in str(kind) for kind in kinds):
        return True
    pairs = [value for _, value in fields.pairs if isinstance(value, list) and len(value) == 2]
    return any(value[0] in ("diffusers", "transformers") for value in pairs)


def _modules(root: list[Value], saying: Saying) -> _Asked:
    """modules.json of sentence-transformers: a list of modules in their order."""
    for at, fields in enumerate(root):
        if isinstance(fields, Fields) and {"idx", "type", "path"} <= fields.names():
            for text in fields.get("type"):
                if isinstance(text, str):
                    where = saying.where(None, at, "type")
                    yield saying.asks(where, "sentence-transformers", "imported", text)


def _activation(key: str) -> Callable[[Path, Fields, Saying], _Asked]:
    def reader(path: Path, fields: Fields, saying: Saying) -> _Asked:
        for text in fields.get(key):
            if isinstance(text, str) and _DOTTED.match(text):
                yield saying.asks(saying.where(path, key), "sentence-transformers", "called", text)

    return reader


def _auto_mapping(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for value in fields.get("auto_mapping"):
        if isinstance(value, Fields):
            for library in value.get("parent_library"):
                if isinstance(library, str):
                    where = saying.where(path, "auto_mapping", "parent_library")
                    name = value.text("base_model_class")
                    yield saying.asks_of(where, "peft", "imported", library, name)


def _imports(key: str, loader: str, way: str) -> Callable[[Path, Fields, Saying], _Asked]:
    def reader(path: Path, fields: Fields, saying: Saying) -> _Asked:
        for text in fields.get(key):
            if isinstance(text, str) and text:
                yield saying.asks_of(saying.where(path, key), loader, way, text, "")

    return reader


def _model_file(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for text in fields.get("model_file"):
        if path is None and isinstance(text, str) and text.endswith(".py"):
            yield saying.asks_of(saying.where(path, "model_file"), "mlx", "code", text, "")


def _hydra(key: str) -> Callable[[Path, Fields, Saying], _Asked]:
    def reader(path: Path, fields: Fields, saying: Saying) -> _Asked:
        for text in fields.get(key):
            if not isinstance(text, str):
                continue
            for target in interpolated(text.strip(), path, saying.root):
                yield saying.asks(saying.where(path, key), "hydra", "called", target)
                if _RESOLVERS.fullmatch(target):
                    yield from _resolved(path, fields, saying)
                if any(str(one).lower() in ("true", "yes", "on") for one in fields.get("trust_remote_code")):
                    place = saying.where(path, "trust_remote_code")
                    repository = fields.text("pretrained_model_name_or_path") or target
                    yield saying.asks_of(place, "transformers", "code", "", "", repository)

    return reader


def _target(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for text in fields.get("target"):
        if isinstance(text, str) and _DOTTED.match(text):
            if "params" in fields.names():
                yield saying.asks(saying.where(path, "target"), "latent-diffusion", "called", text)
            elif _RUNS.fullmatch(text):
                yield saying.asks(saying.where(path, "target"), "nemo", "called", text)


def _logging(path: Path, fields: Fields, saying: Saying) -> _Asked:
    """A factory, or the class of a handler: both are found by their names and called."""
    for text in fields.get("()"):
        if isinstance(text, str) and _DOTTED.match(text):
            yield saying.asks(saying.where(path, "()"), "logging", "called", text)


def _handlers(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for handlers in fields.get("handlers"):
        for name, handler in handlers.pairs if isinstance(handlers, Fields) else ():
            for text in handler.get("class") if isinstance(handler, Fields) else ():
                if isinstance(text, str) and _DOTTED.match(text):
                    where = saying.where(path, "handlers", name, "class")
                    yield saying.asks(where, "logging", "called", text)


def _resolved(path: Path, fields: Fields, saying: Saying) -> _Asked:
    """What a function of Hydra's own is to find by its name."""
    for name in ("path", "_args_"):
        for more, text in _texts(fields.get(name)):
            for target in interpolated(text, path, saying.root):
                yield saying.asks(saying.where(path, name, *more), "hydra", "imported", target)


def _jsonpickle(path: Path, fields: Fields, saying: Saying) -> _Asked:
    for key, value in fields.pairs:
        if not isinstance(value, str):
            continue
        where = saying.where(path, key)
        if key in ("py/type", "py/function", "py/class"):
            yield saying.asks(where, "jsonpickle", "called" if _is_reduced(path) else "imported", value)
        elif key == "py/object":
            yield saying.asks(where, "jsonpickle", "built", value)
        elif key == "py/repr":
            yield saying.carries(where, "jsonpickle", "expression", value.rpartition("/")[2])


def _is_reduced(path: Path) -> bool:
    """Whether it is the first of a list under ``py/reduce``: what is called with the second."""
    return path is not None and path[1] == 0 and path[0] is not None and path[0][1] == "py/reduce"


def _skops(path: Path, fields: Fields, saying: Saying) -> _Asked:
    module, name = fields.text("__module__"), fields.text("__class__")
    if fields.text("__loader__") and name:
        yield saying.asks_of(saying.where(path, "__class__"), "skops", "called", module, name)


def _texts(value: Value) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The texts in a value or in its lists and objects, three deep."""
    waiting: list[tuple[tuple[str | int, ...], Value]] = [((), value)]
    while waiting:
        key, one = waiting.pop()
        if isinstance(one, str):
            yield key, one
        elif len(key) < 3 and isinstance(one, Fields):
            waiting += [((*key, name), part) for name, part in reversed(one.pairs)]
        elif len(key) < 3 and isinstance(one, list):
            waiting += [((*key, at), one[at]) for at in reversed(range(len(one)))]


_KEYS: dict[str, Callable[[Path, Fields, Saying], _Asked]] = {
    "auto_map": _auto_map,
    "custom_pipelines": _custom_pipelines,
    "_attn_implementation": _attention("_attn_implementation"),
    "attn_implementation": _attention("attn_implementation"),
    "_class_name": _diffusers,
    "activation_function": _activation("activation_function"),
    "activation_fn": _activation("activation_fn"),
    "sbert_ce_default_activation_function": _activation("sbert_ce_default_activation_function"),
    "auto_mapping": _auto_mapping,
    "megatron_core": _imports("megatron_core", "peft", "imported"),
    "model_file": _model_file,
    "loader_module": _imports("loader_module", "mlflow", "imported"),
    "target": _target,
    "()": _logging,
    "handlers": _handlers,
    **{key: _hydra(key) for key in _HYDRA_KEYS},
    "__loader__": _skops,
}
