#!/usr/bin/env python3
"""Measures the programs of `size`: flash, static memory, and the deepest stack that any of them can reach.

The stack is an upper bound: the compiler notes the frame of each function in `.stack_sizes`, the machine code says who calls
whom, and a call through a pointer may reach every function whose address is kept anywhere. What has no bound, recursion, is an
error. Nothing here has to be run for it, and no path can be forgotten.
"""

import json
import re
import sys
from pathlib import Path

from elf import run

PROGRAMS = ["server", "client", "both"]
# Another release of the compiler may differ by so much without a word.
TOLERANCE = 0.01


class Program:
    """One linked program."""

    def __init__(self, path):
        self.path = path
        self.sections = self.read_sections()
        self.functions, self.names = self.read_symbols()
        self.frames = self.read_frames()
        self.assembly = {}
        self.calls, self.through_pointer = self.read_calls()

    def read_sections(self):
        sections = json.loads(run("llvm-readelf", "--elf-output-style=JSON", "--section-data", "-S", self.path))
        return [section["Section"] for section in sections[0]["Sections"]]

    def allocated(self):
        """Sections that are part of the running program, and whether they come out of flash."""
        for section in self.sections:
            flags = {flag["Name"] for flag in section["Flags"]["Flags"]}
            if "SHF_ALLOC" in flags and section["Size"]:
                yield section, section["Type"]["Name"] != "SHT_NOBITS", "SHF_WRITE" in flags

    def flash(self):
        return sum(section["Size"] for section, is_stored, _ in self.allocated() if is_stored)

    def static_memory(self):
        return sum(section["Size"] for section, _, is_written in self.allocated() if is_written)

    def node(self):
        """The memory of the node, as the program noted it; it lies in the frame of main."""
        for section in self.sections:
            if section["Name"]["Name"] == ".node_size":
                return int.from_bytes(bytes(section["SectionData"]["Bytes"][:4]), "little")
        return 0

    def read_symbols(self):
        functions, names = {}, {}
        for line in run("llvm-nm", "--defined-only", self.path).splitlines():
            address, kind, name = line.split(maxsplit=2)
            if kind in "tTwW":
                start = int(address, 16) & ~1
                functions[name] = start
                names.setdefault(start, name)
        return functions, names

    def read_frames(self):
        frames = {}
        text = run("llvm-readobj", "--stack-sizes", self.path)
        for names, size in re.findall(r"Functions: \[(.*?)\]\s*Size: (0x[0-9A-F]+)", text):
            for name in names.split(", "):
                if name in self.functions:
                    frames[self.functions[name]] = int(size, 16)
        return frames

    def read_calls(self):
        """Who calls whom, by address, and who calls through a pointer."""
        calls, through_pointer, current = {}, set(), None
        for line in run("llvm-objdump", "-d", "--no-show-raw-insn", self.path).splitlines():
            if head := re.match(r"([0-9a-f]{8}) <(.+)>:$", line):
                current = int(head[1], 16)
                calls.setdefault(current, set())
                continue
            code = re.match(r"\s*[0-9a-f]+:\s+(\S+)\s*(.*)", line)
            if not code:
                continue
            word, operands = code.groups()
            if current not in self.frames:
                self.note_frame(current, word, operands)
            if target := re.match(r"0x([0-9a-f]+) <", operands):
                # A branch out of the function is a call in its place. One within it leads nowhere new.
                if int(target[1], 16) in self.names and int(target[1], 16) != current or word == "bl":
                    calls[current].add(int(target[1], 16))
            elif word == "blx" or word == "bx" and operands.split()[0] != "lr":
                through_pointer.add(current)
        return calls, through_pointer

    def note_frame(self, function, word, operands):
        """What assembly that the compiler has no note of does to the stack."""
        size = 0
        if word == "push":
            for register in operands.strip("{}").split(", "):
                first, _, last = register.partition("-")
                size += 4 * (int(last[1:]) - int(first[1:]) + 1 if last else 1)
        elif word == "sub" and (amount := re.match(r"sp, #(0x[0-9a-f]+|\d+)", operands)):
            size = int(amount[1], 0)
        elif word in ("mov", "add") and operands.startswith("sp, r"):
            sys.exit(f"cannot tell the frame of {self.names.get(function)}: {word} {operands}")
        self.assembly[function] = self.assembly.get(function, 0) + size

    def kept_addresses(self):
        """Functions whose address stands in the program as a number: what a pointer may lead to."""
        starts = {start | 1 for start in self.names}
        kept = set()
        for section, is_stored, _ in self.allocated():
            if is_stored and section["Name"]["Name"] != ".vector_table":
                data = bytes(section["SectionData"]["Bytes"])
                for offset in range(0, len(data) - 3, 4):
                    word = int.from_bytes(data[offset : offset + 4], "little")
                    if word in starts:
                        kept.add(word & ~1)
        return kept

    def stack(self):
        """The deepest stack from the reset on, and the functions that make it."""
        kept = self.kept_addresses()
        depths, path = {}, []

        def visit(function):
            if function in depths:
                return depths[function]
            if function in path:
                cycle = [self.names[step] for step in path[path.index(function) :]]
                sys.exit(f"{self.path.name}: no bound for the stack, as these call each other: {cycle}")
            path.append(function)
            callees = set(self.calls.get(function, ()))
            if function in self.through_pointer:
                callees |= kept
            deepest = max((visit(callee) for callee in callees), default=(0, []))
            path.pop()
            frame = self.frames.get(function, self.assembly.get(function, 0))
            depths[function] = (frame + deepest[0], [(frame, self.names.get(function, hex(function)))] + deepest[1])
            return depths[function]

        return visit(self.functions["Reset"])


