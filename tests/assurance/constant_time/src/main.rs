//! Runs the path of a presented token, from the bytes of the header to the decision, and counts the
//! branches and addresses that depend on its secret. `tests/assurance/rows/01-secret-independence.sh` runs
//! this under valgrind, which does the counting.
//!
//! The 32 characters of the secret and the 8 of the tag are undefined; prefix and id are public. What
//! is made known is whether the tag is right and whether the digest is, and each is one branch. So
//! their number is known, and any other report is a leak.

mod guard;
mod imported;
mod keys;
mod report;
mod valgrind;

use std::{
    hint::black_box,
    ops::{Range, RangeInclusive},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use keyway::{
    authority::{Authority, NewKey, Overlap},
    authorization::bearer_token,
    decision::{ResolvedKey, decide},
    pepper::Pepper,
    policy::Policy,
    record::KeyRecord,
    scope::{ScopeCatalog, ScopeDeclaration},
    tier::Tier,
    time::Timestamp,
};

use self::report::Report;

/// Characters of secret and tag together, the last ones of every token.
const UNDEFINED: usize = 32 + 8;

/// Issuers and environments whose tokens lie differently in the words that the prefix is compared in:
/// behind the shortest one, half of such a word is secret.
const PREFIXES: [(&str, &str); 3] = [("mm", "live"), ("a", "b"), ("abcdefghijklmnop", "abcdefgh")];

/// One branch tells whether the tag is right.
const TAG: usize = 1;
/// One more tells whether the digest is.
const TAG_AND_DIGEST: usize = 2;
/// With a second secret there are two digests and two answers, known after both comparisons, and the
/// compiler decides how often it branches on each until it knows which of four cases it has: 2 to 5
/// reports, tag included, and 6 without optimization.
const TAG_AND_TWO_DIGESTS: RangeInclusive<usize> = 2..=6;

fn main() -> ExitCode {
    if !valgrind::is_running() {
        eprintln!(
            "this measures nothing unless valgrind runs it: see row 1 in tests/assurance/rows"
        );
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for (issuer, environment) in PREFIXES {
        let world = World::new(issuer, environment);
        let prefix = format!("{issuer}_{environment}");
        for (name, path) in PATHS {
            subjects(&mut report, &world, name, &prefix, path);
        }
    }
    controls(&mut report, &World::new("mm", "live"));
    imported::subjects(&mut report);
    guard::subjects(&mut report);
    keys::subjects(&mut report);
    report.end()
}

fn exactly(reports: usize) -> RangeInclusive<usize> {
    reports..=reports
}

/// A way from the value of the header to an answer.
type Path = fn(&World, &Arc<ResolvedKey>, &[u8]) -> bool;

const PATHS: [(&str, Path); 2] =
    [("Authority::check+decide", by_decision), ("Authority::check+is_proven_by", by_proof)];

#[inline(never)]
fn by_decision(world: &World, key: &Arc<ResolvedKey>, value: &[u8]) -> bool {
    let Ok(token) = bearer_token(value) else {
        return false;
    };
    let Ok(claim) = world.authority.check(token) else {
        return false;
    };
    decide(&claim, key, world.now).is_ok()
}

#[inline(never)]
fn by_proof(world: &World, key: &Arc<ResolvedKey>, value: &[u8]) -> bool {
    let Ok(token) = bearer_token(value) else {
        return false;
    };
    let Ok(claim) = world.authority.check(token) else {
        return false;
    };
    key.is_proven_by(&claim, world.now)
}

fn subjects(report: &mut Report, world: &World, function: &str, prefix: &str, path: Path) {
    let case = |case: &str| format!("{case}/{prefix}");
    let mut check = |subject: &str, key, token: &[u8], accepted, expected| {
        let value = header(token);
        let (answer, reports) = count(&value, |value| path(world, key, value));
        report.subject(function, &case(subject), reports, expected);
        report.require(answer == accepted, "the answer to the last subject is wrong");
        reports
    };

    let forged = with_changed(&world.first, UNDEFINED - 12);
    let forged_tag = with_changed(&world.first, 1);
    let unknown_slot = with_changed(&world.first, UNDEFINED + 16);
    let other_prefix = with_changed(&world.first, world.first.len());
    let too_short = &world.first[..world.first.len() - 1];

    let plain = &world.plain;
    check("right", plain, &world.first, true, exactly(TAG_AND_DIGEST));
    check("superseded", plain, &world.timed, false, exactly(TAG_AND_DIGEST));
    check("forged", plain, &forged, false, exactly(TAG));
    check("forged_tag", plain, &forged_tag, false, exactly(TAG));
    // These are refused for what is public.
    check("unknown_slot", plain, &unknown_slot, false, exactly(0));
    check("malformed_prefix", plain, &other_prefix, false, exactly(0));
    check("malformed_length", plain, too_short, false, exactly(0));

    for (overlap, key, current, neither) in [
        ("timed", &world.in_timed_overlap, &world.timed, &world.first_use),
        ("first_use", &world.in_first_use_overlap, &world.first_use, &world.timed),
    ] {
        let named = |subject| format!("{subject}_in_{overlap}_overlap");
        check(&named("forged"), key, &forged, false, exactly(TAG));
        check(&named("current"), key, current, true, TAG_AND_TWO_DIGESTS);
        let refused = check(&named("neither"), key, neither, false, TAG_AND_TWO_DIGESTS);
        // Both run through the same questions to the last one. A comparison that ends at the first
        // difference would make fewer reports of a digest that differs than of one that does not.
        check(&named("previous"), key, &world.first, true, exactly(refused));
    }

    let value = header(&world.first);
    let (_, reports) = count(&value, |value| bearer_token(value).is_ok());
    report.subject("bearer_token", prefix, reports, exactly(0));
}

/// Leaks of the usual kinds. Each has to be seen, or nothing that was not seen means anything.
fn controls(report: &mut Report, world: &World) {
    let value = header(&world.first);
    let secret = |value: &[u8]| value[value.len() - UNDEFINED..value.len() - 8].to_vec();
    let expected = secret(&value);

    let (_, reports) =
        count(&value, |value| black_box(&secret(value)[..]) == black_box(&expected[..]));
    report.control("slice_equality", reports);
    let mut other = expected.clone();
    other[0] ^= 1;
    let (_, early) = count(&value, |value| black_box(&secret(value)[..]) == black_box(&other[..]));
    // On this rests what is said of the previous secret.
    report.control("slice_equality_ends_early", reports.saturating_sub(early));

    let (_, reports) = count(&value, |value| secret(value).iter().all(u8::is_ascii_alphanumeric));
    report.control("alphanumeric_check", reports);
    let (_, reports) = count(&value, |value| std::str::from_utf8(&secret(value)).is_ok());
    report.control("utf8_check", reports);

    let mut table = [0; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (value, character) in (0..).zip(alphabet) {
        table[usize::from(*character)] = value;
    }
    let table: &[u8; 256] = black_box(&table);
    let (_, reports) = count(&value, |value| {
        let decode = |bits, character: &u8| bits ^ black_box(table[usize::from(*character)]);
        black_box(secret(value).iter().fold(0, decode));
        true
    });
    report.control("base64_look_up", reports);

    // And a leak beside the whole path is one too many for the subject it stands in.
    let (_, reports) = count(&value, |value| {
        let looks_right = secret(value).iter().all(u8::is_ascii_alphanumeric);
        looks_right && by_decision(world, &world.plain, value)
    });
    report.control("right_behind_a_check", reports.saturating_sub(TAG_AND_DIGEST));
}

/// What `path` answers to `value`, and how many reports there were until the answer was known.
fn count(value: &[u8], path: impl FnOnce(&[u8]) -> bool) -> (bool, usize) {
    count_behind(value.len() - UNDEFINED, value, path)
}

/// As [`count`], with all undefined but so many bytes from the front.
fn count_behind(public: usize, value: &[u8], path: impl FnOnce(&[u8]) -> bool) -> (bool, usize) {
    count_in(public..value.len(), value, path)
}

/// As [`count`], with these bytes undefined.
fn count_in(
    undefined: Range<usize>,
    value: &[u8],
    path: impl FnOnce(&[u8]) -> bool,
) -> (bool, usize) {
    let mut value = value.to_vec();
    valgrind::make_undefined(&mut value[undefined]);
    let before = valgrind::reports();
    let mut answer = [u8::from(black_box(path(black_box(&value))))];
    // Where the compiler returned the answer without a branch, this is where it becomes known.
    valgrind::report_undefined(&answer);
    let reports = valgrind::reports() - before;
    valgrind::make_defined(&mut answer);
    (answer == [1], reports)
}

fn header(token: &[u8]) -> Vec<u8> {
    [b"Bearer ", token].concat()
}

/// `token` with another character at this place from the end, alphanumeric like the one before.
fn with_changed(token: &[u8], from_end: usize) -> Vec<u8> {
    let mut changed = token.to_vec();
    let place = token.len() - from_end;
    changed[place] = if token[place] == b'B' { b'C' } else { b'B' };
    changed
}

/// One key at three times of its life, and the three secrets that it was given.
struct World {
    authority: Authority,
    now: Timestamp,
    plain: Arc<ResolvedKey>,
    plain_record: KeyRecord,
    in_timed_overlap: Arc<ResolvedKey>,
    in_first_use_overlap: Arc<ResolvedKey>,
    first: Vec<u8>,
    timed: Vec<u8>,
    first_use: Vec<u8>,
}

impl World {
    fn new(issuer: &str, environment: &str) -> Self {
        let catalog = ScopeCatalog::new([ScopeDeclaration::new("reporting", "Read reports")]);
        let policy = Policy::new(issuer, catalog.unwrap(), Tier::built_in()).unwrap();
        let pepper = Pepper::from_bytes(&[7; 32]).unwrap();
        let authority = Authority::new(policy, environment, &pepper.into()).unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000).unwrap();
        let mut rng = keyway::token::InsecureSeededRng::new(1);

        let tenant = "acme".parse().unwrap();
        let tenant = authority.create_tenant(tenant, "lite", now).unwrap();
        let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
        let (plain, first) = authority.issue(&tenant, request, now, &mut rng).unwrap();
        let mut rotate = |overlap| {
            let rotated = authority.rotate(&plain, overlap, None, now, &mut rng);
            let (key, token) = rotated.unwrap();
            (key, token.reveal().as_bytes().to_vec())
        };
        let (in_timed_overlap, timed) = rotate(Overlap::For(Duration::from_secs(3_600)));
        let (in_first_use_overlap, first_use) = rotate(Overlap::UntilFirstUse);
        let resolve = |key: &KeyRecord| Arc::new(authority.resolve(key, &tenant).unwrap());
        Self {
            plain: resolve(&plain),
            plain_record: plain,
            in_timed_overlap: resolve(&in_timed_overlap),
            in_first_use_overlap: resolve(&in_first_use_overlap),
            first: first.reveal().as_bytes().to_vec(),
            timed,
            first_use,
            now,
            authority,
        }
    }
}
