"""``underpaint plugins``: list, info, new, validate; each is imported when it is asked for."""

from cyclopts import App

from underpaint.commands import COMMANDS

plugins = App(name="plugins", help=COMMANDS["plugins"])
plugins.command("underpaint.commands.plugins.listing:list_", name="list")
plugins.command("underpaint.commands.plugins.info:info", name="info")
plugins.command("underpaint.commands.plugins.new:new", name="new")
plugins.command("underpaint.commands.plugins.validate:validate", name="validate")
