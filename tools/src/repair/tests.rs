use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::spec::Effects;

fn spec() -> Spec {
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1},
            "days": {"type": "integer"},
            "in_detail": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "hours": {"type": "array", "items": {"type": "integer"}},
            "unit": {"enum": ["celsius", "Fahrenheit"]},
            "level": {"type": "integer", "enum": [1, 2, 3]},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "place": {"$ref": "#/$defs/place"},
            "filters": {"type": "array", "items": {"$ref": "#/$defs/place"}},
        },
        "required": ["city"],
        "additionalProperties": false,
        "$defs": {"place": {
            "type": "object",
            "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
            "required": ["lat", "lon"],
        }},
    });
    Spec::new("get_weather", "The weather.", &schema, Effects::None).unwrap()
}

fn at(at: &str, what: Change) -> Repair {
    Repair {
        at: at.to_owned(),
        what,
    }
}

fn renamed(from: &str) -> Change {
    Change::Renamed {
        from: from.to_owned(),
    }
}

/// Compares the repairs place by place: their order follows that of properties in JSON objects, which is a switch of `serde_json`.
#[track_caller]
fn mends(input: Value, value: Value, repairs: Vec<Repair>) {
    let by_place = |mut repaired: Repaired| {
        repaired.repairs.sort_by(|a, b| a.at.cmp(&b.at));
        repaired
    };
    assert_eq!(
        repair(&spec(), input).map(by_place),
        Ok(by_place(Repaired { value, repairs }))
    );
}

#[test]
fn arguments_as_a_string_also_twice() {
    let value = json!({"city": "Paris", "days": 3});
    let once = value.to_string();
    let twice = json!(once).to_string();
    for text in [once, twice] {
        mends(json!(text), value.clone(), vec![at("", Change::Parsed)]);
    }
}

