#!/usr/bin/env python3
"""Diglot beside others, in one go under the same load: a bare echo, Debian's rtpengine in userspace
(PCMU relayed, and PCMU to PCMA), and Diglot's gateway. Prints CPU, timing and latency side by side,
the gateway's CPU over the number of legs, and the bars with what was reached.

A figure is the median of all rounds; a bar on a ratio or a difference is judged by the median over
rounds of what two programs showed in the same round. Ends only what it started. rtpengine is
installed where that can be done (Debian, root) and skipped, with the reason, where not.
"""

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ng
import programs
from programs import LOCALHOST, Bench, Skipped

LEGS = (2, 100, 500)
CURVE = (2, 50, 100, 200, 500, 1_000)
LEGS_ALONE = 1_000
LEGS_OF_BARS = 500
PRIORITY_UNDER_TEST = "50"  # Diglot's tiles ask for it, so rtpengine is given it
RTPENGINE_PORTS = (10_000, 19_998)
# Two programs may be out of luck with the machine at once; a third time is given up.
TRIES_MAX = 2
DISCARD_PORT = 9  # RFC 863: here, nobody's
# Who drops speech is cheap: below this share of markers that came, CPU and latency prove nothing.
HEARD_PERCENT_MIN = 95
# The bars. CPU against the bare echo of the same round; deviation above its; mouth to ear with the
# playout buffer and the phone's own packet.
TILES_ECHO_MAX = 1.5
GATEWAY_ECHO_MAX = 3.0
DEVIATION_ABOVE_MS_MAX = ((2, 0.2), (LEGS_OF_BARS, 0.5))
MOUTH_TO_EAR_MS_MAX = 100
NOTES = """
How they are made comparable
- CPU is user and system time of the program alone, per leg-frame: a packet in and one out.
- rtpengine: half the legs speak PCMU; the other half are an echo that returns PCMU or PCMA. So each
  packet passes it twice: its latency is that of two passages, its deviation that of their end. It
  has a port for every leg.
- gateway: u-law both ways, 16 kHz in 20 ms frames over a binary WebSocket to `diglot translator
  --set translator.engine=loop` in a process of its own, which shares the two cores and is not
  counted. Latency has the playout buffer in it, and 20 ms for a phone to fill a packet (mouth to
  ear); that of the others is the way of a packet.
- heard: of the markers said, those that came within two seconds. CPU and bars on it are judged only
  where nearly all came, since who drops speech is cheap.
- gateway alone: its link dials a port where nobody listens, so all legs are sent silence.
- Load and echo are SCHED_FIFO, and so are rtpengine's threads and Diglot's tiles, where allowed. A
  loop of class SCHED_IDLE on each CPU keeps the hypervisor from halting it.
- Timing is of the runs that are acceptable (steal below 1 %, the load's own pace p99.9 below 1 ms)
  where there are any, else of all, and then says little; a run that is not is repeated once in its
  round. CPU and missing frames are of all rounds' last runs.
"""
HEADINGS = ("legs", "program", "cpu us", "x echo", "tiles us", "dev p50", "p99", "p99.9 ms")
HEADINGS += ("above echo", "lat p50", "p99 ms", "heard %", "missing", "doubled")
HEADINGS += ("acceptable, dropped",)


def main():
    """Measures each program in turn, round after round, and prints tables."""
    parser = programs.parser(__doc__)
    parser.add_argument("--legs", default=",".join(map(str, LEGS)), help="rows (2,100,500)")
    parser.add_argument("--curve", default=",".join(map(str, CURVE)), help="of the gateway's CPU")
    text = "legs without link (1000); 0: none"
    parser.add_argument("--alone", type=int, default=LEGS_ALONE, help=text)
    parser.add_argument("--seconds", type=float, default=6, help="of each run (6)")
    parser.add_argument("--repeat", type=int, default=5, help="rounds (5)")
    parser.add_argument("--json", type=Path, help="all runs go there")
    arguments = parser.parse_args()
    try:
        legs, curve = (
            [int(each) for each in text.split(",") if each]
            for text in (arguments.legs, arguments.curve)
        )
    except ValueError:
        parser.error("--legs and --curve want numbers with commas between")
    if any(each < 2 or each % 2 for each in [*legs, *curve]) or arguments.alone % 2:
        parser.error("legs come in pairs")
    sys.exit(programs.run(lambda stack: run(arguments, legs, curve, stack)))


