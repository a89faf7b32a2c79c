#!/usr/bin/env python3
"""Runs the programs of `count` in QEMU and prints what they have counted, and what a call is spent on.

The totals are counted by the programs themselves. For the parts, the emulator writes down each instruction of some calls, and the
debug information says which source it comes from; both have to agree.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from elf import run, sources

BOARDS = {
    "cortex-m3": ("thumbv7m-none-eabi", ["qemu-system-arm", "-M", "lm3s6965evb"], "shift=7"),
    "riscv32": ("riscv32imac-unknown-none-elf", ["qemu-system-riscv32", "-M", "virt", "-bios", "none"], "shift=0"),
}
LEVELS = ["s", "3"]
QUIET = ["-display", "none", "-monitor", "none", "-serial", "null", "-semihosting-config", "enable=on,target=native"]

# The calls that are written down, after those that come before the steady state.
SKIPPED, TRACED = 30, 50
# Which part of a call code belongs to, by its file; what is left is the state machine.
PARTS = {
    "COBS": r"bowline/src/wire/(cobs|deframe)",
    "CRC": r"bowline/src/wire/check|crc/",
    "postcard": r"postcard/|serde",
    "dispatch": r"bowline/src/typed|the program",
    "memcpy": r"compiler-builtins",
}
# Another release of the compiler may differ by so much without a word.
TOLERANCE = 0.01


def emulator(command, program, *more):
    return [*command, *QUIET, *more, "-kernel", str(program)]


def totals(command, pace, program):
    command = emulator(command, program, "-icount", pace)
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return {name: int(number) for name, number in re.findall(r"(\w+) = (\d+)", output)}


def trace(command, program):
    """The addresses of the instructions of some calls, from the first of `Server::answer` to its return."""
    symbols = run("llvm-nm", "--defined-only", program).splitlines()
    start = next(int(line.split()[0], 16) & ~1 for line in symbols if re.search(r"6Server6answer", line))
    with tempfile.TemporaryDirectory() as directory:
        pipe = Path(directory) / "trace"
        os.mkfifo(pipe)
        process = subprocess.Popen(emulator(command, program, "-singlestep", "-d", "exec,nochain", "-D", str(pipe)), stderr=subprocess.DEVNULL)
        counted, calls, caller, before = Counter(), 0, None, None
        with pipe.open() as lines:
            for line in lines:
                if not line.startswith("Trace"):
                    continue
                address, name = int(line.split("/")[1], 16), line.split("] ")[1].strip()
                if address == start:
                    calls, caller = calls + 1, before
                elif name == caller:
                    caller = None
                    if calls == SKIPPED + TRACED:
                        break
                if caller and calls > SKIPPED:
                    counted[address] += 1
                before = name
            process.kill()
        process.wait()
    return counted


def parts(found, counted):
    """Instructions for each call, by part."""
    sums = Counter()
    for address, count in counted.items():
        file = found[address][0]
        sums[next((part for part, files in PARTS.items() if re.match(files, file)), "machine")] += count
    return {part: round(sums[part] / TRACED) for part in [*PARTS, "machine"]}


def show_functions(title, found, counted):
    functions = Counter()
    for address, count in counted.items():
        file, _, name = found[address]
        functions[f"{name[:100]}  {file}"] += count
    print(f"\n{title}: instructions for each call by function")
    for name, count in functions.most_common(70):
        print(f"{count / TRACED:9.1f}  {name}")


def measure(directory, with_functions):
    figures = {}
    for board, (triple, command, pace) in BOARDS.items():
        for level in LEVELS:
            program = directory / f"{triple}-{level}-plain"
            figure = totals(command, pace, program)
            with_speed = totals(command, pace, directory / f"{triple}-{level}-speed")
            figure["call_with_speed"] = with_speed["call"]
            counted = trace(command, program)
            found = sources(program, sorted(counted))
            figure["parts"] = parts(found, counted)
            traced = sum(counted.values()) / TRACED
            if abs(traced - figure["call"]) > figure["call"] * TOLERANCE:
                sys.exit(f"{board}: {figure['call']} instructions were counted, {traced} were written down")
            if with_functions:
                show_functions(f"{board}, opt-level {level}", found, counted)
            figures.setdefault(board, {})[level] = figure
    return figures


def show(figures, before):
    print("                      call  change  with speed  change   then   of the call: " + "  ".join(f"{part:>8}" for part in [*PARTS, "machine"]))
    for board, levels in figures.items():
        for level, now in levels.items():
            old = before.get(board, {}).get(level, now)
            line = f"{board:10} opt {level:3}{now['call']:8}{now['call'] - old['call']:+8}"
            line += f"{now['call_with_speed']:12}{now['call_with_speed'] - old['call_with_speed']:+8}{now['turn']:7}" + " " * 16
            print(line + "".join(f"{number:10}" for number in now["parts"].values()))


def exceeds(figures, limits):
    failed = False
    for board, levels in figures.items():
        for level, now in levels.items():
            for what in ("call", "call_with_speed", "turn"):
                limit = limits.get(board, {}).get(level, {}).get(what, 0)
                if now[what] > limit * (1 + TOLERANCE):
                    message = f"{board}, opt-level {level}: {what} has grown from {limit} to {now[what]}"
                    print(f"{message}; if that is meant, save it: count.sh --save", file=sys.stderr)
                    failed = True
    return failed


def main():
    directory, file, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    figures = measure(directory, mode == "--where")
    committed = json.loads(file.read_text()) if file.exists() else {}
    if mode == "--json":
        print(json.dumps(figures, separators=(",", ":")))
    elif mode != "--where":
        show(figures, committed)
    if mode == "--save":
        file.write_text(json.dumps(figures, indent=2) + "\n")
    if mode == "--check":
        sys.exit(exceeds(figures, committed))


main()
