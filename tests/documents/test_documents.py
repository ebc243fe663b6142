"""What the documents say exists: commands, files, links, versions, and the parts that are made from the code."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from dev import docs
from dev.chart import ROOT
from dev.shell import run
from dev.tiers import TIERS
from sdxl_operator import __version__
from sdxl_operator.naming import Condition, Reason
from sdxl_runtime import __version__ as runtime_version

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][-a-z0-9]*):", MAKEFILE, re.MULTILINE))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    code = re.findall(r"`make ((?:[a-z][-a-z0-9]* ?)+)`|^make ([a-z][-a-z0-9]*)", page.read_text(), re.MULTILINE)
    named = {target for words in code for target in " ".join(words).split()}
    assert named <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in (link for link in links if not link.startswith("http")):
        name, _, fragment = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_manifest_and_chart_that_a_command_names_exists(page: Path) -> None:
    for path in re.findall(r"(?:-f|install \S+|upgrade \S+) ((?:examples|charts|crds)[\w./-]*)", page.read_text()):
        assert (ROOT / path).exists(), path


def test_every_folder_that_the_readme_lists_exists_and_none_is_left_out() -> None:
    listed = {path.split("/")[0] for path in re.findall(r"^\| `([\w/-]+)/` \|", README, re.MULTILINE)}
    tracked = run(["git", "ls-files"], folder=ROOT).splitlines()
    assert listed == {path.split("/")[0] for path in tracked if "/" in path and not path.startswith(".")}


def test_every_example_is_listed_in_the_readme() -> None:
    listed = set(re.findall(r"\(examples/([\w-]+\.yaml)\)", README))
    assert listed == {path.name for path in (ROOT / "examples").glob("*.yaml")}


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    assert set(re.findall(r"\(docs/([\w-]+\.md)", README)) == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_every_make_target_says_in_a_line_what_it_does() -> None:
    silent = [target for target in TARGETS if not re.search(rf"^{target}:[^\n]*  ## \S", MAKEFILE, re.MULTILINE)]
    assert silent == []


def test_every_tier_has_a_target_and_a_row_in_the_readme() -> None:
    for tier in TIERS:
        target = tier.name if tier.every_change else f"test-{tier.name}"
        assert target in TARGETS
        assert f"| `make {target}` |" in README


def test_every_folder_of_tests_belongs_to_a_tier() -> None:
    words = {word for tier in TIERS if tier.every_change for command in tier.commands for word in command}
    folders = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= words


def test_what_runs_for_a_change_is_make_test() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    assert {"run": ".ci/run"} in workflow["jobs"]["test"]["steps"]


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1] == VERSION == __version__ == runtime_version


def test_the_generated_parts_of_the_documents_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 0, capsys.readouterr().err


def test_an_edited_generated_part_is_noticed() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert docs.written(page.replace("The spec can be carried out.", "Something else.")) == page


def test_an_unknown_part_is_refused_by_name() -> None:
    with pytest.raises(docs.UnknownPart, match="nonsense; there are reasons"):
        docs.written("<!-- generated: nonsense -->\n<!-- end -->")


def test_every_reason_and_every_condition_is_explained() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert [reason for reason in Reason if f"| `{reason}` | " not in operations] == []
    guide = (ROOT / "docs" / "user-guide.md").read_text()
    judged = "".join(path.read_text() for path in (ROOT / "operator" / "sdxl_operator" / "status").glob("*.py"))
    used = [condition for condition in Condition if f"Condition.{condition.name}" in judged]
    assert [condition for condition in used if f"`{condition}`" not in guide] == []


def test_what_was_not_run_on_hardware_is_said_on_the_front_page() -> None:
    assert "No NPU and no GPU was used." in README
    assert "verified on 910B" not in README


def test_the_licence_is_apache_2() -> None:
    assert "Apache License\n                           Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_no_file_of_the_demo_model_names_a_folder_of_the_machine_that_trained_it() -> None:
    folder = ROOT / "runtime" / "sdxl_runtime" / "demo_model"
    assert [str(path) for path in folder.rglob("*.json") if '"_name_or_path": "/' in path.read_text()] == []
