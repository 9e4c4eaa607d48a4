#!/usr/bin/env python3
"""Draws the table of `bench/simulate --split`: latency over load, an SVG on stdout.

    bench/simulate --split | bench/plot_split.py > docs/specialists.svg
"""
import math
import sys

LEFT, TOP, WIDTH, HEIGHT = 60, 30, 620, 360
FLOOR_MS, CEILING_MS, MAX_RATE = 100, 5000, 24
COLOURS = ["#c0392b", "#2c7fb8", "#41ae76", "#b8860b", "#6a51a3"]


def read_table(lines):
    """[(name, [(rate, mean, p99)])]"""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    curves = [(name, []) for name in rows[0][1:]]
    for row in rows[2:]:
        for (_, points), cell in zip(curves, row[1:], strict=True):
            if "/s" not in cell:
                mean, p99 = (float(part) for part in cell.split("/"))
                points.append((float(row[0]), mean, p99))
    return curves


def x_of(rate):
    return LEFT + WIDTH * rate / MAX_RATE


def y_of(ms):
    ms = min(max(ms, FLOOR_MS), CEILING_MS)
    return TOP + HEIGHT * (1 - math.log(ms / FLOOR_MS) / math.log(CEILING_MS / FLOOR_MS))


def line(points, colour, dash):
    path = " ".join(f"{x_of(rate):.1f},{y_of(ms):.1f}" for rate, ms in points)
    return (f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"'
            f'{dash and f" stroke-dasharray={dash!r}"}/>').replace("'", '"')


def text(x, y, words, anchor="middle", colour="#333"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def main():
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="860" height="450" font-family="sans-serif"'
           ' font-size="12">', '<rect width="860" height="450" fill="white"/>']
    for ms in (100, 200, 500, 1000, 2000, 5000):
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y_of(ms):.1f}" y2="{y_of(ms):.1f}"'
                   ' stroke="#ddd"/>')
        out.append(text(LEFT - 8, y_of(ms) + 4, ms, "end"))
    for rate in range(0, MAX_RATE + 1, 4):
        out.append(text(x_of(rate), TOP + HEIGHT + 20, rate))
    out.append(text(LEFT + WIDTH / 2, TOP + HEIGHT + 42, "queries a second"))
    out.append(text(LEFT, TOP - 10, "ms to the complete answer: mean, dashed 99th percentile",
                    "start"))
    for i, (name, points) in enumerate(read_table(sys.stdin.read().splitlines())):
        colour = COLOURS[i % len(COLOURS)]
        out.append(line([(rate, mean) for rate, mean, _ in points], colour, ""))
        out.append(line([(rate, p99) for rate, _, p99 in points], colour, "5 4"))
        out.append(text(LEFT + WIDTH + 12, TOP + 20 + 22 * i, name, "start", colour))
    out.append("</svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
