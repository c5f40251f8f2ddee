"""The documentation: whole, without scripts and other servers, and with a page for each kind of problem."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pgtask.web.problem_kinds import KINDS
from pgtask.web.problems import _KINDS

from tests.api_client import Api, document

WEB = Path(__file__).parents[2] / "web"


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}"
            assert name != "style", tag
            if name == "id":
                self.ids.append(str(value))
            if name in {"href", "src"}:
                self.links.append(str(value))


@pytest.fixture
def page(api: Api) -> Page:
    """The page of the API."""
    answer = api.anonymous().get("//api/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    return Page(answer.get_data(as_text=True))


def test_all_operations_and_objects_are_on_the_page(api: Api, page: Page) -> None:
    made = document(api.app)
    operations = {operation["operationId"] for methods in made["paths"].values() for operation in methods.values()}

    assert operations <= set(page.ids)
    assert {f"schema-{name}" for name in made["components"]["schemas"]} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_all_links_on_the_page_lead_somewhere_here(api: Api, page: Page) -> None:
    assert not {"script", "iframe", "img"} & set(page.tags)
    for link in set(page.links):
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert api.anonymous().get(f"/{link}").status_code == 200, link


def test_examples_fit_their_operations(api: Api) -> None:
    """What the page shows as a body is taken, where nothing in the database must be there first."""
    text = api.get("//api/docs").get_data(as_text=True)
    (body,) = re.findall(r'<article id="create_token">.*?<pre tabindex="0"><code>(.*?)</code>', text, re.DOTALL)
    answer = api.app.test_client().post(
        "/api/v1/tokens",
        data=body.replace("&#34;", '"'),
        content_type="application/json",
        headers={"Authorization": f"Bearer {api.token}"},
    )

    assert answer.status_code == 201, answer.data


def test_objects_are_called_as_clients_made_from_the_document_will_call_them(api: Api) -> None:
    objects = document(api.app)["components"]["schemas"]

    assert {"Job", "JobPage", "Queue", "Beat", "BeatAnswer"} <= objects.keys()
    assert [name for name in objects if not re.fullmatch("[A-Z][A-Za-z]+", name) or name.endswith("Shape")] == []
    assert {name: made["title"] for name, made in objects.items()} == {name: name for name in objects}


def test_below_a_prefix_links_keep_to_it(api: Api) -> None:
    text = api.app.test_client().get(
        "/api/docs", headers={"X-Forwarded-Prefix": "/queue"}, environ_base={"REMOTE_ADDR": ""}
    )

    local = [link for link in Page(text.get_data(as_text=True)).links if not link.startswith("#")]
    assert local
    assert all(link.startswith("/queue/") for link in local)


def kinds_in_the_code() -> Iterator[tuple[str, str]]:
    """The kinds of problems that the code names."""
    for file in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Problem", "_cut"}:
                kind = node.args[1] if len(node.args) > 1 else None
                if isinstance(kind, ast.Constant):
                    yield str(kind.value), file.name


def test_each_kind_of_problem_has_its_page(api: Api) -> None:
    nobody = api.anonymous()
    for kind, where in [*kinds_in_the_code(), *((kind, "errors") for _, kind in _KINDS.values())]:
        assert nobody.get(f"//problems/{kind}").status_code == 200, f"{kind} ({where}) is missing in problem_kinds.py"
    listed = nobody.get("//problems").get_data(as_text=True)
    assert all(f"<code>{kind}</code>" in listed for kind in KINDS)
    assert nobody.get("//problems/nothing").status_code == 404


def test_what_may_be_refused_by_if_match_says_so(api: Api) -> None:
    for path, methods in document(api.app)["paths"].items():
        for method, operation in methods.items():
            headers = {given["name"] for given in operation.get("parameters", ()) if given["in"] == "header"}
            assert ("If-Match" in headers) == ("412" in operation["responses"]), (method, path)
