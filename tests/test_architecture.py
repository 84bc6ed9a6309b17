"""Who may import whom, and other promises of the house that can be read off its syntax trees."""

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cortex_trio"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 420
"""Lines: the length of the longest file that our model of style, httpcore, needs for one story."""

ROOMS = {
    "messages": {"failures"},
    "intake": {"messages", "failures"},
    "events": {"messages", "failures"},
    "failures": set[str](),
    "otp": set[str](),
    "telemetry": {"failures"},
    "wire": {"messages", "intake", "events", "failures"},
    "providers": {"wire"},
    "gateway": {"providers", "wire", "messages", "intake", "events", "failures", "otp", "telemetry"},
}
"""Which rooms each one may import. The others may import anything: `simulator`, and those who speak to users."""
USERS_OF_THE_GATEWAY = {"", "cli", "simulator", "pytest_plugin", "__main__"}
"""`""` is the package itself, `__main__` whatever starts with `python -m`; they use it as any program would."""
WORLDLY = {"datetime", "logging", "os", "socket", "threading"}
"""What the standard library has of clocks and of the outside; a dialect needs none of it."""

LIBRARIES = {
    "messages": {"attrs"},
    "intake": {"attrs"},
    "events": {"attrs"},
    "failures": {"attrs"},
    "otp": {"trio", "attrs", "outcome"},
    "telemetry": {"attrs"},
    "wire": {"attrs"},
    "providers": {"attrs"},
    "gateway": {"trio", "attrs", "cattrs", "httpx", "httpcore", "h11", "trio_util"},
    "simulator": {"trio", "attrs", "httpx", "httpcore", "h11"},
    "cli": {"trio", "attrs"},
    "pytest_plugin": {"trio", "pytest", "pytest_trio"},
    "__main__": {"trio"},
    "": set[str](),
}
"""Third parties each room may import."""


@attrs.frozen
class Import:
    """One import: where it stands, what it brings, and whether it runs or is there for type checkers only."""

    module: str  # "gateway.keys"
    target: str  # "httpx", or of ours: "cortex_trio.wire.codec"
    line: int
    runs: bool

    @property
    def room(self) -> str:
        return room_of(self.module)

    @property
    def target_room(self) -> str | None:
        """The room of ours it comes from; None for a library."""
        return room_of(self.target.partition(".")[2]) if self.is_ours else None

    @property
    def is_ours(self) -> bool:
        return self.target.partition(".")[0] == PACKAGE.name

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def name_of(path: Path) -> str:
    """`gateway.keys` for gateway/keys.py, `gateway` for its __init__, "" for the package's own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return "__main__" if module.endswith("__main__") else module.partition(".")[0]


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
NAMES = {name_of(path) for path in MODULES}


def imports() -> Iterator[Import]:
    """Every import of the package."""
    for path, tree in TREES.items():
        guarded = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            for target in targets(node, path):
                yield Import(name_of(path), target, getattr(node, "lineno", 0), id(node) not in guarded)


def targets(node: ast.AST, path: Path) -> Iterator[str]:
    """The absolute names of the modules an import statement brings in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = (PACKAGE.name, *path.relative_to(PACKAGE).parts)[: -node.level]
            base = ".".join([*package, *filter(None, [base])])
        inner = base.partition(".")[2] if base.partition(".")[0] == PACKAGE.name else None
        for alias in node.names:
            submodule = f"{inner}.{alias.name}".lstrip(".") if inner is not None else None
            yield f"{base}.{alias.name}" if submodule in NAMES else base


IMPORTS = tuple(imports())


def test_the_imports_were_found() -> None:
    found = {(found.module, found.target) for found in IMPORTS}
    assert ("gateway.worker", "cortex_trio.otp") in found
    assert ("gateway.transport", "httpx") in found
    assert ("", "cortex_trio.events") in found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    strangers = [
        str(found)
        for found in IMPORTS
        if found.room == room
        and found.runs
        and found.is_ours
        and found.target_room not in {room, *ROOMS[room]}
    ]
    assert strangers == []


def test_only_the_package_the_command_line_and_the_simulator_import_the_gateway() -> None:
    users = {found.room for found in IMPORTS if found.target_room == "gateway"}
    assert users - {"gateway"} <= USERS_OF_THE_GATEWAY


@pytest.mark.parametrize("room", LIBRARIES)
def test_a_room_uses_only_its_libraries(room: str) -> None:
    allowed = {*LIBRARIES[room], *sys.stdlib_module_names}
    strangers = [
        str(found)
        for found in IMPORTS
        if found.room == room and not found.is_ours and found.target.partition(".")[0] not in allowed
    ]
    assert strangers == []


def test_every_room_is_listed_here() -> None:
    assert {room_of(name) for name in NAMES} == set(LIBRARIES)


def users_of(library: str) -> set[str]:
    """The modules that import it, but for the simulator's."""
    return {f.module for f in IMPORTS if f.target.partition(".")[0] == library and f.room != "simulator"}


def test_the_http_client_is_met_where_requests_leave_and_nowhere_else() -> None:
    ways_out = {"fields", "foreign_transport", "pooled_transport", "redirects", "transport", "trust", "way"}
    assert users_of("httpx") == {f"gateway.{module}" for module in ways_out}
    assert users_of("httpcore") <= {"gateway.pooled_transport", "gateway.sockets"}


def test_a_dialect_is_translation_and_nothing_else() -> None:
    dialects = [found for found in IMPORTS if found.room == "wire"]
    assert dialects
    assert [str(found) for found in dialects if found.target.partition(".")[0] in WORLDLY] == []


def test_nobody_has_a_clock_of_its_own() -> None:
    """Time is Trio's, so that tests can make it pass."""
    assert [str(found) for found in IMPORTS if found.target.partition(".")[0] == "time"] == []


def test_the_environment_is_read_in_one_place() -> None:
    readers = {
        name_of(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        # `os.environ`, or the name where it is imported; a parameter may have this name
        if isinstance(node, ast.Attribute | ast.alias)
        and (getattr(node, "attr", None) or getattr(node, "name", None))
        in {"environ", "environb", "getenv", "getenvb"}
    }
    assert readers == {"gateway.process_environ"}


def test_no_module_needs_itself_to_be_imported() -> None:
    """Imports that run form no circle; a package's `__init__` counts as a module of its own."""
    graph: dict[str, set[str]] = {name: set() for name in NAMES}
    for found in IMPORTS:
        target = found.target.partition(".")[2]
        if found.runs and found.is_ours and target != found.module:
            graph[found.module].add(target)
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_no_two_rooms_need_each_other() -> None:
    graph: dict[str, set[str]] = {room_of(name): set() for name in NAMES}
    for found in IMPORTS:
        if found.runs and found.target_room is not None and found.target_room != found.room:
            graph[found.room].add(found.target_room)
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_tells_one_story_and_says_which(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    assert ast.get_docstring(TREES[path]) or not text.strip()


def test_the_map_of_the_gateway_names_every_file() -> None:
    told = ast.get_docstring(TREES[PACKAGE / "gateway" / "__init__.py"]) or ""
    files = {path.stem for path in MODULES if path.parent.name == "gateway"} - {"__init__"}
    assert {name for name in files if not re.search(rf"\b{name}\b", told)} == set()
