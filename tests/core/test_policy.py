from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import UsageError
from veracity.core.level import FULL
from veracity.core.policy import KINDS, MAX_LIFETIME, SECOND, Policy, duration_of, identity_of, policy_of


def key_line(number: int, name: str = "k") -> str:
    """The line of a key that need not be one: what a policy is does not depend on it."""
    return f"{name}+00000000+{base64.b64encode(bytes([1]) + number.to_bytes(32, 'big')).decode()}"


def table() -> dict[str, Any]:
    return {
        "expires": "30d",
        "revoke": ["security"],
        "principals": {
            "lead": {"key": key_line(1), "roles": ["reviewer"], "users": ["1001"]},
            "second": {"key": key_line(2), "roles": ["reviewer", "security"]},
        },
        "approve": {
            "code": {"parts": ["src", "configs"], "roles": ["reviewer"], "needed": 2},
            "checkpoint": {"roles": ["reviewer"]},
        },
    }


def test_a_policy_is_what_its_table_says() -> None:
    policy = policy_of(table())
    assert policy.lifetime == 30 * 86400 * SECOND
    assert (policy.own, policy.override, policy.revoke) == (False, True, ("security",))
    for part, kind in (("code", "code"), ("src", "code"), ("configs", "code"), ("checkpoint", "checkpoint")):
        found = policy.requirement_for(part)
        assert found is not None
        assert found.kind == kind
    assert policy.requirement_for("environment") is None
    holder = policy.holder_of(identity_of(key_line(1, "another-name")))
    assert holder is not None
    assert (holder.name, holder.users) == ("lead", ("1001",))
    assert policy.holder_of(identity_of(key_line(3))) is None


def changed(*path: str, to: object) -> dict[str, Any]:
    value = table()
    inner = value
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return value


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (("expire",), "30d", "unknown key 'expire'"),
        (("principals", "lead", "role"), ["reviewer"], "unknown key 'role'"),
        (("approve", "code", "need"), 2, "unknown key 'need'"),
        (("approve", "weights"), {"roles": ["reviewer"]}, "no kind of part 'weights'"),
        (("approve", "code", "needed"), 3, "needs 3 approvers, and 2 could"),
        (("approve", "code", "needed"), 0, "no number of approvers"),
        (("approve", "code", "needed"), True, "no number of approvers"),
        (("approve", "code", "roles"), [], "names no role"),
        (("approve", "code", "roles"), ["boss"], "nobody in the policy has the role 'boss'"),
        (("approve", "code", "roles"), "reviewer", "no list of different names"),
        (("approve", "code", "roles"), ["reviewer", "reviewer"], "no list of different names"),
        (("approve", "code", "parts"), ["checkpoint"], "the part 'checkpoint' of two"),
        (("revoke",), ["boss"], "nobody in the policy has the role 'boss'"),
        (("principals", "second", "key"), key_line(1, "other"), "of two"),
        (("principals", "second", "users"), ["1001"], "the user '1001' of two"),
        (("principals", "second", "users"), ["root"], "no list of different names"),
        (("principals", "second", "users"), [1001], "no list of different names"),
        (("principals", "second", "key"), "ssh-ed25519 AAAA", "no line of a public key"),
        (("principals", "second", "key"), key_line(2).rstrip("=") + "\n+", "no line of a public key"),
        (("principals", "bad name"), {"key": key_line(9), "roles": []}, "not a name for a principal"),
        (("principals",), {}, "nobody could approve"),
        (("approve",), {}, "nobody could approve"),
        (("principals",), [], "no table"),
        (("expires",), "1w", "no length of time"),
        (("expires",), 30, "no length of time"),
        (("expires",), "4000d", "no length of time"),
        (("own",), "yes", "true or false"),
        (("override",), 1, "true or false"),
        (("findings",), "notes", "from what severity"),
        (("findings",), 1, "from what severity"),
        (("despite",), ["boss"], "nobody in the policy has the role 'boss'"),
        (("witnesses",), ["w"], "no text of a witness policy"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(path: tuple[str, ...], to: object, said: str) -> None:
    policy_of(table())
    with pytest.raises(UsageError, match=said):
        policy_of(changed(*path, to=to))


# Each changes what the policy means, so none of the approvals that were given before may count.
@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("approve", "code", "needed"), 1),
        (("approve", "code", "parts"), ["src"]),
        (("approve", "code", "roles"), ["reviewer", "security"]),
        (("principals", "lead", "roles"), ["reviewer", "security"]),
        (("principals", "lead", "users"), []),
        (("principals", "lead", "key"), key_line(7)),
        (("principals", "third"), {"key": key_line(3), "roles": ["reviewer"]}),
        (("expires",), "31d"),
        (("own",), True),
        (("override",), False),
        (("revoke",), []),
        (("witnesses",), "witness w w+1+AA http://h\nquorum w"),
        (("findings",), "none"),
        (("despite",), ["security"]),
    ],
)
def test_another_policy_has_another_digest(path: tuple[str, ...], to: object) -> None:
    assert policy_of(changed(*path, to=to)).digest() != policy_of(table()).digest()


