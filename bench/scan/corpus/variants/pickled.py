"""Pickles that use what policies permit for what it is not there for, and calls that come later or sideways."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..assemble import STOP, Call, Name, Node, Raw, named, push, start, stream
from ..containers import MAGIC, checkpoint, npy, torch_zip, zipped
from ..gadgets import NOWHERE, TRUE
from ..sample import Sample

SYSTEM = Name("os", "system")
RUN = Call(SYSTEM, (TRUE,))
ORDERED = Name("collections", "OrderedDict")
LINEAR = Name("torch.nn.modules.linear", "Linear")


def pickled() -> Iterator[Sample]:
    """All samples of this module."""
    for word, (bypass, name, data, training) in {**_later(), **_sideways(), **_state(), **_costly()}.items():
        yield Sample(f"more-{word}", bypass, "pickle", str(name), {"model.pkl": data}, training)
    for word, (names, files) in _sharded().items():
        yield Sample(f"more-sharded-{word}", 9, "torch-shards", names, files)
    for word, (names, files) in _carried().items():
        carrier = "numpy" if "npy" in word else "torch-legacy" if word.startswith("legacy") else "torch-zip"
        yield Sample(f"more-{word}", 9, carrier, names, files)


_Row = tuple[int, Name, bytes, bool]


def _later() -> dict[str, _Row]:
    """Kept in the file's value, and called when the program uses it as what it looks like."""
    partial = Call(Name("functools", "partial"), (SYSTEM, TRUE))
    default = Name("collections", "defaultdict")
    mapped = Call(Name("builtins", "map"), (SYSTEM, [TRUE]))
    return {
        "default-factory": (1, SYSTEM, stream(Call(default, (SYSTEM,)), 2), False),
        "default-partial": (1, SYSTEM, stream(Call(default, (partial,)), 4), False),
        "list-of-map": (2, SYSTEM, stream(Call(Name("builtins", "list"), (mapped,)), 4), False),
        "deque-of-map": (2, SYSTEM, stream(Call(Name("collections", "deque"), (mapped,)), 2), False),
        "tuple-of-filter": (
            2, SYSTEM, stream(Call(Name("builtins", "tuple"), (Call(Name("builtins", "filter"), (SYSTEM, [TRUE])),)), 3), False,
        ),
        "attrgetter-dunder": (
            2, Name("operator", "attrgetter"), stream({"key": Call(Name("operator", "attrgetter"), ("__init__.__globals__",))}, 2), False,
        ),
        "attrgetter-path": (
            2, Name("operator", "attrgetter"), stream([Call(Name("operator", "attrgetter"), ("sys.modules",))], 4), False,
        ),
        "methodcaller-kept": (2, Name("operator", "methodcaller"), stream({"f": Call(Name("operator", "methodcaller"), ("system", TRUE))}, 2), False),
        "property": (1, Name("builtins", "property"), stream(Call(Name("builtins", "property"), (Name("builtins", "exec"),)), 2), False),
        "weak-finalizer": (1, Name("weakref", "finalize"), stream(Call(Name("weakref", "finalize"), (ORDERED, SYSTEM, TRUE)), 2), False),
        "thread-started": (1, Name("concurrent.futures", "ThreadPoolExecutor"), stream(Call(Name("concurrent.futures", "ThreadPoolExecutor"), (1, "x", SYSTEM, (TRUE,))), 2), False),
        "cached": (1, Name("functools", "lru_cache"), stream(Call(Call(Name("functools", "lru_cache"), (4,)), (SYSTEM,)), 2), False),
    }  # fmt: skip


