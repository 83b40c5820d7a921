"""The public surface of the ecosystem protocol, read from the code: every name, field, default and signature.

python -m dpm_testkit.protocol_surface > docs/reference/ecosystem-protocol.txt
"""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType

from dpm_core import artifacts, ecosystem
from dpm_gateway import service
from dpm_runtime import ecosystem_settings, plugins, upstream_settings
from dpm_testkit import ecosystem_conformance

SURFACE: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (ecosystem, ("PROTOCOL", "Ecosystem", "Request", "Target", "IndexPage", "IndexedFile", "Direct", "Made")),
    (ecosystem, ("Redirect", "Refusal", "Page", "Fact")),
    (artifacts, ("Want", "ArtifactRef", "Lane", "Fields", "ANY_HOST", "CLIENTS", "NODES")),
    (ecosystem_settings, ("GROUP", "EcosystemSettings", "Port", "NO_UPSTREAM")),
    (upstream_settings, ("UpstreamSettings",)),
    (plugins, ("GROUP", "Checked", "Plugin")),
    (service, ("run_gateway",)),
    (ecosystem_conformance, ("EcosystemSuite", "Sample")),
)
"""What an author of an ecosystem imports, by module."""


def surface() -> str:
    """One line for each name, in the order of the code; what a class has is below it."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield f"Protocol {ecosystem.PROTOCOL} of ecosystems: docs/reference/ecosystems.md says what it means."
    for module, names in SURFACE:
        found = dict(_named(ast.parse(inspect.getsource(module)).body))
        yield f"\n{module.__name__}"
        for name in names:
            yield from _told(found[name], "  ")
    yield ""


def _named(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Statements that give a name to something public."""
    for each in body:
        match each:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                pass
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case _:
                continue
        if not name.startswith(("_", "test_", "model_")):
            yield name, each


def _told(statement: ast.stmt, indent: str) -> Iterator[str]:
    match statement:
        case ast.ClassDef(name=name, bases=bases, body=body):
            yield f"{indent}class {name}({', '.join(map(ast.unparse, bases))})".removesuffix("()")
            for _, each in _named(body):
                yield from _told(each, indent + "    ")
        case ast.FunctionDef(name=name, args=arguments, returns=returns, body=body, decorator_list=decorators):
            if any(ast.unparse(each) == "property" for each in decorators):
                yield f"{indent}{name} -> {ast.unparse(returns or ast.Constant(None))}"
                return
            del arguments.args[: bool(arguments.args and arguments.args[0].arg == "self")]
            own = "  # to be written" if len(body) == 1 and isinstance(body[0], ast.Expr) else ""
            yield f"{indent}{name}({ast.unparse(arguments)}) -> {ast.unparse(returns or ast.Constant(None))}{own}"
        case ast.AnnAssign(value=ast.Call(func=ast.Name(id="Field"), args=[first, *_])):  # not its description
            annotation = ast.unparse(statement.annotation)
            yield f"{indent}{ast.unparse(statement.target)}: {annotation} = {ast.unparse(first)}"
        case _:
            yield indent + ast.unparse(statement)


if __name__ == "__main__":
    print(surface(), end="")
