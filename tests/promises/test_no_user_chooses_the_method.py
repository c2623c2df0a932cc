"""The login method is the company's: no command, setting, table or page speaks of one user's (notice 4.(1), A.5)."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from mtls_gateway.cli.families import FAMILIES, add_family
from mtls_gateway.config import Configuration
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.visit import place
from mtls_gateway.model import Code, Method
from mtls_gateway.store.schema import metadata
from tests.promises.whole_gateway import WholeGateway

#: Words by which one could speak of a method, beside the word itself.
SPOKEN = re.compile(r"method|login_mode|auth_mode|password_only|certificate_only|方式", re.IGNORECASE)
#: Methods of HTTP.
OF_HTTP = {"legacy.sign_out.method", "cooling_off.rules.methods"}
#: Users of the operating system, and of the mail server.
OF_THE_MACHINE = {"operations.user", "signer.users", "mail.user"}


def commands(family: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Every command with its parameters and their types, printed."""
    for group in family.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, (*words, str(group.name)))
    for command in family.registered_commands:
        assert command.callback is not None
        types = typing.get_type_hints(command.callback)
        yield (*words, str(command.name)), {name: str(kind) for name, kind in types.items() if name != "return"}


def test_one_command_sets_the_method_and_it_is_about_a_company() -> None:
    whole = typer.Typer()
    for word in FAMILIES:
        add_family(whole, word)
    every = dict(commands(whole))
    assert ("user", "create") in every and ("application", "receive") in every, "the walk has missed something"
    speaking = {
        words: parameters
        for words, parameters in every.items()
        if SPOKEN.search(" ".join((*words, *parameters))) or any(repr(Method) in kind for kind in parameters.values())
    }
    assert list(speaking) == [("company", "method")]
    assert set(speaking["company", "method"]) == {"context", "company", "method", "deadline"}


def test_the_command_that_adds_users_from_a_file_takes_no_method(gateway: WholeGateway) -> None:
    file = gateway.folder() / "users.csv"
    file.write_text("user_id,company_id,method\nx,yamada,password\n")
    with pytest.raises(AssertionError, match="the header must name user_id, company_id"):
        gateway.cli("user", "import", str(file))


def settings(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{above}{name}"
        for inner in models_in(field.annotation):
            yield from settings(inner, f"{above}{name}.")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models_in(argument)


def test_no_setting_is_about_the_method_or_about_a_user() -> None:
    found = set(settings(Configuration))
    assert "legacy.sign_out.method" in found, "the walk has missed something"
    assert {one for one in found if SPOKEN.search(one)} == OF_HTTP
    assert not {one for one in found if re.search(r"\busers?\b(?!_)", one.rpartition(".")[2])} - OF_THE_MACHINE


def test_only_companies_have_a_method() -> None:
    speaking = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if SPOKEN.search(column.name) or {one.value for one in Method} <= set(getattr(column.type, "enums", ()))
    }
    assert speaking == {"companies.method"}


def test_no_form_of_any_page_asks_for_it() -> None:
    folder = resources.files("mtls_gateway.web") / "templates"
    names: set[str] = set()
    for file in folder.iterdir():
        if file.name.endswith(".html"):
            names |= set(re.findall(r'<(?:input|select|textarea|button)[^>]*\bname="([^"]+)"', file.read_text()))
    assert "password" in names and "cause" in names, "the walk has missed something"
    assert not [name for name in names if SPOKEN.search(name)]


def test_a_user_who_has_switched_cannot_go_back_whatever_it_sends(gateway: WholeGateway) -> None:
    """A company that migrates: whoever has a certificate signs in with it, and a field of a form changes nothing."""
    switched = gateway.newcomer("sato")
    browser = gateway.browser()
    for more in ("", "&method=password", "&login_method=password&use_certificate=no"):
        page = browser.get(PUBLIC_HOST, "/gateway/password-sign-in")
        form = page.form_to("/password-sign-in")
        body = form.filled({"text": switched.user_id, "password": switched.password}) + more
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": browser.url(PUBLIC_HOST, "").rstrip("/"),
        }
        answer = browser.request(
            "POST", browser.url(PUBLIC_HOST, "/gateway/password-sign-in?method=password"), body.encode(), headers, True
        )
        assert place(answer) == Code.COMPANY_ON_CERTIFICATE_METHOD.value, more
    signed_in = gateway.signed_in(switched)
    signed_in.get(CERTIFICATE_HOST, "/gateway/status?method=password")
    page = browser.get(PUBLIC_HOST, "/gateway/password-sign-in")
    answer = browser.submit(page, page.form("password"), text=switched.user_id, password=switched.password)
    assert place(answer) == Code.COMPANY_ON_CERTIFICATE_METHOD.value
