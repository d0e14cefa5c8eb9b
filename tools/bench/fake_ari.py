"""Asterisk's REST interface as far as a gateway needs it to take calls: it makes calls, grants all
requests, and can vanish in the midst of everything.

Its media channels are RTP ports of somebody else's, handed out in order: legs of rtp-blaster. It
knows one application's event socket and checks no password.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LOCALHOST = "127.0.0.1"
APPLICATION = "diglot"
# RFC 6455 section 1.3.
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT_FRAME = 0x81
PONG_FRAME = 0x8A
PING = 0x9
CLOSE = 0x8
LENGTH_IS_16_BITS = 126
STAMP = "2026-01-01T00:00:00.000+0000"


class FakeAri:
    """A server on a port of its own, from now until close()."""

    def __init__(self, ports_of_legs):
        """ports_of_legs: for each of the gateway's RTP addresses the ports its legs will have."""
        self.changed = threading.Condition()
        self.channels = {}
        self.bridged = set()
        self._bridges = set()
        self._ports = {address: iter(ports) for address, ports in ports_of_legs.items()}
        self._events = None
        self._connections = set()
        handler = type("Handler", (_Handler,), {"ari": self})
        self._server = ThreadingHTTPServer((LOCALHOST, 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://{LOCALHOST}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_connected(self, seconds):
        """Waits for the gateway's event socket."""
        with self.changed:
            return self.changed.wait_for(lambda: self._events, seconds)

    def call(self, number, extension):
        """A caller dials an extension."""
        with self.changed:
            identity = f"call-{number}"
            self.channels[identity] = {"name": f"PJSIP/phone-{number:08x}", "state": "Ring"}
            self.channels[identity]["dialplan"] = _dialplan(f"{APPLICATION},{extension}")
            self._tell("StasisStart", identity, args=[extension])

    def wait_bridged(self, count, seconds):
        """Waits until so many channels, callers and media alike, are in bridges."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.bridged) >= count, seconds)

    def close(self):
        """Is gone at once: no goodbye, every connection cut, the port closed."""
        self._server.shutdown()
        self._server.server_close()
        with self.changed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the other end was faster

    def add_connection(self, connection):
        """One that close() is to cut."""
        with self.changed:
            self._connections.add(connection)

    def serve_events(self, connection):
        """Takes the event socket over until it ends; answers pings, ignores all else."""
        with self.changed:
            self._events = connection
            self.changed.notify_all()
        while True:
            opcode, payload = _read_frame(connection)
            if opcode == CLOSE:
                return
            if opcode == PING:
                with self.changed:
                    connection.sendall(bytes([PONG_FRAME, len(payload)]) + payload)

    def perform(self, method, path, query):
        """Does what is asked; returns the status and what to answer."""
        with self.changed:
            result = self._perform(method, path, query)
            self.changed.notify_all()
            return result

    def _perform(self, method, path, query):
        parameter = lambda name: query.get(name, [""])[0]  # noqa: E731
        if path == "/ari/channels/externalMedia":
            return 200, self._add_media(parameter("channelId"), parameter("external_host"))
        if method == "GET":
            return self._lists(path)
        if method == "DELETE":
            identity = path.rsplit("/", 1)[1]
            known = self.channels.pop(identity, None) or identity in self._bridges
            self._bridges.discard(identity)
            return (204, None) if known else (404, {"message": "not found"})
        if path == "/ari/bridges":
            self._bridges.add(parameter("bridgeId"))
            return 200, _bridge(parameter("bridgeId"))
        if matched := re.fullmatch(r"/ari/channels/(.*)/answer", path):
            self.channels[matched[1]]["state"] = "Up"
            self._tell("ChannelStateChange", matched[1])
            return 204, None
        if path.endswith("/addChannel"):
            for identity in parameter("channel").split(","):
                self.bridged.add(identity)
                self._tell("ChannelEnteredBridge", identity, bridge=_bridge(path.split("/")[3]))
            return 204, None
        return 404, {"message": "not found"}

    def _lists(self, path):
        if path == "/ari/channels":
            return 200, [self._channel(identity) for identity in self.channels]
        if path == "/ari/bridges":
            return 200, [_bridge(identity) for identity in self._bridges]
        application = {"name": APPLICATION, "channel_ids": list(self.channels)}
        empty = ("bridge_ids", "endpoint_ids", "device_names", "events_allowed")
        return 200, application | {name: [] for name in (*empty, "events_disallowed")}

    def _add_media(self, identity, host):
        port = next(self._ports[host])
        self.channels[identity] = {"name": f"UnicastRTP/{host}-0x7f3404002050", "state": "Up"}
        self._tell("StasisStart", identity, args=[])
        names = ("UNICASTRTP_LOCAL_ADDRESS", "UNICASTRTP_LOCAL_PORT")
        return self._channel(identity) | {"channelvars": dict(zip(names, (LOCALHOST, str(port))))}

    def _channel(self, identity):
        nobody = {"name": "", "number": ""}
        common = {"id": identity, "protocol_id": "", "caller": nobody, "connected": nobody}
        common |= {"accountcode": "", "dialplan": _dialplan(APPLICATION)}
        return common | self.channels[identity] | {"creationtime": STAMP, "language": "en"}

    def _tell(self, kind, identity, **more):
        event = {"type": kind, "timestamp": STAMP, "application": APPLICATION}
        event |= {"asterisk_id": "00:00:00:00:00:01", "channel": self._channel(identity)} | more
        text = json.dumps(event).encode()
        self._events.sendall(struct.pack("!BBH", TEXT_FRAME, LENGTH_IS_16_BITS, len(text)) + text)


def _dialplan(arguments):
    common = {"context": "phones", "exten": "s", "priority": 1, "app_name": "Stasis"}
    return common | {"app_data": arguments}


def _bridge(identity):
    common = {"technology": "simple_bridge", "bridge_type": "mixing", "bridge_class": "stasis"}
    common |= {"creator": "Stasis", "name": identity, "channels": [], "creationtime": STAMP}
    return common | {"id": identity, "video_mode": "talker"}


def _read_frame(connection):
    """One small frame of a client; its opcode and payload."""

    def read(count):
        data = b""
        while len(data) < count:
            more = connection.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    first, second = read(2)
    length = second & 0x7F
    if length == LENGTH_IS_16_BITS:
        (length,) = struct.unpack("!H", read(2))
    mask = read(4)
    return first & 0xF, bytes(each ^ mask[at % 4] for at, each in enumerate(read(length)))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ari = None

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ari.add_connection(self.connection)

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # cut by close(), or by a gateway that ended

    def _do(self):
        parts = urlsplit(self.path)
        if parts.path == "/ari/events":
            return self._upgrade()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = self.ari.perform(self.command, unquote(parts.path), parse_qs(parts.query))
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET = do_POST = _do

    def _upgrade(self):
        key = self.headers["Sec-WebSocket-Key"] + WEBSOCKET_GUID
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        self.ari.serve_events(self.connection)

    def log_message(self, *_):
        pass
