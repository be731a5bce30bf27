"""The checks of test_tidy.py: each takes a project's root and returns a line for every fault that it finds.

They read the syntax tree and the text, never the running program, so each can be tried on a made-up project.
"""

import ast
import graphlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

STOREYS = ("runtime", "aggregates", "agents", "solvers", "projections", "gateway")
PYTHON_FOLDERS = (*STOREYS, "tests", "benchmarks", "examples")
TEST_FOLDERS_OF_THEIR_OWN = {"stories", "simulation", "contract", "faults", "gateway/attacks"}
FUNCTION_LINES_MAX = 70
TREES_MAX = 2_000
FILE_BYTES_MAX = 1 << 20  # a larger file is no text of ours

# What a storey may import of ours beside itself, where import-linter's layers allow more.
OURS_BY_STOREY = {
    "aggregates": ("aggregates", "runtime.records", "runtime.errors"),
    "projections": ("projections", "aggregates", "runtime.records", "runtime.tables", "runtime.prepared"),
}
IMPURE_MODULES = {"time", "random", "secrets", "os", "pathlib", "socket", "subprocess", "threading", "trio", "tempfile"}
IMPURE_NAMES = {"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "open"}

# Trio has tasks of its own, and a tenant is what actors are keyed by: those two words the engine may say.
DOMAIN_WORDS = re.compile(
    r"(?:^|_)(agent|bid|qubo|qubo_problem|solve_job|award|lease|coordinator)s?(?:_|$)", re.IGNORECASE
)

INDEX_HOST = re.compile(r"(?:pypi|pythonhosted|npmjs)\.(?:org|com)|index[-]url|deb[.]debian[.]", re.IGNORECASE)
# `/opt/gavel` is where the image and the unit have the program: the place that the operator gives it.
MACHINE_PATH = re.compile(r"(?<![.\w])/(?:work|root|home/[a-z]+|tmp/[a-z_]+|opt/(?!gavel/)[a-z-]+)/")
UNFINISHED = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b")


def tracked(root: Path) -> list[Path]:
    """List the files that git has or would take; of a folder that is no repository, all of them."""
    git = shutil.which("git")
    if git is not None and (root / ".git").exists():
        command = [git, "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        return sorted(root / name for name in set(names) if name and (root / name).is_file())
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / ".venv"))


def modules(root: Path, folders: tuple[str, ...] = PYTHON_FOLDERS) -> Iterator[tuple[Path, ast.Module]]:
    """Parse every module of these folders; yields its path below the root and its tree."""
    for path in tracked(root):
        below = path.relative_to(root)
        if path.suffix == ".py" and below.parts[0] in folders and len(below.parts) > 1:
            yield below, parsed(path.read_text(encoding="utf-8"), str(below))


@lru_cache(maxsize=TREES_MAX)
def parsed(text: str, name: str) -> ast.Module:
    """A module's tree, which checks look at and leave as it is. Whoever has run them frees what is kept here."""
    return ast.parse(text, filename=name)


