"""What a step touches, read off its graph: so that nothing the next one needs is left out.

A checkpoint finds state by the attributes that lead to it. A graph knows what is really used, however
it is held: by a list, a closure, a module. What is used and can be saved is added to the checkpoint;
what cannot be saved is told before any training.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

log = logging.getLogger(__name__)

_SEEDED = {"seed", "seed2"}
"""The attributes of an op that draws random numbers from a counter inside its kernel."""
_CHANGING = ("LookupTableImport", "LookupTableInsert", "LookupTableRemove", "Queue", "IteratorGet")
"""Beginnings of the names of ops that change a resource which is no variable."""
_PYTHON = ("PyFunc", "EagerPyFunc")


class _Node(NamedTuple):
    op: str
    name: str
    draws: bool
    """Whether it draws random numbers."""


class Inventory:
    """The variables, tables and random ops of the functions that do the steps.

    Args:
        graphs: of the functions, traced.
    """

    def __init__(self, graphs: Sequence[Any]) -> None:
        self._graphs = graphs

    @property
    def variables(self) -> list[tf.Variable]:
        """Every variable that is read, once."""
        found = (variable for graph in self._graphs for variable in graph.variables)
        return list({id(variable): variable for variable in found}.values())

    def problems(self, kept: Iterable[Any]) -> list[str]:
        """What changes from step to step and cannot be saved, by name.

        Args:
            kept: the objects whose state is saved.
        """
        random = [node for node in self._nodes if node.draws]
        found = [
            f"a step draws random numbers with {_named(node)}, whose state no checkpoint can hold; "
            "use keras.random with a keras.random.SeedGenerator, or tf.random.Generator"
            for node in random
        ]
        if self._has_other_resources(kept):
            found += [
                f"a step changes what {_named(node)} works on, which is not tracked and cannot be "
                "saved; keep it in an attribute of the model or a layer, or do without it"
                for node in self._nodes
                if node.op.startswith(_CHANGING)
            ]
        return list(dict.fromkeys(found))

    @property
    def python_calls(self) -> list[str]:
        """Where a step calls Python, which may remember what no checkpoint holds."""
        return [_named(node) for node in self._nodes if node.op in _PYTHON]

    def tell_python(self) -> None:
        """Warns of steps that call Python."""
        if self.python_calls:
            log.warning(
                "every step calls Python (%s): what that remembers is in no checkpoint, and a run "
                "that goes on does without it",
                ", ".join(self.python_calls[:5]),
            )

    @property
    def num_nodes(self) -> int:
        """The ops of all the functions."""
        return len(self._nodes)

    @functools.cached_property
    def _nodes(self) -> list[_Node]:
        definitions = [graph.as_graph_def() for graph in self._graphs]
        functions = [one for each in definitions for one in each.library.function]
        nodes = [
            *(node for each in definitions for node in each.node),
            *(node for function in functions for node in function.node_def),
        ]
        # Not the nodes themselves: they hold all constants.
        return [_Node(op=node.op, name=node.name, draws=_draws(node)) for node in nodes]

    def _has_other_resources(self, kept: Iterable[Any]) -> bool:
        """Whether the graphs use a resource that is neither a variable nor kept."""
        known = {id(variable.handle) for variable in self.variables}
        known |= {id(getattr(part, "resource_handle", None)) for part in kept}
        used = (outside for graph in self._graphs for outside, _ in graph.captures)
        return any(one.dtype == tf.resource and id(one) not in known for one in used)


def _draws(node: Any) -> bool:
    """Whether it draws random numbers; a recurrent layer on a GPU only does for its own dropout."""
    if node.op.startswith("CudnnRNN"):
        return bool(node.attr["dropout"].f)
    return bool(node.attr.keys() >= _SEEDED)


def _named(node: _Node) -> str:
    return f"{node.op} ({node.name.removeprefix('while/')})"
