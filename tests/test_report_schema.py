"""The published JSON Schema is the one the code follows, and every sample obeys it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from oomscope.report import json_schema, to_json
from tests import sample_reports

PUBLISHED = Path(__file__).parent.parent / "docs" / "report-schema.json"


def test_published_schema_is_the_one_in_the_code(request: pytest.FixtureRequest) -> None:
    made = json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"
    if request.config.getoption("--accept-golden"):
        PUBLISHED.parent.mkdir(exist_ok=True)
        PUBLISHED.write_text(made, encoding="utf-8")
    assert made == PUBLISHED.read_text(encoding="utf-8"), "pytest --accept-golden publishes the new schema"


@pytest.mark.parametrize("name", sample_reports.SAMPLES)
def test_samples_obey_the_schema(name: str) -> None:
    if name == "hostile":
        pytest.skip("its gap reasons are free text on purpose")
    document = json.loads(to_json(sample_reports.SAMPLES[name]()))
    jsonschema.Draft202012Validator(json_schema()).validate(document)
