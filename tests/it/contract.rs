//! The contract, `openapi.yaml`: what the handlers say of themselves, kept in the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn contract() -> Value {
    serde_json::to_value(irori::http::openapi()).unwrap()
}

fn operations(contract: &Value) -> Vec<(String, &Value)> {
    let paths = contract["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'_ Value)| {
        let methods = item.as_object().unwrap().keys().cloned();
        methods
            .map(|method| (path.clone(), method))
            .collect::<Vec<_>>()
    };
    let all: Vec<(String, String)> = paths.iter().flat_map(of_path).collect();
    all.into_iter()
        .map(|(path, method)| (format!("{method} {path}"), &paths[&path][&method]))
        .collect()
}

/// Every code that a problem can have, as the contract lists them.
fn codes(contract: &Value) -> BTreeSet<String> {
    let codes = contract["components"]["schemas"]["ProblemCode"]["enum"]
        .as_array()
        .unwrap();
    codes
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect()
}

/// With `IRORI_WRITE_CONTRACT=1` in the environment the file is written anew.
#[test]
fn openapi_yaml_is_what_the_handlers_say() {
    let path = root().join("openapi.yaml");
    let now = irori::http::openapi_yaml().unwrap();
    if std::env::var_os("IRORI_WRITE_CONTRACT").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(
        kept == now,
        "openapi.yaml is out of date: run `irori openapi > openapi.yaml`"
    );
}

#[test]
fn every_operation_is_documented() {
    let contract = contract();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&contract) {
        let text = |field: &str| operation[field].as_str().unwrap_or_default();
        assert!(!text("summary").is_empty(), "{name} has no summary");
        assert!(
            ids.insert(text("operationId").to_owned()),
            "{name} has another's id"
        );
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{name} never succeeds"
        );
        for (status, response) in responses {
            let description = response["description"].as_str().unwrap_or_default();
            assert!(
                !description.is_empty(),
                "{name} {status} has no description"
            );
            if status.starts_with(['4', '5']) {
                let form = if name.contains(" /v1/") || name.contains(" /v2") {
                    "application/json"
                } else {
                    "application/problem+json"
                };
                assert!(response["content"][form].is_object(), "{name} {status}");
            }
        }
        assert_eq!(
            name.contains("/admin/") || name.contains("/v2/repository/models/"),
            operation["security"].is_array()
                && responses.contains_key("401")
                && responses.contains_key("403"),
            "{name}"
        );
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let described = parameter["description"].as_str();
            assert!(
                described.is_some_and(|text| !text.is_empty()),
                "{name}: {parameter}"
            );
        }
    }
    assert!(ids.len() >= 30, "{ids:?}");
}

/// What a reference stands for, or what is there itself.
fn resolve<'a>(value: &'a Value, contract: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => contract
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap(),
        None => value,
    }
}

/// Whether an example stands with this, or with its schema.
fn is_shown(value: &Value, contract: &Value) -> bool {
    let value = resolve(value, contract);
    let schema = resolve(&value["schema"], contract);
    [value, schema]
        .iter()
        .any(|shown| ["example", "examples"].iter().any(|e| !shown[e].is_null()))
}

/// Every parameter, every body in each of its types, every answer and every header. `tests/contract/examples.py` sends them to
/// a server.
#[test]
fn everything_is_shown_by_an_example() {
    let contract = contract();
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    for (name, operation) in operations(&contract) {
        let mut parts: Vec<(String, Value)> = Vec::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            parts.push((
                format!("parameter {}", parameter["name"]),
                parameter.clone(),
            ));
        }
        parts.extend(members(&operation["requestBody"]["content"]));
        for (status, response) in members(&operation["responses"]) {
            let of_status = [&response["content"], &response["headers"]].map(members);
            let of_status = of_status.into_iter().flatten();
            parts.extend(of_status.map(|(part, value)| (format!("{status} {part}"), value)));
        }
        for (part, value) in parts {
            assert!(is_shown(&value, &contract), "{name}: {part} has no example");
        }
    }
}

#[test]
fn references_lead_somewhere() {
    fn check(value: &Value, contract: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(
                        contract.pointer(pointer).is_some(),
                        "{reference} leads nowhere"
                    );
                }
                members.values().for_each(|value| check(value, contract));
            }
            Value::Array(items) => items.iter().for_each(|value| check(value, contract)),
            _ => {}
        }
    }
    let contract = contract();
    check(&contract, &contract);
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The words in quotes, of those that may be a code.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.split('"').skip(1).step_by(2);
    inside.filter(|word| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    })
}

#[test]
fn every_code_in_the_sources_is_in_the_contract() {
    let codes = codes(&contract());
    let mut found = 0;
    for (path, text) in sources(&root().join("src")) {
        // The errors name their codes in `fn code`; http refuses with `Problem::new("…"` and lists `refusals!(…: "…")`.
        let of_errors = text.split("fn code(&self) -> &'static str {").skip(1);
        let of_errors =
            of_errors.flat_map(|rest| quoted(rest.split("\n    }\n").next().unwrap_or_default()));
        let of_problems = text.split("Problem::new(").skip(1);
        let of_problems = of_problems.filter_map(|rest| {
            rest.trim_start()
                .starts_with('"')
                .then(|| quoted(rest).next())
                .flatten()
        });
        let of_lists = text.split("refusals!(").skip(1);
        let of_lists =
            of_lists.flat_map(|rest| quoted(rest.split(");").next().unwrap_or_default()));
        for code in of_errors.chain(of_problems).chain(of_lists) {
            found += 1;
            assert!(
                codes.contains(code),
                "{code} in {} is not in src/http/codes.rs",
                path.display()
            );
        }
    }
    assert!(
        found > 200,
        "only {found} codes were found: the sources are not read as they should"
    );
}
