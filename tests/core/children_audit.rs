//! Every refusal of a child names the child and its key in the audit.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use keyway::{
    GracePeriod, KeyId, KeyringError, LeakResponse, NewKey, Policy, TenantKeys, Tier,
    children::{ChildMinter, NewChild, Place},
    grant::Networks,
    verifier::Freshness,
};
use sha2::{Digest as _, Sha256};

use crate::support::{
    DAY, Event, HOUR, World, block_on, catalog, overheard::RevealKnown as _, policy, with_text,
};

/// Returns the id of a child, computed as its documentation says.
pub(crate) fn child_id(child: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(child)[..12])
}

struct Stage {
    world: World,
    keys: TenantKeys,
    id: KeyId,
    minter: ChildMinter,
    token: String,
}

impl Stage {
    fn new() -> Self {
        let policy = policy().with_children(DAY).unwrap();
        let world = World::with(policy, |builder| builder);
        let request = NewKey::named("first").scopes(["reporting"]).children(true);
        let created = world.keyring.create_tenant_with("acme", "advanced", request);
        let (keys, issued) = block_on(created).unwrap();
        let prefix = issued.child_prefix().unwrap().to_owned();
        let token = issued.token.reveal_known().to_string();
        let minter = ChildMinter::new(&token, &prefix).unwrap();
        Self { world, keys, id: issued.key.id(), minter, token }
    }

    fn child(&self, request: &NewChild) -> String {
        self.minter.mint_at(request, self.world.now()).unwrap().reveal_known().to_string()
    }

    fn an_hour(&self) -> NewChild {
        NewChild::until(self.world.after(HOUR))
    }

    /// Returns the event of the refusal of this child at a place that accepts children.
    fn refused(&self, child: &str) -> Event {
        self.world.audit.take_kinds();
        let place = Place::new();
        let verifier = self.world.keyring.verifier();
        let refused = block_on(verifier.verify_at(child, Freshness::Cached, None, &place));
        assert!(refused.is_err());
        self.event()
    }

    fn event(&self) -> Event {
        let events = self.world.audit.events();
        let [event] = &events[..] else { panic!("{events:?}") };
        event.clone()
    }

    fn names(&self, event: &Event, child: &str, tenant: Option<&str>, kind: &str) {
        assert!(event.kind.starts_with(kind), "{event:?}");
        assert_eq!(event.key.as_deref(), Some(self.id.as_str()), "{kind}");
        assert_eq!(event.child, Some(child_id(child)), "{kind}");
        assert_eq!(event.tenant.as_deref(), tenant, "{kind}");
    }
}

/// Returns `text` with another character at `place`.
fn with_other(text: &str, place: usize) -> String {
    let other = if text.as_bytes()[place] == b'A' { "B" } else { "A" };
    [&text[..place], other, &text[place + 1..]].concat()
}

#[test]
fn every_refusal_by_the_verifier_names_the_child() {
    type Drive = fn(&Stage) -> String;
    let acme = Some("acme");
    let rows: &[(&str, Option<&str>, Drive)] = &[
        ("Rejected(Malformed)", None, |stage| {
            let child = stage.child(&stage.an_hour());
            child[..child.len() - 1].to_owned()
        }),
        ("Rejected(WrongSecret)", None, |stage| {
            let child = stage.child(&stage.an_hour());
            with_other(&child, child.len() - 1)
        }),
        ("Rejected(Unknown)", None, |stage| {
            block_on(stage.keys.delete(stage.id)).unwrap();
            stage.child(&stage.an_hour())
        }),
        ("Rejected(WrongSecret)", None, |stage| {
            let child = stage.child(&stage.an_hour());
            let rotated = block_on(stage.keys.rotate(stage.id, 1, GracePeriod::None)).unwrap();
            rotated.token.reveal_known();
            child
        }),
        ("Inactive(Expired", acme, |stage| {
            let child = stage.child(&stage.an_hour());
            stage.world.clock.advance(HOUR);
            child
        }),
        ("Inactive(Disabled", acme, |stage| {
            block_on(stage.keys.disable(stage.id)).unwrap();
            stage.child(&stage.an_hour())
        }),
        ("OtherNetwork", acme, |stage| {
            let office = Networks::only(["192.0.2.0/24"]).unwrap();
            stage.child(&stage.an_hour().networks(office))
        }),
        ("OtherAudience", acme, |stage| {
            stage.child(&stage.an_hour().route("GET /events").unwrap())
        }),
        ("Tampered", acme, |stage| {
            stage.world.store.rewrite_keys(|key| Ok(with_text(&key, "first", "other")));
            stage.child(&stage.an_hour())
        }),
        ("Unavailable", None, |stage| {
            stage.world.store.set_down(true);
            stage.child(&stage.an_hour())
        }),
    ];
    for (kind, tenant, drive) in rows {
        let stage = Stage::new();
        let child = drive(&stage);
        let event = stage.refused(&child);
        stage.names(&event, &child, *tenant, kind);
    }
    // The control: a child that is accepted is no event, and one whose prefix was never given out names nothing.
    let stage = Stage::new();
    let child = stage.child(&stage.an_hour());
    stage.world.audit.take_kinds();
    let place = Place::new();
    let verifier = stage.world.keyring.verifier();
    block_on(verifier.verify_at(&child, Freshness::Cached, None, &place)).unwrap();
    assert!(stage.world.audit.kinds().is_empty());
    let event = stage.refused(&with_other(&child, child.find('~').unwrap() - 1));
    assert_eq!((event.key, event.child), (None, None));
}

#[test]
fn child_of_an_unknown_tier_is_named() {
    let stage = Stage::new();
    let child = stage.child(&stage.an_hour());
    let other = Policy::new("mm", catalog(), [Tier::new("lite", 5)]).unwrap();
    let world = stage.world.another_node_with(other.with_children(DAY).unwrap(), |builder| builder);
    let stage = Stage { world, ..stage };
    let event = stage.refused(&child);
    stage.names(&event, &child, Some("acme"), "UnknownTier");
}

#[test]
fn child_is_no_token_for_operations_of_holders() {
    let stage = Stage::new();
    let child = stage.child(&stage.an_hour());
    let keyring = &stage.world.keyring;
    let requirement = keyring.requirement(["reporting"]).unwrap();
    let check = |refused: bool| {
        assert!(refused);
        stage.names(&stage.event(), &child, None, "Rejected(");
        stage.world.audit.take_kinds();
    };
    stage.world.audit.take_kinds();
    let is_rejected = |error: KeyringError| matches!(error, KeyringError::Rejected);
    check(is_rejected(block_on(keyring.describe(&child)).unwrap_err()));
    check(is_rejected(block_on(keyring.revoke(&child)).unwrap_err()));
    check(block_on(keyring.rotate_own(&child, &requirement, GracePeriod::None, None)).is_err());
    check(block_on(keyring.mint_own_child(&child, &stage.an_hour(), None)).is_err());
    // Reports of tokens that belong to no key are no events.
    let reported = block_on(keyring.report_leak(&child, "found", LeakResponse::Suspend));
    assert!(is_rejected(reported.unwrap_err()));
    assert!(stage.world.audit.kinds().is_empty());
    // The control: the key is as it was, and its token ends it.
    assert!(block_on(keyring.verify(&stage.token)).is_ok());
    block_on(keyring.revoke(&stage.token)).unwrap();
}
