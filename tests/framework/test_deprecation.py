"""An argument of a hook that is to go: whoever takes it is warned, and still gets it."""

import re
import warnings

import pytest
from underpaint import hookimpl, hookspecs
from underpaint.deprecation import HookDeprecationWarning, deprecated_arguments
from underpaint.inspection.rules import check_start
from underpaint.method import hookspec
from underpaint.registration import SPECIFICATIONS


@pytest.fixture
def deprecated(monkeypatch):
    """Deprecate an argument of a real hook, on a specification for this test alone."""

    @hookspec(warn_on_impl_args=deprecated_arguments("1.7", latents="Read step.latents."))
    def after_step(step, latents):
        """Observe."""

    monkeypatch.setattr(hookspecs, "after_step", after_step)
    monkeypatch.setitem(SPECIFICATIONS, "after_step", after_step)


class Old:
    seen = ()

    @hookimpl
    def after_step(self, latents):
        self.seen = (*self.seen, latents)
        assert latents.shape == (1, 4, 8, 8)


class New:
    @hookimpl
    def after_step(self, step):
        assert step.index >= 0


def test_whoever_takes_it_is_warned_at_its_own_line_and_still_gets_it(
    deprecated, edit_session, make_method
):
    plugin = Old()
    with pytest.warns(
        HookDeprecationWarning, match=r"'latents' is deprecated since.* 1\.7"
    ) as told:
        edit_session(make_method(lambda: plugin, "old"))
    assert len(plugin.seen) == 4  # steps
    assert {warning.filename for warning in told} == {__file__}
    assert str(told[0].message).endswith("Read step.latents.")


def test_whoever_does_not_take_it_is_not_warned(deprecated, edit_session, make_method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edit_session(make_method(New, "new"))


@pytest.mark.usefixtures("deprecated")
def test_validate_says_so_too(make_method):
    (found,) = check_start(None, make_method(Old, "old"))
    assert (found.code, found.severity) == ("hook-argument-deprecated", "warning")
    assert (found.where, found.mend) == ("Old.after_step", "Read step.latents.")
    assert found.message.startswith("The argument 'latents' is deprecated since hooks 1.7")
    assert list(check_start(None, make_method(New, "new"))) == []


def test_no_argument_of_this_version_is_deprecated_without_a_version():
    for specification in SPECIFICATIONS.values():
        for told in (specification.underpaint_spec["warn_on_impl_args"] or {}).values():
            assert re.search(r"since hooks \d+\.\d+ ", str(told))


def test_the_version_is_that_of_the_documented_policy():
    assert re.fullmatch(r"\d+\.\d+", hookspecs.VERSION)
