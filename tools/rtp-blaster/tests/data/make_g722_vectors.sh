#!/bin/bash
# Makes the G.722 vectors beside it with the PyPI package G722 (pip install G722), which is not
# ours: a second of sweep, noise and full-scale square at 16 kHz, coded at 64 kbit/s and back.
set -euo pipefail
cd "$(dirname "$0")"
python3 - <<'END'
import array, math, random
from G722 import G722
random.seed(722)
source = array.array("h")
for n in range(16000):
    t = n / 16000
    if n < 8000:
        value = 12000 * math.sin(2 * math.pi * (100 * t + 7000 * t * t))
    elif n < 12000:
        value = random.uniform(-20000, 20000)
    else:
        value = 32767 if n // 8 % 2 else -32768
    source.append(int(value))
codec = G722(16000, 64000)
encoded, decoded = bytearray(), array.array("h")
decoder = G722(16000, 64000)
for begin in range(0, 16000, 320):
    payload = codec.encode(source[begin:begin + 320])
    encoded += payload
    decoded.extend(decoder.decode(payload))
open("g722_source.s16le", "wb").write(source.tobytes())
open("g722_encoded.u8", "wb").write(bytes(encoded))
open("g722_decoded.s16le", "wb").write(decoded.tobytes())
END
