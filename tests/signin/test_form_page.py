"""Forms and refreshes as a browser reads them."""

from __future__ import annotations

import pytest

from mtls_gateway.signin.form_page import Form, FormPage, read_refresh

URL = "http://bank.example/ib/login.php?x=1"


def read(markup: str, *, content_type: str = "text/html; charset=utf-8", charset: str = "utf-8") -> FormPage:
    return FormPage(markup.encode(charset), content_type, URL)


def form_of(markup: str) -> Form:
    form = read(markup).form_with("p")
    assert form is not None
    return form


def test_only_what_a_browser_sends_is_sent() -> None:
    form = form_of(
        """<form method=POST>
        <input type=hidden name=h value=1><input name=u value=x><input type=password name=p>
        <input type=hidden value=nameless><input name=off value=1 disabled>
        <fieldset disabled><input name=inside value=1></fieldset>
        <input type=checkbox name=c1 checked><input type=checkbox name=c2 value=2>
        <input type=radio name=r value=a><input type=radio name=r value=b checked>
        <select name=s1><option>first one<option>second</select>
        <select name=s2 multiple><option selected>1<option selected>2<option>3</select>
        <textarea name=t>
line 1
line 2</textarea><input type=file name=f><input type=reset name=z><input type=button name=y>
        <button name=go value=now>Go</button><input type=submit name=stop value=1></form>"""
    )
    assert form.entries == (
        ("h", "1"),
        ("u", "x"),
        ("p", ""),
        ("c1", "on"),
        ("r", "b"),
        ("s1", "first one"),
        ("s2", "1"),
        ("s2", "2"),
        ("t", "line 1\nline 2"),
        ("go", "now"),
    )


def test_a_control_elsewhere_belongs_to_the_form_that_it_names() -> None:
    form = form_of("<form id=a><input name=p></form><input form=a name=q value=1><input form=b name=r value=1>")
    assert form.entries == (("p", ""), ("q", "1"))


def test_an_image_button_sends_its_corner() -> None:
    assert form_of("<form><input name=p><input type=image name=go></form>").entries == (
        ("p", ""),
        ("go.x", "0"),
        ("go.y", "0"),
    )


@pytest.mark.parametrize(
    ("markup", "action"),
    [
        ("<form><input name=p></form>", URL),
        ('<form action=""><input name=p></form>', URL),
        (
            '<form action="j_security_check;jsessionid=A1"><input name=p></form>',
            "http://bank.example/ib/j_security_check;jsessionid=A1",
        ),
        ('<form action="?y=2"><input name=p></form>', "http://bank.example/ib/login.php?y=2"),
        ('<form action="/top"><input name=p></form>', "http://bank.example/top"),
        ('<form action=" /t\nop "><input name=p></form>', "http://bank.example/top"),
        ('<base href="/other/"><form action="in"><input name=p></form>', "http://bank.example/other/in"),
        ('<base href="/other/"><form><input name=p></form>', URL),
        ('<form action="/a"><input name=p><button formaction="/b">x</button></form>', "http://bank.example/b"),
    ],
)
def test_the_action_is_resolved(markup: str, action: str) -> None:
    assert form_of(markup).action == action


@pytest.mark.parametrize(
    ("markup", "method"),
    [("<form", "GET"), ("<form method=post", "POST"), ("<form method=' POST '", "POST"), ("<form method=odd", "GET")],
)
def test_the_method_is_read(markup: str, method: str) -> None:
    assert form_of(markup + "><input name=p></form>").method == method


def test_the_form_with_both_fields_is_the_login_form() -> None:
    page = read("<form><input name=q></form><form action=/2><input name=u><input name=p></form>")
    form = page.form_with("u", "p")
    assert form is not None and form.action == "http://bank.example/2"
    assert page.form_with("u", "q") is None


def test_a_form_in_a_comment_or_in_another_kind_of_document_is_none() -> None:
    assert read("<!-- <form><input name=p></form> -->").form_with("p") is None
    assert read("<form><input name=p></form>", content_type="text/plain").form_with("p") is None


