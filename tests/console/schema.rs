//! Compares JSON values with the schemas of the OpenAPI document.

use serde_json::Value;

/// Follows a `$ref`, if `part` is one.
pub fn resolve<'d>(document: &'d Value, part: &'d Value) -> &'d Value {
    match part["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap(),
        None => part,
    }
}

/// Checks `value` against `schema`. Every field must be described, and every required one must be there.
pub fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolve(document, schema);
    if schema.is_boolean() {
        return if *schema == true { Ok(()) } else { Err(format!("{value} is not allowed")) };
    }
    if let Some(schemas) = schema["oneOf"].as_array() {
        let fits = schemas.iter().filter(|schema| check(document, schema, value).is_ok()).count();
        return if fits == 1 { Ok(()) } else { Err(format!("{value} fits {fits} of {schemas:?}")) };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = &schema["type"];
    if *kinds != kind && !kinds.as_array().is_some_and(|kinds| kinds.contains(&kind.into())) {
        return Err(format!("{value} is not of the type {kinds}"));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Err(format!("{value} is none of {values:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item)?;
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return Err(format!("{name} is missing in {value}"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let of_member = schema["properties"].get(name).or(schema.get("additionalProperties"));
        let of_member = of_member.ok_or_else(|| format!("`{name}` is not described"))?;
        check(document, of_member, member).map_err(|error| format!("`{name}`: {error}"))?;
    }
    Ok(())
}

#[test]
fn every_deviation_from_a_schema_is_found() {
    let document = serde_json::json!({
        "Word": { "type": "string", "enum": ["a", "b"] },
        "All": {
            "type": "object",
            "required": ["word", "list"],
            "properties": {
                "word": { "$ref": "#/Word" },
                "list": { "type": "array", "items": { "type": ["integer", "null"] } },
                "either": { "oneOf": [{ "type": "null" }, { "$ref": "#/Word" }] },
                "map": { "type": "object", "additionalProperties": { "type": "boolean" } },
            },
        },
    });
    let is_fine = |text: &str| {
        check(&document, &document["All"], &serde_json::from_str(text).unwrap()).is_ok()
    };
    for fine in [
        r#"{ "word": "a", "list": [] }"#,
        r#"{ "word": "b", "list": [1, null], "either": null, "map": { "x": true } }"#,
    ] {
        assert!(is_fine(fine), "{fine}");
    }
    for wrong in [
        "null",
        r#"{ "word": "a" }"#,
        r#"{ "word": "c", "list": [] }"#,
        r#"{ "word": "a", "list": ["1"] }"#,
        r#"{ "word": "a", "list": [], "either": 1 }"#,
        r#"{ "word": "a", "list": [], "map": { "x": null } }"#,
        r#"{ "word": "a", "list": [], "other": 1 }"#,
    ] {
        assert!(!is_fine(wrong), "{wrong}");
    }
}
