#!/usr/bin/env python3
"""Writes the test vectors beside this file, from PROTOCOL.md alone.

It shares no code with the crate and has no cleverness: whoever doubts a vector can read how it
came about. `--check` changes nothing and fails if a file is not what would be written.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
U32 = 0xFFFF_FFFF


# -- PROTOCOL.md ----------------------------------------------------------------------------------


def le(number, size):
    """The low `size` bytes of a number, the lowest first."""
    return (number & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def crc32c(data):
    crc = U32
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)  # 0x1EDC6F41 reflected
    return crc ^ U32


def cobs(data):
    """§2: a piece ends before a zero, which it then stands for, or after 254 bytes, or with the data."""
    frame = b""
    while True:
        piece = data[:254].split(b"\0")[0]
        frame += bytes([len(piece) + 1]) + piece
        data = data[len(piece) :]
        if not data:
            return frame + b"\0"
        if len(piece) < 254:
            data = data[1:]


def frame_size(packet_len):
    """§2"""
    return packet_len + 4 + -(-(packet_len + 4) // 254) + 1


def max_payload(frame_limit):
    """§7.1"""
    return frame_limit - -(-(frame_limit - 1) // 255) - 15


def length(number):
    """§7: LEB128"""
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def ttl_milliseconds(byte):
    """§7.3"""
    return byte if byte < 16 else (16 + byte % 16) * 2 ** (byte // 16 - 1)


def ttl_byte(milliseconds):
    """§7.3: rounded down, but at least 1"""
    return max(byte for byte in range(256) if ttl_milliseconds(byte) <= max(milliseconds, 1))


def number_len(number, largest_acked):
    """§5.1"""
    ahead = number - (0 if largest_acked is None else largest_acked + 1)
    return next((size for size in (1, 2, 3) if 2 * ahead < 1 << (8 * size)), 4)


def restore(largest_received, size, low):
    """RFC 9000 A.3, as §5.1 wants it: for 64 bits, and from 0 when nothing has been received."""
    expected = 0 if largest_received is None else largest_received + 1
    window = 1 << (8 * size)
    candidate = expected - expected % window + low
    if candidate <= expected - window // 2:
        return candidate + window
    if candidate > expected + window // 2 and candidate >= window:
        return candidate - window
    return candidate


def restore_ack(largest_acked, next_number, size, low):
    """§6: like a packet number, from the largest acknowledged one, and below the next one."""
    number = restore(largest_acked, size, low)
    return number if number < next_number else None


def end(inc_chal):
    return le(inc_chal[0], 4) + le(inc_chal[1], 4)


def session_id(a, b):
    """§8.1: ends are compared as the numbers (inc, chal)."""
    return crc32c(end(min(a, b)) + end(max(a, b)))


def session_check(sender, receiver, number, ack, packet):
    """§3"""
    bound = end(sender) + end(receiver) + le(number >> 32, 4) + le(number, 4)
    return crc32c(bound + (b"" if ack is None else le(ack, 4)) + packet)


ACK_LENS = [0, 1, 2, 4]
BITMAP_LENS = [0, 1, 4, 8]


def header(number, number_len, ack, ack_len, bitmap_len, bitmap, fresh):
    """§5"""
    flags = 0x80 | (number_len - 1) << 5 | ACK_LENS.index(ack_len) << 3 | BITMAP_LENS.index(bitmap_len) << 1 | fresh
    return bytes([flags]) + le(number, number_len) + le(ack or 0, ack_len) + le(bitmap, bitmap_len)


# §7. Each message is the pair of its text and its bytes; `to_end` leaves out the length.


def with_payload(payload, to_end):
    if to_end:
        return f"payload={payload.hex()}", payload
    return f"length={len(payload)} payload={payload.hex()}", length(len(payload)) + payload


def ping():
    return "ping", bytes([0x00])


def close():
    return "close", bytes([0x01])


def cancel(slot, sequence):
    return f"cancel slot={slot} sequence={sequence}", bytes([0x02, slot, sequence])


def notify(sequence, key, payload, to_end=True):
    text, tail = with_payload(payload, to_end)
    kind = 0x04 | (not to_end)
    return f"notify sequence={sequence} key={key:#06x} {text}", bytes([kind]) + le(sequence, 2) + le(key, 2) + tail


def notify_long(sequence, key, payload, to_end=True):
    text, tail = with_payload(payload, to_end)
    kind = 0x0C | (not to_end)
    return f"notify_long sequence={sequence} key={key:#06x} {text}", bytes([kind]) + le(sequence, 3) + le(key, 2) + tail


def notify_next(sequence, key, payload, to_end=True, word="notify_next"):
    text, tail = with_payload(payload, to_end)
    return f"{word} sequence={sequence} key={key:#06x} {text}", bytes([0x06 | (not to_end)]) + tail


def publish(sequence, key, payload, to_end=True):
    text, tail = with_payload(payload, to_end)
    kind = 0x08 | (not to_end)
    return f"publish sequence={sequence} key={key:#06x} {text}", bytes([kind]) + le(sequence, 2) + le(key, 2) + tail


def request(slot, sequence, key, payload, to_end=True, ttl=None):
    text, tail = with_payload(payload, to_end)
    code = (1 if to_end else 2) + (0 if ttl is None else 2)
    head = bytes([code << 5 | slot, sequence]) + le(key, 2) + (b"" if ttl is None else bytes([ttl]))
    ttl_text = "" if ttl is None else f"ttl={ttl} "
    return f"request slot={slot} sequence={sequence} key={key:#06x} {ttl_text}{text}", head + tail


def response(slot, sequence, payload, to_end=True):
    text, tail = with_payload(payload, to_end)
    code = 5 if to_end else 6
    return f"response slot={slot} sequence={sequence} {text}", bytes([code << 5 | slot, sequence]) + tail


def refusal(slot, sequence, code):
    return f"refusal slot={slot} sequence={sequence} code={code}", bytes([7 << 5 | slot, sequence, code])


# §13. A schema is written in JSON: the name of a type that has no parts, or an object of one field:
# {"option": T}, {"seq": T}, {"map": [K, V]}, {"tuple": [T, ...]}, {"struct": [[name, T], ...]} or
# {"enum": [[name, content], ...]}, where a content is written like the type that it would be as a value.

LETTERS = {
    "bool": "b", "u8": "C", "i8": "c", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q",
    "u128": "O", "i128": "o", "usize": "N", "isize": "n", "f32": "f", "f64": "d", "char": "r", "text": "s", "nothing": "u",
}


def schema(value):
    """§13.1"""
    if isinstance(value, str):
        return LETTERS[value].encode()
    [(kind, parts)] = value.items()
    named = lambda: b"".join(name.encode() + b"\0" + schema(part) for name, part in parts)
    return {
        "option": lambda: b"?" + schema(parts),
        "seq": lambda: b"*" + schema(parts),
        "map": lambda: b"m" + schema(parts[0]) + schema(parts[1]),
        "tuple": lambda: b"(" + b"".join(map(schema, parts)) + b")",
        "struct": lambda: b"{" + named() + b"}",
        "enum": lambda: b"<" + named() + b">",
    }[kind]()


def fnv1a(data):
    """§13.2"""
    number = 0x811C9DC5
    for byte in data:
        number = (number ^ byte) * 0x01000193 & U32
    return number


KINDS = {"at_most_once": b"A", "idempotent": b"I", "notify": b"N", "publish": b"P"}


def hashed(kind, name, sent, answered):
    """§13.2"""
    return KINDS[kind] + name.encode() + b"\0" + schema(sent) + schema(answered)


def key(number):
    """§13.2"""
    return number >> 16 ^ number & 0xFFFF


def digest(hashes):
    """§13.3"""
    return sum(hashes) & U32 or 1


# -- The format -----------------------------------------------------------------------------------

FILES = {}


class Vectors:
    """One file of records."""

    def __init__(self, path, title):
        self.lines = [f"# {title}", "# Written by generate.py; the format is in README.md.", ""]
        FILES[path] = self.lines

    def record(self, *fields, **named):
        for key, value in [*fields, *named.items()]:
            if value is None:
                value = "none"
            elif isinstance(value, bool):
                value = int(value)
            elif isinstance(value, bytes):
                value = value.hex()
            self.lines.append(f"{key} = {value}".rstrip())
        self.lines.append("")

    def table(self, name, key, rows):
        cells = [" ".join(c.hex() if isinstance(c, bytes) else "none" if c is None else str(c) for c in row) for row in rows]
        self.record(("name", name), *((key, row) for row in cells))


def u32(number):
    return None if number is None else f"{number:#010x}"


def frames_of(packet, check):
    frame = packet + le(check, 4)
    return {"packet": packet, "frame": frame, "stream": cobs(frame)}


# -- The vectors ----------------------------------------------------------------------------------


def counting(size):
    """Bytes without a zero, so that one out of place is seen."""
    return bytes(i % 255 + 1 for i in range(size))


def make_check():
    out = Vectors("check.txt", "CRC-32C (PROTOCOL.md, introduction).")
    cases = [
        ("nothing", b""),
        ("the check value", b"123456789"),
        ("32 zeros, RFC 3720 B.4", bytes(32)),
        ("32 ones, RFC 3720 B.4", b"\xff" * 32),
        ("32 ascending, RFC 3720 B.4", bytes(range(32))),
        ("32 descending, RFC 3720 B.4", bytes(reversed(range(32)))),
        ("one zero", b"\0"),
        ("one bit", b"\x01"),
        ("one byte more than a table of 16 takes at once", counting(17)),
    ]
    known = [0, 0xE3069283, 0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0x113FDB5C]
    for (name, data), crc in zip(cases, known):
        assert crc32c(data) == crc, name
    for name, data in cases:
        out.record(name=name, data=data, crc=u32(crc32c(data)))


def make_cobs():
    out = Vectors("cobs.txt", "COBS, with the delimiter (PROTOCOL.md §2).")
    cases = [
        ("nothing", b""),
        ("one zero", b"\0"),
        ("two zeros", bytes(2)),
        ("no zero", b"\x11\x22\x33\x44"),
        ("a zero in the middle", b"\x11\x22\0\x33"),
        ("a zero at the front", b"\0\x11"),
        ("a zero at the end", b"\x11\0"),
        ("zeros around and inside", b"\0\x11\0\0\x22\0"),
        ("254 zeros", bytes(254)),
    ]
    cases += [(f"{n} without a zero", counting(n)) for n in (252, 253, 254, 255, 256, 507, 508, 509, 762, 763)]
    for n in (253, 254, 255, 508):
        cases += [
            (f"{n} and a zero", counting(n) + b"\0"),
            (f"{n}, a zero, one more", counting(n) + b"\0\x11"),
            (f"a zero and {n}", b"\0" + counting(n)),
            (f"{n}, a zero, {n}", counting(n) + b"\0" + counting(n)),
        ]
    for name, data in cases:
        out.record(name=name, data=data, encoded=cobs(data))


def make_streams():
    out = Vectors("streams.txt", "What a receiver finds in a byte stream (PROTOCOL.md §2).")
    abc = b"\x11\x22\x33\x44\x55"

    def case(name, stream, frames, limit=64, overlong=0, malformed=0):
        fields = [("frame", frame) for frame in frames]
        out.record(("name", name), ("limit", limit), ("stream", stream), *fields, ("overlong", overlong), ("malformed", malformed))

    case("one frame", cobs(abc), [abc])
    case("delimiters before and behind", b"\0\0" + cobs(abc) + b"\0", [abc])
    case("two frames", cobs(abc) + cobs(b"\0\x66"), [abc, b"\0\x66"])
    case("no end yet", cobs(abc)[:-1], [])
    case("garbage, then a delimiter", b"\x02\xff\x7e\0" + cobs(abc), [abc], malformed=1)
    case("the tail of a frame", b"\x33\x44\0" + cobs(abc), [abc], malformed=1)
    case("a code that points past the end", b"\x07" + abc + b"\0" + cobs(abc), [abc], malformed=1)
    case("a code that points just past the end", b"\x06\x11\x22\x33\x44\0" + cobs(abc), [abc], malformed=1)
    case("a full piece that is cut short", b"\xff" + abc + b"\0" + cobs(abc), [abc], malformed=1)
    case("a second code that points past the end", b"\x02\x11\x03\x22\0" + cobs(abc), [abc], malformed=1)
    case("an empty last piece is a zero", b"\x02\x11\x01\0", [b"\x11\0"])
    full = counting(254)
    case("a full piece at the end", b"\xff" + full + b"\0", [full], limit=512)
    case("an empty piece behind a full one at the end", b"\xff" + full + b"\x01\0", [full], limit=512)
    case("a full piece, then a zero", b"\xff" + full + b"\x01\x01\0", [full + b"\0"], limit=512)
    for limit in (48, 64, 254, 255, 256, 257, 512):
        # The most data whose frame has no more bytes than the limit, and one more.
        most = max(n for n in range(limit) if len(cobs(counting(n))) <= limit)
        case(f"the largest frame for {limit}", cobs(counting(most)) + cobs(abc), [counting(most), abc], limit)
        case(f"one byte too much for {limit}", cobs(counting(most + 1)) + cobs(abc), [abc], limit, overlong=1)
    inside = counting(64) + b"\x06" + abc
    case("nothing of what is too long, whatever its tail is", inside + b"\0" + cobs(abc), [abc], overlong=1)
    case("too long and cut short is counted once", b"\xff" + counting(100) + b"\0" + cobs(abc), [abc], overlong=1)
    case("much too long", counting(255) * 4 + b"\0" + cobs(abc), [abc], overlong=1)


def make_sizes():
    out = Vectors("sizes.txt", "Sizes and lengths (PROTOCOL.md §§2, 7, 7.1).")
    packets = [1, 2, 6, 10, 29, 248, 249, 250, 251, 252, 503, 504, 505, 1000, 16384, 65272]
    limits = [48, 49, 64, 128, 255, 256, 257, 258, 511, 512, 513, 1024, 4096, 65535]
    out.table("size of a packet, of its frame", "frame", ((n, frame_size(n)) for n in packets))
    out.table("smaller frame size of both sides, largest payload", "payload", ((n, max_payload(n)) for n in limits))
    lengths = [0, 1, 127, 128, 255, 256, 300, 16383, 16384, 65534, 65535]
    out.table("a length, its bytes", "length", ((n, length(n)) for n in lengths))
    refused = [b"", b"\x80", b"\x80\x80", b"\x80\x80\x04", b"\xff\xff\x04", b"\xff\xff\x7f", b"\x80\x80\x80\x01", b"\xff\xff\xff\xff"]
    out.table("no length: cut short, above 65 535, more than 3 bytes", "no_length", ((n,) for n in refused))


def make_times():
    out = Vectors("times.txt", "Times to live (PROTOCOL.md §7.3).")
    out.table("every byte, its milliseconds", "byte", ((b, ttl_milliseconds(b)) for b in range(256)))
    exact = [1, 2, 15, 16, 31, 32, 33, 34, 35, 62, 63, 64, 65, 67, 68, 100, 127, 128, 500, 999, 1000, 5000, 10_000, 60_000]
    edges = [491_519, 491_520, 507_903, 507_904, 507_905, 3_600_000, 2**32 - 1, 2**32, 2**64 - 1]
    out.table("milliseconds, the byte that is sent", "milliseconds", ((ms, ttl_byte(ms)) for ms in exact + edges))


def make_numbers():
    out = Vectors("numbers.txt", "Packet numbers on the wire (PROTOCOL.md §§5.1, 6).")
    lens = [(0, None), (127, None), (128, None), (32767, None), (32768, None), (2**23 - 1, None), (2**23, None), (2**31, None)]
    lens += [(1, 0), (128, 0), (129, 0), (255, 127), (256, 127), (32768, 0), (32769, 0), (2**23, 0), (2**23 + 1, 0)]
    lens += [(2**32 + 127, 2**32 - 1), (2**32 + 128, 2**32 - 1), (2**40 + 5, 2**40), (2**40 + 5, None)]
    lens += [(0xAC5C02, 0xABE8B3), (0xACE8FE, 0xABE8B3)]  # RFC 9000 A.2
    out.table("number, largest acknowledged, least bytes", "number_len", ((n, a, number_len(n, a)) for n, a in lens))
    for number, acked in lens:
        size = number_len(number, acked)
        # What the rule is for: all that a receiver may have received since, up to the number before, restores it.
        for received in {acked, number - 1 if number else None, (number + (acked or 0)) // 2 if number - 1 > (acked or 0) else acked}:
            if size < 4 or number - (acked or 0) < 2**31:
                assert restore(received, size, number % 256**size) == number, (number, acked, received)

    rows = [(0xA82F30EA, 2, 0x9B32)]  # RFC 9000 A.3
    assert restore(*rows[0]) == 0xA82F9B32
    rows += [(None, size, low) for size in (1, 2, 3, 4) for low in (0, 1, 256**size // 2, 256**size // 2 + 1, 256**size - 1)]
    for size in (1, 2, 3, 4):
        window, half = 256**size, 256**size // 2
        # Expected is largest + 1: the far ends of the window around it, and both sides of a tie (the higher number).
        for largest in (half - 2, half - 1, half, window - 2, window - 1, 5 * window - 1, 5 * window + half, 2**40 - 1):
            expected = largest + 1
            for number in (expected - half, expected - half + 1, expected - 1, expected, expected + half - 1, expected + half):
                if number >= 0:
                    rows.append((largest, size, number % window))
    rows = list(dict.fromkeys(rows))
    out.table("largest received, bytes, low bytes, number", "restore", ((*row, restore(*row)) for row in rows))

    acks = [(None, 1, 1, 0), (None, 5, 1, 4), (None, 5, 1, 5), (3, 5, 1, 4), (3, 5, 1, 3), (3, 5, 1, 200), (None, 0, 1, 0)]
    acks += [(250, 256, 1, 255), (250, 256, 1, 0), (250, 257, 1, 0), (250, 300, 1, 43), (250, 300, 1, 44), (250, 300, 1, 130)]
    acks += [(15, 100_000, 1, 0x7F), (0x104, 100_000, 1, 0xFF), (0x104, 100_000, 2, 0x80FF), (None, 70_000, 2, 4463)]
    acks += [(65_530, 65_536, 2, 65_535), (None, 10, 2, 10), (None, 10, 4, 9), (None, 10, 4, 10)]
    acks += [(2**32 - 2, 2**32, 4, U32), (2**32 - 2, 2**32 + 1, 4, 0), (2**32 - 2, 2**32 + 1, 4, 1)]
    acks += [(2**40 + 3, 2**40 + 7, 4, 6), (2**40 + 3, 2**40 + 7, 4, 7), (2**40 + 3, 2**40 + 7, 1, 6), (2**40 - 3, 2**40, 1, 255)]
    columns = "largest acknowledged, next number to send, bytes, low bytes, number that the ack names"
    out.table(columns, "restore_ack", ((*row, restore_ack(*row)) for row in acks))


A = (0x11223344, 0x55667788)
B = (0x99AABBCC, 0xDDEEFF00)


def make_sessions():
    out = Vectors("sessions.txt", "Session ids, and the CRC-32C of the first 16 bytes under a check (PROTOCOL.md §§3, 8.1).")
    cases = [
        ("two nodes", A, B),
        ("the higher end first", B, A),
        ("same incarnation, other challenge", (7, 2), (7, 1)),
        ("compared as numbers, not byte by byte", (0x00000100, 5), (0x000000FF, 6)),
        ("compared without sign", (0x80000000, 1), (0x7FFFFFFF, 2)),
        ("challenges compared without sign", (3, 0xFFFFFFFF), (3, 0)),
        ("the incarnation decides before the challenge", (1, 9), (2, 8)),
        ("a node without entropy", (0, 1), B),
        ("nothing but zeros", (0, 0), (0, 0)),
    ]
    for name, a, b in cases:
        out.record(
            ("name", name), ("a_inc", u32(a[0])), ("a_chal", u32(a[1])), ("b_inc", u32(b[0])), ("b_chal", u32(b[1])),
            ("session", u32(session_id(a, b))), ("crc_a_to_b", u32(crc32c(end(a) + end(b)))), ("crc_b_to_a", u32(crc32c(end(b) + end(a)))),
        )


def hello_packet(inc, chal, echo, session, frame, slots, window, ttl, digest, version=1, reserved=0, behind=b""):
    flags = (echo is not None) | (session is not None) << 1 | reserved
    packet = bytes([0x01, version]) + le(inc, 4) + le(chal, 4) + bytes([flags]) + le(echo or 0, 4) + le(session or 0, 4)
    return packet + le(frame, 2) + bytes([slots]) + le(window, 2) + bytes([ttl]) + le(digest, 4) + behind


def make_hello():
    out = Vectors("hello.txt", "Packets without a session (PROTOCOL.md §4).")
    limits = {"frame": 64, "slots": 2, "window": 1, "ttl": 0x81, "digest": 0}
    large = {"frame": 65535, "slots": 32, "window": 65535, "ttl": 255, "digest": 0xFFFFFFFE}

    def case(name, echo=None, session=None, receive_only=False, inc=A[0], chal=A[1], numbers=limits, **more):
        packet = hello_packet(inc, chal, echo, session, **numbers, **more)
        fields = {
            "name": name, "kind": "hello", "receive_only": receive_only, "version": 1,
            "incarnation": u32(inc), "challenge": u32(chal), "echo": u32(echo), "session": u32(session),
            "frame_size": numbers["frame"], "reply_slots": numbers["slots"], "notify_window": numbers["window"],
            "time_to_live": numbers["ttl"], "schema_digest": u32(numbers["digest"]),
        }
        assert receive_only or len(packet) == 29
        out.record(**fields, **frames_of(packet, crc32c(packet)))

    case("nothing known of the peer")
    case("echo", echo=B[1])
    case("echo and session", echo=B[1], session=session_id(A, B))
    case("session without echo", session=session_id(A, B))
    case("echo and session that are zero", echo=0, session=0)
    case("no incarnation", inc=0, chal=1)
    case("largest limits", numbers=large, echo=U32, session=U32, inc=U32, chal=U32)
    case("smallest limits", numbers={"frame": 48, "slots": 0, "window": 0, "ttl": 0, "digest": 1})
    case("reserved flags are ignored", echo=B[1], reserved=0xFC, receive_only=True)
    case("bytes behind the known ones are ignored", echo=B[1], behind=b"\x01\x02\x03", receive_only=True)

    for name, version, challenge in [("version 1", 1, B[1]), ("version 2", 2, 0), ("the last version", 255, U32)]:
        packet = bytes([0x02, version]) + le(challenge, 4)
        fields = {"name": name, "kind": "version", "receive_only": version != 1, "version": version, "challenge": u32(challenge)}
        out.record(**fields, **frames_of(packet, crc32c(packet)))

    later = [("a later HELLO", 2, counting(40)), ("a later HELLO, shorter", 3, counting(5)), ("an earlier HELLO", 0, counting(19))]
    for name, version, body in later:
        packet = bytes([0x01, version]) + le(A[0], 4) + le(A[1], 4) + body
        answer = bytes([0x02, 1]) + le(A[1], 4)
        fields = {"name": name, "kind": "other_version", "receive_only": True, "version": version, "challenge": u32(A[1]), "answer": answer}
        out.record(**fields, **frames_of(packet, crc32c(packet)))


def packet_fields(name, number, ack=None, *, size=None, ack_len=None, fresh=False, bitmap_len=0, bitmap=0, sender=A, receiver=B):
    size = size or number_len(number, None if number < 2**16 else number - 1)
    ack_len = ack_len if ack_len is not None else 0 if ack is None else 1
    head = header(number, size, ack, ack_len, bitmap_len, bitmap, fresh)
    fields = {
        "name": name,
        "sender_inc": u32(sender[0]), "sender_chal": u32(sender[1]), "receiver_inc": u32(receiver[0]), "receiver_chal": u32(receiver[1]),
        "number": number, "number_len": size, "ack": ack, "ack_len": ack_len, "fresh": fresh,
        "bitmap_len": bitmap_len, "bitmap": f"{bitmap:#x}",
    }
    return fields, head


def make_packets():
    out = Vectors("packets.txt", "Packets of a session (PROTOCOL.md §§3, 5, 6, 7).")

    def case(name, number, *messages, ack=None, receive_only=False, sender=A, receiver=B, **more):
        fields, head = packet_fields(name, number, ack, sender=sender, receiver=receiver, **more)
        packet = head + b"".join(data for _, data in messages)
        check = session_check(sender, receiver, number, ack, packet)
        texts = [("message", text) for text, _ in messages]
        out.record(*fields.items(), ("receive_only", receive_only), *texts, *frames_of(packet, check).items())
        return len(cobs(packet + le(check, 4)))

    data = b"\xde\xad\xbe\xef"
    # The sizes that follow from §§2, 5 and 7 by hand.
    assert case("request, lone, 4 bytes", 0, request(0, 1, 0x0102, data)) == 16
    assert case("request with ack", 1, request(1, 1, 0x0102, data), ack=0) == 17
    assert case("response with a fresh ack", 0, response(0, 1, data), ack=0, fresh=True, sender=B, receiver=A) == 15
    assert case("response", 1, response(1, 1, data), sender=B, receiver=A) == 14
    assert case("bare ack", 2, ack=1) == 9
    case("bare ack, fresh", 3, ack=2, fresh=True)
    case("request with a time to live", 4, request(0, 2, 0x0102, data, ttl=0x42), ack=2)
    case("request whose time to live is over", 5, request(0, 2, 0x0102, data, ttl=0), receive_only=True)
    case("request without payload", 6, request(2, 255, 0xFFFF, b""))
    case("request with a time to live and without payload", 7, request(2, 0, 0x0000, b"", ttl=255))
    case("request whose payload is zeros", 8, request(0, 3, 0x0102, bytes(8)))
    case("response without payload", 9, response(0, 3, b""), sender=B, receiver=A)
    case("highest slot", 10, request(31, 1, 0x0102, data))
    case("highest slot, response", 10, response(31, 1, data), sender=B, receiver=A)
    names = ["Busy", "Expired", "UnknownKey", "Malformed", "Cancelled", "ResponseTooLarge"]
    for code, name in enumerate(names):
        case(f"refusal {name}", 11 + code, refusal(3, 9, code), ack=10, sender=B, receiver=A)
    for code in (6, 255):
        case(f"refusal {code}, read as Busy", 17, refusal(3, 9, code), ack=10, sender=B, receiver=A, receive_only=True)
    case("refusal of the highest slot", 18, refusal(31, 0, 4), sender=B, receiver=A)
    case("cancel", 19, cancel(3, 9), ack=16)
    case("cancel of the highest slot", 20, cancel(31, 255))
    case("ping", 21, ping())
    case("ping with ack", 22, ping(), ack=20)
    case("close", 23, close())
    case("close with ack", 24, close(), ack=20)
    case("notify", 25, notify(0, 0x0203, data))
    case("notify without payload", 26, notify(1, 0x0203, b""))
    case("notify and the next", 27, notify(2, 0x0203, b"\x11", to_end=False), notify_next(3, 0x0203, b"\x22\x33"))
    run = [notify(0xFFFE, 0x0203, b"\x11", to_end=False), notify_next(0xFFFF, 0x0203, b"", to_end=False)]
    run += [notify_next(0, 0x0203, b"\x33\0", to_end=False), notify_next(1, 0x0203, b"\x44")]
    case("run of notifies across the wrap", 28, *run, ack=20)
    keys = [notify(5, 0x0203, b"\x11", to_end=False), notify(6, 0x0204, b"\x22", to_end=False), notify_next(7, 0x0204, b"", to_end=True)]
    case("notifies of two keys", 29, *keys)
    case("publish", 30, publish(0, 0x0304, data))
    case("publish, last sequence, no payload", 31, publish(0xFFFF, 0x0304, b""))
    case("two publishes", 32, publish(1, 0x0304, b"\x11", to_end=False), publish(2, 0x0305, b"\x22"))
    mixed = [response(0, 4, b"\x11\x22", to_end=False), refusal(1, 7, 0), cancel(2, 8), request(3, 9, 0x0102, b"\x33", to_end=False)]
    mixed += [request(4, 1, 0x0102, b"", to_end=False, ttl=20), notify(8, 0x0203, b"\x44", to_end=False)]
    mixed += [notify_next(9, 0x0203, b"\x55", to_end=False), publish(3, 0x0304, b"\x66\x77", to_end=False)]
    mixed += [ping(), request(5, 1, 0x0106, b"\x88")]
    case("one of each", 33, *mixed, ack=21, fresh=True)
    case("notify with a long sequence", 38, notify_long(0x123456, 0x0203, data))
    run = [notify_long(0xFFFFFF, 0x0203, b"\x11", to_end=False)]
    run += [notify_next(0, 0x0203, b"\x22", to_end=False, word="notify_long_next"), notify(1, 0x0203, b"\x33", to_end=False)]
    case("run of long sequences across the wrap", 39, *run, notify_next(2, 0x0203, b""), ack=20)
    case("two responses", 34, response(0, 5, b"\x11", to_end=False), response(1, 8, b"\x22"), sender=B, receiver=A)
    case("ping before a request", 35, ping(), request(0, 5, 0x0102, data))
    case("a length of two bytes", 36, request(0, 6, 0x0102, counting(128), to_end=False), ping())
    case("a payload longer than one piece of COBS", 37, request(0, 7, 0x0102, counting(300)))
    case("a long payload in front of another", 38, response(0, 7, counting(255), to_end=False), response(1, 9, b""), sender=B, receiver=A)
    case("a last message may have a length", 39, request(0, 8, 0x0102, data, to_end=False), receive_only=True)
    case("neither ack nor message", 40, receive_only=True)

    case("bitmap of 1 byte: 3 is missing", 41, ack=5, bitmap_len=1, bitmap=0b11111101)
    case("bitmap of 4 bytes", 42, ack=100, bitmap_len=4, bitmap=0x7FFF_FFFE)
    case("bitmap of 8 bytes, with a request", 43, request(0, 9, 0x0102, data), ack=100, bitmap_len=8, bitmap=0x8000_0000_0000_0001)
    case("bitmap of 8 bytes, nothing received", 44, ack=100, bitmap_len=8, bitmap=0)
    case("fresh ack with bitmap", 45, ack=100, bitmap_len=1, bitmap=0x7F, fresh=True)

    for size in (1, 2, 3, 4):
        case(f"number of {size} bytes", 46, request(0, 10, 0x0102, data), size=size)
        case(f"number of {size} bytes, above 2^32", 0x1_0203_0405, request(0, 10, 0x0102, data), size=size)
        case(f"number of {size} bytes, all of them zero", 0x7_0000_0000, ping(), size=size)
    for ack_len in (1, 2, 4):
        case(f"ack of {ack_len} bytes", 47, ping(), ack=46, ack_len=ack_len)
        case(f"ack of {ack_len} bytes, above 2^32", 48, ping(), ack=0x2_3456_789A, ack_len=ack_len)
        case(f"ack of {ack_len} bytes and number of 3, both above 2^32", 0x3_0000_0001, ack=0x2_3456_789A, ack_len=ack_len, size=3)
    largest = {"ack": 2**40, "ack_len": 4, "size": 4, "bitmap_len": 8, "bitmap": 2**64 - 2, "fresh": True}
    case("the longest header", 2**63 + 1, ping(), **largest)
    case("last number", 2**64 - 1, ping(), size=4)
    case("a peer without entropy", 0, request(0, 1, 0x0102, data), sender=(0, 1), receiver=B)
    for number in (0, 1):
        case(f"same packet both ways, number {number}", number, ping())
        case(f"same packet both ways, number {number}, back", number, ping(), sender=B, receiver=A)


def make_dropped_hello():
    out = Vectors("dropped/hello.txt", "Packets without a session that change nothing; all checks are right (PROTOCOL.md §4).")
    good = hello_packet(*A, B[1], None, 64, 2, 1, 0x81, 0)

    def case(name, reason, packet, receiver=B):
        known = {"receiver_inc": u32(receiver[0]), "receiver_chal": u32(receiver[1])}
        out.record(name=name, reason=reason, **known, **frames_of(packet, crc32c(packet)))

    case("no packet at all, and the check of nothing is 0", "too_short", b"")
    for size in (2, 6, 10, 28):
        case(f"HELLO of {size} bytes", "bad_hello", good[:size])
    case("frame size 47", "bad_hello", hello_packet(*A, B[1], None, 47, 2, 1, 0x81, 0))
    case("frame size 0", "bad_hello", hello_packet(*A, B[1], None, 0, 2, 1, 0x81, 0))
    case("33 reply slots", "bad_hello", hello_packet(*A, B[1], None, 64, 33, 1, 0x81, 0))
    case("255 reply slots", "bad_hello", hello_packet(*A, B[1], None, 64, 255, 1, 0x81, 0))
    case("the receiver's own HELLO", "own_echo", good, receiver=A)
    case("VERSION of 5 bytes", "malformed", bytes([0x02, 2]) + le(B[1], 3))
    case("VERSION of 1 byte", "malformed", bytes([0x02]))
    for kind in (0x00, 0x03, 0x40, 0x7F):
        case(f"kind {kind:#04x}", "unknown_kind", bytes([kind]) + good[1:])


def make_dropped_packets():
    out = Vectors("dropped/packets.txt", "Packets of a session that change nothing; all checks are right (PROTOCOL.md §§5, 7).")
    data = b"\xde\xad\xbe\xef"
    good = request(0, 1, 0x0102, data, to_end=False)[1]

    def case(name, body, number=9, ack=8, cut=None, flags=0, slots=4):
        fields, head = packet_fields(name, number, ack)
        packet = (bytes([head[0] | flags]) + head[1:] + body)[:cut]
        check = session_check(A, B, number, ack, packet)
        fields |= {"reply_slots": slots, "call_slots": slots, "reason": "malformed"}
        out.record(**fields, **frames_of(packet, check))

    case("no number", b"", ack=None, number=0, cut=1)
    case("number of 4 cut short", le(0, 2), ack=None, number=0, flags=3 << 5)
    case("number without its ack", b"", cut=2)
    case("ack of 4 cut short", b"\0", number=9, ack=8, flags=3 << 3)
    case("bitmap missing", b"", flags=1 << 1)
    case("bitmap of 8 cut short", b"\xff" * 7, flags=3 << 1)
    case("fresh without ack", ping()[1], ack=None, flags=1)
    case("bitmap without ack", b"\xff" + ping()[1], ack=None, flags=1 << 1)

    for kind in [0x03, 0x0A, 0x0B, *range(0x0E, 0x20)]:
        case(f"unknown type {kind:#04x}", bytes([kind]) + b"\0" * 8)
    case("unknown type behind a good request", good + b"\x1f")

    whole = {
        "cancel": cancel(1, 2)[1],
        "notify": notify(1, 0x0203, b"")[1],
        "notify with a long sequence": notify_long(1, 0x0203, b"")[1],
        "publish": publish(1, 0x0304, b"")[1],
        "request": request(1, 2, 0x0102, b"")[1],
        "request with a time to live": request(1, 2, 0x0102, b"", ttl=9)[1],
        "response": response(1, 2, b"")[1],
        "refusal": refusal(1, 2, 0)[1],
    }
    for name, message in whole.items():
        for size in range(1, len(message)):
            case(f"{name} cut to {size}", message[:size])
    with_length = {
        "notify": notify(1, 0x0203, data, to_end=False)[1],
        "notify_next": notify(1, 0x0203, b"", to_end=False)[1] + notify_next(2, 0x0203, data, to_end=False)[1],
        "notify with a long sequence": notify_long(1, 0x0203, data, to_end=False)[1],
        "publish": publish(1, 0x0304, data, to_end=False)[1],
        "request": request(1, 2, 0x0102, data, to_end=False)[1],
        "request with a time to live": request(1, 2, 0x0102, data, to_end=False, ttl=9)[1],
        "response": response(1, 2, data, to_end=False)[1],
    }
    for name, message in with_length.items():
        case(f"{name} without its length", message[:-5])
        case(f"{name} without its payload", message[:-4])
        case(f"{name} with half its payload", message[:-2])
        case(f"{name} whose length says one more", message[:-5] + b"\x05" + data)
        case(f"{name} whose length is cut short", message[:-5] + b"\x84")
        case(f"{name} whose length is 65 536", message[:-5] + b"\x80\x80\x04" + data)
        case(f"{name} whose length has 4 bytes", message[:-5] + b"\x84\x80\x80\x00" + data)
    case("a good request, then half a cancel", good + b"\x02\x01")
    case("a good response, then a request without its key", response(0, 1, data, to_end=False)[1] + b"\x21\x02\x03")

    following = notify_next(2, 0x0203, b"\x11")[1]
    case("notify_next first", following)
    case("notify_next with a length first", notify_next(2, 0x0203, b"\x11", to_end=False)[1] + ping()[1])
    case("notify_next behind a ping", ping()[1] + following)
    case("notify_next behind a publish", publish(1, 0x0203, b"", to_end=False)[1] + following)
    case("notify_next behind a notify and a ping", notify(1, 0x0203, b"", to_end=False)[1] + ping()[1] + following)

    case("request of slot 4 of 4", request(4, 1, 0x0102, data)[1])
    case("request of slot 31 of 4", request(31, 1, 0x0102, data)[1])
    case("request of slot 0 of 0", request(0, 1, 0x0102, data)[1], slots=0)
    case("request with a time to live of slot 4 of 4", request(4, 1, 0x0102, data, ttl=1)[1])
    case("cancel of slot 4 of 4", cancel(4, 1)[1])
    case("cancel of slot 32 of 32", cancel(32, 1)[1], slots=32)
    case("cancel of slot 255 of 32", cancel(255, 1)[1], slots=32)
    case("response to slot 4 of 4", response(4, 1, data)[1])
    case("refusal to slot 4 of 4", refusal(4, 1, 0)[1])
    case("a good request, then one of slot 4 of 4", good + request(4, 1, 0x0102, data)[1])


def make_dropped_checks():
    out = Vectors("dropped/checks.txt", "Frames whose check is wrong for the fields given here (PROTOCOL.md §3).")
    body = request(0, 1, 0x0102, b"\xde\xad\xbe\xef")[1]
    number, ack = 0x1_0000_0042, 0x2_0000_0017

    def case(name, sender=A, receiver=B, at=number, acked=ack, change=lambda frame: frame):
        """A frame that was made with the arguments and is received with the fields."""
        fields, head = packet_fields(name, number, ack, size=2, ack_len=2)
        packet = head + body
        frame = change(packet + le(session_check(sender, receiver, at, acked, packet), 4))
        out.record(*fields.items(), ("reason", "bad_check"), ("frame", frame), ("stream", cobs(frame)))

    def flip(bit):
        return lambda frame: bytes(byte ^ (1 << bit % 8 if i == bit // 8 % len(frame) else 0) for i, byte in enumerate(frame))

    case("the receiver's own packet", sender=B, receiver=A)
    case("earlier life of the sender", sender=(A[0] - 1, A[1]))
    case("other challenge of the sender", sender=(A[0], A[1] + 1))
    case("earlier life of the receiver", receiver=(B[0] - 1, B[1]))
    case("other challenge of the receiver", receiver=(B[0], B[1] + 1))
    case("65 536 packets ago", at=number - 2**16)
    case("2^32 packets ago", at=number - 2**32)
    case("acknowledges 65 536 packets more", acked=ack + 2**16)
    case("made as if without ack", acked=None)
    case("checked as a packet without a session", change=lambda frame: frame[:-4] + le(crc32c(frame[:-4]), 4))
    case("check with its bytes reversed", change=lambda frame: frame[:-4] + frame[:-5:-1])
    case("last byte lost", change=lambda frame: frame[:-1])
    case("a zero more", change=lambda frame: frame + b"\0")
    # The flags stay: they decide where the numbers are.
    for bit in (8, 17, 31, 40, 63, 80, 112, 135, -1):
        case(f"bit {bit} flipped" if bit >= 0 else "last bit flipped", change=flip(bit))


# Two whose hashes add up to 2**32.
OPPOSITES = ("Zero4296", "Zero339341")


def make_keys():
    out = Vectors("keys.txt", "Keys of messages (PROTOCOL.md §§13.1, 13.2).")
    hashes = {}
    as_json = lambda value: json.dumps(value, ensure_ascii=False)

    def case(kind, message, sent, answered="nothing"):
        text = hashed(kind, message, sent, answered)
        number = hashes[message] = fnv1a(text)
        out.record(
            name=message, kind=kind, sent=as_json(sent), answered=as_json(answered), hashed=text,
            hash=u32(number), key=f"{key(number):#06x}",
        )

    assert fnv1a(b"foobar") == 0xBF9CF968  # as its authors publish
    order = {"struct": [["coins", "u8"], ["note", {"option": "u32"}]]}
    fault = {"enum": [["Empty", "nothing"], ["Jammed", {"struct": [["at", "u8"]]}]]}
    case("at_most_once", "PayOut", order, {"enum": [["Ok", "u32"], ["Err", fault]]})
    case("idempotent", "Level", "text", "u32")
    case("notify", "SetClock", "u32")
    case("publish", "Brightness", "u8")
    case("at_most_once", "Nothing", "nothing", "nothing")
    unsigned = ["u8", "u16", "u32", "u64", "u128"]
    signed = ["i8", "i16", "i32", "i64", "i128"]
    for name, types in [("Unsigned", unsigned), ("Signed", signed), ("Others", ["bool", "f32", "f64", "char", "text"])]:
        case("notify", name, {"tuple": types})
    case("notify", "Array", {"tuple": ["u16"] * 3})
    case("notify", "OneItem", {"tuple": ["u16"]})
    case("notify", "Newtype", "u16")
    case("notify", "UnitStruct", "nothing")
    case("notify", "TupleStruct", {"tuple": ["u16", "bool"]})
    case("notify", "Bytes", {"seq": "u8"})
    case("notify", "Nested", {"seq": {"option": {"seq": "text"}}})
    case("notify", "Map", {"map": ["text", {"tuple": ["i32", "i32"]}]})
    circle = {"struct": [["at", {"tuple": ["i32", "i32"]}], ["radius", "u64"]]}
    shapes = [["Dot", "nothing"], ["Line", "u16"], ["Box", {"tuple": ["u16", "u16"]}], ["Circle", circle]]
    case("publish", "Shapes", {"enum": shapes})
    case("notify", "Größe", {"struct": [["länge", "u8"]]})
    for name in OPPOSITES:
        case("notify", name, "u8")
    assert sum(hashes[name] for name in OPPOSITES) == 2**32

    out = Vectors("digests.txt", "Digests of interfaces (PROTOCOL.md §13.3), of the messages with these names in keys.txt.")
    for name, messages in [
        ("one message", ["Level"]),
        ("four messages", ["PayOut", "Level", "SetClock", "Brightness"]),
        ("the order does not matter", ["Brightness", "SetClock", "Level", "PayOut"]),
        ("all, beyond 32 bits", list(hashes)),
        ("no message", []),
        ("a sum of 0 is 1", OPPOSITES),
    ]:
        fields = [("message", message) for message in messages]
        out.record(("name", name), *fields, ("digest", u32(digest(hashes[message] for message in messages))))


def main():
    for make in (make_check, make_cobs, make_streams, make_sizes, make_times, make_numbers, make_sessions, make_hello,
                 make_packets, make_dropped_hello, make_dropped_packets, make_dropped_checks, make_keys):
        make()
    is_check = sys.argv[1:] == ["--check"]
    stale = []
    for path, lines in FILES.items():
        file, text = HERE / path, "\n".join(lines[:-1]) + "\n"
        if is_check:
            if not file.exists() or file.read_text() != text:
                stale.append(path)
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    if stale:
        sys.exit(f"not what generate.py writes: {', '.join(stale)}")


main()
