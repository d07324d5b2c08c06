"""Running a saved run afresh, and comparing what comes out."""

from runner.reproduction.compare import Item, Reproduction, compare
from runner.reproduction.plan import Part, Plan, plan_of

__all__ = ["Item", "Part", "Plan", "Reproduction", "compare", "plan_of"]
