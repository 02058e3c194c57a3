from typing import ClassVar

import pytest
from hypothesis import settings
from underpaint import Method

settings.register_profile("busy", deadline=None)  # a busy machine is no failure
settings.load_profile("busy")


@pytest.fixture
def make_method():
    """Return a method of a given name whose plugin comes from `start`."""

    def make(start, name="test"):
        class Edit(Method):
            method: ClassVar[str] = name

            def start(self):
                return start()

        return Edit()

    return make