def measure(directory):
    """The figures of each program, as differences to the one without the crate."""
    base = Program(directory / "base")
    figures = {}
    for name in PROGRAMS:
        program = Program(directory / name)
        stack, frames = program.stack()
        figures[name] = {
            "flash": program.flash() - base.flash(),
            "ram": program.static_memory() + stack - base.static_memory() - base.stack()[0],
            "node": program.node(),
            "frames": frames,
        }
    return figures


def saved(text):
    try:
        return json.loads(text)
    except ValueError:
        return {}


def show(figures, before):
    print("            flash   change      RAM   change   of it node    stack")
    for name, now in figures.items():
        old = before.get(name, now)
        flash, ram = now["flash"] - old["flash"], now["ram"] - old["ram"]
        print(f"{name:9}{now['flash']:8}{flash:+9}{now['ram']:9}{ram:+9}{now['node']:13}{now['ram'] - now['node']:9}")


def exceeds(figures, limits):
    failed = False
    for name, now in figures.items():
        for what in ("flash", "ram"):
            limit = limits.get(name, {}).get(what, 0)
            if now[what] > limit * (1 + TOLERANCE):
                print(f"{name}: {what} has grown from {limit} to {now[what]}; if that is meant, save it: size.sh --save", file=sys.stderr)
                failed = True
    return failed


def main():
    directory, file, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    figures = measure(directory)
    result = {name: {"flash": now["flash"], "ram": now["ram"]} for name, now in figures.items()}
    if mode == "--json":
        print(json.dumps(result, separators=(",", ":")))
    elif mode == "--stack":
        for name, now in figures.items():
            print(f"{name}: the deepest stack, from the reset on")
            for frame, function in now["frames"]:
                print(f"{frame:7}  {run('llvm-cxxfilt', function).strip()}")
    elif mode == "--save":
        show(figures, saved(file.read_text() if file.exists() else ""))
        file.write_text(json.dumps(result, indent=2) + "\n")
    else:
        committed = saved(file.read_text())
        show(figures, committed)
        if mode == "--check":
            sys.exit(exceeds(figures, committed))


main()
