from lowerbound.data.kinds import Array


class OfDurations(Array):
    name = "durations"

    def matches(self, contents, overrides):
        return contents.container == "dur"

    def default_likelihood(self, schema):
        return "weibull"

    def describe(self, schema):
        return [f"Durations of {schema.event_shape[0]} parts."]


DURATIONS = OfDurations()
