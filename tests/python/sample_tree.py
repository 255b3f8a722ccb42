"""A tree with everything in it that is hard to carry, and how to compare two trees."""

import os
import random
import stat

KIB, MIB = 1 << 10, 1 << 20

NAMES = [
    b"plain", b"caf\xe9 in Latin-1", b"caf\xc3\xa9", b"cafe\xcc\x81", b"new\nline", b"\x1b[31mred",
    b"\xe2\x80\xaertl", b"-rf", b" ", b"...", b"..a", b"back\\slash", b"CON", b"%2e%2e", b"a:b", b"\xff\xfe",
    b"x" * 255,
]  # fmt: skip
SIZES = [
    0, 1, 1023, 1024, 1025, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5,
]  # fmt: skip
MODES = [0o600, 0o644, 0o755, 0o400, 0o1777, 0o4755]
TIMES_NS = [0, 1, -1, -1_500_000_000, 1_700_000_000_123_456_789, 4_102_444_800_999_999_999]
# Where data lies in sparse files, and their sizes.
HOLES = {
    b"in the middle": ([0, 5 * MIB], 8 * MIB + 123),
    b"at the start": ([3 * MIB], 3 * MIB + 9),
    b"at the end": ([0], 9 * MIB),
    b"nothing else": ([], 2 * MIB + KIB),
    b"in line": ([], 100 * KIB),
    b"many groups": ([0, 20 * MIB], 25 * MIB),
}


def make(root):
    """Fills the directory `root`, a path in bytes."""
    numbers = random.Random(7225)
    for part in (b"names", b"sizes", b"modes", b"times", b"holes", b"links", b"empty", b"special", b"many"):
        os.mkdir(os.path.join(root, part))
    for name in NAMES:
        write(root, b"names/" + name, name)
        os.makedirs(os.path.join(root, b"names", b"under " + name[:200], name))
    for size in SIZES:
        write(root, b"sizes/%d" % size, numbers.randbytes(size))
    for mode in MODES:
        os.chmod(write(root, b"modes/%o" % mode, b"mode"), mode)
    for mode in (0o700, 0o755, 0o500, 0o1777):
        os.mkdir(os.path.join(root, b"modes/%o.d" % mode))
        os.chmod(os.path.join(root, b"modes/%o.d" % mode), mode)
    for number, (name, (places, size)) in enumerate(HOLES.items()):
        path = write(root, b"holes/" + name, b"")
        with open(path, "r+b") as file:
            file.truncate(size)
            for place in places:
                file.seek(place)
                file.write(b"data %d" % number)
    for number in range(5000):
        write(root, b"many/%05d" % number, b"%d" % number if number % 2 else b"")
    deep = os.path.join(root, *[b"deep"] * 40)
    os.makedirs(deep)
    write(deep, b"down here", b"deep")
    _make_links(os.path.join(root, b"links"))
    _make_special(os.path.join(root, b"special"))
    _set_times(root)


def write(root, name, content):
    path = os.path.join(root, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def _make_links(root):
    os.symlink(b"../names/plain", os.path.join(root, b"to a file"))
    os.symlink(b"../names", os.path.join(root, b"to a directory"))
    os.symlink(b"nothing \xff here", os.path.join(root, b"dangling"))
    os.symlink(b"loop", os.path.join(root, b"loop"))
    os.symlink(b".", os.path.join(root, b"here"))


def _make_special(root):
    """What a server skips: `comparable` leaves the directory's content out."""
    os.mkfifo(os.path.join(root, b"fifo"))
    os.mknod(os.path.join(root, b"socket"), stat.S_IFSOCK | 0o600)
    os.symlink(b"/etc/passwd", os.path.join(root, b"absolute"))
    os.symlink(b"../../outside", os.path.join(root, b"outside"))


def _set_times(root):
    """Gives each entry a time of its own, directories last and deepest first."""
    for number, time in enumerate(TIMES_NS):
        write(root, b"times/%d" % number, b"time")
        os.utime(os.path.join(root, b"times/%d" % number), ns=(time, time))
    count = 0
    for directory, directories, files in os.walk(root, topdown=False):
        links = [each for each in directories if os.path.islink(os.path.join(directory, each))]
        places = [os.path.join(directory, each) for each in files + links]
        if directory.endswith(b"/times"):
            places = []
        for place in [*places, directory]:
            count += 1
            time = 1_600_000_000_000_000_001 + count * 1_000_000_007
            os.utime(place, ns=(time, time), follow_symlinks=False)


def comparable(root):
    """What must be equal of two trees: a line for each entry."""
    entries = {}
    for directory, directories, files in os.walk(root):
        inside = os.path.relpath(directory, root)
        entries[inside] = describe(directory)
        for name in files + [each for each in directories if os.path.islink(os.path.join(directory, each))]:
            if inside != b"special":
                entries[os.path.join(inside, name)] = describe(os.path.join(directory, name))
    return entries


def describe(path):
    state = os.lstat(path)
    if stat.S_ISLNK(state.st_mode):
        return "link", os.readlink(path), state.st_mtime_ns
    mode = state.st_mode & 0o1777
    if stat.S_ISDIR(state.st_mode):
        return "directory", mode, state.st_mtime_ns
    with open(path, "rb") as file:
        return "file", state.st_size, file.read(), mode, state.st_mtime_ns
