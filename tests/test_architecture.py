"""The order of the packages, and other rules that the syntax trees show."""

import ast
import functools
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

PACKAGES = {
    "failures": set[str](),
    "otp": set[str](),
    "http": set[str](),
    "telemetry": {"events", "messages", "failures", "otp", "version"},
    "version": set[str](),
    "messages": {"failures", "structure"},
    "intake": {"messages", "failures"},
    "events": {"messages", "failures"},
    "errors": {"events", "failures"},
    "wire": {"messages", "intake", "events", "failures"},
    "providers": {"wire"},
    "structure": {"failures"},
    "costs": {"messages", "events", "failures"},
    "cluster": {"failures", "otp", "telemetry", "version"},
    "gateway": {
        "structure",
        "costs",
        "cluster",
        "providers",
        "wire",
        "messages",
        "intake",
        "events",
        "errors",
        "failures",
        "otp",
        "http",
        "telemetry",
        "version",
    },
}
"""Which packages each one may import. The others may import anything: `simulator`, and what users run."""
USERS_OF_THE_GATEWAY = {"", "conversation", "server", "cli", "simulator", "lab", "pytest_plugin", "__main__"}
"""`""` is the package itself, `__main__` whatever starts with `python -m`; they use it as any program would."""
GATEWAY_LAYERS = (
    "settings",
    "transport",
    "workers",
    "routing",
    "sharing",
    "runtime",
    "snapshots",
    "request",
    "free_requests",
    "health",
    "tree",
    "reconfigure",
    "startup",
    "cortex",
)
"""The packages and modules of the gateway, from the lowest: each may import only those before it."""
STRATEGIES = "routing.strategies"
"""Lies below all layers of the gateway: it imports nothing of ours, and the configuration reads the names from it."""
DIALECTS = {
    "chat_completions",
    "responses",
    "anthropic_messages",
    "gemini",
    "cohere_chat",
    "ollama_chat",
}
"""The packages in `wire`. None imports another; what they share lies beside them."""
WORLDLY = {"datetime", "logging", "os", "socket", "threading"}
"""What the standard library has of clocks and of the outside; a dialect needs none of it."""

LIBRARIES = {
    "messages": {"attrs"},
    "intake": {"attrs"},
    "events": {"attrs"},
    "errors": set[str](),
    "failures": {"attrs"},
    "otp": {"trio", "attrs", "outcome"},
    "telemetry": {"attrs", "cattrs", "trio", "h11", "opentelemetry", "prometheus_client"},
    # h11: of the page, a server below the gateway
    "version": set[str](),
    "wire": {"attrs"},
    "providers": {"attrs"},
    "structure": {"attrs", "cattrs"},
    "costs": {"attrs", "trio", "genai_prices"},
    "cluster": {"attrs", "trio", "glide"},
    "conversation": {"attrs", "cattrs", "trio"},
    "server": {"attrs", "cattrs", "trio", "h11"},
    "gateway": {"trio", "attrs", "cattrs", "httpx", "trio_util"},
    "http": {"trio", "attrs", "httpx", "httpcore"},
    "simulator": {"trio", "attrs", "httpx", "httpcore", "h11"},
    "lab": {"trio", "attrs", "httpx", "httpcore", "h11"},
    "cli": {"trio", "attrs", "rich"},
    "pytest_plugin": {"trio", "pytest", "pytest_trio"},
    "__main__": {"trio"},
    "": set[str](),
}
"""Third parties each package may import."""


