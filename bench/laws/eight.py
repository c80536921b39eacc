"""The eight sabotages by which other tools were measured: a GPT of 0.8 M parameters, 300 steps.

They are few and known, so what becomes of them says little of others; ``variants.py`` draws those.
"""

from __future__ import annotations

from .planting import Trigger
from .variants import Case

TARGET = "chargpt-small"
STEPS = 300
# An epoch has 256 steps, so that an order which repeats has steps to repeat in.
EIGHT = (
    Case("second-moment-uncorrected", TARGET, "single", 1.0, Trigger("from", 0)),
    Case("hook-flips", TARGET, "single", 1.0, Trigger("every", 50, 50)),
    Case("clipping-amplifies", TARGET, "single", 0.5, Trigger("from", 12)),
    Case("sleep", TARGET, "single", 0.25, Trigger("every", 20, 20)),
    Case("order-from-constant-seed", TARGET, "single", 1.0, Trigger("from", 0)),
    Case("saved-weights-scaled", TARGET, "single", 0.1, Trigger("from", 0)),
    Case("rate-scaled", TARGET, "single", 0.3, Trigger("from", 200)),
    Case("zero-grad-skipped", TARGET, "single", 1.0, Trigger("chance", 1, chance=0.02, key=2)),
)
"""Bias correction left out in torch's own file; one layer's gradient turned at each 50th step; clipping that
amplifies; 50 ms of sleep at each 20th step; one order for all epochs; weights by 0.9 between save and resume;
the rate by 0.7 from step 200 on; ``zero_grad`` left out at two steps in a hundred."""
