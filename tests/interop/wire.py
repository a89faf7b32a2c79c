"""Bytes and values of the protocol, written from PROTOCOL.md alone: §§ in the comments are its sections."""

from dataclasses import dataclass, field
from typing import NamedTuple, Optional


class Malformed(Exception):
    """These bytes mean nothing: they are dropped and change nothing."""


# Checks (§3)


def _crc_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


_CRC_TABLE = list(_crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def u16(number):
    return number.to_bytes(2, "little")


def u32(number):
    return number.to_bytes(4, "little")


def number_at(data, start, length):
    if start + length > len(data):
        raise Malformed("ends too early")
    return int.from_bytes(data[start : start + length], "little")


# Framing (§2)


def cobs_encode(data):
    """With the delimiter."""
    encoded, piece = bytearray(), bytearray()
    for index, byte in enumerate(data):
        if byte:
            piece.append(byte)
        # A full piece stands for no zero, so none follows it for its own sake at the very end.
        if byte == 0 or len(piece) == 254:
            encoded += bytes([len(piece) + 1]) + piece
            piece.clear()
            if byte and index + 1 == len(data):
                return bytes(encoded) + b"\0"
    return bytes(encoded) + bytes([len(piece) + 1]) + piece + b"\0"


def cobs_decode(encoded):
    """Without the delimiter."""
    data, at = bytearray(), 0
    while at < len(encoded):
        code = encoded[at]
        piece = encoded[at + 1 : at + code]
        if code == 0 or len(piece) != code - 1:
            raise Malformed("a code byte points past the end of its frame")
        data += piece
        at += code
        if code < 0xFF and at < len(encoded):
            data.append(0)
    return bytes(data)


class Deframer:
    """Finds the frames in a byte stream that comes in any pieces."""

    def __init__(self, limit=65_535):
        self._limit, self._partial = limit, bytearray()

    def frames(self, data):
        """Packet ‖ check of each frame; None for one that is malformed or too long."""
        for byte in data:
            if byte:
                self._partial.append(byte)
                continue
            encoded, self._partial = bytes(self._partial), bytearray()
            if encoded in (b"", b"\x01"):
                continue
            if len(encoded) + 1 > self._limit:
                yield None
                continue
            try:
                yield cobs_decode(encoded)
            except Malformed:
                yield None


def frame_size(packet_len):
    content = packet_len + 4
    return content + -(-content // 254) + 1


def max_payload(frame_size_a, frame_size_b):
    """§7.1"""
    frame = min(frame_size_a, frame_size_b)
    return frame - -(-(frame - 1) // 255) - 15


# Packets without a session (§4)


class End(NamedTuple):
    """What a node puts into a session: compared as two numbers, in this order (§8.1)."""

    incarnation: int
    challenge: int

    def encode(self):
        return u32(self.incarnation) + u32(self.challenge)


@dataclass(frozen=True)
class Hello:
    sender: End
    echo: Optional[int]
    session: Optional[int]
    frame_size: int
    reply_slots: int
    notify_window: int
    default_time_to_live: int
    digest: int

    def encode(self):
        flags = (self.echo is not None) | (self.session is not None) << 1
        packet = b"\x01\x01" + self.sender.encode() + bytes([flags]) + u32(self.echo or 0) + u32(self.session or 0)
        packet += u16(self.frame_size) + bytes([self.reply_slots]) + u16(self.notify_window)
        return packet + bytes([self.default_time_to_live]) + u32(self.digest)


@dataclass(frozen=True)
class OtherVersion:
    """A HELLO of another version: of its content only this is known."""

    version: int
    sender: End


@dataclass(frozen=True)
class Version:
    version: int
    challenge: int


def open_frame(frame):
    """The packet and its check."""
    if len(frame) <= 4:
        raise Malformed("no room for a packet")
    return frame[:-4], number_at(frame, len(frame) - 4, 4)


def sessionless(packet):
    """Closes a packet without a session with its check."""
    return packet + u32(crc32c(packet))


def is_sessionless(frame):
    return frame[0] < 0x80


def decode_sessionless(frame):
    packet, check = open_frame(frame)
    if crc32c(packet) != check:
        raise Malformed("the check fails")
    if packet[0] == 0x02:
        return Version(number_at(packet, 1, 1), number_at(packet, 2, 4))
    if packet[0] != 0x01:
        raise Malformed("unknown kind")
    version, sender = number_at(packet, 1, 1), End(number_at(packet, 2, 4), number_at(packet, 6, 4))
    if version != 1:
        return OtherVersion(version, sender)
    flags, echo, session = number_at(packet, 10, 1), number_at(packet, 11, 4), number_at(packet, 15, 4)
    hello = Hello(
        sender=sender,
        echo=echo if flags & 1 else None,
        session=session if flags & 2 else None,
        frame_size=number_at(packet, 19, 2),
        reply_slots=number_at(packet, 21, 1),
        notify_window=number_at(packet, 22, 2),
        default_time_to_live=number_at(packet, 24, 1),
        digest=number_at(packet, 25, 4),
    )
    if hello.frame_size < 48 or hello.reply_slots > 32:
        raise Malformed("limits that no node has")
    return hello


# Sessions (§8.1)


class Session(NamedTuple):
    """Seen from one end."""

    own: End
    peer: End

    @property
    def id(self):
        return crc32c(b"".join(end.encode() for end in sorted(self)))

    def turned(self):
        return Session(self.peer, self.own)


# Numbers (§§5.1, 6, 7.3)


def number_len(number, acknowledged):
    """The least bytes for a packet number; `acknowledged` is the largest one, or None."""
    distance = number - (0 if acknowledged is None else acknowledged + 1)
    return next((length for length in (1, 2, 3) if 2 * distance < 1 << 8 * length), 4)


def restore(low, length, largest):
    """The nearest to `largest` + 1 (to 0 if None) of all numbers with these low bytes."""
    expected, period = 0 if largest is None else largest + 1, 1 << 8 * length
    below = expected - (expected - low) % period
    above = below + period
    return above if below < 0 or above - expected <= expected - below else below


def time_to_live(byte):
    """In milliseconds."""
    return byte if byte < 16 else (16 + byte % 16) << byte // 16 - 1


def time_to_live_byte(milliseconds):
    """Rounded down, but at least 1."""
    return max(byte for byte in range(256) if byte <= 1 or time_to_live(byte) <= milliseconds)


# Messages (§7)

REFUSALS = ["Busy", "Expired", "UnknownKey", "Malformed", "Cancelled", "ResponseTooLarge"]


@dataclass(frozen=True)
class Message:
    kind: str
    slot: Optional[int] = None
    sequence: Optional[int] = None
    key: Optional[int] = None
    time_to_live: Optional[int] = None  # The byte.
    code: Optional[int] = None
    payload: bytes = b""

    @property
    def is_eliciting(self):
        return self.kind not in ("PUBLISH", "CLOSE")

    def encode(self):
        """As the last message of a packet: a payload goes without a length."""
        if self.kind in ("PING", "CLOSE"):
            return bytes([("PING", "CLOSE").index(self.kind)])
        if self.kind == "CANCEL":
            return bytes([2, self.slot, self.sequence])
        if self.kind == "REQUEST":
            live = b"" if self.time_to_live is None else bytes([self.time_to_live])
            return bytes([(3 if live else 1) << 5 | self.slot, self.sequence]) + u16(self.key) + live + self.payload
        if self.kind == "RESPONSE":
            return bytes([5 << 5 | self.slot, self.sequence]) + self.payload
        if self.kind == "REFUSAL":
            return bytes([7 << 5 | self.slot, self.sequence, self.code])
        if self.kind == "NOTIFY":
            return bytes([0b000_001_00]) + u16(self.sequence) + u16(self.key) + self.payload
        if self.kind == "NOTIFY_LONG":
            return bytes([0b000_0110_0]) + u32(self.sequence)[:3] + u16(self.key) + self.payload
        return bytes([0b000_0100_0]) + u16(self.sequence) + u16(self.key) + self.payload


class _Reader:
    def __init__(self, data):
        self._data, self._at = data, 0

    def __bool__(self):
        return self._at < len(self._data)

    def number(self, length):
        number = number_at(self._data, self._at, length)
        self._at += length
        return number

    def payload(self, has_length):
        length = self._varint() if has_length else len(self._data) - self._at
        if self._at + length > len(self._data):
            raise Malformed("a length points past the end of its packet")
        self._at += length
        return self._data[self._at - length : self._at]

    def _varint(self):
        value = 0
        for index in range(3):
            byte = self.number(1)
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if value > 65_535:
                    break
                return value
        raise Malformed("a length is out of range")


def decode_messages(data):
    """All of them, or none."""
    reader, messages = _Reader(data), []
    while reader:
        messages.append(_message(reader, messages[-1] if messages else None))
    return messages


def check_slots(messages, reply_slots, call_slots):
    """At a receiver with so many."""
    for message in messages:
        slots = reply_slots if message.kind in ("REQUEST", "CANCEL") else call_slots
        if message.slot is not None and message.slot >= slots:
            raise Malformed("no such slot")


def _message(reader, before):
    kind = reader.number(1)
    code, slot = kind >> 5, kind & 0x1F
    if code == 0:
        return _operation(slot, reader, before)
    sequence = reader.number(1)
    if code in (1, 2, 3, 4):
        key = reader.number(2)
        live = reader.number(1) if code in (3, 4) else None
        payload = reader.payload(has_length=code in (2, 4))
        return Message("REQUEST", slot, sequence, key=key, time_to_live=live, payload=payload)
    if code in (5, 6):
        return Message("RESPONSE", slot, sequence, payload=reader.payload(has_length=code == 6))
    return Message("REFUSAL", slot, sequence, code=reader.number(1))


def _operation(operation, reader, before):
    if operation in (0, 1):
        return Message(("PING", "CLOSE")[operation])
    if operation == 2:
        slot = reader.number(1)
        if slot > 31:
            raise Malformed("no such slot")
        return Message("CANCEL", slot, reader.number(1))
    has_length = operation & 1
    if operation in (0b00100, 0b00101):
        sequence, key = reader.number(2), reader.number(2)
        return Message("NOTIFY", sequence=sequence, key=key, payload=reader.payload(has_length))
    if operation in (0b01100, 0b01101):
        sequence, key = reader.number(3), reader.number(2)
        return Message("NOTIFY_LONG", sequence=sequence, key=key, payload=reader.payload(has_length))
    if operation in (0b00110, 0b00111):
        if before is None or before.kind not in ("NOTIFY", "NOTIFY_LONG"):
            raise Malformed("a notify that follows on none")
        sequence = before.sequence + 1 & (0xFFFF if before.kind == "NOTIFY" else 0xFFFFFF)
        return Message(before.kind, sequence=sequence, key=before.key, payload=reader.payload(has_length))
    if operation in (0b01000, 0b01001):
        sequence, key = reader.number(2), reader.number(2)
        return Message("PUBLISH", sequence=sequence, key=key, payload=reader.payload(has_length))
    raise Malformed("unknown type")


# Session packets (§§3, 5, 6)

_ACK_LENS, _BITMAP_LENS = (0, 1, 2, 4), (0, 1, 4, 8)


@dataclass(frozen=True)
class Ack:
    """`bitmap` is None if absent, which says that the 64 numbers before have all been received."""

    number: int
    number_len: int
    bitmap: Optional[int] = None
    bitmap_len: int = 0
    fresh: bool = False

    def received(self):
        """All the numbers that it says have been received."""
        reach = 8 * self.bitmap_len or 64
        bitmap = (1 << 64) - 1 if self.bitmap is None else self.bitmap
        before = (self.number - 1 - bit for bit in range(reach) if bitmap >> bit & 1)
        return [self.number] + [number for number in before if number >= 0]


@dataclass(frozen=True)
class Packet:
    number: int
    number_len: int
    ack: Optional[Ack]
    messages: list = field(default_factory=list)

    @property
    def is_eliciting(self):
        return any(message.is_eliciting for message in self.messages)


def check_of(session, number, ack_number, packet):
    """Of a packet that the own end of this session sends."""
    numbers = u32(number >> 32) + u32(number & 0xFFFFFFFF)
    ack = b"" if ack_number is None else u32(ack_number & 0xFFFFFFFF)
    return crc32c(session.own.encode() + session.peer.encode() + numbers + ack + packet)


def encode_packet(session, packet):
    """The frame, packet ‖ check, of a packet whose last message alone may be of any length."""
    ack, flags, ack_bytes = packet.ack, 0x80 | packet.number_len - 1 << 5, b""
    if ack is not None:
        ack_len = 4 if ack.number_len == 3 else ack.number_len
        flags |= _ACK_LENS.index(ack_len) << 3 | _BITMAP_LENS.index(ack.bitmap_len) << 1 | ack.fresh
        ack_bytes = (ack.number & (1 << 8 * ack_len) - 1).to_bytes(ack_len, "little")
        ack_bytes += (ack.bitmap or 0).to_bytes(ack.bitmap_len, "little")
    number = (packet.number & (1 << 8 * packet.number_len) - 1).to_bytes(packet.number_len, "little")
    sent = bytes([flags]) + number + ack_bytes + b"".join(message.encode() for message in packet.messages)
    return sent + u32(check_of(session, packet.number, None if ack is None else ack.number, sent))


def decode_packet(session, frame, largest_received, largest_acknowledged):
    """A packet that came from the peer of this session, its numbers restored; Malformed if it is none of this session."""
    sent, check = open_frame(frame)
    flags = sent[0]
    length, ack_len = 1 + (flags >> 5 & 3), _ACK_LENS[flags >> 3 & 3]
    bitmap_len, fresh = _BITMAP_LENS[flags >> 1 & 3], bool(flags & 1)
    if ack_len == 0 and (bitmap_len or fresh):
        raise Malformed("part of an ack without its number")
    number = restore(number_at(sent, 1, length), length, largest_received)
    ack = None
    if ack_len:
        ack_number = restore(number_at(sent, 1 + length, ack_len), ack_len, largest_acknowledged)
        bitmap = number_at(sent, 1 + length + ack_len, bitmap_len) if bitmap_len else None
        ack = Ack(ack_number, ack_len, bitmap, bitmap_len, fresh)
    if check_of(session.turned(), number, None if ack is None else ack.number, sent) != check:
        raise Malformed("the check fails")
    return Packet(number, length, ack, decode_messages(sent[1 + length + ack_len + bitmap_len :]))


# Keys (§13)


def fnv1a(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def message_hash(kind, name, sent, answered="u"):
    """Of a message of this kind letter; `sent` and `answered` are schemas, in which names end with a zero."""
    return fnv1a((kind + name + "\0" + sent + answered).encode())


def key(kind, name, sent, answered="u"):
    value = message_hash(kind, name, sent, answered)
    return value >> 16 ^ value & 0xFFFF
