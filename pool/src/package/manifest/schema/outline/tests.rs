//! Graphs of schemas: what is found in them, and which have no end.

use serde_json::json;

use super::*;

fn fault(document: &Value) -> String {
    read(document, Dialect::Twenty).unwrap_err().to_string()
}

#[test]
fn every_schema_is_found_with_what_it_applies() {
    let document = json!({
        "$ref": "#/$defs/a~1b",
        "properties": {"enum": {"items": {"$ref": "#"}}, "x": {"$ref": "#/components/schemas/Y"}},
        "enum": [{"properties": {"no": {}}}],
        "$defs": {"a/b": {"anyOf": [true, {"$dynamicRef": "#name"}]}, "z": {"$dynamicAnchor": "name"}},
        "components": {"schemas": {"Y": {"type": "string"}}},
    });
    let outline = read(&document, Dialect::Twenty).unwrap();
    let mut places: Vec<&str> = outline.nodes.iter().map(|node| node.place.as_str()).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "",
            "/$defs/a~1b",
            "/$defs/a~1b/anyOf/0",
            "/$defs/a~1b/anyOf/1",
            "/$defs/z",
            "/components/schemas/Y",
            "/properties/enum",
            "/properties/enum/items",
            "/properties/x",
        ]
    );
    let target = |place: &str| {
        let node = &outline.nodes[outline.find(place).unwrap()];
        outline.nodes[node.target.unwrap()].place.as_str()
    };
    assert_eq!(target(""), "/$defs/a~1b");
    assert_eq!(target("/$defs/a~1b/anyOf/1"), "/$defs/z");
    assert_eq!(target("/properties/enum/items"), "");
    assert_eq!(target("/properties/x"), "/components/schemas/Y");
}

#[test]
fn references_stay_in_the_document_and_lead_to_schemas() {
    for (reference, told) in [
        ("http://127.0.0.1:1/x", "leads out of this document"),
        ("https://json-schema.org/draft/2020-12/schema", "leads out of this document"),
        ("file:///etc/passwd", "leads out of this document"),
        ("other.json#/a", "leads out of this document"),
        ("", "leads out of this document"),
        ("#/$defs/none", "there is no \"/$defs/none\""),
        ("#none", "there is no \"none\""),
        ("#/const/a", "is data, not a schema"),
        ("#/title", "is no schema"),
    ] {
        let document = json!({"properties": {"a": {"$ref": reference}}, "const": {"a": {}}, "title": "t"});
        let fault = fault(&document);
        assert!(fault.contains(told) && fault.contains("/properties/a"), "{reference}: {fault}");
    }
    let nested = json!({"$defs": {"a": {"$id": "http://127.0.0.1/a", "$ref": "b"}}});
    assert!(fault(&nested).contains("only the whole schema may have an $id"));
}

#[test]
fn what_leads_back_to_itself_is_refused_unless_the_value_gets_smaller() {
    for endless in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"not": {"$ref": "#"}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"if": {"$ref": "#/$defs/a"}}}}),
        json!({"$defs": {"a": {"$dynamicRef": "#a", "$dynamicAnchor": "a"}}}),
        json!({"dependentSchemas": {"x": {"oneOf": [{"$ref": "#"}]}}}),
    ] {
        assert!(fault(&endless).contains("refers to itself without an end"), "{endless}");
    }
    for fine in [
        json!({"properties": {"a": {"$ref": "#"}}}),
        json!({"items": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}),
        json!({"additionalProperties": {"$ref": "#"}, "prefixItems": [{"$ref": "#"}]}),
    ] {
        assert!(read(&fine, Dialect::Twenty).is_ok(), "{fine}");
    }
    let hidden = json!({"$ref": "#/definitions/a", "allOf": [{"$ref": "#"}], "definitions": {"a": {}}});
    assert!(read(&hidden, Dialect::Seven).is_ok(), "draft 7 looks at nothing beside a $ref");
    assert!(fault(&hidden).contains("without an end"));
}

#[test]
fn what_doubles_at_each_step_is_refused() {
    let doubling = |levels: usize| {
        let definitions: Map<String, Value> = (0..levels)
            .map(|level| {
                let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
                (level.to_string(), json!({"allOf": [next, next]}))
            })
            .chain([(levels.to_string(), json!({"type": "integer"}))])
            .collect();
        json!({"$ref": "#/$defs/0", "$defs": definitions})
    };
    assert!(read(&doubling(10), Dialect::Twenty).is_ok());
    assert!(fault(&doubling(13)).contains("more than 10,000"));
    assert!(fault(&doubling(30)).contains("more than 10,000"));
    let chain = |levels: usize| {
        let definitions: Map<String, Value> = (0..levels)
            .map(|level| (level.to_string(), json!({"$ref": format!("#/$defs/{}", level + 1)})))
            .chain([(levels.to_string(), json!(true))])
            .collect();
        json!({"$ref": "#/$defs/0", "$defs": definitions})
    };
    assert!(read(&chain(60), Dialect::Twenty).is_ok());
    assert!(fault(&chain(70)).contains("more than 64"));
    assert!(fault(&chain(2000)).contains("more than 64"));
}
