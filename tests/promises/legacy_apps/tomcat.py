"""Debian's tomcat10 with its examples, as installed: Servlet FORM login.

The login page appears in place of the protected page, at the same address; ``j_security_check`` answers 408 to a
POST without that page before it; a wrong password is answered with 200; the session is renamed at sign-in and the
form's action may carry ``;jsessionid=``. The examples' own context sets SameSite=strict on their cookies.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.promises.legacy_apps.application import LegacyApplication, serving

HOME = Path("/usr/share/tomcat10")
EXAMPLES = Path("/usr/share/tomcat10-examples/examples")

_SERVER = """<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
  <GlobalNamingResources>
    <Resource name="UserDatabase" auth="Container" type="org.apache.catalina.UserDatabase"
              factory="org.apache.catalina.users.MemoryUserDatabaseFactory" pathname="conf/tomcat-users.xml"/>
  </GlobalNamingResources>
  <Service name="Catalina">
    <Connector address="127.0.0.1" port="0" protocol="HTTP/1.1" connectionTimeout="20000" maxParameterCount="1000"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Realm className="org.apache.catalina.realm.LockOutRealm">
        <Realm className="org.apache.catalina.realm.UserDatabaseRealm" resourceName="UserDatabase"/>
      </Realm>
      <Host name="localhost" appBase="webapps" unpackWARs="false" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
"""

_LOGGING = """handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.level = INFO
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
"""

_FOLDER = "/examples/jsp/security/protected"
PROTECTED = f"{_FOLDER}/index.jsp"


def lay_out(base: Path, user: str, password: str) -> None:
    """An instance of its own (CATALINA_BASE): Debian's defaults, one user, a port that the system picks."""
    configuration = base / "conf"
    for folder in (configuration, base / "logs", base / "temp", base / "work", base / "webapps"):
        folder.mkdir(parents=True)
    for name in ("web.xml", "context.xml", "catalina.properties"):
        shutil.copy(HOME / "etc" / name, configuration / name)
    (configuration / "server.xml").write_text(_SERVER)
    (configuration / "logging.properties").write_text(_LOGGING)
    (configuration / "tomcat-users.xml").write_text(
        f'<tomcat-users><role rolename="tomcat"/><user username="{user}" password="{password}" roles="tomcat"/>'
        "</tomcat-users>\n"
    )
    shutil.copytree(EXAMPLES, base / "webapps" / "examples")


def settings(base: str) -> dict[str, object]:
    """The ``[legacy]`` table for this application."""
    return {
        "backends": [base],
        "home": PROTECTED,
        "session_cookies": ["JSESSIONID"],
        "guarded": ["/**/j_security_check", "/j_security_check"],
        "login": {
            "kind": "form",
            "page": PROTECTED,
            "user_field": "j_username",
            "password_field": "j_password",
            "proof_page": PROTECTED,
        },
        "sign_out": {"path": f"{PROTECTED}?logoff=true"},
    }


@contextmanager
def running_tomcat(folder: Path) -> Iterator[LegacyApplication]:
    """Start it below ``folder``, end it afterwards."""
    user, password = "kumiai01", secrets.token_hex(8)
    base = folder / "tomcat"
    lay_out(base, user, password)
    environment = {
        "CATALINA_HOME": str(HOME),
        "CATALINA_BASE": str(base),
        "CATALINA_TMPDIR": str(base / "temp"),
        "CATALINA_OPTS": "-Xmx192m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    }
    # The port is announced before the examples are ready, but a request waits for them: they are deployed first.
    with serving(
        [str(HOME / "bin" / "catalina.sh"), "run"],
        r'Starting ProtocolHandler \["http-nio-127\.0\.0\.1-auto-\d+-(\d+)"\]',
        environment,
        base,
    ) as port:
        address = f"http://127.0.0.1:{port}"
        yield LegacyApplication(
            name="tomcat10-examples",
            base=address,
            legacy=settings(address),
            user=user,
            password=password,
            protected=PROTECTED,
            greeting=f"<b>{user}</b>",
        )
