"""How a picture is made to fit the model's frame."""

from typing import Literal, get_args

Fit = Literal["crop", "letterbox"]
"""``crop`` cuts the longer side at its middle, ``letterbox`` pads the shorter one."""

FITS: tuple[Fit, ...] = get_args(Fit)
