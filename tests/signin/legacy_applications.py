"""Legacy backends as they are found in the field: small real applications, each with the traps of its kind.

They know nothing of the gateway. Every one has the user ``tanaka`` with the password ``PASSWORD`` and counts
what it was sent in ``seen``.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from aiohttp import web

USER = "tanaka"
PASSWORD = "correct horse"
#: In the form of the Shift_JIS application.
JAPANESE_PASSWORD = "暗証ﾊﾞﾝｺﾞｳ①"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Legacy:
    """What the applications have in common: sessions in memory, and a record of what came."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, str]] = {}
        self.posts: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.signed_out: list[str] = []
        #: Of Tomcat's users.
        self.passwords = {USER: PASSWORD, "suzuki": PASSWORD}
        #: Out of order: the login page is an error page.
        self.down = False

    def open(self, old: str | None = None, **values: str) -> str:
        data = self.sessions.pop(old, {}) if old is not None else {}
        identity = secrets.token_hex(16).upper()
        self.sessions[identity] = data | values
        return identity

    async def fields(self, request: web.Request, encoding: str = "utf-8") -> dict[str, str]:
        body = (await request.read()).decode("ascii")
        fields = dict(parse_qsl(body, keep_blank_values=True, encoding=encoding, errors="strict"))
        self.posts.append(fields)
        self.headers.append(dict(request.headers))
        return fields


