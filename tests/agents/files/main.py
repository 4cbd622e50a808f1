"""Files of a form come as objects; a result can be a file, too.

curl -F doc=@notes.txt -F min=3 http://127.0.0.1:8000/agents/count/invoke
curl -F doc=@notes.txt -OJ http://127.0.0.1:8000/agents/shout/invoke
"""

from pixell_runtime import File


def count(doc, min=1):
    """Words of at least so many letters. Fields that are no files are text."""
    words = doc.read().decode().split()
    return {"name": doc.name, "words": sum(len(word) >= int(min) for word in words)}


async def shout(*, doc):
    """The same text, louder, while it is read."""

    async def louder():
        async for piece in doc:
            yield piece.upper()

    return File(chunks=louder(), content_type="text/plain", name=f"LOUD {doc.name}")
