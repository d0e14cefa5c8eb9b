#!/usr/bin/env python3
"""A scripted SIP phone: one call, WAV files in, what it heard out as WAV, and a report in JSON.

    phone.py --to 7777 --wav hello-8k.wav --play-at 0.5 --record heard.wav --seconds 8
    phone.py --to 7777 --play 0.5:one.wav --play 4:two.wav --ending remote --report report.json
    phone.py --to 7777 --cancel-after 0.05

stdout has one line per event, for a test that waits: `ringing S`, `answered S`, `ended S` with S in
seconds since the call was placed; after them the report, unless --report names a file for it.
stdin takes one command per line: `hangup` ends the call at once, `play FILE` says a file now.
Its end does not matter. SIGINT and SIGTERM hang up too.

Exit status 0: the call went as planned. 1: it did not; the report's "failure" says why. 2: usage.
Standard library only; one thread; no authentication; loopback and lab use.
"""

import sys

sys.dont_write_bytecode = True

import argparse
import json
import os
import random
import select
import signal
import socket
import struct
import time
import wave

from rtp_audio import FRAME_MS, GAP_MS_NOTED, RTP_HEADER, Codec, Playlist, Recorder, Statistics
from rtp_audio import write_wav
from sip_dialog import SipCall

DATAGRAM_BYTES_MAX = 4096
# Linux: kernel arrival time with each datagram, a struct timespec (socket(7)).
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("@ll")
ANCILLARY_BYTES = socket.CMSG_SPACE(TIMESPEC.size)
# At most this many datagrams are read from one socket before the clock is looked at again.
DATAGRAMS_PER_TURN_MAX = 16
TELEPHONE_EVENT_PAYLOAD_TYPE = 101
# RFC 4733: an event of 160 ms, its last packet sent three times.
EVENT_FRAMES = 8
EVENT_END_PACKETS = 3
EVENT_VOLUME = 10
EVENT_DIGITS = "0123456789*#ABCD"
MARKER = 0x80


def arrival(ancillary: list) -> float:
    """When the kernel took the datagram, on the monotonic clock; now, if it does not say.

    A busy machine may let this process wait; what it measures is the sender's punctuality.
    """
    now = time.monotonic()
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = TIMESPEC.unpack(data)
            waited = time.time() - (seconds + nanoseconds / 1e9)
            return now - max(0.0, waited)
    return now


