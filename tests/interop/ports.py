"""Ports for the client: a byte stream and datagrams, and one that loses what goes through it."""

import os
import random
import select
import socket

import wire


class Stream:
    """The end of a pty, a pipe or a socket that carries bytes (§2)."""

    def __init__(self, fd):
        self._fd, self._deframer = fd, wire.Deframer()
        os.write(fd, b"\0")

    def send(self, frame):
        os.write(self._fd, wire.cobs_encode(frame))

    def receive(self, wait):
        if not select.select([self._fd], [], [], wait)[0]:
            return
        for frame in self._deframer.frames(os.read(self._fd, 4096)):
            yield frame or b""


class Datagrams:
    def __init__(self, udp):
        self._udp = udp
        udp.setblocking(False)

    def send(self, frame):
        try:
            self._udp.send(frame)
        except ConnectionRefusedError:
            pass  # Nobody listens: it is lost.

    def receive(self, wait):
        if not select.select([self._udp], [], [], wait)[0]:
            return
        try:
            yield self._udp.recv(65_535)
        except (BlockingIOError, ConnectionRefusedError):
            pass


class Lossy:
    """Another port whose frames are lost, garbled and doubled, both ways."""

    def __init__(self, port, seed, loss=0.2, garble=0.05, double=0.05):
        self._port, self._random = port, random.Random(seed)
        self._loss, self._garble, self._double = loss, garble, double
        self.lost = self.garbled = self.doubled = 0

    def calm(self):
        self._loss = self._garble = self._double = 0.0

    def send(self, frame):
        for copy in self._copies(frame):
            self._port.send(copy)

    def receive(self, wait):
        for frame in self._port.receive(wait):
            yield from self._copies(frame)

    def _copies(self, frame):
        draw = self._random.random()
        if draw < self._loss:
            self.lost += 1
            return []
        if draw < self._loss + self._garble and frame:
            self.garbled += 1
            garbled = bytearray(frame)
            garbled[self._random.randrange(len(frame))] ^= 1 << self._random.randrange(8)
            return [bytes(garbled)]
        if draw < self._loss + self._garble + self._double:
            self.doubled += 1
            return [frame, frame]
        return [frame]
