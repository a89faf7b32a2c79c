"""A node that only calls, as small as PROTOCOL.md allows: one thread, a port, a clock."""

import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Optional

import wire
from wire import Ack, End, Message, Packet, Session

LEASE, HEARTBEAT, CLOCK = 10.0, 0.5, 0.001  # Seconds: §9.3, and the granularity of the clock.
FRAME_SIZE = 96


class Refused(Exception):
    """Without an effect."""


class Maybe(Exception):
    """The session ended, or the deadline came, before an answer."""


class Executed(Exception):
    """With an effect, and without a response."""


def _answer(message):
    if message.kind == "RESPONSE":
        return message.payload
    # Codes that we do not know mean no, like Busy (§7.2).
    name = wire.REFUSALS[message.code] if message.code < len(wire.REFUSALS) else "Busy"
    return Executed(name) if name == "ResponseTooLarge" else Refused(name)


@dataclass
class Call:
    slot: int
    sequence: int
    key: int
    payload: bytes
    deadline: float
    outcome: Optional[object] = None  # The payload of the response, or the exception.
    last_sent: Optional[int] = None  # The number of the packet that carried it last.
    acknowledged: bool = False


class Joined:
    """All that begins anew with a session (§8.1)."""

    def __init__(self, session, limits, now):
        self.session, self.limits = session, limits
        self.confirmed = False
        self.next_number, self.acknowledged = 0, None
        self.sent = {}  # Number: (time, whether it was eliciting).
        self.acks_carried = set()  # Our packets that carried the current ack.
        self.largest_received, self.received, self.number_lens = None, set(), {}
        self.largest_at = self.last_new = now
        self.ack_due = None
        self.ack_is_settled = True  # One that carried the current ack is itself acknowledged.
        self.since_ack = 0
        self.repetitions = 0
        self.not_eliciting = 0
        self.sequences = Counter()


