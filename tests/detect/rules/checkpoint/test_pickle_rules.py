"""The rules about pickles, on streams that only name what would do harm. Nothing here is ever unpickled."""

from __future__ import annotations

import collections
import datetime
import functools
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from veracity.core.finding import Finding
from veracity.core.observation import PickleRead
from veracity.core.origin import Origin, monitor_origin
from veracity.core.rule import Severity
from veracity.detect.filerules import FILE_DETECTORS
from veracity.observe.pickle import Limits, walk, walk_all
from veracity.observe.pickle.policy import permitted

ORIGIN: Origin = monitor_origin(0)
POLICY = permitted(ORIGIN)


def findings(data: bytes, limits: Limits | None = None) -> list[Finding]:
    """What the rules tell of the pickles in some bytes."""
    detectors = [one() for one in FILE_DETECTORS if PickleRead in one.takes]
    programs = list(walk_all(data, limits=limits or Limits()))
    found: list[Finding] = []
    for detector in detectors:
        list(detector.observe(POLICY))
        for program in programs:
            found += detector.observe(PickleRead(ORIGIN, "file.pkl", "", program))
    return found


def rules(data: bytes) -> set[str]:
    return {one.rule.removeprefix("checkpoint-pickle-") for one in findings(data)}


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def calls(module: str, name: str, arguments: bytes = b"(" + text("inert") + b"t") -> bytes:
    return b"\x80\x04" + named(module, name) + arguments + b"R."


# What runs, connects, writes, alters, carries code; universal resolvers; names through dots and submodules.
EXECUTES = [
    *(("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen")),
    *(("builtins", "exec"), ("builtins", "eval"), ("runpy", "_run_code")),
    *(("importlib", "import_module"), ("pty", "spawn"), ("socket", "create_connection")),
    *(("urllib.request", "urlopen"), ("shutil", "rmtree"), ("builtins", "open")),
    *(("torch", "manual_seed"), ("torch.random", "manual_seed"), ("numpy.random", "seed")),
    *(("random", "seed"), ("torch", "set_default_dtype")),
    *(("torch.nn.modules.module", "register_module_forward_hook"),),
    *(("torch.optim.optimizer", "register_optimizer_step_post_hook"),),
    *(("torch.serialization", "add_safe_globals"), ("pickle", "loads"), ("marshal", "loads")),
    *(("types", "FunctionType"), ("dill._dill", "_create_function")),
    *(("cloudpickle.cloudpickle", "_make_function"), ("torch", "load"), ("numpy", "load")),
    *(("joblib", "load"), ("pkgutil", "resolve_name"), ("pydoc", "locate")),
    *(("operator", "methodcaller"), ("numpy", "__builtins__"), ("functools", "reduce")),
    *(("builtins", "map"), ("builtins", "__import__"), ("torch", "_os.system")),
    *(("torch", "os.system"), ("torch.serialization", "os.popen"), ("collections", "_sys.modules")),
    *(("numpy.testing._private.utils", "runstring"), ("asyncio.unix_events", "os.system")),
]


@pytest.mark.parametrize(("module", "name"), EXECUTES, ids=".".join)
@pytest.mark.parametrize("form", ["reduce", "global", "inst", "obj", "newobj", "stored"])
def test_a_name_that_does_harm_is_found_however_it_is_written(module: str, name: str, form: str) -> None:
    names = f"{module}\n{name}\n".encode()
    data = {
        "reduce": calls(module, name),
        "global": b"c" + names + b"(Vinert\ntR.",
        "inst": b"(Vinert\ni" + names + b".",
        "obj": b"(c" + names + b"Vinert\no0N.",
        "newobj": b"\x80\x02c" + names + b"(Vinert\nt\x81.",
        "stored": b"\x80\x04}" + text("key") + named(module, name) + b"s.",
    }[form]
    found = findings(data)
    assert any(one.severity in (Severity.ERROR, Severity.WARNING) for one in found)
    assert {one.rule for one in found} & {"checkpoint-pickle-executes", "checkpoint-pickle-unknown-global"}


