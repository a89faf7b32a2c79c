"""Decodes a capture of the demo and accounts for every message in it.

    cargo run --release --example demo -- --json --capture demo.capture > demo.json
    python3 tests/interop/decode.py demo.capture demo.json

Exit status 1, with a list, if anything is on the wire that PROTOCOL.md does not allow, or if the demo says that its calls ended
otherwise than the wire shows.
"""

import json
import sys

from calls import Calls, count
from capture import Capture
from follow import Follower

# A call of the demo ends 1.5 s after it was made, which is before it is first sent.
SURELY_OPEN = 1.3


def decode(path):
    capture, ledger = Capture(path), Calls()
    follower = Follower(ledger)
    for record in capture.records():
        follower.handle(record)
    follower.finish()
    return capture, follower, ledger.all()


def sent_again(calls):
    return sum(sum(sent - 1 for sent in call.transmissions.values()) for call in calls)


def compare(told, capture, follower, calls):
    """What the demo tells, against what was seen."""
    least, most = count(calls, SURELY_OPEN)
    # A call that was never sent has failed, executed: no; or its caller was killed before.
    unseen = told["calls"] - len(calls)
    least["failed_no"] += unseen
    most["failed_no"] += unseen
    # Its report of the last ones may be lost when a process is killed.
    most["retransmits"] = sent_again(calls)
    for end in ("ok", "failed_no", "failed_maybe"):
        # Of a killed caller's calls it is not seen whether they had ended.
        least[end] = max(0, least[end] - told["abandoned"])
    for name in ("ok", "failed_no", "failed_maybe", "effects", "retransmits"):
        if not least[name] <= told[name] <= most[name]:
            yield f"{name}: the demo says {told[name]}, the wire shows {least[name]} to {most[name]}"
    if told["wire_bytes"] != capture.bytes_sent:
        yield f"wire_bytes: the demo says {told['wire_bytes']}, the wire shows {capture.bytes_sent}"
    if unseen < 0:
        yield f"calls: the demo says {told['calls']}, the wire shows {len(calls)}"
    if told["crashes"] != follower.kills:
        yield f"crashes: the demo says {told['crashes']}, the wire shows {follower.kills}"


def main(path, summary=None):
    capture, follower, calls = decode(path)
    complaints = follower.complaints
    for name, number in sorted(follower.counts.items()):
        print(f"{name:<28}{number:>8}")
    least, most = count(calls, SURELY_OPEN)
    for name in ("ok", "failed_no", "failed_maybe", "effects"):
        print(f"{name:<28}{least[name]:>8}" + (f" to {most[name]}" if most[name] != least[name] else ""))
    print(f"{'sent again':<28}{sent_again(calls):>8}")
    if summary:
        with open(summary, encoding="ascii") as file:
            complaints = complaints + list(compare(json.load(file), capture, follower, calls))
    print(f"{len(calls)} calls on the wire, {len(complaints)} complaints")
    for complaint in complaints:
        print(f"  {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
