#!/usr/bin/env python3
"""Diglot beside others, in one go under the same load: a bare relay, and Debian's rtpengine in
userspace transcoding PCMU and PCMA. Prints medians of repeated runs; judges nothing.

Ends only what it started. rtpengine is installed where that can be done (Debian, root) and skipped,
with the reason, where not. See "How they are made comparable" at the end of what it prints.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ng

PRIORITY = "60"  # of load and relay, as in tools/rtp-blaster/control.sh
PRIORITY_UNDER_TEST = "50"  # Diglot's tiles ask for it, so rtpengine is given it
START_WAIT_S = 30
PORTS_PER_LOAD = 16  # what rtp-blaster load takes; rtpengine has a port for every leg
# Below Linux' range for sockets without a port of their choice; the control port is not in it.
RTPENGINE_PORTS = (10_000, 31_998)
LOCALHOST = "127.0.0.1"
FRAMES_PER_S = 50
NOTES = """
How they are made comparable
- CPU is user and system time of the program alone, per leg-frame: a packet in and one out.
- rtpengine: half the legs speak PCMU; the other half are an echo that returns its PCMA. So each
  packet passes it twice: its latency is that of two passages, its deviation that of their end.
  It has a port for every leg, so the load is several processes; percentiles are medians of theirs.
- Diglot: `diglot run` with the loop engine, u-law both ways: codec, resampling, WebSocket out and
  back, playout buffer, all in its one process. Latency has the playout buffer in it.
- relay and load are SCHED_FIFO where allowed; rtpengine's threads and Diglot's tiles too.
- Timing is of the runs that the load calls acceptable, of all (and then says little) where the
  last column begins with 0; CPU and missing frames are of all runs.
"""
HEADINGS = (
    ("program", 22),
    ("cpu us", 8),
    ("dev p50", 8),
    ("p99", 8),
    ("p99.9 ms", 9),
    ("lat p50", 8),
    ("p99 ms", 8),
    ("missing", 8),
    ("acceptable", 10),
)


class Skipped(Exception):
    """Something cannot be measured here; the text says why."""


def main():
    """Measures each program in turn, round after round, and prints the table."""
    arguments = parse()
    # What was started ends with us when we are asked to end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        bench = Bench(arguments, stack)
        programs = [("relay (echo)", relay)]
        try:
            programs.append(("rtpengine PCMU-PCMA", rtpengine_program()))
        except Skipped as why:
            print(f"skipped: rtpengine: {why}")
        programs.append(("diglot", diglot))
        rows = {name: [] for name, _ in programs}
        for turn in range(arguments.repeat):
            for name, measure in programs:
                print(f"{turn + 1}/{arguments.repeat} {name}", file=sys.stderr)
                try:
                    with contextlib.ExitStack() as own:
                        rows[name].append(measure(bench, own))
                except Skipped as why:
                    print(f"skipped: {name}: {why}")
    print(
        f"\n{arguments.legs} legs, {arguments.seconds:g} s each, "
        f"medians of {arguments.repeat}"
    )
    print("".join(f"{heading:<{width}}" for heading, width in HEADINGS).rstrip())
    for name, runs in rows.items():
        if runs:
            print_row(name, runs)
    print(NOTES)


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--legs", type=int, default=100, help="a multiple of 4 (100)")
    parser.add_argument("--seconds", type=float, default=10, help="of each run (10)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each program (5)")
    target = Path(__file__).resolve().parents[2] / "target" / "release"
    parser.add_argument("--bin", type=Path, default=target, help="where our programs are")
    arguments = parser.parse_args()
    if arguments.legs < 4 or arguments.legs % 4:
        parser.error("--legs: a multiple of 4, since legs are pairs and rtpengine has half")
    for name in ("diglot", "rtp-blaster"):
        if not (arguments.bin / name).exists():
            parser.error(f"{arguments.bin / name} is not built: run make bench-compare")
    return arguments


class Bench:
    """What all measurements share."""

    def __init__(self, arguments, stack):
        self.legs = arguments.legs
        self.seconds = arguments.seconds
        self.bin = arguments.bin
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        allowed = shutil.which("chrt") and not subprocess.run(
            ["chrt", "-f", PRIORITY, "true"], stderr=subprocess.DEVNULL, check=False
        ).returncode
        self.fifo = ["chrt", "-f", PRIORITY] if allowed else []
        if not allowed:
            print("degraded: nothing is SCHED_FIFO and no CPU is kept awake")
            return
        # A halted virtual CPU wakes late.
        for cpu in sorted(os.sched_getaffinity(0)):
            # Ends with us, however we end: it would be noticed by nobody.
            loop = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", cpu, "chrt", "-i", "0"]
            started(stack, [*loop, "sh", "-c", "while :; do :; done"])

    def relay(self, own, ports):
        """The echo: its process and its addresses."""
        listen = ["--listen", f"{LOCALHOST}:0"] * ports
        command = [*self.fifo, self.bin / "rtp-blaster", "relay", *listen]
        process, said = self.start(own, command)
        return process, wait_for(said, process, r"listening on (.*)")[0].split()

    def start(self, own, command):
        """Starts a program; returns it and the file with what it says."""
        said = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        with said.open("wb") as output:
            process = started(own, command, output)
        return process, said

    def load(self, to, legs, hears, cpu_of):
        """Runs the load, in as many processes as its ports need; returns their reports."""
        shares = [to]
        if len(to) > PORTS_PER_LOAD:
            shares = [to[at : at + PORTS_PER_LOAD] for at in range(0, len(to), PORTS_PER_LOAD)]
            if len(shares[-1]) == 1:  # a load has two legs at least
                shares[-1].insert(0, shares[-2].pop())
        with contextlib.ExitStack() as stack:
            runs = []
            for number, share in enumerate(shares):
                report = self.folder / f"load-{number}.json"
                command = [*self.fifo, self.bin / "rtp-blaster", "load", "--json", report]
                command += [word for address in share for word in ("--to", address)]
                command += ["--legs", str(legs if len(shares) == 1 else len(share))]
                command += ["--hears", hears, "--cpu-of", str(cpu_of)]
                command += ["--seconds", f"{self.seconds:g}"]
                runs.append((started(stack, command), report))
            for process, _ in runs:
                if process.wait() != 0:
                    raise Skipped(f"the load failed with exit status {process.returncode}")
            return [json.loads(report.read_text()) for _, report in runs]


def started(stack, command, output=subprocess.DEVNULL):
    """Starts a program that ends with the stack."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if output != subprocess.DEVNULL else None,
    )
    stack.callback(end, process)
    return process