#[test]
fn arguments_inside_of_a_call() {
    let value = json!({"city": "Paris"});
    let unwrapped = || at("", Change::Unwrapped);
    for key in ["arguments", "parameters", "input", "args"] {
        let call = json!({"name": "get_weather", key: value.clone()});
        mends(call, value.clone(), vec![unwrapped()]);
        mends(
            json!({key: value.clone()}),
            value.clone(),
            vec![unwrapped()],
        );
    }
    mends(
        json!({"type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}),
        value,
        vec![unwrapped(), unwrapped(), at("", Change::Parsed)],
    );
}

#[test]
fn a_call_of_another_tool_is_left() {
    let call = json!({"name": "send_mail", "arguments": {"city": "Paris"}});
    assert!(repair(&spec(), call).is_err());
}

#[test]
fn values_as_strings() {
    mends(
        json!({
            "city": "Paris", "days": " 3 ", "in_detail": "True", "tags": "[\"a\"]", "hours": ["1", "2", 3],
            "place": "{\"lat\": \"48.8\", \"lon\": 2}", "level": "2", "limit": "7",
        }),
        json!({
            "city": "Paris", "days": 3, "in_detail": true, "tags": ["a"], "hours": [1, 2, 3],
            "place": {"lat": 48.8, "lon": 2}, "level": 2, "limit": 7,
        }),
        repair_list(&[
            "/days",
            "/hours/0",
            "/hours/1",
            "/in_detail",
            "/level",
            "/limit",
            "/place",
            "/place/lat",
            "/tags",
        ]),
    );
}

/// Repairs by reading JSON, in the order of the validator.
fn repair_list(places: &[&str]) -> Vec<Repair> {
    places
        .iter()
        .map(|place| at(place, Change::Parsed))
        .collect()
}

#[test]
fn a_single_value_for_a_list_and_a_number_for_a_text() {
    mends(
        json!({"city": 75001, "tags": "rain", "filters": {"lat": 1, "lon": 2}, "hours": "7"}),
        json!({"city": "75001", "tags": ["rain"], "filters": [{"lat": 1, "lon": 2}], "hours": [7]}),
        vec![
            at("/city", Change::ToText),
            at("/filters", Change::Listed),
            at("/hours", Change::Listed),
            at("/hours/0", Change::Parsed),
            at("/tags", Change::Listed),
        ],
    );
}

#[test]
fn empty_optionals_go_and_required_ones_do_not() {
    mends(
        json!({"city": "Paris", "days": "", "unit": null, "tags": "null", "limit": null}),
        json!({"city": "Paris", "limit": null}),
        vec![
            at("/days", Change::DroppedEmpty),
            at("/tags", Change::DroppedEmpty),
            at("/unit", Change::DroppedEmpty),
        ],
    );
    for city in [json!(""), json!(null)] {
        let problems = repair(&spec(), json!({"city": city})).unwrap_err();
        assert_eq!(problems[0].at, "/city");
    }
}

#[test]
fn names_that_are_nearly_right() {
    mends(
        json!({"City": "Paris", "inDetail": true, "place": {"LAT": 1, "lon": 2}}),
        json!({"city": "Paris", "in_detail": true, "place": {"lat": 1, "lon": 2}}),
        vec![
            at("/place/lat", renamed("LAT")),
            at("/city", renamed("City")),
            at("/in_detail", renamed("inDetail")),
        ],
    );
}

#[test]
fn unknown_properties_go() {
    mends(
        json!({"city": "Paris", "why": "I was asked"}),
        json!({"city": "Paris"}),
        vec![at("/why", Change::DroppedUnknown)],
    );
}

#[test]
fn ambiguous_names_stay() {
    assert!(repair(&spec(), json!({"City": "Paris", "CITY": "Rome"})).is_err());
    let both = json!({"type": "object", "properties": {"ab": {"type": "string"}, "a_b": {"type": "string"}}, "required": ["ab"]});
    let spec = Spec::new("t", "d", &both, Effects::None).unwrap();
    assert!(repair(&spec, json!({"A_B": "x"})).is_err());
}

#[test]
fn choices_in_another_case() {
    mends(
        json!({"city": "Paris", "unit": "FAHRENHEIT"}),
        json!({"city": "Paris", "unit": "Fahrenheit"}),
        vec![at("/unit", Change::Recased)],
    );
}

#[test]
fn no_arguments() {
    let spec = Spec::new("now", "The time.", &json!({}), Effects::None).unwrap();
    for nothing in [json!(null), json!(""), json!(" ")] {
        let repaired = repair(&spec, nothing).unwrap();
        let repairs = vec![at("", Change::Emptied)];
        assert_eq!(
            repaired,
            Repaired {
                value: json!({}),
                repairs
            }
        );
    }
}

#[test]
fn nothing_is_invented() {
    for input in [
        json!({}),
        json!({"city": "Paris", "days": "three"}),
        json!({"city": "Paris", "days": 2.5}),
        json!({"city": "Paris", "days": "123456789012345678901234567890"}),
        json!({"city": "Paris", "unit": "kelvin"}),
        json!({"city": ["Paris"]}),
        json!({"city": "Paris", "place": {"lat": 1}}),
        json!("Paris"),
        json!(["Paris"]),
        json!("{\"city\": \"Par"),
    ] {
        let problems = spec().checker().check(&input).unwrap_err();
        assert_eq!(repair(&spec(), input), Err(problems));
    }
}

#[test]
fn a_repair_in_a_journal() {
    let repairs = [at("/days", Change::Parsed), at("/city", renamed("City"))];
    assert_eq!(
        serde_json::to_value(repairs).unwrap(),
        json!([{"at": "/days", "what": "parsed"}, {"at": "/city", "what": {"renamed": {"from": "City"}}}])
    );
}

#[test]
fn many_places_with_one_fault_are_mended_in_one_step() {
    let texts: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let numbers: Vec<u32> = (0..1000).collect();
    let repaired = repair(&spec(), json!({"city": "Paris", "hours": texts})).unwrap();
    assert_eq!(repaired.value, json!({"city": "Paris", "hours": numbers}));
    assert_eq!(repaired.repairs.len(), 1000);
}

/// Any JSON, with the names of the schema in it.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "city",
            "City",
            "days",
            "in_detail",
            "inDetail",
            "tags",
            "hours",
            "unit",
            "level",
            "limit",
            "place",
            "filters",
            "lat",
            "LON",
            "name",
            "arguments",
            "input",
            "function",
            "a/b",
            "",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    let text = prop_oneof![
        ".{0,6}",
        prop::sample::select(vec![
            "",
            "null",
            "3",
            "true",
            "[1]",
            "{}",
            "{\"city\":\"x\"}",
            "CELSIUS",
            "get_weather"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        text.prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Arguments that satisfy the schema, each optional part there or not.
fn valid() -> impl Strategy<Value = Value> {
    let place = (-90..90i32, -180..180i32).prop_map(|(lat, lon)| json!({"lat": lat, "lon": lon}));
    (
        "[A-Z][a-z]{1,8}",
        prop::option::of(any::<i32>()),
        prop::option::of(any::<bool>()),
        prop::option::of(prop::collection::vec("[a-z]{1,6}", 0..3)),
        prop::option::of(prop::sample::select(vec!["celsius", "Fahrenheit"])),
        prop::option::of(place),
    )
        .prop_map(|(city, days, detail, tags, unit, place)| {
            let all = json!({"city": city, "days": days, "in_detail": detail, "tags": tags, "unit": unit, "place": place});
            let Value::Object(all) = all else { unreachable!() };
            Value::Object(all.into_iter().filter(|(_, value)| !value.is_null()).collect())
        })
}

proptest! {
    #[test]
    fn whatever_comes_out_satisfies_the_schema(input in any_json()) {
        let spec = spec();
        let problems = spec.checker().check(&input);
        match repair(&spec, input.clone()) {
            Ok(repaired) => {
                prop_assert_eq!(spec.checker().check(&repaired.value), Ok(()));
                prop_assert_eq!(repaired.repairs.is_empty(), problems.is_ok());
                if problems.is_ok() {
                    prop_assert_eq!(repaired.value, input);
                }
            }
            Err(told) => prop_assert_eq!(Err(told), problems),
        }
    }

    #[test]
    fn what_is_valid_is_left_alone(value in valid()) {
        let repaired = Repaired { value: value.clone(), repairs: vec![] };
        prop_assert_eq!(repair(&spec(), value), Ok(repaired));
    }

    #[test]
    fn what_was_spoiled_comes_back(value in valid(), wrap in any::<bool>(), texts in any::<bool>(), extra in any::<bool>()) {
        let Value::Object(mut spoiled) = value.clone() else { unreachable!() };
        if texts {
            for (name, value) in &mut spoiled {
                if !value.is_string() && name != "tags" {
                    *value = json!(value.to_string());
                }
            }
        }
        if extra {
            spoiled.insert("explanation".into(), json!("so"));
            spoiled.insert("level".into(), json!(""));
        }
        let mut spoiled = Value::Object(spoiled);
        if wrap {
            spoiled = json!({"name": "get_weather", "parameters": spoiled.to_string()});
        }
        prop_assert_eq!(repair(&spec(), spoiled).map(|repaired| repaired.value), Ok(value));
    }
}
