"""Holds wire.py against the vectors of the crate: two authors, one document.

    python3 tests/interop/vectors.py tests/vectors
"""

import json
import pathlib
import sys

import wire
from wire import Ack, End, Hello, Malformed, Message, Packet, Session, Version

SCHEMAS = {
    "bool": "b", "u8": "C", "i8": "c", "u16": "H", "u32": "I", "u64": "Q", "u128": "O", "i16": "h", "i32": "i", "i64": "q",
    "i128": "o", "f32": "f", "f64": "d", "char": "r", "text": "s", "bytes": "B", "nothing": "u",
}  # fmt: skip
LETTERS = {"at_most_once": "A", "idempotent": "I", "notify": "N", "publish": "P"}


def records(path):
    """Of one file: dictionaries of lists, since a key may repeat."""
    record = {}
    for line in path.read_text(encoding="utf-8").splitlines() + [""]:
        if not line:
            if record:
                yield record
            record = {}
        elif not line.startswith("#"):
            key, _, value = line.partition(" =")
            record.setdefault(key, []).append(value.strip())


def number(text):
    return None if text == "none" else int(text, 0)


def expect(record, found, wanted):
    if found != wanted:
        raise SystemExit(f"{record['name']}: {found}, not {wanted}")


def expect_malformed(record, decode, *args):
    try:
        found = decode(*args)
    except Malformed:
        return
    raise SystemExit(f"{record['name']}: {found}, which is not malformed")


def of(record, *names):
    values = [number(record[name][0]) for name in names]
    return values[0] if len(values) == 1 else values


def data(record, name):
    return bytes.fromhex(record[name][0])


def check(record):
    expect(record, wire.crc32c(data(record, "data")), of(record, "crc"))


def cobs(record):
    expect(record, wire.cobs_encode(data(record, "data")), data(record, "encoded"))
    expect(record, wire.cobs_decode(data(record, "encoded")[:-1]), data(record, "data"))


def streams(record):
    frames = list(wire.Deframer(of(record, "limit")).frames(data(record, "stream")))
    expect(record, [frame for frame in frames if frame is not None], [bytes.fromhex(frame) for frame in record.get("frame", [])])
    expect(record, frames.count(None), of(record, "overlong") + of(record, "malformed"))


def sizes(record):
    for row in record.get("frame", []):
        packet, frame = map(int, row.split())
        expect(record, wire.frame_size(packet), frame)
    for row in record.get("payload", []):
        frame, payload = map(int, row.split())
        expect(record, wire.max_payload(frame, 65_535), payload)
    for row in record.get("length", []):
        length, encoded = row.split()
        expect(record, wire.decode_messages(bytes([0x40, 1, 0, 0]) + bytes.fromhex(encoded) + bytes(int(length)))[0].payload, bytes(int(length)))
    for encoded in record.get("no_length", []):
        expect_malformed(record, wire.decode_messages, bytes([0x40, 1, 0, 0]) + bytes.fromhex(encoded))


def times(record):
    for row in record.get("byte", []):
        byte, milliseconds = map(int, row.split())
        expect(record, wire.time_to_live(byte), milliseconds)
    for row in record.get("milliseconds", []):
        milliseconds, byte = map(int, row.split())
        expect(record, wire.time_to_live(wire.time_to_live_byte(milliseconds)), wire.time_to_live(byte))


def numbers(record):
    for row in record.get("number_len", []):
        full, acknowledged, length = map(number, row.split())
        expect(record, wire.number_len(full, acknowledged), length)
    for row in record.get("restore", []):
        largest, length, low, full = map(number, row.split())
        expect(record, wire.restore(low, length, largest), full)


def sessions(record):
    a, b = End(*of(record, "a_inc", "a_chal")), End(*of(record, "b_inc", "b_chal"))
    expect(record, [Session(a, b).id, Session(b, a).id], 2 * [of(record, "session")])


def hello(record):
    decoded = wire.decode_sessionless(data(record, "frame"))
    kind = record["kind"][0]
    if kind == "version":
        return expect(record, decoded, Version(*of(record, "version", "challenge")))
    if kind == "other_version":
        expect(record, [decoded.version, decoded.sender.challenge], of(record, "version", "challenge"))
        answer = Version(1, decoded.sender.challenge)
        return expect(record, wire.decode_sessionless(wire.sessionless(data(record, "answer"))), answer)
    sender = End(*of(record, "incarnation", "challenge"))
    names = "echo", "session", "frame_size", "reply_slots", "notify_window", "time_to_live", "schema_digest"
    expect(record, decoded, Hello(sender, *of(record, *names)))
    if not of(record, "receive_only"):
        expect(record, wire.sessionless(decoded.encode()), data(record, "frame"))
        expect(record, wire.cobs_encode(data(record, "frame")), data(record, "stream"))


