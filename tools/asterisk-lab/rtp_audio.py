"""The phone's audio: G.711 and linear codecs, WAV files, and what is learnt from received RTP.

Independent of the product's own codecs on purpose: a tester must not share what it tests.
"""

import array
import struct
import sys
import wave
from dataclasses import dataclass
from typing import Callable

FRAME_MS = 20
# A call longer than this is recorded up to here only.
RECORDING_S_MAX = 600
# A timestamp this far from the arrival time begins a new placement (a restart, not jitter).
PLACEMENT_SLACK_S = 1.0
# How many different SSRCs, payload types and sizes are told apart.
DISTINCT_MAX = 32
GAP_MS_NOTED = 40
RTP_HEADER = struct.Struct(">BBHII")
SPEECH_RMS = 200
SPEECH_PAUSE_FRAMES = 15


def ulaw_encode(sample: int) -> int:
    """ITU-T G.711 table 2a/2b for a 16-bit sample."""
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    code = (0x80 if sample < 0 else 0) | exponent << 4 | magnitude >> exponent + 3 & 0x0F
    return ~code & 0xFF


def ulaw_decode(code: int) -> int:
    """ITU-T G.711 table 2a/2b, scaled to 16 bits."""
    code = ~code & 0xFF
    magnitude = ((code & 0x0F) << 3) + 132 << (code >> 4 & 7)
    return 132 - magnitude if code & 0x80 else magnitude - 132


def alaw_encode(sample: int) -> int:
    """ITU-T G.711 table 1a/1b for a 16-bit sample."""
    value = sample >> 3
    mask = 0xD5
    if value < 0:
        mask, value = 0x55, -value - 1
    segment = max(0, value.bit_length() - 5)
    return (segment << 4 | value >> max(segment, 1) & 0x0F) ^ mask


def alaw_decode(code: int) -> int:
    """ITU-T G.711 table 1a/1b, scaled to 16 bits."""
    code ^= 0x55
    segment = code >> 4 & 7
    magnitude = ((code & 0x0F) << 4) + (8 if segment == 0 else 264)
    magnitude <<= max(segment - 1, 0)
    return magnitude if code & 0x80 else -magnitude


def _big_endian(samples: array.array) -> array.array:
    swapped = array.array("h", samples)
    if sys.byteorder == "little":
        swapped.byteswap()
    return swapped


def _companding(encode: Callable[[int], int], decode: Callable[[int], int]):
    """Table-driven encode and decode of whole frames."""
    codes = bytes(encode(sample - 32768) for sample in range(65536))
    samples = [decode(code) for code in range(256)]
    return (
        lambda frame: bytes([codes[sample + 32768] for sample in frame]),
        lambda payload: array.array("h", [samples[code] for code in payload]),
    )


@dataclass(frozen=True)
class Codec:
    """How one SDP format becomes samples and back."""

    payload_type: int
    rtpmap: str
    sample_rate: int
    encode: Callable[[array.array], bytes]
    decode: Callable[[bytes], array.array]

    @property
    def frame_samples(self) -> int:
        return self.sample_rate * FRAME_MS // 1000

    def samples_in(self, payload: bytes) -> int:
        """How many samples a payload holds: one byte each in G.711, two in linear."""
        return len(payload) if self.sample_rate == 8000 else len(payload) // 2

    @staticmethod
    def named(name: str) -> "Codec":
        """`pcmu` and `pcma` (8 kHz), or `l16` (16 kHz)."""
        if name == "pcmu":
            return Codec(0, "PCMU/8000", 8000, *_companding(ulaw_encode, ulaw_decode))
        if name == "pcma":
            return Codec(8, "PCMA/8000", 8000, *_companding(alaw_encode, alaw_decode))
        return Codec(
            118,
            "L16/16000",
            16000,
            lambda frame: _big_endian(frame).tobytes(),
            lambda payload: _big_endian(array.array("h", payload[: len(payload) & ~1])),
        )


