#!/usr/bin/env python3
"""Runs the crate where usize has 16 bits: on an emulated ATmega1280.

Two programs answer questions over the serial port. The answers have to be those of the vectors in `../vectors`, and, byte for byte,
those of the same programs on this host, whose tests have passed all vectors.

Needs qemu-system-misc, gcc-avr, avr-libc, and Debian's compiler with the source of core: rustc-web cargo-web rust-web-src.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"
# The emulator (QEMU 7.2) does not read flash beyond, so initial values of variables have to lie before.
MAX_PROGRAM = 64 << 10
PATIENCE = 300

# What surrounds the largest payload in a packet without its check, and the smallest frame size (PROTOCOL.md §7.1).
HEADROOM = 10
MIN_FRAME = 48


def records(name):
    for block in (VECTORS / name).read_text().split("\n\n"):
        lines = [line.split("=", 1) for line in block.splitlines() if not line.startswith("#")]
        fields = [(key.strip(), value.strip()) for key, value in lines]
        if fields:
            yield Record(name, fields)


class Record:
    def __init__(self, file, fields):
        self.fields = fields
        self.name = f"{file}: {self.text('name')}"

    def all(self, key):
        return [value for known, value in self.fields if known == key]

    def text(self, key):
        return self.all(key)[0]

    def number(self, key):
        return int(self.text(key), 0)

    def maybe(self, key):
        return None if self.text(key) == "none" else self.number(key)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def about_frames():
    """Questions for `frames`, and what the vectors say to each: the answer, or a pattern for it."""
    for record in records("streams.txt"):
        answer = [*record.all("frame"), record.text("overlong"), record.text("malformed")]
        yield record.name, f"stream {record.text('limit')} {record.text('stream')}", re.escape(" ".join(answer))
    for record in records("cobs.txt"):
        # Between two delimiters is no frame, if there is nothing.
        answer = [record.text("data")] if record.text("data") else []
        yield record.name, f"stream 1024 {record.text('encoded')}", re.escape(" ".join([*answer, "0", "0"]))
    for record in records("sizes.txt"):
        for row in record.all("frame"):
            packet, frame = map(int, row.split())
            if packet >= HEADROOM:
                yield record.name, f"frame_len {packet - HEADROOM}", str(max(frame, MIN_FRAME))
    for record in records("hello.txt"):
        yield record.name, f"describe {record.text('frame')}", hello(record)
    for record in records("packets.txt"):
        if any(line.startswith("notify_long") for line in record.all("message")):
            continue  # No node with 16-bit words has such a window.
        yield record.name, f"describe {record.text('frame')}", session_packet(record)
    for record in records("dropped/packets.txt"):
        slots, calls = record.number("reply_slots"), record.number("call_slots")
        beyond = "|".join(f"(REQUEST|CANCEL) {slot}[.]" for slot in range(slots, 32))
        beyond += "|" + "|".join(f"(RESPONSE|REFUSAL) {slot}[.]" for slot in range(calls, 32))
        yield record.name, f"describe {record.text('frame')}", f".*(malformed|{beyond.strip('|')}).*"


def hello(record):
    match record.text("kind"):
        case "hello":
            text = f"HELLO {record.number('incarnation'):08x}.{record.number('challenge'):08x}"
            for word, key in [("echo", "echo"), ("in", "session")]:
                if record.maybe(key) is not None:
                    text += f" {word} {record.number(key):08x}"
            return re.escape(text)
        case "version":
            return re.escape(f"VERSION {record.number('version')} to {record.number('challenge'):08x}")
        case _:
            return "HELLO of another version"


def session_packet(record):
    def low(number, len_):
        return number & (1 << 8 * len_) - 1

    text = f"#{low(record.number('number'), record.number('number_len'))}"
    if record.maybe("ack") is not None:
        text += f" ack {low(record.number('ack'), record.number('ack_len'))}"
        bitmap, reach = record.number("bitmap"), 8 * record.number("bitmap_len")
        missing = next((bit for bit in range(reach) if not bitmap >> bit & 1), None)
        if missing is not None:
            text += f" but {missing + 1}"
    return re.escape(text) + "".join(" [|] " + message(line) for line in record.all("message"))


def message(line):
    word, *fields = line.split(" ")
    fields = dict(field.split("=") for field in fields)
    slot = f"{fields.get('slot')}[.]{fields.get('sequence')}"
    key = f"key {int(fields.get('key', '0'), 0):04x}, "
    len_ = f"{len(fields.get('payload', '')) // 2} B"
    return {
        "ping": "PING",
        "close": "CLOSE",
        "cancel": f"CANCEL {slot}",
        "notify": f"NOTIFY {fields.get('sequence')} {key}{len_}",
        "notify_next": f"NOTIFY {fields.get('sequence')} {key}{len_}",
        "publish": f"PUBLISH {fields.get('sequence')} {key}{len_}",
        "request": f"REQUEST {slot} {key}{len_}",
        "response": f"RESPONSE {slot}, {len_}",
        "refusal": f"REFUSAL {slot}: .*",
    }[word]


def about_nodes():
    """Questions for `nodes`."""
    for record in records("hello.txt"):
        frame = record.text("frame")
        answer = "0 .*"
        if record.text("kind") == "version":
            # It is not for this node.
            answer = ". *"
        if record.text("kind") == "other_version":
            packet = record.text("answer")
            answer = f"1 {packet}{crc32c(bytes.fromhex(packet)).to_bytes(4, 'little').hex()}"
        yield record.name, f"hello {frame}", answer
        garbled = f"{int(frame, 16) ^ 1 << 9:0{len(frame)}x}"
        # It may ask who is there.
        yield f"{record.name}, garbled", f"hello {garbled}", "1( 0101[0-9a-f]*)?"
    for record in records("dropped/hello.txt"):
        # Whether a HELLO is one's own echo depends on who one is.
        answer = ". ?.*" if record.text("reason") == "own_echo" else "1"
        yield record.name, f"hello {record.text('frame')}", answer
    # Frames, then the number of calls that were answered rightly.
    yield "30 calls over a line that loses each fifth frame", "exchange 30", "([0-9a-f]+ )+001e"


def ask(command, questions):
    """The answers, one line each."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()

    def write():
        for _, question, _ in questions:
            process.stdin.write(question.encode() + b"\n")
            process.stdin.flush()

    threading.Thread(target=write, daemon=True).start()
    answers = [process.stdout.readline().decode("ascii", "replace").rstrip() for _ in questions]
    timer.cancel()
    process.kill()
    process.wait()
    return answers


