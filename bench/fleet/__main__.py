"""`make bench-fleet`: simulate the fleet of builders.toml and what it is compared with, and print what each costs."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from rich.console import Console

from bench.fleet.comparison import Row, compare
from bench.fleet.deployment import read_policy, synthesize
from bench.fleet.policy import Policy
from bench.fleet.prices import RESOURCE_MONTHS, IdleBill
from bench.fleet.sweep import sweep
from bench.fleet.table import markdown, show
from bench.fleet.timing import Timing
from bench.fleet.trace import TRACES, Trace

FLEET_STACK = "buildkit-builders-main"


def main() -> None:
    """Run it."""
    options = _options()
    console = Console(stderr=options.json or options.markdown, width=None if sys.stdout.isatty() else 180)
    started = time.monotonic()
    templates = synthesize()
    fleet = read_policy(templates[FLEET_STACK])
    # One fleet is simulated: the other fleets of the file are not paid for.
    others = [name for name in templates if "-builders-" in name and name != FLEET_STACK]
    bill = IdleBill.of(template for name, template in templates.items() if name not in others)
    traces = [trace for trace in TRACES if trace.name in options.trace]
    run = partial(_run, fleet=fleet, bill=bill, seed=options.seed, is_sweep=options.sweep)
    rows: list[Row] = []
    with ProcessPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        # The longest first, so that no processor is left with it at the end.
        for done in pool.map(run, sorted(traces, key=lambda trace: -trace.builds)):
            console.print(f"{done[0].trace}: {len(done)} runs", style="dim")
            rows += done
    rows.sort(key=lambda row: [trace.name for trace in TRACES].index(row.trace))
    if options.json:
        print(json.dumps(_document(rows, fleet, bill, options.seed), indent=2))
    elif options.markdown:
        print(markdown(rows))
    else:
        show(rows, console)
        _show_idle_bill(bill, console)
    console.print(f"seed {options.seed}, {time.monotonic() - started:.0f} s", style="dim")


def _run(trace: Trace, *, fleet: Policy, bill: IdleBill, seed: int, is_sweep: bool) -> list[Row]:
    run = sweep if is_sweep else compare
    return list(run(trace, fleet, idle_bill=bill, timing=Timing(), seed=seed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    names = [trace.name for trace in TRACES]
    parser.add_argument("--trace", action="append", choices=names, help="one of the days; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    parser.add_argument("--sweep", action="store_true", help="vary the fleet's parameters instead of comparing it")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")
    options = parser.parse_args()
    options.trace = options.trace or names
    return options


def _document(rows: list[Row], fleet: Policy, bill: IdleBill, seed: int) -> Mapping[str, Any]:
    return {
        "seed": seed,
        "fleet": dict(_parameters(fleet)),
        "idle_dollars_a_month": round(bill.month, 2),
        "rows": [row.as_json() for row in rows],
    }


def _parameters(fleet: Policy) -> Iterator[tuple[str, Any]]:
    for name in (
        *("min_capacity", "max_capacity", "target", "metric_period", "instance_warmup", "max_builds", "idle_timeout"),
        *("settling", "release", "ends_itself"),
    ):
        yield name, getattr(fleet, name)
    yield "instance_type", fleet.machine.instance_type


def _show_idle_bill(bill: IdleBill, console: Console) -> None:
    parts = [
        f"{count} {kind.rpartition('::')[2]} ${RESOURCE_MONTHS[kind] * count:.2f}"
        for kind, count in bill.resources.items()
    ]
    console.print(
        f"Idle: ${bill.month:.2f} a month: {', '.join(parts)}, {bill.policies} target tracking policies. "
        "us-east-1, list prices, without traffic."
    )


if __name__ == "__main__":
    main()