def name_of(below: Path) -> str:
    parts = below.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, package: str = "") -> Iterator[tuple[int, str]]:
    """Yield each imported name in full with its line, except those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        else:
            yield from imports(node, package)


def package_of(below: Path) -> str:
    return ".".join(below.parts[:-1])


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def without_docstring(root: Path) -> list[str]:
    """A module says on its first line what it is for."""
    return [
        f"{below}: no docstring on the first line"
        for below, tree in modules(root)
        if not (ast.get_docstring(tree) or "").strip() or tree.body[0].lineno != 1
    ]


def _decides(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "decide" for node in tree.body)


def _is_actor(tree: ast.Module) -> bool:
    bases = [base for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases]
    return any(ast.unparse(base).split("[")[0].split(".")[-1] == "Actor" for base in bases)


def _assigns(name: str, tree: ast.Module) -> bool:
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


# The folder, what makes a module there one that has to be listed, and the table that lists them.
TABLES = (
    ("aggregates", _decides, "aggregates/catalog.py"),
    ("agents", _is_actor, "agents/roster.py"),
    ("projections", lambda tree: _assigns("NAME", tree), "projections/catalog.py"),
    ("gateway/routes", lambda tree: _assigns("routes", tree), "gateway/app.py"),
)


def _stands_in(folder: Path, below: Path) -> bool:
    """A module of the folder itself, or a package in it, which speaks through its first file."""
    return below.parent == folder or (below.name == "__init__.py" and below.parent.parent == folder)


def _last_name(below: Path) -> str:
    return name_of(below).rpartition(".")[2]


def missing_from_table(root: Path) -> list[str]:
    """Four tables say what exists: aggregates, actors, projections, routes."""
    tree_by_path = dict(modules(root, STOREYS))
    faults = []
    for folder, belongs, table in TABLES:
        listed = set()
        if Path(table) in tree_by_path:
            listed = {name for _, name in imports(tree_by_path[Path(table)], package_of(Path(table)))}
        for below, tree in tree_by_path.items():
            if _stands_in(Path(folder), below) and str(below) != table and belongs(tree):
                name = name_of(below)
                if not any(within(one, (name,)) for one in listed):
                    faults.append(f"{below}: not in {table}")
    return faults


def not_mirrored(root: Path) -> list[str]:
    """tests/ has the project's folders and its own few; in a storey's folder each test file begins with a module's name."""
    faults = []
    module_names = {name_of(below) for below, _ in modules(root, STOREYS)}
    for below in sorted({path.relative_to(root) for path in tracked(root)}):
        if below.parts[0] != "tests" or below.suffix != ".py" or len(below.parts) < 3:
            continue
        folder = below.parent.relative_to("tests")
        if {folder.parts[0], str(folder)} & TEST_FOLDERS_OF_THEIR_OWN:
            continue
        if not any(name == ".".join(folder.parts) for name in module_names):
            faults.append(f"{below}: there is no folder {folder}")
        elif below.name.startswith("test_") and not _tests_a_module(below.stem[5:], folder, module_names):
            faults.append(f"{below}: no module of {folder.parts[0]} has a name that it begins with")
    return faults


def _tests_a_module(subject: str, folder: Path, module_names: set[str]) -> bool:
    last_names = {name.split(".")[-1] for name in module_names if name.startswith(f"{folder.parts[0]}.")}
    return subject in {"laws", folder.parts[0]} or any(
        subject == name or subject.startswith(f"{name}_") for name in last_names
    )


def without_test(root: Path) -> list[str]:
    """Each aggregate and each actor has a test file of its name; projections are tested by the same laws, all together."""
    paths = [path.relative_to(root).parts for path in tracked(root)]
    tested = {(parts[1], parts[-1]) for parts in paths if parts[0] == "tests" and len(parts) > 2}
    return [
        f"{below}: no test_{_last_name(below)}.py in tests/{folder}"
        for folder, belongs, _ in TABLES[:2]
        for below, tree in modules(root, (folder,))
        if belongs(tree) and (folder, f"test_{_last_name(below)}.py") not in tested
    ]


def import_cycles(root: Path) -> list[str]:
    """No two modules need each other to be read, not even from within functions."""
    tree_by_name = {name_of(below): (below, tree) for below, tree in modules(root, STOREYS)}
    needs: dict[str, set[str]] = {}
    for name, (below, tree) in tree_by_name.items():
        found = {one for _, one in imports(tree, package_of(below))}
        needs[name] = {one if one in tree_by_name else one.rpartition(".")[0] for one in found} & tree_by_name.keys()
        needs[name].discard(name)
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return [f"imports go round: {' <- '.join(error.args[1])}"]
    return []


def asyncio_imports(root: Path) -> list[str]:
    """Everything runs on Trio."""
    return [
        f"{below}:{line}: imports {name}"
        for below, tree in modules(root)
        for line, name in imports(tree, package_of(below))
        if "asyncio" in name.split(".")
    ]


