"""Whether a step fits in the memory there is, before one is taken."""

from dataclasses import fields

from sslbench.config.parts import LABELED, Part, Sizes
from sslbench.config.settings import Settings
from sslbench.engine.work import COPIES_OF_WEIGHTS, Work, count_layers
from sslbench.machine.memory import available_memory, size

SURE = 1.5
"""An estimate is refused only beyond so many times what there is: passes without gradient, such as
that of weak views, hold less than it says."""
NO_SIZES = ("batch_size", "knn_k", "snapshot_steps")
_counted: dict[str, Work | None] = {}
"""By model, method and side of images; a cell asks twice, before it begins and when it is built."""


class NoRoom(ValueError):
    """A step is far from fitting in the memory that is free."""


def require_room_for_images(settings: Settings) -> None:
    """Refuse a batch whose images alone do not fit in this machine's memory; needs no torch.

    Raises:
        NoRoom: With the setting to lower.
    """
    available = available_memory()
    needed = _num_views(settings) * _view_bytes(settings)
    if settings.device in ("auto", "cpu") and available is not None and needed > SURE * available:
        raise NoRoom(_refusal(settings, needed, available, _batch(settings)))


def require_room(settings: Settings) -> None:
    """Refuse a step that is far from fitting in the memory of its device.

    Raises:
        NoRoom: With the setting to lower.
    """
    import torch

    from sslbench.engine.device import choose_device, choose_precision

    device = choose_device(settings.device)
    bf16 = choose_precision(settings.precision, device) == "bf16"
    on_gpu = device.type == "cuda"
    available = torch.cuda.mem_get_info(device)[0] if on_gpu else available_memory()
    needed = step_bytes(settings, bf16=bf16)
    if available is None or needed is None or needed <= SURE * available:
        return
    of_weights = 4 * COPIES_OF_WEIGHTS * _count(settings).weights
    per_image = (needed - of_weights) / _num_views(settings)
    of_smallest_batch = of_weights + 2 * len(_streams(settings)) * per_image
    too_large = of_smallest_batch > SURE * available
    lower = _largest(settings) if too_large else _batch(settings)
    raise NoRoom(_refusal(settings, needed, available, lower))


def step_bytes(settings: Settings, *, bf16: bool) -> int | None:
    """Return the memory at the peak of a step, its views included; None if it cannot be counted."""
    work, num_views = _count(settings), _num_views(settings)
    if work is None:
        return None
    return work.step_bytes(num_views, bf16=bf16) + num_views * _view_bytes(settings)


def _count(settings: Settings) -> Work | None:
    """Count without computing; None of what cannot be built without its weights."""
    key = f"{settings.model} {settings.method} {settings.data.side}"
    if key not in _counted:
        try:
            _counted[key] = _count_anew(settings)
        except Exception:  # a part from outside may ask for more; it is tried as it is
            _counted[key] = None
    return _counted[key]


def _count_anew(settings: Settings) -> Work:
    import torch

    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        encoder = settings.model.build(settings.data.side)
        work = count_layers(encoder, settings.data.side)
        method = settings.method.build(encoder, Sizes(1, 1, 1, 1))
    return work._replace(weights=sum(it.numel() for it in method.parameters()))


def _streams(settings: Settings) -> list:
    return settings.method.streams(settings.ratio)


def _num_views(settings: Settings) -> int:
    return sum(stream.batch_size * len(stream.views) for stream in _streams(settings))


def _view_bytes(settings: Settings) -> int:
    """Return the bytes of a view in float32."""
    return 4 * 3 * settings.data.side**2


def _batch(settings: Settings) -> str:
    """Return the setting of the larger batch: it is the method's that has its value."""
    largest = max(_streams(settings), key=lambda stream: stream.batch_size)
    method = settings.method
    for field in fields(method):
        if field.name.endswith("batch_size") and getattr(method, field.name) == largest.batch_size:
            return f"method.{field.name}={largest.batch_size}"
    return f"ratio={settings.ratio.name}" if largest.of != LABELED else "method.batch_size"


def _largest(settings: Settings) -> str:
    """Return the model's or the method's setting of a size, batches apart, that is the largest."""
    found = [(0, f"model={settings.model.name}")]
    for group in ("model", "method"):
        part: Part = getattr(settings, group)
        for field in fields(part):
            value = getattr(part, field.name)
            numbers = value if isinstance(value, list) else [value]
            is_size = numbers and all(type(number) is int for number in numbers)
            if is_size and not field.name.endswith(NO_SIZES):
                found.append((max(numbers), f"{group}.{field.name}={value}"))
    return max(found)[1]


def _refusal(settings: Settings, needed: int, available: int, lower: str) -> str:
    return (
        f"{lower}: a step would take about {size(needed)} of memory, and {size(available)} are "
        f"free; lower {lower.partition('=')[0]}, or choose a smaller model than "
        f"{settings.model.name}"
    )
