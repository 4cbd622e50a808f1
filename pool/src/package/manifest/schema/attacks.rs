//! Schemas and inputs that mean harm, each some megabytes at most: all end, and the test says after what time.

use std::time::{Duration, Instant};

use serde_json::{Map, json};

use super::*;

/// Longest check that is let pass. The figures are tens of milliseconds, a second for a pattern at its worst.
const END: Duration = Duration::from_secs(20);

/// Checks a text where [`Patience::Long`] is at home; the misfits, and whether the edge would have given up.
fn attack(what: &str, source: Value, text: String) -> (Vec<Misfit>, bool) {
    let begin = Instant::now();
    let schema = Schema::compile(source, &mut PatternRoom::default()).unwrap();
    let compiled = begin.elapsed();
    let what = what.to_owned();
    let work = move || {
        let begin = Instant::now();
        let gives_up = matches!(schema.check(&text, Patience::Brief), Err(Unfit::TooMuchWork));
        let brief = begin.elapsed();
        let begin = Instant::now();
        let misfits = match schema.check(&text, Patience::Long) {
            Ok(()) => Vec::new(),
            Err(Unfit::Misfits(misfits)) => misfits,
            Err(other) => panic!("{what}: {other}"),
        };
        let long = begin.elapsed();
        println!(
            "{what}: compiled {compiled:.1?}, brief {brief:.1?}, gave up {gives_up}, long {long:.1?}, {} bytes, {} misfits",
            text.len(),
            misfits.len(),
        );
        assert!(compiled < END && long < END, "{what}");
        (misfits, gives_up)
    };
    std::thread::Builder::new().stack_size(Patience::STACK).spawn(work).unwrap().join().unwrap()
}

fn numbers(count: usize) -> String {
    format!("[{}1]", "1,".repeat(count))
}

fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn patterns_are_matched_in_linear_time() {
    let (misfits, _) =
        attack("nested plus", json!({"pattern": "(a+)+$"}), format!("\"{}!\"", "a".repeat(1 << 20)));
    assert_eq!(misfits.first().map(|misfit| misfit.schema_path.as_str()), Some("/pattern"));
    let mut seed = 1_u64;
    let letters: String = (0..1 << 20)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if seed >> 63 == 0 { 'a' } else { 'b' }
        })
        .collect();
    for states in [10, 20, 50, 200, 2000] {
        let pattern = json!({"pattern": format!("^(a|b)*a(a|b){{{states}}}$")});
        attack(&format!("a pattern of {states} states"), pattern, format!("{letters:?}"));
    }
    let many: Vec<Value> = (0..50).map(|n| json!({"pattern": format!("^(a|b)*a(a|b){{{n}}}c$")})).collect();
    attack("50 patterns", json!({"anyOf": many}), format!("{letters:?}"));
}

#[test]
fn what_doubles_with_the_depth_of_the_input_ends() {
    let twice = |role: &str| {
        let list = json!({"type": "array", "items": {"$ref": "#"}});
        json!({role: [list, list]})
    };
    for role in ["anyOf", "allOf", "oneOf"] {
        let (misfits, _) = attack(&format!("doubling {role}"), twice(role), nested(120));
        assert!(!misfits.is_empty(), "{role}");
    }
    let mut seen = twice("anyOf");
    seen["unevaluatedItems"] = json!(false);
    assert!(!attack("doubling anyOf that is seen", seen, nested(120)).0.is_empty());
    let step = |n: u32| {
        let next = json!({"x": {"$ref": format!("#/$defs/{}", n + 1)}});
        (n.to_string(), json!({"properties": next, "patternProperties": next}))
    };
    let steps: Map<String, Value> =
        (0..100).map(step).chain([("100".to_owned(), json!({"type": "integer"}))]).collect();
    let right = format!("{}1{}", "{\"x\":".repeat(100), "}".repeat(100));
    let chain = json!({"$ref": "#/$defs/0", "$defs": steps});
    let (misfits, gives_up) = attack("doubling properties", chain.clone(), right.clone());
    assert!(gives_up && misfits.len() == 1, "{misfits:?}");
    assert!(misfits[0].message.contains("too much work"), "{misfits:?}");
}

