"""What people see: the phases as they go, and tables."""

from runner.report.console import for_terminal
from runner.report.tables import checkpoint_table, result_table, run_table

__all__ = ["checkpoint_table", "for_terminal", "result_table", "run_table"]
