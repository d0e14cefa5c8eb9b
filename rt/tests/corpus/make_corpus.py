#!/usr/bin/env python3
"""Makes the seeds of the fuzz corpus beside this script: ./make_corpus.py

What a fuzzer finds later is added to the folders by hand, under the name of what it showed.
"""
import struct
from pathlib import Path

HERE = Path(__file__).parent


def seed(name, data):
    (HERE / name).write_bytes(data)


def rtp(payload_type, seq, timestamp, payload, first=0x80):
    return struct.pack(">BBHII", first, payload_type, seq & 0xFFFF, timestamp & 0xFFFF_FFFF, 7) + payload


def sent(packets):
    return b"".join(bytes([pause, len(packet)]) + packet for pause, packet in packets)


# As Asterisk 22 sends slin16, captured.
seed("rtp/slin16_captured", bytes.fromhex("807601e6000001407f7dd7c4c9cfc683c33bc045"))
seed("rtp/every_part", rtp(0, 1, 2, bytes(8) + bytes.fromhex("bede0001") + b"\t" * 4 + b"\1\2\3\0\2", 0xB2))
seed("rtp/extension_beyond_the_end", rtp(0, 1, 2, bytes.fromhex("bede0fff") + b"\0", 0x90))

KEY = [(5, 0x0A, n * 160) for n in range(1, 6)] + [(5, 0x8A, 960)] * 3
seed("others/key_with_three_ends", b"".join(struct.pack(">HBBH", 400, *event) for event in KEY))
seed("others/keys_that_overtake", b"".join(struct.pack(">HBBH", 65_535 * (n % 2), 1, 0x80, n) for n in range(8)))
seed("others/comfort_noise", bytes([60, 1, 2, 3]))

VOICE = [(20, rtp(0, n, n * 160, bytes([0x80 + n]) * 160)) for n in range(12)]
seed("uplink/ulaw_lost_doubled_swapped", bytes([4]) + sent([VOICE[n] for n in (0, 1, 1, 3, 2, 6, 5, 9, 8, 7, 11)]))
seed("uplink/g722_wraps", bytes([1]) + sent([(20, rtp(9, 65_533 + n, 2**32 - 300 + n * 160, bytes(160))) for n in range(8)]))
EVENTS = [(20, rtp(101, 2 + n, 160, struct.pack(">BBH", *event))) for n, event in enumerate(KEY)]
AFTER = [(20, rtp(0, 10 + n, 1280 + n * 160, bytes(160))) for n in range(3)]
seed("uplink/key_between_voice", bytes([4]) + sent(VOICE[:2] + EVENTS + AFTER))
seed("uplink/comfort_noise_then_voice", bytes([4]) + sent(VOICE[:2] + [(200, rtp(13, 2, 320, b"\x40"))] + [(250, rtp(0, 3, 3920, bytes(160)))]))

seed("playout/live_with_holes", bytes([0x61, 0x61, 0x61, 0x60, 0x60, 0x63, 0x61, 0x60, 0x61] * 40))
seed("playout/bursts_and_ends", bytes([0x2F, 0x20, 0x20, 0xAF, 0x00, 0x81, 0x25, 0x22, 0x20] * 20))
seed("playout/live_pauses", bytes([0x62, 0x61, 0x41, 0x41, 0x42] * 200))

seed("codecs/every_byte", bytes(range(256)))
seed("codecs/rails", bytes([0x80, 0x00, 0x7F, 0xFF, 0x00, 0xFF]) * 40)

# What, slot, choice, length: 0 adds, 1 removes, 2 and 3 receive the bytes that follow, 4 says.
seed("commands/legs_come_and_go", b"".join(bytes([what, slot, choice, 0]) for choice in range(10) for slot in range(5) for what in (0, 4, 4, 1)))
seed("commands/a_packet_after_the_end", b"".join([bytes([0, 1, 4, 0]), bytes([2, 1, 4, 172]) + VOICE[0][1], bytes([1, 1, 4, 0]), bytes([2, 1, 4, 172]) + VOICE[1][1], bytes([0, 1, 9, 0]), bytes([2, 1, 4, 172]) + VOICE[2][1]]))
seed("commands/more_speech_than_there_is_room", bytes([0, 0, 0, 0]) + bytes([4, 0, 64, 0, 9, 0, 65, 0, 14, 0, 194, 0]) * 60)

LOUD = struct.pack(">16h", *([32767] * 8 + [-32768] * 8))
RAMP = struct.pack(">16h", *range(-1600, 1600, 200))
seed("voice/loud_with_stalls_and_bursts", b"".join(bytes([ticks << 4, many]) + sound for ticks in (1, 3, 15) for many in (1, 2, 9, 15) for sound in (RAMP,)) + bytes([0x50, 9]) + LOUD)
seed("voice/ends_that_are_short", b"".join(bytes([0x51, many]) + LOUD[:length] + bytes(32 - length) for many in range(1, 8) for length in (2, 8, 30)))