#[test]
fn wide_schemas_and_long_lists_end() {
    let wide = json!({"items": {"anyOf": vec![false; 9000]}});
    let (misfits, gives_up) = attack("9,000 branches, 500,000 items", wide, numbers(500_000));
    assert!(gives_up && !misfits.is_empty());
    let consts: Vec<Value> = (0..3000).map(|n| json!({"const": n})).collect();
    attack("3,000 constants", json!({"items": {"anyOf": consts}}), numbers(500_000).replace('1', "5000"));
    let (misfits, _) = attack("all items wrong", json!({"items": {"type": "string"}}), numbers(500_000));
    assert_eq!(misfits.first().map(|misfit| misfit.path.as_str()), Some("/0"));
    let branches: Vec<Value> = (0..50).map(|n| json!({"required": [n.to_string()]})).collect();
    let large = format!("{{\"a\":{}}}", numbers(500_000));
    let (misfits, _) = attack("a large value that fits no branch", json!({"anyOf": branches}), large.clone());
    assert_eq!(misfits.first().map(|misfit| misfit.schema_path.as_str()), Some("/anyOf"));
    let seen = json!({"anyOf": branches, "unevaluatedProperties": false});
    attack("the same with branches seen", seen, large);
    let long = format!("{{\"{}\":[{}1]}}", "k".repeat(1 << 19), "1,".repeat(250_000));
    let paths = json!({"additionalProperties": {"items": {"type": "string"}}});
    assert!(attack("a long name above many faults", paths, long).0.iter().all(|m| m.path.len() < 1100));
    let lengths: Vec<Value> = (0..2000).map(|n| json!({"maxLength": n})).collect();
    attack("2,000 lengths", json!({"anyOf": lengths}), format!("\"{}\"", "é".repeat(1 << 19)));
    let formats = [
        "email",
        "hostname",
        "uri",
        "date-time",
        "ipv6",
        "uuid",
        "duration",
        "json-pointer",
        "uri-reference",
    ];
    let formats: Vec<Value> = formats.iter().map(|format| json!({ "format": format })).collect();
    for unit in ["a.", "%41", "a@", "é", "1:"] {
        let text = format!("\"{}\"", unit.repeat((1 << 20) / unit.len()));
        attack(&format!("formats of {unit}"), json!({"anyOf": formats}), text);
    }
}

/// All ways to put brackets around so many numbers: as lists they differ, and read aloud they are the same.
fn brackets(numbers: usize) -> Vec<String> {
    if numbers == 1 {
        return vec!["1".to_owned()];
    }
    let halves = (1..numbers).flat_map(|left| {
        let rights = brackets(numbers - left);
        brackets(left)
            .into_iter()
            .flat_map(move |left| rights.clone().into_iter().map(move |right| format!("[{left},{right}]")))
    });
    halves.collect()
}

#[test]
fn unique_items_are_found_in_linear_time() {
    let unique = json!({"uniqueItems": true});
    let different: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    assert!(attack("different numbers", unique.clone(), format!("[{}]", different.join(","))).0.is_empty());
    let mut alike = brackets(12);
    alike.truncate(40_000);
    assert!(attack("lists that look alike", unique.clone(), format!("[{}]", alike.join(","))).0.is_empty());
    let (misfits, _) = attack("equal numbers", unique, numbers(500_000));
    assert_eq!(misfits.first().map(|misfit| misfit.schema_path.as_str()), Some("/uniqueItems"));
}

#[test]
fn deep_inputs_and_deep_schemas_do_not_overflow_the_stack() {
    let mut deep = json!({"items": {"$ref": "#"}});
    for _ in 0..40 {
        deep = json!({"allOf": [deep]});
    }
    assert!(attack("a deep schema and a deep input", deep, nested(126)).0.is_empty());
    let chain: Map<String, Value> = (0..60)
        .map(|n| (n.to_string(), json!({"$ref": format!("#/$defs/{}", n + 1)})))
        .chain([("60".to_owned(), json!({"items": {"$ref": "#"}, "type": ["array", "null"]}))])
        .collect();
    let chain = json!({"$ref": "#/$defs/0", "$defs": chain});
    assert!(!attack("a chain of references and a deep input", chain, nested(126)).0.is_empty());
}

/// Manifests are read on threads that have 2 MiB of stack, and nest 128 deep.
#[test]
fn deep_schemas_are_compiled_on_a_small_stack() {
    let nest =
        |wrap: fn(Value) -> Value, times: u32| (0..times).fold(json!({"type": "integer"}), |of, _| wrap(of));
    for schema in [
        nest(|of| json!({"items": of}), 126),
        nest(|of| json!({"properties": {"a": of}, "anyOf": [true]}), 63),
        nest(|of| json!({"anyOf": [of]}), 62),
        nest(|of| json!({"not": of}), 62),
        nest(|of| json!({"additionalProperties": of, "unevaluatedProperties": false}), 126),
        nest(|of| json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [of]}), 63),
    ] {
        let compile = move || Schema::compile(schema, &mut PatternRoom::default()).map(|_| ());
        let compiled =
            std::thread::Builder::new().stack_size(1 << 20).spawn(compile).unwrap().join().unwrap();
        assert_eq!(compiled, Ok(()));
    }
}
