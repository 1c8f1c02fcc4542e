"""config.json: its fields, what a board makes of it, and how it is written. The commands are in command.py."""

from .advice import Advice, advice, example_name, plan
from .document import Problem, bundle, checked, get, named_files, parse, problems, put, read, write
from .fields import FIELDS, HELP, SECRETS, Field, reference

__all__ = [
    "FIELDS",
    "HELP",
    "SECRETS",
    "Advice",
    "Field",
    "Problem",
    "advice",
    "bundle",
    "checked",
    "example_name",
    "get",
    "named_files",
    "parse",
    "plan",
    "problems",
    "put",
    "read",
    "reference",
    "write",
]
