"""Networks that meet a receptive field and a budget, in notation, each measured exactly before it is proposed."""

from striate.design.budget import Budget as Budget
from striate.design.search import Design as Design
from striate.design.search import Proposals as Proposals
from striate.design.search import design as design
