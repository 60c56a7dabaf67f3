"""Files that other programs take an encoder from, each read back by its own library.

A format is written to a path, with what its user must know of the encoder (normalisation, class
names, accuracies), and returned as a reader: floats `(n, 3, side, side)` from 0 to 1 -> `(n, D)`.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sslbench.config.parts import Model
from sslbench.files.atomic import replace_file
from sslbench.load import Encoder
from sslbench.machine.extras import require_extra

Reader = Callable[[Tensor], Tensor]
METADATA = "metadata.json"
"""Of a program: its name among torch's extra files."""
EXTRA = "export"
"""That brings what formats need."""


def to_safetensors(encoder: Encoder, model: Model, path: Path) -> Reader:
    """Write the weights alone; `init.from=` takes them, and torch by `load_state_dict`."""
    from safetensors.torch import load_file, save

    metadata = {name: _text(value) for name, value in encoder.metadata.items()}
    weights = encoder.encoder.state_dict()
    replace_file(path, lambda file: file.write(save(weights, metadata)))
    again = copy.deepcopy(encoder)
    again.encoder.load_state_dict(load_file(path))
    return again


def to_torch(encoder: Encoder, model: Model, path: Path) -> Reader:
    """Write a program for `torch.export.load`, which needs neither sslbench nor the model's code.

    It normalises the images itself, and takes any number of them.
    """
    program = _program(encoder)
    metadata = {METADATA: json.dumps(encoder.metadata)}
    replace_file(path, lambda file: torch.export.save(program, file, extra_files=metadata))
    return torch.export.load(path).module()


def to_onnx(encoder: Encoder, model: Model, path: Path) -> Reader:
    """Write a program for ONNX Runtime and others, `images` -> `embeddings`, as `to_torch` does."""
    import onnx
    from onnxruntime import InferenceSession

    names = {"input_names": ["images"], "output_names": ["embeddings"]}
    proto = torch.onnx.export(_program(encoder), **names, verbose=False).model_proto
    texts = {name: _text(value) for name, value in encoder.metadata.items()}
    onnx.helper.set_model_props(proto, texts)
    replace_file(path, lambda file: file.write(proto.SerializeToString()))
    session = InferenceSession(path)
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def to_timm(encoder: Encoder, model: Model, path: Path) -> Reader:
    """Write a folder for `timm.create_model("local-dir:…", pretrained=True)`, or to be uploaded."""
    from timm import create_model
    from timm.models import save_for_hf

    side, metadata = encoder.side, encoder.metadata
    data = {"mean": metadata["mean"], "std": metadata["std"], "crop_pct": 1.0}
    data |= {"input_size": (3, side, side)}
    theirs = model.as_timm(encoder.encoder)
    about = {"sslbench": metadata}
    save_for_hf(theirs, str(path), about, safe_serialization=True, data_config=data)
    again = create_model(f"local-dir:{path}", pretrained=True, num_classes=0).eval()
    mean, std = (
        torch.tensor(again.pretrained_cfg[name])[:, None, None] for name in ("mean", "std")
    )
    return lambda images: again((images - mean) / std)


class Format(NamedTuple):
    """How an encoder is written, the end of its file's name, and the packages it takes."""

    write: Callable[[Encoder, Model, Path], Reader]
    suffix: str
    packages: tuple[str, ...]

    def require_packages(self, asked: str) -> None:
        """Refuse what cannot be written here.

        Raises:
            ValueError: If a package is not installed.
        """
        for package in self.packages:
            require_extra(asked, package, EXTRA)


FORMATS = {
    "safetensors": Format(to_safetensors, ".safetensors", ("safetensors",)),
    "torch": Format(to_torch, ".pt2", ()),
    "onnx": Format(to_onnx, ".onnx", ("onnx", "onnxscript", "onnxruntime")),
    "timm": Format(to_timm, "-timm", ("timm", "safetensors")),
}


def _program(encoder: Encoder) -> torch.export.ExportedProgram:
    images = torch.rand(2, 3, encoder.side, encoder.side)
    return torch.export.export(encoder, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
