#!/bin/bash
# Makes the G.711 vectors beside it with two implementations that are not ours:
# sox decodes all 256 codes of each law; CPython 3.11's audioop encodes the ramp -32768, -32752 ...
set -euo pipefail
cd "$(dirname "$0")"
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)))' >codes.u8
for law in ul al; do
  name=$([ $law = ul ] && echo ulaw || echo alaw)
  sox -t $law -r 8000 -c 1 codes.u8 -t s16 -L "${name}_decoded.s16le"
done
rm codes.u8
python3 - <<'END'
import array, audioop
ramp = array.array("h", range(-32768, 32768, 16)).tobytes()
open("ulaw_encoded_ramp.u8", "wb").write(audioop.lin2ulaw(ramp, 2))
open("alaw_encoded_ramp.u8", "wb").write(audioop.lin2alaw(ramp, 2))
END
