"""PIE-Bench's form: written and read back, and what is wrong with a folder is told."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.picturebench.masks import decode_runs
from benchmarks.picturebench.picture_set import picture_set
from benchmarks.picturebench.pie_bench import (
    MAPPING,
    PICTURES,
    CorruptPartError,
    MissingPartError,
    load_folder,
    mark_differences,
    save_folder,
)

KEYS = {
    "image_path",
    "original_prompt",
    "editing_prompt",
    "editing_instruction",
    "editing_type_id",
    "blended_word",
    "mask",
}


@pytest.fixture(scope="module")
def items():
    return picture_set("test", 10)


@pytest.fixture
def folder(items, tmp_path):
    save_folder(items, tmp_path)
    return tmp_path


def change_entry(folder, key, **values):
    file = folder / MAPPING
    entries = json.loads(file.read_text())
    entries[key] |= values
    file.write_text(json.dumps(entries))


def test_an_entry_has_the_published_keys_and_types(items, folder):
    entries = json.loads((folder / MAPPING).read_text())
    assert list(entries) == [item.key for item in items]
    for entry in entries.values():
        assert set(entry) == KEYS
        assert isinstance(entry["editing_type_id"], str)
        assert all(isinstance(number, int) for number in entry["mask"])
        with Image.open(folder / PICTURES / entry["image_path"]) as picture:
            assert picture.size == (512, 512)


def test_a_folder_gives_back_what_was_written(items, folder):
    entries = json.loads((folder / MAPPING).read_text())
    for item, again in zip(items, load_folder(folder), strict=True):
        assert (again.key, again.type, again.blended) == (item.key, item.type, item.blended)
        assert again.source_prompt == item.source_prompt
        assert again.target_prompt == item.target_prompt
        assert again.instruction == item.instruction
        assert (again.picture[::2, ::2] == item.picture).all()
        mask = decode_runs(entries[item.key]["mask"], (512, 512))
        assert (mask[::2, ::2] == item.mask).all()
        assert (mask[1::2, 1::2] == item.mask).all()
        assert (again.mask == mask).all()


def test_brackets_mark_what_differs():
    old, new = mark_differences("a red cat on grass", "a red dog on grass at night")
    assert old == "a red [cat] on grass"
    assert new == "a red [dog] on grass [at night]"


def test_a_missing_mapping_file_is_named(tmp_path):
    with pytest.raises(MissingPartError, match="mapping_file"):
        load_folder(tmp_path)


def test_a_missing_picture_is_named_with_its_entry(items, folder):
    next((folder / PICTURES).rglob("test-1000.png")).unlink()
    with pytest.raises(MissingPartError, match=r"test-1000 .*test-1000\.png"):
        load_folder(folder)


def test_a_mapping_file_that_is_no_json_is_refused(folder):
    (folder / MAPPING).write_text("{")
    with pytest.raises(CorruptPartError, match="mapping_file"):
        load_folder(folder)


def test_an_entry_without_a_key_is_refused_with_its_place(folder):
    entries = json.loads((folder / MAPPING).read_text())
    del entries["test-2000"]["mask"]
    (folder / MAPPING).write_text(json.dumps(entries))
    with pytest.raises(CorruptPartError, match=r"test-2000 -> mask"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"editing_type_id": "12"}, "12"),
        ({"mask": [3]}, "no pairs"),
        ({"mask": [0, 5, 10**9, 1]}, "a run of 1"),
        ({"image_path": "../../outside.png"}, "outside of"),
    ],
)
def test_values_that_make_no_sense_are_refused(folder, values, told):
    change_entry(folder, "test-0000", **values)
    with pytest.raises(CorruptPartError, match=f"test-0000.*{told}"):
        load_folder(folder)


def test_a_picture_that_cannot_be_read_is_named(folder):
    next((folder / PICTURES).rglob("test-1000.png")).write_bytes(b"no picture")
    with pytest.raises(CorruptPartError, match=r"test-1000\.png"):
        load_folder(folder)


def test_another_size_is_brought_to_512(items, folder):
    file = next((folder / PICTURES).rglob("test-0000.png"))
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(file)
    assert load_folder(folder, limit=1)[0].picture.shape == (512, 512, 3)
