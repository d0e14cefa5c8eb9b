"""The phone's signalling: one outgoing SIP call over UDP, no authentication (RFC 3261).

Owns its socket and reads no clock: the caller passes `now`, feeds datagrams and calls `on_timer`.
Refuses what a scripted phone does not need: authentication, forking, route sets, TCP.
"""

import random
import re
import socket
from dataclasses import dataclass, field

# RFC 3261 §17.1.1.1: first retransmission; §17.1.2.2: its ceiling.
T1_S = 0.5
T2_S = 4.0
# A request unanswered for this long has failed (RFC 3261: 64 * T1; tests have less patience).
REQUEST_S_MAX = 5.0
LOG_LINES_MAX = 200


def header(message: str, name: str) -> str | None:
    """The first header of that name."""
    found = re.search(rf"(?im)^{name}\s*:\s*(.*?)\r?$", message)
    return found.group(1) if found else None


@dataclass
class PendingRequest:
    """A request that is sent again until something answers it."""

    message: bytes
    first_sent: float
    next_send: float
    interval: float = T1_S


@dataclass
class Outcome:
    """What became of the call. Times are of the caller's clock."""

    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    # "us", "remote", "refused" (a final status other than 2xx) or "nobody" (no reply at all)
    ended_by: str | None = None
    final_status: str | None = None
    remote_reason: str | None = None
    log: list = field(default_factory=list)


