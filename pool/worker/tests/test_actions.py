"""The actions of a package's service, in every form in which one is returned, as calls on the main socket."""

from __future__ import annotations

import subprocess

import pytest
from environments import environment

from pixell_runtime.frames import Kind

ECHO = "async def echo(parameters):\n    return parameters\n"
AS_DICT = ECHO + "def service():\n    return {'custom_handlers': {'echo': echo}}\n"

AGENT_PROTO = """
syntax = "proto3";
package pixell.agent;
message Empty {}
message HealthStatus { bool ok = 1; }
message ActionRequest { string action = 1; map<string, string> parameters = 2; string request_id = 3; }
message ActionResult { bool success = 1; string result = 2; string error = 3; }
service AgentService {
  rpc Health(Empty) returns (HealthStatus);
  rpc Invoke(ActionRequest) returns (ActionResult);
}
"""


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """Code as a package carries it, made by the real compiler."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "agent.proto").write_text(AGENT_PROTO)
    flags = ["-I.", "--python_out=.", "--grpc_python_out=.", "agent.proto"]
    command = [environment("new").python, "-m", "grpc_tools.protoc", *flags]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def example(primary):
    """The service of the example package, without any third-party package."""
    started = primary(agent="surfaces", a2a="actions:create_service", packages=None)
    names = started.surfaces()["a2a"]["actions"]
    return started, {name: number for number, name in enumerate(names)}


def test_ready_names_the_actions_and_no_socket(primary):
    started = primary(agent="surfaces", a2a="actions:create_service", packages=None)
    assert started.surfaces() == {
        "rest": None,
        "a2a": {
            "actions": ["echo", "text", "fail", "slow", "cancelled", "plain"],
            "services": [],
            "socket": None,
            "descriptors": [],
        },
    }


def test_an_action_gets_its_parameters_and_answers(example):
    started, numbers = example
    assert started.act(numbers["echo"], {"a": [1, None]}) == {"a": [1, None]}
    assert started.act(numbers["text"], {"name": "you"}) == "Hello, you"


def test_a_plain_function_answers_too(example):
    started, numbers = example
    assert started.act(numbers["plain"], {"b": 1}) == {"plain": True, "seen": ["b"]}


def test_a_handler_that_raises_fails_its_own_call(example):
    started, numbers = example
    started.call({"message": "on purpose"}, export=numbers["fail"])
    error = started.error()
    assert (error["kind"], error["type"], error["message"]) == ("agent", "ValueError", "on purpose")
    assert started.act(numbers["echo"], {}) == {}


def test_actions_run_side_by_side(example):
    started, numbers = example
    slow = started.call({"seconds": 30}, export=numbers["slow"])
    assert started.act(numbers["echo"], {"first": True}) == {"first": True}
    started.aside(Kind.CANCEL, slow)
    assert started.frame()[0] == Kind.CANCELLED
    assert started.act(numbers["cancelled"], {}) == [""]


def test_a_deadline_ends_an_action(example):
    started, numbers = example
    started.call({"seconds": 30, "name": "late"}, export=numbers["slow"], deadline=50)
    assert started.error()["kind"] == "deadline"
    assert started.act(numbers["cancelled"], {}) == ["late"]


def test_plain_functions_do_not_stop_each_other(primary):
    source = (
        "import threading\ngate = threading.Barrier(2)\n"
        "def meet(parameters):\n    return gate.wait(10)\n"
        "def service():\n    return {'handlers': {'meet': meet}}\n"
    )
    started = primary(source, a2a="main:service", packages=None)
    started.surfaces()
    started.calls([{}, {}])
    assert sorted(int(frame[6]) for frame in started.take(2).values()) == [0, 1]


def test_stop_lets_an_action_end(example):
    started, numbers = example
    started.call({"seconds": 0.3}, export=numbers["slow"])
    started.aside(Kind.STOP)
    assert started.result() == {"slept": True}
    assert started.status() == 0


def test_what_json_cannot_express_becomes_text(primary):
    source = (
        "class Odd:\n    def __str__(self):\n        return 'odd'\n"
        "results = [Odd(), {'deep': Odd()}, b'bytes', float('nan'), None, 1, 'text', {'a': {1, 2}}]\n"
        "async def give(parameters):\n    return results[parameters['which']]\n"
        "def plainly(parameters):\n    return results[parameters['which']]\n"
        "def service():\n    return {'custom_handlers': {'give': give, 'plainly': plainly}}\n"
    )
    started = primary(source, a2a="main:service", packages=None)
    started.surfaces()
    for action in (0, 1):
        said = [started.act(action, {"which": which}) for which in range(8)]
        assert said[0] == "odd" and said[1].startswith("{'deep': <main.Odd object")
        assert said[2:] == ["bytes", "nan", None, 1, "text", {"a": [1, 2]}]


@pytest.mark.parametrize(
    "service",
    [
        "def service():\n    return {'custom_handlers': {'echo': echo}}\n",
        "def service():\n    return {'handlers': {'echo': echo}}\n",
        "def service():\n    return {'echo': echo}\n",
        "class Service:\n    custom_handlers = {'echo': echo}\nservice = Service\n",
        "class Service:\n    custom_handlers = {'echo': echo}\nservice = Service()\n",
        "class Service:\n    custom_handlers = {'echo': echo}\n"
        "def service(port):\n    return [Service(), None]\n",
        "async def service():\n    return {'custom_handlers': {'echo': echo}}\n",
        "service = {'custom_handlers': {'echo': echo}}\n",
        "import asyncio\nasync def make():\n    return {'echo': echo}\n"
        "def service():\n    return asyncio.run(make())\n",
    ],
)
def test_handlers_are_found_in_every_form(primary, service):
    started = primary(ECHO + service, a2a="main:service", packages=None)
    assert started.surfaces()["a2a"]["actions"] == ["echo"]
    assert started.act(0, {"x": 1}) == {"x": 1}


def test_nothing_is_a_service_without_actions(primary):
    source = "def service():\n    print('serving')\n"
    a2a = primary(source, a2a="main:service", packages=None).surfaces()["a2a"]
    assert a2a == {"actions": [], "services": [], "socket": None, "descriptors": []}


@pytest.mark.parametrize(
    "form",
    [
        "import threading\ndef service():\n    threading.Event().wait()\n",
        "import asyncio\nasync def service():\n    await asyncio.Event().wait()\n",
        "import asyncio\ndef service():\n    asyncio.get_event_loop().run_forever()\n",
    ],
)
def test_a_function_that_never_returns_does_not_hold_up_the_start(primary, form):
    rest = (
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 204, 'headers': []})\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    started = primary(form + rest, a2a="main:service", rest="main:app")
    said = started.surfaces()
    assert said["a2a"]["actions"] == [] and said["rest"]["kind"] == "application"
    assert "within 5 s" in started.wait_for_errors("within 5 s")
    assert started.http("GET", "/").status == 204


def test_what_is_no_service_is_said_and_left_out(primary):
    started = primary("def service():\n    return 5\n", a2a="main:service", packages=None)
    assert started.surfaces()["a2a"]["actions"] == []
    assert "returned a int, which is no service" in started.wait_for_errors("no service")


@pytest.mark.parametrize(
    ("service", "type_", "word"),
    [
        ("def service():\n    raise OSError('no licence')\n", "OSError", "no licence"),
        ("import sys\ndef service():\n    sys.exit(2)\n", "SystemExit", "2"),
        ("def service():\n    return {'custom_handlers': {'a': 5}}\n", "TypeError", "action 'a'"),
        ("def service():\n    return {'custom_handlers': 5}\n", "TypeError", "dictionary"),
        ("def service(one, two):\n    return None\n", "TypeError", "two"),
        ("async def service():\n    raise KeyError('gone')\n", "KeyError", "gone"),
        ("def service():\n    raise PermissionError(13, 'no', '/key')\n", "PermissionError", "'/key'"),
    ],
)
def test_a_service_that_fails_says_so(primary, service, type_, word):
    started = primary(service, a2a="main:service", packages=None)
    failed = started.failed()
    assert (failed["phase"], failed["export"], failed["type"]) == ("surface", "a2a", type_)
    assert word in failed["message"] and "service.py" not in failed["traceback"]
    assert started.status() == 1


@pytest.mark.parametrize(
    "service",
    [
        "def service():\n    return Agent()\n",
        "def service():\n    made = grpc.aio.server()\n"
        "    agent_pb2_grpc.add_AgentServiceServicer_to_server(Agent(), made)\n    return made\n",
    ],
)
def test_a_servicer_takes_every_action(primary, generated, service):
    source = (
        "import agent_pb2, agent_pb2_grpc, grpc\n"
        "class Agent(agent_pb2_grpc.AgentServiceServicer):\n"
        "    async def Invoke(self, request, context):\n"
        "        if request.action == 'abort':\n"
        "            await context.abort(grpc.StatusCode.NOT_FOUND, 'no such thing')\n"
        "        if request.action == 'raise':\n            raise ValueError('broken')\n"
        "        said = f'{request.action} {dict(sorted(request.parameters.items()))} {request.request_id}'\n"
        "        return agent_pb2.ActionResult(success=request.action != 'fail', result=said, error='')\n"
    )
    started = primary(source + service, a2a="main:service", path=[str(generated)])
    said = started.surfaces()["a2a"]
    assert said["actions"] == ["*"] and said["services"] == []
    asked = {"action": "do", "parameters": {"a": "x", "b": [1]}, "request_id": "r1"}
    assert started.act(0, asked) == {"success": True, "result": "do {'a': 'x', 'b': '[1]'} r1", "error": ""}
    assert started.act(0, {"action": "fail"})["success"] is False
    assert started.act(0, {"action": "abort"}) == {"success": False, "result": "", "error": "no such thing"}
    started.call({"action": "raise"})
    assert started.error()["message"] == "broken"


def test_an_object_with_the_same_methods_does_too(primary):
    source = (
        "class Agent:\n    def Health(self, request, context):\n        return None\n"
        "    def Invoke(self, request, context):\n"
        "        if request.action == 'set':\n            context.set_code(5)\n            return None\n"
        "        return {'success': True, 'result': request.parameters['a']}\n"
        "def service():\n    return Agent()\n"
    )
    started = primary(source, a2a="main:service", packages=None)
    assert started.surfaces()["a2a"]["actions"] == ["*"]
    assert started.act(0, {"action": "x", "parameters": {"a": 1}}) == {
        "success": True,
        "result": 1,
        "error": "",
    }
    assert started.act(0, {"action": "set"}) == {"success": False, "result": "", "error": "5"}


def test_a_call_knows_its_package(primary):
    source = (
        "from pixell_runtime.context import current\n"
        "async def who(parameters):\n    return [current().agent_id, current().request_id]\n"
        "def service():\n    return {'custom_handlers': {'who': who}}\n"
    )
    started = primary(source, a2a="main:service", packages=None)
    started.surfaces()
    started.call({}, meta={"request_id": "r7"})
    assert started.result() == ["test@1.0.0", "r7"]