def build():
    unwanted = ("RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET")
    variables = {name: value for name, value in os.environ.items() if name not in unwanted}
    arguments = ["build", "--quiet", "--locked", "--release"]
    subprocess.run(["cargo", *arguments], check=True, cwd=HERE, env=variables)
    # Only a development compiler may build core; RUSTC_BOOTSTRAP says that this one may.
    variables |= {"RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-C target-cpu=atmega1280"}
    for_avr = ["-Z", "build-std=core", "--target", "avr-none"]
    subprocess.run(["/usr/bin/cargo", *arguments, *for_avr], check=True, cwd=HERE, env=variables)


def main():
    build()
    passed = failed = 0
    for program, asked in [("frames", about_frames()), ("nodes", about_nodes())]:
        questions = list(asked)
        on_host = HERE / "target/release" / program
        on_avr = HERE / "target/avr-none/release" / f"{program}.elf"
        size = sum(int(part) for part in subprocess.run(["avr-size", on_avr], check=True, capture_output=True, text=True).stdout.split()[6:8])
        if size > MAX_PROGRAM:
            sys.exit(f"{program} has {size} bytes of code and initial values: more than the emulator can read")
        emulator = ["qemu-system-avr", "-M", "mega", "-bios", on_avr, "-display", "none", "-monitor", "none", "-serial", "stdio"]
        answers = zip(questions, ask(emulator, questions), ask([on_host], questions), strict=True)
        for (name, question, expected), answer, answer_of_host in answers:
            if re.fullmatch(expected, answer) and answer == answer_of_host:
                passed += 1
            else:
                failed += 1
                print(f"{name}\n  {question}\n  expected {expected}\n  AVR      {answer}\n  host     {answer_of_host}", file=sys.stderr)
    print(f"AVR: {passed} passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


main()