class SipCall:
    """One call from INVITE to its end."""

    def __init__(self, server: tuple[str, int], to: str, user: str, ip: str, media: dict):
        """`media` has rtp_port, payload_type, rtpmap: what the offer says."""
        self._server = server
        self._media = media
        self._ip = ip
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 0))
        self.socket.setblocking(False)
        self._contact = f"sip:{user}@{ip}:{self.socket.getsockname()[1]}"
        self._from = f"<{self._contact}>;tag={random.getrandbits(32):08x}"
        self._target = f"sip:{to}@{server[0]}:{server[1]}"
        self._to = f"<{self._target}>"
        self._call_id = f"{random.getrandbits(64):016x}@{ip}"
        self._session = random.getrandbits(31)
        self._session_version = 0
        self._cseq = 0
        self._invite_branch = ""
        self._invite_to = self._to
        self._pending: dict[tuple[int, str], PendingRequest] = {}
        self._cancelling = False
        self._proceeding = False
        self.remote_rtp: tuple[str, int] | None = None
        self.outcome = Outcome()

    # --- what a script asks for ---

    def invite(self, now: float) -> None:
        """Places the call."""
        self._send_invite("sendrecv", now)

    def hang_up(self, now: float) -> None:
        """Ends the call whatever state it is in: BYE when answered, else CANCEL."""
        if self.outcome.ended_at is not None or self._cancelling:
            return
        if self.outcome.answered_at is not None:
            self._bye(now)
            return
        self._cancelling = True
        # RFC 3261 §9.1: no CANCEL before a provisional response.
        if self._proceeding:
            self._cancel(now)

    def set_direction(self, direction: str, now: float) -> None:
        """Re-INVITE with `sendonly` (hold) or `sendrecv`."""
        self._send_invite(direction, now)

    @property
    def is_answered(self) -> bool:
        return self.outcome.answered_at is not None

    @property
    def is_over(self) -> bool:
        return self.outcome.ended_at is not None

    # --- what happens to it ---

    def on_timer(self, now: float) -> None:
        """Sends unanswered requests again; ends the call when one stays unanswered."""
        for key, pending in list(self._pending.items()):
            if now - pending.first_sent > REQUEST_S_MAX:
                del self._pending[key]
                self._end("us" if key[1] in ("BYE", "CANCEL") else "nobody", now)
            elif now >= pending.next_send:
                pending.interval = min(2 * pending.interval, T2_S)
                pending.next_send = now + pending.interval
                self.socket.sendto(pending.message, self._server)

    def on_datagram(self, datagram: bytes, now: float) -> None:
        """Takes one SIP message; anything else is ignored."""
        message = datagram.decode(errors="replace")
        first = message.split("\r\n", 1)[0]
        sequence = header(message, "CSeq")
        if header(message, "Call-ID") != self._call_id or sequence is None:
            return
        if len(self.outcome.log) < LOG_LINES_MAX:
            self.outcome.log.append([now, first, sequence])
        response = re.match(r"SIP/2\.0 (\d{3})", first)
        if response is None:
            self._on_request(first.split(" ", 1)[0], message, now)
            return
        number, method = sequence.split(" ", 1)
        code = int(response.group(1))
        key = (int(number), method.strip())
        if key[1] == "INVITE":
            self._on_invite_response(key, code, first, message, now)
        elif code >= 200:
            self._pending.pop(key, None)
            if key[1] == "BYE":
                self._end("us", now)

    def _on_invite_response(self, key, code: int, first: str, message: str, now: float) -> None:
        if code < 200:
            self._pending.pop(key, None)
            self._proceeding = True
            if code >= 180 and self.outcome.ringing_at is None:
                self.outcome.ringing_at = now
            if self._cancelling and (key[0], "CANCEL") not in self._pending:
                self._cancel(now)
            return
        self._pending.pop(key, None)
        is_first_invite = key[0] == 1
        if code < 300:
            self._accept(message)
            self._send("ACK", key[0], self._branch())
            if is_first_invite and self.outcome.answered_at is None:
                self.outcome.answered_at = now
                self.outcome.final_status = first[len("SIP/2.0 ") :]
                if self._cancelling:  # our CANCEL and the answer crossed
                    self._pending.clear()
                    self._bye(now)
            return
        self._send("ACK", key[0], self._invite_branch, to=header(message, "To"))
        if is_first_invite and not self.is_over:
            self._pending.clear()
            self.outcome.final_status = first[len("SIP/2.0 ") :]
            self._end("us" if self._cancelling else "refused", now)

    def _accept(self, message: str) -> None:
        self._to = header(message, "To") or self._to
        contact = re.search(r"<([^>]+)>", header(message, "Contact") or "")
        self._target = contact.group(1) if contact else self._target
        address = re.search(r"(?m)^c=IN IP4 (\S+)", message)
        port = re.search(r"(?m)^m=audio (\d+)", message)
        if address and port:
            self.remote_rtp = (address.group(1), int(port.group(1)))

    def _on_request(self, method: str, message: str, now: float) -> None:
        if method == "ACK":
            return
        echoed = "".join(
            f"{name}: {value}\r\n"
            for name in ("Via", "From", "To", "Call-ID", "CSeq")
            for value in re.findall(rf"(?im)^{name}\s*:\s*(.*?)\r?$", message)
        )
        body = self._offer("sendrecv") if method == "INVITE" else ""
        kind = f"Contact: <{self._contact}>\r\nContent-Type: application/sdp\r\n" if body else ""
        reply = f"SIP/2.0 200 OK\r\n{echoed}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        self.socket.sendto(reply.encode(), self._server)
        if method == "BYE":
            self.outcome.remote_reason = header(message, "Reason")
            self._end("remote", now)

    def _end(self, by: str, now: float) -> None:
        if self.outcome.ended_at is None:
            self.outcome.ended_at = now
            self.outcome.ended_by = by
            self._pending.clear()

    # --- what is sent ---

    def _send_invite(self, direction: str, now: float) -> None:
        self._cseq += 1
        self._invite_branch = self._branch()
        self._invite_to = self._to
        body = self._offer(direction)
        message = self._message("INVITE", self._cseq, self._invite_branch, self._to, body)
        self._send_until_answered("INVITE", self._cseq, message, now)

    def _cancel(self, now: float) -> None:
        # RFC 3261 §9.1: the INVITE's own branch, number and To.
        message = self._message("CANCEL", self._cseq, self._invite_branch, self._invite_to)
        self._send_until_answered("CANCEL", self._cseq, message, now)

    def _bye(self, now: float) -> None:
        if any(method == "BYE" for _, method in self._pending):
            return
        self._cseq += 1
        message = self._message("BYE", self._cseq, self._branch(), self._to)
        self._send_until_answered("BYE", self._cseq, message, now)

    def _send_until_answered(self, method: str, cseq: int, message: bytes, now: float) -> None:
        self._pending[(cseq, method)] = PendingRequest(message, now, now + T1_S)
        self.socket.sendto(message, self._server)

    def _send(self, method: str, cseq: int, branch: str, to: str | None = None) -> None:
        self.socket.sendto(self._message(method, cseq, branch, to or self._to), self._server)

    def _message(self, method: str, cseq: int, branch: str, to: str, body: str = "") -> bytes:
        host, port = self.socket.getsockname()
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {self._from}",
            f"To: {to}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <{self._contact}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _offer(self, direction: str) -> str:
        self._session_version += 1
        media = self._media
        return (
            f"v=0\r\no=- {self._session} {self._session_version} IN IP4 {self._ip}\r\ns=-\r\n"
            f"c=IN IP4 {self._ip}\r\nt=0 0\r\n"
            f"m=audio {media['rtp_port']} RTP/AVP {media['payload_type']} 101\r\n"
            f"a=rtpmap:{media['payload_type']} {media['rtpmap']}\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
            f"a=ptime:20\r\na={direction}\r\n"
        )

    @staticmethod
    def _branch() -> str:
        return f"z9hG4bK{random.getrandbits(48):012x}"
