"""Picture sheets and heat maps: Pillow images in, one Pillow image out. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED, ACCENT = "#fbfaf7", "#23201c", "#8a837a", "#c2410c"
MARGIN, GAP = 36, 28
"""Around the sheet, and between its columns, in pixels."""

COLUMN = 400
"""Width of a panel's picture; two heat maps stand side by side beneath it."""

THUMB, BETWEEN = 190, 20
"""Width of a small picture, and the space beside it."""

_BODY, _SMALL, _CORNER = 20, 15, 8

DIMMED = 0.5
"""Brightness that a picture keeps under its heat map."""

MARKED = 0.6
"""How much of a marked region the accent colour covers."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Word = tuple[str, bool]
"""A word of a prompt, and whether it is emphasised."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A large picture with a title, its prompt, and small pictures with titles beneath."""

    title: str
    prompt: Sequence[Word]
    image: Image.Image
    details: Sequence[tuple[str, Image.Image]] = ()


def heat_map(image: Image.Image, values: npt.ArrayLike) -> Image.Image:
    """Lay an attention map ``[rows, columns]`` over a dimmed picture.

    The map's largest value is brightest; a constant map leaves the dimmed picture alone.
    """
    table = np.asarray(values, dtype=np.float32)
    spread = float(table.max() - table.min())
    scaled = (table - table.min()) / spread if spread > 0 else np.zeros_like(table)
    smooth = Image.fromarray(scaled).resize(image.size, Image.Resampling.BICUBIC)
    heat = np.asarray(smooth).clip(0, 1)  # [H, W]
    dimmed = np.asarray(image.convert("L"), dtype=np.float32)[..., None] * DIMMED
    cover = 0.92 * heat[..., None] ** 0.7
    mixed = dimmed * (1 - cover) + _colours()[(heat * 255).astype(int)] * cover
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def mark_region(image: Image.Image, values: npt.ArrayLike) -> Image.Image:
    """Cover a region of a picture with the accent colour; ``[rows, columns]``, 1 is covered."""
    share = np.asarray(values, dtype=np.float32) * 255 * MARKED
    cover = Image.fromarray(share.round().astype(np.uint8)).resize(
        image.size, Image.Resampling.NEAREST
    )
    marked = image.convert("RGB")
    marked.paste(Image.new("RGB", image.size, ACCENT), mask=cover)
    return marked


def panel_sheet(rows: Sequence[Sequence[Panel]], footer: str = "") -> Image.Image:
    """Set panels in rows and columns, with a line of small print beneath.

    The pictures of a row begin at one height, however many lines their prompts take.
    """
    width = 2 * MARGIN + max(map(len, rows)) * (COLUMN + GAP) - GAP
    sheet = _Sheet(width)
    for row in rows:
        top = sheet.bottom
        titled = [sheet.write([(p.title, False)], x, top, COLUMN, MUTED) for x, p in _across(row)]
        start = max(titled)
        read = [sheet.write(panel.prompt, x, start, COLUMN) for x, panel in _across(row)]
        start = max(read) + 12
        seen = [sheet.paste(panel.image, x, start, COLUMN) for x, panel in _across(row)]
        start = max(seen) + 18
        for x, panel in _across(row):
            _thumbs(sheet, panel.details, x, start)
        sheet.bottom += GAP
    return sheet.finish(footer)


def grid_sheet(
    picture: Image.Image,
    prompt: Sequence[Word],
    cells: Sequence[tuple[str, Image.Image]],
    columns: int,
    footer: str = "",
) -> Image.Image:
    """Set a large picture beside small ones with titles, in rows of `columns`, under its prompt."""
    left = MARGIN + COLUMN + GAP
    sheet = _Sheet(left + columns * (THUMB + BETWEEN) - BETWEEN + MARGIN)
    top = sheet.write(prompt, MARGIN, MARGIN, sheet.width - 2 * MARGIN) + 14
    sheet.paste(picture, MARGIN, top + _line_height(_SMALL) + 5, COLUMN)
    for start in range(0, len(cells), columns):
        top = _line(sheet, cells[start : start + columns], left, top) + 18
    return sheet.finish(footer)


def _thumbs(sheet: _Sheet, details: Sequence[tuple[str, Image.Image]], x: int, y: int) -> None:
    for start in range(0, len(details), 2):
        y = _line(sheet, details[start : start + 2], x, y) + 14