def _sideways() -> dict[str, _Row]:
    """Ways round to a callable that only few lists name."""
    names: dict[str, tuple[str, tuple[Node, ...]]] = {
        "forward-ref": ("typing:ForwardRef._evaluate", (Call(Name("typing", "ForwardRef"), ("0",)), {}, {}, ())),
        "completer": ("rlcompleter:Completer.attr_matches", (Call(Name("rlcompleter", "Completer"), ({},)), "x.y")),
        "named-tuple": ("collections:namedtuple", ("T", "a")),
        "dataclass": ("dataclasses:_create_fn", ("f", (), ("pass",))),
        "site-folder": ("site:addsitedir", (NOWHERE,)),
        "site-package": ("site:addpackage", (NOWHERE, "x.pth", None)),
        "compile-folder": ("compileall:compile_dir", (NOWHERE,)),
        "zip-application": ("zipapp:create_archive", (NOWHERE,)),
        "environment": ("venv:create", (NOWHERE,)),
        "tcl": ("_tkinter:create", (None,)),
        "readline": ("readline:read_init_file", (NOWHERE,)),
        "database": ("dbm.dumb:open", (NOWHERE,)),
        "config-factory": ("logging.config:dictConfig", ({"version": 1, "formatters": {"f": {"()": "os.getpid"}}},)),
        "listener": ("multiprocessing.connection:Client", (("127.0.0.1", 9),)),
        "manager": ("multiprocessing.managers:BaseManager", (("127.0.0.1", 9),)),
        "rpc": ("xmlrpc.client:ServerProxy", ("http://127.0.0.1:9/",)),
        "certificate": ("ssl:get_server_certificate", (("127.0.0.1", 9),)),
        "imap-stream": ("imaplib:IMAP4_stream", (TRUE,)),
        "wrapped-import": ("six:_import_module", ("json",)),
        "lazy-import": ("lazy_loader:load", ("json",)),
        "pkg-resources": ("pkg_resources:run_script", ("x", "y")),
        "setuptools-run": ("setuptools.sandbox:run_setup", (NOWHERE, [])),
        "library-numpy": ("numpy.ctypeslib:load_library", ("x", NOWHERE)),
        "map-numpy": ("numpy.lib.format:open_memmap", (NOWHERE,)),
        "query": ("pandas.core.frame:DataFrame.query", (None, "0")),
        "package-importer": ("torch.package.package_importer:PackageImporter", (NOWHERE,)),
        "hub-of-files": ("torch.utils.model_zoo:load_url", ("http://127.0.0.1:9/",)),
        "remote-code": ("transformers.dynamic_module_utils:get_class_from_dynamic_module", ("x.X", NOWHERE)),
        "cli-class": ("lightning.pytorch.cli:instantiate_class", ((), {"class_path": "os.getpid"})),
        "hydra-call": ("hydra.utils:instantiate", ({"_target_": "os.getpid"},)),
        "jsonpickle": ("jsonpickle:decode", ("1",)),
        "worker": ("joblib.externals.loky.backend.spawn:prepare", ({},)),
        "keras-load": ("keras.saving:load_model", (NOWHERE,)),
        "class-maker": ("builtins:__build_class__", (None, "X")),
    }  # fmt: skip
    rows: dict[str, _Row] = {}
    for at, (word, (text, arguments)) in enumerate(names.items()):
        module, _, name = text.partition(":")
        protocol = 4 if "." in name else at % 6
        rows[word] = (1, Name(module, name), stream(Call(Name(module, name), arguments), protocol), False)
    popen = Name("subprocess", "Popen")
    made = named(popen, 4) + b")\x81" + push((None, {"args": "true"}), 4) + b"b"
    rows["popen-without-init"] = (4, popen, start(4) + made + STOP, False)
    again = Call(Name("copyreg", "__newobj__"), (popen, [TRUE]))
    rows["newobj-by-copyreg"] = (4, popen, stream(again, 2), False)
    items = Call(Call(Name("operator", "itemgetter"), ("system",)), (Name("os", "__dict__"),))
    rows["itemgetter-of-module"] = (2, Name("os", "__dict__"), stream(Call(items, (TRUE,)), 4), False)
    indirect = Call(
        Name("copyreg", "_reconstructor"), (Name("builtins", "type"), Name("builtins", "type"), ("X", (), {}))
    )
    rows["reconstructed-class"] = (2, Name("builtins", "type"), stream(indirect, 2), False)
    deep = Call(Name("torch", "os.system"), (TRUE,))
    rows["through-torch"] = (3, Name("torch", "os.system"), stream(deep, 4), False)
    through = Call(Name("numpy", "ma.core.np.sys.modules.get"), ("os",))
    rows["through-numpy"] = (3, Name("numpy", "ma.core.np.sys.modules.get"), stream(through, 4), False)
    return rows


