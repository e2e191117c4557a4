//! A world of keys in every state, and the tokens that the rows of the table name.

use std::collections::BTreeMap;

use keyway::{
    GracePeriod, KeyRecord, NewKey, Peppers, Policy, TenantKeys,
    children::{ChildMinter, NewChild},
    grant::{Networks, ResourceDeclaration, Resources},
    lowlevel::Authority,
    record::{Exceptions, Suspension},
};

use crate::support::{
    DAY, HOUR, World, block_on, catalog, fresh_rng, overheard::RevealKnown as _, pepper, policy,
};

/// Texts by name. A row writes `{active}` for the token of the active key.
#[derive(Clone)]
pub struct Tokens {
    texts: BTreeMap<&'static str, Vec<u8>>,
    minted: Vec<String>,
    children: Vec<String>,
}

impl Tokens {
    /// Replaces every `{name}` in `template` by the text of that name.
    pub fn fill(&self, template: &[u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        let mut rest = template;
        while let Some(start) = rest.iter().position(|byte| *byte == b'{') {
            let length = rest[start..].iter().position(|byte| *byte == b'}').unwrap();
            let name = std::str::from_utf8(&rest[start + 1..start + length]).unwrap();
            filled.extend_from_slice(&rest[..start]);
            filled.extend_from_slice(
                self.texts.get(name).unwrap_or_else(|| panic!("no token `{name}`")),
            );
            rest = &rest[start + length + 1..];
        }
        filled.extend_from_slice(rest);
        filled
    }

    /// Returns the secrets of all tokens that were minted here.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let of_keys = self.minted.iter().map(|token| &token["mm_live_".len() + 16..][..32]);
        // The end of a signature.
        of_keys.chain(self.children.iter().map(|child| &child[child.len() - 64..]))
    }

    fn mint(&mut self, name: &'static str, token: String) {
        self.texts.insert(name, token.clone().into_bytes());
        self.minted.push(token);
    }

    /// Adds a text that differs from `{active}` by `change`.
    fn deform(&mut self, name: &'static str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut text = self.texts["active"].clone();
        change(&mut text);
        self.texts.insert(name, text);
    }
}

/// Returns the usual policy with machines as a kind of resource.
fn policy_of_machines() -> Policy {
    let machine = ResourceDeclaration::new("machine", "for tests");
    let catalog = catalog().with_resources([machine]).unwrap();
    let policy = Policy::new("mm", catalog, policy().tiers().iter().cloned()).unwrap();
    policy.with_children(DAY).unwrap()
}

/// Creates a world with these tokens. None of them has been verified before.
pub fn world() -> (World, Tokens) {
    let world = World::with(policy_of_machines(), |builder| builder);
    let mut tokens = Tokens { texts: BTreeMap::new(), minted: Vec::new(), children: Vec::new() };
    let mut issue = |tenant: &TenantKeys, name: &'static str, request: NewKey| -> KeyRecord {
        let issued = block_on(tenant.issue(request)).unwrap();
        tokens.mint(name, issued.token.reveal_known().to_string());
        issued.key
    };
    let tenant = |id: &str| block_on(world.keyring.create_empty_tenant(id, "advanced")).unwrap();
    let reader = |name: &str| NewKey::named(name).scopes(["reporting"]);

    let acme = tenant("acme");
    issue(&acme, "active", reader("reader"));
    issue(&acme, "operator", NewKey::named("operator").scopes(["operator"]));
    issue(&acme, "powerless", NewKey::named("powerless"));
    let disabled = issue(&acme, "disabled", reader("disabled"));
    let suspended = issue(&acme, "suspended", reader("suspended"));
    // The tier allows 5 keys, and this tenant has another contract.
    let version = block_on(world.keyring.find_tenant(acme.id())).unwrap().version();
    let more = Exceptions::new().keys(9);
    block_on(world.keyring.set_exceptions(acme.id(), version, more)).unwrap();
    limited(&mut issue, &acme);
    let beta = tenant("beta");
    issue(&beta, "expired", reader("expired").expires_at(world.after(HOUR)));
    issue(&beta, "early", reader("early").not_before(world.after(2 * DAY)));
    let deleted = issue(&beta, "deleted", reader("deleted"));
    let rotated = issue(&beta, "rotated-out", reader("rotated"));
    let overlapping = issue(&beta, "previous", reader("overlapping"));
    let gamma = tenant("gamma");
    let heir = issue(&gamma, "heir-old", reader("heir"));
    let parent = issue(&gamma, "parent", reader("parent").children(true));
    let delta = tenant("delta");
    issue(&delta, "suspended-tenant", reader("innocent"));

    block_on(acme.disable(disabled.id())).unwrap();
    let reason = || Suspension::permanent("the reason is for operators").unwrap();
    block_on(world.keyring.suspend_key(suspended.id(), reason())).unwrap();
    block_on(world.keyring.suspend_tenant(delta.id(), reason())).unwrap();
    block_on(beta.delete(deleted.id())).unwrap();
    for (tenant, name, key, grace_period) in [
        (&beta, "successor", rotated, GracePeriod::None),
        (&beta, "overlapping", overlapping, GracePeriod::For(5 * DAY)),
        (&gamma, "heir-new", heir, GracePeriod::UntilFirstUse),
    ] {
        let issued = block_on(tenant.rotate(key.id(), key.version(), grace_period)).unwrap();
        tokens.mint(name, issued.token.reveal_known().to_string());
    }
    derive(&world, &parent, &mut tokens);
    world.clock.advance(2 * HOUR);

    let foreign = |issuer: &str, environment: &str| {
        let policy = Policy::new(
            issuer,
            policy_of_machines().catalog().clone(),
            policy().tiers().iter().cloned(),
        )
        .unwrap();
        let authority = Authority::new(policy, environment, &Peppers::from(pepper())).unwrap();
        let now = world.now();
        let tenant = authority.create_tenant("acme".parse().unwrap(), "advanced", now).unwrap();
        let issued = authority.issue(&tenant, reader("foreign"), now, &mut fresh_rng());
        issued.unwrap().1.reveal_known().to_string()
    };
    tokens.mint("unknown", foreign("mm", "live"));
    for (name, issuer, environment) in
        [("other-issuer", "zz", "live"), ("other-environment", "mm", "test")]
    {
        tokens.texts.insert(name, foreign(issuer, environment).into_bytes());
    }
    deformed(&mut tokens);
    (world, tokens)
}