@asynccontextmanager
async def running(application: web.Application) -> AsyncIterator[str]:
    """Serve on a free port of the loopback; the backend's address."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def page(body: str, *, charset: str = "utf-8", status: int = 200, head: str = "") -> web.Response:
    text = f"<!DOCTYPE html><html><head>{head}<title>法人ＩＢ</title></head><body>{body}</body></html>"
    return web.Response(body=text.encode(charset), status=status, headers={"Content-Type": "text/html"})


# --- Servlet FORM login, as in Tomcat ---------------------------------------------------------------


def tomcat() -> tuple[web.Application, Legacy]:
    """The form appears in place of the protected page; the session id rotates; 408 without the GET before it."""
    legacy = Legacy()

    def session_of(request: web.Request) -> str | None:
        _, _, in_path = request.path.partition(";jsessionid=")
        identity = request.cookies.get("JSESSIONID") or in_path
        return identity if identity in legacy.sessions else None

    async def protected(request: web.Request) -> web.StreamResponse:
        if legacy.down:
            return page("HTTP Status 503 – Service Unavailable", status=503)
        identity = session_of(request)
        if identity is not None and "user" in legacy.sessions[identity]:
            legacy.headers.append(dict(request.headers))
            return page(f"You are logged in as remote user <b>{legacy.sessions[identity]['user']}</b>")
        identity = legacy.open(identity, wanted=request.path)
        answer = page(
            f"""<form method="POST" action='j_security_check;jsessionid={identity}' ><table>
            <tr><th>Username:</th><td><input type="text" name="j_username"></td></tr>
            <tr><th>Password:</th><td><input type="password" name="j_password"></td></tr>
            <tr><td><input type="submit" value="Log In"></td><td><input type="reset"></td></tr></table></form>"""
        )
        answer.headers["Set-Cookie"] = f"JSESSIONID={identity}; Path=/examples; HttpOnly"
        return answer

    async def check(request: web.Request) -> web.StreamResponse:
        fields = await legacy.fields(request)
        identity = session_of(request)
        if identity is None or "wanted" not in legacy.sessions[identity]:
            return page("HTTP Status 408 – Request Timeout", status=408)
        if legacy.passwords.get(fields.get("j_username", "")) != fields.get("j_password", ""):
            return page("Invalid username and/or password, please try <a href='login.jsp'>again</a>.")
        wanted = legacy.sessions[identity]["wanted"]
        rotated = legacy.open(identity, user=fields["j_username"])
        answer = web.Response(status=303, headers={"Location": wanted})
        answer.headers["Set-Cookie"] = f"JSESSIONID={rotated}; Path=/examples; HttpOnly"
        return answer

    async def sign_out(request: web.Request) -> web.StreamResponse:
        identity = session_of(request)
        if identity is not None:
            legacy.signed_out.append(legacy.sessions.pop(identity).get("user", ""))
        return web.Response(status=302, headers={"Location": "/examples/bye"})

    application = web.Application()
    application.add_routes(
        [
            web.get("/examples/protected/index.jsp", protected),
            web.post("/examples/protected/{check:j_security_check.*}", check),
            web.get("/examples/logout", sign_out),
        ]
    )
    return application, legacy


# --- Django's admin ---------------------------------------------------------------------------------


def django(origin: str = "") -> tuple[web.Application, Legacy]:
    """A token in the form and in a cookie; failures answer 200; ``origin`` is the only one that may post."""
    legacy = Legacy()
    form = """<form action="/admin/login/?next=/admin/" method="post" id="login-form">
        <input type="hidden" name="csrfmiddlewaretoken" value="{token}">
        <input type="text" name="username" autofocus required id="id_username">
        <input type="password" name="password" required id="id_password">
        <input type="hidden" name="next" value="/admin/"><input type="submit" value="ログイン"></form>"""

    def refuses(request: web.Request, fields: dict[str, str]) -> bool:
        if origin and request.headers.get("Origin") != origin:
            return True
        return fields.get("csrfmiddlewaretoken") != request.cookies.get("csrftoken", "none")

    async def show(request: web.Request) -> web.StreamResponse:
        token = secrets.token_hex(16)
        answer = page(form.format(token=token))
        answer.headers["Set-Cookie"] = (
            f"csrftoken={token}; expires=Mon, 22 Nov 2094 02:00:00 GMT; Max-Age=31449600; Path=/; SameSite=Lax"
        )
        return answer

    async def check(request: web.Request) -> web.StreamResponse:
        fields = await legacy.fields(request)
        if refuses(request, fields):
            return page("<h1>Forbidden</h1><p>CSRF verification failed. Origin checking failed</p>", status=403)
        if (fields.get("username"), fields.get("password")) != (USER, PASSWORD):
            wrong = '<p class="errornote">正しいユーザー名とパスワードを入力してください。</p>'
            return page(wrong + form.format(token=fields["csrfmiddlewaretoken"]))
        answer = web.Response(status=302, headers={"Location": fields["next"]})
        cookies = (
            f"csrftoken={secrets.token_hex(16)}; Max-Age=31449600; Path=/; SameSite=Lax",
            f"sessionid={legacy.open(user=USER)}; HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax",
        )
        for cookie in cookies:
            answer.headers.add("Set-Cookie", cookie)
        return answer

    async def index(request: web.Request) -> web.StreamResponse:
        if request.cookies.get("sessionid") not in legacy.sessions:
            return web.Response(status=302, headers={"Location": "/admin/login/?next=/admin/"})
        token = request.cookies["csrftoken"]
        return page(
            f"""<form id="logout-form" method="post" action="/admin/logout/">
            <input type="hidden" name="csrfmiddlewaretoken" value="{token}">
            <button type="submit">ログアウト</button></form>"""
        )

    async def sign_out(request: web.Request) -> web.StreamResponse:
        if refuses(request, await legacy.fields(request)):
            return page("CSRF verification failed.", status=403)
        legacy.signed_out.append(legacy.sessions.pop(request.cookies["sessionid"])["user"])
        return page("ログアウトしました")

    application = web.Application()
    application.add_routes(
        [
            web.get("/admin/login/", show),
            web.post("/admin/login/", check),
            web.get("/admin/", index),
            web.post("/admin/logout/", sign_out),
        ]
    )
    return application, legacy


# --- ASP.NET WebForms -------------------------------------------------------------------------------


def aspnet() -> tuple[web.Application, Legacy]:
    """View state, event validation, the button's name, a meta refresh after success, error text on 200."""
    legacy = Legacy()

    def form(state: str, said: str = "") -> web.Response:
        return page(
            f"""<form method="post" action="./Login.aspx?ReturnUrl=%2fMenu.aspx" id="form1">
            <input type="hidden" name="__VIEWSTATE" id="__VIEWSTATE" value="{html.escape(state)}" />
            <input type="hidden" name="__VIEWSTATEGENERATOR" value="C2EE9ABB" />
            <input type="hidden" name="__EVENTVALIDATION" value="/wEdAAR+/=&amp;" />
            <select name="ctl00$branch"><option value="001">本店<option value="002" selected>駅前支店</select>
            <input name="ctl00$user" type="text" /><input name="ctl00$pass" type="password" />
            <input type="checkbox" name="ctl00$remember" /><input type="checkbox" name="ctl00$agree" checked />
            <input type="submit" name="ctl00$login" value="ログイン" />
            <input type="submit" name="ctl00$cancel" value="中止" /><span id="err">{said}</span></form>"""
        )

    async def show(request: web.Request) -> web.StreamResponse:
        return form(secrets.token_urlsafe(40) + "+/=")

    async def check(request: web.Request) -> web.StreamResponse:
        fields = await legacy.fields(request)
        expected = {
            "__VIEWSTATEGENERATOR": "C2EE9ABB",
            "__EVENTVALIDATION": "/wEdAAR+/=&",
            "ctl00$branch": "002",
            "ctl00$agree": "on",
            "ctl00$login": "ログイン",
        }
        odd = {name: fields.get(name) for name, value in expected.items() if fields.get(name) != value}
        if odd or not fields.get("__VIEWSTATE", "").endswith("+/=") or "ctl00$cancel" in fields:
            return page(f"Validation of viewstate MAC failed {odd}", status=500)
        if (fields.get("ctl00$user"), fields.get("ctl00$pass")) != (USER, PASSWORD):
            return form(fields["__VIEWSTATE"], "利用者IDまたはパスワードが違います。")
        answer = page("お待ちください", head='<meta http-equiv="Refresh" content="0; URL=/Menu.aspx">')
        answer.headers["Set-Cookie"] = f".ASPXAUTH={legacy.open(user=USER)}; path=/; HttpOnly"
        return answer

    async def menu(request: web.Request) -> web.StreamResponse:
        if request.cookies.get(".ASPXAUTH") not in legacy.sessions:
            return web.Response(status=302, headers={"Location": "/Login.aspx?ReturnUrl=%2fMenu.aspx"})
        return page('メニュー <a href="/Logoff.aspx">ログオフ</a>')

    application = web.Application()
    application.add_routes(
        [web.get("/Login.aspx", show), web.post("/Login.aspx", check), web.get("/Menu.aspx", menu)],
    )
    return application, legacy


