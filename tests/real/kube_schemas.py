"""JSON Schemas for kubeconform out of Kubernetes' own OpenAPI document: ``kube_schemas.py SWAGGER.json FOLDER``.

Strict: what the API server would drop as unknown is an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MAPS = ("properties", "definitions")  # their keys are names, not keywords
EITHER = {"oneOf": [{"type": "string"}, {"type": "number"}]}


def strict(node: Any, names: bool = False) -> Any:
    """The schema with no property allowed that it does not name."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: strict(value, key in MAPS and not names) for key, value in node.items()}
    if names:
        return found
    if found.get("format") == "int-or-string":
        return EITHER
    if "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


def main(source: Path, folder: Path) -> None:
    """One file a kind, named as kubeconform looks for it."""
    definitions = {name: strict(one) for name, one in json.loads(source.read_text())["definitions"].items()}
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = EITHER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, one in definitions.items():
        kinds = one.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1:
            group = kinds[0]["group"].partition(".")[0]
            parts = [kinds[0]["kind"].lower(), group, kinds[0]["version"]]
            must = {"required": sorted({*one.get("required", []), "apiVersion", "kind"})}
            path = folder / ("-".join(filter(None, parts)) + ".json")
            both = {"allOf": [{"$ref": f"_definitions.json#/definitions/{name}"}, must]}
            path.write_text(json.dumps(both))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