def _state() -> dict[str, _Row]:
    """Objects of permitted classes that are given another behaviour, by permitted names only."""
    relu, dropout = Name("torch.nn.functional", "relu"), Name("torch.nn.functional", "dropout")

    def linear(state: Node) -> bytes:
        whole: Node = {"training": True, "_parameters": {}, "_buffers": {}, "_modules": {}, "in_features": 1}
        return start(2) + named(LINEAR, 2) + b")\x81" + push(whole) + b"b" + push(state) + b"b" + STOP

    logger = push(Call(Name("logging", "getLogger"), ("torch",)), 2)
    return {
        "state-forward": (4, relu, linear({"forward": relu}), True),
        "state-hooks": (4, dropout, linear({"_forward_pre_hooks": {"0": dropout}}), True),
        "state-backward-hooks": (4, dropout, linear({"_backward_hooks": {"0": dropout}}), True),
        "state-class": (4, Name("torch.nn.modules.dropout", "Dropout"), linear({"__class__": Name("torch.nn.modules.dropout", "Dropout")}), True),
        "state-call": (4, relu, linear({"__call__": relu}), True),
        "state-apply": (4, relu, linear({"_apply": relu}), True),
        "state-slots": (4, relu, linear((None, {"forward": relu})), True),
        "logger-silenced": (4, Name("logging", "getLogger"), start(2) + logger + push({"disabled": True}) + b"b" + STOP, True),
        "logger-handlers": (4, Name("logging", "getLogger"), start(2) + logger + push({"handlers": [SYSTEM]}) + b"b" + STOP, True),
        "class-attribute": (4, LINEAR, start(2) + named(LINEAR, 2) + push((None, {"forward": relu})) + b"b" + STOP, True),
        "optimizer-class": (4, Name("torch.optim.adamw", "AdamW"), start(4) + named(Name("torch.optim.adamw", "AdamW"), 4) + push((None, {"step": relu}), 4) + b"b" + STOP, True),
        "generator-reset": (1, Name("torch.random", "default_generator.set_state"), stream(Call(Name("torch.random", "default_generator.set_state"), (b"",)), 4), True),
        "default-type": (1, Name("torch", "set_default_dtype"), stream([Call(Name("torch", "set_default_dtype"), (Name("torch", "float16"),)), {}], 2), True),
        "threads": (1, Name("torch", "set_num_threads"), stream(Call(Name("torch", "set_num_threads"), (1,)), 2), True),
        "deterministic-off": (1, Name("torch", "use_deterministic_algorithms"), stream(Call(Name("torch", "use_deterministic_algorithms"), (False,)), 2), True),
    }  # fmt: skip


def _costly() -> dict[str, _Row]:
    """A few bytes that take all memory of whoever loads them, by permitted calls."""
    array = Name("builtins", "bytearray")
    huge = 1 << 44
    return {
        "memory-bytearray": (5, array, stream(Call(array, (huge,)), 2), False),
        "memory-bytes": (5, Name("builtins", "bytes"), stream(Call(Name("builtins", "bytes"), (huge,)), 2), False),
        "memory-ndarray": (
            5, Name("numpy", "ndarray"), stream(Call(Name("numpy", "ndarray"), ((1 << 22, 1 << 22),)), 2), False,
        ),
        "memory-list-of-range": (
            5, Name("builtins", "range"), stream(Call(Name("builtins", "list"), (Call(Name("builtins", "range"), (0, huge, 1)),)), 2), False,
        ),
    }  # fmt: skip


