#!/usr/bin/env python3
"""Whatever fails around it, each caller gets a packet every 20 ms: hundreds of legs through gateway
and translator, first in peace, then with one fault after another. Bar: no frame missing or doubled.

Each fault strikes after a quarter of its time; what is stopped or killed comes back after half of
it. The gateway is stopped too, for half a second: a check that missing frames are seen. Exit status
1 if a bar was missed. Ends only what it started.
"""

import contextlib
import signal
import socket
import sys
import time

import fake_ari
import programs
from programs import Bench, Skipped

MALFORMED_PER_S = 1_000
SELF_TEST_S = 8
STOP_S = 0.5  # of the gateway, to see whether missing frames are seen
# More of the markers must not be heard when there is no translator for a quarter of the time.
HEARD_SHARE_MAX = 0.9
# Time for an Asterisk to set all calls up; a lab's took 20 ms each, in turn.
CALLS_WAIT_S = 60
HEADINGS = ("fault", "s", "missing", "legs mute", "by time stamp, clock", "doubled")
HEADINGS += ("longest gap", "dev p99.9", "markers", "timing", "verdict")


def main():
    """Runs peace and all faults, prints a table."""
    parser = programs.parser(__doc__)
    parser.add_argument("--legs", type=int, default=500, help="an even number (500)")
    parser.add_argument("--seconds", type=float, default=60, help="of each fault (60)")
    parser.add_argument("--peace", type=float, default=600, help="seconds without one (600)")
    parser.add_argument("--only", help=f"some of: {','.join(FAULTS)}")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(FAULTS)
    unknown = set(names) - set(FAULTS)
    if unknown or arguments.legs % 2:
        parser.error(f"no such fault: {unknown}" if unknown else "legs come in pairs")
    sys.exit(programs.run(lambda stack: run(arguments, names, stack)))


def run(arguments, names, stack):
    """Returns the exit status."""
    bench = Bench(arguments.bin, stack)
    rows, is_good = [], True
    for name in names:
        seconds = {"peace": arguments.peace, "self-test": SELF_TEST_S}.get(name, arguments.seconds)
        print(f"{name}: {seconds:g} s", file=sys.stderr)
        try:
            with contextlib.ExitStack() as own:
                report = FAULTS[name](Trial(bench, own, arguments.legs, seconds))
        except Skipped as why:
            print(f"{name} could not be tried: {why}")
            rows.append([name, f"{seconds:g}", *["-"] * 8, "NOT TRIED"])
            is_good = False
            continue
        row, passed = judge(name, seconds, report)
        is_good &= passed
        rows.append(row)
    print(f"\n{arguments.legs} legs, u-law, gateway and translator in processes of their own")
    programs.print_table(HEADINGS, rows)
    print("Bar: 0 missing, 0 doubled. Timing is the machine's business where it says so.")
    return 0 if is_good else 1


def judge(name, seconds, report):
    """The row of one run, and whether it kept the bar."""
    down = report["downlink"]
    wrong = down["frames_missing"] + down["frames_doubled"] + report["legs_unheard"]
    passed = wrong == 0
    verdict = "pass" if passed else "MISS"
    if name == "self-test":
        # Every leg, but for the edges of a stop that is no whole number of frames.
        passed = down["frames_missing"] >= report["legs"] * (STOP_S * programs.FRAMES_PER_S - 2)
        verdict = "seen, as it must" if passed else "NOT SEEN"
    return [
        name,
        f"{seconds:g}",
        down["frames_missing"],
        report["legs_unheard"],
        f"{down['missing_by_timestamp']}, {down['missing_by_clock']}",
        down["frames_doubled"],
        f"{down['gap_ms_max']:.1f} ms",
        f"{report['deviation']['p99_9_us'] / 1e3:.2f} ms",
        report["markers"]["heard"],
        "good" if report["acceptable"] else "; ".join(report["not_acceptable_because"]),
        verdict,
    ], passed


class Trial:
    """One run under one fault."""

    def __init__(self, bench, own, legs, seconds):
        self.bench = bench
        self.own = own
        self.legs = legs
        self.seconds = seconds
        self.began = None

    def start(self, settings=None, output=None, translator_port=0):
        """Starts translator and gateway; returns both and the gateway's addresses."""
        translator, url = self.bench.translator(
            self.own, settings or programs.LOOP, translator_port, output
        )
        gateway, to = self.bench.gateway(self.own, self.legs, {"link.url": url}, output)
        return translator, gateway, to

    def load(self, to, **options):
        """Starts the load; its window opens in a moment, which wait() counts from."""
        options = {name.replace("_", "-"): value for name, value in options.items()}
        options = {"seconds": f"{self.seconds:g}", **options}
        load = self.bench.load(self.own, to, self.legs, options)
        self.began = time.monotonic() + programs.RAMP_S + programs.WARM_UP_S
        return load

    def wait(self, share, load):
        """Waits until this share of the window is over."""
        time.sleep(max(0.0, self.began + share * self.seconds - time.monotonic()))
        if load[0].poll() is not None:
            raise Skipped("the load ended before the fault struck")


