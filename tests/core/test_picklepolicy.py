"""What a policy permits, and which documents are none."""

from __future__ import annotations

import importlib
import json

import pytest

from veracity.core.errors import EvidenceError
from veracity.core.pickled import Danger, danger_of
from veracity.core.picklepolicy import PicklePolicy, SitePermits, policy_of
from veracity.core.pickleprogram import Call, Form, Global, PersistentObject, Result
from veracity.observe.pickle.policy import PACKAGED

DOCUMENT = json.loads(PACKAGED.read_text("utf-8"))
EXPECTED = {
    # Of the vocabulary of what does harm, these are permitted in some shapes.
    ("builtins", "getattr"), ("builtins", "iter"), ("operator", "attrgetter"), ("_operator", "attrgetter"),
}  # fmt: skip


def packaged() -> PicklePolicy:
    return policy_of(DOCUMENT)


def test_the_packaged_policy_is_one() -> None:
    policy = packaged()
    assert policy.entry(("collections", "OrderedDict")) is not None
    assert policy.entry(("os", "system")) is None
    assert policy.entry(("collections", "OrderedDict.fromkeys")) is None


def test_every_shape_in_it_is_one_and_every_name_is_one() -> None:
    policy = packaged()
    for section in ("calls", "states"):
        for module, names in DOCUMENT[section].items():
            for name in names:
                assert policy.entry((module, name)) is not None or section == "states"
    for section in ("types", "functions", "enums", "classes", "named", "fills", "resolvers"):
        for module, names in DOCUMENT[section].items():
            for name in names.split():
                assert policy.entry((module, name)) is not None, (module, name)


def test_nothing_that_does_harm_is_permitted_but_what_its_shapes_tame() -> None:
    policy = packaged()
    permitted = {
        (module, name)
        for section in ("types", "functions", "enums", "classes", "named", "calls")
        for module, names in DOCUMENT[section].items()
        for name in (names.split() if isinstance(names, str) else names)
    }
    grave = {
        key
        for key in permitted
        if danger_of(*key)
        in (Danger.RUNS, Danger.CONNECTS, Danger.WRITES, Danger.ALTERS, Danger.CARRIES, Danger.REACHES)
    }
    assert grave - EXPECTED == set()
    assert all(policy.entry(key) is not None for key in grave)


@pytest.mark.parametrize(
    "module", ["numpy", "torch", "collections", "datetime", "sklearn.linear_model._base"]
)
def test_names_of_classes_exist_where_the_library_is_installed(module: str) -> None:
    there = pytest.importorskip(module)
    importlib.import_module(module)
    names = DOCUMENT["classes"].get(module, "").split()
    assert [name for name in names if not hasattr(there, name)] in ([], ["ScriptObject"])


def test_a_site_permits_more() -> None:
    policy = policy_of(DOCUMENT, SitePermits(free=(("site.model", "Net"),)))
    entry = policy.entry(("site.model", "Net"))
    assert entry is not None
    assert (entry.role, entry.attributes, entry.fillable) == ("class", True, True)
    assert policy.entry(("site.model", "Other")) is None


def test_what_a_site_binds_widens_nothing_and_what_it_refuses_is_refused() -> None:
    ordered, net = ("collections", "OrderedDict"), ("site.model", "Net")
    packaged_entry = packaged().entry(ordered)
    assert packaged_entry is not None
    bound = policy_of(DOCUMENT, SitePermits(bound=(ordered, net)))
    entry = bound.entry(ordered)
    assert entry is not None
    assert (entry.role, len(entry.calls)) == (packaged_entry.role, len(packaged_entry.calls))
    made = bound.entry(net)
    assert made is not None
    assert made.role == "class"
    refused = policy_of(DOCUMENT, SitePermits(refused=((ordered, "whose permit …"), (net, "whose permit …"))))
    assert refused.entry(ordered) is None
    assert refused.entry(net) is None


def test_roles_and_groups() -> None:
    policy = packaged()
    ordered = Result(Call(0, Form.REDUCE, Global(0, "collections", "OrderedDict", ("", "")), ()))
    assert policy.role(Global(0, "torch.nn.modules.linear", "Linear", ("", ""))) == "class"
    assert (
        policy.role(Global(0, "transformers.models.bert.configuration_bert", "BertConfig", ("", "")))
        == "class"
    )
    assert policy.role(Global(0, "transformers.models.bert.configuration_bert", "os", ("", ""))) == ""
    assert policy.stays_empty(ordered)
    assert policy.in_group(ordered, "mapping")
    assert not policy.in_group(PersistentObject(0, ""), "mapping")
    policy.filled = {ordered.call: ()}
    assert not policy.stays_empty(ordered)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"calls": None}, {"calls": {"m": {"n": [1]}}}, {"groups": {"g": [1]}},
        {"patterns": [["(", "a", "class"]]}, {"patterns": [["a", "b"]]}, {"unheard": {}},
        {"calls": {"m": {"n": ["(no-such-word)"]}}},
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        policy_of({**DOCUMENT, **change})


def test_other_documents_are_refused() -> None:
    documents: list[object] = [[], None, {}, {"version": 1}]
    for document in documents:
        with pytest.raises(EvidenceError):
            policy_of(document)
