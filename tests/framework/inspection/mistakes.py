"""Mistakes that authors make, each as one change of the plugin that the template gives."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from underpaint.scaffold import Names, write_plugin

PROJECT, METHOD = "pyproject.toml", "src/PACKAGE/method.py"
START = "class CLASSRun:"  # what stands behind the class of the parameters


@dataclass(frozen=True)
class Mistake:
    """A change of one file, and what the finding says of it; `new` None removes the file."""

    code: str
    file: str
    old: str
    new: str | None
    says: str
    mends: str
    flavour: str = "forward"

    def plant(self, folder: Path, names: Names) -> Path:
        """Write a plugin with this mistake."""
        write_plugin(names, self.flavour, folder)
        words = {"PACKAGE": names.package, "CLASS": names.class_name, "NAME": names.name}

        def own(text: str) -> str:
            return re.sub("PACKAGE|CLASS|NAME", lambda match: words[match.group()], text)

        file = folder / own(self.file)
        if self.new is None:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
            return folder
        text = file.read_text("utf-8")
        assert own(self.old) in text, f"{self.code}: the template has changed"
        file.write_text(text.replace(own(self.old), own(self.new), 1), "utf-8")
        return folder


def at_import(code: str, line: str, says: str) -> Mistake:
    """Return a mistake that happens when the plugin is imported."""
    mends = "inside the function" if code == "import-heavy" else "Do it in start(), or in the hook"
    return Mistake(code, METHOD, "import torch\n", f"import torch\n{line}\n", says, mends)


def parameter(code: str, line: str, says: str, mends: str) -> Mistake:
    """Return a mistake in a further parameter."""
    anchor = "    def start(self)"
    return Mistake(code, METHOD, anchor, f"    {line}\n\n{anchor}", says, mends)


PACKAGING = [
    Mistake("pyproject-missing", PROJECT, "", None, "no pyproject.toml", "plugins new NAME"),
    Mistake("pyproject-unreadable", PROJECT, "[project]", "[project", "no TOML", "Correct it"),
    Mistake("distribution-name", PROJECT, '"underpaint-NAME"', '"NAME"', "is named", "[project]"),
    Mistake(
        "dependency-missing",
        PROJECT,
        'dependencies = ["underpaint>=0.1.0"]',
        "dependencies = []",
        "does not depend on underpaint",
        'dependencies = ["underpaint"]',
    ),
    Mistake(
        "dependency-engine",
        PROJECT,
        '["underpaint>=0.1.0"]',
        '["underpaint", "diffusers>=0.40"]',
        "'diffusers>=0.40'",
        "Depend on underpaint alone",
    ),
    Mistake(
        "dependency-engine",
        PROJECT,
        '["underpaint>=0.1.0"]',
        '["underpaint[onnxruntime]", "underpaint"]',
        "'underpaint[onnxruntime]'",
        "Depend on underpaint alone",
    ),
    Mistake(
        "dependency-plugin",
        PROJECT,
        '["underpaint>=0.1.0"]',
        '["underpaint", "underpaint_asyrp"]',
        "'underpaint_asyrp'",
        "edits=[a, b]",
    ),
    Mistake(
        "entry-point-missing",
        PROJECT,
        '"underpaint.methods"',
        '"underpaint.method"',
        "no entry point in the group 'underpaint.methods'",
        'Add [project.entry-points."underpaint.methods"]',
    ),
    Mistake(
        "entry-point-package",
        PROJECT,
        '"PACKAGE:CLASS"',
        '"underpaint_nowhere:CLASS"',
        "'underpaint_nowhere', which is not there",
        "src/underpaint_nowhere/",
    ),
    Mistake(
        "wheel-incomplete",
        PROJECT,
        'packages = ["src/PACKAGE"]',
        'packages = ["src/other"]',
        "would not hold 'PACKAGE'",
        'packages = ["src/PACKAGE"]',
    ),
    Mistake(
        "command-hidden",
        PROJECT,
        "[tool.ruff]",
        '[project.entry-points."underpaint.commands"]\nedit = "PACKAGE:x"\n\n[tool.ruff]',
        "The command 'edit'",
        "the method's name",
    ),
    Mistake("python-version", PROJECT, "requires-python", "#", "which Python", 'requires-python = "'),
    Mistake("readme-missing", "README.md", "", None, "no README", "Write README.md"),
    Mistake("tests-missing", "tests", "", None, "no tests", "check_plugin"),
]

SOURCE = [
    Mistake("source-syntax", METHOD, "def start(self)", "def start(self", "no Python", "Correct it"),
    Mistake(
        "import-forbidden",
        METHOD,
        "        return underpaint.Needs(edits=True)",
        "        import underpaint_engines.pytorch\n\n        return underpaint.Needs(edits=True)",
        "imports underpaint_engines.pytorch",
        "Import underpaint alone",
    ),
    Mistake(
        "docstring-missing",
        METHOD,
        '        """Scale the word\'s column of each cross map."""\n',
        "",
        "The function CLASSRun.attention_edits has no docstring",
        "Say what it does",
    ),
    Mistake(
        "docstring-missing",
        METHOD,
        '    """One run. What it keeps in attributes lives and dies with the call."""\n',
        "",
        "The class CLASSRun has no docstring",
        "Say what it does",
    ),
]

