"""Talks to devices that the crate drives, as a client that knows PROTOCOL.md alone.

    python3 talk.py PATH/TO/examples

runs the example `tokio_device` on a pty and the demo's device on a UDP socket, over wires that this program makes bad itself.
"""

import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tty

import wire
from client import Client, Maybe, Refused
from ports import Datagrams, Lossy, Stream

# What the dispenser of examples/shared/dispenser.rs understands, as §13 says it.
FAULT = "<Empty\0u>"
PAY_OUT = wire.key("A", "PayOut", "C", f"<Ok\0IErr\0{FAULT}>")
LEVEL = wire.key("I", "Level", "u", "I")
DIGEST = sum([wire.message_hash("A", "PayOut", "C", f"<Ok\0IErr\0{FAULT}>"), wire.message_hash("I", "Level", "u", "I")])
# What the demo's device understands has a key of its own making, and no digest.
DISPENSE = 0x0D15


def check(condition, *what):
    if not condition:
        raise SystemExit(f"talk: {what}")


def varint(payload):
    return sum((byte & 0x7F) << 7 * index for index, byte in enumerate(payload))


def dispenser_on_a_pty(examples):
    """Typed calls over a byte stream; then an orderly end."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    command = [f"{examples}/tokio_device", os.ttyname(theirs)]
    device = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        port = Lossy(Stream(ours), seed=1)
        client = Client(port)
        client.connect()
        check(client.joined.limits.digest == DIGEST & 0xFFFFFFFF, "the digest is another", client.joined.limits)
        check(varint(client.call(LEVEL, b"")) == 100, "it begins with another number of coins")
        paid = 0
        for outcome in client.call_all(PAY_OUT, [bytes([coins % 3]) for coins in range(60)]):
            check(isinstance(outcome, bytes) and outcome[0] == 0, "a coin was not paid out", outcome)
        paid = sum(coins % 3 for coins in range(60))
        check(varint(client.call(LEVEL, b"")) == 100 - paid, "coins are missing, or too many are left")
        check(client.call(PAY_OUT, bytes([200])) == b"\x01\x00", "an empty dispenser has paid out")
        refusals = [(LEVEL ^ 1, b"", "UnknownKey"), (PAY_OUT, b"", "Malformed"), (PAY_OUT, b"\1\1", "Malformed")]
        for key, payload, refusal in refusals:
            [outcome] = client.call_all(key, [payload])
            check(isinstance(outcome, Refused) and str(outcome) == refusal, "not refused", refusal, outcome)
        client.idle(3.0)  # Longer than a quarter of the lease: keepalives in both directions.
        check(client.stats["sessions"] == 1, "a session was lost on the way", client.stats)
        check(client.stats["retransmits"] > 0 and port.lost > 0, "nothing was lost, so nothing was shown")
        port.calm()
        client.close()
        told = device.communicate(timeout=20)[0].splitlines()
        check(told[-1] == f"The client is gone. {100 - paid} coins are left.", told)
        check(device.returncode == 0, device.returncode)
        return client, port, paid
    finally:
        device.kill()


def demo_device_on_udp(examples):
    """Calls over datagrams to a device that is killed; its ledger shows every effect."""
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for end in ends:
        end.bind(("127.0.0.1", 0))
    ends[0].connect(ends[1].getsockname())
    ends[1].connect(ends[0].getsockname())
    ends[1].setblocking(False)
    ledger = tempfile.TemporaryFile("a+")

    def start():
        command = [f"{examples}/demo", "device", "--udp"]
        return subprocess.Popen(command, stdin=ends[1], stdout=ledger, stderr=subprocess.DEVNULL)

    device = start()
    try:
        port = Lossy(Datagrams(ends[0]), seed=2)
        client = Client(port)
        outcomes = {}
        for life in range(4):
            # The device's HELLO tells of its restart, or a frame that it does not understand.
            client.wait_for(lambda: client.stats["sessions"] > life and client.joined and client.joined.confirmed)
            numbers = range(100 * life, 100 * life + 100)
            orders = [order(number) for number in numbers]
            outcomes.update(zip(numbers, client.call_all(DISPENSE, orders, timeout=10)))
            # Some calls are open when it is killed: nobody can know of them.
            numbers = range(1_000 + 40 * life, 1_000 + 40 * life + 40)
            doomed = [order(number) for number in numbers]
            timer = time.monotonic() + 0.008
            client.on_turn = lambda: device.send_signal(signal.SIGKILL) if time.monotonic() > timer else None
            outcomes.update(zip(numbers, client.call_all(DISPENSE, doomed, timeout=2)))
            client.on_turn = None
            device.kill()
            device.wait()
            device = start()
        client.wait_for(lambda: client.stats["sessions"] == 5)
        client.idle(0.2)
    finally:
        device.kill()
    ledger.seek(0)
    effects = [int(line.split()[1]) for line in ledger]
    check(len(effects) == len(set(effects)), "an effect happened twice")
    ok = {number for number, outcome in outcomes.items() if isinstance(outcome, bytes)}
    check(all(outcomes[number] == order(number)[:8] for number in ok), "a reply to another call")
    check(ok <= set(effects), "a call is ok and has no effect", ok - set(effects))
    check(all(number in ok for number in outcomes if number < 1_000), "a call on a live device failed")
    refused = {number for number, outcome in outcomes.items() if isinstance(outcome, Refused)}
    check(not refused & set(effects), "a refused call has an effect", refused & set(effects))
    maybe = {number for number, outcome in outcomes.items() if isinstance(outcome, Maybe)}
    check(len(ok) + len(maybe) + len(refused) == len(outcomes) == 560, "a call has no outcome")
    check(len(maybe) > 0, "no call was open when the device was killed")
    check(client.stats["sessions"] == 5, "one session for each of its lives", client.stats)
    return client, port, len(ok), len(maybe)


def order(number):
    """As examples/demo/dispenser.rs reads it: run, call, coins, highest byte first."""
    return bytes(4) + number.to_bytes(4, "big") + b"\0\1"


def main(examples):
    client, port, paid = dispenser_on_a_pty(examples)
    print(f"A dispenser on a pty has paid out {paid} coins. {wire_story(client, port)}")
    client, port, ok, maybe = demo_device_on_udp(examples)
    print(f"A device on UDP that was killed 4 times: {ok} calls are ok, {maybe} maybe. {wire_story(client, port)}")


def wire_story(client, port):
    faults = f"{port.lost} lost, {port.garbled} garbled, {port.doubled} doubled"
    return f"Of {client.stats['sent'] + client.stats['received']} frames {faults}; sent again: {client.stats['retransmits']}."


if __name__ == "__main__":
    main(*sys.argv[1:])