class Client:
    def __init__(self, port, seed=None):
        self.port, self.random = port, random.Random(seed)
        self.incarnation = self.random.randrange(1, 1 << 32)
        self.next_challenge = self._challenge()
        self.unproven = None
        self.joined = None
        self.calls = []
        self.samples = []
        self.hello_due, self.hello_pause = 0.0, 0.05
        self.stats = Counter()
        self.on_turn = None

    # For the application

    def call(self, key, payload, timeout=5.0):
        """The response, of a call that must not run twice."""
        [outcome] = self.call_all(key, [payload], timeout)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def call_all(self, key, payloads, timeout=5.0):
        """As many at once as the peer has slots for. For each the response, or the exception."""
        deadline = time.monotonic() + timeout
        waiting, calls = list(payloads), []
        while waiting or any(call.outcome is None for call in calls):
            if time.monotonic() > deadline:
                for call in calls:
                    call.outcome = call.outcome or Maybe("deadline")
                break
            while waiting and (slot := self._free_slot()) is not None:
                self.joined.sequences[slot] += 1
                call = Call(slot, self.joined.sequences[slot] & 0xFF, key, waiting.pop(0), deadline)
                calls.append(call)
                self.calls.append(call)
                self._send(call)
            self.turn(0.05)
        self.calls = [call for call in self.calls if call.outcome is None]
        return [call.outcome for call in calls] + [Refused("not sent")] * len(waiting)

    def connect(self):
        self.wait_for(lambda: self.joined and self.joined.confirmed)

    def wait_for(self, condition, timeout=10.0):
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited in vain: {self.stats}")
            self.turn(0.05)

    def idle(self, seconds):
        """Keeps the session up."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn(0.02)

    def close(self):
        """Not repeated (§12): said three times here, in packets of their own."""
        for _ in range(3):
            self._send_packet([Message("CLOSE")])
        self.joined = None

    # The loop

    def turn(self, longest):
        """Waits for a frame, at most so long, and does all that is due."""
        wait = max(0.0, min(longest, self._next_due() - time.monotonic()))
        for frame in self.port.receive(wait):
            self.stats["received"] += 1
            try:
                self._handle(frame)
            except wire.Malformed:
                self.stats["dropped"] += 1
        self._handle_timers()
        if self.on_turn:
            self.on_turn()

    def _next_due(self):
        dues = [self.hello_due if not (self.joined and self.joined.confirmed) else None]
        if self.joined:
            dues.append(self.joined.ack_due)
            dues += [self._due(call) for call in self.calls if self._is_pending(call)]
            dues.append(self.joined.last_new + LEASE / 4)
        return min(due for due in dues if due is not None)

    # The round trip (§9.1)

    @property
    def round_trip(self):
        return statistics.median(self.samples[-8:]) if self.samples else 0.075

    @property
    def probe_interval(self):
        interval = max(50e-6, self.round_trip + max(self.round_trip / 16, CLOCK))
        beyond = max(0, (self.joined.repetitions if self.joined else 0) - 16)
        return min(HEARTBEAT, interval * 2 ** min(beyond, 10))

    # Sessions (§8)

    def _challenge(self):
        return self.random.randrange(1 << 32)

    def _own_end(self):
        return End(self.incarnation, self.next_challenge)

    def _handle(self, frame):
        if not frame:
            return
        if wire.is_sessionless(frame):
            hello = wire.decode_sessionless(frame)
            if isinstance(hello, wire.Hello) and hello.sender.incarnation != self.incarnation:
                self._handle_hello(hello)
        else:
            self._handle_packet(frame)

    def _handle_hello(self, hello):
        """The table of §8.3, row by row."""
        held = self.joined
        if held and hello.session == held.session.id:
            return
        if held and hello.sender == held.session.peer and hello.sender.incarnation != 0:
            return self._send_session_hello()
        if hello.echo == self.next_challenge:
            session = self._join(hello)
            if hello.session != session.id and hello.sender.incarnation != 0:
                self._send_session_hello()
            return self._send_packet([Message("PING")])
        self.unproven = hello
        self._send_challenge_hello()

    def _join(self, hello):
        session = Session(self._own_end(), hello.sender)
        self._leave("restarted" if self.joined else None)
        self.joined = Joined(session, hello, time.monotonic())
        self.next_challenge, self.unproven = self._challenge(), None
        self.stats["sessions"] += 1
        return session

    def _leave(self, reason):
        """What was sent is never sent in another session: it must not run twice."""
        for call in self.calls:
            call.outcome = call.outcome or Maybe(reason)
        self.calls, self.joined = [], None
        self.next_challenge = self._challenge()
        self.hello_due, self.hello_pause = 0.0, 0.05

    def _send_challenge_hello(self):
        echo = self.unproven.sender.challenge if self.unproven else None
        self._send_hello(self._own_end(), echo)

    def _send_session_hello(self):
        self._send_hello(self.joined.session.own, self.joined.session.peer.challenge)

    def _send_hello(self, end, echo):
        session = self.joined.session.id if self.joined else None
        hello = wire.Hello(end, echo, session, FRAME_SIZE, 0, 0, wire.time_to_live_byte(5_000), 0)
        self._put(wire.sessionless(hello.encode()))

    # Packets in the session

    def _handle_packet(self, frame):
        packet = self._open(frame)
        if packet is None:
            # Under no session that we know of: say hello, but not for ever and to everything.
            if self.joined is None:
                self.hello_due = min(self.hello_due, time.monotonic() + 0.01)
            raise wire.Malformed("fails its check")
        joined, now = self.joined, time.monotonic()
        wire.check_slots(packet.messages, reply_slots=0, call_slots=joined.limits.reply_slots)
        if not joined.confirmed:
            joined.confirmed, self.next_challenge, self.unproven = True, self._challenge(), None
        if packet.ack:
            self._handle_ack(packet.ack, now)
        largest = joined.largest_received
        is_old = largest is not None and packet.number < largest - 64
        if packet.number in joined.received or is_old:
            self.stats["duplicates"] += 1
            return
        self._receive(packet, now)

    def _open(self, frame):
        if self.joined:
            joined = self.joined
            try:
                packet = wire.decode_packet(joined.session, frame, joined.largest_received, joined.acknowledged)
                if packet.ack is None or packet.ack.number < joined.next_number:
                    return packet
            except wire.Malformed:
                pass
        if self.unproven:
            session = Session(self._own_end(), self.unproven.sender)
            try:
                packet = wire.decode_packet(session, frame, None, None)
            except wire.Malformed:
                return None
            if packet.ack is None:
                self._join(self.unproven)
                return packet
        return None

    def _receive(self, packet, now):
        joined, largest = self.joined, self.joined.largest_received
        joined.received.add(packet.number)
        joined.number_lens[packet.number] = packet.number_len
        is_in_order = packet.number == (0 if largest is None else largest + 1)
        if largest is None or packet.number > largest:
            joined.largest_received, joined.largest_at, joined.last_new = packet.number, now, now
        news = [self._take(message) for message in packet.messages]
        joined.since_ack += 1
        if packet.is_eliciting:
            joined.acks_carried.clear()
            joined.ack_is_settled = False
            at_once = not is_in_order or not any(news) or joined.since_ack >= 8
            due = now if at_once else now + self.round_trip / 16
            joined.ack_due = due if joined.ack_due is None else min(joined.ack_due, due)
        if any(message.kind == "CLOSE" for message in packet.messages):
            self._leave("closed by the peer")

    def _take(self, message):
        """Whether it says anything new."""
        if message.kind in ("RESPONSE", "REFUSAL"):
            for call in self.calls:
                if (call.slot, call.sequence) == (message.slot, message.sequence) and call.outcome is None:
                    call.outcome = _answer(message)
                    return True
            return False
        return message.kind in ("PING", "CLOSE")

    def _handle_ack(self, ack, now):
        joined = self.joined
        if ack.number in joined.sent and (joined.acknowledged is None or ack.number > joined.acknowledged):
            sent_at, was_eliciting = joined.sent[ack.number]
            if was_eliciting and (ack.fresh or not self.samples):
                self.samples.append(now - sent_at)
        joined.acknowledged = max(ack.number, -1 if joined.acknowledged is None else joined.acknowledged)
        for number in ack.received():
            if joined.sent.pop(number, None):
                joined.repetitions = 0
            joined.ack_is_settled |= number in joined.acks_carried
            for call in self.calls:
                call.acknowledged |= call.last_sent == number

    # Recovery (§9)

    def _free_slot(self):
        joined = self.joined
        if joined is None:
            return None
        taken = {call.slot for call in self.calls if call.outcome is None}
        return next((slot for slot in range(joined.limits.reply_slots) if slot not in taken), None)

    def _is_pending(self, call):
        return call.outcome is None and not call.acknowledged

    def _due(self, call):
        sent_at = self.joined.sent.get(call.last_sent, (0.0, True))[0]
        return sent_at + self.probe_interval

    def _handle_timers(self):
        now, joined = time.monotonic(), self.joined
        if joined and now > joined.last_new + LEASE:
            self._leave("the peer is lost")
            joined = None
        if not (joined and joined.confirmed) and now >= self.hello_due:
            self._send_session_hello() if joined else self._send_challenge_hello()
            self.hello_due, self.hello_pause = now + self.hello_pause, min(HEARTBEAT, 2 * self.hello_pause)
        if joined is None:
            return
        for call in self.calls:
            if self._is_pending(call) and self._due(call) <= now:
                self.stats["retransmits"] += 1
                joined.repetitions += 1
                self._send(call)
        if joined.last_new + LEASE / 4 <= now and not any(eliciting for _, eliciting in joined.sent.values()):
            self._send_packet([Message("PING")])
        if joined.ack_due is not None and joined.ack_due <= now:
            self._send_packet([])

    def _send(self, call):
        left = int(1_000 * (call.deadline - time.monotonic()))
        byte = wire.time_to_live_byte(left)
        live = byte if wire.time_to_live(byte) < wire.time_to_live(wire.time_to_live_byte(5_000)) else None
        message = Message("REQUEST", call.slot, call.sequence, call.key, live, payload=call.payload)
        call.last_sent = self._send_packet([message])

    def _send_packet(self, messages):
        joined, now = self.joined, time.monotonic()
        number = joined.next_number
        joined.next_number += 1
        joined.not_eliciting = 0 if any(message.is_eliciting for message in messages) else joined.not_eliciting + 1
        if joined.not_eliciting > 64:
            messages, joined.not_eliciting = [Message("PING"), *messages], 0
        ack = self._ack(now)
        packet = Packet(number, wire.number_len(number, joined.acknowledged), ack, messages)
        joined.sent[number] = (now, packet.is_eliciting)
        self._put(wire.encode_packet(joined.session, packet))
        if ack:
            joined.acks_carried.add(number)
            joined.ack_due, joined.since_ack = None, 0
        return number

    def _ack(self, now):
        """§6"""
        joined = self.joined
        largest = joined.largest_received
        if largest is None or joined.ack_is_settled:
            return None
        fresh = now - joined.largest_at <= self.round_trip / 8
        ack = Ack(largest, joined.number_lens[largest], fresh=fresh)
        before = [bit for bit in range(64) if largest - 1 - bit < 0 or largest - 1 - bit in joined.received]
        if len(before) == 64:
            return ack
        length = 1 if joined.since_ack <= 2 else 4 if joined.since_ack <= 8 else 8
        bitmap = sum(1 << bit for bit in before) & (1 << 8 * length) - 1
        return replace(ack, bitmap=bitmap, bitmap_len=length)

    def _put(self, frame):
        self.stats["sent"] += 1
        self.port.send(frame)