def impure_aggregates(root: Path) -> list[str]:
    """Decisions have no clock, no chance, no I/O and never wait: times and ids arrive in the command."""
    faults = []
    for below, tree in modules(root, ("aggregates",)):
        for line, name in imports(tree, package_of(below)):
            if name.split(".")[0] in IMPURE_MODULES or name.split(".")[-1] in IMPURE_NAMES:
                faults.append(f"{below}:{line}: imports {name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Await | ast.AsyncFunctionDef):
                faults.append(f"{below}:{node.lineno}: waits")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPURE_NAMES:
                faults.append(f"{below}:{node.lineno}: calls {ast.unparse(node.func)}")
    return faults


def imports_beyond_storey(root: Path) -> list[str]:
    """Some storeys may see only a few modules of another; actors never see each other."""
    faults = []
    for below, tree in modules(root, STOREYS):
        allowed = OURS_BY_STOREY.get(below.parts[0])
        for line, name in imports(tree, package_of(below)):
            if allowed and within(name, STOREYS) and not within(name, allowed):
                faults.append(f"{below}:{line}: imports {name}")
    actors = {name_of(below) for below, tree in modules(root, ("agents",)) if _is_actor(tree)}
    for below, tree in modules(root, ("agents",)):
        for line, name in imports(tree, package_of(below)):
            if name_of(below) in actors and any(within(name, (actor,)) for actor in actors):
                faults.append(f"{below}:{line}: an actor imports another, {name}")
    return faults


def undeclared_imports(root: Path) -> list[str]:
    """What is imported is a dependency of ours, not by luck one of a dependency's."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [
        line for name, lines in project.get("optional-dependencies", {}).items() if name != "dev" for line in lines
    ]
    declared = {_plain(re.split(r"[^\w.-]", line)[0]) for line in [*project["dependencies"], *optional]}
    distributions_by_module = importlib.metadata.packages_distributions()
    faults = []
    for below, tree in modules(root, STOREYS):
        for line, name in imports(tree, package_of(below)):
            top = name.split(".")[0]
            if top in STOREYS or top in sys.stdlib_module_names:
                continue
            if declared.isdisjoint(map(_plain, distributions_by_module.get(top, [top]))):
                faults.append(f"{below}:{line}: {top} is no declared dependency")
    return faults


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def domain_words_in_runtime(root: Path) -> list[str]:
    """The engine knows nothing of the domain: no name in it speaks of agents, bids or problems."""
    faults = []
    for below, tree in modules(root, ("runtime",)):
        for node in ast.walk(tree):
            name = getattr(node, "name", None) or getattr(node, "id", None) or getattr(node, "arg", None)
            if isinstance(name, str) and DOMAIN_WORDS.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)):
                faults.append(f"{below}:{getattr(node, 'lineno', 0)}: {name}")
    return faults


def long_functions(root: Path) -> list[str]:
    """A function that fills more than a screen is several ideas."""
    return [
        f"{below}:{node.lineno}: {node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
        for below, tree in modules(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]


def _lines(root: Path) -> Iterator[tuple[str, str]]:
    for path in tracked(root):
        below = path.relative_to(root)
        if path.stat().st_size > FILE_BYTES_MAX or "vendor" in below.parts:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield f"{below}:{number}", line


def index_hosts(root: Path) -> list[str]:
    """Where packages come from is a matter of the machine."""
    return [f"{place}: names a package index" for place, line in _lines(root) if INDEX_HOST.search(line)]


def machine_paths(root: Path) -> list[str]:
    """Nothing depends on where somebody once had the project."""
    return [f"{place}: a path of one machine" for place, line in _lines(root) if MACHINE_PATH.search(line)]


def unfinished(root: Path) -> list[str]:
    """What is not done is left out."""
    return [f"{place}: unfinished" for place, line in _lines(root) if UNFINISHED.search(line)]


CHECKS = (
    without_docstring,
    missing_from_table,
    not_mirrored,
    without_test,
    import_cycles,
    asyncio_imports,
    impure_aggregates,
    imports_beyond_storey,
    undeclared_imports,
    domain_words_in_runtime,
    long_functions,
    index_hosts,
    machine_paths,
    unfinished,
)
