//! A token is in one response and nowhere else.

use serde_json::json;

use crate::{client::Place, routes::routes};

/// Checks whether `text` contains any 8 consecutive characters of the secret half of `token`.
fn gives_away(text: &str, token: &str) -> bool {
    let secret = &token.as_bytes()[24..];
    secret.windows(8).any(|part| text.contains(std::str::from_utf8(part).unwrap()))
}

#[test]
fn no_other_response_or_debug_text_contains_a_token_part() {
    let Place { world, client } = Place::with_tenants();
    let ask = client.ask("acme", "POST", "/api/keys").field("idempotency-key", "k");
    let created = ask.json(&json!({ "name": "a" })).send();
    let token = created.json()["token"].as_str().unwrap().to_owned();
    assert!(gives_away(&created.text, &token));
    let id = created.json()["key"]["id"].as_str().unwrap().to_owned();

    let mut texts = Vec::new();
    for is_down in [false, true] {
        world.store.set_down(is_down);
        for route in routes().into_iter().filter(|route| route.method != "DELETE") {
            let path = route
                .path
                .replace("{id}", &id)
                .replace("{owner}", "ann")
                .replace("{tenant}", "acme");
            let path = path.replace("{tier}", "lite");
            // The token in fields where it does not belong, and in those where it does.
            let bodies = [
                json!({ "name": token }),
                json!({ "text": token }),
                json!({ "grace_period": token }),
                json!({ "tier": token }),
                json!({ "reason": 5, "token": token, "response": "suspend" }),
                json!({ "token": token, "reason": "found", "response": "report_only" }),
                json!({ "token": token, "reason": "found", "response": token }),
                json!({ token.clone(): 1 }),
                json!([token]),
                json!(token),
            ];
            for body in bodies {
                for who in ["acme", "operator"] {
                    let ask = client.ask(who, route.method, &path).json(&body);
                    // A key's name may be any text and is returned, so a token in it would be found.
                    if body.get("name").is_some() && matches!(route.method, "POST" | "PATCH") {
                        continue;
                    }
                    let answer = ask.field("if-match", "*").field("idempotency-key", "k2").send();
                    texts.push(format!("{answer:?}"));
                }
            }
        }
    }
    world.store.set_down(false);
    let again = client.ask("acme", "POST", "/api/keys").field("idempotency-key", "k");
    let again = again.json(&json!({ "name": "a" })).send();
    assert_eq!(again.status, 200);
    texts.push(again.text);
    texts.push(format!("{:?}", crate::client::console(&world.keyring)));
    texts.extend(world.store.searched());
    assert!(texts.len() > 100);
    for text in texts {
        assert!(!gives_away(&text, &token), "{text}");
    }
}
