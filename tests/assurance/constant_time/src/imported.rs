//! The path of a token that another system made.
//!
//! The id here is derived from the whole token by an HMAC under the pepper, so the id is undefined as well.
//! From there on it is as public as any other id. Whether it is the record's id is one branch. Whether the
//! digest fits is one more.

use std::sync::Arc;

use keyway::{
    ImportedKey, NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
    audit::Rejection,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    lowlevel::{Authority, CheckedToken, ResolvedKey, bearer_token, decide},
    record::TenantRecord,
};

use super::{Report, count_behind, exactly};

/// An opaque token is secret from its first byte. Whether it begins with keyway's prefix is one branch.
const OWN_PREFIX: usize = 1;
/// One branch on whether the id is the record's.
const ID: usize = 1;
/// One more branch on whether the digest is.
const ID_AND_DIGEST: usize = 2;

/// A token, its digest, and how many of its first bytes are public.
struct Subject {
    name: &'static str,
    /// The digest that the other system stored of the token.
    digest: &'static str,
    format: fn() -> ForeignFormat,
    token: &'static [u8],
    public: usize,
    /// How many reports `Authority::claims` may make.
    claims: usize,
}

const OPAQUE: &[u8] = b"q7Yx0vFz-2mKp9_LrT4wNcB6sHd8eGuA3jVtPoXiMn5";
pub const PREFIXED: &[u8] = b"mycompany_CEUsS4psCmc_BddpcwWyCT3EkDjHSSTRaSK1dxtuQgbjb";

/// How many of the first bytes of [`PREFIXED`] are public.
pub const PUBLIC: usize = 22;

const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "sha256_of_all",
        digest: "c6bd18bfe585cd88014627e507961b4664923c4d104e0dd0f9ab81c2dbafe095",
        format: || ForeignFormat::whole_token(ForeignHash::Sha256),
        token: OPAQUE,
        public: 0,
        claims: OWN_PREFIX,
    },
    Subject {
        name: "sha512_of_all",
        digest: "58b29e93ce010dab32821bb2046a444cc65efb869b8783169120845f399de27b\
                 61720061f1d402e5bca31e89866bb9b88ceae7eab835e08fdecef3747bdc2c24",
        format: || ForeignFormat::whole_token(ForeignHash::Sha512),
        token: OPAQUE,
        public: 0,
        claims: OWN_PREFIX,
    },
    Subject {
        name: "hmac_sha256_of_all",
        digest: "7d2df6daef66a3936cf15ecbab6c174daeb9970e160dded4a28d9fef5fbfa37f",
        format: || ForeignFormat::whole_token(ForeignHash::Sha256).keyed(b"key").unwrap(),
        token: OPAQUE,
        public: 0,
        claims: OWN_PREFIX,
    },
    Subject {
        name: "hmac_sha512_of_all",
        digest: "78bc6152540cf082c1ea1365068766b5d2a86cc2536e874f21838990f02ccdee\
                 78fa926bc134e14ae3a8428c678770405aa77cdff89347d1bd14061dfd32ae01",
        format: || ForeignFormat::whole_token(ForeignHash::Sha512).keyed(b"key").unwrap(),
        token: OPAQUE,
        public: 0,
        claims: OWN_PREFIX,
    },
    Subject {
        name: "prefixed_api_key",
        digest: "0f01ab6e0833f280b73b2b618c16102d91c0b7c585d42a080d6e6603239a8bee",
        format: || ForeignFormat::prefixed_api_key("mycompany").unwrap(),
        token: PREFIXED,
        public: PUBLIC,
        claims: 0,
    },
];

pub fn subjects(report: &mut Report) {
    for subject in &SUBJECTS {
        let world = World::new(subject);
        let case = |case: &str| format!("{case}/{}", subject.name);
        let count =
            |path: &dyn Fn(&[u8]) -> bool| count_behind(subject.public, subject.token, path);

        let (is_one, reports) = count(&|token| world.claims(token).is_ok_and(|all| all.len() == 1));
        report.subject("Authority::claims", subject.name, reports, exactly(subject.claims));
        report.require(is_one, "the token makes one claim");

        let function = "Authority::claims+decide";
        let (accepted, reports) = count(&|token| world.accepts(&world.right, token));
        let expected = exactly(subject.claims + ID_AND_DIGEST);
        report.subject(function, &case("right"), reports, expected);
        report.require(accepted, "the answer to the last subject is wrong");

        let (accepted, reports) = count(&|token| world.accepts(&world.other, token));
        let expected = exactly(subject.claims + ID);
        report.subject(function, &case("another_key"), reports, expected);
        report.require(!accepted, "the answer to the last subject is wrong");

        // Planted: a leak before the hash.
        let (_, reports) = count(&|token| {
            let looks_right = token[subject.public..].iter().all(u8::is_ascii_graphic);
            looks_right && world.claims(token).is_ok()
        });
        report.control(&case("claims_behind_a_check"), reports.saturating_sub(subject.claims));
        let (_, reports) = count(&|token| {
            let separators = token.iter().filter(|byte| **byte == b'_');
            separators.count() < 9 && world.claims(token).is_ok()
        });
        report.control(&case("separators_of_all"), reports.saturating_sub(subject.claims));
    }
    // With a public part as long as the start of a header, reading the header makes no report either.
    let field = [b"Bearer ", PREFIXED].concat();
    let (_, reports) = count_behind(7 + PUBLIC, &field, |field| bearer_token(field).is_ok());
    report.subject("bearer_token", "imported/prefixed_api_key", reports, exactly(0));
}

/// The key of the token, and another key.
struct World {
    authority: Authority,
    now: Timestamp,
    right: Arc<ResolvedKey>,
    other: Arc<ResolvedKey>,
}

impl World {
    fn new(subject: &Subject) -> Self {
        let policy = Policy::new("mm", ScopeCatalog::new([]).unwrap(), Tier::built_in()).unwrap();
        let pepper = Pepper::from_bytes(&[7; 32]).unwrap();
        let authority = Authority::new(policy, "live", &pepper.into()).unwrap();
        let authority = authority.accept_imported((subject.format)()).unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000).unwrap();
        let tenant = authority.create_tenant("acme".parse().unwrap(), "lite", now).unwrap();
        let other = subject.digest.replace('0', "1");
        Self {
            right: key(&authority, &tenant, subject, subject.digest, now),
            other: key(&authority, &tenant, subject, &other, now),
            authority,
            now,
        }
    }

    #[inline(never)]
    fn claims(&self, token: &[u8]) -> Result<Vec<CheckedToken>, Rejection> {
        self.authority.claims(token)
    }

    #[inline(never)]
    fn accepts(&self, key: &Arc<ResolvedKey>, token: &[u8]) -> bool {
        let claims = self.claims(token).unwrap_or_default();
        claims.iter().any(|claim| decide(claim, key, self.now).is_ok())
    }
}

fn key(
    authority: &Authority,
    tenant: &TenantRecord,
    subject: &Subject,
    digest: &str,
    now: Timestamp,
) -> Arc<ResolvedKey> {
    let (format, digest) = ((subject.format)(), ForeignDigest::from_hex(digest).unwrap());
    let request = NewKey::named("ERP nightly sync");
    let key = if subject.public == 0 {
        ImportedKey::new(&format, digest, request)
    } else {
        ImportedKey::with_public_part(&format, "CEUsS4psCmc", digest, request)
    };
    let key = authority.import(tenant, key.unwrap(), now).unwrap();
    Arc::new(authority.resolve(&key, tenant).unwrap())
}
