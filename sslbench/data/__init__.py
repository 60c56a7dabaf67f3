import dataclasses, numpy as np
from dataclasses import dataclass
from pathlib import Path
@dataclass(frozen=True)
class Dataset:
    name: str; class_names: tuple; train_images: np.ndarray; train_labels: np.ndarray
    test_images: np.ndarray; test_labels: np.ndarray; unlabeled_images: np.ndarray
    train_indices: np.ndarray; val_indices: np.ndarray; test_indices: np.ndarray
    mean: tuple; std: tuple; fingerprint: str
def concrete_data(data, outputs):
    return dataclasses.replace(data, name="digits") if data.name=="auto" else data
def open_dataset(data, outputs):
    r=np.random.default_rng(0)
    mk=lambda n: r.integers(0,255,(n,3,96,96),dtype=np.uint8)
    lab=lambda n: np.arange(n)%10
    return Dataset("digits",tuple("0123456789"),mk(60),lab(60).astype(np.int64),mk(537),lab(537).astype(np.int64),mk(1200),np.arange(60),np.arange(107),np.arange(107,537),(.5,.5,.5),(.25,.25,.25),"stub")
