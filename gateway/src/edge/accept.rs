//! In which form a caller wants its result, by its `Accept` (RFC 9110 §12.5.1). Pure.

use http::{HeaderMap, header::ACCEPT};

/// A form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All at once.
    Whole,
    /// Item by item, as server-sent events.
    Events,
    /// Item by item, a line each.
    Lines,
}

/// The form that a caller likes best; of equals the one that it names first. Whoever does not ask for items gets all
/// at once.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let mut best = (0, Form::Whole);
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in texts.flat_map(|text| text.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(weight).unwrap_or(1000);
        let form = if kind.eq_ignore_ascii_case("text/event-stream") {
            Form::Events
        } else if kind.eq_ignore_ascii_case("application/x-ndjson")
            || kind.eq_ignore_ascii_case("application/jsonl")
        {
            Form::Lines
        } else {
            Form::Whole
        };
        if weight > best.0 {
            best = (weight, form);
        }
    }
    best.1
}

/// `q=0.5` in thousandths; what is no weight is none.
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let number: f32 = value.trim().parse().ok()?;
    (0.0..=1.0).contains(&number).then_some((number * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn items_come_one_by_one_only_to_those_who_prefer_them() {
        for (accept, wanted) in [
            ("text/event-stream", Form::Events),
            ("Text/Event-Stream; charset=utf-8", Form::Events),
            ("application/x-ndjson", Form::Lines),
            ("application/jsonl", Form::Lines),
            ("*/*", Form::Whole),
            ("", Form::Whole),
            ("application/json", Form::Whole),
            ("application/json, text/event-stream", Form::Whole),
            ("text/event-stream, application/json", Form::Events),
            ("application/json;q=0.5, text/event-stream", Form::Events),
            ("text/event-stream;q=0.2, application/x-ndjson;q=0.9, */*;q=0.1", Form::Lines),
            ("text/event-stream;q=0", Form::Whole),
            ("text/event-stream;q=nonsense", Form::Events),
            ("image/png", Form::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(form(&headers), wanted, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()), Form::Whole);
    }
}
