"""The ten kinds of edits of PIE-Bench (arXiv 2310.01506, table 6), by its numbers and names."""

from __future__ import annotations

from enum import IntEnum


class EditType(IntEnum):
    """A kind of edit; the value is PIE-Bench's ``editing_type_id``."""

    RANDOM = 0
    CHANGE_OBJECT = 1
    ADD_OBJECT = 2
    DELETE_OBJECT = 3
    CONTENT = 4
    POSE = 5
    COLOUR = 6
    MATERIAL = 7
    BACKGROUND = 8
    STYLE = 9

    @property
    def folder(self) -> str:
        """Name of the pictures' folder, as in PIE-Bench less its count."""
        return f"{self.value}_{_FOLDERS[self]}"

    @property
    def title(self) -> str:
        """Name for a table."""
        return _FOLDERS[self].removeprefix("change_attribute_").replace("_", " ")


_FOLDERS = {
    EditType.RANDOM: "random",
    EditType.CHANGE_OBJECT: "change_object",
    EditType.ADD_OBJECT: "add_object",
    EditType.DELETE_OBJECT: "delete_object",
    EditType.CONTENT: "change_attribute_content",
    EditType.POSE: "change_attribute_pose",
    EditType.COLOUR: "change_attribute_color",
    EditType.MATERIAL: "change_attribute_material",
    EditType.BACKGROUND: "change_background",
    EditType.STYLE: "change_style",
}

ALL_TYPES = frozenset(EditType)
