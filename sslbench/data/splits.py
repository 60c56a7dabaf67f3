import numpy as np
from sslbench.randomness import generator
import torch
def unlabeled_pool(num_available, num_labeled, ratio, seed):
    n = num_available if ratio.unlabeled==-1 or ratio.of=="batch" else num_labeled*ratio.unlabeled//ratio.labeled
    if n>num_available: raise ValueError("too few")
    return torch.randperm(num_available, generator=generator(seed,"pool"))[:n].numpy()
