"""Finds and imports the files of a model's folder, and says what is wrong with them in the user's words."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from diffprog.errors import UsageError

DECLARATION = "task.py"
FILES = {"numpy": "on_numpy.py", "torch": "on_torch.py", "jax": "on_jax.py", "julia": "on_julia.jl"}
"""The file of each backend."""
SHOWN = ("picture.py", "learned.py")
"""Files that no worker runs."""
HASHED = (".py", ".jl", ".toml", ".npz", ".npy", ".csv", ".json", ".txt")
_LEAVE_OUT = ("baselines", "__pycache__", "reports", ".git")
_OWN = "diffprog_model_"
"""What the modules of models are called, so that none takes the place of another."""


class Fault(Exception):
    """A user's file is wrong, or what it computes: the text says where and what, in the user's words."""


def name_of(folder: Path) -> str:
    """The task's name: the folder's.

    Raises:
        UsageError: if it cannot name one.
    """
    name = folder.resolve().name
    if not name.replace("-", "_").isidentifier():
        raise UsageError(
            f"the folder {folder} cannot name a task: letters, digits, - and _ make a name, with no digit first"
        )
    return name


def backends(folder: Path) -> tuple[str, ...]:
    """The backends that the folder has a file for."""
    return tuple(backend for backend, file in FILES.items() if (folder / file).is_file())


def check(folder: Path) -> None:
    """Raises UsageError where the folder is none, or no task."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{str(folder)[:200]!r} cannot be looked up ({why})") from None
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}; `diffprog new {folder.name or 'NAME'}` makes the folder of a task")
    if not (folder / DECLARATION).is_file():
        raise UsageError(f"{folder} is no task: it has no {DECLARATION} (docs/own-tasks.md)")
    if not backends(folder):
        raise UsageError(f"{folder} has no model: write loss(params, data) into one of {', '.join(FILES.values())}")
    for path in folder.glob("*.py"):
        if path.name not in (DECLARATION, *FILES.values(), *SHOWN) and _shadowed(path):
            raise UsageError(
                f"{path} would not be imported: Python has another module called {path.stem}; rename the file"
            )


def _shadowed(path: Path) -> bool:
    try:
        found = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        return False
    return found is not None and (found.origin is None or Path(found.origin).resolve() != path.resolve())


def module(folder: Path, file: str) -> ModuleType:
    """Imports a file of the folder, afresh; what lies beside it can be imported too.

    Raises:
        Fault: with file, line and reason.
    """
    path = folder.resolve() / file
    name = f"{_OWN}{name_of(folder).replace('-', '_')}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Fault(f"{folder / file}: there is no such file")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        with at_home(folder):
            spec.loader.exec_module(made)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise Fault(told(error, folder)) from error
    return made


_beside: dict[Path, dict[str, ModuleType]] = {}
"""By folder the modules that its files have imported from beside them."""


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """In this context files of the folder are imported from beside each other, and nobody else's in their place.

    Two folders may have a module of one name each. Nothing of Python's or of an installed package is hidden by one.
    """
    home = folder.resolve()
    if str(home) in sys.path:  # an inner context, or a worker's, which has one folder
        yield
        return
    mine = _beside.setdefault(home, {})
    sys.modules.update(mine)
    sys.path.append(str(home))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(home))
        for name, made in list(sys.modules.items()):
            if not name.startswith(_OWN) and _is_in(getattr(made, "__file__", None), home):
                mine[name] = sys.modules.pop(name)


def settle(folder: Path) -> None:
    """Makes this process the folder's: what its functions import when they are called is found beside them."""
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))


def _is_in(file: str | None, home: Path) -> bool:
    return file is not None and Path(file).is_absolute() and Path(file).is_relative_to(home)


def optional(folder: Path, stem: str) -> ModuleType | None:
    """A module of the folder, such as its ``picture``; None where there is none."""
    return module(folder, f"{stem}.py") if (folder / f"{stem}.py").is_file() else None


def function(
    made: ModuleType, name: str, folder: Path, file: str, arguments: str = "params, data"
) -> Callable[..., Any]:
    """A function of a user's module.

    Raises:
        Fault: if there is none of that name.
    """
    found = getattr(made, name, None)
    if not callable(found):
        what = "has no function" if found is None else "has something else than a function called"
        raise Fault(f"{folder / file}: the file {what} {name}; write `def {name}({arguments}):`")
    return found  # type: ignore[no-any-return]


def told(error: BaseException, folder: Path) -> str:
    """An exception in the user's words: their file and line, the kind and the message, and what may mend it."""
    home = folder.resolve()
    where = str(folder)
    for frame in traceback.extract_tb(error.__traceback__):
        if _is_in(frame.filename, home):
            where = f"{folder / Path(frame.filename).relative_to(home)}:{frame.lineno}"
    if isinstance(error, SyntaxError) and _is_in(error.filename, home):
        return f"{folder / Path(str(error.filename)).relative_to(home)}:{error.lineno}: {error.msg}"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        text = f"there is no module {error.name}: it is neither beside the file nor installed"
        text += f" (python -m pip install {package}, if that is the package's name)"
    elif isinstance(error, SystemExit):
        text = f"it ends Python ({text})"
    return f"{where}: {text[:600]}"


def source_hash(folder: Path) -> str:
    """A hash of the files that define the model on all backends, and of the data beside them."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        counts = path.suffix in HASHED and not {*inner.parts} & {*_LEAVE_OUT} and inner.name not in SHOWN
        if counts and path.is_file():
            digest.update(inner.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