def message(text):
    kind, *fields = text.split()
    fields = dict(field.split("=") for field in fields)
    values = {name: number(fields[name]) for name in ("slot", "sequence", "key", "code") if name in fields}
    live, payload = fields.get("ttl"), bytes.fromhex(fields.get("payload", ""))
    kind = kind.removesuffix("_next").upper()
    return Message(kind, **values, time_to_live=None if live is None else int(live), payload=payload)


def opened(record):
    """The frame, as a receiver opens it to which these numbers come next."""
    session = Session(End(*of(record, "receiver_inc", "receiver_chal")), End(*of(record, "sender_inc", "sender_chal")))
    before = [None if not full else full - 1 for full in of(record, "number", "ack")]
    return wire.decode_packet(session, data(record, "frame"), *before)


def packets(record):
    full, length, ack, ack_len, fresh, bitmap_len, bitmap = of(
        record, "number", "number_len", "ack", "ack_len", "fresh", "bitmap_len", "bitmap"
    )
    bitmap = bitmap if bitmap_len else None
    ack = None if ack is None else Ack(ack, ack_len, bitmap, bitmap_len, bool(fresh))
    wanted = Packet(full, length, ack, [message(text) for text in record.get("message", [])])
    expect(record, opened(record), wanted)
    is_plain = not any("length=" in text or "_next" in text for text in record.get("message", []))
    if is_plain and not of(record, "receive_only"):
        session = Session(End(*of(record, "sender_inc", "sender_chal")), End(*of(record, "receiver_inc", "receiver_chal")))
        expect(record, wire.encode_packet(session, wanted), data(record, "frame"))


def dropped_hello(record):
    frame = data(record, "frame")
    if record["reason"] == ["own_echo"]:
        sender = wire.decode_sessionless(frame).sender
        return expect(record, sender, End(*of(record, "receiver_inc", "receiver_chal")))
    expect_malformed(record, wire.decode_sessionless, frame)


def dropped_packets(record):
    slots = of(record, "reply_slots", "call_slots")
    expect_malformed(record, lambda: wire.check_slots(opened(record).messages, *slots))


def dropped_checks(record):
    expect_malformed(record, opened, record)


def schema(of_type):
    if isinstance(of_type, str):
        return SCHEMAS[of_type]
    [(form, parts)] = of_type.items()
    if form in ("struct", "enum"):
        fields = "".join(name + "\0" + schema(part) for name, part in parts)
        return "{" + fields + "}" if form == "struct" else "<" + fields + ">"
    if form == "tuple":
        return "(" + "".join(map(schema, parts)) + ")"
    return {"option": "?", "seq": "*", "map": "m"}[form] + "".join(map(schema, parts if form == "map" else [parts]))


HASHES = {}


def keys(record):
    sent, answered = (schema(json.loads(record[name][0])) for name in ("sent", "answered"))
    parts = LETTERS[record["kind"][0]], record["name"][0], sent, answered
    HASHES[record["name"][0]] = wire.message_hash(*parts)
    expect(record, [wire.message_hash(*parts), wire.key(*parts)], of(record, "hash", "key"))


def digests(record):
    total = sum(HASHES[name] for name in record.get("message", [])) & 0xFFFFFFFF
    expect(record, total or 1, of(record, "digest"))


def main(directory):
    checks = [check, cobs, streams, sizes, times, numbers, sessions, hello, packets, keys, digests]
    files = {f"{check.__name__}.txt": check for check in checks}
    files |= {f"dropped/{name.__name__[8:]}.txt": name for name in (dropped_hello, dropped_packets, dropped_checks)}
    found = {str(path.relative_to(directory)) for path in pathlib.Path(directory).rglob("*.txt")}
    if found != set(files):
        raise SystemExit(f"other files than expected: {found ^ set(files)}")
    count = 0
    for name, check_record in files.items():
        for record in records(pathlib.Path(directory, name)):
            check_record(record)
            count += 1
    print(f"{count} records agree.")


if __name__ == "__main__":
    main(*sys.argv[1:])
