"""List the packages of .venv with their licences: results/sbom.cdx.json (CycloneDX 1.6) and results/licences.md.

make sbom
"""

import re
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from asterisk.core.files import write_json
from benchmarks.records import RESULTS, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
PINS = REPOSITORY / "requirements" / "constraints.txt"
FILE = RESULTS / "sbom.cdx.json"


def pinned() -> list[str]:
    """The packages of requirements/constraints.txt."""
    return sorted(canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", PINS.read_text(), re.MULTILINE))


def licence(package: Distribution) -> str:
    """The licence of a package: from its metadata, or else from the first words of its licence file."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return expression
    if classes := [name for name in about.get_all("Classifier", []) if name.startswith("License ::")]:
        return ", ".join(name.rpartition(" :: ")[2] for name in classes)
    if said := (about.get("License") or "").strip():
        return said.splitlines()[0]
    texts = [file.read_text().split() for file in package.files or () if "licen" in file.name.lower()]
    return " ".join(texts[0][:2]) if texts and texts[0] else "not stated"


def identity(package: Distribution) -> str:
    """The package URL of a distribution."""
    return f"pkg:pypi/{canonicalize_name(package.name)}@{package.version}"


def needs(package: Distribution, known: dict[str, Distribution]) -> list[str]:
    """The listed packages that a package requires, without extras."""
    wanted = [Requirement(text) for text in package.requires or ()]
    chosen = (each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""}))
    return sorted({identity(known[name]) for name in map(canonicalize_name, chosen) if name in known})


def component(package: Distribution) -> dict[str, Any]:
    """A package as a CycloneDX component."""
    said = licence(package)
    listed = {"expression": said} if package.metadata.get("License-Expression") else {"license": {"name": said}}
    about = {"name": canonicalize_name(package.name), "version": package.version, "licenses": [listed]}
    return {"type": "library", "bom-ref": identity(package), "purl": identity(package), **about}


def sbom() -> dict[str, Any]:
    """The software bill of materials, without a date, so that every call gives the same file."""
    known = {name: distribution(name) for name in pinned()}
    # The installed metadata may be older than pyproject.toml.
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    reference = f"pkg:pypi/{project['name']}@{project['version']}"
    extras = project["optional-dependencies"].values()
    direct = {
        canonicalize_name(Requirement(text).name) for part in (project["dependencies"], *extras) for text in part
    }
    dependencies = [{"ref": reference, "dependsOn": [identity(known[name]) for name in sorted(direct & set(known))]}]
    dependencies += [{"ref": identity(each), "dependsOn": needs(each, known)} for each in known.values()]
    about = {"name": project["name"], "version": project["version"], "licenses": [{"expression": project["license"]}]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": reference, "purl": reference, **about}},
        "components": [component(each) for each in known.values()],
        "dependencies": dependencies,
    }


def main() -> None:
    """Write both files."""
    found = sbom()
    write_json(FILE, found)
    licences = {name: licence(distribution(name)) for name in pinned()}
    rows = [(name, distribution(name).version, licences[name]) for name in pinned()]
    write_record("licences", {"licences": licences}, ("package", "version", "licence"), rows)


if __name__ == "__main__":
    main()
