"""rtpengine's control protocol: bencoded dictionaries over UDP, each after a cookie of our choice.

Knows no more than what one call needs: offer, answer. Raises OSError or ValueError when the
program does not answer, or answers that it will not.
"""

import itertools
import re
import socket

ANSWER_WAIT_S = 2.0
# RFC 3551 table 4.
PCMU = 0
PCMA = 8
NAMES = {PCMU: "PCMU", PCMA: "PCMA"}
DATAGRAM_BYTES_MAX = 65_535


def encode(value):
    """Bencoding of what the protocol uses: text, lists, dictionaries with text as keys."""
    if isinstance(value, str):
        data = value.encode()
        return b"%d:%s" % (len(data), data)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        pairs = (encode(key) + encode(value[key]) for key in sorted(value))
        return b"d" + b"".join(pairs) + b"e"
    raise TypeError(f"cannot be bencoded: {value!r}")


def decode(data):
    """The value that data holds; text where it is text."""
    value, rest = _decode(data)
    if rest:
        raise ValueError("bytes after the end")
    return value


def _decode(data):
    kind = data[:1]
    if kind == b"i":
        number, _, rest = data[1:].partition(b"e")
        return int(number), rest
    if kind in (b"l", b"d"):
        items, rest = [], data[1:]
        while rest[:1] != b"e":
            if not rest:
                raise ValueError("cut off")
            item, rest = _decode(rest)
            items.append(item)
        if kind == b"d":
            items = dict(zip(items[::2], items[1::2]))
        return items, rest[1:]
    length, _, rest = data.partition(b":")
    return rest[: int(length)].decode(errors="replace"), rest[int(length) :]


class Control:
    """The control port of one rtpengine."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(ANSWER_WAIT_S)
        self._socket.connect(address)
        self._cookies = itertools.count(1)

    def close(self):
        """Ends no call."""
        self._socket.close()

    def ask(self, command, **arguments):
        """Sends one command and returns its answer."""
        cookie = b"%d" % next(self._cookies)
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._socket.send(cookie + b" " + encode({"command": command, **arguments}))
        while True:
            echoed, _, answer = self._socket.recv(DATAGRAM_BYTES_MAX).partition(b" ")
            if echoed == cookie:
                break
        answer = decode(answer)
        if answer.get("result") not in ("ok", "pong"):
            raise ValueError(f"{command}: {answer.get('error-reason', answer)}")
        return answer

    def call(self, name, far, codec):
        """Sets a call up: PCMU from whoever speaks first, codec to and from far (host, port).

        Returns the port that is to be spoken to.
        """
        unknown_yet = ("127.0.0.1", 9)
        common = {"call_id": name, "ICE": "remove", "flags": ["trust-address"]}
        offer = {"from_tag": "near", "sdp": sdp(unknown_yet, PCMU), **common}
        if codec != PCMU:
            offer["codec"] = {"mask": [NAMES[PCMU]], "transcode": [NAMES[codec]]}
        self.ask("offer", **offer)
        answer = self.ask(
            "answer", from_tag="near", to_tag="far", sdp=sdp(far, codec), **common
        )
        found = re.search(r"^m=audio (\d+) RTP/AVP 0\b", answer["sdp"], re.MULTILINE)
        if not found:
            raise ValueError("it did not take PCMU for the near side")
        return int(found[1])


def sdp(address, payload_type):
    """One audio stream with one of the static payload types above."""
    host, port = address
    name = NAMES[payload_type]
    lines = [
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {payload_type}",
        f"a=rtpmap:{payload_type} {name}/8000",
        "a=ptime:20",
        "a=sendrecv",
    ]
    return "\r\n".join(lines) + "\r\n"