@pytest.mark.parametrize("name", [("gadgets", "unheard_of"), ("__main__", "Model"), ("torch._inductor", "x")])
def test_what_no_policy_permits_is_told(name: tuple[str, str]) -> None:
    assert rules(calls(*name)) & {"unknown-global", "executes"}


def test_names_of_python_2_are_mapped_as_the_protocol_says() -> None:
    for protocol in (b"", b"\x80\x02", b"\x80\x03", b"\x80\x04"):
        assert rules(protocol + b"c__builtin__\neval\n(Vinert\ntR.") == {"executes"}
    assert rules(b"\x80\x02ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR.") == {
        "shape-differs"
    }


INNER = calls("os", "system")
BYPASSES = {
    # The memo.
    "memo-redefined": b"Vcollections\np0\n0Vos\np0\n0Vsystem\np1\n0g0\ng1\n\x93Vinert\n\x85R.",
    "memo-huge-index": b"Vos\np4000000000\n0g4000000000\nVsystem\n\x93Vinert\n\x85R.",
    "memoize-over": b"\x80\x04" + text("x") + b"q\x010" + text("os") + b"\x940h\x01" + text("system")
    + b"\x93N\x85R.",
    "names-from-a-call": b"\x80\x04" + named("builtins", "str") + text("os") + b"\x85R" + text("system")
    + b"\x93" + text("inert") + b"\x85R.",
    "name-persistent": b"\x80\x04" + text("id") + b"Q" + text("system") + b"\x93" + text("inert") + b"\x85R.",
    # Streams that break after what they do.
    "truncated": calls("os", "system")[:-1],
    "broken-after": calls("os", "system")[:-1] + b"\xff",
    "stack-underflow-after": calls("os", "system")[:-1] + b"000000.",
    "obj-pop": b"(cos\nsystem\nVinert\no0N.",
    "inst-in-a-mark": b"((Vinert\nios\nsystem\n1N.",
    "after-a-first-pickle": pickle.dumps([1]) + calls("os", "system"),
    "called-twice": b"\x80\x04" + named("os", "getenv") + b")R)R.",
    # Calls that are permitted, with arguments that are not.
    "getattr-on-a-class": calls(
        "builtins", "getattr", b"(" + named("collections", "OrderedDict") + text("x") + b"t"
    ),
    "attribute-of-any-module": calls("operator", "attrgetter", text("system") + b"\x85"),
    "attribute-of-pythons-own": calls("operator", "attrgetter", text("f.__globals__") + b"\x85"),
    "bytes-that-take-all-memory": calls("builtins", "bytearray", b"\x8a\x06" + bytes(5) + b"\x01\x85"),
    "script-enumeration-before": b"\x80\x02c__torch__.m\nColour\nK\x01R0cos\nsystem\nVinert\n\x85R.",
    "reconstructor": calls(
        "copyreg",
        "_reconstructor",
        b"(" + named("builtins", "type") + named("builtins", "object") + b"Nt",
    ),
    "partial-of-getattr": calls("functools", "partial", b"(" + named("builtins", "getattr") + b"t"),
    "defaultdict-of-loads": calls(
        "collections", "defaultdict", b"(" + named("torch.storage", "_load_from_bytes") + b"t"
    ),
    "rebuild-calls-what-it-is-given": calls(
        "torch._tensor",
        "_rebuild_from_type_v2",
        b"(" + named("builtins", "getattr") + named("torch", "Tensor") + b"N\x85}t",
    ),
    "hooks-of-a-tensor": calls(
        "torch._utils",
        "_rebuild_parameter",
        b"(N\x88" + named("collections", "OrderedDict") + b")RN" + named("numpy", "log") + b"st",
    ),
    "result-called": b"\x80\x04" + named("collections", "OrderedDict") + b")R)R.",
    # What is shared.
    "build-on-a-class": b"\x80\x04" + named("torch.optim.adam", "Adam") + b"}" + text("step") + b"NsbN.",
    "build-on-a-function": b"\x80\x04" + named("numpy", "log") + b"}" + text("__code__") + b"NsbN.",
    "setitem-on-a-module": b"\x80\x04" + named("torch.optim.adam", "Adam") + text("step") + b"NsN.",
    "append-on-a-class": b"\x80\x04" + named("collections", "deque") + b"NaN.",
    "additems-on-a-class": b"\x80\x04" + named("builtins", "set") + b"(N\x90N.",
    "build-class-of-an-object": b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81}"
    + text("__class__") + named("torch.nn.modules.linear", "Identity") + b"sb.",
    "build-forward-of-an-object": b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81}"
    + text("forward") + named("torch.nn.functional", "relu") + b"sb.",
    "build-slots": b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81N}" + text("__dict__")
    + b"Ns\x86b.",
    "build-on-a-persistent-object": b"\x80\x04" + text("id") + b"Q}" + text("a") + b"Nsb.",
    "state-from-an-object": b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81"
    + named("collections", "OrderedDict") + b")R" + text("__class__") + b"Nsb.",
    # Other ways in.
    "extension": b"\x80\x02\x82\x01N\x85R.",
    "frame": b"\x80\x04(\x95" + struct.pack("<Q", 2) + b"B\x07\x01\x00\x00" + bytes(2)
    + b"cos\nsystem\nVinert\n\x85R".ljust(256, b"N") + b"N" * 5 + b"1N.",
    "embedded": calls(
        "torch.storage", "_load_from_bytes", b"C" + bytes([len(INNER)]) + INNER + b"\x85"
    ),
    "embedded-as-text": b"\x80\x02ctorch.storage\n_load_from_bytes\nc_codecs\nencode\n"
    b"(Vcos\\u000asystem\\u000a)R.\nVlatin1\ntR\x85R.",
    "hook-of-a-parameter": b"\x80\x04" + named("torch._utils", "_rebuild_parameter_with_state")
    + b"(" + named("torch._utils", "_rebuild_tensor_v2") + b"(Vs\nQK\x00))\x89"
    + named("collections", "OrderedDict") + b")RtR\x88N}" + text("_backward_hooks")
    + named("collections", "OrderedDict") + b")RK\x00"
    + named("torch.nn.functional", "relu") + b"sstR.",
    "hook-of-a-module": b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81}"
    + text("_forward_hooks") + b"}K\x00" + named("torch.nn.functional", "relu") + b"ssb.",
    "index-of-a-file": calls(
        "pandas.core.indexes.base",
        "_new_Index",
        b"(" + named("numpy", "memmap") + b"}(" + text("filename") + text("inert") + b"ut",
    ),
    "partial-of-a-file": calls("functools", "partial", b"(" + named("numpy", "memmap") + b"t"),
    "shared-dtype": b"\x80\x04" + named("numpy", "dtype") + b"(Vf8\n\x89\x89tR(K\x03V>\nNNNJ\xff\xff\xff\xff"
    + b"J\xff\xff\xff\xffK\x00tb.",
    "state-from-a-dict-of-a-class": b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81N"
    + named("copyreg", "_reconstructor") + b"(" + named("sklearn.utils._bunch", "Bunch")
    + named("builtins", "dict") + b"}" + text("__class__") + b"NstR\x86b.",
    "members-of-an-enumeration": calls(
        "builtins", "getattr", b"(" + named("http", "HTTPStatus") + text("_member_map_") + b"t"
    ),
    "embedded-in-a-bytearray": calls(
        "torch.storage", "_load_from_bytes", b"\x96" + struct.pack("<Q", len(INNER)) + INNER + b"\x85"
    ),
    "embedded-in-computed-bytes": calls(
        "torch.storage", "_load_from_bytes", named("builtins", "bytes") + b"(](K\x2eK\x2eetR\x85"
    ),
    "logger-shared": b"\x80\x04" + named("logging", "getLogger") + b"Vx\n\x85R}" + text("disabled")
    + b"\x88sb.",
    "name-from-a-long-text": b"\x80\x04" + text("os") + text("x" * 10_000) + b"\x93)R.",
}  # fmt: skip


