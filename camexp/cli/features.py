"""See and clear the stored features: ``camexp features`` and ``camexp features clear``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from camexp.features.cache import DEFAULT_FOLDER
from camexp.features.store import ABOUT, FeatureStore, stores


def main(arguments: Sequence[str] | None = None) -> int:
    """List the stores, or remove those named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="camexp features", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("list", "clear"), default="list")
    parser.add_argument("keys", nargs="*", help="the stores to clear, as listed; default: all that no run is using")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="default: %(default)s")
    asked = parser.parse_args(arguments)
    found = stores(asked.folder)
    if asked.command == "list":
        if asked.keys:
            parser.error("list takes no keys")
        return _list(found, asked.folder)
    by_key = {store.folder.name: store for store in found}
    if unknown := [name for name in asked.keys if name not in by_key]:
        print(f"error: {unknown[0]} is no store in {asked.folder}: see camexp features", file=sys.stderr)
        return 1
    code = 0
    for store in [by_key[name] for name in asked.keys] or found:
        _, size = store.recorded_size()
        if store.remove():
            print(f"removed {store.folder} ({size / 1e6:.1f} MB)")
        else:
            print(f"error: {store.folder} is in use, or cannot be removed", file=sys.stderr)
            code = 1
    return code


def _list(found: list[FeatureStore], folder: Path) -> int:
    if not found:
        print(f"no features in {folder}")
        return 0
    print(f"{'store':20}  {'images':>8}  {'MB':>10}  {'last used':16}  of")
    total = 0
    for store in found:
        count, size = store.recorded_size()
        total += size
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(store.last_used()))
        print(f"{store.folder.name:20}  {count:8}  {size / 1e6:10.1f}  {used}  {_describe(store)}")
    print(f"{total / 1e9:.2f} GB in {folder}; clear with: camexp features clear [STORE …]")
    return 0


def _describe(store: FeatureStore) -> str:
    try:
        about = json.loads((store.folder / ABOUT).read_text(encoding="utf-8"))
        size = "×".join(str(side) for side in about["preprocessing"]["size"])
        return f"{about['trunk']} {size} {about['dtype']} {about['precision']} {about['device']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "(no description)"
