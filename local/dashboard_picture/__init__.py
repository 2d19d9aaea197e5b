"""Draws the dashboard of a fleet from its synthesized definition: `python -m local.dashboard_picture`.

Every widget is where CloudWatch puts it, with the title, the axis, the lines and the legend that it gets there. No data
are drawn: there are none before a deployment.
"""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = REPOSITORY / "docs" / "dashboard.svg"

_COLUMN, _ROW, _GAP = 50, 38, 8
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_HASH = re.compile(r"[0-9A-F]{8}$")
_LEGEND_ROW, _CHARACTER = 16, 5.6
_NO_LIMIT_ABOVE = 1.25  # an annotation without a fixed axis is drawn that much below the top


def dashboard_body(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the definition of a template's one dashboard, with the logical ids of what it refers to."""
    (body,) = (
        resource["Properties"]["DashboardBody"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Dashboard"
    )
    definition: Mapping[str, Any] = json.loads("".join(map(_word, body["Fn::Join"][1])))
    return definition


def draw(definition: Mapping[str, Any]) -> str:
    """Return the picture of a dashboard, as SVG."""
    widgets = definition["widgets"]
    width = max(widget["x"] + widget["width"] for widget in widgets) * _COLUMN
    height = max(widget["y"] + widget["height"] for widget in widgets) * _ROW
    fonts = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {fonts}>',
        f'<rect width="{width}" height="{height}" fill="#f2f3f3"/>',
    ]
    for widget in widgets:
        lines += _Widget(widget).draw()
    return "\n".join([*lines, "</svg>", ""])


class _Widget:
    """One widget: its frame, and what is in it."""

    def __init__(self, widget: Mapping[str, Any]) -> None:
        self._type = widget["type"]
        self._properties = widget["properties"]
        self._left = widget["x"] * _COLUMN + _GAP / 2
        self._top = widget["y"] * _ROW + _GAP / 2
        self._width = widget["width"] * _COLUMN - _GAP
        self._height = widget["height"] * _ROW - _GAP

    def draw(self) -> Iterator[str]:
        yield (
            f'<rect x="{self._left:g}" y="{self._top:g}" width="{self._width:g}" height="{self._height:g}" rx="4" '
            'fill="#ffffff" stroke="#d5dbdb"/>'
        )
        if "title" in self._properties:
            yield self._text(14, 22, self._properties["title"], size=14, weight="bold")
        match self._type:
            case "text":
                yield from self._markdown()
            case "alarm":
                yield from self._alarms()
            case "metric":
                yield from self._graph()
            case "log":
                yield from self._query()
            case other:
                raise ValueError(f"a widget of the type {other} is not drawn yet: add it")

    def _markdown(self) -> Iterator[str]:
        title, _, words = self._properties["markdown"].partition("\n")
        yield self._text(14, 28, title.lstrip("# "), size=20, weight="bold")
        yield self._text(14, 52, words.replace("`", ""), colour="#545b64")

    def _alarms(self) -> Iterator[str]:
        across = 7
        wide = (self._width - 28) / across
        for position, alarm in enumerate(self._properties["alarms"]):
            x, y = 14 + position % across * wide, 34 + position // across * 36
            yield (
                f'<rect x="{self._left + x:g}" y="{self._top + y:g}" width="{wide - 6:g}" height="30" rx="3" '
                'fill="#f2f8f0" stroke="#1d8102"/>'
            )
            name = _HASH.sub("", alarm.removesuffix(".Arn")).removeprefix("ObservabilityAlarms").removesuffix("Alarm")
            yield self._text(x + 8, y + 19, name, size=11)

    def _graph(self) -> Iterator[str]:
        axis = self._properties.get("yAxis", {}).get("left", {})
        left, right, top = 44.0, self._width - 14, 40.0
        legend = list(self._legend(left, right))
        bottom = self._height - 14 - _LEGEND_ROW * (1 + max(row for *_, row in legend))
        yield self._text(right, 22, axis.get("label", ""), size=11, colour="#545b64", anchor="end")
        annotations = self._properties.get("annotations", {}).get("horizontal", [])
        highest = axis.get("max") or max((each["value"] for each in annotations), default=1) * _NO_LIMIT_ABOVE
        for part in range(5):
            y = bottom - (bottom - top) * part / 4
            yield self._line(left, y, right, y, "#879596" if part == 0 else "#eaeded")
        for number in [axis.get("min", 0), *([axis["max"]] if "max" in axis else [])]:
            y = bottom - (bottom - top) * number / highest
            yield self._text(left - 6, y + 4, f"{number:g}", size=10, colour="#545b64", anchor="end")
        for each in annotations:
            y = bottom - (bottom - top) * each["value"] / highest
            yield self._line(left, y, right, y, "#d13212", dashes="6 4")
            words = f"{each['label']} ({each['value']:g})"
            yield self._text(right - 4, y - 4, words, size=10, colour="#d13212", anchor="end")
        for number, (label, x, row) in enumerate(legend):
            y = bottom + 10 + row * _LEGEND_ROW
            place = f'x="{self._left + x:g}" y="{self._top + y:g}"'
            yield f'<rect {place} width="10" height="10" fill="{_COLOURS[number % len(_COLOURS)]}"/>'
            yield self._text(x + 14, y + 9, label, size=10)

    def _legend(self, left: float, right: float) -> Iterator[tuple[str, float, int]]:
        """Yield each visible line's label, and where it goes: from the left, in as many rows as it takes."""
        x, row = left, 0
        for metric in self._properties["metrics"]:
            options = metric[-1] if isinstance(metric[-1], dict) else {}
            if options.get("visible", True):
                width = 30 + _CHARACTER * len(options["label"])
                if x > left and x + width > right:
                    x, row = left, row + 1
                yield options["label"], x, row
                x += width

    def _query(self) -> Iterator[str]:
        # The log group's name is not known before a deployment.
        _, _, query = self._properties["query"].partition(" | ")
        for number, line in enumerate(query.splitlines()):
            yield self._text(14, 46 + 18 * number, line, size=11, colour="#545b64", family="monospace")

    def _line(self, x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: str = "") -> str:
        ends = f'x1="{self._left + x1:g}" y1="{self._top + y1:g}" x2="{self._left + x2:g}" y2="{self._top + y2:g}"'
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return f'<line {ends} stroke="{colour}"{dashed}/>'

    def _text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 12,
        weight: str = "normal",
        colour: str = "#16191f",
        anchor: str = "start",
        family: str = "",
    ) -> str:
        style = f'font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}"'
        if family:
            style += f' font-family="{family}"'
        return f'<text x="{self._left + x:g}" y="{self._top + y:g}" {style}>{escape(words)}</text>'


def _word(part: Any) -> str:  # noqa: ANN401 - a part of a template
    match part:
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"{resource}.{attribute}"
        case {"Ref": name}:
            return str(name)
    return str(part)
