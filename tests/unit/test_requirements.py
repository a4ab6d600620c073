"""The page of requirements: what it links to is there, and what is not there any more is named."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATE = "harness/report/templates/page.html"


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/generate.py of a repository with one test, one page, and the sections of the report."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in {"docs/rollouts.md": "", "scenarios/test_ab.py": "def test_a_user_meets_one(): ...\n"}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    (tmp_path / TEMPLATE).parent.mkdir(parents=True)
    shutil.copy(ROOT / TEMPLATE, tmp_path / TEMPLATE)
    monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
    return module


def requirement(generate: ModuleType, **changed: str) -> str:
    fields = {"page": "rollouts.md", "section": "rollout", "proof": "scenarios/test_ab.py::test_a_user_meets_one"}
    fields |= changed
    (generate.DOCS / "requirements.toml").write_text(
        f'[[requirement]]\nname = "A/B testing"\nsays = "one user"\npage = "{fields["page"]}"\n'
        f'sections = ["{fields["section"]}"]\nproofs = ["{fields["proof"]}"]\n'
    )
    return str(generate.requirements_reference())


def test_a_requirement_links_to_its_page_and_its_test_and_names_the_section(generate: ModuleType) -> None:
    link = '[a user meets one](../scenarios/test_ab.py "scenarios/test_ab.py::test_a_user_meets_one")'
    assert requirement(generate).splitlines()[-1] == f"| [A/B testing](rollouts.md): one user | {link} | Rollout |"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("proof", "scenarios/test_ab.py::test_a_user_meets_both"),
        ("proof", "scenarios/test_gone.py::test_a_user_meets_one"),
        ("section", "rollouts"),
        ("page", "gone.md"),
    ],
)
def test_what_was_renamed_ends_the_check_with_its_name(generate: ModuleType, field: str, value: str) -> None:
    with pytest.raises(SystemExit, match=rf"A/B testing: not there: (section )?{value}$"):
        requirement(generate, **{field: value})
