//! Refusals of children by guards name the child and its key in the audit.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use keyway::{
    Guard, NewKey, Policy, ScopeCatalog, Tier,
    children::{ChildMinter, NewChild, Place},
    grant::{ResourceDeclaration, Resources},
    rate::Rate,
    scope::ScopeDeclaration,
};
use sha2::{Digest as _, Sha256};

use crate::support::{DAY, HOUR, World, block_on, overheard::RevealKnown as _};

/// Returns the id of a child, computed as its documentation says.
pub(crate) fn child_id(child: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(child)[..12])
}

#[test]
fn every_refusal_of_a_guard_names_the_child() {
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    let catalog = ScopeCatalog::new(["machines", "reporting"].map(declare)).unwrap();
    let catalog = catalog.with_resources([ResourceDeclaration::new("machine", "for tests")]);
    let tier = Tier::new("advanced", 9).rate(Rate { requests: 1, per_seconds: 60 });
    let policy = Policy::new("mm", catalog.unwrap(), [tier]).unwrap().with_children(DAY).unwrap();
    let world = World::with(policy, |builder| builder);
    let request = NewKey::named("ERP").scopes(["machines", "reporting"]).children(true);
    let request = request.resources("machine", Resources::All);
    let created = world.keyring.create_tenant_with("acme", "advanced", request);
    let (_, issued) = block_on(created).unwrap();
    let prefix = issued.child_prefix().unwrap().to_owned();
    let token = issued.token.reveal_known();
    let minter = ChildMinter::new(&token, &prefix).unwrap();
    let press = Resources::only(["press-1"]).unwrap();
    let child = NewChild::until(world.after(HOUR)).scopes(["reporting"]).unwrap();
    let child = child.resources("machine", press).unwrap();
    let child = minter.mint_at(&child, world.now()).unwrap().reveal_known();

    let refused = |guard: &Guard, credential: &str| {
        world.audit.take_kinds();
        let value = format!("Bearer {credential}");
        let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
        let status = block_on(guard.admit(fields)).map_or_else(|refused| refused.status(), |_| 200);
        (status, world.audit.events().pop())
    };
    let closed = Guard::new(&world.keyring);
    let open = closed.accepts_children(Place::new());
    let free = open.touches_no("machine").unwrap();
    for (guard, status, kind) in [
        (&closed, 403, "OtherAudience"),
        (&open, 403, "OtherResource"),
        (&free.require(["machines"]).unwrap(), 403, "Forbidden"),
        (&free, 200, ""),
        (&free, 429, "Limited"),
    ] {
        let (found, event) = refused(guard, &child);
        assert_eq!(found, status, "{kind}");
        let Some(event) = event else { continue };
        assert!(event.kind.starts_with(kind), "{event:?}");
        assert_eq!(event.tenant.as_deref(), Some("acme"), "{kind}");
        assert_eq!(event.key.as_deref(), Some(issued.key.id().as_str()), "{kind}");
        assert_eq!(event.child, Some(child_id(&child)), "{kind}");
    }
    // The control: the key itself is limited without a child.
    let (status, event) = refused(&free, &token);
    assert_eq!((status, event.unwrap().child), (429, None));
}
