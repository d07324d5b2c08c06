"""Running a saved run afresh, and comparing what comes out."""

from runner.reproduction.compare import Item, Reproduction, check_tolerance, compare
from runner.reproduction.plan import Part, Plan, plan_of

__all__ = ["Item", "Part", "Plan", "Reproduction", "check_tolerance", "compare", "plan_of"]
