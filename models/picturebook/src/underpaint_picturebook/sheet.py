"""``python -m underpaint_picturebook.sheet``: renders of the world beside what the model draws."""

import argparse
from pathlib import Path

import torch
from PIL import Image

from underpaint_picturebook import model, parts
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.world import scene

COLUMNS = 6
TILE = 128


def sheet(checkpoint: Path, rows: int, guidance: float) -> Image.Image:
    """Return `rows` pairs of rows: unseen renders, and below each the model's own picture."""
    made = [scene(FIRST_TEST_SEED + 2_000_000 + k) for k in range(rows * COLUMNS)]
    pipe = parts.load(checkpoint)
    drawn = pipe(
        [item.caption for item in made],
        num_inference_steps=25,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(0),
    ).images
    page = Image.new("RGB", (COLUMNS * TILE, 2 * rows * TILE))
    for index, (real, own) in enumerate(zip(made, drawn, strict=True)):
        row, column = divmod(index, COLUMNS)
        for below, picture in enumerate((real.picture, own)):
            tile = picture.resize((TILE, TILE), Image.Resampling.BOX)
            page.paste(tile, (column * TILE, (2 * row + below) * TILE))
    return page


def main() -> None:
    """Parse the command line and save the sheet."""
    parser = argparse.ArgumentParser(prog="python -m underpaint_picturebook.sheet")
    parser.add_argument("--checkpoint", type=Path, default=model())
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=Path("contact_sheet.png"))
    args = parser.parse_args()
    sheet(args.checkpoint, args.rows, args.guidance).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
