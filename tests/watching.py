"""Observers that record a run or end it, shared by the tests of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate.train.observer import Observer

if TYPE_CHECKING:
    from torch import nn


class Recorder(Observer):
    def __init__(self):
        self.heard = []

    def on_start(self, plan):
        self.heard.append(("start", plan))

    def on_step(self, step):
        self.heard.append(("step", step))

    def on_epoch(self, row):
        self.heard.append(("epoch", row))

    def on_note(self, text):
        self.heard.append(("note", text))

    def on_end(self, result):
        self.heard.append(("end", result))

    def of(self, kind):
        return [what for heard, what in self.heard if heard == kind]


class Stopped(Exception):  # noqa: N818 - it is no error
    """The test ends the run here."""


class StopAfter(Recorder):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_step(self, step):
        super().on_step(step)
        if step.done_steps == self.steps:
            raise Stopped


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    import torch

    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
