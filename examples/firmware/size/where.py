#!/usr/bin/env python3
"""Says where the flash of a program goes, and who calls the helpers that a Cortex-M0 needs for what its instructions cannot do.

Code that was inlined is counted where it was written, but code of the core library where it is used. Size of a program's own data
is not counted.
"""

import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

TOOLS = "22"
HELPERS = re.compile(r"__aeabi_(u?idiv|u?idivmod|u?ldivmod|lmul|l[al]s[lr]|lcmp|ulcmp|mem)|__clzsi2|memmove|memcpy|memset|memcmp|panic")


def run(tool, *arguments, text=None):
    return subprocess.run([f"{tool}-{TOOLS}", *arguments], check=True, capture_output=True, text=True, input=text).stdout


def short(path):
    """A source file without the directories that only this machine has."""
    for pattern, name in [
        (r".*/library/(.*)", r"\1"),
        (r".*/([\w-]+)-\d+\.\d+\.\d+[^/]*/(src/.*)", r"\1/\2"),
        (r".*/examples/firmware/size/(.*)", r"the program/\1"),
        (r".*/(src/.*)", r"bowline/\1"),
    ]:
        if re.match(pattern, path):
            return re.sub(pattern, name, path)
    return path


def ring(file):
    """`bowline/src/machine/receive.rs` is of `bowline/src/machine`."""
    return file.rsplit("/", 1)[0] if file.count("/") > 2 or not file.startswith("bowline") else file


def sources(program, addresses):
    """For each address the file, line and function that it belongs to."""
    asked = "".join(f"{address:#x}\n" for address in addresses)
    answers = run("llvm-symbolizer", f"--obj={program}", "--inlines", text=asked).strip().split("\n\n")
    found = {}
    for address, answer in zip(addresses, answers, strict=True):
        lines = answer.splitlines()
        frames = [(short(where.rsplit(":", 2)[0]), where.split(":")[-2], name) for name, where in zip(lines[::2], lines[1::2])]
        found[address] = next((frame for frame in frames if not frame[0].startswith("core/")), frames[-1])
    return found


def main():
    program = sys.argv[1]
    functions = set()
    for line in run("llvm-nm", "--print-size", "--demangle", "--defined-only", program).splitlines():
        if match := re.match(r"([0-9a-f]+) ([0-9a-f]+) [tTwW] (.*)", line):
            functions.add((int(match[2], 16), int(match[1], 16) & ~1, match[3]))
    addresses = sorted({start + offset for size, start, _ in functions for offset in range(0, size, 2)})
    found = sources(program, addresses)
    files, rings, names = Counter(), Counter(), Counter()
    for file, _, name in found.values():
        files[file] += 2
        rings[ring(file)] += 2
        names[f"{name[:100]}  {file}"] += 2
    for title, counter, count in [("module", rings, 20), ("file", files, 40), ("function as written", names, 60)]:
        print(f"\n{Path(program).name}: bytes of code by {title}")
        for name, size in counter.most_common(count):
            print(f"{size:7}  {name}")
    print("\nfunctions as linked, with what is inlined into them")
    for size, _, name in sorted(functions, reverse=True)[:40]:
        print(f"{size:7}  {name[:120]}")
    helpers = defaultdict(Counter)
    for line in run("llvm-objdump", "-d", "--no-show-raw-insn", program).splitlines():
        call = re.match(r"\s*([0-9a-f]+):\s+b\S*\s+0x[0-9a-f]+ <([^+>]+)>", line)
        if call and HELPERS.search(call[2]) and int(call[1], 16) in found:
            file, line_number, name = found[int(call[1], 16)]
            helpers[call[2]][f"{file}:{line_number} {name[:80]}"] += 1
    print("\ncalls of helpers")
    for helper, callers in sorted(helpers.items()):
        print(helper)
        for caller, count in sorted(callers.items()):
            print(f"{count:7}  {caller}")


main()
