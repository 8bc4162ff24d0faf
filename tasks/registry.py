"""The tasks that there are, and how one of a user's own joins them."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable
from inspect import isabstract
from pathlib import Path
from types import CodeType
from typing import TypeVar

from cordstasks.errors import InputError
from cordstasks.tasks.visual.base import VisualTask
from cordstasks.utils.files import FileStamp, file_stamp

_TASKS: dict[str, type[VisualTask]] = {}
_TAKEN: set[str] = set()  # ids of tasks that are not visual
_FILES: dict[tuple[Path, FileStamp | None], type[VisualTask]] = {}
_Task = TypeVar("_Task", bound=type[VisualTask])


def register_task(task: _Task) -> _Task:
    """Make a task known by its `id`; to be written over its class as ``@register_task``.

    Raises
    ------
    InputError : it is not a `VisualTask`, lacks an `id` or a method, or its `id` is another's or no name for a file.
    """
    if not isinstance(task, type) or not issubclass(task, VisualTask):
        raise InputError(f"register_task({task!r}): give a class derived from VisualTask")
    if isabstract(task):
        lacking = ", ".join(sorted(task.__abstractmethods__))
        raise InputError(f"register_task({task.__name__}): the task lacks {lacking}")
    for name in ("id", "stimulus"):
        if not isinstance(getattr(task, name, None), str):
            raise InputError(f"register_task({task.__name__}): give the class a name as `{name}`")
    if not re.fullmatch(r"\w[\w-]*", task.id):
        raise InputError(
            f"register_task({task.__name__}): id={task.id!r} is to name files and folders; use letters, digits, - and _"
        )
    known = _TASKS.get(task.id)
    another = known is not None and (known.__module__, known.__qualname__) != (task.__module__, task.__qualname__)
    if another or task.id in _TAKEN:
        raise InputError(f"register_task({task.__name__}): there is a task {task.id!r} already; choose another id")
    _TASKS[task.id] = task
    return task


def reserve(ids: Iterable[str]) -> None:
    """Keep ids from visual tasks, since tasks of another kind have them."""
    _TAKEN.update(ids)


def forget(task: type[VisualTask]) -> None:
    """Drop a task, if a file defines it, so that the file is run again when it is asked for again."""
    for key in [key for key, known in _FILES.items() if known is task]:
        del _FILES[key]
        _TASKS.pop(task.id, None)


def names() -> tuple[str, ...]:
    """The tasks that are known by name."""
    return tuple(_TASKS)


def registered(name: str) -> type[VisualTask]:
    """The class of a task that is known by that name."""
    return _TASKS[name]


def load_file(path: str | Path) -> type[VisualTask]:
    """Run a Python file and return the task that it registers; a file that has not changed is run once.

    Raises
    ------
    InputError : there is no such file, it fails, or it does not register exactly one task.
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


def _run(file: Path) -> type[VisualTask]:
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
        raise InputError(f"task {file}: registers {which}; write @register_task over one class derived from VisualTask")
    return own[0]


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}"
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def line_of(task: type[VisualTask], error: BaseException) -> str:
    """``", line N"``: where in the file of a task's class an error arose, as far as that can be said."""
    file = getattr(sys.modules.get(task.__module__), "__file__", None)
    return "" if file is None else _line(Path(file), error)


def _line(file: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    within = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
    return f", line {within[-1]}" if within else ""