ENTRY_POINTS = [
    Mistake(
        "entry-point-broken",
        PROJECT,
        '"PACKAGE:CLASS"',
        '"PACKAGE:Nothing"',
        "'PACKAGE:Nothing' names what is not there",
        "or define it",
    ),
    Mistake(
        "entry-point-broken",
        PROJECT,
        '"PACKAGE:CLASS"',
        '"PACKAGE.nowhere:CLASS"',
        "names what is not there",
        "add the module",
    ),
    Mistake(
        "entry-point-type",
        PROJECT,
        '"PACKAGE:CLASS"',
        '"PACKAGE.method:CLASSRun"',
        "is no underpaint.Method",
        "class MyEdit(underpaint.Method)",
    ),
    Mistake(
        "entry-point-name",
        METHOD,
        '= "NAME"',
        '= "another"',
        "the class says method = 'another'",
        'method: ClassVar[str] = "NAME"',
    ),
]

PARAMETERS = [
    parameter(
        "parameter-description",
        "bare: float = Field(default=1.0, ge=0)",
        "'bare' has no description",
        'description="..."',
    ),
    parameter(
        "parameter-bounds",
        'wild: float = Field(default=1.0, description="Any.")',
        "'wild' has no bounds",
        "Field(..., ge=0, le=1)",
    ),
    parameter(
        "parameter-bounds",
        'wild: dict[str, tuple[float, ...]] = Field(default={}, description="Any.")',
        "'wild' has no bounds",
        "Annotated[float, Field(ge=0, le=1)]",
    ),
    parameter(
        "parameter-name",
        'seed: int = Field(default=1, ge=0, description="Of it.")',
        "--method-seed",
        "another name",
    ),
    parameter(
        "parameter-default",
        'off: float = Field(default=2.0, le=1, description="Of it.")',
        "'off', 2.0, breaks its own bounds",
        "Change the default or the bounds",
    ),
    parameter(
        "parameter-schema",
        'odd: torch.Tensor | None = Field(default=None, description="Of it.")',
        "no JSON schema",
        "a type that JSON has",
    ),
    parameter(
        "parameters-mutable", 'model_config = {"frozen": False}', "not frozen", "Remove frozen=False"
    ),
    parameter(
        "parameters-extra", 'model_config = {"extra": "ignore"}', "misspelt one is ignored", "forbid"
    ),
    Mistake(
        "example-missing", METHOD, ', examples=["dog"]', "", "'word' has neither", "examples=[...]"
    ),
    Mistake(
        "example-invalid", METHOD, 'examples=["dog"]', 'examples=[""]', "its own examples", "Correct"
    ),
    Mistake(
        "arxiv-missing",
        METHOD,
        "picture (arXiv 2208.01626, section 3.2)",
        "picture (section 3.2)",
        "does not name the paper",
        "Add its id",
    ),
]