def end(process):
    """Ends one of our processes."""
    process.kill()
    process.wait()


def wait_for(said, process, pattern, count=1):
    """Waits until a program has said what is looked for, so many times."""
    deadline = time.monotonic() + START_WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.findall(pattern, said.read_text(errors="replace"))
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise Skipped(f"it did not start: {said.read_text(errors='replace')[-500:]}")


def relay(bench, own):
    """The echo alone."""
    process, to = bench.relay(own, 2)
    return summary(bench.load(to, bench.legs, "self", process.pid), passages=1)


def diglot(bench, own):
    """Gateway and translator in one process, each leg's voice its own translation."""
    settings = {
        "asterisk.control": "none",
        "translator.listen": f"{LOCALHOST}:0",
        "translator.engine": "loop",
        "realtime.legs_max": bench.legs,
    }
    for extension in ("7777", "8888"):
        settings[f"extension.{extension}.listen"] = f"{LOCALHOST}:0"
        settings[f"extension.{extension}.uplink"] = "ulaw"
        settings[f"extension.{extension}.downlink"] = "ulaw"
    command = [bench.bin / "diglot", "run"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    process, said = bench.start(own, command)
    to = wait_for(said, process, r"; RTP on (\S+)", count=2)
    return summary(bench.load(to, bench.legs, "partner", process.pid), passages=1)


def rtpengine_program():
    """How to measure rtpengine; installs it if need be."""
    path = shutil.which("rtpengine") or install_rtpengine()

    def measure(bench, own):
        _, (echo,) = bench.relay(own, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((LOCALHOST, 0))
            control_port = probe.getsockname()[1]
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
        host, port = echo.split(":")
        try:
            ports = [
                control.transcoded_call(f"call-{number}", (host, int(port)))
                for number in range(bench.legs // 2)
            ]
        except (OSError, ValueError) as error:
            raise Skipped(f"no call can be set up: {error}") from error
        to = [f"{LOCALHOST}:{port}" for port in ports]
        return summary(bench.load(to, len(to), "self", process.pid), passages=2)

    return measure


def wait_for_answer(control, process, said):
    """Waits until rtpengine answers on its control port."""
    deadline = time.monotonic() + START_WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            control.ask("ping")
            return
        except OSError:
            time.sleep(0.05)
    raise Skipped(f"it did not start: {said.read_text(errors='replace')[-500:]}")


def install_rtpengine():
    """Debian's package, without its service and without its kernel module."""
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


def summary(reports, passages):
    """One run's figures; times in ms, CPU in us per leg-frame."""

    def middle(*keys):
        values = []
        for report in reports:
            for key in keys:
                report = report[key]
            values.append(report)
        return statistics.median(values) / 1e3

    leg_frames = sum(report["legs"] * report["window_s"] for report in reports) * FRAMES_PER_S
    # Each of the loads saw the whole program, over about the same window.
    spent = [report["cpu"][0]["cpu_s"] for report in reports]
    if None in spent:
        raise Skipped("the program ended before the load did")
    heard = [report for report in reports if report["markers"]["heard"]]
    latency = {}
    for name in ("p50_us", "p99_us"):
        values = [report["markers"]["latency"][name] / 1e3 for report in heard]
        latency[name] = statistics.median(values) if values else None
    return {
        "cpu": statistics.mean(spent) * 1e6 / leg_frames / passages,
        "p50": middle("deviation", "p50_us"),
        "p99": middle("deviation", "p99_us"),
        "p99_9": middle("deviation", "p99_9_us"),
        "latency_p50": latency["p50_us"],
        "latency_p99": latency["p99_us"],
        "missing": sum(report["downlink"]["frames_missing"] for report in reports),
        "acceptable": all(report["acceptable"] for report in reports),
    }


def print_row(name, runs):
    """One program's medians: of timing, over the acceptable runs where there are any."""
    timed = [run for run in runs if run["acceptable"]] or runs
    cells = [name]
    for key in ("cpu", "p50", "p99", "p99_9", "latency_p50", "latency_p99"):
        judged = runs if key == "cpu" else timed
        values = [run[key] for run in judged if run[key] is not None]
        cells.append(f"{statistics.median(values):.2f}" if values else "-")
    cells.append(f"{statistics.median(run['missing'] for run in runs):g}")
    cells.append(f"{sum(run['acceptable'] for run in runs)}/{len(runs)}")
    print("".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, HEADINGS)).rstrip())


if __name__ == "__main__":
    main()
