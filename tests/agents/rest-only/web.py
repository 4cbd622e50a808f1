from contextlib import asynccontextmanager

from fastapi import FastAPI


def create_app():
    @asynccontextmanager
    async def lifespan(app):
        app.state.database = "open"
        yield
        print("the application was shut down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/api/ping")
    def ping():
        return {"pong": True, "database": app.state.database}

    return app
