import sys
from importlib.metadata import EntryPoint

import pytest
from underpaint import registry
from underpaint.errors import PluginError, UnknownNameError


def install(monkeypatch, *points):
    found = [EntryPoint(name, value, "underpaint.methods") for name, value in points]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)


def test_nothing_is_imported_until_it_is_asked_for(monkeypatch):
    install(monkeypatch, ("ok", "json:loads"), ("broken", "no_such_module:Method"))
    assert list(registry.find("methods")) == ["broken", "ok"]
    assert registry.load("methods", "ok")("1") == 1


def test_what_cannot_be_imported_says_what_and_why(monkeypatch):
    install(monkeypatch, ("broken", "no_such_module:Method"), ("gone", "json:NoSuchName"))
    with pytest.raises(PluginError, match=r"'broken'.*cannot be imported.*no_such_module"):
        registry.load("methods", "broken")
    with pytest.raises(PluginError, match=r"'gone'.*NoSuchName.*Reinstall"):
        registry.load("methods", "gone")


def test_two_distributions_with_one_name_are_an_error(monkeypatch):
    install(monkeypatch, ("same", "json:loads"), ("same", "json:dumps"))
    with pytest.raises(PluginError, match=r"json:loads and json:dumps both.*'same'"):
        registry.find("methods")


def test_an_unknown_name_lists_the_installed(monkeypatch):
    install(monkeypatch, ("prompt-to-prompt", "json:loads"))
    with pytest.raises(UnknownNameError, match=r"No method named 'prompt2prompt'.*Did you mean"):
        registry.load("methods", "prompt2prompt")


def test_models_are_installed_names_folders_or_hub_names(tmp_path, monkeypatch):
    folder = tmp_path / "sd"
    folder.mkdir()
    assert registry.locate_model(folder) == ("sd", folder)
    assert registry.locate_model("owner/name") == ("owner/name", "owner/name")
    with pytest.raises(UnknownNameError, match=r"no folder, no hub name of the form owner/name"):
        registry.locate_model("./owner/name")


def test_an_optional_part_says_which_extra_brings_it(monkeypatch):
    ours = next(p for p in registry.find("engines").values() if p.name == "openvino")
    assert registry.optional(ours) == "underpaint[openvino]"
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "underpaint_engines.openvino", raising=False)
    with pytest.raises(PluginError, match=r"pip install 'underpaint\[openvino\]'"):
        registry.load("engines", "openvino")
