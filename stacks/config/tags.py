"""What AWS allows as a tag: https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated

from stacks.config.problems import RefusalError, quote

MOST_TAGS = 40
"""AWS allows 50 on a resource; the constructs and CloudFormation add a few of their own."""


def check_tag_key(value: str) -> None:
    """Require 1 to 128 characters that every service accepts in a tag's key, an instance's metadata included.

    A builder reads its group's name from its tags in the metadata, which takes neither spaces nor slashes:
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
    """
    _check(value, 128)
    if not re.fullmatch(r"(?!(\.{1,2}|_index)$)[0-9A-Za-z+=._:@-]+", value):
        allowed = "1 to 128 ASCII letters, digits and +-=._:@ in a key"
        raise RefusalError(value, allowed, "rename it: builders read their tags from the instance metadata")


def check_tag_value(value: str) -> None:
    """Require 1 to 256 characters that every service accepts in a tag's value. CloudFormation refuses an empty one."""
    _check(value, 256)


def check_tags(tags: Mapping[str, str]) -> None:
    """Require no more tags than fit on a resource, and keys that IAM, which ignores their case, can tell apart."""
    if len(tags) > MOST_TAGS:
        raise RefusalError(len(tags), f"at most {MOST_TAGS} tags", "remove some")
    keys: dict[str, str] = {}
    for key in tags:
        other = keys.setdefault(key.lower(), key)
        if other != key:
            raise RefusalError(key, f"keys that differ from {quote(other)} in more than case", "remove one of the two")


def _check(value: str, longest: int) -> None:
    allowed = f"1 to {longest} letters, digits, spaces and +-=._:/@"
    if not 1 <= len(value) <= longest or not all(_is_allowed(character) for character in value):
        raise RefusalError(value, allowed, "shorten it or leave the other characters out")
    if value.lower().startswith("aws:"):
        mend = "take another, for AWS keeps those for itself"
        raise RefusalError(value, f'{allowed}, not beginning with "aws:"', mend)


def _is_allowed(character: str) -> bool:
    return character in "+-=._:/@" or unicodedata.category(character)[0] in "LNZ"


TagKey = Annotated[str, check_tag_key]
TagValue = Annotated[str, check_tag_value]
Tags = Annotated[Mapping[TagKey, TagValue], check_tags]
