"""Looks into the values of a pickle, each with a bound: what they hold, redirect, and how to show them."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.picklepolicy import PicklePolicy
from ..core.pickleprogram import (
    Build,
    Call,
    DictOf,
    Fill,
    Global,
    ListOf,
    Operation,
    Persistent,
    PersistentObject,
    Result,
    SetOf,
    Text,
    Value,
)

MAX_LOOKED = 20_000
MAX_SHOWN = 200
# Methods: an attribute of an instance comes before them, and the program calls it.
_OF_TORCH = frozenset(
    (
        *(
            "forward",
            "backward",
            "step",
            "zero_grad",
            "train",
            "eval",
            "parameters",
            "named_parameters",
            "to",
            "cpu",
        ),
        *(
            "cuda",
            "state_dict",
            "load_state_dict",
            "closure",
            "_call_impl",
            "_wrapped_call_impl",
            "_apply",
            "apply",
        ),
        *("register_buffer", "register_parameter", "add_param_group"),
    )
)
_OF_OTHERS = frozenset(
    (
        *(
            "call",
            "fit",
            "predict",
            "predict_proba",
            "transform",
            "fit_transform",
            "score",
            "get_params",
            "items",
        ),
        *(
            "keys",
            "values",
            "get",
            "update",
            "copy",
            "pop",
            "setdefault",
            "save",
            "load",
            "decision_function",
        ),
    )
)
_HARMLESS = frozenset({"__doc__", "__orig_class__"})


def redirecting(state: Value, policy: PicklePolicy) -> str | None:
    """An attribute in a state that would change what the object does; None when there is none.

    Names with two underscores in front redirect whatever they are set to, names of methods unless they are
    plain data. A state of attributes that cannot be looked through says so."""
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    for part in parts:
        if type(part) is DictOf:
            if part.more:
                return "more attributes than can be looked through"
            for key, value in zip(part.items[::2], part.items[1::2], strict=False):
                if type(key) is Text or (type(key) is str and key.startswith("__") and key not in _HARMLESS):
                    return f"the attribute {key if type(key) is str else '(a long name)'}"
                if type(key) is str and _replaces(key, value, policy):
                    return f"the method {key}"
        elif type(part) is Result and (
            part.call in policy.filled or (policy.in_group(part, "mapping") and part.call.arguments != ())
        ):
            return "attributes from an object"
    return None


def _replaces(key: str, value: Value, policy: PicklePolicy) -> bool:
    if key in _OF_TORCH:
        return type(value) in (Global, Result, PersistentObject) and not policy.in_group(value, "array")
    return key in _OF_OTHERS and (type(value) is Global or policy.in_group(value, "callable"))


def leaked(operations: tuple[Operation, ...], policy: PicklePolicy) -> Iterator[tuple[int, Global]]:
    """Globals that may be called only, where they stand in arguments, states and containers."""
    seen: set[int] = set()
    looked = 0
    for one in operations:
        waiting: list[Value] = []
        if isinstance(one, Call):
            waiting += [one.arguments, one.keywords]
        elif isinstance(one, Build):
            waiting.append(one.state)
        elif isinstance(one, Fill):
            waiting += one.items
        elif isinstance(one, Persistent):
            waiting.append(one.value.identifier)
        while waiting and looked < MAX_LOOKED:
            value = waiting.pop()
            looked += 1
            if isinstance(value, Global):
                entry = policy.entry((value.module, value.name))
                if entry is not None and entry.resolver:
                    yield one.at, value
            elif isinstance(value, tuple):
                waiting += value
            elif isinstance(value, (ListOf, DictOf, SetOf)) and id(value) not in seen:
                seen.add(id(value))
                waiting += value.items


def shown(value: Value, room: int = MAX_SHOWN) -> str:
    """A value in a few words."""
    parts: list[str] = []
    _show(value, parts, 3)
    text = "".join(parts)
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _show(value: Value, parts: list[str], depth: int) -> None:
    if len(parts) > 80:
        return
    if isinstance(value, tuple):
        _show_all("(", value, ")", parts, depth)
    elif isinstance(value, ListOf):
        _show_all("[", value.items, "]", parts, depth)
    elif isinstance(value, (DictOf, SetOf)):
        _show_all("{", value.items, "}", parts, depth)
    elif isinstance(value, Global):
        parts.append(f"{value.module}.{value.name}"[:120])
    elif isinstance(value, Result):
        inner = value.call.callable
        parts.append(f"<{inner.module}.{inner.name}>"[:120] if isinstance(inner, Global) else "<result>")
    elif isinstance(value, PersistentObject):
        parts.append("<persistent>")
    elif isinstance(value, (str, bytes)):
        parts.append(repr(value[:40]))
    elif isinstance(value, int):
        parts.append(str(value) if abs(value) < 1 << 64 else "<a large int>")
    elif value is None or isinstance(value, float):
        parts.append(str(value))
    else:
        parts.append(f"<{type(value).__name__}>")


def _show_all(
    before: str, items: tuple[Value, ...] | list[Value], after: str, parts: list[str], depth: int
) -> None:
    parts.append(before)
    if depth == 0 and items:
        parts.append("…")
    for place, one in enumerate(items[:8] if depth else ()):
        if place:
            parts.append(", ")
        _show(one, parts, depth - 1)
    if depth and len(items) > 8:
        parts.append(", …")
    parts.append(after)