def run(arguments, legs, curve, stack):
    """Returns the exit status."""
    bench = Bench(arguments.bin, stack)
    subjects = {"echo": echo}
    try:
        path = rtpengine()
        subjects["rtpengine PCMU relay"] = rtpengine_call(path, ng.PCMU)
        subjects["rtpengine PCMU-PCMA"] = rtpengine_call(path, ng.PCMA)
    except Skipped as why:
        print(f"skipped: rtpengine: {why}")
    subjects["gateway"] = gateway
    cells = [(count, name) for count in legs for name in subjects]
    cells += [(count, "gateway") for count in curve if count not in legs]
    if arguments.alone:
        subjects["gateway alone"] = gateway_alone
        if arguments.alone not in legs:
            cells.append((arguments.alone, "echo"))
        cells.append((arguments.alone, "gateway alone"))
    runs = {cell: [] for cell in cells}
    for turn in range(arguments.repeat):
        for count, name in cells:
            print(f"{turn + 1}/{arguments.repeat} {count} legs, {name}", file=sys.stderr)
            runs[count, name].append(measured(bench, subjects[name], count, arguments.seconds))
    if arguments.json:
        rows = [
            {"legs": legs, "program": name, "rounds": rounds}
            for (legs, name), rounds in runs.items()
        ]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\n{arguments.seconds:g} s each, medians of {arguments.repeat} rounds")
    cells = sorted(runs, key=lambda cell: cell[0])
    programs.print_table(HEADINGS, [row(runs, *cell) for cell in cells])
    print_curve(runs, sorted({count for count, name in runs if name == "gateway"}))
    are_kept = print_bars(runs, arguments.alone)
    print(NOTES)
    return 0 if are_kept else 1


def measured(bench, subject, legs, seconds):
    """One program once, again if its timing cannot be judged; none where it cannot be measured."""
    for dropped in range(TRIES_MAX):
        try:
            with contextlib.ExitStack() as own:
                result = subject(bench, own, legs, seconds)
        except Skipped as why:
            print(f"skipped: {why}")
            return None
        if result["acceptable"]:
            break
    return result | {"dropped": dropped}


def summary(report, passages=1, mouth_to_ear=False):
    """One run's figures; times in ms, CPU in us per leg-frame."""
    cpu = report["cpu"][0]
    if cpu["us_per_leg_frame"] is None:
        raise Skipped("the program ended before the load did")
    deviation, markers, down = report["deviation"], report["markers"], report["downlink"]
    latency = markers["latency"] if markers["heard"] else {}
    packet_ms = 20 if mouth_to_ear else 0
    said = report["legs"] * report["window_s"] / programs.MARKERS_EVERY_S
    return {
        "cpu": cpu["us_per_leg_frame"] / passages,
        "tiles": programs.tiles_us(cpu),
        "p50": deviation["p50_us"] / 1e3,
        "p99": deviation["p99_us"] / 1e3,
        "p99_9": deviation["p99_9_us"] / 1e3,
        "latency_p50": latency["p50_us"] / 1e3 + packet_ms if latency else None,
        "latency_p99": latency["p99_us"] / 1e3 + packet_ms if latency else None,
        "heard": 100 * markers["heard"] / said,
        "missing": down["frames_missing"] + report["legs_unheard"],
        "doubled": down["frames_doubled"],
        "acceptable": report["acceptable"],
    }


def load(bench, own, to, legs, seconds, pid, hears):
    """Runs the load to its end."""
    options = {"seconds": f"{seconds:g}", "hears": hears, "cpu-of": pid}
    return programs.report_of(bench.load(own, to, legs, options))


def echo(bench, own, legs, seconds):
    """The control."""
    process, to = bench.echo(own)
    return summary(load(bench, own, to, legs, seconds, process.pid, "self"))


def gateway(bench, own, legs, seconds):
    """The gateway, its looping translator elsewhere."""
    _, url = bench.translator(own, programs.LOOP)
    process, to = bench.gateway(own, legs, {"link.url": url})
    report = load(bench, own, to, legs, seconds, process.pid, "partner")
    return summary(report, mouth_to_ear=True)


def gateway_alone(bench, own, legs, seconds):
    """The gateway without a translator."""
    url = f"ws://{LOCALHOST}:{DISCARD_PORT}/translate"
    process, to = bench.gateway(own, legs, {"link.url": url})
    return summary(load(bench, own, to, legs, seconds, process.pid, "partner"))


