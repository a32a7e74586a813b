//! The OpenAPI document says what is there: each address of the table and no other, and nothing is
//! answered that it does not know.

use std::{collections::BTreeSet, sync::LazyLock};

use ingress::routes::TABLE;
use serde_json::Value;

use super::app;
use super::visitor::Answered;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../ingress/src/openapi.json")).expect("JSON")
});

/// Fails if the document does not know this answer: its status, its type, and the members it must
/// have.
pub fn assert_documented(method: &str, path: &str, answered: &Answered) {
    let path = path.split('?').next().expect("a path").trim_end_matches('/');
    if method == "OPTIONS" || answered.status == 405 {
        return;
    }
    let operation = &DOCUMENT["paths"][path][method.to_lowercase()];
    let response = &operation["responses"][answered.status.to_string()];
    assert!(
        response.is_object(),
        "{method} {path} may not answer {}: {answered:?}",
        answered.status
    );
    let kind = answered.header("content-type").expect("a type").split(';').next().expect("a type");
    let schema = &response["content"][kind]["schema"];
    assert!(schema.is_object(), "{method} {path} may not answer {} with {kind}", answered.status);
    let fits = alternatives(schema).into_iter().any(|schema| fits(schema, &answered.body));
    assert!(
        fits,
        "{method} {path} answered {} with {}, which is not {schema}",
        answered.status, answered.body
    );
}

fn resolve(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(name) => DOCUMENT
            .pointer(name.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{name} is nowhere")),
    }
}

fn alternatives(schema: &'static Value) -> Vec<&'static Value> {
    let schema = resolve(schema);
    schema["oneOf"].as_array().map_or(vec![schema], |each| each.iter().map(resolve).collect())
}

/// Whether a body has what the schema demands, and no member that it does not know.
fn fits(schema: &'static Value, body: &Value) -> bool {
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().all(|part| has_all(resolve(part), body));
    }
    let known = |name: &String| schema["properties"].get(name).is_some();
    has_all(schema, body)
        && body
            .as_object()
            .is_none_or(|members| schema.get("properties").is_none() || members.keys().all(known))
}

fn has_all(schema: &'static Value, body: &Value) -> bool {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let constant = |name: &str, value: &Value| {
        schema["properties"][name].get("const").is_none_or(|constant| constant == value)
    };
    required.into_iter().all(|name| body.get(name).is_some_and(|value| constant(name, value)))
}

#[test]
fn it_has_every_address_and_no_other() {
    let served: BTreeSet<_> = TABLE
        .iter()
        .map(|(path, endpoint)| (path.to_string(), endpoint.method().to_lowercase()))
        .collect();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let each = |(path, operations): (&String, &Value)| {
        let methods: Vec<_> = operations
            .as_object()
            .expect("operations")
            .keys()
            .map(|method| (path.clone(), method.clone()))
            .collect();
        methods
    };
    let told: BTreeSet<_> = paths.iter().flat_map(each).collect();
    assert_eq!(served, told);
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(DOCUMENT["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    fn walk(value: &'static Value, names: &mut Vec<&'static str>) {
        resolve(value);
        names.extend(value["operationId"].as_str());
        match value {
            Value::Object(members) => members.values().for_each(|value| walk(value, names)),
            Value::Array(values) => values.iter().for_each(|value| walk(value, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    walk(&DOCUMENT, &mut names);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    assert_eq!(names.len(), TABLE.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served() {
    let app = app().await;
    let answered = app.visitor().get("/openapi.json").await;
    assert_eq!((answered.status, &answered.body), (200, &*DOCUMENT));
    app.finish().await;
}
