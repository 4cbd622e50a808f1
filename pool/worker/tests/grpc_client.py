"""A gRPC client, run with the environment under test: `grpc_client.py SOCKET FOLDER`.

Enters: the name of an abstract socket, and the folder of the example package whose messages it speaks.
Leaves: one JSON object with what every kind of method has answered.
"""

from __future__ import annotations

import asyncio
import json
import sys

import grpc

ADDRESS, FOLDER = sys.argv[1:]
sys.path.insert(0, FOLDER)

import own_pb2  # noqa: E402
import own_pb2_grpc  # noqa: E402
from grpc_status import rpc_status  # noqa: E402

SIZE = 15 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def numbers(*values):
    for value in values:
        yield own_pb2.Number(number=value)


async def everything(stub):
    said = {"unary": (await stub.Say(own_pb2.Text(text="hi"))).text}
    said["count"] = [one.number async for one in stub.Count(own_pb2.Number(number=3))]
    said["sum"] = (await stub.Sum(numbers(1, 2, 3))).number
    chat = stub.Chat()
    said["chat"] = []
    for text in ("one", "two"):
        await chat.write(own_pb2.Text(text=text))
        said["chat"].append((await chat.read()).text)
    await chat.done_writing()
    try:
        await stub.Fail(own_pb2.Failure(code=9, message="not now", detail="because"))
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)
        detail = own_pb2.Text()
        status.details[0].Unpack(detail)
        said["failure"] = [error.code().name, error.details(), detail.text]
    call = stub.Ask(own_pb2.Nothing(), metadata=(("x-one", "1"), ("x-bin", b"\x00\xff")), timeout=20)
    answer = await call
    said["metadata"] = {one.name: list(one.value) for one in answer.metadata if one.name.startswith("x-")}
    said["deadline"] = 19 < answer.remaining < 21
    said["pid"] = answer.pid
    said["initial"] = (await call.initial_metadata())["x-initial"]
    trailing = await call.trailing_metadata()
    said["trailing"] = [trailing["x-trailing"], list(trailing["x-trailing-bin"])]
    hold = stub.Hold(own_pb2.Text(text="mine"))
    await hold.read()
    hold.cancel()
    while not (await stub.Left(own_pb2.Text(text="mine"))).number:
        await asyncio.sleep(0.01)
    said["cancelled"] = True
    said["large"] = len((await stub.Reflect(own_pb2.Data(data=b"x" * SIZE))).data) == SIZE
    return said


async def main():
    async with grpc.aio.insecure_channel(f"unix-abstract:{ADDRESS}", options=OPTIONS) as channel:
        said = await everything(own_pb2_grpc.OwnStub(channel))
    print(json.dumps(said))


asyncio.run(main())
