"""The extras of the installed package, and what they lack here; read from its metadata, so that no list is kept."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement


def extra_names() -> list[str]:
    """Of camexp as it is installed here.

    Raises:
        PackageNotFoundError: it runs from a folder, and is not installed.
    """
    return sorted(metadata("camexp").get_all("Provides-Extra") or [])


def requirements(extra: str = "") -> Iterator[Requirement]:
    """What camexp needs; with an extra what this one adds, those of the extras that it is made of included."""
    for text in requires("camexp") or []:
        one = Requirement(text)
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        if always != (not extra) or (one.marker is not None and not one.marker.evaluate({"extra": extra})):
            continue
        if one.name == "camexp":
            for inner in one.extras:
                yield from requirements(inner)
        else:
            yield one


def lacking(one: Requirement) -> str:
    """What is wrong with a requirement here, in a few words; empty if it is met.

    >>> lacking(Requirement("packaging>=1")), lacking(Requirement("no-such-package"))
    ('', 'no-such-package is missing')
    >>> lacking(Requirement("packaging<1"))
    'packaging is ..., <1 is needed'
    """
    try:
        found = version(one.name)
    except PackageNotFoundError:
        return f"{one.name} is missing"
    return (
        "" if one.specifier.contains(found, prereleases=True) else f"{one.name} is {found}, {one.specifier} is needed"
    )
