"""What all measurements start: Diglot's programs, the load, the echo, and circumstances in which
timing can be judged.

Every program ends with the stack it was started on, and with us however we end. Judges nothing.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LOCALHOST = "127.0.0.1"
FRAMES_PER_S = 50
EXTENSIONS = ("7777", "8888")
CODEC = "ulaw"
# Of load and echo: above what any program under test asks for (Diglot's tiles ask for 50).
PRIORITY = "60"
START_WAIT_S = 30
# Of the load: all legs begin within the first, and nothing counts before the second is over.
RAMP_S = 1.0
WARM_UP_S = 2.0
MARKERS_EVERY_S = 2  # what the load says by default
# Threads of a gateway that are tiles: rx and tx, with a number where there are several.
TILE = re.compile(r"^[rt]x\d?$")
# Below the range from which the kernel gives ports to sockets that want any.
LEG_PORTS = range(20_000, 30_000)
LOOP = {"translator.engine": "loop"}
# Keys that no vendor would take: what they are shown to does not answer.
VENDOR_KEYS = {
    name: "none-of-anyone" for name in ("DEEPGRAM_API_KEY", "DEEPL_API_KEY", "ELEVENLABS_API_KEY")
}
PIPE_BYTES_MIN = 4_096


class Skipped(Exception):
    """Something cannot be measured here; the text says why."""


def parser(document):
    """A command line with what all measurements are asked for."""
    made = argparse.ArgumentParser(description=document.split("\n\n", maxsplit=1)[0])
    target = Path(__file__).resolve().parents[2] / "target" / "release"
    made.add_argument("--bin", type=Path, default=target, help="where our programs are")
    return made


def run(measure):
    """Calls measure(stack) and ends what it started, also when we are asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Shells let programs in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    try:
        with contextlib.ExitStack() as stack:
            return measure(stack)
    except KeyboardInterrupt:
        return "interrupted"


class Bench:
    """Where programs are, how they are scheduled, and what is written on the way."""

    def __init__(self, folder_of_programs, stack):
        self.bin = folder_of_programs
        for name in ("diglot", "rtp-blaster"):
            if not (self.bin / name).exists():
                sys.exit(f"{self.bin / name} is not built; the make target builds it")
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        allowed = shutil.which("chrt") and not subprocess.run(
            ["chrt", "-f", PRIORITY, "true"], stderr=subprocess.DEVNULL, check=False
        ).returncode
        self.fifo = ["chrt", "-f", PRIORITY] if allowed else []
        if not allowed:
            print("degraded: nothing is SCHED_FIFO and no CPU is kept awake; judge no timing")
            return
        # A halted virtual CPU wakes late, by milliseconds. A loop that runs only when nothing else
        # wants the CPU keeps it from being halted and is charged to nobody.
        for cpu in sorted(os.sched_getaffinity(0)):
            loop = ["taskset", "-c", cpu, "chrt", "-i", "0", "sh", "-c", "while :; do :; done"]
            started(stack, loop)

    def file(self, ending):
        """A file of ours that does not exist yet."""
        return self.folder / f"{len(list(self.folder.iterdir()))}{ending}"

    def start(self, own, command, output=None, environment=None):
        """Starts a program; returns it and the file with what it says, if nobody else has it."""
        if output is not None:
            return started(own, command, output, environment), None
        said = self.file(".log")
        with said.open("wb") as file:
            return started(own, command, file, environment), said

    def echo(self, own, ports=2):
        """The control, and its addresses."""
        listen = ["--listen", f"{LOCALHOST}:0"] * ports
        process, said = self.start(own, [*self.fifo, self.bin / "rtp-blaster", "echo", *listen])
        return process, wait_for(said, process, r"listening on (.*)")[0].split()

    def translator(self, own, settings, port=0, output=None):
        """A translator of its own process, and the URL that gateways dial."""
        port = port or free_ports(1, socket.SOCK_STREAM)[0]
        settings = {"translator.listen": f"{LOCALHOST}:{port}", **settings}
        process, _ = self.diglot(own, "translator", settings, output)
        wait_until(process, lambda: is_listening(port), f"translator on port {port}")
        return process, f"ws://{LOCALHOST}:{port}/translate"

    def gateway(self, own, legs, settings, output=None, ports=None):
        """A gateway and its RTP addresses, one for each extension."""
        ports = ports or free_ports(len(EXTENSIONS), socket.SOCK_DGRAM)
        settings = {"asterisk.control": "none", "realtime.legs_max": legs, **settings}
        for extension, port in zip(EXTENSIONS, ports):
            settings[f"extension.{extension}.listen"] = f"{LOCALHOST}:{port}"
            settings[f"extension.{extension}.uplink"] = CODEC
            settings[f"extension.{extension}.downlink"] = CODEC
        process, _ = self.diglot(own, "gateway", settings, output)
        wait_until(process, lambda: all(map(is_bound, ports)), f"gateway on ports {ports}")
        return process, [f"{LOCALHOST}:{port}" for port in ports]

    def diglot(self, own, role, settings, output=None):
        """One of the product's programs; nothing of our own environment configures it."""
        command = [self.bin / "diglot", role]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        environment = {"PATH": os.environ.get("PATH", ""), **VENDOR_KEYS}
        return self.start(own, command, output, environment)

    def load(self, own, to, legs, options):
        """Starts the load; returns it and where it will write its report."""
        report = self.file(".json")
        report.touch()
        command = [*self.fifo, self.bin / "rtp-blaster", "load", "--json", report]
        command += [word for address in to for word in ("--to", address)]
        options = {"legs": legs, "ramp": RAMP_S, "warm-up": WARM_UP_S, **options}
        for name, value in options.items():
            for each in value if isinstance(value, list) else [value]:
                command += [f"--{name}", each]
        return started(own, command), report


