"""The second client against a real server: whole trees, and the requests that only a test would make.

PACKHORSE_BINARY=target/debug/packhorse python tests/python/test_client.py
"""

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stderr

from blake3 import blake3

import sample_tree
import test_hostile_client
from blake3_groups import GROUP, group_hash, root_of_groups
from packhorse_client import Download, TreeOrder
from packhorse_connection import Connection, parse_address
from packhorse_messages import (
    INTEGRITY,
    NO_CONNECTION,
    REFUSALS,
    REFUSED,
    SOME_FAILED,
    USAGE,
    Directory,
    Done,
    End,
    File,
    Group,
    Hole,
    Kind,
    Link,
    Refusal,
    Skipped,
    Stop,
    Want,
    cursor,
    fetch,
    hello,
    read,
    tree,
    varint,
)
from server_process import ServerProcess

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packhorse_client.py")


class WithServer(unittest.TestCase):
    """A server of the sample tree, for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.scratch = os.fsencode(scratch.name)
        cls.served = os.path.join(cls.scratch, b"served")
        os.mkdir(cls.served)
        sample_tree.make(cls.served)
        cls.server = ServerProcess(cls.served, scratch.name)
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.destination = tempfile.mkdtemp(dir=self.scratch)

    def connect(self):
        connection = Connection(parse_address(self.server.address))
        self.addCleanup(connection.close)
        connection.send(Kind.HELLO, hello(connection.proof(b"client")))
        connection.finish_greeting()
        return connection

    def take_tree(self, connection, number, *asked, **options):
        """All items of a tree."""
        connection.send(Kind.TREE, tree(number, *asked, **options))
        items = connection.receive_page()
        while End() not in items:
            connection.send(Kind.MORE, varint(number))
            items += connection.receive_page()
        connection.send(Kind.CLOSE_TREE, varint(number))
        return items

    def state(self, connection, path):
        """What an empty Read says of a file."""
        connection.send(Kind.READ, read(path, Want.CONTENT, 0, 0))
        return connection.receive_read_answer()[-1]


class FetchTest(WithServer):
    """The client as a command."""

    def run_client(self, address, destination=None):
        command = [sys.executable, "-B", CLIENT, destination or self.destination]
        done = subprocess.run(command, input=address.encode(), capture_output=True, timeout=300)
        return done.returncode, done.stderr.decode()

    def check_exit(self, address, code):
        found, errors = self.run_client(address)
        self.assertEqual(found, code, f"{address}: {errors}")
        self.assertEqual(os.listdir(self.destination), [])

    def test_a_whole_tree_arrives_as_it_is(self):
        wanted = sample_tree.comparable(self.served)
        # First while the files are fresh, so that what is large is compared by its hashes, then settled.
        for round_number in range(2):
            destination = tempfile.mkdtemp(dir=self.scratch)
            code, errors = self.run_client(self.server.address, destination)
            self.assertEqual(code, 0, errors)
            found = sample_tree.comparable(destination)
            self.assertEqual(sorted(found), sorted(wanted))
            for name, entry in wanted.items():
                self.assertTrue(found[name] == entry, f"{name!r} differs in round {round_number}")
            for name in (b"absolute", b"fifo", b"outside", b"socket"):
                self.assertIn(f"skipped: {b'special/' + name!r}", errors)
            self.assertEqual(os.listdir(os.path.join(destination, b"special")), [])
            self.check_holes(destination)
            time.sleep(2.1 * (1 - round_number))

    def check_holes(self, destination):
        for name in sample_tree.HOLES:
            ours = os.stat(os.path.join(destination, b"holes", name))
            source = os.stat(os.path.join(self.served, b"holes", name))
            self.assertLessEqual(ours.st_blocks, source.st_blocks, f"the holes of {name!r} are filled")

    def test_an_address_may_name_a_file_a_link_or_a_directory(self):
        for path, name in [
            ("sizes/3145733", b"sizes/3145733"),
            ("names/caf%e9%20in%20Latin-1", b"names/caf\xe9 in Latin-1"),
            ("names/%252e%252e", b"names/%2e%2e"),
            ("links/dangling", b"links/dangling"),
        ]:
            destination = tempfile.mkdtemp(dir=self.scratch)
            code, errors = self.run_client(self.server.address + path, destination)
            self.assertEqual((code, errors), (0, ""))
            last = os.path.basename(name)
            self.assertEqual(os.listdir(destination), [last])
            found = sample_tree.describe(os.path.join(destination, last))
            self.assertEqual(found, sample_tree.describe(os.path.join(self.served, name)))
        code, errors = self.run_client(self.server.address + "names/")
        self.assertEqual(code, 0, errors)
        wanted = sample_tree.comparable(os.path.join(self.served, b"names"))
        self.assertEqual(sample_tree.comparable(self.destination), wanted)

    def test_what_is_not_there_fails_by_name(self):
        code, errors = self.run_client(self.server.address + "names/nothing")
        self.assertEqual(code, SOME_FAILED)
        self.assertIn("NotFound", errors)

    def test_another_key_is_refused(self):
        address = self.server.address
        key = address[len("ph://") : address.index("@")]
        self.assertEqual(len(key), 53)

        def with_key(changed):
            return address.replace(key, changed)

        def change(at):
            return key[:at] + ("a" if key[at] != "a" else "b") + key[at + 1 :]

        # The version, the pin's first and last character, the token's, and unused bits.
        for at in (0, 2, 26, 28, 51, 52):
            self.check_exit(with_key(change(at)), REFUSED)
        for changed in (key.upper(), key[:-1], key + "a", "", key[:28]):
            self.check_exit(with_key(changed), REFUSED)
        other = parse_address(address)
        without_token = other._replace(token=None)
        with self.assertRaises(Stop) as stop:
            self.greet(without_token)
        self.assertEqual(stop.exception.code, REFUSED)

    def greet(self, address):
        connection = Connection(address)
        self.addCleanup(connection.close)
        connection.send(Kind.HELLO, hello(connection.proof(b"client")))
        connection.finish_greeting()

    def test_no_server_and_no_address(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        address = parse_address(self.server.address)
        place = f"@127.0.0.1:{address.port}/"
        self.check_exit(self.server.address.replace(place, f"@127.0.0.1:{port}/"), NO_CONNECTION)
        self.check_exit("http://127.0.0.1/", USAGE)

    def test_the_log_holds_no_secret(self):
        self.run_client(self.server.address + "names")
        key = self.server.address[len("ph://") : self.server.address.index("@")]
        self.assertNotIn(key[28:], self.server.log())


class RequestTest(WithServer):
    """Requests by hand."""

    def check_refused(self, refusal, receive):
        with self.assertRaises(Refusal) as raised:
            receive()
        self.assertEqual(REFUSALS[raised.exception.number], refusal)

    def test_a_tree_goes_on_from_any_place(self):
        connection = self.connect()
        whole = self.take_tree(connection, 1, b"names")
        self.assertEqual(whole[-1], End())
        directory = b""
        for at, item in enumerate(whole[:-1]):
            directory = item.path if isinstance(item, Directory) else directory
            after = None if isinstance(item, Directory) else item.name
            rest = self.take_tree(connection, 1, b"names", after=cursor(directory, after))
            self.assertEqual(rest, whole[at + 1 :], f"behind {item!r}")
        # A place where nothing is (any more) is one too.
        rest = self.take_tree(connection, 1, b"names", after=cursor(b"", b"caf\xc3"))
        behind = [item for item in whole if isinstance(item, File) and item.name > b"caf\xc3"]
        self.assertEqual(rest[: len(behind)][0], sorted(behind, key=lambda file: file.name)[0])

    def test_pages_behind_the_end_hold_the_end(self):
        connection = self.connect()
        connection.send(Kind.TREE, tree(9, b"times"))
        pages = []
        for _ in range(3):
            connection.send(Kind.MORE, varint(9))
        for _ in range(4):
            pages.append(connection.receive_page())
        self.assertEqual(pages[1:], [[End()]] * 3)

    def test_a_large_directory_comes_in_several_pages(self):
        connection = self.connect()
        connection.send(Kind.TREE, tree(1, b"many", inline_bytes_max=0))
        pages = [connection.receive_page()]
        while End() not in pages[-1]:
            connection.send(Kind.MORE, varint(1))
            pages.append(connection.receive_page())
        self.assertGreater(len(pages), 1)
        self.assertLessEqual(max(map(len, pages)), 4096)
        order = TreeOrder()
        paths = [order.path_of(item) for page in pages for item in page if item != End()]
        self.assertEqual(paths, [b"", *(b"%05d" % number for number in range(5000))])

    def test_content_is_in_line_up_to_the_size_asked_for(self):
        connection = self.connect()
        for inline_bytes_max in (1, 1023, 256 << 10, 1 << 40):
            items = self.take_tree(connection, 1, b"sizes", inline_bytes_max=inline_bytes_max)
            for item in items[1:-1]:
                fits = item.info.size <= min(inline_bytes_max, 256 << 10)
                self.assertEqual(item.content is not None, fits, f"{item.name!r} of {inline_bytes_max}")

    def test_patterns_choose(self):
        connection = self.connect()

        def names(**patterns):
            items = self.take_tree(connection, 1, b"sizes", inline_bytes_max=0, **patterns)
            return [item.name for item in items if isinstance(item, File)]

        self.assertEqual(names(include=[b"102[34]"]), [b"1023", b"1024"])
        self.assertEqual(names(include=[b"/1"]), [b"1"])
        self.assertEqual(names(include=[b"{0,1}", b"102?"], exclude=[b"*5"]), [b"0", b"1", b"1023", b"1024"])
        self.assertEqual(names(include=[b"1/"]), [])
        items = self.take_tree(connection, 1, b"", exclude=[b"many/", b"/names", b"deep/**/deep"])
        directories = [item.path for item in items if isinstance(item, Directory)]
        self.assertNotIn(b"many", directories)
        self.assertNotIn(b"names", directories)
        self.assertIn(b"deep", directories)
        self.assertNotIn(b"deep/deep/deep", directories)

    def test_without_recursion_directories_are_only_named(self):
        items = self.take_tree(self.connect(), 1, b"", recursive=False)
        kinds = [type(item) for item in items]
        self.assertEqual(kinds, [Directory] * 11 + [End])

    def test_links_and_special_files_in_a_tree(self):
        connection = self.connect()
        items = self.take_tree(connection, 1, b"links")
        self.assertEqual([type(item) for item in items[1:-1]], [Link] * 5)
        items = self.take_tree(connection, 1, b"special")
        skipped = {item.path: REFUSALS[item.refusal] for item in items if isinstance(item, Skipped)}
        leaves, special = "LeavesTree", "Special"
        wanted = {b"absolute": leaves, b"fifo": special, b"outside": leaves, b"socket": special}
        self.assertEqual(skipped, wanted)

    def test_small_files_by_their_paths(self):
        connection = self.connect()
        paths = b"sizes/1023 nothing sizes special/fifo sizes/262145 sizes/0 sizes/1/x".split()
        connection.send(Kind.FETCH, fetch([]))
        connection.send(Kind.FETCH, fetch(paths * 2))
        items = connection.receive_contents(2 * len(paths))
        found = [REFUSALS[item.number] if isinstance(item, Refusal) else item[0].size for item in items]
        wanted = [1023, "NotFound", "IsDirectory", "Special", "TooLarge", 0, "NotDirectory"]
        self.assertEqual(found, wanted * 2)
        # The Fetch of nothing has got no answer: the next answer is to this.
        self.assertEqual(self.state(connection, b"sizes/0").size, 0)

    def test_ranges_of_groups(self):
        connection = self.connect()
        with open(os.path.join(self.served, b"sizes/3145733"), "rb") as file:
            content = file.read()
        version = self.state(connection, b"sizes/3145733").version
        for start, end in [(0, 4), (1, 2), (3, 4), (4, 4), (0, 0)]:
            connection.send(Kind.READ, read(b"sizes/3145733", Want.CONTENT, start, end, version))
            *groups, done = connection.receive_read_answer()
            self.assertEqual((done.version, done.size), (version, len(content)))
            self.assertEqual([group.index for group in groups], list(range(start, end)))
            found = b"".join(group.content for group in groups)
            self.assertEqual(found, content[start * GROUP : end * GROUP])
        connection.send(Kind.READ, read(b"sizes/3145733", Want.HASHES, 0, 4))
        *parts, done = connection.receive_read_answer()
        hashes = [each for part in parts for each in part.hashes]
        self.assertEqual(root_of_groups(hashes), blake3(content).digest())
        self.assertEqual(hashes[3], group_hash(content[3 * GROUP :], 3, only=False))

    def test_reads_that_cannot_be_answered(self):
        connection = self.connect()
        version = self.state(connection, b"sizes/1").version
        self.assertEqual(self.state(connection, b"sizes/1").version, version)
        for refusal, asked in [
            ("Changed", read(b"sizes/1", Want.CONTENT, 0, 2)),
            ("Changed", read(b"sizes/1", Want.CONTENT, 0, 2, version)),
            ("Changed", read(b"sizes/0", Want.CONTENT, 0, 1)),
            ("Changed", read(b"sizes/1", Want.HASHES, 2**43 - 1, 2**43)),
            ("Changed", read(b"sizes/1", Want.CONTENT, 0, 1, bytes(16))),
            ("Changed", read(b"sizes/1", Want.CONTENT, 0, 0, bytes(16))),
            ("NotFound", read(b"nothing", Want.CONTENT, 0, 0)),
            ("IsDirectory", read(b"sizes", Want.CONTENT, 0, 0)),
            ("IsDirectory", read(b"", Want.CONTENT, 0, 0)),
            ("Special", read(b"special/fifo", Want.CONTENT, 0, 0)),
        ]:
            connection.send(Kind.READ, asked)
            self.check_refused(refusal, connection.receive_read_answer)
        # None of these has ended the connection.
        self.assertEqual(self.state(connection, b"sizes/1").version, version)

    def test_trees_that_cannot_be_opened(self):
        connection = self.connect()
        for refusal, path, after in [
            ("NotFound", b"nothing", None),
            ("Special", b"special/fifo", None),
            ("NotDirectory", b"sizes/1", cursor(b"")),
        ]:
            connection.send(Kind.TREE, tree(1, path, after=after))
            connection.send(Kind.MORE, varint(1))
            connection.send(Kind.CLOSE_TREE, varint(1))
            self.check_refused(refusal, connection.receive_page)
            with self.assertRaises(Refusal):
                connection.receive_page()

    def test_holes_are_told_as_such(self):
        connection = self.connect()
        for name, wanted in [
            (b"in the middle", [Group, Hole, Group, Hole, Done]),
            (b"at the start", [Hole, Group, Done]),
            (b"nothing else", [Hole, Done]),
        ]:
            size = sample_tree.HOLES[name][1]
            connection.send(Kind.READ, read(b"holes/" + name, Want.CONTENT, 0, -(-size // GROUP)))
            frames = connection.receive_read_answer()
            self.assertEqual([type(frame) for frame in frames], wanted, name)

    def test_requests_sent_ahead_are_answered_after_the_client_closed_its_side(self):
        connection = Connection(parse_address(self.server.address))
        connection.send(Kind.HELLO, hello(connection.proof(b"client")))
        for _ in range(60):
            connection.send(Kind.READ, read(b"sizes/1048577", Want.CONTENT, 0, 2))
        connection.tls.shutdown()
        connection.finish_greeting()
        for _ in range(60):
            self.assertEqual(len(connection.receive_read_answer()), 3)
        connection.close()

    def test_unknown_frames_from_128_on_are_skipped(self):
        connection = Connection(parse_address(self.server.address))
        self.addCleanup(connection.close)
        connection.send(200, b"whatever")
        connection.send(Kind.HELLO, hello(connection.proof(b"client")))
        connection.send(255)
        connection.send(128, bytes(64 << 10))
        connection.finish_greeting()
        self.assertEqual(self.state(connection, b"sizes/0").size, 0)


class ChangeTest(WithServer):
    """Sources that change, and damage on the way."""

    def download(self, path, kind=Download):
        connection = Connection(parse_address(self.server.address + path))
        self.addCleanup(connection.close)
        with redirect_stderr(io.StringIO()):
            return kind(connection, self.destination).run()

    def served_file(self, name, groups):
        content = os.urandom(groups * GROUP + 5)
        sample_tree.write(self.served, name, content)
        return os.path.join(self.served, name)

    def check_equal(self, name):
        with open(os.path.join(self.served, name), "rb") as file:
            wanted = file.read()
        with open(os.path.join(os.fsencode(self.destination), name), "rb") as file:
            self.assertTrue(file.read() == wanted, f"{name!r} differs")

    def test_only_what_is_not_settled_is_compared_by_its_hashes(self):
        self.served_file(b"fresh", 1)
        asked = []

        class Watched(Download):
            def _answers(self, source, what, count, version):
                asked.append(what)
                return super()._answers(source, what, count, version)

        self.assertEqual(self.download("fresh", Watched), 0)
        self.assertEqual(asked, [Want.CONTENT, Want.HASHES])
        self.check_equal(b"fresh")
        time.sleep(2.1)
        asked.clear()
        self.assertTrue(self.state(self.connect(), b"fresh").settled)
        os.unlink(os.path.join(os.fsencode(self.destination), b"fresh"))
        self.assertEqual(self.download("fresh", Watched), 0)
        self.assertEqual(asked, [Want.CONTENT])
        self.check_equal(b"fresh")

    def test_a_file_that_changes_meanwhile_starts_over(self):
        path = self.served_file(b"changing", 2)
        for times, code in [(1, 0), (9, SOME_FAILED)]:
            left = [times]

            class Changing(Download):
                def _take_groups(self, *arguments, left=left):
                    taken = super()._take_groups(*arguments)
                    if left[0]:
                        left[0] -= 1
                        with open(path, "r+b") as file:
                            file.write(os.urandom(8))
                    return taken

            self.assertEqual(self.download("changing", Changing), code)
            if code == 0:
                self.check_equal(b"changing")
                os.unlink(os.path.join(os.fsencode(self.destination), b"changing"))
        self.assertEqual(os.listdir(self.destination), [])

    def test_a_change_is_noticed_though_size_and_time_of_modification_stay(self):
        path = self.served_file(b"same", 2)
        left = [1]

        class Changing(Download):
            def _take_groups(self, *arguments):
                taken = super()._take_groups(*arguments)
                if left.pop():
                    state = os.stat(path)
                    with open(path, "r+b") as file:
                        file.write(os.urandom(8))
                    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
                left.append(0)
                return taken

        self.assertEqual(self.download("same", Changing), 0)
        self.check_equal(b"same")

    def test_damage_gets_no_name(self):
        self.served_file(b"damaged", 2)

        class Damaged(Connection):
            def receive(self):
                kind, body = super().receive()
                if kind == Kind.GROUP:
                    body = body[:24] + bytes([body[24] ^ 1]) + body[25:]
                return kind, body

        connection = Damaged(parse_address(self.server.address + "damaged"))
        self.addCleanup(connection.close)
        with redirect_stderr(io.StringIO()):
            code = Download(connection, self.destination).run()
        self.assertEqual((code, os.listdir(self.destination)), (INTEGRITY, []))


def load_tests(loader, standard_tests, _pattern):
    standard_tests.addTests(loader.loadTestsFromModule(test_hostile_client))
    return standard_tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
