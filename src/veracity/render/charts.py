"""Inline SVG: loss with findings marked, learning rate, step times. Colours come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from ..core.finding import Finding
from ..core.quantity import quantity
from ..core.summary import StepPoint
from .markup import Limits, escape, number
from .series import PHASES, Bar, Curve, bars, by_rank, curve, envelope, log_ticks, ticks
from .wording import duration

_WIDTH = 960
_LEFT, _RIGHT = 62, 14
_COLOURS = 8
_LONGEST_STEP = 2**53


@dataclass(frozen=True, slots=True)
class Axes:
    """Where steps and values lie on the drawing; ``log`` for a logarithmic value axis."""

    low: int
    high: int
    bottom_value: float
    top_value: float
    top: int
    bottom: int
    log: bool = False

    def x(self, step: float) -> float:
        """Horizontal place of ``step``; a step outside of the drawing is put on its edge."""
        if self.high <= self.low:
            return (_LEFT + _WIDTH - _RIGHT) / 2
        part = (min(max(step, self.low), self.high) - self.low) / (self.high - self.low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Vertical place of ``value``."""
        low, high = self.bottom_value, self.top_value
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        if not low < high:
            return (self.top + self.bottom) / 2
        return self.bottom - min(1.0, max(0.0, (value - low) / (high - low))) * (self.bottom - self.top)


def steps_between(points: Sequence[StepPoint]) -> tuple[int, int]:
    """First and last step of any rank, within what a drawing can tell apart."""
    steps = [min(max(point.step, 0), _LONGEST_STEP) for point in points]
    return min(steps, default=0), max(steps, default=0)


def loss_chart(points: Sequence[StepPoint], ordered: Sequence[Finding], limits: Limits) -> str:
    """Loss of each rank; ``ordered`` findings are marked at their first step, numbered from 1."""
    ranks = by_rank(points)
    low, high = steps_between(points)
    values = [point.loss for point in points if point.loss is not None and math.isfinite(point.loss)]
    if not values:
        axes = Axes(low, high, 0.0, 1.0, 34, 250)
        empty = _text(_WIDTH / 2, 140, "no finite loss was recorded", "mid")
        return _svg(
            278, "No finite loss was recorded", _grid(axes, [], "step") + empty + _marks(axes, ordered)
        )
    axes = _value_axes(low, high, values, 34, 250)
    steps = log_ticks if axes.log else ticks
    body = [_grid(axes, steps(axes.bottom_value, axes.top_value, 5), "step")]
    if len(ranks) <= limits.ranks:
        drawn = list(ranks)
    else:
        body.append(_band(axes, envelope(ranks, low, high, limits.buckets)))
        suspects = [finding.rank for finding in ordered if finding.rank in ranks]
        drawn = list(dict.fromkeys(suspects))[:3]
    for place, rank in enumerate(drawn):
        line = curve(
            rank, [(point.step, point.loss) for point in ranks[rank]], limits.buckets // max(1, len(drawn))
        )
        body.append(_curve(axes, line, f"r{place % _COLOURS}"))
    body.append(_marks(axes, ordered))
    between = f"between {min(values):.4g} and {max(values):.4g}"
    label = f"Loss from step {low} to {high}, {quantity(len(ranks), 'rank')}, {between}"
    return _svg(278, label, "".join(body)) + _rank_legend(drawn, len(ranks), axes.log)