def rtp_socket_pair(ip: str) -> tuple[socket.socket, socket.socket]:
    """RTP on an even port and RTCP on the next (RFC 3550 §11)."""
    while True:
        pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        try:
            pair[0].bind((ip, 0))
            port = pair[0].getsockname()[1]
            if port % 2 == 0:
                pair[1].bind((ip, port + 1))
                for each in pair:
                    each.setblocking(False)
                pair[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                return pair[0], pair[1]
        except OSError:
            pass
        for each in pair:
            each.close()


class Sender:
    """The outgoing stream: one frame per tick, or a digit, or nothing while silent."""

    def __init__(self, codec: Codec, playlist: Playlist, digits: list[tuple[float, str]]):
        self._codec = codec
        self._playlist = playlist
        self._digits = sorted(digits)
        self._event: list[int] | None = None  # [event, packets sent, timestamp at its start]
        self._sequence = random.getrandbits(15)
        self._timestamp = random.getrandbits(31)
        self._ssrc = random.getrandbits(32)
        self._marker = MARKER
        self.packets = 0

    def packet(self, index: int, is_silent: bool) -> bytes | None:
        """The packet for this frame of the call; to be asked for each frame once, in order."""
        at_s = index * FRAME_MS / 1000
        if self._event is None and self._digits and self._digits[0][0] <= at_s:
            digit = self._digits.pop(0)[1]
            self._event = [EVENT_DIGITS.index(digit), 0, self._timestamp]
        payload = self._playlist.frame(index)
        packet = None
        if self._event:
            packet = self._event_packet(self._event)
        elif is_silent:
            self._marker = MARKER  # the next talkspurt begins with it (RFC 3551 §4.1)
        else:
            packet = self._header(self._codec.payload_type | self._marker, self._timestamp)
            packet += payload
            self._marker = 0
        self._timestamp = self._timestamp + self._codec.frame_samples & 0xFFFF_FFFF
        return packet

    def _event_packet(self, event: list[int]) -> bytes:
        event[1] += 1
        is_end = event[1] >= EVENT_FRAMES
        duration = min(event[1], EVENT_FRAMES) * self._codec.frame_samples
        marker = MARKER if event[1] == 1 else 0
        head = self._header(TELEPHONE_EVENT_PAYLOAD_TYPE | marker, event[2])
        if event[1] == EVENT_FRAMES + EVENT_END_PACKETS - 1:
            self._event = None
        flags = (0x80 if is_end else 0) | EVENT_VOLUME
        return head + bytes([event[0], flags]) + duration.to_bytes(2, "big")

    def _header(self, marker_and_type: int, timestamp: int) -> bytes:
        sequence = self._sequence
        self._sequence = self._sequence + 1 & 0xFFFF
        self.packets += 1
        return RTP_HEADER.pack(0x80, marker_and_type, sequence, timestamp, self._ssrc)


class Phone:
    """Drives one call through its script, in one loop over all sockets and the 20 ms clock."""

    def __init__(self, script: argparse.Namespace):
        self._script = script
        self._codec = Codec.named(script.codec)
        self._playlist = Playlist(self._codec)
        for at_s, path in script.play:
            self._playlist.add(round(at_s * 1000 / FRAME_MS), path)
        self._sender = Sender(self._codec, self._playlist, script.dtmf)
        self._recorder = Recorder(self._codec)
        self._statistics = Statistics(self._codec)
        self._rtp, self._rtcp = rtp_socket_pair(script.ip)
        media = {
            "rtp_port": self._rtp.getsockname()[1],
            "payload_type": self._codec.payload_type,
            "rtpmap": self._codec.rtpmap,
        }
        self._sip = SipCall(script.server, script.to, script.user, script.ip, media)
        self._sources = [self._sip.socket, self._rtp, self._rtcp, 0]
        self._typed = b""
        self._started = 0.0
        self._frame = 0
        self._held = False
        self._failure: str | None = None
        self._rtcp_packets = 0
        self._late_s_max = 0.0
        self._announced: set[str] = set()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: self._sip.hang_up(time.monotonic()))

    def run(self) -> int:
        """Makes the call; returns the exit status."""
        self._started = time.monotonic()
        started_unix = time.time()
        self._sip.invite(self._started)
        while not self._sip.is_over:
            self._turn()
        self._announce()
        self._judge()
        self._write_results(started_unix)
        return 1 if self._failure else 0

    # --- one turn of the loop ---

    def _turn(self) -> None:
        now = time.monotonic()
        wait = FRAME_MS / 1000
        if self._sip.is_answered:
            wait = max(0.0, self._deadline() - now)
        ready, _, _ = select.select(self._sources, [], [], wait)
        for source in self._sources[:]:  # in this order: an answer before the media it announces
            if source in ready:
                self._read(source)
        now = time.monotonic()
        self._sip.on_timer(now)
        self._announce()
        if not self._sip.is_answered:
            self._while_unanswered(now)
        elif now >= self._deadline():
            self._tick(now)

    def _deadline(self) -> float:
        return self._recorder.zero + self._frame * FRAME_MS / 1000

    def _read(self, source) -> None:
        if source == 0:
            self._read_commands()
            return
        for _ in range(DATAGRAMS_PER_TURN_MAX):
            try:
                datagram, ancillary, _, _ = source.recvmsg(DATAGRAM_BYTES_MAX, ANCILLARY_BYTES)
            except (BlockingIOError, ConnectionRefusedError):
                return
            now = arrival(ancillary)
            if source is self._sip.socket:
                self._sip.on_datagram(datagram, now)
                self._recorder.zero = self._sip.outcome.answered_at
            elif source is self._rtcp:
                self._rtcp_packets += 1
            else:
                self._on_rtp(datagram, now)

    def _on_rtp(self, datagram: bytes, now: float) -> None:
        offset = 12 + 4 * (datagram[0] & 0x0F) if datagram else 0
        if len(datagram) < max(offset, 12) or datagram[0] >> 6 != 2:
            self._statistics.counts["malformed"] += 1
            return
        _, marker_and_type, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(datagram)
        packet = {
            "payload_type": marker_and_type & ~MARKER,
            "marker": marker_and_type >= MARKER,
            "sequence": sequence,
            "timestamp": timestamp,
            "ssrc": ssrc,
            "payload": datagram[offset:],
        }
        self._statistics.receive(packet, now)
        if packet["payload_type"] == self._codec.payload_type:
            self._recorder.place(ssrc, timestamp, packet["payload"], now)

    def _read_commands(self) -> None:
        try:
            read = os.read(0, DATAGRAM_BYTES_MAX)
        except BlockingIOError:
            return
        if not read:
            self._sources.remove(0)
        *lines, self._typed = (self._typed + read).split(b"\n")
        for line in lines:
            command, _, argument = line.decode(errors="replace").strip().partition(" ")
            if command == "hangup":
                self._sip.hang_up(time.monotonic())
            elif command == "play":
                self._play_now(argument)
            elif command:
                self._failure = f"unknown command on stdin: {command}"

    def _play_now(self, path: str) -> None:
        try:
            self._playlist.add(self._frame, path)
        except (OSError, ValueError, EOFError, wave.Error) as error:
            self._failure = f"cannot play {path}: {error}"

    def _while_unanswered(self, now: float) -> None:
        waited = now - self._started
        if self._script.cancel_after is not None and waited >= self._script.cancel_after:
            self._sip.hang_up(now)
        elif waited >= self._script.answer_timeout:
            self._failure = "no answer in time"
            self._sip.hang_up(now)

    def _tick(self, now: float) -> None:
        self._late_s_max = max(self._late_s_max, now - self._deadline())
        at_s = self._frame * FRAME_MS / 1000
        if at_s >= self._script.seconds:
            self._sip.hang_up(now)
            self._frame += 1
            return
        is_held = within(at_s, self._script.hold)
        if is_held != self._held:
            self._held = is_held
            self._sip.set_direction("sendonly" if is_held else "sendrecv", now)
        is_silent = is_held or within(at_s, self._script.mute)
        packet = self._sender.packet(self._frame, is_silent)
        if packet and self._sip.remote_rtp:
            self._rtp.sendto(packet, self._sip.remote_rtp)
        self._frame += 1

    # --- what it tells ---

    def _announce(self) -> None:
        outcome = self._sip.outcome
        times = {"ringing": outcome.ringing_at, "answered": outcome.answered_at}
        times["ended"] = outcome.ended_at
        for event, at in times.items():
            if at is not None and event not in self._announced:
                self._announced.add(event)
                print(f"{event} {at - self._started:.4f}", flush=True)

    def _judge(self) -> None:
        outcome = self._sip.outcome
        if self._failure:
            return
        wanted = self._script.ending
        if self._script.cancel_after is None:
            if wanted != "refused" and outcome.answered_at is None:
                self._failure = f"not answered: {outcome.final_status or 'no reply'}"
            elif wanted not in ("any", outcome.ended_by):
                self._failure = f"ended by {outcome.ended_by}, not by {wanted}"
        elif outcome.ended_by != "us":
            self._failure = f"ended by {outcome.ended_by} before it was cancelled"

    def _write_results(self, started_unix: float) -> None:
        if self._script.record:
            write_wav(self._script.record, self._codec.sample_rate, self._recorder.samples)
        text = json.dumps(self._report(started_unix))
        if self._script.report:
            with open(self._script.report, "w", encoding="ascii") as file:
                file.write(text + "\n")
        else:
            print(text, flush=True)

    def _report(self, started_unix: float) -> dict:
        outcome, heard = self._sip.outcome, self._statistics

        def since_start(at: float | None) -> float | None:
            return None if at is None else round(at - self._started, 4)

        silent_s = outcome.ended_at - heard.last_arrival if heard.last_arrival else None
        return {
            "to": self._script.to,
            "codec": self._script.codec,
            "went_as_planned": self._failure is None,
            "failure": self._failure,
            "call_started_unix_s": round(started_unix, 4),
            "ringing_after_s": since_start(outcome.ringing_at),
            "answered": outcome.answered_at is not None,
            "answered_after_s": since_start(outcome.answered_at),
            "ended_after_s": since_start(outcome.ended_at),
            "ended_by": outcome.ended_by,
            "final_status": outcome.final_status,
            "remote_reason": outcome.remote_reason,
            "tx_packets": self._sender.packets,
            "tx_late_ms_max": round(self._late_s_max * 1000, 1),
            "rx_packets": heard.packets,
            "rx_by_payload_type": heard.by_payload_type,
            "rx_by_payload_bytes": heard.by_size,
            "rx_first_after_s": since_start(heard.first_arrival),
            "rx_ended_ms_before_end": None if silent_s is None else round(silent_s * 1000, 1),
            "rx_gap_ms_max": round(heard.gap_s_max * 1000, 1),
            f"rx_gaps_over_{GAP_MS_NOTED}_ms": heard.gaps_noted,
            **{f"rx_{name}": count for name, count in heard.counts.items()},
            "rx_ssrcs": [f"{ssrc:08x}" for ssrc in heard.ssrcs],
            "rx_rtcp_packets": self._rtcp_packets,
            "record_zero_after_s": since_start(self._recorder.zero),
            "record_s": round(len(self._recorder.samples) / self._codec.sample_rate, 3),
            "record_placements": self._recorder.anchors,
            "speech_s": self._recorder.speech(),
            "sip": [[since_start(at), *rest] for at, *rest in outcome.log],
        }


