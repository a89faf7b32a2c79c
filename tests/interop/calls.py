"""The calls of a capture: which requests, replies and cancels belong to which, and what each caller must have been told."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Call:
    request: object
    first_sent: float
    transmissions: Counter = field(default_factory=Counter)  # By kind of message.
    arrived: bool = False  # A request, or a cancel, at the server.
    consumed: bool = False  # The request was the first of its call to arrive there, with nothing before it.
    reply: object = None
    reply_arrived: float | None = None
    reply_taken: bool = False  # The caller has acknowledged it before it gave the call up.
    given_up: float | None = None  # The first CANCEL: the caller has been told already.


class Calls:
    """Calls by session, slot and sequence."""

    def __init__(self):
        self.calls = {}  # The last call of each name: sequences wrap.
        self._earlier = []
        self._last_sent, self._last_taken = {}, {}
        self._by_payload = {}

    def sent(self, session, record, message):
        """What is wrong about it, if anything is."""
        if message.kind in ("PING", "CLOSE"):
            return None
        name = (session, message.slot, message.sequence)
        if message.kind == "REQUEST" and message.sequence != self._last_sent.get((session, message.slot)):
            complaint = self._first(session, record, message, name)
            if complaint:
                return complaint
        call = self.calls.get(name)
        if call is None:
            return "for a call that nobody has made"
        call.transmissions[message.kind] += 1
        if message.kind == "REQUEST":
            if (message.key, message.payload) != (call.request.key, call.request.payload):
                return f"not what it was, {call.request}"
        elif message.kind == "CANCEL":
            call.given_up = record.time if call.given_up is None else call.given_up
        elif record.side != "device" or not call.arrived:
            return "answers what has not come"
        elif call.reply is not None and message != call.reply:
            return f"another answer than before, {call.reply}"
        elif message.kind == "RESPONSE" and not call.consumed:
            return "answers a call that cannot have run"
        else:
            call.reply = message
        return None

    def _first(self, session, record, message, name):
        """§10.2: a slot is used again when its call has been answered, with the next sequence."""
        if record.side != "caller":
            return "the device calls nobody"
        slot = (session, message.slot)
        before = self._last_sent.get(slot, 0)
        if message.sequence != (before + 1) % 256:
            return f"comes after sequence {before}"
        if (session, message.slot, before) in self.calls and self.calls[session, message.slot, before].reply_arrived is None:
            return "its slot waits for the answer to the call before"
        if message.payload in self._by_payload:
            return f"was sent before, in session, slot, sequence {self._by_payload[message.payload]}"
        if name in self.calls:
            self._earlier.append(self.calls[name])
        self._last_sent[slot] = message.sequence
        self._by_payload[message.payload] = name
        self.calls[name] = Call(message, record.time)
        return None

    def all(self):
        return self._earlier + list(self.calls.values())

    def arrived(self, session, record, message):
        call = self.calls.get((session, message.slot, message.sequence))
        if call is None:
            return  # A PING; or it was complained of when it was sent.
        if record.side == "caller":
            call.reply_arrived = record.time if call.reply_arrived is None else call.reply_arrived
            return
        call.arrived = True
        # §10.3: consumed by whatever comes first.
        slot = (session, message.slot)
        if message.sequence == (self._last_taken.get(slot, 0) + 1) % 256:
            self._last_taken[slot] = message.sequence
            call.consumed = message.kind == "REQUEST"

    def acknowledged(self, session, record, message):
        """By the other side."""
        call = self.calls.get((session, message.slot, message.sequence))
        if message.kind in ("RESPONSE", "REFUSAL") and call is not None:
            call.reply_taken |= call.given_up is None


def count(calls, most_time):
    """How many calls ended in which way, by what was seen on the wire: for each way the least and the most. `most_time` is the
    time within which a call has surely not been given up."""
    least, most = Counter(), Counter()
    for call in calls:
        ends = _ends(call, most_time)
        for end in ends:
            most[end] += 1
            least[end] += len(ends) == 1
        least["effects"] += call.reply is not None and call.reply.kind == "RESPONSE"
        # Whether a request that arrived has run is not seen before its reply.
        most["effects"] += call.consumed and (call.reply is None or call.reply.kind == "RESPONSE")
    return least, most


def _ends(call, most_time):
    """All that its caller may have been told."""
    if call.reply is None or call.reply_arrived is None:
        return {"failed_maybe"}
    answered = "ok" if call.reply.kind == "RESPONSE" else "failed_no"
    if call.reply_taken:
        is_late = call.reply_arrived - call.first_sent > most_time
        return {answered, "failed_maybe"} if is_late else {answered}
    if call.given_up is not None and call.given_up < call.reply_arrived:
        return {"failed_maybe"}
    return {answered, "failed_maybe"}