def rate_chart(points: Sequence[StepPoint], limits: Limits) -> str:
    """The learning rate of the lowest rank; empty when none was seen."""
    ranks = by_rank(points)
    for series in ranks.values():
        values = [point.lr for point in series if point.lr is not None and math.isfinite(point.lr)]
        if values:
            low, high = steps_between(points)
            axes = Axes(low, high, min(0.0, min(values)), max(max(values), min(values)), 12, 84)
            rows = [axes.bottom_value, axes.top_value] if axes.bottom_value < axes.top_value else [values[0]]
            line = curve(0, [(point.step, point.lr) for point in series], limits.buckets // 2)
            label = f"Learning rate between {min(values):.4g} and {max(values):.4g}"
            return _svg(110, label, _grid(axes, rows, "step") + _curve(axes, line, "lr"))
    return ""


def time_chart(points: Sequence[StepPoint], span: tuple[int, int], most: int) -> tuple[str, str]:
    """Step times of one rank as stacked bars, and a caption naming the slowest steps.

    ``span`` is the range of steps of the whole report, so that the charts line up.
    """
    made = bars(points, most)
    if not made:
        return "", ""
    tallest = max(bar.total for bar in made)
    usual = median(bar.total for bar in made)
    cap = min(tallest, max(1, int(3 * usual))) or 1
    axes = Axes(span[0], span[1], 0.0, float(cap), 16, 124)
    grid = _grid(axes, ticks(0.0, float(cap), 3), "step", lambda value: duration(round(value)))
    slow = sorted(made, key=lambda bar: -bar.total)[:40]
    hover = "".join(_slow_bar(axes, bar, cap) for bar in slow)
    label = f"Step times: usually {duration(int(usual))}, at most {duration(tallest)}"
    return _svg(152, label, grid + _stack(axes, made, cap) + hover), _slow_caption(slow, usual, cap)


def _value_axes(low: int, high: int, values: Sequence[float], top: int, bottom: int) -> Axes:
    least = min(max(min(values), -1e200), 1e200)
    most = min(max(max(values), -1e200), 1e200)
    if least > 0 and most / least >= 50:
        return Axes(low, high, least, most, top, bottom, log=True)
    room = (most - least) * 0.05 or abs(most) * 0.05 or 1.0
    return Axes(low, high, least - room, most + room, top, bottom)


def _svg(height: int, label: str, body: str) -> str:
    return (
        f'<div class="chart"><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg></div>"
    )


def _text(x: float, y: float, text: str, css: str) -> str:
    return f'<text x="{number(x)}" y="{number(y)}" class="{css}">{escape(text)}</text>'


def _grid(axes: Axes, rows: Sequence[float], unit: str, spell: Callable[[float], str] | None = None) -> str:
    right = _WIDTH - _RIGHT
    parts = []
    for value in rows:
        y = number(axes.y(value))
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{right}"/>')
        parts.append(_text(_LEFT - 8, axes.y(value) + 4, (spell or _spelled)(value), "end"))
    parts.append(f'<path class="axis" d="M{_LEFT} {axes.bottom}H{right}"/>')
    whole = sorted({round(value) for value in ticks(axes.low, axes.high, 8)})
    for at, step in enumerate(whole):
        word = f"{unit} {step:,}" if at == 0 else f"{step:,}"
        css = "mid" if _LEFT + 30 < axes.x(step) < right - 30 else "" if at == 0 else "end"
        parts.append(_text(axes.x(step), axes.bottom + 18, word, css))
    return "".join(parts)


def _spelled(value: float) -> str:
    """At most seven characters, so that it fits beside the axis."""
    short = f"{value:.3g}"
    return short if len(short) <= 7 else f"{value:.1e}"


def _curve(axes: Axes, line: Curve, css: str) -> str:
    parts = []
    for part in line.parts:
        if len(part) == 1:
            step, value = part[0]
            parts.append(
                f'<circle class="dot {css}" cx="{number(axes.x(step))}" cy="{number(axes.y(value))}" r="3"/>'
            )
        else:
            path = "L".join(f"{number(axes.x(step))} {number(axes.y(value))}" for step, value in part)
            parts.append(f'<path class="line {css}" d="M{path}"/>')
    if line.lost:
        apart = [axes.x(line.lost[0])]
        for step in line.lost:
            if axes.x(step) - apart[-1] >= 11:
                apart.append(axes.x(step))
        crosses = "".join(f"M{number(x - 3)} {axes.top - 6}l6 6m0 -6l-6 6" for x in apart)
        word = f"loss not finite from step {line.lost[0]:,}"
        parts.append(f'<path class="lost" d="{crosses}"><title>{escape(word)}</title></path>')
        # The words stand right of the first cross when there is room for them: no curve is there.
        css = "lostword" if apart[0] < _WIDTH - 230 else "lostword end"
        parts.append(_text(apart[0], axes.top + 18, word, css))
    return "".join(parts)


def _band(axes: Axes, rows: Sequence[tuple[int, float, float, float]]) -> str:
    if len(rows) < 2:
        return "".join(
            f'<circle class="dot mean" cx="{number(axes.x(row[0]))}" cy="{number(axes.y(row[2]))}" r="3"/>'
            for row in rows
        )
    above = [f"{number(axes.x(row[0]))} {number(axes.y(row[3]))}" for row in rows]
    below = [f"{number(axes.x(row[0]))} {number(axes.y(row[1]))}" for row in reversed(rows)]
    middle = [f"{number(axes.x(row[0]))} {number(axes.y(row[2]))}" for row in rows]
    band = f'<path class="band" d="M{"L".join(above + below)}Z"/>'
    return f'{band}<path class="line mean" d="M{"L".join(middle)}"/>'


def _marks(axes: Axes, ordered: Sequence[Finding]) -> str:
    """A numbered flag per first step; flags that would overlap are joined."""
    flags: list[tuple[float, list[int]]] = []
    numbered = [
        (finding.first_step, at) for at, finding in enumerate(ordered, 1) if finding.first_step is not None
    ]
    for step, at in sorted(numbered):
        x = axes.x(step)
        if flags and x - flags[-1][0] < 34:
            flags[-1][1].append(at)
        else:
            flags.append((x, [at]))
    parts = []
    for x, members in flags:
        worst = ordered[min(members) - 1]
        word = ",".join(str(at) for at in sorted(members)[:2]) + (
            f"+{len(members) - 2}" if len(members) > 2 else ""
        )
        half = 7 + 3.5 * len(word)
        centre = min(max(x, half + 1), _WIDTH - half - 1)
        titles = [
            f"{at}: step {ordered[at - 1].first_step}, {ordered[at - 1].rule}" for at in sorted(members)[:8]
        ]
        parts.append(
            f'<a href="#finding-{min(members)}" class="flag {worst.severity.value}">'
            f"<title>{escape('; '.join(titles))}"
            f'</title><path d="M{number(x)} 22V{axes.bottom}"/><rect x="{number(centre - half)}" y="4" '
            f'width="{number(2 * half)}" height="19" rx="9.5"/>{_text(centre, 18, word, "mid")}</a>'
        )
    return "".join(parts)


def _rank_legend(drawn: Sequence[int], ranks: int, log: bool) -> str:
    parts = []
    if ranks > len(drawn):
        parts.append(
            f'<span><i class="key mean"></i>median of {ranks:,} ranks, least to greatest shaded</span>'
        )
    if ranks > 1:
        parts += [
            f'<span><i class="key r{place % _COLOURS}"></i>rank {rank}</span>'
            for place, rank in enumerate(drawn)
        ]
    if log:
        parts.append("<span>logarithmic scale</span>")
    return f'<p class="legend">{"".join(parts)}</p>' if parts else ""


def _stack(axes: Axes, made: Sequence[Bar], cap: int) -> str:
    """One path per phase: small even for hundreds of bars."""
    width = _bar_width(axes, made)
    paths: list[list[str]] = [[] for _ in PHASES]
    for bar in made:
        x = number(axes.x((bar.first + bar.last) / 2) - width / 2)
        under = 0
        for phase, part in enumerate(bar.parts):
            upper = min(cap, under + part)
            tall = axes.y(under) - axes.y(upper)
            if tall >= 0.1:
                paths[phase].append(
                    f"M{x} {number(axes.y(under))}v-{number(tall)}h{number(width)}v{number(tall)}z"
                )
            under = upper
    return "".join(
        f'<path class="p-{name}" d="{"".join(paths[at])}"/>' for at, name in enumerate(PHASES) if paths[at]
    )


def _bar_width(axes: Axes, made: Sequence[Bar]) -> float:
    steps = max(1, axes.high - axes.low + 1)
    each = (made[-1].last - made[0].first + 1) / len(made)
    return min(40.0, max(0.8, (_WIDTH - _LEFT - _RIGHT) * each / steps * 0.86))


def _slow_bar(axes: Axes, bar: Bar, cap: int) -> str:
    """An invisible target with the numbers in its title; a notch when the bar was cut."""
    x = axes.x((bar.first + bar.last) / 2)
    told = ", ".join(f"{name} {duration(part)}" for name, part in zip(PHASES, bar.parts, strict=True) if part)
    notch = f'<path class="cut" d="M{number(x - 4)} 12l4 -7l4 7z"/>' if bar.total > cap else ""
    return (
        f"<g><title>{escape(f'step {bar.step:,}: {duration(bar.total)} ({told})')}</title>"
        f'<rect class="target" x="{number(x - 3)}" y="4" width="6" height="{axes.bottom - 4}"/>{notch}</g>'
    )


def _slow_caption(slow: Sequence[Bar], usual: float, cap: int) -> str:
    """Names at most three steps that took over twice the usual time, and the phase that took most of it."""
    late = [bar for bar in slow if bar.total > 2 * usual][:3]
    if not late:
        return f"Usually {duration(int(usual))} a step; none took more than twice that."
    named = "; ".join(
        f"step {bar.step:,} took {duration(bar.total)}, most of it {PHASES[bar.parts.index(max(bar.parts))]}"
        for bar in late
    )
    cut = f" Bars are cut at {duration(cap)} (marked by a triangle)." if slow[0].total > cap else ""
    return f"Usually {duration(int(usual))} a step; slowest: {named}.{cut}"
