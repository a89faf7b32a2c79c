"""Reads a capture of the demo (`--capture`); examples/demo/capture.rs describes the format."""

from typing import NamedTuple

import wire

SIDES = ("caller", "device")


def other(side):
    return SIDES[1 - SIDES.index(side)]


class Record(NamedTuple):
    """`what` is "starts", "killed", or, with the packet ‖ check of one whole frame, "sent" or "got". The frame is None if it
    is malformed already as a frame."""

    time: float
    side: str
    what: str
    frame: bytes | None = None


class Capture:
    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            head, *self._lines = file.read().splitlines()
        if head not in ("bowline capture 1 stream", "bowline capture 1 datagrams"):
            raise SystemExit(f"{path} is no capture")
        self._is_stream = head.endswith("stream")
        self.bytes_sent = 0

    def records(self):
        deframers = {(side, what): wire.Deframer() for side in SIDES for what in ("sent", "got")}
        for line in self._lines:
            micros, side, what, *data = line.split()
            time, data = int(micros) / 1e6, bytes.fromhex("".join(data))
            if what not in ("sent", "got"):
                yield Record(time, side, what)
                continue
            if what == "sent":
                self.bytes_sent += len(data)
            frames = deframers[side, what].frames(data) if self._is_stream else [data]
            for frame in frames:
                yield Record(time, side, what, frame)
