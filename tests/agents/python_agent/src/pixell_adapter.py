# The runtime knows this class by its name and executes code itself: this module is never imported.
import python_agent_pb2


class PixellAdapter:
    def process_request(self, request):
        return python_agent_pb2.ExecuteRequest(**request)
