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
    Kind,
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
    """What in a state would change what the object does, or cannot be looked through; else None.

    Names with two underscores in front redirect whatever they are set to, names of methods unless they are
    plain data, hooks when they are functions. Attributes that stand in an object of a call are not looked
    through.
    """
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    for part in parts:
        if type(part) is DictOf:
            if part.more:
                return "more attributes than can be looked through"
            for key, value in zip(part.items[::2], part.items[1::2], strict=False):
                if type(key) is str and (reason := _attribute(key, value, policy)) is not None:
                    return reason
                if type(key) is Text:
                    return "an attribute with a very long name"
        elif type(part) is Result and not policy.holds_numbers(part) and not policy.stays_empty(part):
            return "attributes that stand in another object"
    return None


def _attribute(key: str, value: Value, policy: PicklePolicy) -> str | None:
    if key.startswith("__") and key not in _HARMLESS:
        return f"the attribute {ascii(key[:80])[1:-1]}"
    if _replaces(key, value, policy):
        return f"the method {key}"
    if "_hooks" in key and _hooked(value, policy):
        return f"functions as {ascii(key[:80])[1:-1]}"
    return None


def _hooked(value: Value, policy: PicklePolicy) -> bool:
    """Whether a mapping of hooks holds functions; objects whose class acts as a hook are no function."""
    if type(value) is DictOf:
        return bool(value.kinds & Kind.GLOBAL) or any(policy.in_group(one, "partial") for one in value.items)
    if type(value) is Result:
        for fill in policy.filled.get(value.call, ()):
            functions = any(policy.in_group(one, "partial") for one in fill.items)
            if functions or fill.more or fill.kinds & Kind.GLOBAL:
                return True
        return value.call.arguments != () and policy.in_group(value, "mapping")
    return type(value) in (Global, PersistentObject)


def _replaces(key: str, value: Value, policy: PicklePolicy) -> bool:
    if key in _OF_TORCH:
        return type(value) in (Global, Result, PersistentObject) and not policy.in_group(value, "array")
    return key in _OF_OTHERS and (type(value) is Global or policy.in_group(value, "callable"))


def reaches_beyond(arguments: Value) -> bool:
    """Whether a call that rebuilds a tensor (storage, offset, sizes, strides …) names elements not there.

    torch looks after that when it loads such a file; other readers, and its safe loader at times, do not.
    """
    if type(arguments) is not tuple or len(arguments) < 4 or type(arguments[0]) is not PersistentObject:
        return False
    identifier = arguments[0].identifier
    count = identifier[4] if type(identifier) is tuple and len(identifier) > 4 else None
    offset, sizes, strides = arguments[1:4]
    if type(count) is not int or type(offset) is not int:
        return False
    if type(sizes) is not tuple or type(strides) is not tuple or len(sizes) != len(strides):
        return True
    pairs = [
        (size, step)
        for size, step in zip(sizes, strides, strict=True)
        if type(size) is int and type(step) is int and size >= 0 and step >= 0
    ]
    if len(pairs) != len(sizes) or offset < 0:
        return True
    last = offset + sum((size - 1) * step for size, step in pairs)
    return all(size for size, _ in pairs) and last >= count


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
        parts.append(ascii(f"{value.module}.{value.name}"[:120])[1:-1])
    elif isinstance(value, Result):
        inner = value.call.callable
        name = f"{inner.module}.{inner.name}" if isinstance(inner, Global) else "result"
        parts.append(f"<{ascii(name[:120])[1:-1]}>")
    elif isinstance(value, PersistentObject):
        parts.append("<persistent>")
    elif isinstance(value, (str, bytes)):
        parts.append(ascii(value[:40]))
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
