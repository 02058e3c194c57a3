"""The commands of the command line, one file each, imported when they are used."""

COMMANDS = {
    "generate": "Generate images from a prompt.",
    "edit": "Edit images with an installed method.",
    "plan": "Explain what an edit would do, without running the UNet.",
    "invert": "Invert a picture to noise, for edits that start from it.",
    "attention": "Show where the model looks for each word of a prompt.",
    "plugins": "List, describe, validate or begin methods.",
    "models": "List the installed models, or describe one.",
    "doctor": "Check the installation, and say what to do about each problem.",
    "replay": "Repeat the call that a result.json or a picture describes.",
}
"""Name -> what it does; the function or App `name` of the module ``commands.<name>`` runs it."""
