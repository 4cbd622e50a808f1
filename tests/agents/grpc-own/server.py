"""A gRPC server that is returned unstarted: the runtime gives it its address."""

import asyncio
import os
from collections import Counter

import grpc
import own_pb2
import own_pb2_grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status


class Own(own_pb2_grpc.OwnServicer):
    def __init__(self):
        self.left = Counter()

    async def Say(self, request, context):
        return own_pb2.Text(text=f"You said: {request.text}")

    async def Count(self, request, context):
        for number in range(request.number):
            yield own_pb2.Number(number=number)

    async def Sum(self, requests, context):
        total = 0
        async for request in requests:
            total += request.number
        return own_pb2.Number(number=total)

    async def Chat(self, requests, context):
        async for request in requests:
            yield own_pb2.Text(text=request.text.upper())

    async def Fail(self, request, context):
        detail = any_pb2.Any()
        detail.Pack(own_pb2.Text(text=request.detail))
        status = status_pb2.Status(code=request.code, message=request.message, details=[detail])
        await context.abort_with_status(rpc_status.to_status(status))

    async def Ask(self, request, context):
        await context.send_initial_metadata((("x-initial", "first"),))
        context.set_trailing_metadata((("x-trailing", "last"), ("x-trailing-bin", b"\x00\xff")))
        entries = [
            own_pb2.Entry(name=name, value=value if isinstance(value, bytes) else value.encode())
            for name, value in context.invocation_metadata()
        ]
        remaining = context.time_remaining()
        return own_pb2.Surroundings(
            metadata=entries, remaining=-1 if remaining is None else remaining, pid=os.getpid()
        )

    async def Hold(self, request, context):
        try:
            yield own_pb2.Text(text="held")
            await asyncio.Event().wait()
        finally:
            self.left[request.text] += 1

    async def Left(self, request, context):
        return own_pb2.Number(number=self.left[request.text])

    async def Reflect(self, request, context):
        return own_pb2.Data(data=request.data)


def create_server():
    size = 16 * 1024 * 1024
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
    )
    own_pb2_grpc.add_OwnServicer_to_server(Own(), server)
    return server