def test_what_is_not_said_is_as_it_was_before_it_could_be_said() -> None:
    """Approvals that were given under an older version go on counting."""
    assert policy_of(changed("findings", to="error")).digest() == policy_of(table()).digest()
    assert set(policy_of(table()).document()) == {
        *("principals", "approve", "lifetime", "own", "override", "revoke")
    }


def test_the_level_is_part_of_a_policy_that_names_one() -> None:
    usual, named = policy_of(table()), policy_of({**table(), "level": "sample=2%"})
    assert usual.level == FULL
    assert str(named.level) == "sample=2%"
    assert "level" not in usual.document()
    assert usual.digest() == policy_of({**table(), "level": "full"}).digest() != named.digest()
    with pytest.raises(UsageError, match="no level"):
        policy_of({**table(), "level": "quick"})


def test_the_order_of_the_file_does_not_matter() -> None:
    turned = copy.deepcopy(table())
    turned["principals"] = dict(reversed(turned["principals"].items()))
    turned["principals"]["second"]["roles"].reverse()
    turned["approve"]["code"]["parts"].reverse()
    assert policy_of(turned).digest() == policy_of(dict(reversed(turned.items()))).digest()
    assert policy_of(turned).digest() == policy_of(table()).digest()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("45m", 2700), ("12h", 43200), ("1d", 86400)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert duration_of(text) == seconds * SECOND


@pytest.mark.parametrize(
    "text", ["", "0d", "01d", "1", "d", "1 d", "1d ", "-1d", "1D", "١d", "9999999d", "1d\n"]
)
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="no length of time"):
        duration_of(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["a", "b", "reviewer", "security", "lead", "code", "src", "", "é", "30d"])
likely = st.fixed_dictionaries(
    {},
    optional={
        "expires": st.sampled_from(["30d", "1s", "x", 3]),
        "own": st.booleans(),
        "override": st.booleans() | names,
        "revoke": st.lists(names, max_size=2),
        "principals": st.dictionaries(
            names,
            st.fixed_dictionaries(
                {"key": st.integers(0, 3).map(key_line), "roles": st.lists(names, max_size=2)},
                optional={"users": st.lists(st.sampled_from(["0", "1001", "01"]), max_size=2)},
            ),
            max_size=3,
        ),
        "approve": st.dictionaries(
            st.sampled_from([*KINDS, "other"]),
            st.fixed_dictionaries(
                {"roles": st.lists(names, max_size=2)},
                optional={"needed": st.integers(-1, 3), "parts": st.lists(names, max_size=2)},
            ),
            max_size=3,
        ),
    },
)


@given(values | likely)
def test_any_value_is_a_policy_that_can_be_met_or_an_error(value: object) -> None:
    try:
        policy = policy_of(value)
    except UsageError:
        return
    assert isinstance(policy, Policy)
    assert policy.lifetime is None or 0 < policy.lifetime <= MAX_LIFETIME
    assert policy.digest() == policy_of(value).digest()
    assert len({one.identity for one in policy.principals}) == len(policy.principals)
    for one in policy.requirements:
        able = [who for who in policy.principals if set(who.roles) & set(one.roles)]
        assert len(able) >= one.needed >= 1
