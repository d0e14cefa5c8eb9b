#!/usr/bin/env python3
"""Makes g722.bin from the PyPI package G722, an implementation of ITU-T G.722 that is not ours.

    pip install G722==1.2.8 && ./make_g722.py > g722.bin

Three parts, little endian, each one stream through one encoder or decoder from rest:
samples (i16), their codes and more (u8), what all of these decode to (i16). In front of them:
how many codes the samples have, and how many there are (u32 each).
The samples are steps, silence, tones of every level, noise, a chirp and both rails.
"""
import array
import math
import struct
import sys

from G722 import G722

RATE = 16_000
BIT_RATE = 64_000


def noise(count, level, seed):
    """A linear congruential generator: the same everywhere."""
    state = seed
    out = []
    for _ in range(count):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        out.append(int((state / 2**30 - 1) * level))
    return out


samples = [0] * 320
for level in (30, 1000, 12_000, 32_767):
    for hertz in (200, 1000, 3300, 6100):
        samples += [round(level * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(800)]
    samples += noise(1600, level, level)
samples += [round(20_000 * math.sin(n * n * math.pi * 7900 / RATE / 16_000)) for n in range(16_000)]
samples += [32_767 if n // 40 % 2 else -32_768 for n in range(3200)]
samples += [0] * 3200 + [12_345] * 1600

codes = G722(RATE, BIT_RATE).encode(array.array("h", samples))
# What follows the encoder's own codes: bytes no encoder would send.
codes_to_decode = codes + bytes(n & 0xFF for n in noise(4000, 40_000, 7))
decoded = G722(RATE, BIT_RATE).decode(codes_to_decode)

out = sys.stdout.buffer
out.write(struct.pack("<II", len(codes), len(codes_to_decode)))
out.write(struct.pack(f"<{len(samples)}h", *samples))
out.write(codes_to_decode)
out.write(struct.pack(f"<{len(decoded)}h", *decoded))
