"""Patterns in which ``*`` stands for anything, ``?`` for one character, and all else for itself."""

import re
from functools import lru_cache


@lru_cache(maxsize=1024)
def glob(text: str, wild: str = r"[\s\S]") -> re.Pattern[str]:
    """A pattern to be matched in full; ``wild`` is the class of characters that star and question mark stand for.

    It takes no more than the product of both lengths, whatever pattern somebody thought up: between two stars the
    first place that fits is as good as any other, so nothing is tried twice.
    """
    first, *rest = ("".join(wild if each == "?" else re.escape(each) for each in part) for part in text.split("*"))
    if not rest:
        return re.compile(first)
    between = "".join(f"(?>{wild}*?{part})" for part in rest[:-1])
    return re.compile(f"{first}{between}{wild}*{rest[-1]}")
