"""The comparison on a terminal, and as Markdown for the records."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from bench.fleet.comparison import Row

_COLUMNS = (
    "policy",
    "wait p50/p95/p99 s",
    "done p50/p95 s",
    "slower p95",
    "warm store",
    "builders",
    "builds on one",
    "refused",
    "lost",
    "hours",
    "$ builders",
    "$ a day",
)


def show(rows: Iterable[Row], console: Console) -> None:
    """Print a table for each trace."""
    for name, of_trace in _by_trace(rows):
        table = Table(title=f"{name}: {of_trace[0].builds} builds in a day")
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column == "policy" else "right", no_wrap=True)
        for row in of_trace:
            table.add_row(*_cells(row))
        console.print(table)


def markdown(rows: Iterable[Row]) -> str:
    """Return the same in Markdown."""
    lines = []
    for name, of_trace in _by_trace(rows):
        lines += [f"### {name}: {of_trace[0].builds:,} builds in a day", ""]
        lines += [_line(_COLUMNS), _line(["---"] + ["--:"] * (len(_COLUMNS) - 1))]
        lines += [_line(_cells(row)) for row in of_trace]
        lines.append("")
    return "\n".join(lines)


def _by_trace(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    traces: dict[str, list[Row]] = {}
    for row in rows:
        traces.setdefault(row.trace, []).append(row)
    return list(traces.items())


def _cells(row: Row) -> list[str]:
    return [
        row.policy,
        f"{row.wait_p50:.0f} / {row.wait_p95:.0f} / {row.wait_p99:.0f}",
        f"{row.turnaround_p50:.0f} / {row.turnaround_p95:.0f}",
        f"{row.slowdown_p95:.1f}",
        f"{row.warm_share:.0%}",
        str(row.peak_builders),
        str(row.most_builds),
        str(row.refused),
        str(row.lost),
        f"{row.instance_hours:.1f}",
        f"{row.builder_dollars:.2f}",
        f"{row.dollars:.2f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
