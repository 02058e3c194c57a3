"""Mistakes in what a package says of itself, and in its sources."""

from tests.framework.inspection.planting import METHOD, PROJECT, Mistake

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
    Mistake(
        "python-version", PROJECT, "requires-python", "#", "which Python", 'requires-python = "'
    ),
    Mistake("readme-missing", "README.md", "", None, "no README", "Write README.md"),
    Mistake("tests-missing", "tests", "", None, "no tests", "check_plugin"),
]

SOURCE = [
    Mistake(
        "source-syntax", METHOD, "def start(self)", "def start(self", "no Python", "Correct it"
    ),
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
