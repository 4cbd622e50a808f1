"""What may come back."""

import dataclasses
import datetime
import decimal
import enum
import uuid


@dataclasses.dataclass
class Invoice:
    number: int
    due: datetime.date


class Colour(enum.Enum):
    RED = "red"


MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)


def null():
    return None


def a_dataclass():
    return Invoice(number=7, due=datetime.date(2026, 1, 2))


def an_enum():
    return Colour.RED


def a_datetime():
    return MOMENT


def a_date():
    return MOMENT.date()


def a_time():
    return datetime.time(3, 4, 5)


def a_uuid():
    return uuid.UUID("12345678-1234-5678-1234-567812345678")


def a_decimal():
    return decimal.Decimal("1.10")


def a_set():
    return {1}


def a_tuple():
    return (1, "two")


def nested():
    return {"deep": [{"set": {2}, "when": MOMENT, "price": decimal.Decimal("0.10")}]}


def some_bytes():
    return b"\x00\x01\xfe\xff"
