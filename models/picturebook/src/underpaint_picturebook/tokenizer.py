"""The tokenizer: CLIP's byte-level BPE with a vocabulary learnt from the caption language.

Most words are one token. A few are cut where `PIECES` says, so that code which aligns words
with tokens meets the real case; unknown words fall apart into letters.
"""

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from underpaint_picturebook.backgrounds import BACKGROUNDS
from underpaint_picturebook.captions import RELATIONS
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.styles import STYLE_WORDS

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
PIECES = ("mush|room", "umb|rella", "water|colour", "pix|el", "pain|ting")
"""Words of several tokens; the bar marks where no merge may cross."""

Word = tuple[str, ...]


def words() -> list[str]:
    """Return every word a caption can hold, sorted."""
    phrases = [*OBJECTS, *COLOURS, "a an the small big on left right in middle and with of"]
    for table in (RELATIONS, STYLE_WORDS):
        phrases += [phrase for options in table.values() for phrase in options]
    phrases += [phrase for kind in BACKGROUNDS.values() for phrase in kind.words]
    return sorted({word for phrase in phrases for word in phrase.split()})


def byte_letters() -> list[str]:
    """Return the 256 printable characters that stand for bytes, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [code for code in range(256) if code not in printable]
    return [chr(code) for code in printable] + [chr(256 + rank) for rank in range(len(others))]


def _merge(word: Word, pair: tuple[str, str]) -> Word:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


def learn_merges(vocabulary: list[str]) -> list[tuple[str, str]]:
    """Learn byte-pair merges until each word is as short as `PIECES` allows.

    The most frequent pair is merged first, ties in alphabetical order.
    """
    cuts = {piece.replace("|", ""): piece.index("|") for piece in PIECES}
    split = {word: (*word[:-1], word[-1] + "</w>") for word in vocabulary}
    merges: list[tuple[str, str]] = []
    while True:
        counts: Counter[tuple[str, str]] = Counter()
        for word, symbols in split.items():
            end = 0
            for pair in pairwise(symbols):
                end += len(pair[0])
                if cuts.get(word) != end:
                    counts[pair] += 1
        if not counts:
            return merges
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        split = {word: _merge(symbols, best) for word, symbols in split.items()}


def build() -> "CLIPTokenizer":
    """Return the tokenizer, ready for `save_pretrained`."""
    from transformers import CLIPTokenizer

    letters = byte_letters()
    merges = learn_merges(words())
    symbols = [*letters, *(letter + "</w>" for letter in letters)]
    symbols += [first + second for first, second in merges]
    vocabulary = {symbol: rank for rank, symbol in enumerate([*symbols, START, END])}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )
