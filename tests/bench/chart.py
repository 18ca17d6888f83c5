"""Draws the ratios of all rows as one SVG, without a library."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 960, 150, 60
BAR, GAP, HEADING = 16, 4, 34
FONT = 'font-family="DejaVu Sans, sans-serif"'
COLOURS = {"tornadod": "#d9480f", "bare epoll": "#adb5bd", "bare libev": "#868e96"}
OTHERS = "#4c6ef5"


def text(x, y, content, size=12, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" {FONT}>{escape(content)}</text>')


def line(x, y1, y2, colour, width=1):
    return (f'<line x1="{x:.1f}" y1="{y1:.1f}" x2="{x:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def svg(title, rows):
    """rows: (heading, target or None, [(server, ratio, lowest, highest), ...]), ... -> SVG text"""
    most = max(highest for _, _, bars in rows for *_, highest in bars)
    scale = (WIDTH - LEFT - RIGHT) / max(most, 1.05)
    parts, y = [text(12, 26, title, 15, weight="bold")], 44
    for heading, target, bars in rows:
        parts.append(text(12, y + 22, heading, 13, weight="bold"))
        y += HEADING
        top = y
        for server, ratio, lowest, highest in bars:
            middle = y + BAR / 2
            parts += [
                text(LEFT - 8, middle + 4, server, anchor="end"),
                f'<rect x="{LEFT}" y="{y}" width="{ratio * scale:.1f}" height="{BAR}" '
                f'fill="{COLOURS.get(server, OTHERS)}"/>',
                f'<line x1="{LEFT + lowest * scale:.1f}" y1="{middle}" '
                f'x2="{LEFT + highest * scale:.1f}" y2="{middle}" stroke="#212529"/>',
                text(WIDTH - 16, middle + 4, f"{ratio:.2f}", anchor="end"),
            ]
            y += BAR + GAP
        parts.append(line(LEFT + scale, top - 2, y, "#adb5bd"))
        if target is not None:
            parts.append(line(LEFT + target * scale, top - 2, y, "#2b8a3e", 2))
    parts.append(text(12, y + 24, "Thin lines: lowest to highest round. Green: the target of "
                                  "tornadod.", 11))
    body = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 36}">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')