def read_wav(path: str, sample_rate: int) -> array.array:
    """All samples of a mono 16-bit WAV file; ValueError when it is anything else."""
    with wave.open(path, "rb") as file:
        shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if shape != (1, 2, sample_rate):
            raise ValueError(f"{path}: want 1 channel, 16 bits, {sample_rate} Hz; found {shape}")
        samples = array.array("h", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def write_wav(path: str, sample_rate: int, samples: array.array) -> None:
    """Writes a mono 16-bit WAV file."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        little = array.array("h", samples)
        if sys.byteorder == "big":
            little.byteswap()
        file.writeframes(little.tobytes())


class Playlist:
    """WAV files to be said at given frames; silence before, between and after."""

    def __init__(self, codec: Codec):
        self._codec = codec
        self._silence = codec.encode(array.array("h", bytes(2 * codec.frame_samples)))
        self._waiting: list[tuple[int, list[bytes]]] = []
        self._speaking: list[bytes] = []

    def add(self, at_frame: int, path: str) -> None:
        """Says the file from that frame on, or as soon as what comes before it has ended."""
        samples = read_wav(path, self._codec.sample_rate)
        size = self._codec.frame_samples
        samples.extend([0] * (-len(samples) % size))
        starts = range(0, len(samples), size)
        frames = [self._codec.encode(samples[at : at + size]) for at in starts]
        self._waiting.append((at_frame, frames))
        self._waiting.sort(key=lambda entry: entry[0])

    def frame(self, index: int) -> bytes:
        """The payload for this frame of the call; to be asked for each frame once, in order."""
        if not self._speaking and self._waiting and self._waiting[0][0] <= index:
            self._speaking = self._waiting.pop(0)[1][::-1]
        return self._speaking.pop() if self._speaking else self._silence


class Recorder:
    """Places received audio on a time line by RTP timestamp.

    The first packet of a stream (a new SSRC, or a timestamp that disagrees with its arrival by more
    than a second) is placed by arrival time; all others by their distance from it.
    """

    def __init__(self, codec: Codec):
        self._codec = codec
        self._anchor = None  # (ssrc, timestamp, sample position)
        self.zero: float | None = None  # when sample 0 was heard; nothing is kept before it is set
        self.samples = array.array("h")
        self.anchors = 0

    def place(self, ssrc: int, timestamp: int, payload: bytes, now: float) -> None:
        """Writes one packet's samples where they belong."""
        if self.zero is None:
            return
        rate = self._codec.sample_rate
        by_arrival = max(0, round((now - self.zero) * rate))
        position = None
        if self._anchor and self._anchor[0] == ssrc:
            step = (timestamp - self._anchor[1] + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
            position = self._anchor[2] + step
            if abs(position - by_arrival) > PLACEMENT_SLACK_S * rate:
                position = None
        if position is None:
            position = max(by_arrival, len(self.samples) if self._anchor else 0)
            self.anchors += 1
        self._anchor = (ssrc, timestamp, position)
        self._write(position, self._codec.decode(payload))

    def _write(self, position: int, heard: array.array) -> None:
        if position < 0 or position + len(heard) > RECORDING_S_MAX * self._codec.sample_rate:
            return
        if position > len(self.samples):
            self.samples.extend(array.array("h", bytes(2 * (position - len(self.samples)))))
        self.samples[position : position + len(heard)] = heard

    def speech(self) -> list[list[float]]:
        """[start, end] in seconds of each stretch that is louder than a quiet room."""
        size = self._codec.frame_samples
        found: list[list[int]] = []
        for index in range(len(self.samples) // size):
            frame = self.samples[index * size : (index + 1) * size]
            if sum(sample * sample for sample in frame) < SPEECH_RMS * SPEECH_RMS * size:
                continue
            if found and index - found[-1][1] <= SPEECH_PAUSE_FRAMES:
                found[-1][1] = index + 1
            else:
                found.append([index, index + 1])
        return [[round(edge * FRAME_MS / 1000, 2) for edge in stretch] for stretch in found]


class Statistics:
    """Counts of one received stream, in arrival order.

    Sequence numbers are judged over all packets of the stream; timestamps, gaps and sizes over its
    audio. A timestamp may jump where the marker announces a new talkspurt (RFC 3551 §4.1).
    """

    def __init__(self, codec: Codec):
        self._codec = codec
        self._last: dict | None = None  # the newest packet so far
        self.packets = 0  # of audio
        self.first_arrival: float | None = None
        self.last_arrival: float | None = None
        self.by_payload_type: dict[int, int] = {}
        self.by_size: dict[int, int] = {}
        self.ssrcs: list[int] = []
        names = "malformed lost duplicate reordered timestamp_errors markers ssrc_changes"
        self.counts = dict.fromkeys(names.split(), 0)
        self.gap_s_max = 0.0
        self.gaps_noted = 0

    def receive(self, packet: dict, now: float) -> None:
        """Counts one packet: payload_type, marker, sequence, timestamp, ssrc and payload."""
        self._count(self.by_payload_type, packet["payload_type"])
        if packet["ssrc"] not in self.ssrcs and len(self.ssrcs) < DISTINCT_MAX:
            self.ssrcs.append(packet["ssrc"])
        if packet["payload_type"] == self._codec.payload_type:
            self._receive_audio(packet, now)
        if self._last is None or self._follows(self._last, packet):
            self._last = packet

    def _receive_audio(self, packet: dict, now: float) -> None:
        self.packets += 1
        self.counts["markers"] += packet["marker"]
        self._count(self.by_size, len(packet["payload"]))
        if self.last_arrival is None:
            self.first_arrival = now
        else:
            self.gap_s_max = max(self.gap_s_max, now - self.last_arrival)
            self.gaps_noted += now - self.last_arrival > GAP_MS_NOTED / 1000
        self.last_arrival = now

    def _follows(self, last: dict, packet: dict) -> bool:
        """Judges one packet against the newest before it; False when it is older than that."""
        if packet["ssrc"] != last["ssrc"]:
            self.counts["ssrc_changes"] += 1
            return True
        step = (packet["sequence"] - last["sequence"] + 0x8000 & 0xFFFF) - 0x8000
        if step <= 0:
            self.counts["duplicate" if step == 0 else "reordered"] += 1
            self.counts["lost"] -= step < 0
            return False
        self.counts["lost"] += step - 1
        both_audio = packet["payload_type"] == last["payload_type"] == self._codec.payload_type
        if step == 1 and both_audio and not packet["marker"]:
            elapsed = packet["timestamp"] - last["timestamp"] & 0xFFFF_FFFF
            self.counts["timestamp_errors"] += elapsed != self._codec.samples_in(last["payload"])
        return True

    @staticmethod
    def _count(table: dict[int, int], key: int) -> None:
        if key in table or len(table) < DISTINCT_MAX:
            table[key] = table.get(key, 0) + 1
