"""A second client of the native protocol, written from PROTOCOL.md alone.

    packhorse_client.py DEST < ADDRESS

fetches what ADDRESS names into the empty directory DEST. It is small and slow on
purpose: its worth is that it shares no line with the Rust client. Names in
quotation marks are sections of PROTOCOL.md. Exit codes are the real client's:
0 all done, 1 some files failed, 2 usage, 3 no connection, 4 refused, 5 integrity,
6 this machine's disk.
"""

import collections
import os
import sys

from blake3 import blake3

from blake3_groups import GROUP, root_of_groups
from packhorse_connection import Connection, parse_address
from packhorse_messages import (
    INTEGRITY,
    LOCAL_IO,
    PATH_BYTES_MAX,
    REFUSALS,
    SOME_FAILED,
    USAGE,
    Body,
    Directory,
    End,
    File,
    Group,
    Hashes,
    Hole,
    Kind,
    Link,
    Refusal,
    Skipped,
    Stop,
    Violation,
    Want,
    byte_string,
    hello,
    read,
    tree,
    varint,
)

GROUPS_PER_READ = 8
READS_AHEAD = 2
ATTEMPTS_MAX = 3

CHANGED = REFUSALS.index("Changed")
BY_KIND = [REFUSALS.index("Special"), REFUSALS.index("LeavesTree")]


class TreeOrder:
    """Refuses items that are not in the order of "Trees", and says where they lie."""

    def __init__(self):
        self.walk = []  # the directories that it is in, from the root down
        self.alone = False
        self.ended = False

    def path_of(self, item):
        if self.ended or self.alone:
            raise Violation("an item behind the end of a tree, or beside a single file")
        if isinstance(item, Directory):
            return self._enter(item.path)
        if not self.walk:
            self.alone = True
            return item.name
        here = self.walk[-1]
        if item.name <= here.last_file:
            raise Violation(f"{item.name!r} behind {here.last_file!r}")
        here.files.add(item.name)
        here.last_file = item.name
        return b"/".join([above.name for above in self.walk[1:]] + [item.name])

    def _enter(self, path):
        if bool(self.walk) != bool(path) or len(path) > PATH_BYTES_MAX:
            raise Violation(f"the directory {path!r} out of order")
        if not path:
            self.walk.append(OpenDirectory(b""))
            return path
        *parent, name = [Body(byte_string(each)).name() for each in path.split(b"/")]
        if [above.name for above in self.walk[1 : len(parent) + 1]] != parent:
            raise Violation(f"the directory {path!r} without its parent")
        del self.walk[len(parent) + 1 :]
        above = self.walk[-1]
        if name <= above.last_directory or name in above.files:
            raise Violation(f"the directory {path!r} twice or out of order")
        above.last_directory = name
        self.walk.append(OpenDirectory(name))
        return path


class OpenDirectory:
    """A directory that the walk is in, and what came in it so far."""

    def __init__(self, name):
        self.name = name
        self.files = set()
        self.last_file = self.last_directory = b""