# --- PHP in Shift_JIS -------------------------------------------------------------------------------


def php() -> tuple[web.Application, Legacy]:
    """Shift_JIS said by the page only; redirects for success and failure alike; the session bound to the browser."""
    legacy = Legacy()
    users = {USER: PASSWORD, "鈴木": JAPANESE_PASSWORD}

    async def show(request: web.Request) -> web.StreamResponse:
        identity = request.cookies.get("PHPSESSID")
        if identity not in legacy.sessions:
            identity = legacy.open(agent=request.headers.get("User-Agent", ""))
        said = "パスワードが違います" if "err" in request.query else ""
        answer = page(
            f"""<form method=post action=login.php><input type=hidden name=mode value="認証">
            <input type=hidden name=ticket value={identity[:8]}>
            利用者<input name=uid>暗証<input type=password name=pw><input type=image name=go src=b.gif></form>{said}
            <noscript><meta http-equiv="refresh" content="0;url=/nojs.html"></noscript>""",
            charset="cp932",
            head='<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">',
        )
        answer.headers["Set-Cookie"] = f"PHPSESSID={identity}; path=/"
        return answer

    async def check(request: web.Request) -> web.StreamResponse:
        fields = await legacy.fields(request, "cp932")
        identity = request.cookies.get("PHPSESSID", "")
        data = legacy.sessions.get(identity)
        if data is None or data["agent"] != request.headers.get("User-Agent", "") or fields.get("mode") != "認証":
            return page("セッションが無効です".encode("cp932").decode("cp932"), charset="cp932", status=403)
        if users.get(fields["uid"]) != fields["pw"]:
            return web.Response(status=302, headers={"Location": "http://bank.example:8443/ib/index.php?err=1"})
        rotated = legacy.open(identity, user=fields["uid"])
        answer = web.Response(status=302, headers={"Location": "menu.php"})
        answer.headers.add("Set-Cookie", "old=; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/")
        answer.headers.add("Set-Cookie", f"PHPSESSID={rotated}; path=/")
        return answer

    async def menu(request: web.Request) -> web.StreamResponse:
        data = legacy.sessions.get(request.cookies.get("PHPSESSID", ""), {})
        if "user" not in data:
            return web.Response(status=302, headers={"Location": "/ib/index.php"})
        return page(f"ようこそ {data['user']} 様", charset="cp932", head="<meta charset=sjis>")

    async def sign_out(request: web.Request) -> web.StreamResponse:
        data = legacy.sessions.get(request.cookies.get("PHPSESSID", ""), {})
        if data.get("agent") != request.headers.get("User-Agent", ""):
            return page("?", status=404)
        legacy.signed_out.append(legacy.sessions.pop(request.cookies["PHPSESSID"])["user"])
        return page("終了しました", charset="cp932")

    application = web.Application()
    application.add_routes(
        [
            web.get("/ib/index.php", show),
            web.post("/ib/login.php", check),
            web.get("/ib/menu.php", menu),
            web.post("/ib/logout.php", sign_out),
        ]
    )
    return application, legacy