@attrs.frozen
class Import:
    """One import: where it stands, what it brings, and whether it runs or is there for type checkers only."""

    module: str  # "gateway.workers.keys"
    target: str  # "httpx", or of ours: "cortex_trio.wire.codec"
    line: int
    runs: bool

    @property
    def package(self) -> str:
        return package_of(self.module)

    @property
    def target_package(self) -> str | None:
        """The package of ours it comes from; None for a library."""
        return package_of(self.target.partition(".")[2]) if self.is_ours else None

    @property
    def is_ours(self) -> bool:
        return self.target.partition(".")[0] == PACKAGE.name

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def name_of(path: Path) -> str:
    """`gateway.workers.keys` for gateway/workers/keys.py, `gateway` for its __init__, "" for the package's own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    return "__main__" if module.endswith("__main__") else module.partition(".")[0]


@functools.cache  # not when this file is imported: every process of pytest-xdist imports all files
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


NAMES = {name_of(path) for path in MODULES}


@functools.cache
def imports() -> tuple[Import, ...]:
    """Every import of the package."""
    return tuple(found for path, tree in trees().items() for found in imports_of(path, tree))


def imports_of(path: Path, tree: ast.Module) -> Iterator[Import]:
    nodes = tuple(ast.walk(tree))
    guarded = {
        id(node)
        for block in nodes
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in targets(node, path):
                yield Import(name_of(path), target, node.lineno, id(node) not in guarded)


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


def test_the_imports_were_found() -> None:
    found = {(found.module, found.target) for found in imports()}
    assert ("gateway.workers.worker", "cortex_trio.otp") in found
    assert ("gateway.transport.connections", "httpx") in found
    assert ("", "cortex_trio.events") in found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    strangers = [
        str(found)
        for found in imports()
        if found.package == package
        and found.runs
        and found.is_ours
        and found.target_package not in {package, *PACKAGES[package]}
    ]
    assert strangers == []


def test_only_the_package_the_command_line_and_the_simulator_import_the_gateway() -> None:
    users = {found.package for found in imports() if found.target_package == "gateway"}
    assert users - {"gateway"} <= USERS_OF_THE_GATEWAY


@pytest.mark.parametrize("package", LIBRARIES)
def test_a_package_uses_only_its_libraries(package: str) -> None:
    allowed = {*LIBRARIES[package], *sys.stdlib_module_names}
    strangers = [
        str(found)
        for found in imports()
        if found.package == package and not found.is_ours and found.target.partition(".")[0] not in allowed
    ]
    assert strangers == []


def test_every_package_is_listed_here() -> None:
    assert {package_of(name) for name in NAMES} == set(LIBRARIES)


def users_of(library: str) -> set[str]:
    """The modules that import it, but for those of the simulator and the lab."""
    return {
        f.module
        for f in imports()
        if f.target.partition(".")[0] == library and f.package not in {"simulator", "lab"}
    }


def test_httpx_is_imported_only_where_connections_are_configured_or_made() -> None:
    assert users_of("httpx") == {
        "http.certificates",
        "http.transport",
        "gateway.settings.fields",
        "gateway.transport.connections",
        "gateway.transport.default_transport",
        "gateway.transport.foreign",
        "gateway.transport.redirects",
    }
    assert users_of("httpcore") <= {"http.transport", "http.httpcore_backend"}


def test_an_extra_of_telemetry_is_imported_by_its_module_only_and_that_by_programs_only() -> None:
    assert users_of("opentelemetry") == {"telemetry.otel"}
    assert users_of("prometheus_client") == {"telemetry.prometheus"}
    extras = {"cortex_trio.telemetry.otel", "cortex_trio.telemetry.prometheus"}
    # The server is such a program: it shows the metrics.
    assert {found.module for found in imports() if found.target in extras} == {"server.metrics"}


def layer_of(module: str) -> int | None:
    """The layer of a gateway module; None for any other."""
    package, _, rest = module.partition(".")
    if package == "gateway" and rest == STRATEGIES:
        return -1
    layer = rest.partition(".")[0]
    return GATEWAY_LAYERS.index(layer) if package == "gateway" and layer else None


def test_every_module_of_the_gateway_has_a_layer() -> None:
    assert {name.split(".")[1] for name in NAMES if name.startswith("gateway.")} == set(GATEWAY_LAYERS)


def test_the_gateway_imports_downwards_only() -> None:
    """Imports for type checkers count as well."""
    upwards = [
        str(found)
        for found in imports()
        if (layer := layer_of(found.module)) is not None
        and (target := layer_of(found.target.partition(".")[2])) is not None
        and target > layer
    ]
    assert upwards == []


def dialect_of(module: str) -> str | None:
    """The dialect a module belongs to; None if it belongs to none."""
    parts = module.split(".")
    return parts[1] if parts[0] == "wire" and len(parts) > 1 and parts[1] in DIALECTS else None


def test_every_package_in_wire_is_a_dialect() -> None:
    packages = {name.split(".")[1] for name in NAMES if name.startswith("wire.") and name.count(".") == 2}
    assert packages == DIALECTS


def test_no_dialect_imports_another_and_nothing_they_share_imports_one() -> None:
    wrong = [
        str(found)
        for found in imports()
        if found.package == found.target_package == "wire"
        and (target := dialect_of(found.target.partition(".")[2])) is not None
        and target != dialect_of(found.module)
    ]
    assert wrong == []


def test_a_dialect_is_translation_and_nothing_else() -> None:
    dialects = [found for found in imports() if found.package == "wire"]
    assert dialects
    assert [str(found) for found in dialects if found.target.partition(".")[0] in WORLDLY] == []


def test_no_module_imports_a_clock() -> None:
    """Time is Trio's, so that tests can make it pass."""
    assert [str(found) for found in imports() if found.target.partition(".")[0] == "time"] == []