def peace(trial):
    """Nothing fails."""
    *_, to = trial.start()
    return programs.report_of(trial.load(to))


def malformed(trial):
    """Packets that are no RTP from callers' addresses, and good ones from strangers'."""
    *_, to = trial.start()
    load = trial.load(to, malformed=MALFORMED_PER_S, spoofed=MALFORMED_PER_S)
    report = programs.report_of(load)
    if report["hostile"]["malformed"] < 0.9 * MALFORMED_PER_S * report["window_s"]:
        raise Skipped("fewer malformed packets were sent than asked for")
    return report


def translator_stopped(trial):
    """It does not move any more, with all its connections open; later it goes on."""
    translator, _, to = trial.start()
    load = trial.load(to)
    trial.wait(0.25, load)
    translator.send_signal(signal.SIGSTOP)
    trial.wait(0.5, load)
    translator.send_signal(signal.SIGCONT)
    return struck(trial, programs.report_of(load))


def translator_killed(trial):
    """It is gone; later another one listens on its port."""
    (port,) = programs.free_ports(1, socket.SOCK_STREAM)
    translator, _, to = trial.start(translator_port=port)
    load = trial.load(to)
    trial.wait(0.25, load)
    programs.end(translator)
    trial.wait(0.5, load)
    trial.bench.translator(trial.own, programs.LOOP, port)
    return struck(trial, programs.report_of(load))


def struck(trial, report):
    """The report, if the fault has left its trace: less was heard than said."""
    said = trial.legs * trial.seconds / programs.MARKERS_EVERY_S
    if report["markers"]["heard"] > HEARD_SHARE_MAX * said:
        raise Skipped("the fault had no effect: everything was translated")
    return report


def vendors_stalled(trial):
    """Vendors take every connection and never answer."""
    port = programs.mute_server(trial.own)
    *_, to = trial.start(programs.stalled_vendors(port, trial.legs))
    return struck(trial, programs.report_of(trial.load(to)))


def log_blocked(trial):
    """Nobody reads what both programs say, and the pipe is full; there is something to say."""
    *_, to = trial.start(output=programs.full_pipe(trial.own))
    return programs.report_of(trial.load(to, malformed=MALFORMED_PER_S))


def disk_full(trial):
    """What they say cannot be written: all they write is their log."""
    full = trial.own.enter_context(open("/dev/full", "wb", buffering=0))
    *_, to = trial.start(output=full)
    return programs.report_of(trial.load(to, malformed=MALFORMED_PER_S))


def ari_gone(trial):
    """Asterisk's REST interface and event socket vanish under calls that go on."""
    bench, own, legs = trial.bench, trial.own, trial.legs
    _, url = bench.translator(own, programs.LOOP)
    first = programs.free_leg_ports(legs)
    addresses = [f"{programs.LOCALHOST}:{port}" for port in rtp_ports()]
    legs_of = {to: range(first + at, first + legs, 2) for at, to in enumerate(addresses)}
    ari = fake_ari.FakeAri(legs_of)
    own.callback(ari.close)
    password = bench.file(".password")
    password.write_text("secret\n")
    password.chmod(0o600)
    asterisk = {"control": "ari", "url": ari.url, "password_file": password}
    settings = {f"asterisk.{key}": value for key, value in asterisk.items()}
    ports = [int(to.split(":")[1]) for to in addresses]
    bench.gateway(own, legs, {"link.url": url, **settings}, ports=ports)
    if not ari.wait_connected(programs.START_WAIT_S):
        raise Skipped("the gateway did not open its event socket")
    for number in range(legs):
        ari.call(number, programs.EXTENSIONS[number % 2])
    if not ari.wait_bridged(2 * legs, CALLS_WAIT_S):
        raise Skipped(f"only {len(ari.bridged)} of {2 * legs} channels came into bridges")
    load = trial.load(addresses, from_port=first, hears="anyone")
    trial.wait(0.25, load)
    ari.close()
    return programs.report_of(load)


def rtp_ports():
    """A port for each extension."""
    return programs.free_ports(len(programs.EXTENSIONS), socket.SOCK_DGRAM)


def self_test(trial):
    """The gateway itself stands still: frames must be missing, or this program sees nothing."""
    _, gateway, to = trial.start()
    load = trial.load(to)
    trial.wait(0.5, load)
    gateway.send_signal(signal.SIGSTOP)
    time.sleep(STOP_S)
    gateway.send_signal(signal.SIGCONT)
    return programs.report_of(load)


FAULTS = {
    "self-test": self_test,
    "peace": peace,
    "translator-stopped": translator_stopped,
    "translator-killed": translator_killed,
    "vendors-stalled": vendors_stalled,
    "log-blocked": log_blocked,
    "disk-full": disk_full,
    "ari-gone": ari_gone,
    "malformed": malformed,
}


if __name__ == "__main__":
    main()
