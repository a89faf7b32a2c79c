#!/usr/bin/env python3
"""Says where the flash of a program goes, and who calls the helpers that a Cortex-M0 needs for what its instructions cannot do.

Code that was inlined is counted where it was written, but code of the core library where it is used.
"""

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

from elf import run, sources

HELPERS = re.compile(r"__aeabi_(u?idiv|u?idivmod|u?ldivmod|lmul|l[al]s[lr]|lcmp|ulcmp|mem)|__clzsi2|memmove|memcpy|memset|memcmp|panic")


def ring(file):
    """`bowline/src/machine/receive.rs` is of `bowline/src/machine`."""
    return file.rsplit("/", 1)[0] if file.count("/") > 2 or not file.startswith("bowline") else file


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