def within(at_s: float, span: tuple[float, float] | None) -> bool:
    """Whether the time is inside the span; never inside none."""
    return span is not None and span[0] <= at_s < span[1]


def parse_arguments() -> argparse.Namespace:
    """The script of the call."""

    def address(text: str) -> tuple[str, int]:
        host, port = text.rsplit(":", 1)
        return host, int(port)

    def timed(text: str) -> tuple[float, str]:
        at_s, what = text.split(":", 1)
        return float(at_s), what

    def digits(text: str) -> list[tuple[float, str]]:
        found = [timed(each) for each in text.split(",")]
        if any(len(digit) != 1 or digit not in EVENT_DIGITS for _, digit in found):
            raise ValueError
        return found

    def span(text: str) -> tuple[float, float]:
        begin, end = map(float, text.split("-"))
        return begin, end

    first_line = __doc__.split("\n", 1)[0]
    parser = argparse.ArgumentParser(description=first_line, allow_abbrev=False)
    option = parser.add_argument
    option("--server", type=address, default="127.0.0.1:5060", help="SIP server, host:port")
    option("--to", required=True, help="extension to call")
    option("--from", dest="user", default="tester", help="user part of our own address")
    option("--ip", default="127.0.0.1", help="our own address")
    option("--codec", choices=("pcmu", "pcma", "l16"), default="pcmu", help="l16 is 16 kHz")
    option("--play", type=timed, action="append", default=[], metavar="S:FILE",
           help="say a mono WAV file S seconds after the answer (repeatable)")
    option("--wav", help="the same as --play with the time of --play-at")
    option("--play-at", type=float, default=0.0, metavar="S")
    option("--record", metavar="FILE", help="WAV of what was heard; its zero is the answer")
    option("--report", metavar="FILE", help="where the JSON report goes (default: stdout)")
    option("--seconds", type=float, default=8.0, help="hang up so long after the answer")
    option("--ending", choices=("us", "remote", "refused", "any"), default="us",
           help="who is expected to end the call")
    option("--answer-timeout", type=float, default=10.0, metavar="S")
    option("--cancel-after", type=float, metavar="S", help="hang up S seconds after the INVITE")
    option("--hangup-before-answer", dest="cancel_after", action="store_const", const=0.0)
    option("--dtmf", type=digits, default=[], metavar="S:DIGIT,...", help="RFC 4733 events")
    option("--hold", type=span, metavar="S-S", help="hold (sendonly, no media) from - to")
    option("--mute", type=span, metavar="S-S", help="send nothing from - to")
    script = parser.parse_args()
    if script.wav:
        script.play.append((script.play_at, script.wav))
    if script.dtmf and script.codec == "l16":
        parser.error("--dtmf counts at 8 kHz and does not go with --codec l16")
    return script


def main() -> int:
    script = parse_arguments()
    if sys.stdin is None:  # closed by whoever started us: keep our sockets off descriptor 0
        os.open(os.devnull, os.O_RDONLY)
    try:
        phone = Phone(script)
    except (OSError, ValueError, EOFError, wave.Error) as error:
        print(f"phone: {error}", file=sys.stderr)
        return 2
    return phone.run()


if __name__ == "__main__":
    sys.exit(main())
