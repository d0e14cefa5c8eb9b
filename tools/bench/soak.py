#!/usr/bin/env python3
"""Memory in the long run: calls through gateway and translator for an hour, resident memory of both
each 10 s, what it is at the end against what it was after five minutes. Bar: 1 MB more at most, and
no frame missing or doubled.

A run of less than ten minutes compares with a quarter of its time instead, and proves little. Exit
status 1 if the bar was missed. Ends only what it started.
"""

import json
import re
import statistics
import sys
import time
from pathlib import Path

import programs
from programs import Bench, Skipped

SAMPLE_S = 10
AFTER_S = 300  # what is compared with
GROWTH_KB_MAX = 1_024
# One sample may catch what the next returns: a minute of them on either side.
SAMPLES_COMPARED = 6


def main():
    """Runs the load and watches both programs."""
    parser = programs.parser(__doc__)
    parser.add_argument("--legs", type=int, default=200, help="an even number (200)")
    parser.add_argument("--seconds", type=float, default=3_600, help="how long (3600)")
    parser.add_argument("--json", type=Path, help="all samples, in kB, go there")
    arguments = parser.parse_args()
    if arguments.legs % 2 or arguments.seconds < 4 * SAMPLE_S:
        parser.error(f"legs come in pairs, and {4 * SAMPLE_S} s are the least")
    sys.exit(programs.run(lambda stack: run(arguments, stack)))


def run(arguments, stack):
    """Returns the exit status."""
    bench = Bench(arguments.bin, stack)
    try:
        translator, url = bench.translator(stack, programs.LOOP)
        gateway, to = bench.gateway(stack, arguments.legs, {"link.url": url})
        pids = {"gateway": gateway.pid, "translator": translator.pid}
        options = {"seconds": f"{arguments.seconds:g}", "cpu-of": list(pids.values())}
        load = bench.load(stack, to, arguments.legs, options)
        samples = watch(load[0], pids)
        report = programs.report_of(load)
    except Skipped as why:
        return f"soak: {why}"
    if arguments.json:
        arguments.json.write_text(json.dumps(samples, indent=1) + "\n")
    return judge(arguments, samples, report)


def watch(load, pids):
    """Resident memory of each process in kB, with seconds since the load began; until it ends."""
    begin = time.monotonic()
    samples = []
    while load.poll() is None:
        at = time.monotonic() - begin
        kb = {name: resident_kb(pid) for name, pid in pids.items()}
        samples.append({"s": round(at, 1), **kb})
        line = ", ".join(f"{name} {size} kB" for name, size in kb.items())
        print(f"{at:7.0f} s  {line}", file=sys.stderr)
        next_at = begin + SAMPLE_S * len(samples)
        while load.poll() is None and time.monotonic() < next_at:
            time.sleep(min(0.2, max(0.0, next_at - time.monotonic())))
    return samples


def resident_kb(pid):
    """VmRSS of one process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    if not found:
        raise Skipped(f"process {pid} ended before the load did")
    return int(found[1])


def judge(arguments, samples, report):
    """Prints what became of memory and frames; returns the exit status."""
    after_s = AFTER_S if arguments.seconds >= 2 * AFTER_S else arguments.seconds / 4
    early = [sample for sample in samples if sample["s"] >= after_s][:SAMPLES_COMPARED]
    late = samples[-min(SAMPLES_COMPARED, len(samples)) :]
    print(f"\n{arguments.legs} legs for {report['window_s']:.0f} s")
    rows, is_good = [], True
    for name in ("gateway", "translator"):
        before, after = (
            statistics.median(sample[name] for sample in part) for part in (early, late)
        )
        passed = after - before <= GROWTH_KB_MAX
        is_good &= passed
        verdict = "pass" if passed else "MISS"
        rows.append([name, f"{before:.0f}", f"{after:.0f}", f"{after - before:+.0f}", verdict])
    headings = ("program", f"kB after {after_s:.0f} s", "kB at the end", "more", "")
    programs.print_table(headings, rows)
    down = report["downlink"]
    whole = down["frames_missing"] + down["frames_doubled"] == 0
    print(
        f"Bar: {GROWTH_KB_MAX} kB more. Of {down['frames_expected']} frames missing "
        f"{down['frames_missing']}, doubled {down['frames_doubled']}; longest gap "
        f"{down['gap_ms_max']:.1f} ms: {'pass' if whole else 'MISS'}"
    )
    return 0 if is_good and whole else 1


if __name__ == "__main__":
    main()
