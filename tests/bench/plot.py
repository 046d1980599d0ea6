"""Bars as SVG, one file for each figure."""

from xml.sax.saxutils import escape

WIDTH, LABEL, BAR, GAP, TOP = 720, 250, 20, 10, 46
OURS, OTHERS = "#2b6cb0", "#a0aec0"


def number(value):
    return "%.0f" % value if value >= 100 else "%.1f" % value if value >= 10 else "%.2f" % value


def bars(title, unit, rows):
    """rows: (label, median, low, high); a line shows the quartiles."""
    most = max(high for _, _, _, high in rows) or 1
    scale = (WIDTH - LABEL - 90) / most
    height = TOP + len(rows) * (BAR + GAP) + 8
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" '
           'font-size="13">' % (WIDTH, height),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="20" font-weight="bold">%s</text>' % escape(title),
           '<text x="10" y="37" fill="#555">%s</text>' % escape(unit)]
    for row, (label, median, low, high) in enumerate(rows):
        y = TOP + row * (BAR + GAP)
        middle = y + BAR / 2
        out.append('<text x="%d" y="%.0f" text-anchor="end">%s</text>' %
                   (LABEL - 8, middle + 4, escape(label)))
        out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>' %
                   (LABEL, y, max(median * scale, 1), BAR,
                    OURS if label.startswith("preforkd") else OTHERS))
        out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="black"/>' %
                   (LABEL + low * scale, middle, LABEL + high * scale, middle))
        out.append('<text x="%.1f" y="%.0f">%s</text>' %
                   (LABEL + high * scale + 6, middle + 4, number(median)))
    return "\n".join(out) + "\n</svg>\n"
