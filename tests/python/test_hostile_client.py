"""What a hostile client may send: never answered in kind, and never noticed by anyone else.

Run by test_client.py. After each case the server must still serve.
"""

import os
import socket
import ssl
import struct
import tempfile
import time
import unittest

from OpenSSL import SSL

import sample_tree
from packhorse_client import Download
from packhorse_connection import Connection, parse_address
from packhorse_messages import Kind, Want, byte_string, fetch, hello, read, tree, varint
from server_process import ServerProcess

HELLO_BYTES_MAX, REQUEST_BYTES_MAX = 1 << 10, 64 << 10
GREETING_SECONDS_MAX = 10


def frame(kind, body=b"", length=None):
    return struct.pack("<BI", kind, len(body) if length is None else length) + body


class HostileClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.scratch = os.fsencode(scratch.name)
        cls.served = os.path.join(cls.scratch, b"served")
        os.mkdir(cls.served)
        sample_tree.write(cls.served, b"small", b"content")
        sample_tree.write(cls.served, b"large", bytes(range(256)) * (8 << 12))
        sample_tree.write(cls.scratch, b"secret", b"outside")
        cls.server = ServerProcess(cls.served, scratch.name)
        cls.addClassCleanup(cls.server.close)
        cls.address = parse_address(cls.server.address)

    def setUp(self):
        self.addCleanup(self.check_serves)

    def check_serves(self):
        """A normal fetch works."""
        self.assertTrue(self.server.runs(), self.server.log())
        destination = tempfile.mkdtemp(dir=self.scratch)
        connection = Connection(self.address)
        self.assertEqual(Download(connection, destination).run(), 0)
        connection.close()
        self.assertEqual(sample_tree.comparable(destination), sample_tree.comparable(self.served))

    def connect(self, greet=True):
        connection = Connection(self.address)
        self.addCleanup(connection.socket.close)
        if greet:
            connection.send(Kind.HELLO, hello(connection.proof(b"client")))
            connection.finish_greeting()
        return connection

    def hello_frame(self, connection):
        return frame(Kind.HELLO, hello(connection.proof(b"client")))

    def rest(self, connection, seconds=8):
        """All that still comes until the server closes, which it must within `seconds`."""
        deadline = time.monotonic() + seconds
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))
        content = b""
        try:
            while True:
                content += connection.tls.recv(1 << 16)
                self.assertLess(time.monotonic(), deadline, "the server goes on")
        except SSL.WantReadError:
            self.fail(f"the server kept the connection for {seconds} seconds")
        except (SSL.Error, OSError):
            return content

    def check_ends(self, what, connection, content, answer=b""):
        """Sends `content`: the server answers with `answer` and closes."""
        with self.subTest(what):
            try:
                connection.tls.sendall(content)
            except (SSL.Error, OSError):
                pass
            self.assertEqual(self.rest(connection), answer)
            self.check_serves()

    def test_frames_instead_of_a_greeting(self):
        for what, content in [
            ("length 0", frame(Kind.HELLO)),
            ("the limit, of nothing", frame(Kind.HELLO, b"\1" + bytes(HELLO_BYTES_MAX - 1))),
            ("a proof that ends", frame(Kind.HELLO, b"\1\0\1" + bytes(31))),
            ("a proof that goes on", frame(Kind.HELLO, b"\1\0\1" + bytes(33))),
            ("a number without end", frame(Kind.HELLO, b"\1" + b"\xff" * 11)),
            ("the limit and one", frame(Kind.HELLO, length=HELLO_BYTES_MAX + 1)),
            ("the largest", frame(Kind.HELLO, length=2**32 - 1)),
            ("type 0", frame(0)),
            ("type 127", frame(127)),
            ("an answer", frame(Kind.WELCOME, b"\1\0\0")),
            ("a request first", frame(Kind.TREE, tree(1, b""))),
            ("too large to be skipped", frame(200, length=HELLO_BYTES_MAX + 1)),
            ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ]:
            self.check_ends(what, self.connect(greet=False), content)

    def test_a_greeting_that_is_denied(self):
        denied = frame(Kind.DENIED, b"\0")
        for what, body in [("version 0", b"\0"), ("version 2", b"\2\xff"), ("version 255", b"\xff" * 1024)]:
            self.check_ends(what, self.connect(greet=False), frame(Kind.HELLO, body), denied)
        denied = frame(Kind.DENIED, b"\1")
        connection = self.connect(greet=False)
        reflected = connection.proof(b"server")
        self.check_ends("a reflected proof", connection, frame(Kind.HELLO, hello(reflected)), denied)
        self.check_ends("no proof", self.connect(greet=False), frame(Kind.HELLO, hello()), denied)
        other = self.connect(greet=False)
        stolen = frame(Kind.HELLO, hello(other.proof(b"client")))
        self.check_ends("the proof of another connection", self.connect(greet=False), stolen, denied)
        for length in (0, 1, 31):
            connection = self.connect(greet=False)
            right = connection.proof(b"client")
            wrong = right[:length] + bytes([right[length] ^ 1]) + right[length + 1 :]
            started = time.monotonic()
            self.check_ends(f"{length} right bytes", connection, frame(Kind.HELLO, hello(wrong)), denied)
            self.assertGreater(time.monotonic() - started, 0.3, "guessing is not slowed")

    def test_a_greeting_cut_at_every_byte(self):
        whole = len(self.hello_frame(self.connect(greet=False)))
        for end in range(whole):
            connection = self.connect(greet=False)
            connection.tls.sendall(self.hello_frame(connection)[:end])
            if end % 2:
                connection.tls.shutdown()
            connection.socket.close()
        self.check_serves()

    def test_requests_that_break_the_protocol(self):
        start = (Kind.READ, read(b"small", Want.CONTENT, 0, 0))
        for what, content in [
            *((f"length 0 of {kind!r}", frame(kind)) for kind in list(Kind)[:7]),
            ("the limit", frame(Kind.TREE, b"\xff" * REQUEST_BYTES_MAX)),
            ("the limit and one", frame(Kind.TREE, length=REQUEST_BYTES_MAX + 1)),
            ("the largest", frame(Kind.READ, length=2**32 - 1)),
            ("the largest to be skipped", frame(255, length=2**32 - 1)),
            ("a second Hello", frame(Kind.HELLO, hello())),
            ("an answer", frame(Kind.DONE, bytes(18))),
            ("type 8", frame(8)),
            ("a page of no tree", frame(Kind.MORE, varint(1))),
            ("closing no tree", frame(Kind.CLOSE_TREE, varint(1))),
            ("a number too large", frame(Kind.MORE, varint(2**32))),
            ("a tree twice", frame(Kind.TREE, tree(1, b"")) * 2),
            ("five trees", b"".join(frame(Kind.TREE, tree(number, b"")) for number in range(5))),
            ("bytes behind a request", frame(start[0], start[1] + b"\0")),
            ("a reversed range", frame(Kind.READ, read(b"small", Want.CONTENT, 1, 0))),
            ("a range too long", frame(Kind.READ, read(b"large", Want.CONTENT, 0, 1025))),
            ("a range beyond all", frame(Kind.READ, read(b"large", Want.HASHES, 2**64 - 2, 2**64 - 1))),
            ("too many files", frame(Kind.FETCH, fetch([b"small"] * 1025))),
            ("more files than there are", frame(Kind.FETCH, bytes(3) + varint(2**64 - 1))),
            ("too many patterns", frame(Kind.TREE, tree(1, b"", include=[b"a"] * 257))),
            ("too long patterns", frame(Kind.TREE, tree(1, b"", exclude=[b"a" * 2000] * 9))),
            ("no pattern", frame(Kind.TREE, tree(1, b"", include=[b"[a"]))),
        ]:
            with self.subTest(what):
                connection = self.connect()
                self.send(connection, content)
                self.rest(connection)
                self.check_serves()

    def send(self, connection, content):
        try:
            connection.tls.sendall(content)
        except (SSL.Error, OSError):
            pass

    def test_paths_that_climb(self):
        for path in [
            b"..", b"../secret", b"small/..", b"./small", b"/etc/passwd", b"//", b"small/", b"a//b", b"a\0b",
            b"x" * 256, b"a/" * 2047 + b"ab", b".packhorse-partial", b"a/.packhorse-partial/b",
        ]:  # fmt: skip
            for kind, body in [
                (Kind.READ, read(path, Want.CONTENT, 0, 0)),
                (Kind.TREE, tree(1, path)),
                (Kind.FETCH, fetch([b"small", path])),
                (Kind.TREE, tree(1, b"", after=byte_string(path) + b"\0")),
            ]:
                self.check_ends(f"{kind!r} {path!r}", self.connect(), frame(kind, body))

    def test_a_request_cut_at_every_byte(self):
        whole = frame(Kind.TREE, tree(1, b"", include=[b"*"], after=byte_string(b"") + b"\1\1a"))
        for end in range(len(whole)):
            connection = self.connect()
            connection.tls.sendall(whole[:end])
            if end % 2:
                connection.tls.shutdown()
            connection.socket.close()
            if end >= 5:
                # Cut, and yet with the length that it has.
                cut = frame(Kind.TREE, whole[5:end])
                self.check_ends(f"cut to {end}", self.connect(), cut)

    def test_more_requests_than_may_wait(self):
        connection = self.connect()
        # The answers are larger than what the network holds, so they cannot be done in time.
        self.send(connection, frame(Kind.READ, read(b"large", Want.CONTENT, 0, 8)) * 100)
        content = self.rest(connection, 30)
        self.assertLess(len(content), 64 * (8 << 20))

    def test_clients_that_leave_in_the_middle_of_an_answer(self):
        for _ in range(20):
            connection = self.connect()
            self.send(connection, frame(Kind.READ, read(b"large", Want.CONTENT, 0, 8)) * 8)
            connection.tls.recv(1000)
            connection.socket.close()
        self.check_serves()

    def test_silence_is_not_waited_for(self):
        place = (self.address.host, self.address.port)
        silent = socket.create_connection(place)
        half = socket.create_connection(place)
        half.sendall(b"\x16\x03\x01")
        greeting = self.connect(greet=False)
        slow = self.connect(greet=False)
        whole = self.hello_frame(slow)
        started = time.monotonic()
        for at in range(GREETING_SECONDS_MAX + 4):
            self.send(slow, whole[at : at + 1])
            if at == 3:
                self.check_serves()
            time.sleep(1)
        for connection in (greeting, slow):
            self.assertEqual(self.rest(connection, 2), b"")
        for connection in (silent, half):
            connection.settimeout(2)
            try:
                # A TLS alert may come before the end.
                while connection.recv(100):
                    pass
            except ConnectionResetError:
                pass
            connection.close()
        self.assertLess(time.monotonic() - started, GREETING_SECONDS_MAX + 10)

    def test_other_handshakes_are_refused(self):
        def context(minimum, maximum, protocols):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version, context.maximum_version = minimum, maximum
            if protocols:
                context.set_alpn_protocols(protocols)
            return context

        old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        for what, given in [
            ("TLS 1.2", context(old, old, ["packhorse/1"])),
            ("no ALPN", context(new, new, [])),
            ("another version", context(new, new, ["packhorse/2"])),
            ("a prefix", context(new, new, ["packhorse/"])),
        ]:
            with self.subTest(what), self.plain() as raw:
                try:
                    with given.wrap_socket(raw, server_hostname="x") as stream:
                        self.assertNotEqual(stream.selected_alpn_protocol(), "packhorse/1")
                        stream.sendall(frame(Kind.HELLO, hello()))
                        answer = stream.recv(100)
                    # Who names no protocol is taken for a client of HTTP, and has sent none.
                    if answer:
                        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
                        self.assertEqual(what, "no ALPN")
                except (ssl.SSLError, ConnectionError):
                    pass
        for content in [frame(Kind.HELLO, hello()), b"\0" * 5000, b"\x16\x03\x01\xff\xff" + b"\xff" * 70000]:
            with self.subTest("no TLS"), self.plain() as raw:
                try:
                    raw.sendall(content)
                    while raw.recv(100):
                        pass
                except ConnectionError:
                    pass

    def plain(self):
        return socket.create_connection((self.address.host, self.address.port), GREETING_SECONDS_MAX + 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
