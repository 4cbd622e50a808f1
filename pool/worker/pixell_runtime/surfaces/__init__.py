"""The REST and A2A surfaces of a package, served by one process of its own, the primary.

Nothing of a third party is imported when these modules are: uvicorn, FastAPI, grpc and protobuf come from the
package's environment, in whatever version it has, and only where they are needed.
"""
