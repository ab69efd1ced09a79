"""Publishing finds its templates, its licence and its sentence pairs in a checkout and in an installed wheel."""

from pathlib import Path

import pytest

from asterisk.publishing import resources

NAMES = ("model_card/embedding.md", "recipes/sts_captions/test.jsonl", "LICENSE")


@pytest.mark.parametrize("name", NAMES)
def test_a_checkout_has_the_file(name: str) -> None:
    assert resources.resource(name) == resources.CHECKOUT / name
    assert resources.resource(name).is_file()


def test_a_wheel_has_the_files_inside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "CHECKOUT", tmp_path)
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "asterisk" / "publishing")
    found = [resources.resource(name) for name in NAMES[:2]]
    inside = [path.relative_to(tmp_path / "asterisk" / "publishing").as_posix() for path in found]
    assert inside == ["model_card/embedding.md", "sts_captions/test.jsonl"]
    assert "Apache License" in resources.resource("LICENSE").read_text(encoding="utf-8")
