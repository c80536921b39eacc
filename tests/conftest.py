"""What all tests share: how many examples are drawn."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.examples import PROFILES

# How long an example takes says how busy the machine is, nothing about the code.
for _name, _examples in PROFILES.items():
    settings.register_profile(
        _name, max_examples=_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("ci")  # --hypothesis-profile comes later and wins
