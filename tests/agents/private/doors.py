def open_door(input):
    return "open"


def secret(input):
    return "secret"


def guarded(input):
    return "guarded"
