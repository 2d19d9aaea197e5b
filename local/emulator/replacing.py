"""Puts our own code in place of a part of moto."""


def replace(owner: object, name: str, replacement: object) -> None:
    """Replace a class's or a module's attribute.

    Raises:
        AttributeError: There is none of that name: this moto is another than the one this was written against.
    """
    getattr(owner, name)
    setattr(owner, name, replacement)
