//! What schemas promise: every fault of an input with its place, and an end to everything.

use serde_json::json;

use super::*;

fn schema(source: Value) -> Schema {
    Schema::compile(source, &mut PatternRoom::default()).unwrap()
}

/// `path schema_path message` of every misfit.
fn told(schema: &Schema, text: &str) -> Vec<String> {
    let mut told: Vec<String> = match schema.check(text, Patience::Long) {
        Ok(()) => return Vec::new(),
        Err(Unfit::Misfits(misfits)) => {
            misfits.into_iter().map(|m| format!("{} {} {}", m.path, m.schema_path, m.message)).collect()
        }
        Err(other) => panic!("{other}"),
    };
    told.sort_unstable();
    told
}

#[test]
fn every_fault_is_told_with_both_places() {
    let schema = schema(json!({
        "type": "object",
        "required": ["name", "age"],
        "properties": {
            "age": true,
            "name": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
            "a/b~c": {"type": "integer"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/item"}, "maxItems": 2},
            "kind": {"enum": ["x", "y"]},
            "when": {"format": "date"},
        },
        "additionalProperties": false,
        "$defs": {"item": {"type": "object", "properties": {"n": {"minimum": 3}}, "required": ["n"]}},
    }));
    assert_eq!(told(&schema, r#"{"name": "Al", "age": 1, "list": [{"n": 3}]}"#), [""; 0]);
    let wrong =
        r#"{"name": "x", "a/b~c": "one", "list": [{"n": 1}, {}, 5], "kind": "z", "when": "soon", "more": 1}"#;
    assert_eq!(
        told(&schema, wrong),
        [
            " /additionalProperties Additional properties are not allowed ('more' was unexpected)",
            " /required \"age\" is a required property",
            "/a~1b~0c /properties/a~1b~0c/type the value is not of type \"integer\"",
            "/kind /properties/kind/enum the value is not one of \"x\" or \"y\"",
            "/list /properties/list/maxItems the value has more than 2 items",
            "/list/0/n /$defs/item/properties/n/minimum the value is less than the minimum of 3",
            "/list/1 /$defs/item/required \"n\" is a required property",
            "/list/2 /$defs/item/type the value is not of type \"object\"",
            "/name /properties/name/minLength the value is shorter than 2 characters",
            "/name /properties/name/pattern the value does not match \"^[A-Z]\"",
            "/when /properties/when/format the value is not a \"date\"",
        ]
    );
}

#[test]
fn branches_are_told_as_one_fault() {
    let schema = schema(json!({
        "oneOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}],
        "properties": {"c": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}},
        "$defs": {"n": {"type": "integer"}},
    }));
    assert!(told(&schema, r#"{"a": "x", "c": 1}"#).is_empty());
    assert_eq!(
        told(&schema, r#"{"a": 1, "c": "x"}"#),
        [
            " /oneOf the value fits not as the schemas of 'oneOf' ask for",
            "/c /properties/c/anyOf the value fits not as the schemas of 'anyOf' ask for",
        ]
    );
    assert_eq!(told(&schema, r#"{"a": "x", "b": 1}"#).len(), 1);
}

#[test]
fn what_is_told_repeats_no_value_and_has_an_end() {
    let schema = schema(json!({
        "items": {"type": "string", "const": "right"},
        "additionalProperties": false,
        "propertyNames": {"pattern": "^[a-z]$"},
    }));
    let misfits = told(&schema, &format!("[{}0]", "12345678,".repeat(500)));
    assert_eq!(misfits.len(), MAX_MISFITS);
    let secret = "s3cr3t-value";
    for text in [
        format!("[{:?}]", secret.repeat(50_000)),
        format!("{{\"a\": {secret:?}}}"),
        format!("[{{\"x\": {secret:?}}}]"),
    ] {
        for misfit in told(&schema, &text) {
            assert!(!misfit.contains(secret) && misfit.len() < 600, "{misfit}");
        }
    }
    let names: Vec<String> = (0..2000).map(|n| format!("\"name{n}\": 1")).collect();
    let names = format!("{{{}}}", names.join(","));
    for misfit in told(&schema, &names) {
        assert!(misfit.len() < 600, "{}", misfit.len());
    }
    let deep = format!("{{\"{}\": 1}}", "k".repeat(100_000));
    assert!(told(&schema, &deep).iter().all(|misfit| misfit.len() < 2000));
}

#[test]
fn what_is_no_schema_is_refused_with_the_place() {
    for (source, place, words) in [
        (json!({"properties": {"a": {"type": "strin"}}}), "/properties/a/type", "\"strin\""),
        (json!({"required": "a"}), "/required", "array"),
        (json!({"items": [{"type": "string"}]}), "/items", "types"),
        (json!({"properties": {"a": {"pattern": "(?!x)y"}}}), "/properties/a/pattern", "look-around"),
        (json!({"pattern": "(a)\\1"}), "/pattern", "back-references"),
        (json!({"patternProperties": {"[": {}}}), "/patternProperties", "no regular expression"),
        (json!({"pattern": "(a{1000}){1000}"}), "/pattern", "too large"),
        (json!({"pattern": "^\\p{L}{1,60}$"}), "/pattern", "maxLength"),
        (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "/$schema", "not offered"),
        (json!({"$schema": "http://127.0.0.1/mine"}), "/$schema", "not offered"),
        (json!({"items": {"$ref": "http://127.0.0.1/x"}}), "/items/$ref", "leads out"),
        (json!({"title": "t".repeat(70_000)}), "", "at most 65536"),
        (json!(["type"]), "", "types"),
    ] {
        let fault = Schema::compile(source.clone(), &mut PatternRoom::default()).unwrap_err();
        assert_eq!(fault.place, place, "{fault}");
        assert!(fault.reason.contains(words), "{fault}");
    }
}

#[test]
fn the_patterns_of_a_package_have_one_room() {
    let mut room = PatternRoom::default();
    let large = |n: u32| json!({"pattern": format!("^[a-z]{{1,{}}}$", 3000 + n)});
    let taken = (0..100).take_while(|n| Schema::compile(large(*n), &mut room).is_ok()).count();
    assert!((10..=20).contains(&taken), "{taken}");
    let fault = Schema::compile(large(99), &mut room).unwrap_err().to_string();
    assert!(fault.contains("together the patterns of the package are too large"), "{fault}");
    assert!(Schema::compile(json!({"pattern": "^a", "minLength": 1}), &mut PatternRoom::default()).is_ok());
}

#[test]
fn common_formats_are_asserted_and_others_are_not() {
    for (format, right, wrong) in [
        ("date", "2024-02-29", "2023-02-29"),
        ("time", "10:00:00Z", "10:00"),
        ("date-time", "2024-01-01T10:00:00Z", "2024-01-01 10:00"),
        ("duration", "P1DT2H", "1 day"),
        ("email", "a@b.example", "a.example"),
        ("hostname", "a.example", "-a.example"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "::1", "::g"),
        ("uri", "https://a.example/x", "a b"),
        ("uri-reference", "../x", "a b"),
        ("uuid", "00000000-0000-4000-8000-000000000000", "0000"),
        ("json-pointer", "/a/~0", "a"),
    ] {
        let schema = schema(json!({ "format": format }));
        assert!(told(&schema, &json!(right).to_string()).is_empty(), "{format}: {right}");
        assert_eq!(told(&schema, &json!(wrong).to_string()).len(), 1, "{format}: {wrong}");
    }
    for format in ["regex", "iri", "idn-email", "uri-template", "relative-json-pointer", "unheard-of"] {
        assert!(told(&schema(json!({ "format": format })), "\"((( \"").is_empty(), "{format}");
    }
}

#[test]
fn older_drafts_are_taken_by_their_own_rules() {
    let seven = schema(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/seven",
        "$ref": "#/definitions/pair",
        "minItems": 9,
        "definitions": {"pair": {"items": [{"type": "integer"}, {"type": "string"}], "additionalItems": false}},
    }));
    assert!(told(&seven, "[1, \"a\"]").is_empty(), "nothing beside a $ref counts");
    assert_eq!(
        told(&seven, "[\"a\", 1, 2]"),
        [
            " /definitions/pair/additionalItems Additional items are not allowed (1 item)",
            "/0 /definitions/pair/items/0/type the value is not of type \"integer\"",
            "/1 /definitions/pair/items/1/type the value is not of type \"string\"",
        ]
    );
    let nineteen = schema(json!({
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "properties": {"next": {"$recursiveRef": "#"}},
        "unevaluatedProperties": false,
    }));
    assert!(told(&nineteen, r#"{"next": {"next": {}}}"#).is_empty());
    assert_eq!(told(&nineteen, r#"{"next": {"next": {"x": 1}}}"#).len(), 1);
}

/// Both editions are written anew, so they could mean something else than the source.
#[test]
fn the_editions_say_what_the_source_says() {
    let schemas = [
        json!(true),
        json!(false),
        json!({"$ref": "#/$defs/b", "$defs": {"b": false}}),
        json!({"type": ["object", "array"], "properties": {"a": {"$ref": "#"}, "b": true}, "items": {"$ref": "#"}}),
        json!({"anyOf": [{"required": ["a"]}, {"items": {"type": "integer"}, "type": "array"}], "not": {"const": [2]}}),
        json!({"oneOf": [{"minProperties": 1}, {"required": ["a"]}, {"type": "array"}]}),
        json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"maxItems": 1}}),
        json!({"properties": {"a": {"anyOf": [{"type": "integer"}, {"$ref": "#/properties/b"}]}, "b": {"type": "null"}}}),
        json!({"anyOf": [{"properties": {"a": true}, "required": ["a"]}, {"properties": {"b": true}}], "unevaluatedProperties": false}),
        json!({"allOf": [{"prefixItems": [true]}], "unevaluatedItems": {"type": "string"}, "uniqueItems": true}),
        json!({"dependentSchemas": {"a": {"properties": {"b": {"uniqueItems": true}}}}, "patternProperties": {"^b": {"type": "array"}}}),
        json!({"propertyNames": {"enum": ["a", "b"]}, "contains": {"enum": [1, [1], {"a": 1}]}, "maxContains": 1}),
        json!({"$ref": "#/$defs/x%20y~1z", "$defs": {"x y/z": {"items": {"$anchor": "one", "type": "integer"}, "contains": {"$ref": "#one"}}}}),
        json!({"items": {"x-par-price": [0, 0, 0, false], "type": "integer", "anyOf": [{"minimum": 2}]}}),
        json!({"definitions": {"n": {"oneOf": [{"$ref": "#/definitions/n/oneOf/1/items"}, {"type": "array", "items": {"type": "integer"}}]}}, "additionalProperties": {"$ref": "#/definitions/n"}}),
    ];
    let instances: Vec<Value> = [
        "null",
        "1",
        "2.0",
        "\"a\"",
        "[]",
        "[1]",
        "[2]",
        "[1, 1]",
        "[1, \"a\", \"b\"]",
        "[[1], [1.0]]",
        "{}",
        "{\"a\": 1}",
        "{\"b\": null}",
        "{\"a\": null, \"b\": [1, 1]}",
        "{\"a\": {\"a\": {}}, \"b\": []}",
        "{\"c\": [1]}",
        "{\"a\": [[{}]], \"c\": \"x\"}",
    ]
    .iter()
    .map(|text| serde_json::from_str(text).unwrap())
    .collect();
    let mut fitted = 0;
    for source in schemas {
        let plain = jsonschema::options().should_validate_formats(true).build(&source).unwrap();
        let ours = schema(source.clone());
        for instance in &instances {
            let fits = plain.is_valid(instance);
            fitted += u32::from(fits);
            assert_eq!(told(&ours, &instance.to_string()).is_empty(), fits, "{source} {instance}");
            let explained = ours.compiled.explaining.validator.is_valid(instance);
            assert_eq!(explained, fits, "{source} {instance}");
        }
    }
    assert!((50..200).contains(&fitted), "{fitted}");
}