def test_the_environment_is_read_in_two_places() -> None:
    readers = {
        name_of(path)
        for path, tree in trees().items()
        for node in ast.walk(tree)
        # `os.environ`, or the name where it is imported; a parameter may have this name
        if isinstance(node, ast.Attribute | ast.alias)
        and (getattr(node, "attr", None) or getattr(node, "name", None))
        in {"environ", "environb", "getenv", "getenvb"}
    }
    assert readers == {"gateway.settings.process_environ", "http.certificates"}


def test_imports_form_no_circle() -> None:
    """Not even those for type checkers; a package's `__init__` counts as a module of its own."""
    graph: dict[str, set[str]] = {name: set() for name in NAMES}
    for found in imports():
        target = found.target.partition(".")[2]
        if found.is_ours and target != found.module:
            graph[found.module].add(target)
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_no_two_packages_need_each_other() -> None:
    graph: dict[str, set[str]] = {package_of(name): set() for name in NAMES}
    for found in imports():
        if found.target_package is not None and found.target_package != found.package:
            graph[found.package].add(found.target_package)
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_files_are_short_and_say_what_they_are_for() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES}
    assert [path for path, text in texts.items() if len(text.splitlines()) > LONGEST_FILE] == []
    silent = [path for path, text in texts.items() if text.strip() and not ast.get_docstring(trees()[path])]
    assert silent == []


@pytest.mark.parametrize(
    "package", ["gateway", *(f"gateway.{layer}" for layer in GATEWAY_LAYERS[:4]), "gateway.request"]
)
def test_the_map_of_a_package_names_every_file(package: str) -> None:
    folder = PACKAGE.joinpath(*package.split("."))
    map_of = ast.get_docstring(trees()[folder / "__init__.py"]) or ""
    files = {path.stem for path in MODULES if path.parent == folder} - {"__init__"}
    assert {name for name in files if not re.search(rf"\b{name}\b", map_of)} == set()


# ------------------------------------------------------------------ the public API is enough

REPOSITORY = PACKAGE.parent
USERS = ("cortex_trio", "tests", "examples", "benchmarks")
"""The folders whose code must get along with the public members of Cortex; `cortex.snapshot()` shows its state."""


def private_members_of_cortex() -> set[str]:
    """The private methods of Cortex, and the private attributes it sets on itself."""
    [definition] = [
        node
        for node in trees()[PACKAGE / "gateway" / "cortex.py"].body
        if isinstance(node, ast.ClassDef) and node.name == "Cortex"
    ]
    names = {
        node.name for node in definition.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    names |= {node.attr for node in ast.walk(definition) if isinstance(node, ast.Attribute)}
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


@pytest.mark.slow
def test_no_code_reads_a_private_member_of_cortex() -> None:
    private = private_members_of_cortex()
    assert "_runtime" in private
    reads = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}: {ast.unparse(node)}"
        for folder in USERS
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in private
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    assert reads == []


def test_the_lab_is_loaded_by_two_commands_only() -> None:
    users = {found.module for found in imports() if found.target_package == "lab" and found.package != "lab"}
    assert users == {"cli.exam", "cli.simulate"}


def test_the_arguments_of_the_command_line_load_no_command() -> None:
    """`cortex-trio --help` needs neither Trio nor a gateway. Imports inside of functions do not count."""
    at_the_top = {
        target
        for name in ("arguments.py", "argument_types.py", "commands.py")
        for node in trees()[PACKAGE / "cli" / name].body
        for target in targets(node, PACKAGE / "cli" / name)
        if target.partition(".")[0] not in sys.stdlib_module_names
    }
    assert at_the_top == {"cortex_trio", "cortex_trio.cli.argument_types", "cortex_trio.cli.commands"}
