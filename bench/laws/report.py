"""Tables of what the bench measured, written into ``docs/benchmarks.md`` between its markers.

python -m bench.laws.report [--commit HASH] [--print]
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..tables import Block, table, write
from .intervals import percentile, rule_of_three, wilson
from .peers import spikes
from .rows import Row, latest, rows

BLOCK = Block("laws", "bench/laws/report.py")
WHY = {
    "law": "",
    "also": "by the way it was done only:",
    "other": "by an unexpected rule only:",
    "missed": "missed",
}


def main() -> int:
    """Write the tables, or print them."""
    commits = "sabotage of these commits, clean runs of the first alone"
    return write(BLOCK, report, usage=__doc__, of_commits=commits)


def report(measured: Sequence[str]) -> str:
    """All tables for these commits, as Markdown; of a case the last row counts.

    Clean runs are those of the first one alone: a change of the package starts their count anew.
    """
    planted = latest(rows("sabotage"), measured)
    clean = latest(rows("clean"), measured[:1]) + latest(rows("whole"), measured[:1])
    parts = [
        f"## Laws against sabotage and clean runs (`bench/laws`, commit {', '.join(measured)})",
        *_sabotage(planted),
    ]
    parts += _eight(latest(rows("eight"), measured))
    parts += [*_clean(clean), *_peers(planted, clean, latest(rows("peers"), measured))]
    return "\n".join(parts)


_MEANT = """\
*By law*: a finding of the law concerned, not before the first affected step. *In all*: or one about the way
it was done (code identity), or of another law. Delays are in steps after the first affected one: to the step
that the finding names, and (*told*) to the last one recorded when it was made."""
_OTHERS = """\
Loss spikes: the logged loss against a rolling median in units of its median deviation; the limit is set per
script so that at most 1 % of its clean runs have an alarm. TrainCheck: invariants learned from a clean run of
the same script; a run is accused when it violates one of them."""

# --- sabotage ------------------------------------------------------------------------------------


def _sabotage(planted: Sequence[Row]) -> list[str]:
    acted = [row for row in planted if row.get("caught") != "void"]
    void = [row for row in planted if row.get("caught") == "void"]
    names = {str(row.get("sabotage")) for row in acted}
    head: tuple[str, ...] = ("family", "variants", "by law", "95 % interval", "in all")
    head += ("delay: median / p95", "told: median / p95")
    early = [row for row in acted if row.get("early")]
    lines = [
        "",
        f"{len(acted)} variants of {len(names)} sabotages acted; {len(void)} did not and do not count.",
    ]
    lines += [_MEANT, "", *table(head, _families(acted))]
    lines += ["", f"Findings before the first affected step: in {len(early)} variants."]
    lines += [f"- `{row['case']}`: {_rules(row.get('early'))}" for row in early]
    lines += ["", "### Not caught by the law concerned", ""]
    lines += table(("case", "what was seen", "why laws did not check all"), map(_miss, _missed(acted)))
    if void:
        lines += ["", "### Never acted or could not be run", ""]
        lines += [f"- `{row['case']}` {row.get('error') or row.get('complaint') or ''}"[:220] for row in void]
    return lines


def _families(acted: Sequence[Row]) -> Iterable[tuple[str, ...]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in acted:
        groups[str(row.get("family"))].append(row)
    for family in (*groups, "**all**"):
        group = groups[family] if family in groups else list(acted)
        law = sum(row.get("caught") == "law" for row in group)
        all_of = sum(row.get("caught") in ("law", "also", "other") for row in group)
        low, high = wilson(law, len(group))
        interval = f"{100 * low:.0f}–{100 * high:.0f} %"
        delays = (_delays(group, "delay"), _delays(group, "told_delay"))
        yield (family, str(len(group)), str(law), interval, str(all_of), *delays)


def _delays(group: Sequence[Row], name: str) -> str:
    values = [float(row[name]) for row in group if isinstance(row.get(name), (int, float))]  # type: ignore[arg-type]
    if not values:
        return "–"
    return f"{percentile(values, 0.5):.0f} / {percentile(values, 0.95):.0f}"


def _missed(acted: Sequence[Row]) -> list[Row]:
    return [row for row in acted if row.get("caught") != "law"]


def _miss(row: Row) -> tuple[str, ...]:
    reasons = row.get("reasons")
    shown = [f"{law}: {why}" for law, why in reasons.items()] if isinstance(reasons, dict) else []
    kept = [one for one in shown if not one.startswith(("code-identity", "replica"))]
    by = row.get("by")
    return (
        f"`{row['case']}`",
        f"{WHY.get(str(row.get('caught')), '')} {', '.join(by) if isinstance(by, list) else ''}".strip(),
        "; ".join(kept)[:200].replace("|", "/") or "–",
    )


def _rules(found: object) -> str:
    if not isinstance(found, list):
        return ""
    return ", ".join(
        f"{one.get('rule')} at step {one.get('first_step')}" for one in found if isinstance(one, dict)
    )


def _eight(planted: Sequence[Row]) -> list[str]:
    """The table of the sabotages that others were measured by; nothing where none was run."""
    if not planted:
        return []
    head = ("case", "by law", "rules", "first affected step", "the finding's step", "told when")
    lines = ["", "### The eight that others were measured by", "", "Runs of 300 steps with 0.8 M parameters."]
    return [*lines, "", *table(head, map(_one_of_eight, planted))]


def _one_of_eight(row: Row) -> tuple[str, ...]:
    truth, by = row.get("truth"), row.get("by")
    first = min((part["first"] for part in truth.values()), default=0) if isinstance(truth, dict) else 0
    after = [row.get(name) for name in ("delay", "told_delay")]
    named, told = (str(first + one) if isinstance(one, int) else "–" for one in after)
    rules = ", ".join(by) if isinstance(by, list) else ""
    return (f"`{row['case']}`", str(row.get("caught") == "law"), rules, str(first), named, told)


# --- clean runs ----------------------------------------------------------------------------------


def _clean(clean: Sequence[Row]) -> list[str]:
    ran = [row for row in clean if "error" not in row]
    accused = [row for row in ran if row.get("false")]
    runs = sum(map(_runs, ran))
    bound = wilson(len(accused), runs)[1] if accused else rule_of_three(runs)
    verdicts = Counter(str(row.get("verdict")) for row in ran)
    lines = ["", f"### Clean runs, commit {ran[0].get('commit') if ran else 'none'}", ""]
    told = ", ".join(f"{count} {word}" for word, count in verdicts.most_common())
    lines += [
        f"{runs} runs in {len(ran)} guarded jobs, {len(accused)} jobs with a finding above a note: below"
    ]
    lines += [f"{1000 * bound:.1f} per 1,000 runs at 95 %. Verdicts of the jobs: {told}."]
    lines += ["", *table(("program", "runs", "accused", "incomplete", "with notes"), _programs(ran))]
    if accused:
        lines += ["", "Accused though clean:", ""]
        lines += [f"- `{row['case']}`: {_rules(row.get('false'))}" for row in accused]
    failed = [row for row in clean if "error" in row or row.get("exit")]
    lines += ["", f"Programs that failed: {len(failed)}."]
    said = [(row["case"], str(row.get("error") or row.get("complaint"))) for row in failed[:10]]
    lines += [f"- `{case}`: {' '.join(text.split())[-160:]}" for case, text in said]
    return lines


def _runs(row: Row) -> int:
    runs = row.get("runs", 1)
    return runs if isinstance(runs, int) else 1


def _programs(ran: Sequence[Row]) -> Iterable[tuple[str, ...]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in ran:
        for name in str(row.get("program")).split("+"):
            groups[name].append(row)
    for name, group in sorted(groups.items()):
        counts = (
            sum(bool(row.get("false")) for row in group),
            sum(row.get("verdict") == "incomplete" for row in group),
            sum(bool(row.get("notes")) for row in group),
        )
        yield (name, str(len(group)), *map(str, counts))


# --- peers ---------------------------------------------------------------------------------------


def _peers(planted: Sequence[Row], clean: Sequence[Row], measured: Sequence[Row]) -> list[str]:
    limits = spikes.thresholds(clean)
    judged = [row for row in planted if row.get("caught") != "void" and str(row.get("target")) in limits]
    logged = [row for row in clean if row.get("losses")]
    both = [row for row in measured if "error" not in row]
    bad, good = ([row for row in both if bool(row.get("clean")) is wanted] for wanted in (False, True))
    body: tuple[tuple[str, Sequence[Row], int, Sequence[Row], int], ...] = (
        ("ours, by law", judged, sum(row.get("caught") == "law" for row in judged),
         clean, sum(bool(row.get("false")) for row in clean)),
        ("loss spikes", judged, sum(_spike(row, limits) is not None for row in judged),
         logged, sum(_highest(row) > limits[str(row["program"])] for row in logged)),
        ("TrainCheck 0.2.0", bad, sum(bool(row.get("alarmed")) for row in bad),
         good, sum(bool(row.get("alarmed")) for row in good)),
        ("ours, in TrainCheck's cases", bad, sum(row.get("ours") == "law" for row in bad), [], 0),
    )  # fmt: skip
    head = ("detector", "sabotaged runs seen", "clean runs accused")
    cells = [
        (name, f"{seen} of {len(of)}" if of else "not run", f"{false} of {len(among)}" if among else "–")
        for name, of, seen, among, false in body
    ]
    failed = [row for row in measured if "error" in row]
    lines = ["", "### The same cases by others", "", *table(head, cells), "", _OTHERS]
    return lines + [f"- TrainCheck on `{row['case']}`: {row['error']}"[:240] for row in failed[:5]]


def _highest(row: Row) -> float:
    losses = row.get("losses")
    return max(spikes.scores(losses), default=0.0) if isinstance(losses, list) else 0.0


def _spike(row: Row, limits: Mapping[str, float]) -> int | None:
    losses, truth = row.get("losses"), row.get("truth")
    if not isinstance(losses, list) or not isinstance(truth, dict):
        return None
    start = min((part["first"] for part in truth.values()), default=0)
    return spikes.first_alarm(losses, limits[str(row.get("target"))], start)


if __name__ == "__main__":
    sys.exit(main())
