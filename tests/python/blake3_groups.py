"""The part of BLAKE3 that the `blake3` package does not offer: chaining values of groups.

Slow, since in plain Python: a merge costs some 50 microseconds, a group of 1 MiB a second.
"""

import struct

GROUP = 1 << 20

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
CHUNK = 1024
MASK = 0xFFFFFFFF


def root_of_groups(hashes):
    """The BLAKE3 hash of a file whose groups have these hashes ("Groups")."""
    if not hashes:
        return _chunk(b"", 0, ROOT)
    return hashes[0] if len(hashes) == 1 else _merge(hashes, ROOT)


def group_hash(content, index, only):
    """The hash of the group `index`; the BLAKE3 hash itself if it is the file's `only` group."""
    chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)] or [b""]
    return _subtree(chunks, index * (GROUP // CHUNK), ROOT if only else 0)


def _subtree(chunks, counter, flags):
    if len(chunks) == 1:
        return _chunk(chunks[0], counter, flags)
    left = _left_part(len(chunks))
    pair = _subtree(chunks[:left], counter, 0) + _subtree(chunks[left:], counter + left, 0)
    return _compress(IV, pair, 0, 64, PARENT | flags)


def _merge(hashes, flags):
    if len(hashes) == 1:
        return hashes[0]
    left = _left_part(len(hashes))
    return _compress(IV, _merge(hashes[:left], 0) + _merge(hashes[left:], 0), 0, 64, PARENT | flags)


def _left_part(count):
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _chunk(content, counter, flags):
    value, blocks = IV, [content[at : at + 64] for at in range(0, len(content), 64)] or [b""]
    for number, block in enumerate(blocks):
        start = CHUNK_START if number == 0 else 0
        end = CHUNK_END | flags if number == len(blocks) - 1 else 0
        output = _compress(value, block.ljust(64, b"\0"), counter, len(block), start | end)
        value = struct.unpack("<8I", output)
    return output


def _compress(value, block, counter, length, flags):
    words = struct.unpack("<16I", block)
    state = [*value, *IV[:4], counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for lane in range(4):
            _mix(state, lane, 4 + lane, 8 + lane, 12 + lane, words[2 * lane], words[2 * lane + 1])
        for lane in range(4):
            down, across, up = 4 + (lane + 1) % 4, 8 + (lane + 2) % 4, 12 + (lane + 3) % 4
            _mix(state, lane, down, across, up, words[8 + 2 * lane], words[9 + 2 * lane])
        words = [words[place] for place in ORDER]
    return struct.pack("<8I", *(state[at] ^ state[at + 8] for at in range(8)))


def _mix(state, a, b, c, d, first, second):
    for word, right, less in ((first, 16, 12), (second, 8, 7)):
        state[a] = (state[a] + state[b] + word) & MASK
        state[d] = _rotate(state[d] ^ state[a], right)
        state[c] = (state[c] + state[d]) & MASK
        state[b] = _rotate(state[b] ^ state[c], less)


def _rotate(word, right):
    return (word >> right | word << 32 - right) & MASK
