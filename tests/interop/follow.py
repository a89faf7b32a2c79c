"""Follows the sessions of a capture: opens every packet as its receiver would, and holds both nodes to the wire's rules."""

from collections import Counter
from dataclasses import dataclass, field

import wire
from capture import other
from wire import End, Hello, Malformed, Session


def ack_lens(number_len, may_be_straggler):
    """In how many bytes an ack may name a number that came in `number_len` (§6)."""
    lens = {4 if number_len == 3 else number_len}
    return lens | {2} if may_be_straggler and number_len == 1 else lens


@dataclass
class Direction:
    """What one side has sent in a session."""

    sent: dict = field(default_factory=dict)  # Packet by number.
    last_number: int | None = None
    arrived: set = field(default_factory=set)
    largest_arrived: int | None = None
    largest_acknowledged: int | None = None  # By an ack that has arrived at the sender.


class Followed:
    """A session that both sides have agreed on: ends by side."""

    def __init__(self, ends, index):
        self.ends, self.index = ends, index
        self.directions = {side: Direction() for side in ends}

    def of(self, side):
        """As that side sees it."""
        return Session(self.ends[side], self.ends[other(side)])


class Follower:
    """Feeds on records; tells `ledger` of each message that was sent or has arrived, and of each packet that was acknowledged."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.complaints = []
        self.counts = Counter()
        self.sessions = []
        self._ends = {"caller": [], "device": []}  # In HELLOs, each once.
        self._frames = {"caller": {}, "device": {}}  # What was sent, with the packet and its session.
        self._kills = Counter()
        self._cut = Counter()

    def complain(self, record, what):
        self.complaints.append(f"{record.time:.6f} {record.side} {record.what}: {what}")

    @property
    def kills(self):
        return sum(self._kills.values())

    def handle(self, record):
        if record.what == "starts":
            self.counts[f"{record.side} started"] += 1
        elif record.what == "killed":
            self._kills[record.side] += 1
        elif record.what == "sent":
            self._sent(record)
        else:
            self._got(record)

    def finish(self):
        for side in ("caller", "device"):
            # A process that is killed while it writes leaves a piece of a frame.
            if self._cut[side] > self._kills[side]:
                self.complaints.append(f"{self._cut[side]} frames of the {side} mean nothing, {self._kills[side]} kills explain it")
        self.counts["sessions"] = sum(1 for session in self.sessions if any(d.sent for d in session.directions.values()))

    # What a side sends

    def _sent(self, record):
        frame, side = record.frame, record.side
        self.counts["frames sent"] += 1
        try:
            if frame is None:
                raise Malformed("not even a frame")
            if frame and wire.is_sessionless(frame):
                opened = wire.decode_sessionless(frame), None
            else:
                opened = self._open_sent(frame, side)
        except Malformed:
            self._cut[side] += 1
            return
        self._frames[side][frame] = opened
        packet, session = opened
        if session is None:
            self.counts[type(packet).__name__] += 1
            if isinstance(packet, Hello):
                self._hello(packet, record)
        else:
            self._check_sent(packet, session, record)
            self._note_sent(packet, session, record)

    def _open_sent(self, frame, side):
        """The sender's numbers only grow, so what is near the last one is right; the check confirms it."""
        for session in reversed(self.sessions):
            own = session.directions[side]
            acknowledged = session.directions[other(side)].largest_acknowledged
            try:
                return wire.decode_packet(session.of(other(side)), frame, own.last_number, acknowledged), session
            except Malformed:
                continue
        raise Malformed("under no session")

    def _hello(self, hello, record):
        """An echo makes sessions possible: of the echoed challenge and what the HELLO itself carries (§8.3)."""
        side, peer = record.side, other(record.side)
        if hello.sender not in self._ends[side]:
            self._ends[side].append(hello.sender)
        if hello.echo is not None:
            echoed = [end for end in self._ends[peer] if end.challenge == hello.echo]
            if not echoed:
                self.complain(record, f"the echo {hello.echo:08x} is of nobody's challenge")
            for end in echoed:
                self._begin({side: hello.sender, peer: end})
        if hello.session is not None and hello.session not in [session.of(side).id for session in self.sessions]:
            self.complain(record, f"the session {hello.session:08x} is none")

    def _begin(self, ends):
        if all(session.ends != ends for session in self.sessions):
            self.sessions.append(Followed(ends, len(self.sessions)))

    def _check_sent(self, packet, session, record):
        own, theirs = session.directions[record.side], session.directions[other(record.side)]
        if own.last_number is not None and packet.number <= own.last_number:
            self.complain(record, f"packet number {packet.number} after {own.last_number}")
        if packet.number_len < wire.number_len(packet.number, own.largest_acknowledged):
            self.complain(record, f"packet number {packet.number} in {packet.number_len} bytes")
        if packet.ack is None:
            return
        strangers = [number for number in packet.ack.received() if number not in theirs.arrived]
        if strangers:
            self.complain(record, f"acknowledges {strangers}, which have not arrived")
        elif packet.ack.number_len not in ack_lens(theirs.sent[packet.ack.number].number_len, packet.ack.number < theirs.largest_arrived):
            self.complain(record, f"an ack of {packet.ack.number} in {packet.ack.number_len} bytes")

    def _note_sent(self, packet, session, record):
        own = session.directions[record.side]
        own.sent[packet.number], own.last_number = packet, packet.number
        self.counts["session packets"] += 1
        self.counts["acks"] += packet.ack is not None
        self.counts["packets without a message"] += not packet.messages
        for message in packet.messages:
            self.counts[message.kind] += 1
            complaint = self.ledger.sent(session.index, record, message)
            if complaint:
                self.complain(record, f"{message}: {complaint}")
        if packet.ack:
            for number in packet.ack.received():
                taken = session.directions[other(record.side)].sent.get(number)
                for message in taken.messages if taken else []:
                    self.ledger.acknowledged(session.index, record, message)

    # What comes to a side

    def _got(self, record):
        self.counts["frames that arrived"] += 1
        opened = self._frames[other(record.side)].get(record.frame)
        if opened is None:
            self.counts["damaged frames"] += 1
            if self._passes(record):
                self.complain(record, f"the damaged frame {record.frame.hex()} passes its check")
            return
        packet, session = opened
        if session is None:
            return
        own, theirs = session.directions[record.side], session.directions[other(record.side)]
        try:
            restored = wire.decode_packet(session.of(record.side), record.frame, theirs.largest_arrived, own.largest_acknowledged)
        except Malformed:
            return self.complain(record, f"packet {packet.number} cannot be opened where it arrives")
        if restored != packet:
            return self.complain(record, f"{packet} arrives as {restored}")
        if packet.ack:
            own.largest_acknowledged = max(packet.ack.number, -1 if own.largest_acknowledged is None else own.largest_acknowledged)
        largest = theirs.largest_arrived
        reach = 4095 if packet.messages and all(message.kind.startswith("NOTIFY") for message in packet.messages) else 64
        if packet.number in theirs.arrived or (largest is not None and packet.number < largest - reach):
            self.counts["duplicates"] += 1
            return
        theirs.arrived.add(packet.number)
        theirs.largest_arrived = packet.number if largest is None else max(largest, packet.number)
        for message in packet.messages:
            self.ledger.arrived(session.index, record, message)

    def _passes(self, record):
        frame = record.frame
        if frame is None or len(frame) <= 4:
            return False
        try:
            if wire.is_sessionless(frame):
                wire.decode_sessionless(frame)
                return True
        except Malformed:
            return False
        for session in self.sessions:
            theirs, own = session.directions[other(record.side)], session.directions[record.side]
            try:
                wire.decode_packet(session.of(record.side), frame, theirs.largest_arrived, own.largest_acknowledged)
                return True
            except Malformed:
                continue
        return False
