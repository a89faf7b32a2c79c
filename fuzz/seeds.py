#!/usr/bin/env python3
"""Writes seeds into corpus/: the vectors of tests/vectors/, in the form that each target takes, and what has no vectors drawn from
a hash. Nothing to install."""

import hashlib
import pathlib

HERE = pathlib.Path(__file__).parent
VECTORS = HERE.parent / "tests" / "vectors"


def records(name):
    for text in (VECTORS / name).read_text().split("\n\n"):
        pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")]
        record = [(key.strip(), value.strip()) for key, value in pairs]
        if record:
            yield record


def values(name, *keys):
    for record in records(name):
        for key, value in record:
            if key in keys:
                yield bytes.fromhex(value)


def write(target, seeds):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(sorted(set(seeds))):
        (folder / f"vector-{index:03}").write_bytes(seed)


def draws(index, length):
    """Bytes that are the same each time."""
    return hashlib.shake_256(bytes([index])).digest(length)


def cut(stream):
    """In portions of one and three bytes."""
    return bytes([2, 1, 3]) + stream


def said(packet, flags):
    """One packet without a session, to a node with entropy."""
    return bytes([0, flags, min(len(packet), 63)]) + packet[:63]


write("deframe", [cut(stream) for stream in [*values("streams.txt", "stream"), *values("cobs.txt", "encoded")]])
write("decode_packet", [*values("packets.txt", "packet"), *values("dropped/packets.txt", "packet")])
hellos = [*values("hello.txt", "packet"), *values("dropped/hello.txt", "packet")]
# As it stands; after a greeting that makes the endpoint show its challenge, as a proof; and then as one in the session.
greeting = bytes([0, 0x80, 0])
proof = bytes([0x81, 11]) + bytes(10) + b"\x01"
write("hello", [said(packet, 0) for packet in hellos] + [
    greeting + proof + bytes([flags, len(packet[:63])]) + packet[:63] for packet in hellos for flags in (0, 2, 4, 8, 1)
])
write("endpoint_pair", [draws(index, 150 + 30 * index) for index in range(40)])
# Each message of the interface with one value.
payloads = [b"\x02\x01\x05", b"\x02hi", bytes(12), bytes(2), bytes(2), b"\x01a\x00", b"", b"\x05", b"\x01\x07", b"\x01\x02", b"\x02hi"]
write("typed_dispatch", [bytes([100, which, len(payload)]) + payload for which, payload in enumerate(payloads)])
write("roundtrip", [bytes([layer]) + draws(index, 20 + 10 * index) for layer in range(3) for index in range(12)])
