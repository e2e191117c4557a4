//! Children: which keys may have some, and the prefix that their holders need.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::IntoResponse as _,
};
use keyway::{
    Guard, ImportedKey, NewKey, Principal, VerifyError,
    children::{ChildMinter, NewChild, Place as PlaceOfUse},
    console::{Admin, Console},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    verifier::Freshness,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    client::{Answer, Client, MOUNT, Place, console, mount},
    support::{DAY, HOUR, World, block_on, overheard::RevealKnown as _, policy},
};

/// The member of a body, for a key that may have children.
const CHILDREN: &str = "children";

/// A place whose policy lets keys have children.
fn place() -> Place {
    Place::of_tenants(policy().with_children(DAY).unwrap())
}

fn create(client: &Client, children: bool) -> Value {
    let body = json!({ "name": "a", "scopes": ["reporting"], CHILDREN: children });
    let answer = client.create("acme", body);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

fn id_of(issued: &Value) -> String {
    issued["key"]["id"].as_str().unwrap().into()
}

/// Makes a child of the key whose token and prefix are in a response.
fn child_of(world: &World, issued: &Value) -> String {
    let text = |member: &str| issued[member].as_str().unwrap().to_owned();
    let minter = ChildMinter::new(&text("token"), &text("child_prefix")).unwrap();
    let child = minter.mint_at(&NewChild::lasting(HOUR), world.now()).unwrap();
    child.reveal_known().to_string()
}

fn verify(world: &World, child: &str) -> Result<Principal, VerifyError> {
    let verifier = world.keyring.verifier();
    block_on(verifier.verify_at(child, Freshness::Now, None, &PlaceOfUse::new()))
}

fn is_rejected(result: &Result<Principal, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::Rejected))
}

#[test]
fn created_key_has_children_only_if_asked_for() {
    let Place { world, client } = place();
    let issued = create(&client, true);
    assert_eq!(issued["key"][CHILDREN], "on");
    let prefix = issued["child_prefix"].as_str().unwrap();
    assert!(prefix.starts_with(&format!("mm_live_{}", id_of(&issued))), "{prefix}");
    let caller = verify(&world, &child_of(&world, &issued)).unwrap();
    assert_eq!(caller.key_id().to_string(), id_of(&issued));

    // The control: a key has none by default, and none if the body says so.
    for body in [json!({ "name": "b" }), json!({ "name": "c", CHILDREN: false })] {
        let issued = client.create("acme", body).json();
        assert_eq!(
            (&issued["key"][CHILDREN], &issued["child_prefix"]),
            (&json!("off"), &json!(null))
        );
        assert!(issued["token"].is_string());
    }
}

#[test]
fn edit_switches_the_children_of_a_key() {
    let Place { world, client } = place();
    let mut issued = create(&client, false);
    let id = id_of(&issued);
    let switch = |version: u64, to: bool| {
        let answer = client.change("acme", &id, version, &json!({ CHILDREN: to }));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()[CHILDREN].clone()
    };
    assert_eq!(switch(1, true), "on");
    let key = block_on(world.keyring.find_key(id.parse().unwrap())).unwrap().key;
    issued["child_prefix"] = json!(world.keyring.child_prefix(&key));
    let child = child_of(&world, &issued);
    assert!(verify(&world, &child).is_ok());
    assert_eq!(switch(2, false), "off");
    assert!(is_rejected(&verify(&world, &child)));
    assert_eq!(switch(3, true), "on");
    assert!(verify(&world, &child).is_ok());
    // An edit that does not name children leaves them as they are.
    let renamed = client.change("acme", &id, 4, &json!({ "name": "b" })).json();
    assert_eq!(renamed[CHILDREN], "on");

    let events = client.get("acme", &format!("/api/keys/{id}/events")).json();
    let items = events["items"].as_array().unwrap();
    let edits = items.iter().filter(|event| event["kind"] == "key_edited");
    let details: Vec<_> = edits.map(|event| event["detail"].as_str().unwrap()).collect();
    let allowed = "reporting; children allowed";
    assert_eq!(details, [allowed, allowed, "reporting", allowed]);
}

#[test]
fn children_are_refused_without_a_policy_for_them() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let is_refused = |answer: Answer| {
        answer.is(422, "invalid-field", CHILDREN);
        assert!(answer.text.contains("does not let keys have children"), "{}", answer.text);
    };
    for children in [true, false] {
        is_refused(client.create("acme", json!({ "name": "b", CHILDREN: children })));
        is_refused(client.change("acme", &id, 1, &json!({ CHILDREN: children })));
    }
    let keys = client.get("acme", "/api/keys").json();
    assert_eq!((&keys["held"], &keys["items"][0][CHILDREN]), (&json!(1), &json!("off")));
    assert_eq!(keys["items"][0]["version"], 1);

    // The page and programs learn it beforehand. The control is a policy that allows children.
    let allowing = mount(console(
        &world.another_node_with(policy().with_children(DAY).unwrap(), |builder| builder).keyring,
    ));
    let allowing = Client::of(allowing);
    for (client, seconds, kind) in
        [(&client, json!(null), json!(false)), (&allowing, json!(86_400), json!("boolean"))]
    {
        for who in ["acme", "operator"] {
            let session = client.get(who, "/api/session").json();
            assert_eq!(session["max_child_lifetime_seconds"], seconds, "{who}");
        }
        let schema = &client.document["components"]["schemas"]["MayHaveChildren"];
        assert_eq!(schema.get("type").unwrap_or(schema), &kind);
    }
    assert_eq!(allowing.change("acme", &id, 1, &json!({ CHILDREN: true })).status, 200);
}

