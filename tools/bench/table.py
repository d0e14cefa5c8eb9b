#!/usr/bin/env python3
"""Prints what all benches measured last as one table: time of each stage per leg and frame, of
whole leg-frames, frames on time under load, and tail latency.

table.py FOLDER, where FOLDER is cargo's target. Reads only; says which part was not measured.
"""

import json
import sys
from pathlib import Path

import programs

# What `cargo bench --bench NAME` leaves there besides what criterion does.
OTHERS = ("frame_jitter", "tail_latency")


def main():
    """Finds every measurement and prints it."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(sys.argv[1])
    rows = sorted(criterion(target / "criterion"))
    if rows:
        print("\nstages and rings: time per leg-frame, or per element; median")
        programs.print_table(("stage/codec/rate", "ns", "95 % between"), rows)
    else:
        print("\nstages and rings: not measured: cargo bench --bench stages --bench rings")
    for name in OTHERS:
        file = target / "tmp" / f"bench-{name}.json"
        if not file.exists():
            print(f"\n{name}: not measured: cargo bench --bench {name}")
            continue
        measured = json.loads(file.read_text())
        headings, *rows = measured["rows"]
        print(f"\n{name}: {measured['title']}")
        programs.print_table(headings, rows)


def criterion(folder):
    """What criterion measured last: name, median, and where it is by its own reckoning."""
    for path in folder.glob("**/new/benchmark.json"):
        name = json.loads(path.read_text())
        median = json.loads(path.with_name("estimates.json").read_text())["median"]
        elements = (name.get("throughput") or {}).get("Elements", 1)
        interval = median["confidence_interval"]
        bounds = (interval["lower_bound"], median["point_estimate"], interval["upper_bound"])
        low, middle, high = (f"{bound / elements:.1f}" for bound in bounds)
        yield name["full_id"], middle, f"{low} and {high}"


if __name__ == "__main__":
    main()
