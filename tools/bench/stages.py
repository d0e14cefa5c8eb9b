#!/usr/bin/env python3
"""Prints what criterion measured last as one table: time per leg and frame of every stage.

stages.py FOLDER, where FOLDER is criterion's, such as target/criterion. Reads only.
"""

import json
import sys
from pathlib import Path


def main():
    """Finds every measurement and prints its median."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = []
    for path in Path(sys.argv[1]).glob("**/new/benchmark.json"):
        name = json.loads(path.read_text())
        median = json.loads(path.with_name("estimates.json").read_text())["median"]
        elements = (name.get("throughput") or {}).get("Elements", 1)
        interval = median["confidence_interval"]
        bounds = (interval["lower_bound"], median["point_estimate"], interval["upper_bound"])
        rows.append((name["full_id"], *(bound / elements for bound in bounds)))
    if not rows:
        sys.exit(f"{sys.argv[1]}: nothing was measured yet; run cargo bench --bench stages")
    print(f"\n{'stage/codec/rate':<32}{'ns per leg-frame':>18}   95 % between")
    for name, low, median, high in sorted(rows):
        print(f"{name:<32}{median:>18.1f}   {low:.1f} and {high:.1f}")


if __name__ == "__main__":
    main()