#[test]
fn children_that_are_no_boolean_are_refused() {
    let Place { client, .. } = place();
    let id = id_of(&create(&client, true));
    for value in [json!(null), json!("on"), json!("after_rotation"), json!(1)] {
        let body = json!({ "name": "b", CHILDREN: value });
        client.create("acme", body.clone()).is(400, "unreadable-body", CHILDREN);
        client.change("acme", &id, 1, &body).is(400, "unreadable-body", CHILDREN);
    }
}

#[test]
fn imported_key_has_children_after_its_rotation() {
    use sha2::Digest;

    let format = || ForeignFormat::whole_token(ForeignHash::Sha256);
    let policy = policy().with_children(DAY).unwrap();
    let world = World::with(policy, |builder| builder.accept_imported(format()));
    let keys = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let digest = sha2::Sha256::digest(b"0123456789abcdef0123456789abcdef");
    let digest = ForeignDigest::from_bytes(&digest).unwrap();
    let request = NewKey::named("old").scopes(["reporting"]);
    let id = block_on(keys.import(ImportedKey::new(&format(), digest, request).unwrap()));
    let id = id.unwrap().id().to_string();
    let client = Client::of(mount(console(&world.keyring)));

    let changed = client.change("acme", &id, 1, &json!({ CHILDREN: true })).json();
    assert_eq!(changed[CHILDREN], "after_rotation");
    let rotated = client.rotate("acme", &id, 2, "r").json();
    assert_eq!(rotated["key"][CHILDREN], "on");
    assert!(verify(&world, &child_of(&world, &rotated)).is_ok());
}

#[test]
fn rotation_shows_the_prefix_beside_the_new_token() {
    let Place { world, client } = place();
    let issued = create(&client, true);
    let id = id_of(&issued);
    let before = child_of(&world, &issued);
    let rotated = client.rotate("acme", &id, 1, "r").json();
    assert_eq!(rotated["child_prefix"], issued["child_prefix"]);
    assert!(verify(&world, &child_of(&world, &rotated)).is_ok());
    // The control: children of the old secret end with its grace period, of which there is none.
    assert!(is_rejected(&verify(&world, &before)));

    // A repetition has no token. The prefix is not secret.
    let again = client.rotate("acme", &id, 1, "r").json();
    assert_eq!((&again["token"], &again["replayed"]), (&json!(null), &json!(true)));
    assert_eq!(again["child_prefix"], issued["child_prefix"]);
    client.change("acme", &id, 2, &json!({ CHILDREN: false }));
    assert_eq!(client.rotate("acme", &id, 3, "s").json()["child_prefix"], json!(null));
}

/// A child could otherwise make a key that outlives it.
#[test]
fn child_manages_no_keys() {
    let Place { world, client } = place();
    let issued = create(&client, true);
    let child = format!("Bearer {}", child_of(&world, &issued));
    let key = format!("Bearer {}", issued["token"].as_str().unwrap());
    let keyring = &world.keyring;
    let of_caller = || {
        let console = Console::new(keyring, async |request: axum::http::request::Parts| {
            let caller = request.extensions.get::<Principal>();
            caller.map(Admin::of_caller).ok_or_else(|| StatusCode::UNAUTHORIZED.into_response())
        });
        mount(console.allow_api_keys())
    };
    let status = |router: &Router, token: &str| {
        let request = Request::get(format!("{MOUNT}/api/session"));
        let request = request.header("x-test-who", "acme").header("authorization", token);
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap());
        block_on(response).unwrap().status()
    };
    // By default neither is admitted, although the caller is signed in.
    for token in [&key, &child] {
        assert_eq!(status(&client.router, token), 403);
    }
    // A console that allows API keys admits keys alone, also behind a guard that accepts children.
    let guard = Guard::new(keyring).optional().accepts_children(PlaceOfUse::new());
    for router in [of_caller(), of_caller().layer(guard)] {
        assert_eq!(status(&router, &key), 200);
        assert_eq!(status(&router, &child), 403);
    }
}

#[test]
fn idempotency_key_with_other_children_is_refused() {
    let Place { client, .. } = place();
    let create = |children: Option<bool>| {
        let mut body = json!({ "name": "a" });
        if let Some(children) = children {
            body[CHILDREN] = json!(children);
        }
        client.ask("acme", "POST", "/api/keys").field("idempotency-key", "k").json(&body).send()
    };
    assert_eq!(create(Some(true)).status, 201);
    assert_eq!(create(Some(true)).status, 200);
    for other in [Some(false), None] {
        create(other).is(422, "idempotency-key-reused", "");
    }
}