@pytest.mark.parametrize(
    "octets", [b"", b"\0\0\0", b"<" * 5_000, b"<form>" * 5_000, b"\xff\xfe", bytes(range(256)) * 8]
)
def test_no_octets_break_it(octets: bytes) -> None:
    assert FormPage(octets, "text/html", URL).form_with("p") is None


def test_a_form_behind_nul_is_found() -> None:
    assert FormPage(b"<p>\0</p><form><input name=p></form>", "text/html", URL).form_with("p") is not None


def test_filling_replaces_adds_and_leaves_out() -> None:
    form = form_of("<form><input name=a value=1><input name=b value=2><input name=p></form>")
    assert form.filled({"p": "", "c": "3"}, {"b"}).entries == (("a", "1"), ("p", ""), ("c", "3"))


@pytest.mark.parametrize(
    ("head", "content_type", "charset"),
    [
        ("", "text/html; charset=Shift_JIS", "cp932"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=x-sjis">', "text/html", "cp932"),
        ("<meta charset='EUC-JP'>", "text/html", "euc_jp"),
        ("<meta charset=iso-2022-jp>", "", "iso2022_jp"),
        ('<?xml version="1.0" encoding="Shift_JIS"?>', "application/xhtml+xml", "cp932"),
        ("", "text/html", "utf-8"),
        ("<meta charset=Shift_JIS>", "text/html; charset=UTF-8", "utf-8"),
    ],
)
def test_a_form_is_sent_in_the_encoding_of_its_page(head: str, content_type: str, charset: str) -> None:
    markup = f"{head}<form><input type=hidden name=h value='認証'><input name=p></form>"
    form = read(markup, content_type=content_type, charset=charset).form_with("p")
    assert form is not None
    expected = "&".join(
        f"{name}="
        + "".join(
            f"%{octet:02X}" if octet > 126 or chr(octet) not in _SAFE else chr(octet) for octet in text.encode(charset)
        )
        for name, text in (("h", "認証"), ("p", "暗証"))
    )
    assert form.filled({"p": "暗証"}).encoded().decode() == expected


_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._"


def test_accept_charset_wins_and_charset_fields_name_it() -> None:
    form = form_of(
        '<form accept-charset="unheard-of Shift_JIS"><input type=hidden name=_charset_><input name=p></form>'
    )
    assert form.filled({"p": "あ"}).encoded() == b"_charset_=Shift_JIS&p=%82%A0"


def test_what_the_encoding_lacks_is_sent_as_browsers_do() -> None:
    form = form_of("<form accept-charset=shift_jis><input name=p></form>")
    assert form.filled({"p": "a𠮷 &=~*\n"}).encoded() == b"p=a%26%23134071%3B+%26%3D%7E*%0D%0A"


@pytest.mark.parametrize(
    ("content", "leads_to"),
    [
        ("0; url=/menu", "http://bank.example/menu"),
        ("0;URL='menu.php'", "http://bank.example/ib/menu.php"),
        ('1 ; url = "http://bank.example/x"', "http://bank.example/x"),
        ("0;/menu", "http://bank.example/menu"),
        ("0.5; url=/menu", "http://bank.example/menu"),
        ("300; url=/timeout", None),
        ("5", None),
        ("", None),
        ("soon", None),
    ],
)
def test_a_refresh_is_followed_only_when_it_is_prompt(content: str, leads_to: str | None) -> None:
    assert read_refresh(content, URL) == leads_to


def test_a_refresh_for_browsers_without_scripts_is_not_for_ours() -> None:
    assert read("<noscript><meta http-equiv=refresh content='0;url=/no'></noscript>").refresh() is None
    assert read("<META HTTP-EQUIV=Refresh CONTENT='0;url=/yes'>").refresh() == "http://bank.example/yes"


def test_the_form_to_a_path_is_found() -> None:
    page = read(
        '<form action="/a"></form><form method=post action="/out?x=1"><input type=hidden name=t value=9></form>'
    )
    form = page.form_to("/out")
    assert form is not None and form.entries == (("t", "9"),)
    assert page.form_to("/") is None