@pytest.mark.parametrize("name", BYPASSES)
def test_ways_around_scanners_are_found(name: str) -> None:
    found = findings(BYPASSES[name])
    assert [one for one in found if one.severity in (Severity.ERROR, Severity.WARNING)]
    harmless = {"checkpoint-pickle-malformed"}
    assert {one.rule for one in found} - harmless


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *(("memo-redefined", "executes"), ("truncated", "executes"), ("obj-pop", "executes")),
        *(("names-from-a-call", "executes"), ("embedded", "executes"), ("embedded-as-text", "executes")),
        *(("getattr-on-a-class", "shape-differs"), ("hooks-of-a-tensor", "shape-differs")),
        *(("build-on-a-class", "alters-shared"), ("setitem-on-a-module", "alters-shared")),
        *(("build-class-of-an-object", "alters-shared"), ("build-forward-of-an-object", "alters-shared")),
        *(("state-from-an-object", "alters-shared"), ("frame", "ambiguous"), ("frame", "executes")),
        *(("hook-of-a-parameter", "alters-shared"), ("hook-of-a-module", "alters-shared")),
        *(("index-of-a-file", "shape-differs"), ("partial-of-a-file", "shape-differs")),
        *(("shared-dtype", "shape-differs"), ("state-from-a-dict-of-a-class", "alters-shared")),
        *(("embedded-in-a-bytearray", "executes"), ("embedded-in-computed-bytes", "shape-differs")),
        *(("truncated", "malformed"), ("extension", "unknown-global"), ("after-a-first-pickle", "executes")),
    ],
)
def test_they_are_told_by_the_rule_that_explains_them(name: str, rule: str) -> None:
    assert rule in rules(BYPASSES[name])


