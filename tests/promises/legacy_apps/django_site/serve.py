"""Make the database and one administrator, then serve as ``runserver`` does, on a port that the system picks."""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command

# Beside this file; Python does not look there where PYTHONSAFEPATH is set.
sys.path.insert(0, str(Path(__file__).parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402 - only after setup()
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

call_command("migrate", verbosity=0, interactive=False)
get_user_model().objects.create_superuser(os.environ["LEGACY_USER"], password=os.environ["LEGACY_PASSWORD"])
server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
server.daemon_threads = True
server.set_app(StaticFilesHandler(get_wsgi_application()))
print(f"serving on port {server.server_port}", flush=True)
server.serve_forever()