def _carried() -> dict[str, tuple[str, dict[str, bytes]]]:
    """In places of checkpoints and arrays where few look for a pickle."""
    run = push(RUN, 2)
    bad = start(2) + run + STOP
    module = push(("module", LINEAR, "linear.py", Raw(push(RUN, 2))), 2) + b"Q"
    legacy = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"." + stream(1001, 2)
    legacy += stream({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    keys = start(2) + b"]" + run + b"a" + STOP
    fields = "[('a', '<f8'), ('b', [('c', '|O')])]"
    view: Node = {"storage": Call(Name("torch.storage", "_load_from_bytes"), (bad,))}
    slow = Call(Name("torch._utils", "_rebuild_tensor_v2"), (None, 0, (1,), (1,), False, Raw(run)))
    return {
        "legacy-module-source": ("os.system", {"model.pth": legacy + start(2) + module + STOP + stream([], 2)}),
        "legacy-keys-list": ("os.system", {"model.pth": legacy + stream({}, 2) + keys + bytes(8)}),
        "npy-nested-fields": ("os.system", {"data.npy": npy(bad, 1, fields)}),
        "npy-in-torch": ("os.system", {"model.pt": torch_zip(checkpoint(3), more={"archive/data/1": npy(bad)})}),
        "npz-in-npz": ("os.system", {"data.npz": zipped({"a.npz": zipped({"b.npy": npy(bad)})})}),
        "storage-in-checkpoint": ("os.system", {"model.pt": torch_zip(checkpoint(view))}),
        "hooks-of-tensor": ("os.system", {"model.pt": torch_zip(checkpoint(slow))}),
        "persistent-key": (
            "os.system",
            {"model.pt": torch_zip(start(2) + push(("storage", Name("torch", "FloatStorage"), RUN, "cpu", 1), 2) + b"Q" + STOP)},
        ),
        "byteorder-pickle": ("os.system", {"model.pt": torch_zip(checkpoint(3), more={"archive/byteorder.pkl": bad})}),
        "wide-header-npy": ("os.system", {"data.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 70_000) + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(69_999) + b"\n" + bad}),
    }  # fmt: skip


def _sharded() -> dict[str, tuple[str, dict[str, bytes]]]:
    """Checkpoints of torch.distributed.checkpoint whose index points elsewhere than at what was saved."""
    bad = start(2) + push(RUN, 2) + STOP
    held = torch_zip(checkpoint(3), more={"archive/data/1": bad})
    shard = held + torch_zip(checkpoint(3))
    whole = {"offset": 0, "length": len(held)}
    cases: dict[str, tuple[str, Node]] = {
        "within": ("_StorageInfo", {"relative_path": "__0_0.distcp", "offset": held.index(bad), "length": len(bad)}),
        "parent": ("../other", {"relative_path": "../other/__0_0.distcp", **whole}),
        "absolute": (NOWHERE, {"relative_path": f"{NOWHERE}.distcp", **whole}),
        "across": ("_StorageInfo", {"relative_path": "__0_0.distcp", "offset": 7, "length": len(held)}),
    }  # fmt: skip
    found = {}
    for word, (names, state) in cases.items():
        entry = (
            named(Name("torch.distributed.checkpoint.filesystem", "_StorageInfo"), 2)
            + b")\x81"
            + push(state)
            + b"b"
        )
        metadata = named(Name("torch.distributed.checkpoint.metadata", "Metadata"), 2) + b")\x81"
        kept: Node = {"state_dict_metadata": {}, "storage_data": {"weight": Raw(entry)}}
        files = {"step/.metadata": start(2) + metadata + push(kept) + b"b" + STOP, "step/__0_0.distcp": shard}
        found[word] = (names, files)
    return found