def _line(sheet: _Sheet, cells: Sequence[tuple[str, Image.Image]], x: int, y: int) -> int:
    """Set one line of small pictures, titles above; returns where it ends."""
    end = y
    for index, (title, image) in enumerate(cells):
        left = x + index * (THUMB + BETWEEN)
        below = sheet.label(title, left, y, THUMB)
        end = max(end, sheet.paste(image, left, below + 5, THUMB))
    return end


def _across(row: Sequence[Panel]) -> Iterator[tuple[int, Panel]]:
    return ((MARGIN + index * (COLUMN + GAP), panel) for index, panel in enumerate(row))


class _Sheet:
    """Paper that grows downwards: what is drawn is kept until its height is known."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.bottom = MARGIN
        self._strokes: list[Callable[[Image.Image], None]] = []

    def write(self, words: Sequence[Word], x: int, y: int, width: int, colour: str = INK) -> int:
        """Write wrapped words, the emphasised ones in the accent colour; returns the next y."""
        size = _SMALL if colour == MUTED else _BODY
        for line in wrap(words, width, size):
            left = float(x)
            for word, strong in line:
                self._text(word, left, y, size, ACCENT if strong else colour)
                left += _advance(word, size)
            y += _line_height(size)
        self.bottom = max(self.bottom, y)
        return y

    def label(self, text: str, x: int, y: int, width: int) -> int:
        """Write one line, shortened to fit; returns the next y."""
        self._text(shorten(text, width, _SMALL), x, y, _SMALL, INK)
        return y + _line_height(_SMALL)

    def paste(self, image: Image.Image, x: int, y: int, width: int) -> int:
        """Put a picture, scaled to a width, with rounded corners; returns its lower edge."""
        height = round(image.height * width / image.width)
        scaled = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        self._strokes.append(lambda paper: paper.paste(scaled, (x, y), _corners(scaled.size)))
        self.bottom = max(self.bottom, y + height)
        return y + height

    def finish(self, footer: str) -> Image.Image:
        """Return the sheet."""
        if footer:
            line = [(word, False) for word in footer.split()]
            self.write(line, MARGIN, self.bottom + 14, self.width - 2 * MARGIN, MUTED)
        paper = Image.new("RGB", (self.width, self.bottom + MARGIN), PAPER)
        for stroke in self._strokes:
            stroke(paper)
        return paper

    def _text(self, text: str, x: float, y: int, size: int, colour: str) -> None:
        def stroke(paper: Image.Image) -> None:
            ImageDraw.Draw(paper).text((x, y), text, fill=colour, font=font(size, text))

        self._strokes.append(stroke)


def wrap(words: Sequence[Word], width: int, size: int) -> list[list[Word]]:
    """Break words into lines of at most `width` pixels; a word wider than that is shortened."""
    lines: list[list[Word]] = [[]]
    used = 0.0
    for word, strong in words:
        fitting = shorten(word, width, size)
        length = _advance(fitting, size)
        if lines[-1] and used + length > width:
            lines.append([])
            used = 0.0
        lines[-1].append((fitting, strong))
        used += length
    return lines


def _line_height(size: int) -> int:
    return round(size * 1.35)


def _advance(word: str, size: int) -> float:
    return font(size, word).getlength(word) + 0.28 * size


def shorten(text: str, width: int, size: int) -> str:
    """Return `text`, cut with an ellipsis where it is wider than `width` pixels."""
    face = font(size, text)
    if face.getlength(text) <= width:
        return text
    kept = text
    while kept and face.getlength(kept + "…") > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def font(size: int, text: str = "") -> Font:
    """Return Pillow's own face, or DejaVu Sans for letters that it does not hold."""
    return _font(size, all(letter.isascii() or letter in "…·“”‘’" for letter in text))


@cache
def _font(size: int, plain: bool) -> Font:
    if plain:
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


@cache
def _colours() -> npt.NDArray[np.float32]:
    """Return 256 colours ``[256, 3]`` from purple to pale yellow."""
    import matplotlib

    places = np.linspace(0.22, 0.97, 256)
    return np.asarray(matplotlib.colormaps["inferno"](places)[:, :3] * 255, dtype=np.float32)


def _corners(size: tuple[int, int]) -> Image.Image:
    """Return a mask with rounded corners, drawn large and made small for smooth edges."""
    width, height = size
    mask = Image.new("L", (width * 4, height * 4), 0)
    box = (0, 0, width * 4 - 1, height * 4 - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=_CORNER * 4, fill=255)
    return mask.resize(size, Image.Resampling.LANCZOS)
