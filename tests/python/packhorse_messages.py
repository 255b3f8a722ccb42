"""The messages of the native protocol, after "Encoding" and what follows it in PROTOCOL.md."""

import collections
import enum
import struct

from blake3 import blake3

from blake3_groups import GROUP


class Kind(enum.IntEnum):
    """The types of "Frames"."""

    HELLO, TREE, MORE, CLOSE_TREE, FETCH, READ, COMPLETE = range(1, 8)
    WELCOME, DENIED, PAGE, CONTENTS, GROUP, HOLE, HASHES, DONE, FAILED = range(64, 73)


class Want(enum.IntEnum):
    """What a Read asks for."""

    CONTENT, HASHES = range(2)


DENIALS = ["version", "access", "busy", "leaving"]
REFUSALS = [
    "NotFound", "PermissionDenied", "Special", "LeavesTree", "IsDirectory", "NotDirectory",
    "LinkLoop", "UnusableName", "Changed", "TooLarge", "Unreadable", "Busy",
]  # fmt: skip

REQUEST_BYTES_MAX = 64 << 10
ANSWER_BYTES_MAX = (1 << 20) + (64 << 10)
INLINE_BYTES_MAX = 256 << 10
PATH_BYTES_MAX = 4095

SOME_FAILED, USAGE, NO_CONNECTION, REFUSED, INTEGRITY, LOCAL_IO = range(1, 7)


class Stop(Exception):
    """Ends the run with an exit code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Violation(Stop):
    """The server broke the protocol: nothing more that it says counts."""

    def __init__(self, message):
        super().__init__(NO_CONNECTION, f"the server broke the protocol: {message}")


class Refusal(Exception):
    """The server's reason why one file or tree cannot be had."""

    def __init__(self, number):
        super().__init__(REFUSALS[number])
        self.number = number


# "Encoding"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def byte_string(content):
    return varint(len(content)) + content


def option(encoded):
    return b"\0" if encoded is None else b"\1" + encoded


def list_of(encoded):
    return varint(len(encoded)) + b"".join(encoded)


def entry_options(follow_links=False, xattrs=False, hard_links=False):
    return bytes([follow_links, xattrs, hard_links])


def cursor(directory, after=None):
    return byte_string(directory) + option(None if after is None else byte_string(after))


def hello(proof=None):
    return varint(1) + varint(0) + option(proof)


def tree(number, path, recursive=True, inline_bytes_max=INLINE_BYTES_MAX, include=(), exclude=(), after=None):
    patterns = b"".join(list_of([byte_string(p) for p in side]) for side in (include, exclude))
    head = varint(number) + byte_string(path) + entry_options() + bytes([recursive])
    return head + varint(inline_bytes_max) + patterns + option(after)


def fetch(paths):
    return entry_options() + list_of([byte_string(path) for path in paths])


def read(path, what, start, end, version=None):
    return byte_string(path) + b"\0" + varint(what) + varint(start) + varint(end) + option(version)


FileInfo = collections.namedtuple("FileInfo", "size mtime_ns mode version sparse link_group xattrs")
DirectoryInfo = collections.namedtuple("DirectoryInfo", "mtime_ns mode xattrs")
Directory = collections.namedtuple("Directory", "path info")
File = collections.namedtuple("File", "name info content")
Link = collections.namedtuple("Link", "name target mtime_ns")
Skipped = collections.namedtuple("Skipped", "path refusal")
End = collections.namedtuple("End", "")
Group = collections.namedtuple("Group", "index version content hash")
Hole = collections.namedtuple("Hole", "start count version")
Hashes = collections.namedtuple("Hashes", "start version hashes")
Done = collections.namedtuple("Done", "version size settled")


