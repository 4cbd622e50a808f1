import numpy
import pandas


def describe(*, values):
    series = pandas.Series(values, dtype="float64")
    return {
        "count": numpy.int64(series.count()),
        "mean": numpy.float64(series.mean()),
        "max": series.max(),
        "sorted": series.sort_values().to_numpy(),
    }


def ranks(*, values):
    return pandas.Series(values).rank().to_numpy()
