"""Imports point down: each part of the package knows those below it alone."""

import ast
from pathlib import Path

import sslbench

LAYERS = [
    "machine randomness palette paper interfaces",
    "words",
    "files exit_codes scatter wandb_run",
    "config",
    "augment models optimizers",
    "data cell",
    "engine",
    "evaluate",
    "methods load media tensorboard_run",
    "build tracking export_formats",
    "run repair",
    "sweep",
    "tables",
    "report probe cells export train __init__",
    "dashboard",
]
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer.split()}


def imported(module: ast.Module) -> set[str]:
    """Parts of the package that a module imports, wherever it does, but not for types alone."""
    found, nodes = set(), [module]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            is_package = node.module == "sslbench"
            found |= {f"sslbench.{it.name}" if is_package else node.module for it in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        nodes += ast.iter_child_nodes(node)
    return {name.split(".")[1] for name in found if name.startswith("sslbench.")}


def test_imports_point_down():
    root = Path(sslbench.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert len(files) > 100
    upward = []
    for path in files:
        part = path.relative_to(root).with_suffix("").parts[0]
        for other in imported(ast.parse(path.read_text())) - {part}:
            if HEIGHT[other] >= HEIGHT[part]:
                upward.append(f"{path.relative_to(root)} imports {other}")
    assert upward == []
