"""An instance of a method to try it with: its fields' first examples, else their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_

import torch

from underpaint.call import make_request
from underpaint.errors import InvalidRequestError
from underpaint.hooks import Hooks
from underpaint.method import Method
from underpaint.records import Needs
from underpaint.request import Request
from underpaint.testing import ToyEngine
from underpaint.testing.session import PROMPT


@dataclass(frozen=True)
class Wishes:
    """What an example asks for.

    Attributes
    ----------
    needs : of the edit, and of the runs before it that tune or invert.
    picture : whether it looks at, or starts from, the call's picture.
    """

    needs: Needs
    picture: bool


def without_example(method: type[Method]) -> list[str]:
    """Return the parameters that have neither a default nor an example."""
    fields = method.model_fields.items()
    return [name for name, field in fields if field.is_required() and not field.examples]


def example_of(method: type[Method]) -> Method:
    """Return a method with its examples.

    Raises
    ------
    InvalidRequestError
        If a parameter has neither a default nor an example.
    ValidationError
        If the method refuses its own examples.
    """
    missing = without_example(method)
    if missing:
        raise InvalidRequestError(
            f"{method.__name__} has no example: {', '.join(missing)} has neither a default nor "
            f"an example. Give one that fits the prompt {PROMPT!r}: Field(..., examples=[...])."
        )
    fields = method.model_fields.items()
    return method.model_validate({name: f.examples[0] for name, f in fields if f.examples})


def picture() -> torch.Tensor:
    """Return the picture that examples edit, ``[3, 32, 32]`` in [0, 1]: noise, in 8 bits."""
    values = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    return (values * 255).round() / 255


def request_of(edit: Method, with_picture: bool) -> Request:
    """Return a short request for one image on the toy engine's model."""
    image = picture() if with_picture else None
    model = ToyEngine().info
    return make_request(model, prompt=PROMPT, edits=[edit], seed=7, image=image)


def wishes_of(edit: Method) -> Wishes:
    """Ask a method what it needs; one that refuses a request without a picture edits pictures."""
    try:
        return _ask(edit, with_picture=False)
    except InvalidRequestError:
        return _ask(edit, with_picture=True)


def _ask(edit: Method, with_picture: bool) -> Wishes:
    request, tuning = request_of(edit, with_picture), edit.tuning()
    before = (*edit.inverting(), *([] if tuning is None else [tuning]))
    asked = [Hooks([each]).needs(request).values() for each in (edit, *before)]
    needs = reduce(or_, chain.from_iterable(asked), Needs())
    real = any(branch.real for branch in Hooks([edit]).branches(request))
    return Wishes(needs, with_picture or needs.image or needs.inversion or real)