@pytest.mark.parametrize(
    ("offset", "sizes", "strides", "good"),
    [
        *((0, (2, 3), (3, 1), True), (4, (2,), (1,), True), (0, (), (), True), (0, (100,), (0,), True)),
        *((9, (0,), (1,), True), (0, (2, 4), (4, 1), False), (5, (2,), (1,), False), (-1, (1,), (1,), False)),
        *((0, (-1,), (1,), False), (0, (1 << 62, 1 << 62), (1, 1), False), (6, (), (), False)),
    ],
)
def test_a_tensor_lies_within_its_storage(
    offset: int, sizes: tuple[int, ...], strides: tuple[int, ...], good: bool
) -> None:
    def number(value: object) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    data = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x06tQ"
        + number(offset)
        + number(sizes)
        + number(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )
    assert rules(data) == (set() if good else {"shape-differs"})


def test_names_are_shown_without_what_a_terminal_obeys() -> None:
    for name in ("\x1b[2Jsystem", "sys\u202etem", "s\u0443stem", "a\ud800b"):
        raw = name.encode("utf-8", "surrogatepass")
        data = b"\x80\x04" + text("os") + b"X" + struct.pack("<I", len(raw)) + raw + b"\x93)R."
        for one in findings(data):
            assert one.message.isascii()
            assert one.message.isprintable()


@pytest.mark.parametrize(
    "data",
    [
        # A state, a tuple, a name, a dtype and bytes that are used again and again.
        b"\x80\x04" + named("torch.nn.modules.linear", "Linear") + b")\x81\x94}("
        + b"".join(text(f"a{number}") + b"N" for number in range(4000)) + b"u\x940"
        + b"h\x01b" * 20_000 + b".",
        b"\x80\x04" + named("torch", "Size") + b"\x94(" + b"K\x01" * 50_000 + b"t\x85\x940"
        + b"h\x00h\x01R0" * 5_000 + b"N.",
        b"\x80\x04" + text("x" * 200_000) + b"\x940" + b"h\x00h\x00\x930" * 20_000 + b"N.",
        b"\x80\x04" + named("torch.storage", "_load_from_bytes") + b"\x94" + b"B" + struct.pack("<I", 400_001)
        + b"N0" * 200_000 + b".\x85\x940" + b"h\x00h\x01R0" * 5_000 + b"N.",
    ],
)  # fmt: skip
def test_what_is_used_many_times_is_looked_at_once(data: bytes) -> None:
    findings(data)  # each would take minutes


def test_limits_are_told() -> None:
    found = findings(b"(" * 500_000, Limits(marks=1000))
    assert [one.rule for one in found] == ["checkpoint-pickle-limit"]


