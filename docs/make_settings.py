"""Writes docs/settings.md from the settings' classes and what stands below their fields.

python docs/make_settings.py
"""

import ast
import importlib
import inspect
from dataclasses import MISSING, fields
from pathlib import Path

PAGE = Path(__file__).with_name("settings.md")
SECTIONS = {
    "One cell": ["sslbench.config.settings.Settings"],
    "model": [
        "sslbench.models.convnet.ConvNet",
        "sslbench.models.resnet.ResNet18",
        "sslbench.models.wide_resnet.WideResNet",
        "sslbench.models.library.LibraryModel",
        "sslbench.models.timm.Timm",
        "sslbench.models.torchvision.Torchvision",
    ],
    "method": [
        "sslbench.config.parts.Method",
        "sslbench.methods.supervised.Supervised",
        "sslbench.methods.self_supervised.SelfSupervised",
        "sslbench.methods.barlow_twins.BarlowTwins",
        "sslbench.methods.mixed_barlow_twins.MixedBarlowTwins",
        "sslbench.methods.simclr.SimCLR",
        "sslbench.methods.vicreg.VICReg",
        "sslbench.methods.byol.BYOL",
        "sslbench.methods.semi_supervised.SemiSupervised",
        "sslbench.methods.semi_supervised.PseudoLabeling",
        "sslbench.methods.semi.Semi",
        "sslbench.methods.flexmatch.FlexMatch",
        "sslbench.methods.freematch.FreeMatch",
        "sslbench.methods.softmatch.SoftMatch",
        "sslbench.methods.mean_teacher.MeanTeacher",
    ],
    "augmentation": [
        "sslbench.config.settings.Augmentation",
        *(
            f"sslbench.augment.operations.{name}"
            for name in ("Crop", "Flip", "Jitter", "Grayscale", "Blur", "Solarize")
        ),
        *(f"sslbench.augment.patches.{name}" for name in ("PaddedCrop", "Cutout", "RandomErasing")),
        "sslbench.augment.rand_augment.RandAugment",
        *(f"sslbench.augment.mixing.{name}" for name in ("Mixing", "MixUp", "CutMix")),
    ],
    "ratio": ["sslbench.config.parts.Ratio"],
    "optimizer": [
        "sslbench.config.parts.Optimizer",
        "sslbench.optimizers.torch_optimizers.Adam",
        "sslbench.optimizers.torch_optimizers.AdamW",
        "sslbench.optimizers.torch_optimizers.SGD",
        "sslbench.optimizers.lars.LARS",
        "sslbench.optimizers.muon.Muon",
    ],
    "data": [
        "sslbench.config.data.Data",
        "sslbench.data.stl10.STL10",
        "sslbench.data.packed.Packed",
        "sslbench.data.folder.Folder",
        "sslbench.data.parquet.Parquet",
        "sslbench.data.torchvision.Torchvision",
    ],
    "tracking": ["sslbench.config.settings.Tracking"],
    "hydra.sweeper": ["hydra_plugins.sslbench_sweeper.grids.GridsSweeperConf"],
}
HEAD = """# Settings

Made by `python docs/make_settings.py`; do not edit. Set any of them as `group.key=value`, as in
`method.threshold=0.95`. "Paper" is Singh, Garg and Mishra; "reading" marks a place where the paper
is silent or contradicts itself, and names the other reading that the setting offers.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(build_page())


def build_page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, paths in SECTIONS.items():
        parts += [f"\n## {title}\n", *(describe(path) for path in paths)]
    return "".join(parts)


def describe(path: str) -> str:
    """Return a class's docstring and a table of the fields that it declares itself."""
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    notes = field_notes(kind)
    own = [field for field in fields(kind) if field.name in notes]
    lines = [f"\n**{name}**: {inspect.getdoc(kind)}\n"]
    if own:
        lines += ["\n| setting | default | |\n| --- | --- | --- |\n"]
    for field in own:
        default = field.default_factory() if field.default is MISSING else field.default
        if hasattr(default, "__dataclass_fields__"):
            shown = "see below"
        else:
            shown = "" if default == "???" else f"`{default}`"
        lines.append(f"| `{field.name}` | {shown} | {notes[field.name]} |\n")
    return "".join(lines)


def field_notes(kind: type) -> dict[str, str]:
    """Return what stands below each field that a class declares, in one line."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    notes: dict[str, str] = {}
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split()).replace("|", "\\|")
            notes[statement.target.id] = text
    return notes


if __name__ == "__main__":
    main()
