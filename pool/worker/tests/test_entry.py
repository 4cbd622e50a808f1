"""What a REST entry may be: decided by what comes back, not by the key in the manifest."""

from __future__ import annotations

import pytest
from conftest import named
from environments import environment
from primaries import PrimaryEnd

FASTAPI = "from fastapi import APIRouter, FastAPI\n"

ROUTE = "    @{0}.get('/x')\n    async def x():\n        return 'made by ' + {1!r}\n"

#: An application in the plainest form there is.
PLAIN = (
    "import json\n"
    "async def app(scope, receive, send):\n"
    "    said = json.dumps([scope['type'], scope['path'], scope.get('root_path', '')]).encode()\n"
    "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
    "    await send({'type': 'http.response.body', 'body': said})\n"
)

FORMS = {
    "a function that takes an app": ("def entry(app):\n" + ROUTE.format("app", "mount"), "mount"),
    "whatever its parameter is called": (
        "def entry(api: FastAPI):\n" + ROUTE.format("api", "mount"),
        "mount",
    ),
    "a router by name": ("def entry(router):\n" + ROUTE.format("router", "mount"), "mount"),
    "a keyword": ("def entry(*, app):\n" + ROUTE.format("app", "mount"), "mount"),
    "an app with a default": ("def entry(app=None):\n" + ROUTE.format("app", "mount"), "mount"),
    "an async function": ("async def entry(app):\n" + ROUTE.format("app", "mount"), "mount"),
    "a function that returns its app": (
        "def entry(app):\n" + ROUTE.format("app", "mount") + "    return app\n",
        "mount",
    ),
    "a function that includes a router": (
        "router = APIRouter()\n@router.get('/x')\ndef x():\n    return 'made by mount'\n"
        "def entry(app):\n    app.include_router(router)\n    app.state.ready = True\n",
        "mount",
    ),
    "a function that returns a router": (
        "def entry(app):\n    router = APIRouter()\n"
        + ROUTE.format("router", "mount")
        + "    return router\n",
        "mount",
    ),
    "a factory": (
        "def entry():\n    app = FastAPI()\n" + ROUTE.format("app", "application") + "    return app\n",
        "application",
    ),
    "a factory that wants a port": (
        "def entry(port):\n    app = FastAPI()\n" + ROUTE.format("app", "application") + "    return app\n",
        "application",
    ),
    "an async factory with options": (
        "async def entry(debug=False):\n    app = FastAPI()\n"
        + ROUTE.format("app", "application")
        + "    return app\n",
        "application",
    ),
    "a factory of a router": (
        "def entry():\n    router = APIRouter()\n" + ROUTE.format("router", "router") + "    return router\n",
        "router",
    ),
    "a router": (
        "entry = APIRouter()\n@entry.get('/x')\ndef x():\n    return 'made by router'\n",
        "router",
    ),
    "an application": (
        "entry = FastAPI()\n@entry.get('/x')\ndef x():\n    return 'made by application'\n",
        "application",
    ),
    "an application that believes in a prefix": (
        "entry = FastAPI(root_path='/elsewhere')\n"
        "@entry.get('/x')\ndef x():\n    return 'made by application'\n",
        "application",
    ),
    "an object with build": (
        "class Builder:\n    def build(self):\n        app = FastAPI()\n"
        "        @app.get('/x')\n        def x():\n            return 'made by application'\n"
        "        return app\nentry = Builder()\n",
        "application",
    ),
    "an object around its application": (
        "class Server:\n    def __init__(self):\n        self.app = FastAPI()\n"
        "entry = Server()\n@entry.app.get('/x')\ndef x():\n    return 'made by application'\n",
        "application",
    ),
    "a class with build": (
        "class entry:\n    def build(self):\n        app = FastAPI()\n"
        "        @app.get('/x')\n        def x():\n            return 'made by application'\n"
        "        return app\n",
        "application",
    ),
}


#: The forms in which frameworks of different ages do different things.
OLD_FORMS = [
    "a function that takes an app",
    "a factory of a router",
    "an application that believes in a prefix",
]


@pytest.mark.parametrize(
    ("form", "packages"), [*((form, "new") for form in FORMS), *((form, "old") for form in OLD_FORMS)]
)
def test_every_form_becomes_an_application(primary, form, packages):
    source, kind = FORMS[form]
    started = primary(FASTAPI + source, rest="main:entry", packages=packages)
    assert started.surfaces()["rest"] == {"kind": kind}
    assert started.get("/x") == started.get("/x", x_forwarded_prefix="/agents/a") == f"made by {kind}"


@pytest.mark.parametrize("application", [True, False])
def test_an_application_needs_no_framework(primary, application):
    started = primary(PLAIN, rest="main:app", application=application)
    assert started.surfaces()["rest"] == {"kind": "application"}
    # As the ASGI specification says: the path begins with the root path.
    assert started.get("/a%20b", x_forwarded_prefix="/p%40q") == ["http", "/p@q/a b", "/p@q"]