def started(stack, command, output=subprocess.DEVNULL, environment=None):
    """Starts a program that ends with the stack; its output goes to a file, or nowhere."""
    ends_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    process = subprocess.Popen(
        [str(word) for word in [*ends_with_us, *command]],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if output != subprocess.DEVNULL else None,
        env=environment,
    )
    stack.callback(end, process)
    return process


def end(process):
    """Ends one of our processes."""
    process.kill()
    process.wait()


def report_of(load):
    """Waits for a load's end; returns its report."""
    process, report = load
    if process.wait() != 0:
        raise Skipped(f"the load failed with exit status {process.returncode}")
    return json.loads(report.read_text())


def wait_for(said, process, pattern, count=1):
    """Waits until a program has said what is looked for, so many times."""
    found = []

    def is_said():
        found[:] = re.findall(pattern, said.read_text(errors="replace"))
        return len(found) >= count

    wait_until(process, is_said, pattern, said)
    return found


def wait_until(process, is_done, what, said=None):
    """Waits until a program has come so far."""
    deadline = time.monotonic() + START_WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if is_done():
            return
        time.sleep(0.02)
    why = said.read_text(errors="replace")[-500:] if said else f"status {process.poll()}"
    raise Skipped(f"it did not start ({what}): {why}")


def free_ports(count, kind):
    """Ports that nobody has at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
        for each in sockets:
            each.bind((LOCALHOST, 0))
        return [each.getsockname()[1] for each in sockets]


def free_leg_ports(count):
    """The first of so many free UDP ports in a row."""
    for first in range(LEG_PORTS.start, LEG_PORTS.stop - count, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    stack.enter_context(each).bind((LOCALHOST, port))
            except OSError:
                continue
            return first
    raise Skipped(f"there are no {count} free ports in a row")


def is_bound(port):
    """Whether somebody has this UDP port."""
    return any(f":{port:04X} " in line.split(" rem")[0] for line in _sockets("udp", port))


def is_listening(port):
    """Whether somebody takes TCP connections on this port; 0A is LISTEN."""
    return any(line.split()[3] == "0A" for line in _sockets("tcp", port))


def _sockets(protocol, port):
    lines = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[1].endswith(f":{port:04X}")]


def full_pipe(stack):
    """The writing end of a pipe that nobody reads and that has no room left."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES_MIN)
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"\n")
    os.set_blocking(writing, True)
    return stack.enter_context(os.fdopen(writing, "wb", buffering=0))


def mute_server(stack):
    """A server that takes every connection, reads nothing and never answers; its port."""
    listener = socket.create_server((LOCALHOST, 0), backlog=1_024)
    taken = []

    def take():
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    stack.callback(lambda: [each.close() for each in [listener, *taken]])
    return listener.getsockname()[1]


def stalled_vendors(port, legs):
    """Settings of a translator whose vendors all take requests and never answer."""
    return {
        "translator.engine": "vendors",
        "translator.recognizers_max": legs,
        "deepgram.url": f"ws://{LOCALHOST}:{port}",
        "deepl.url": f"http://{LOCALHOST}:{port}",
        "elevenlabs.url": f"http://{LOCALHOST}:{port}",
        "elevenlabs.voices.en": "nobody",
        "elevenlabs.voices.fr": "nobody",
    }


def tiles_us(cpu):
    """CPU time of a gateway's tiles per leg-frame; none if it has no such threads."""
    tiles = [thread for thread in cpu["threads"] if TILE.match(thread["name"])]
    return sum(thread["us_per_leg_frame"] for thread in tiles) if tiles else None


def print_table(headings, rows):
    """Rows of text, each column as wide as it must be."""
    rows = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
