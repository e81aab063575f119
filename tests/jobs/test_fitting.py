from __future__ import annotations

import torch
import torch.nn.functional as F

from striate.graph import initialise
from striate.graph.to_torch import to_module
from striate.jobs.fitting import fitting_batch, training_bytes
from striate.notation import read

NET = "8C3-BN-R-MP2-12C3-BN-R-GAP-7"


def saved_bytes(network, batch):
    """What torch's autograd really keeps beside the parameters, counted once a storage."""
    module, kept = to_module(initialise(network, 1)), {}
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.zeros(batch, *network.input_shape)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = F.cross_entropy(module(images), torch.zeros(batch, dtype=torch.long))
    del loss
    return sum(kept.values())


def test_the_bytes_cover_what_autograd_keeps():
    network = read(NET, (3, 22, 14))
    fixed = training_bytes(network, 0)
    assert fixed == 7 * 4 * network.parameters()
    for batch in (4, 9):
        kept = saved_bytes(network, batch)
        widest = 4 * 2 * 8 * 22 * 14 * batch
        assert kept <= training_bytes(network, batch) - fixed <= 1.05 * kept + widest


def test_a_batch_is_halved_until_it_fits():
    network = read(NET, (3, 22, 14))
    free = 4 * training_bytes(network, 16)
    assert fitting_batch(network, 16, free, 0.5) is None
    choice = fitting_batch(network, 128, free, 0.5)
    assert (choice.name, choice.value) == ("batch_images", 32)
    assert choice.reason.endswith(" GB, above the share of 0.5 that memory_share allows")
    assert fitting_batch(network, 128, 0, 0.5).value == 2