def test_the_manifest_decides_where_a_signature_says_nothing(primary):
    wrapped = PLAIN + "inner = app\nasync def app(*arguments):\n    await inner(*arguments)\n"
    started = primary(wrapped, rest="main:app", application=True)
    assert started.surfaces()["rest"] == {"kind": "application"}


def test_a_middleware_around_the_app_is_kept(primary):
    source = (
        "def entry(app):\n    @app.get('/x')\n    def x():\n        return 1\n"
        "    async def around(scope, receive, send):\n"
        "        async def marked(message):\n"
        "            if message['type'] == 'http.response.start':\n"
        "                message['headers'] = [*message['headers'], (b'x-around', b'1')]\n"
        "            await send(message)\n"
        "        await app(scope, receive, marked)\n"
        "    return around\n"
    )
    started = primary(source, rest="main:entry")
    started.surfaces()
    assert started.http("GET", "/x").headers["x-around"] == "1"


def test_an_application_of_the_a2a_entry_is_served_where_there_is_no_other(primary):
    started = primary(PLAIN, a2a="main:app")
    said = started.surfaces()
    assert said["rest"] == {"kind": "application"} and said["a2a"]["actions"] == []
    assert started.get("/y")[1] == "/y"


def test_a_rest_entry_comes_before_the_application_of_the_a2a_entry(primary):
    started = primary(
        PLAIN + "def mount(rest):\n    @rest.get('/own')\n    def own():\n        return 'own'\n",
        rest="main:mount",
        a2a="main:app",
    )
    assert started.surfaces()["rest"] == {"kind": "mount"}
    assert started.get("/own") == "own" and started.http("GET", "/y").status == 404


def test_packages_that_do_not_bring_a_server_get_one(primary):
    kit = environment("new").site
    started = primary(agent="rest-only", rest="web:create_app", packages="bare")
    assert "needs uvicorn" in started.failed()["message"]
    started = primary(agent="rest-only", rest="web:create_app", packages="bare", kits=[kit])
    started.surfaces()
    assert started.get("/api/ping") == {"pong": True, "database": "open"}


@pytest.mark.parametrize(
    ("source", "phase", "type_", "word"),
    [
        ("raise OSError('no model')\n", "import", "OSError", "no model"),
        ("x = 1\n", "handler", "AttributeError", "entry"),
    ],
)
@pytest.mark.parametrize("preload", [True, False])
def test_what_cannot_be_imported_says_so(gateway, source, phase, type_, word, preload):
    running = gateway(source, surfaces={"rest": named("main:entry"), "a2a": None}, preload=preload)
    if preload:
        failed = running.expect("failed")["failed"]
    else:
        running.ready()
        failed = PrimaryEnd(running).failed()
    assert (failed["phase"], failed["export"], failed["type"]) == (phase, "rest", type_)
    assert word in failed["message"]


@pytest.mark.parametrize(
    ("source", "type_", "word"),
    [
        ("def entry(app):\n    raise ValueError('no database')\n", "ValueError", "no database"),
        (
            "def entry():\n    print('hi')\n",
            "TypeError",
            "main:entry() is None: expected an ASGI application",
        ),
        ("entry = 5\n", "TypeError", "main:entry is a int"),
        ("def entry():\n    return entry\n", "TypeError", "expected an ASGI application"),
        ("def entry(app):\n    app.no_such_thing()\n", "AttributeError", "no_such_thing"),
        ("import sys\ndef entry(app):\n    sys.exit('go away')\n", "SystemExit", "go away"),
        (
            "from fastapi import FastAPI\nasync def up():\n    raise OSError('no pool')\n"
            "from contextlib import asynccontextmanager\n@asynccontextmanager\n"
            "async def live(app):\n    await up()\n    yield\nentry = FastAPI(lifespan=live)\n",
            "OSError",
            "no pool",
        ),
        (
            "async def entry(scope, receive, send):\n    await receive()\n"
            "    await send({'type': 'lifespan.startup.failed', 'message': 'not today'})\n",
            "pixell_runtime.surfaces.lifespan.StartupFailed",
            "not today",
        ),
    ],
)
def test_an_entry_that_cannot_be_served_says_so(primary, source, type_, word):
    started = primary(source, rest="main:entry")
    failed = started.failed()
    assert (failed["phase"], failed["export"], failed["type"]) == ("surface", "rest", type_), failed
    assert word in failed["message"] and "entry.py" not in failed["traceback"]
    assert started.status() == 1


def test_a_mount_without_fastapi_says_what_is_missing(primary):
    failed = primary("def entry(app):\n    pass\n", rest="main:entry", packages=None).failed()
    assert failed["type"] == "ImportError" and "needs FastAPI" in failed["message"]
