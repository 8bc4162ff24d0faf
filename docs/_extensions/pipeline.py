"""Draw the picture of the start page: ``python docs/_extensions/pipeline.py`` writes docs/images/pipeline-*.svg.

There are two files, one wider than high, and one for phones. They take their colours from the page on which they stand, and
their four pictures of stimuli from `cordstasks.tasks`.
"""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

from PIL import Image

from cordstasks import tasks

IMAGES = Path(__file__).resolve().parents[1] / "images"
SHOWN = {
    "rdm": ("motion", "random dots"),
    "numerosity": ("sample", "number"),
    "catdog": ("sample", "cat or dog"),
    "saccade": ("cue", "saccade"),
}
TITLE = "From a task to choices"
TEXT = (
    "Tasks show movies, such as random dots, numbers of dots, cats and dogs, or a cue. A frozen CordsNet of eight areas, "
    "each with recurrent connections, watches them in steps of 2 ms. A recurrent network is trained on the activity of its "
    "areas, in steps of 20 ms, and makes choices, which are analysed."
)


def frame(task: str, period: str) -> str:
    """A frame of a task's first trial as a data address."""
    batch = tasks.get(task).sample(1, seed=3)
    start, end = batch.periods[period][0]
    stream = io.BytesIO()
    Image.fromarray(batch.movies[0].rgb([(start + end) / 2])[0]).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{words}</text>'


def arrow(x: float, y: float, dx: float, dy: float) -> str:
    """An arrow from a point."""
    length = math.hypot(dx, dy)
    a, b = dx / length, dy / length
    tip, back = (x + dx, y + dy), (x + dx - 9 * a, y + dy - 9 * b)
    ends = f"{tip[0]:g},{tip[1]:g} {back[0] - 5 * b:g},{back[1] + 5 * a:g} {back[0] + 5 * b:g},{back[1] - 5 * a:g}"
    return f'<path d="M{x:g} {y:g}L{back[0]:g} {back[1]:g}" class="line"/><polygon points="{ends}" class="solid"/>'


def stimuli(x: float, y: float) -> list[str]:
    """Four frames with their names, 210 x 222."""
    parts = []
    for number, (task, (period, name)) in enumerate(SHOWN.items()):
        left, top = x + 110 * (number % 2), y + 116 * (number // 2)
        parts.append(
            f'<image x="{left:g}" y="{top:g}" width="100" height="88" preserveAspectRatio="xMidYMid slice" '
            f'href="{frame(task, period)}"/>'
        )
        parts.append(f'<rect x="{left:g}" y="{top:g}" width="100" height="88" class="line"/>')
        parts.append(text(left + 50, top + 105, name, "small"))
    return parts


def cordsnet(x: float, y: float) -> list[str]:
    """Eight areas that become smaller and deeper, each with a loop, 230 x 140."""
    parts = []
    left = x
    for area in range(8):
        height, width = 128 - 28 * (area // 2), 13 + 5 * (area // 2)
        top = y + (128 - height) / 2
        parts.append(f'<rect x="{left:g}" y="{top:g}" width="{width}" height="{height}" rx="3" class="area"/>')
        middle = left + width / 2
        parts.append(f'<path d="M{middle - 5:g} {top:g}c-5 -16 15 -16 10 -1" class="line thin"/>')
        parts.append(text(middle, y + 148, str(area), "small"))
        left += width + 8
    return parts


def network(x: float, y: float) -> list[str]:
    """Ten units, all connected, in a circle of radius 55."""
    places = [(x + 55 * math.cos(math.tau * k / 10), y + 55 * math.sin(math.tau * k / 10)) for k in range(10)]
    lines = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for k, (a, b) in enumerate(places) for c, d in places[k + 1 :])
    dots = [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="7" class="unit"/>' for a, b in places]
    return [f'<path d="{lines}" class="line thin faint"/>', *dots]


def choices(x: float, y: float) -> list[str]:
    """A psychometric curve, 110 x 100."""
    points = " ".join(f"{x + 5 * k:g},{y + 92 - 84 / (1 + math.exp(-(k - 11) / 2.2)):.1f}" for k in range(23))
    axes = f'<path d="M{x:g} {y:g}V{y + 100:g}H{x + 112:g}" class="line thin"/>'
    return [axes, f'<polyline points="{points}" class="curve"/>']


def wide() -> str:
    """The picture for wide screens."""
    parts = [
        *stimuli(8, 60), arrow(236, 174, 40, 0), *cordsnet(292, 110), arrow(516, 174, 40, 0),
        *network(636, 174), arrow(712, 174, 40, 0), *choices(772, 124),
        text(113, 30, "movie", "title"), text(396, 30, "CordsNet", "title"),
        text(636, 30, "recurrent network", "title"), text(828, 30, "choices", "title"),
        text(396, 312, "8 areas, frozen, steps of 2 ms", "small"), text(636, 312, "trained, steps of 20 ms", "small"),
        text(828, 312, "and analysis", "small"), text(113, 312, "degrees, ms, Hz", "small"),
    ]  # fmt: skip
    return svg(900, 326, parts)


def tall() -> str:
    """The picture for phones."""
    parts = [
        text(165, 22, "movie", "title"), *stimuli(60, 40), arrow(165, 280, 0, 30),
        text(165, 340, "CordsNet", "title"), text(165, 362, "8 areas, frozen, steps of 2 ms", "small"), *cordsnet(61, 390),
        arrow(165, 556, 0, 30), text(165, 616, "recurrent network", "title"),
        text(165, 638, "trained, steps of 20 ms", "small"), *network(165, 716), arrow(165, 792, 0, 30),
        text(165, 852, "choices and analysis", "title"), *choices(110, 872),
    ]  # fmt: skip
    return svg(330, 986, parts)


def svg(width: int, height: int, parts: list[str]) -> str:
    """A whole file; colours are those of the page, as far as the page says which."""
    style = (
        ".pipeline text{fill:currentColor;font:16px sans-serif}.pipeline .title{font-size:19px;font-weight:600}"
        ".pipeline .small{font-size:15px;opacity:.8}.pipeline .line{fill:none;stroke:currentColor;stroke-width:1.6}"
        ".pipeline .thin{stroke-width:1.2}.pipeline .faint{opacity:.35}.pipeline .solid{fill:currentColor}"
        ".pipeline .area{fill:#3f7fbf;stroke:none}.pipeline .unit{fill:#d9822b}"
        ".pipeline .curve{fill:none;stroke:#3f7fbf;stroke-width:3.5}"
    )
    inner = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pipeline" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{TITLE}. {TEXT}">\n<title>{TITLE}</title>\n<style>{style}</style>\n{inner}\n</svg>\n'
    )


if __name__ == "__main__":
    for name, content in (("wide", wide()), ("tall", tall())):
        path = IMAGES / f"pipeline-{name}.svg"
        path.write_text(content, encoding="utf-8")
        print(path)