def rtpengine_call(path, far_codec):
    """How to measure rtpengine with this codec on the far side."""

    def subject(bench, own, legs, seconds):
        _, (far,) = bench.echo(own, 1)
        (control_port,) = programs.free_ports(1, socket.SOCK_DGRAM)
        options = {
            "config-file": "none",
            "table": "-1",  # never the kernel's module
            "interface": LOCALHOST,
            "listen-ng": f"{LOCALHOST}:{control_port}",
            "port-min": RTPENGINE_PORTS[0],
            "port-max": RTPENGINE_PORTS[1],
            "endpoint-learning": "immediate",
            "log-level": "4",
        }
        if bench.fifo:
            options |= {"scheduling": "fifo", "priority": PRIORITY_UNDER_TEST}
        command = [path, "--foreground", "--log-stderr"]
        command += [f"--{name}={value}" for name, value in options.items()]
        process, said = bench.start(own, command)
        control = ng.Control((LOCALHOST, control_port))
        own.callback(control.close)
        wait_for_answer(control, process, said)
        host, port = far.split(":")
        try:
            calls = [f"call-{number}" for number in range(legs // 2)]
            ports = [control.call(name, (host, int(port)), far_codec) for name in calls]
        except (OSError, ValueError) as error:
            raise Skipped(f"rtpengine: no call can be set up: {error}") from error
        to = [f"{LOCALHOST}:{port}" for port in ports]
        report = load(bench, own, to, len(to), seconds, process.pid, "self")
        return summary(report, passages=2)

    return subject


def wait_for_answer(control, process, said):
    """Waits until rtpengine answers on its control port."""

    def answers():
        with contextlib.suppress(OSError):
            return control.ask("ping")
        return None

    programs.wait_until(process, answers, "rtpengine", said)


def rtpengine():
    """Its program; installs Debian's package if need be, without service and kernel module."""
    if path := shutil.which("rtpengine"):
        return path
    if os.environ.get("DIGLOT_SETUP") == "skip":
        raise Skipped("not installed, and DIGLOT_SETUP=skip forbids to")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Skipped("not installed; as root: apt-get install rtpengine-daemon")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", "rtpengine-daemon"]
    if subprocess.run(install, env=environment, **quiet).returncode:
        subprocess.run(["apt-get", "update"], **quiet)
        if subprocess.run(install, env=environment, **quiet).returncode:
            raise Skipped("apt-get cannot install rtpengine-daemon")
    if Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "disable", "--now", "rtpengine-daemon"], **quiet)
    return shutil.which("rtpengine") or "/usr/bin/rtpengine"


def row(runs, legs, name):
    """One program's medians: of timing, over the acceptable runs where there are any."""
    rounds = [each for each in runs[legs, name] if each]
    if not rounds:
        return [legs, name, *["-"] * (len(HEADINGS) - 2)]
    timed = [each for each in rounds if each["acceptable"]] or rounds
    pairs = in_same_round(runs, legs, name)
    cells = [
        legs,
        name,
        middle(rounds, "cpu"),
        shown(median([one["cpu"] / control["cpu"] for one, control in pairs])),
        middle(rounds, "tiles"),
    ]
    cells += [middle(timed, key) for key in ("p50", "p99", "p99_9")]
    cells.append(shown(median(above(pairs))))
    cells += [middle(timed, key) for key in ("latency_p50", "latency_p99")]
    cells.append(f"{median([each['heard'] for each in rounds]):.0f}")
    cells += [sum(each[key] for each in rounds) for key in ("missing", "doubled")]
    good, dropped = (sum(each[key] for each in rounds) for key in ("acceptable", "dropped"))
    return [*cells, f"{good} of {len(rounds)}, {dropped}"]


def in_same_round(runs, legs, name):
    """The runs of a program, each with the echo's of the same round."""
    rounds = zip(runs.get((legs, name), []), runs.get((legs, "echo"), []))
    return [(one, control) for one, control in rounds if one and control]


def above(pairs):
    """How far deviation p99.9 was above the echo's; acceptable runs only, if there are any."""
    good = [pair for pair in pairs if all(each["acceptable"] for each in pair)]
    return [one["p99_9"] - control["p99_9"] for one, control in good or pairs]


def middle(rounds, key):
    """The median of one figure, as text."""
    return shown(median([each[key] for each in rounds if each[key] is not None]))


