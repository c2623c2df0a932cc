"""The demo bank's pages: plain HTML of the kind that such banks have had for twenty years."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = "body{font-family:sans-serif;margin:2em auto;max-width:44em}table{border-collapse:collapse}td,th{border:1px\
 solid #888;padding:.3em .8em}.error{color:#b00020}"

_MENU = """<p><a href="/home">ホーム</a> | <a href="/balance">残高照会</a> | <a href="/transfer">総合振込</a>
| <a href="/statements.csv">入出金明細（CSV）</a> | <a href="/rates">外国為替相場</a>
| <a href="/logout">ログアウト</a></p>"""

ACCOUNTS: Sequence[tuple[str, str, int]] = (
    ("普通預金", "1234567", 3_482_019),
    ("当座預金", "7654321", 12_900_340),
)

MOVEMENTS: Sequence[tuple[str, str, int, int]] = (
    ("2025-04-01", "フリコミ カ）ヤマダショウテン", 0, 540_000),
    ("2025-04-03", "デンキダイ", 48_120, 0),
    ("2025-04-10", "キュウヨ", 1_250_000, 0),
    ("2025-04-25", "フリコミ ユ）スズキコウギョウ", 0, 1_980_000),
)


def page(title: str, body: str, menu: bool = True) -> str:
    """One page; ``body`` is HTML already."""
    return f"""<!DOCTYPE html>
<html lang="ja"><head><meta charset="utf-8"><title>{escape(title)}</title>
<link rel="stylesheet" href="/static/bank.css"></head>
<body><h1>{escape(title)}</h1>
{_MENU if menu else ""}
{body}
</body></html>
"""


def style() -> str:
    """The style sheet, open to everybody."""
    return _STYLE


def login(token: str, error: str = "") -> str:
    """The login page with its hidden one-time token."""
    message = f'<p class="error">{escape(error)}</p>' if error else ""
    return page(
        "法人インターネットバンキング ログイン",
        f"""{message}
<form name="login" method="post" action="/login">
<input type="hidden" name="token" value="{escape(token)}">
<input type="hidden" name="screen" value="LOGIN01">
<p><label>利用者ID <input type="text" name="loginId" autocomplete="username"></label></p>
<p><label>パスワード <input type="password" name="password" autocomplete="current-password"></label></p>
<p><input type="submit" name="submit" value="ログイン"></p>
</form>""",
        menu=False,
    )


def home(user: str) -> str:
    """The first page after signing in."""
    return page("トップページ", f'<p>ようこそ、<span id="user">{escape(user)}</span> 様</p>')


def balance_rows() -> Sequence[str]:
    """The balance page in pieces, as the bank's old template engine flushes them."""
    rows = [
        f"<tr><td>{escape(kind)}</td><td>{number}</td><td>{amount:,} 円</td></tr>\n"
        for kind, number, amount in ACCOUNTS
    ]
    whole = page("残高照会", "<table><tr><th>科目</th><th>口座番号</th><th>残高</th></tr>\n<!--rows--></table>")
    before, after = whole.split("<!--rows-->")
    return [before, *rows, after]


def statements_csv() -> str:
    """Four movements, as spreadsheets like them."""
    lines = ["日付,摘要,出金,入金", *(f"{day},{text},{out},{inward}" for day, text, out, inward in MOVEMENTS)]
    return "\r\n".join(lines) + "\r\n"


def transfer() -> str:
    """The upload form for a transfer file."""
    return page(
        "総合振込 ファイル受付",
        """<form name="transfer" method="post" action="/transfer" enctype="multipart/form-data">
<p><label>全銀フォーマットのファイル <input type="file" name="file"></label></p>
<p><input type="submit" value="送信"></p></form>""",
    )


def transfer_received(name: str, octets: int, digest: str) -> str:
    """What was received of an upload."""
    return page(
        "総合振込 受付完了",
        f"""<p>ファイル「{escape(name)}」を受け付けました。</p>
<p>サイズ: <span id="octets">{octets}</span> バイト</p><p>SHA-256: <span id="sha256">{digest}</span></p>""",
    )


def rates() -> str:
    """A page whose script shows the WebSocket's ticks."""
    return page(
        "外国為替相場",
        """<pre id="rates">接続中…</pre>
<script>
var socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws/rates");
socket.onmessage = function (event) { document.getElementById("rates").textContent = event.data; };
socket.onclose = function () { document.getElementById("rates").textContent = "切断されました"; };
</script>""",
    )
