//! Settings of a test as a configuration file has them.

use serde_json::Value;

/// `a.b: 1` as `{"a": {"b": 1}}`, which is YAML too.
pub(crate) fn nested(settings: &[(String, Value)]) -> Value {
    let mut tree = Value::Object(serde_json::Map::new());
    for (key, value) in settings {
        key.split('.').fold(&mut tree, |node, part| &mut node[part]).clone_from(value);
    }
    tree
}
