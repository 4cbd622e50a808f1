def chat(input, context):
    """`context.session` is None for a call that names no session; such a call remembers nothing."""
    if context.session is None:
        return {"said": [input["text"]]}
    said = context.session.state.setdefault("said", [])
    said.append(input["text"])
    return {"session": context.session.id, "said": said}
