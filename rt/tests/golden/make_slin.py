#!/usr/bin/env python3
"""Makes slin.bin with sox, whose big-endian signed linear is not ours.

    ./make_slin.py > slin.bin

Two parts of the same length: samples as little-endian i16, made here; what sox makes of them when
asked for raw, signed, 16 bit, mono, big endian. The samples are both rails, every power of two with
its neighbours, and a linear congruential generator's.
"""
import struct
import subprocess
import sys

COMMON = ["-t", "raw", "-r", "16000", "-c", "1", "-e", "signed-integer", "-b", "16"]

samples = [-32768, 32767, 0, -1, 1]
for power in range(16):
    for near in (-1, 0, 1):
        samples += [s for s in (2**power + near, -(2**power) + near) if -32768 <= s <= 32767]
state = 7
while len(samples) < 4096:
    state = (state * 1_103_515_245 + 12_345) % 2**31
    samples.append((state >> 15) - 32768)

ours = struct.pack(f"<{len(samples)}h", *samples)
command = ["sox", "-D", *COMMON, "-L", "-", *COMMON, "-B", "-"]
theirs = subprocess.run(command, input=ours, stdout=subprocess.PIPE, check=True).stdout
sys.stdout.buffer.write(ours + theirs)
