#!/usr/bin/env python3
"""Makes g711.csv from Python's audioop, an implementation of G.711 that is not ours.

Needs Python 3.5 to 3.12 (audioop left the library with 3.13).
Run it here: ./make_g711.py > g711.csv

decode,LAW,CODE,SAMPLE          what a code means, for all 256
encode,LAW,FIRST_SAMPLE,CODE    the code of every sample from this one up to the next line's
"""
import audioop
import struct

LAWS = {
    "alaw": (audioop.alaw2lin, audioop.lin2alaw),
    "ulaw": (audioop.ulaw2lin, audioop.lin2ulaw),
}
SAMPLE_BYTES = 2

for law, (decode, encode) in LAWS.items():
    for code in range(256):
        (sample,) = struct.unpack("=h", decode(bytes([code]), SAMPLE_BYTES))
        print(f"decode,{law},{code},{sample}")
    last = None
    for sample in range(-32768, 32768):
        code = encode(struct.pack("=h", sample), SAMPLE_BYTES)[0]
        if code != last:
            print(f"encode,{law},{sample},{code}")
        last = code
