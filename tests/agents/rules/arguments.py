"""How a body becomes arguments. Each handler says what it was called with."""


def one(input):
    """One positional parameter: the whole input, whatever it is."""
    return {"input": input}


def keywords(first, second=2):
    """Several parameters: keywords."""
    return {"first": first, "second": second}


def keyword_only(*, name):
    """A keyword-only parameter: keywords too."""
    return {"name": name}


def var_keywords(**everything):
    """Open keywords."""
    return {"everything": everything}


def nothing():
    """No parameter: called without arguments."""
    return "called"


def with_context(input, context):
    """A parameter named `context` beside others gets the context."""
    return {
        "input": input,
        "agent_id": context.agent_id,
        "version": context.version,
        "request_id": context.request_id,
        "session": context.session is not None and context.session.id,
        "deadline": context.deadline is not None,
        "traceparent": context.traceparent,
    }


def only_context(context):
    """Alone, `context` is just a name for the input, as in the template of `pixell init`."""
    return {"received": context}