/// Issues keys that are limited to machines and networks, and the key of an owner who is then disabled.
fn limited(
    issue: &mut impl FnMut(&TenantKeys, &'static str, NewKey) -> KeyRecord,
    tenant: &TenantKeys,
) {
    let reader = |name: &str| NewKey::named(name).scopes(["reporting"]);
    let from = |networks: &[&str]| Networks::only(networks.iter().copied()).unwrap();
    let press = Resources::only(["press-1"]).unwrap();
    issue(tenant, "limited", reader("limited").resources("machine", press));
    let near = reader("near").networks(from(&["127.0.0.0/8", "::1/128"]));
    issue(tenant, "near", near.resources("machine", Resources::All));
    issue(tenant, "far", reader("far").networks(from(&["192.0.2.0/24"])));
    let ann = "ann".parse().unwrap();
    issue(tenant, "of-disabled-owner", reader("ann's").owner(ann));
    block_on(tenant.disable_owner(&"ann".parse().unwrap())).unwrap();
}

/// Adds children of the key `parent`, and texts like them.
fn derive(world: &World, parent: &KeyRecord, tokens: &mut Tokens) {
    let token = String::from_utf8(tokens.texts["parent"].clone()).unwrap();
    let prefix = world.keyring.child_prefix(parent).unwrap();
    let minter = ChildMinter::new(&token, &prefix).unwrap();
    for (name, lifetime) in [("child", 12 * HOUR), ("expired-child", HOUR)] {
        let child = minter.mint_at(&NewChild::until(world.after(lifetime)), world.now()).unwrap();
        let child = child.reveal_known().to_string();
        tokens.texts.insert(name, child.clone().into_bytes());
        tokens.children.push(child);
    }
    let child = tokens.texts["child"].clone();
    let mut add = |name, change: fn(&mut Vec<u8>, usize)| {
        let mut text = child.clone();
        change(&mut text, prefix.len());
        tokens.texts.insert(name, text);
    };
    add("made-up-child", |text, _| other(text.last_mut().unwrap()));
    add("short-child", |text, _| text.truncate(text.len() - 1));
    add("foreign-child", |text, prefix| other(&mut text[prefix - 2]));
}

fn other(byte: &mut u8) {
    *byte = if *byte == b'A' { b'B' } else { b'A' };
}

fn deformed(tokens: &mut Tokens) {
    let another = |byte: &mut u8| *byte = if *byte == b'7' { b'8' } else { b'7' };
    tokens.deform("short", |text| text.truncate(63));
    tokens.deform("long", |text| text.push(b'x'));
    tokens.deform("flipped-prefix", |text| text[1] = b'n');
    tokens.deform("flipped-id", |text| another(&mut text[12]));
    tokens.deform("flipped-secret", |text| another(&mut text[30]));
    tokens.deform("flipped-middle", |text| another(&mut text[44]));
    tokens.deform("flipped-tag", |text| another(&mut text[63]));
    tokens.deform("upper-cased", |text| text.make_ascii_uppercase());
    tokens.deform("with-dot", |text| text.push(b'.'));
    tokens.deform("percent-encoded", |text| text.splice(2..3, *b"%5F").for_each(drop));
    tokens.deform("quoted", |text| *text = [b"\"", &text[..], b"\""].concat());
    tokens.deform("non-ascii-64", |text| text[20..].fill(0xe9));
    tokens.deform("non-ascii-63", |text| text.splice(20.., [0xe9; 43]).for_each(drop));
    tokens.deform("blank-64", |text| text[20..63].fill(b' '));
    tokens.deform("comma-64", |text| text[32] = b',');
    for (name, length) in [("1kB", 1 << 10), ("2kB", 2 << 10), ("16kB", 16 << 10), ("1MB", 1 << 20)]
    {
        tokens.texts.insert(name, vec![b'x'; length]);
    }
    let field = |number: usize| format!("x-{number}: y\r\n");
    tokens.texts.insert("101-fields", (0..101).map(field).collect::<String>().into_bytes());
    // A request in a value, which must not be parsed as a request.
    let inner =
        tokens.fill(b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {operator}\r\n\r\n");
    tokens.texts.insert("length-of-inner", inner.len().to_string().into_bytes());
    tokens.texts.insert("hex-length-of-inner", format!("{:x}", inner.len()).into_bytes());
    tokens.texts.insert("inner", inner);
}
