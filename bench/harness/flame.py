# SPDX-License-Identifier: BSL-1.0
"""Flame graphs as SVG: from what perf has recorded, or from lines "outer;inner;innermost COUNT" on the standard input.

    perf script -F ip,sym,comm -i perf.data | python3 -m harness.flame --perf > out.svg
    python3 -m harness.flame < folded > out.svg
"""

import re
import sys

from harness.chart import Drawing

ROW, WIDTH = 17, 1100
KERNEL, COIR, OTHER, REST = "#94a3b8", "#ea7a3c", "#f2c14e", "#e2e8f0"


def frame_name(text):
    """Without an address, arguments and the insides of templates."""
    name = re.sub(r" \\(inlined\\)$", "", text)
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    name = re.sub(r"\{lambda\([^)]*\)#\d+\}", "lambda", name)
    name = re.sub(r"(?<!operator)\((?!anonymous)[^()]*\)( const)?", "", name)
    return name.replace("(anonymous namespace)::", "").strip() or text


def fold(script, keep):
    """Samples of `perf script -F ip,sym,comm`, as {tuple of frames, outermost first: count}."""
    counts = {}
    for sample in script.split("\n\n"):
        frames = []
        for line in sample.splitlines()[1:]:
            address, _, symbol = line.strip().partition(" ")
            if symbol and symbol != "[unknown]":
                name = frame_name(symbol)
                frames.append(name + ("_[k]" if address.startswith("ffffffff8") else ""))
        frames = tuple(reversed(frames))
        if frames and keep(frames):
            counts[frames] = counts.get(frames, 0) + 1
    return counts


# What starts a program, a hub and a fiber.
STARTS = ("coir_first_frame", "coir_enter_context", "coir::context::start", "coir::fiber_state::call", "_start", "main",
          "__libc_start", "coir::runtime::run", "coir::hub_group::run")
SWITCH = ("jump_fcontext", "make_fcontext", "coir::context")
# Between a system call and what it does.
ENTRY = ("entry_SYSCALL_64_after_hwframe_[k]", "do_syscall_64_[k]", "x64_sys_call_[k]")


def in_a_run(frames):
    """Not the dynamic linker, nor the kernel on behalf of starting and ending."""
    return any(name.startswith(("coir", "bench::", *SWITCH)) for name in frames)


def is_kernel(frames):
    return any(name.endswith("_[k]") for name in frames)


def has(*names):
    return lambda frames: any(name.startswith(names) for name in frames)


def both(first, second):
    return lambda frames: first(frames) and second(frames)


# For `shares`: the first that fits is the part of a sample.
ECHO_PARTS = {
    "kernel, sending": both(is_kernel, has("__x64_sys_write", "ksys_write", "__x64_sys_send")),
    "kernel, receiving": both(is_kernel, has("__x64_sys_read", "ksys_read", "__x64_sys_recv")),
    "kernel, waiting": both(is_kernel, has("__x64_sys_epoll")),
    "kernel, the rest": is_kernel,
    "coir and Asio": lambda frames: frames[-1].startswith(("coir", "boost", *SWITCH)),
    "libc": lambda frames: True,
}
SPAWN_PARTS = {
    "kernel": is_kernel,
    "switching": has(*SWITCH),
    "making": has("coir::fiber_state::create", "coir::scheduler::start"),
    "joining": has("coir::fiber::join"),
    "running and ending": has("coir::fiber_state", "coir::scheduler"),
}


def trim(counts):
    """Without the outermost frames that say nothing: what starts a program and a fiber."""
    trimmed = {}
    for frames, count in counts.items():
        while len(frames) > 1 and frames[0].startswith(STARTS):
            frames = frames[1:]
        frames = tuple(name for name in frames if name not in ENTRY) or frames
        trimmed[frames] = trimmed.get(frames, 0) + count
    return trimmed


def svg(counts, title):
    tree = {}
    for frames, count in counts.items():
        level = tree
        for name in frames:
            node = level.setdefault(name, [0, {}])
            node[0] += count
            level = node[1]
    total = sum(counts.values())
    least = total * 1.5 / WIDTH

    def depth(level):
        return max((1 + depth(inner) for count, inner in level.values() if count >= least), default=0)

    height = depth(tree) * ROW + 40
    drawing = Drawing(WIDTH, height)
    drawing.text(10, 18, f"{title}; {total:,} samples of CPU time", weight="bold", size=13)

    def draw(level, x, y):
        for name, (count, inner) in sorted(level.items()):
            width = count / total * WIDTH
            if count < least:
                x += width
                continue
            kernel = name.endswith("_[k]")
            shown = name.removesuffix("_[k]")
            colour = KERNEL if kernel else COIR if "coir" in shown else OTHER
            drawing.bar(x, y, width - 0.5, ROW - 1, colour, f"{shown}: {100 * count / total:.1f} %")
            room = int(width / 6.2)
            if room > 3:
                drawing.text(x + 3, y + 12, shown if len(shown) <= room else shown[:room - 1] + "…", size=10)
            draw(inner, x, y - ROW)
            x += width

    draw(tree, 0, height - ROW - 4)
    return drawing.svg()


def shares(counts, parts):
    """Percent of the samples whose stack has one of the names of a part; a sample counts for the first that fits."""
    total = sum(counts.values()) or 1
    found = {part: 0 for part in [*parts, "other"]}
    for frames, count in counts.items():
        part = next((part for part, is_in in parts.items() if is_in(frames)), "other")
        found[part] += count
    return {part: 100 * count / total for part, count in found.items()}


if __name__ == "__main__":
    if "--perf" in sys.argv:
        print(svg(fold(sys.stdin.read(), lambda frames: True), "flame graph"))
    else:
        print(svg({tuple(line.rsplit(" ", 1)[0].split(";")): int(line.rsplit(" ", 1)[1])
                   for line in sys.stdin if line.strip()}, "flame graph"))