class Download:
    """Fetches one tree into an empty directory."""

    def __init__(self, connection, destination):
        self.connection = connection
        self.destination = os.fsencode(destination)
        self.large, self.directories = [], []
        self.files = self.bytes = self.failed = 0
        self.integrity_lost = False

    def run(self):
        """Returns the exit code."""
        connection = self.connection
        connection.send(Kind.HELLO, hello(connection.proof(b"client")))
        connection.send(Kind.TREE, tree(1, connection.address.path))
        connection.send(Kind.MORE, varint(1))
        connection.finish_greeting()
        try:
            self._take_tree()
        except Refusal as refusal:
            self._report_failed(connection.address.path, refusal)
        for path, source, info in self.large:
            self._take_large(path, source, info)
        for path, info in reversed(self.directories):
            self._set_metadata(path, info)
        connection.send(Kind.COMPLETE, varint(self.files) + varint(self.bytes) + varint(self.failed))
        return INTEGRITY if self.integrity_lost else SOME_FAILED if self.failed else 0

    def _take_tree(self):
        order, items = TreeOrder(), []
        while End() not in items:
            items = self.connection.receive_page()
            if End() not in items:
                self.connection.send(Kind.MORE, varint(1))
            for item in items:
                self._take_item(order, item)
        # The page asked for ahead holds the end again.
        if self.connection.receive_page() != [End()]:
            raise Violation("a page behind the end")
        self.connection.send(Kind.CLOSE_TREE, varint(1))

    def _take_item(self, order, item):
        if isinstance(item, Skipped):
            if order.ended:
                raise Violation("an item behind the end of a tree")
            return self._skip(item)
        if isinstance(item, End):
            order.ended = True
            return None
        path = order.path_of(item)
        place = self._place(path)
        if isinstance(item, Directory):
            if path:
                os.mkdir(place, 0o700)
            self.directories.append((path, item.info))
        elif isinstance(item, Link):
            os.symlink(item.target, place)
            os.utime(place, ns=(item.mtime_ns, item.mtime_ns), follow_symlinks=False)
        elif item.content is not None:
            with self._create(path) as file:
                file.truncate(item.info.size)
                write_around_zeros(file, 0, item.content, item.info.sparse)
            self.bytes += item.info.size
            self._finish_file(path, item.info)
        else:
            root = self.connection.address.path
            source = root if order.alone else b"/".join(filter(None, [root, path]))
            self.large.append((path, source, item.info))
        return None

    def _take_large(self, path, source, info):
        for attempt in range(ATTEMPTS_MAX):
            try:
                if attempt > 0:
                    info = self._current_info(source)
                with self._create(path) as file:
                    file.truncate(info.size)
                    is_whole = self._take_content(file, source, info)
                if is_whole:
                    return self._finish_file(path, info)
                why = "it arrives damaged, again and again"
            except Refusal as refusal:
                why = refusal
            self._remove(path)
            if isinstance(why, Refusal) and why.number != CHANGED:
                break
        self.integrity_lost |= not isinstance(why, Refusal)
        return self._report_failed(path, why)

    def _current_info(self, source):
        """What the file is now, by a tree that holds it alone."""
        self.connection.send(Kind.TREE, tree(2, source, inline_bytes_max=0))
        self.connection.send(Kind.CLOSE_TREE, varint(2))
        item = self.connection.receive_page()[0]
        if not isinstance(item, File):
            raise Refusal(CHANGED)
        return item.info

    def _take_content(self, file, source, info):
        """Whether the content has the hash that the server says, when it is of one version.

        Raises Changed if the source is another by now, by the rules of "Versions".
        """
        count = -(-info.size // GROUP)
        hashes, settled, same = self._take_groups(file, source, info, count)
        # A Done asked for only now, after the last group, says that this is still the version. If a
        # Done was not settled, hashes asked for now say whether this is still the content. Holes bring
        # no hash, and their chaining values cost too much in Python: those are asked for as well.
        if settled and None not in hashes:
            self.connection.send(Kind.READ, read(source, Want.CONTENT, 0, 0, info.version))
            done = self.connection.receive_read_answer()[-1]
            same = same and done.version == info.version
        else:
            now = []
            for _, answer in self._answers(source, Want.HASHES, count, info.version):
                same = same and all(frame.version == info.version for frame in answer)
                now += [each for frame in answer if isinstance(frame, Hashes) for each in frame.hashes]
            if len(now) != count:
                raise Violation("hashes of other groups than were asked for")
            same = same and all(old in (None, new) for old, new in zip(hashes, now, strict=True))
            hashes = now
        if not same:
            raise Refusal(CHANGED)
        return blake3_of(file) == root_of_groups(hashes)

    def _take_groups(self, file, source, info, count):
        """Writes all groups; their hashes, whether every Done was settled, and whether all is one version."""
        hashes, settled, same = [None] * count, True, True
        for start, answer in self._answers(source, Want.CONTENT, count, info.version):
            at, end = start, min(start + GROUPS_PER_READ, count)
            for frame in answer:
                same = same and frame.version == info.version
                if isinstance(frame, Group):
                    due = min(GROUP, info.size - at * GROUP)
                    if frame.index != at or at == end or len(frame.content) != due:
                        raise Violation("a group that is not the next")
                    hashes[at] = frame.hash
                    write_around_zeros(file, at * GROUP, frame.content, info.sparse)
                    self.bytes += due
                    at += 1
                elif isinstance(frame, Hole):
                    if frame.start != at or not 1 <= frame.count <= end - at:
                        raise Violation("a hole that is not next")
                    at += frame.count
                elif isinstance(frame, Hashes):
                    raise Violation("hashes where content was due")
                else:
                    settled = settled and frame.settled
            if at != end:
                raise Violation("an answer of another length than its request")
        return hashes, settled, same

    def _answers(self, source, what, count, version):
        """Sends the Reads of a whole file, some ahead, and yields (start, frames) of each answer."""
        unsent = collections.deque(range(0, count, GROUPS_PER_READ))
        waiting = collections.deque()
        refusal = None
        while unsent or waiting:
            while unsent and len(waiting) < READS_AHEAD:
                start = unsent.popleft()
                body = read(source, what, start, min(start + GROUPS_PER_READ, count), version)
                self.connection.send(Kind.READ, body)
                waiting.append(start)
            try:
                yield waiting.popleft(), self.connection.receive_read_answer()
            except Refusal as error:
                # What was asked for ahead is answered all the same.
                refusal = error
                unsent.clear()
        if refusal:
            raise refusal

    def _place(self, path):
        return os.path.join(self.destination, path) if path else self.destination

    def _create(self, path):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return open(os.open(self._place(path), flags, 0o600), "r+b", buffering=0)

    def _set_metadata(self, path, info):
        os.chmod(self._place(path), info.mode)
        os.utime(self._place(path), ns=(info.mtime_ns, info.mtime_ns))

    def _finish_file(self, path, info):
        self._set_metadata(path, info)
        self.files += 1

    def _remove(self, path):
        if os.path.lexists(self._place(path)):
            os.unlink(self._place(path))

    def _skip(self, item):
        """A special file, or a link out of the tree, is left out for what it is: not a failure."""
        if item.refusal not in BY_KIND:
            return self._report_failed(item.path, Refusal(item.refusal))
        print(f"skipped: {item.path!r}: {REFUSALS[item.refusal]}", file=sys.stderr)
        return None

    def _report_failed(self, path, why):
        self.failed += 1
        print(f"failed: {path!r}: {why}", file=sys.stderr)


def write_around_zeros(file, offset, content, sparse):
    """Writes; in a sparse file leaves out blocks of zeros."""
    step = 4096 if sparse else len(content) or 1
    for at in range(0, len(content), step):
        block = content[at : at + step]
        if not sparse or block.count(0) != len(block):
            os.pwrite(file.fileno(), block, offset + at)


def blake3_of(file):
    hasher = blake3()
    file.seek(0)
    while content := file.read(GROUP):
        hasher.update(content)
    return hasher.digest()


def main(arguments):
    if len(arguments) != 2 or not os.path.isdir(arguments[1]) or os.listdir(arguments[1]):
        print("usage: packhorse_client.py EMPTY-DIRECTORY < ADDRESS", file=sys.stderr)
        return USAGE
    try:
        connection = Connection(parse_address(sys.stdin.readline()))
        code = Download(connection, arguments[1]).run()
        connection.close()
        return code
    except Stop as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except OSError as error:
        print(error, file=sys.stderr)
        return LOCAL_IO


if __name__ == "__main__":
    sys.exit(main(sys.argv))