def median(values):
    """None of nothing."""
    return statistics.median(values) if values else None


def shown(value):
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def print_curve(runs, counts):
    """CPU of the gateway over legs: all of it, and what each further leg adds."""
    points = []
    for count in counts:
        rounds = [each for each in runs[count, "gateway"] if each]
        if rounds:
            cpu, missing = median([each["cpu"] for each in rounds]), sum(
                each["missing"] for each in rounds
            )
            points.append((count, cpu, missing))
    if len(points) < 2:
        return
    print("\nThe gateway's CPU over legs (linear growth: each further leg adds the same)")
    rows, before = [], None
    most = max(count * cpu for count, cpu, _ in points)
    for count, cpu, missing in points:
        per_tick_us = count * cpu
        added = (per_tick_us - before[1]) / (count - before[0]) if before else None
        percent = per_tick_us * programs.FRAMES_PER_S / 1e4
        bar = "#" * max(1, round(50 * per_tick_us / most))
        rows.append([count, shown(cpu), shown(added), f"{percent:.1f}", missing, bar])
        before = (count, per_tick_us)
    headings = ("legs", "us per leg-frame", "us per further leg", "% of a core", "missing", "")
    programs.print_table(headings, rows)


def print_bars(runs, alone):
    """What was to be reached, and what was; says whether no bar was missed."""
    rows = []

    def bar(what, value, limit, unit):
        verdict = "not measured" if value is None else "pass" if value <= limit else "MISS"
        rows.append([what, f"{shown(value)} {unit}", f"{limit:g} {unit}", verdict])

    def gateway_runs(legs, name="gateway"):
        return [each for each in runs.get((legs, name), []) if each]

    def whole(legs, name):
        rounds = gateway_runs(legs, name)
        return sum(each["missing"] + each["doubled"] for each in rounds) if rounds else None

    at = LEGS_OF_BARS
    speaking = [each for each in gateway_runs(at) if each["heard"] >= HEARD_PERCENT_MIN]
    if len(speaking) < len(gateway_runs(at)):
        print(
            f"\nIn {len(gateway_runs(at)) - len(speaking)} of {len(gateway_runs(at))} rounds with "
            f"{at} legs less than {HEARD_PERCENT_MIN} % of what was said came: not judged"
        )
    pairs = [pair for pair in in_same_round(runs, at, "gateway") if pair[0] in speaking]
    tiles = [one["tiles"] / control["cpu"] for one, control in pairs if one["tiles"] is not None]
    bar(f"tiles' CPU against the echo's, {at} legs", median(tiles), TILES_ECHO_MAX, "x")
    ratio = [one["cpu"] / control["cpu"] for one, control in pairs]
    bar(f"whole gateway's CPU against the echo's, {at} legs", median(ratio), GATEWAY_ECHO_MAX, "x")
    for name, key in (("rtpengine PCMU relay", "tiles"), ("rtpengine PCMU-PCMA", "cpu")):
        both = zip(runs.get((at, "gateway"), []), runs.get((at, name), []))
        values = [one[key] / other["cpu"] for one, other in both if one in speaking and other]
        who = "tiles'" if key == "tiles" else "whole gateway's"
        bar(f"{who} CPU against {name}, {at} legs", median(values), 1.0, "x")
    for legs, limit in DEVIATION_ABOVE_MS_MAX:
        values = above(in_same_round(runs, legs, "gateway"))
        bar(f"deviation p99.9 above the echo's, {legs} legs", median(values), limit, "ms")
    ears = [each["latency_p99"] for each in gateway_runs(at) if each["latency_p99"] is not None]
    heard = median([each["heard"] for each in gateway_runs(at)])
    unheard = None if heard is None else 100 - heard
    bar(f"speech that did not come, {at} legs", unheard, 100 - HEARD_PERCENT_MIN, "%")
    bar(f"mouth to ear p99, {at} legs", median(ears), MOUTH_TO_EAR_MS_MAX, "ms")
    frames = "frames missing or doubled"
    bar(f"{frames}, {at} legs with a looping translator", whole(at, "gateway"), 0, "frames")
    if alone:
        bar(f"{frames}, {alone} legs, gateway alone", whole(alone, "gateway alone"), 0, "frames")
    print("\nThe bars")
    programs.print_table(("what", "reached", "at most", ""), rows)
    return all(verdict != "MISS" for *_, verdict in rows)


if __name__ == "__main__":
    main()
