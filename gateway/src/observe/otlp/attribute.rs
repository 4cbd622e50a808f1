//! Attributes as OTLP has them.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
};

use crate::observe::trace::Value;

/// One attribute.
pub(super) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(any(value)), ..KeyValue::default() }
}

/// One of plain text.
pub(super) fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(key, value.into().into())
}

fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.into_owned()),
        Value::Number(number) => any_value::Value::IntValue(number),
        Value::Fraction(number) => any_value::Value::DoubleValue(number),
        Value::Truth(truth) => any_value::Value::BoolValue(truth),
        Value::Several(values) => {
            any_value::Value::ArrayValue(ArrayValue { values: values.into_iter().map(any).collect() })
        }
    };
    AnyValue { value: Some(value) }
}

/// Who sends: what the configuration says, the version of this binary, and what tells this process from others.
pub(crate) fn resource(configured: &[(String, String)], instance: &str) -> Resource {
    let ours = [("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", instance)];
    let given = |key: &str| configured.iter().any(|(name, _)| name == key);
    let own = ours.into_iter().filter(|(key, _)| !given(key)).map(|(key, value)| text(key, value));
    let attributes = configured.iter().map(|(key, value)| text(key.as_str(), value.as_str())).chain(own);
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

/// What has measured.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "par".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