HOOKS = [
    Mistake(
        "hook-unknown",
        METHOD,
        "def attention_edits(",
        "def attention_edit(",
        "no hook 'attention_edit'",
        "Did you mean 'attention_edits'?",
    ),
    Mistake(
        "hook-argument",
        METHOD,
        "(self, step: Step)",
        "(self, step: Step, latent: object)",
        "unknown argument 'latent'",
        "Valid: 'step'",
    ),
    Mistake(
        "hook-argument-default",
        METHOD,
        "(self, step: Step)",
        "(self, step: Step | None = None)",
        "would never receive a value",
        "Make it plain",
    ),
    Mistake(
        "hook-unmarked",
        METHOD,
        "    @underpaint.hookimpl\n    def attention_edits",
        "    def attention_edits",
        "is not marked as one: it is never called",
        "Put @underpaint.hookimpl above it",
    ),
    Mistake(
        "hook-none",
        METHOD,
        "        return CLASSRun(self)",
        "        return object.__new__(type('Run', (), {}))",
        "implements no hook",
        "mark its methods with @underpaint.hookimpl",
    ),
    Mistake(
        "hook-equality",
        METHOD,
        START,
        "from dataclasses import dataclass\n\n\n@dataclass\n" + START,
        "compared by value",
        "@dataclass(eq=False)",
    ),
    Mistake(
        "hook-replaces-predict",
        METHOD,
        "    @underpaint.hookimpl\n    def needs",
        "    @underpaint.hookimpl\n    def predict(self):\n        return None\n\n"
        "    @underpaint.hookimpl\n    def needs",
        "replaces 'predict'",
        "wrapper=True",
    ),
    Mistake(
        "start-shared",
        METHOD,
        "        return CLASSRun(self)",
        "        global RUN\n        RUN = globals().get('RUN') or CLASSRun(self)\n        return RUN",
        "the same object twice",
        "return MyRun(self)",
    ),
    Mistake(
        "start-fails",
        METHOD,
        "        return CLASSRun(self)",
        "        raise KeyError('oh')",
        "start() raises KeyError",
        "Return the plugin of one run",
    ),
]

RUNS = [
    Mistake(
        "needs-unmatched",
        METHOD,
        "request.model.sites.words(), during",
        'underpaint.SiteSelector("cross", levels=frozenset({9})), during',
        "what no site of the model matches",
        "Choose sites by kind and level",
        "guidance",
    ),
    Mistake(
        "rule-broken",
        METHOD,
        "Needs(edits=True)",
        "Needs()",
        "edits attention without asking",
        "Return Needs(edits=True)",
    ),
    Mistake(
        "rule-broken",
        METHOD,
        "return torch.stack([energy(own[place], self.edit.box) for own, place in pairs])",
        "return torch.stack([energy(own[place], self.edit.box) for own, place in pairs]).sum()",
        "An energy returned shape ()",
        "one differentiable scalar per image",
        "guidance",
    ),
    Mistake(
        "check-failed",
        METHOD,
        "scale = torch.ones(",
        "scale = torch.rand(1) + torch.ones(",
        "another image when the call is repeated",
        "run.randn",
    ),
    Mistake(
        "check-failed",
        METHOD,
        "        self.edit = edit",
        "        self.edit = edit\n        edit.__dict__['factor'] += 1",
        "changed the parameter 'factor'",
        "Copy it in start()",
    ),
    Mistake(
        "run-fails",
        METHOD,
        "= self.edit.factor\n",
        "= self.edit.faktor\n",
        "AttributeError",
        "Mend it",
    ),
    Mistake(
        "run-refused", METHOD, 'examples=["dog"]', 'examples=["cat"]', "'cat' is not in", "examples"
    ),
    Mistake(
        "run-without-effect",
        METHOD,
        "default=2.0, ge",
        "default=1.0, ge",
        "changes no pixel",
        "examples that do something",
    ),
]

AT_IMPORT = [
    at_import("import-heavy", "import scipy", "loads scipy"),
    at_import("import-writes", "open('log.txt', 'w').close()", "opens log.txt to write"),
    at_import(
        "import-network",
        "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 1), 0.1)\n"
        "except OSError:\n    pass",
        "uses the network",
    ),
    at_import("import-process", "import os\nos.system('true')", "starts processes"),
    at_import("import-prints", "print('hello')", "prints: hello"),
    at_import("import-state", "torch.manual_seed(3)", "torch's random state"),
    Mistake(
        "import-fails",
        METHOD,
        "import torch\n",
        "import torch\n1 / 0\n",
        "ZeroDivisionError",
        "Make it import",
    ),
]
