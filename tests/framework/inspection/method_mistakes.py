"""Mistakes in parameters, hooks, runs, and at import."""

from tests.framework.inspection.planting import METHOD, START, Mistake, at_import, parameter

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
        "parameters-mutable",
        'model_config = {"frozen": False}',
        "not frozen",
        "Remove frozen=False",
    ),
    parameter(
        "parameters-extra",
        'model_config = {"extra": "ignore"}',
        "misspelt one is ignored",
        "forbid",
    ),
    Mistake(
        "example-missing", METHOD, ', examples=["dog"]', "", "'word' has neither", "examples=[...]"
    ),
    Mistake(
        "example-invalid",
        METHOD,
        'examples=["dog"]',
        'examples=[""]',
        "its own examples",
        "Correct",
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
        "        return globals().setdefault('RUN', CLASSRun(self))",
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
