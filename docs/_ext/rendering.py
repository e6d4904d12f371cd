"""What Sphinx has no offline answer for: formulas as MathML, and links to names under the path that users import."""

from __future__ import annotations

import importlib
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.util.nodes import make_refnode


def _visit_math(writer: Any, node: nodes.Element) -> None:
    """MathML, which browsers draw themselves; MathJax would be fetched from the network."""
    block = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
    writer.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def _imported(name: str) -> Any:
    """What a dotted name stands for; ``None`` for nothing."""
    module, rest = name, []
    while module:
        try:
            found: Any = importlib.import_module(module)
        except ImportError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
            continue
        for attribute in rest:
            found = getattr(found, attribute, None)
        return found
    return None


def _same_object(app: Any, env: Any, node: nodes.Element, content: nodes.Element) -> nodes.reference | None:
    """``camexp.cam.maps.upsample`` is documented as ``camexp.cam.upsample``: the same object under another name."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("camexp."):
        return None
    wanted, last = _imported(target), target.rpartition(".")[2]
    for name, entry in env.get_domain("py").objects.items():
        if name.rpartition(".")[2] == last and wanted is not None and _imported(name) is wanted:
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    return None


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math, None))
    app.connect("missing-reference", _same_object)
    return {"parallel_read_safe": True}