class Body:
    """Reads one frame's body from front to back."""

    def __init__(self, content):
        self.rest = memoryview(content)

    def raw(self, count):
        if count > len(self.rest):
            raise Violation("a body ends too early")
        taken, self.rest = bytes(self.rest[:count]), self.rest[count:]
        return taken

    def varint(self, bits=64):
        number = 0
        for shift in range(0, bits, 7):
            byte = self.raw(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise Violation("a number without end")
        if number >> bits:
            raise Violation("a number too large")
        return number

    def bool(self):
        return bool(self.choice(2))

    def choice(self, count):
        number = self.varint(32)
        if number >= count:
            raise Violation(f"a choice of {number} among {count}")
        return number

    def bytes(self):
        return self.raw(self.varint())

    def option(self, inner):
        return inner() if self.bool() else None

    def list(self, inner):
        return [inner() for _ in range(self.varint())]

    def end(self):
        if self.rest:
            raise Violation("bytes behind a message")

    def time_ns(self):
        zigzag = self.varint()
        nanoseconds = self.varint(32)
        if nanoseconds >= 10**9:
            raise Violation("nanoseconds beyond a second")
        return (zigzag >> 1 ^ -(zigzag & 1)) * 10**9 + nanoseconds

    def mode(self):
        return self.varint(16) & 0o1777

    def xattrs(self):
        return self.list(lambda: (self.bytes(), self.bytes()))

    def name(self):
        name = self.bytes()
        if (
            not 1 <= len(name) <= 255
            or name in (b".", b"..", b".packhorse-partial")
            or b"/" in name
            or b"\0" in name
        ):
            raise Violation(f"the name {name!r}")
        return name

    def file_info(self):
        info = FileInfo(
            self.varint(),
            self.time_ns(),
            self.mode(),
            self.raw(16),
            self.bool(),
            self.varint(),
            self.xattrs(),
        )
        if info.size >> 63:
            raise Violation("a size beyond 2^63 - 1")
        return info

    def inline(self, info):
        content, digest = self.bytes(), self.raw(32)
        if len(content) != info.size or len(content) > INLINE_BYTES_MAX:
            raise Violation("content in line of another length than the file")
        if blake3(content).digest() != digest:
            raise Stop(INTEGRITY, "content in line with a wrong hash")
        return content

    def item(self):
        """One item of a Page."""
        kind = self.choice(5)
        if kind == 0:
            return Directory(self.bytes(), DirectoryInfo(self.time_ns(), self.mode(), self.xattrs()))
        if kind == 1:
            name, info = self.name(), self.file_info()
            return File(name, info, self.option(lambda: self.inline(info)))
        if kind == 2:
            link = Link(self.name(), self.bytes(), self.time_ns())
            if not 1 <= len(link.target) <= PATH_BYTES_MAX or b"\0" in link.target:
                raise Violation(f"the link target {link.target!r}")
            return link
        return Skipped(self.bytes(), self.choice(12)) if kind == 3 else End()

    def content_item(self):
        """One item of Contents."""
        if self.choice(2):
            return Refusal(self.choice(12))
        info = self.file_info()
        return info, self.inline(info)

    def items(self, inner):
        items = []
        while self.rest:
            items.append(inner())
        if not items:
            raise Violation("an answer without items")
        return items


def parse_read_answer(kind, content):
    """A frame of the answer to Read."""
    body = Body(content)
    if kind == Kind.GROUP:
        index, version = struct.unpack("<Q16s", body.raw(24))
        if not 33 <= len(body.rest) <= GROUP + 32:
            raise Violation("a group of a wrong length")
        return Group(index, version, body.raw(len(body.rest) - 32), body.raw(32))
    if kind == Kind.HASHES:
        start, version, count = body.varint(), body.raw(16), len(body.rest) // 32
        answer = Hashes(start, version, [body.raw(32) for _ in range(count)])
    elif kind == Kind.HOLE:
        answer = Hole(body.varint(), body.varint(), body.raw(16))
    elif kind == Kind.DONE:
        answer = Done(body.raw(16), body.varint(), body.bool())
    elif kind == Kind.FAILED:
        answer = Refusal(body.choice(12))
    else:
        raise Violation(f"frame {kind} where the answer to a Read was due")
    body.end()
    return answer