def test_values_of_enumerations_in_scripts_are_as_torch_writes_them() -> None:
    net = b"\x80\x02c__torch__.m\nNet\n)\x81}X\x06\0\0\0colourc__torch__.m\nColour\nK\x01Rsb."
    assert findings(net) == []
    assert rules(b"\x80\x02c__torch__.m\nColour\n}R.") == {"shape-differs"}
    assert rules(b"\x80\x02ccollections\nOrderedDict\nK\x01R.") == {"malformed"}


def test_values_left_behind_are_told() -> None:
    assert rules(b"K\x01K\x02.") == {"malformed"}


class Plain:
    """A class of nobody's policy."""


Point = collections.namedtuple("Point", "x y")
WHEN = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
DATA: list[object] = [
    {"epoch": 3, "loss": [0.5, 1.5], "name": "é", "raw": b"\x00\xff", "big": 1 << 5000, "long": "x" * 5000},
    [collections.OrderedDict(a=1), collections.Counter("aab"), collections.defaultdict(list, a=[1])],
    [
        WHEN,
        WHEN.date(),
        datetime.timedelta(1),
        {1, 2},
        frozenset({3}),
        bytearray(b"xy"),
        1 + 2j,
        slice(1, 2),
        range(3),
    ],
    [
        np.arange(5),
        np.float32(1),
        np.array(["a", None], dtype=object),
        np.zeros((2, 2), order="F"),
        np.dtype("f4"),
    ],
    [np.random.RandomState(1), np.random.default_rng(1), np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])],
    [functools.partial(int, base=2), collections.deque([1], maxlen=3), ValueError("text"), float, np.float64],
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("number", range(len(DATA)))
def test_data_is_clean(number: int, protocol: int) -> None:
    assert findings(pickle.dumps(DATA[number], protocol)) == []


def test_a_class_of_the_program_is_unknown_and_nothing_more() -> None:
    assert rules(pickle.dumps(Plain(), 4)) == {"unknown-global"}


def test_torch_files_are_clean() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU())
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    whole = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    for one in (whole, model, torch.nn.Parameter(torch.ones(2)), torch.eye(3).to_sparse()):
        file = io.BytesIO()
        torch.save(one, file)
        archive = zipfile.ZipFile(file)
        member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        assert findings(archive.read(member)) == []
        assert findings(pickle.dumps(one)) == []
    file = io.BytesIO()
    torch.save(whole, file, _use_new_zipfile_serialization=False)
    programs = list(walk_all(file.getvalue(), most=5))
    assert len(programs) == 5


def test_joblib_files_are_clean_and_their_arrays_are_no_opcodes() -> None:
    joblib = pytest.importorskip("joblib")
    payload = np.frombuffer(b"cos\nsystem\n" * 100, dtype="u1")
    for one in ([np.arange(1000)], {"a": np.ones((3, 3), order="F"), "b": np.array([1, None], dtype=object)}):
        file = io.BytesIO()
        joblib.dump(one, file)
        assert findings(file.getvalue()) == []
    file = io.BytesIO()
    joblib.dump([payload[:500], "after"], file)
    program = walk(file.getvalue())
    assert program.reading == "joblib"
    assert [one.reading for one in program.others] == ["plain"]
    # joblib reads it as data; who unpickles it without joblib would run it.
    assert rules(file.getvalue()) <= {"executes"}


def test_sklearn_estimators_are_clean() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    tree = pytest.importorskip("sklearn.tree")
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = (np.arange(20) % 2).tolist()
    made = [
        tree.DecisionTreeClassifier().fit(x, y),
        pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()).fit(x, y),
    ]
    for one in made:
        for protocol in (2, 5):
            assert findings(pickle.dumps(one, protocol)) == []


def test_without_a_policy_nothing_is_permitted() -> None:
    found: list[Finding] = []
    for kind in FILE_DETECTORS:
        if PickleRead in kind.takes:
            found += kind().observe(
                PickleRead(ORIGIN, "f", "", walk(pickle.dumps(collections.OrderedDict(), 4)))
            )
    assert [one.rule for one in found] == ["checkpoint-pickle-unknown-global"]
