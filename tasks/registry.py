"""The tasks that there are, and how one of a user's own joins them."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator
from inspect import isabstract
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from cordstasks.errors import InputError, unknown
from cordstasks.tasks import abstract, visual
from cordstasks.tasks.abstract.base import AbstractTask
from cordstasks.tasks.visual.base import VisualTask
from cordstasks.utils.files import FileStamp, file_stamp

Task = VisualTask | AbstractTask

_KINDS: tuple[type[Task], ...] = (VisualTask, AbstractTask)
_TASKS: dict[str, type[Task]] = {}
_FILES: dict[tuple[Path, FileStamp | None], type[Task]] = {}
_Class = TypeVar("_Class", bound=type[Any])
# what a class must state as well as its methods, which Python itself asks for
_STATED: dict[type[Task], tuple[str, ...]] = {VisualTask: ("id", "stimulus"), AbstractTask: ("id", "channels", "sensory")}


def register_task(task: _Class) -> _Class:
    """Make a task known by its `id`; to be written over its class as ``@register_task``.

    Parameters
    ----------
    task : type
        A class derived from `VisualTask` or `AbstractTask`.

    Returns
    -------
    type
        The class.

    Raises
    ------
    InputError
        If it is no such class, lacks an `id` or a method, or its `id` is another's or no name for a file.
    """
    kind = _kind(task)
    if kind is None:
        what = getattr(task, "__name__", repr(task))
        raise InputError(f"register_task({what}): give a class derived from VisualTask or AbstractTask")
    if isabstract(task):
        lacking = ", ".join(sorted(task.__abstractmethods__))
        raise InputError(f"register_task({task.__name__}): the task lacks {lacking}")
    for name in _STATED[kind]:
        value = getattr(task, name, None)
        if value is None or (name in ("id", "stimulus") and not isinstance(value, str)):
            what = "a name as " if name in ("id", "stimulus") else ""
            raise InputError(f"register_task({task.__name__}): give the class {what}`{name}`")
    if not re.fullmatch(r"\w[\w-]*", task.id):
        raise InputError(
            f"register_task({task.__name__}): id={task.id!r} is to name files and folders; use letters, digits, - and _"
        )
    known = _TASKS.get(task.id)
    if known is not None and (known.__module__, known.__qualname__) != (task.__module__, task.__qualname__):
        raise InputError(f"register_task({task.__name__}): there is a task {task.id!r} already; choose another id")
    _TASKS[task.id] = task
    return task


def _kind(task: Any) -> type[Task] | None:
    return next((kind for kind in _KINDS if isinstance(task, type) and issubclass(task, kind)), None)


def load_built_in() -> None:
    """Import every module of `cordstasks.tasks.visual` and `cordstasks.tasks.abstract`, whose tasks register themselves."""
    for package in (visual, abstract):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


def forget(task: type[Task]) -> None:
    """Drop a task, if a file defines it, so that the file is run again when it is asked for again."""
    for key in [key for key, known in _FILES.items() if known is task]:
        del _FILES[key]
        _TASKS.pop(task.id, None)


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """A context after which the tasks that are known are those that were known before it."""
    tasks, files = dict(_TASKS), dict(_FILES)
    try:
        yield
    finally:
        _TASKS.clear()
        _TASKS.update(tasks)
        _FILES.clear()
        _FILES.update(files)


def names() -> tuple[str, ...]:
    """The visual tasks that are known by name.

    Returns
    -------
    tuple of str
        In the order in which they were registered.
    """
    return tuple(name for name, task in _TASKS.items() if _kind(task) is VisualTask)


def abstract_names() -> tuple[str, ...]:
    """The abstract tasks that are known by name; their trials are numbers and need no front-end.

    Returns
    -------
    tuple of str
        In the order in which they were registered.
    """
    return tuple(name for name, task in _TASKS.items() if _kind(task) is AbstractTask)


def task_class(name: str | Path) -> type[Task]:
    """The class of a task.

    Parameters
    ----------
    name : str or Path
        One of `names()` or `abstract_names()`, or a Python file (``.py``) that registers a task, which is run.

    Raises
    ------
    InputError
        If there is no such task, or the file does not register exactly one.
    """
    if str(name).endswith(".py"):
        return load_file(name)
    if not isinstance(name, str) or name not in _TASKS:
        raise unknown("task", name, (*names(), *abstract_names()))
    return _TASKS[str(name)]


def is_abstract(name: str | Path) -> bool:
    """Whether a task is an abstract one.

    Parameters
    ----------
    name : str or Path
        See `task_class`.

    Returns
    -------
    bool
        False for a task that shows movies.

    Raises
    ------
    InputError
        If there is no such task, or the file does not register exactly one.
    """
    return issubclass(task_class(name), AbstractTask)


def load_file(path: str | Path) -> type[Task]:
    """Run a Python file and return the task that it registers; a file that has not changed is run once.

    Raises
    ------
    InputError
        If there is no such file, it fails, or it does not register exactly one task.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"task {path}: there is no such file")
    key = (file.resolve(), file_stamp(file))
    if key not in _FILES:
        _FILES[key] = _run(file)
    return _FILES[key]


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a file each time; what Python has kept, it takes for current if size and second of change are the same."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _run(file: Path) -> type[Task]:
    # dataclasses look their module up by its name; two files of one name are two modules
    name = f"cordstasks_task_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    if spec is None or spec.loader is None:
        raise InputError(f"task {file}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = dict(_TASKS)
    for task in [task for task in before.values() if task.__module__ == name]:
        del _TASKS[task.id]  # of the file as it was before it changed
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        _TASKS.clear()
        _TASKS.update(before)
        del sys.modules[name]
        raise InputError(f"task {file}{_line(file, error)}: {reason_of(error)}") from error
    own = [task for task in _TASKS.values() if task.__module__ == name]
    if len(own) != 1:
        which = "no task" if not own else f"{len(own)} tasks ({', '.join(task.id for task in own)})"
        raise InputError(f"task {file}: registers {which}; write @register_task over one class")
    return own[0]


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}"
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def line_of(task: type[Task], error: BaseException) -> str:
    """``", line N"``: where in the file of a task's class an error arose, as far as that can be said."""
    file = file_of(task)
    return "" if file is None else _line(file, error)


def definition_of(task: type[Task], name: str) -> str:
    """``", line N"``: where in the file of a task's class a method or attribute, or else the class, is defined."""
    file = file_of(task)
    with contextlib.suppress(OSError, SyntaxError, AttributeError):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if file is not None else ():
            if isinstance(node, ast.ClassDef) and node.name == task.__name__:
                defined = [part for part in node.body if name in _defines(part)]
                return f", line {(defined or [node])[-1].lineno}"
    return ""


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def file_of(task: type[Task]) -> Path | None:
    """The file that defines a task's class; None where that is not known, as in a notebook."""
    file = getattr(sys.modules.get(task.__module__), "__file__", None)
    return None if file is None else Path(file)


def _line(file: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    within = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
    return f", line {within[-1]}" if within else ""
