"""One connection to a server: "Addresses", "The connection", "Frames" and "Greeting" in PROTOCOL.md."""

import base64
import collections
import hashlib
import re
import socket
import struct
import urllib.parse

from blake3 import blake3
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL

from packhorse_messages import (
    ANSWER_BYTES_MAX,
    DENIALS,
    NO_CONNECTION,
    REFUSED,
    USAGE,
    Body,
    Done,
    Kind,
    Refusal,
    Stop,
    Violation,
    parse_read_answer,
)

SILENCE_SECONDS_MAX = 30

ADDRESS = r"ph://([^/@]*)@(\[[0-9a-fA-F:.]+\]|[^/:@\[\]]+)(?::([0-9]+))?(?:/(.*))?"
Address = collections.namedtuple("Address", "pin token host port path")


def parse_address(text):
    form = re.fullmatch(ADDRESS, text.strip(), re.DOTALL)
    if not form:
        raise Stop(USAGE, "not an address: ph://KEY@HOST:PORT/PATH")
    key, host, port, path = form.groups()
    try:
        raw = base64.b32decode(key.upper() + "=" * (-len(key) % 8))
    except ValueError:
        raw = b""
    canonical = base64.b32encode(raw).decode().lower().rstrip("=")
    if key != canonical or len(raw) not in (17, 33) or raw[0] != 1:
        raise Stop(REFUSED, "not a key")
    path = urllib.parse.unquote_to_bytes(path or "").removesuffix(b"/")
    return Address(raw[1:17], raw[17:] or None, host.strip("[]"), int(port or 7225), path)


class Connection:
    """One connection: "The connection", "Frames" and "Greeting"."""

    def __init__(self, address):
        self.address = address
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_alpn_protos([b"packhorse/1"])
        try:
            self.socket = socket.create_connection((address.host, address.port), SILENCE_SECONDS_MAX)
            self.socket.settimeout(None)
            limit = struct.pack("ll", SILENCE_SECONDS_MAX, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.tls = SSL.Connection(context, self.socket)
            self.tls.set_connect_state()
            # OpenSSL checks the handshake's signature with the certificate's key.
            self.tls.do_handshake()
        except (OSError, SSL.Error) as error:
            raise Stop(NO_CONNECTION, f"no connection: {error!r}") from None
        self._check_server()

    def _check_server(self):
        key = self.tls.get_peer_certificate().to_cryptography().public_key()
        key_info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if hashlib.sha256(key_info).digest()[:16] != self.address.pin:
            raise Stop(REFUSED, "the server has another identity than the address says")
        if self.tls.get_alpn_proto_negotiated() != b"packhorse/1":
            raise Stop(NO_CONNECTION, "this server does not speak packhorse/1")

    def proof(self, who):
        if self.address.token is None:
            return None
        binding = self.tls.export_keying_material(b"EXPORTER-packhorse-1", 32)
        context = "packhorse/1 2026-11 access token proof"
        key = blake3(self.address.token, derive_key_context=context).digest()
        return blake3(binding + who, key=key).digest()

    def send(self, kind, body=b""):
        try:
            self.tls.sendall(struct.pack("<BI", kind, len(body)) + body)
        except (OSError, SSL.Error) as error:
            raise Stop(NO_CONNECTION, f"the connection broke: {error!r}") from None

    def receive(self):
        while True:
            kind, length = struct.unpack("<BI", self._receive_bytes(5))
            if length > ANSWER_BYTES_MAX:
                raise Violation(f"a frame of {length} bytes")
            body = self._receive_bytes(length)
            if kind < 128:
                return kind, body

    def _receive_bytes(self, count):
        content = bytearray()
        while len(content) < count:
            try:
                content += self.tls.recv(count - len(content))
            except (OSError, SSL.Error) as error:
                raise Stop(NO_CONNECTION, f"the connection broke: {error!r}") from None
        return bytes(content)

    def finish_greeting(self):
        """Takes the answer to Hello."""
        kind, content = self.receive()
        body = Body(content)
        if kind == Kind.DENIED:
            denial = DENIALS[body.choice(4)]
            raise Stop(REFUSED if denial == "access" else NO_CONNECTION, f"denied: {denial}")
        if kind != Kind.WELCOME:
            raise Violation(f"frame {kind} where Welcome was due")
        version, features, proof = body.varint(8), body.varint(), body.option(lambda: body.raw(32))
        body.end()
        if version != 1 or features:
            raise Violation("a Welcome that does not fit Hello")
        # An open server sends no proof; the pin has said who it is.
        if proof is not None and proof != self.proof(b"server"):
            raise Stop(REFUSED, "the server does not know the token")

    def receive_page(self):
        kind, content = self.receive()
        body = Body(content)
        if kind == Kind.FAILED:
            raise Refusal(body.choice(12))
        if kind != Kind.PAGE:
            raise Violation(f"frame {kind} where a Page was due")
        return body.items(body.item)

    def receive_contents(self, count):
        items = []
        while len(items) < count:
            kind, content = self.receive()
            if kind != Kind.CONTENTS:
                raise Violation(f"frame {kind} where Contents was due")
            body = Body(content)
            items += body.items(body.content_item)
        if len(items) > count:
            raise Violation("more contents than asked for")
        return items

    def receive_read_answer(self):
        """All frames up to Done; raises the Refusal of Failed."""
        frames = []
        while not frames or not isinstance(frames[-1], Done):
            frames.append(parse_read_answer(*self.receive()))
            if isinstance(frames[-1], Refusal):
                raise frames[-1]
        return frames

    def close(self):
        """Says goodbye, and waits until the server has."""
        try:
            self.tls.shutdown()
            while True:
                self.tls.recv(1 << 16)
        except (OSError, SSL.Error):
            self.socket.close()
