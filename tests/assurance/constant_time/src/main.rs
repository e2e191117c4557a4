//! Runs the path of a presented token, from the bytes of the header to the decision, and counts the branches
//! and addresses that depend on its secret. `tests/assurance/rows/01-secret-independence.sh` runs this
//! program under valgrind, which counts.
//!
//! The 32 characters of the secret and the 8 of the tag are undefined. Prefix and id are public. Two facts
//! may become known: whether the tag is right, and whether the digest is. Each is one branch. So the number
//! of reports is known in advance, and any other report is a leak.
//!
//! For children these bytes are undefined while the private key is derived from them and signs. The tag of a
//! presented child is compared with one that follows from an undefined pepper.

mod children;
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
    GracePeriod, KeyRecord, NewKey, Pepper, Policy, ScopeCatalog, Tier, Timestamp,
    lowlevel::{Authority, ResolvedKey, bearer_token, decide},
    scope::ScopeDeclaration,
};

use self::report::Report;

/// The number of characters of secret and tag together. They are the last ones of every token.
const UNDEFINED: usize = 32 + 8;

/// Issuers and environments whose tokens are aligned differently in the words that the prefix is compared in.
/// After the shortest prefix, half of such a word is secret.
const PREFIXES: [(&str, &str); 3] = [("mm", "live"), ("a", "b"), ("abcdefghijklmnop", "abcdefgh")];

/// One branch on whether the tag is right.
const TAG: usize = 1;
/// One more branch on whether the digest is.
const TAG_AND_DIGEST: usize = 2;
/// With a second secret there are two digests and two results, which are known after both comparisons. The
/// compiler decides how often it branches on each until it knows which of the four cases applies. Tag
/// included, 2 to 5 reports are made, and 6 without optimization.
const TAG_AND_TWO_DIGESTS: RangeInclusive<usize> = 2..=6;
/// The same with two older secrets.
const TAG_AND_THREE_DIGESTS: RangeInclusive<usize> = 2..=8;

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
    children::subjects(&mut report);
    report.end()
}

fn exactly(reports: usize) -> RangeInclusive<usize> {
    reports..=reports
}

/// A path from the value of the header to a result.
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
    // These are rejected for public reasons.
    check("unknown_slot", plain, &unknown_slot, false, exactly(0));
    check("malformed_prefix", plain, &other_prefix, false, exactly(0));
    check("malformed_length", plain, too_short, false, exactly(0));

    for (grace_period, key, current, neither) in [
        ("timed", &world.in_timed_grace_period, &world.timed, &world.first_use),
        ("first_use", &world.in_first_use_grace_period, &world.first_use, &world.timed),
    ] {
        let named = |subject| format!("{subject}_in_{grace_period}_grace_period");
        check(&named("forged"), key, &forged, false, exactly(TAG));
        check(&named("current"), key, current, true, TAG_AND_TWO_DIGESTS);
        let refused = check(&named("neither"), key, neither, false, TAG_AND_TWO_DIGESTS);
        // Both go through the same comparisons to the last one. A comparison that ends at the first
        // difference would make fewer reports for a digest that differs than for one that does not.
        check(&named("previous"), key, &world.first, true, exactly(refused));
    }

    // With three secrets there are three results. The oldest one is compared last.
    let key = &world.in_two_grace_periods;
    check("forged_in_two_grace_periods", key, &forged, false, exactly(TAG));
    check("current_in_two_grace_periods", key, &world.third, true, TAG_AND_THREE_DIGESTS);
    check("middle_in_two_grace_periods", key, &world.timed, true, TAG_AND_THREE_DIGESTS);
    let refused =
        check("neither_in_two_grace_periods", key, &world.first_use, false, TAG_AND_THREE_DIGESTS);
    check("oldest_in_two_grace_periods", key, &world.first, true, exactly(refused));

    let value = header(&world.first);
    let (_, reports) = count(&value, |value| bearer_token(value).is_ok());
    report.subject("bearer_token", prefix, reports, exactly(0));
}

/// Planted leaks of the usual kinds. Each must be reported: otherwise the absence of a report proves nothing.
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
    // The result for the previous secret depends on this: a comparison that ends early makes fewer reports.
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

    // A leak before the whole path makes one report too many for the subject that contains it.
    let (_, reports) = count(&value, |value| {
        let looks_right = secret(value).iter().all(u8::is_ascii_alphanumeric);
        looks_right && by_decision(world, &world.plain, value)
    });
    report.control("right_behind_a_check", reports.saturating_sub(TAG_AND_DIGEST));
}

/// Returns the result of `path` for `value`, and the number of reports until the result is known.
fn count(value: &[u8], path: impl FnOnce(&[u8]) -> bool) -> (bool, usize) {
    count_behind(value.len() - UNDEFINED, value, path)
}

/// Counts as [`count`] does, with all bytes undefined except the first `public`.
fn count_behind(public: usize, value: &[u8], path: impl FnOnce(&[u8]) -> bool) -> (bool, usize) {
    count_in(public..value.len(), value, path)
}

/// Counts as [`count`] does, with these bytes undefined.
fn count_in(
    undefined: Range<usize>,
    value: &[u8],
    path: impl FnOnce(&[u8]) -> bool,
) -> (bool, usize) {
    let mut value = value.to_vec();
    valgrind::make_undefined(&mut value[undefined]);
    let before = valgrind::reports();
    let mut answer = [u8::from(black_box(path(black_box(&value))))];
    // If the compiler returned the result without a branch, it becomes known here.
    valgrind::report_undefined(&answer);
    let reports = valgrind::reports() - before;
    valgrind::make_defined(&mut answer);
    (answer == [1], reports)
}

fn header(token: &[u8]) -> Vec<u8> {
    [b"Bearer ", token].concat()
}

/// Returns `token` with another letter or digit at this index from the end.
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
    in_timed_grace_period: Arc<ResolvedKey>,
    in_first_use_grace_period: Arc<ResolvedKey>,
    /// `timed`, rotated to `third`.
    in_two_grace_periods: Arc<ResolvedKey>,
    third: Vec<u8>,
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
        let mut rng = keyway::lowlevel::InsecureSeededRng::new(1);

        let tenant = "acme".parse().unwrap();
        let tenant = authority.create_tenant(tenant, "lite", now).unwrap();
        let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
        let (plain, first) = authority.issue(&tenant, request, now, &mut rng).unwrap();
        let mut rotate = |key: &KeyRecord, grace_period| {
            let rotated = authority.rotate(key, &tenant, grace_period, None, now, &mut rng);
            let (key, token) = rotated.unwrap();
            (key, token.reveal().as_bytes().to_vec())
        };
        let (in_timed_grace_period, timed) =
            rotate(&plain, GracePeriod::For(Duration::from_secs(3_600)));
        let (in_first_use_grace_period, first_use) = rotate(&plain, GracePeriod::UntilFirstUse);
        let (in_two_grace_periods, third) =
            rotate(&in_timed_grace_period, GracePeriod::UntilFirstUse);
        let resolve = |key: &KeyRecord| Arc::new(authority.resolve(key, &tenant).unwrap());
        Self {
            plain: resolve(&plain),
            plain_record: plain,
            in_timed_grace_period: resolve(&in_timed_grace_period),
            in_first_use_grace_period: resolve(&in_first_use_grace_period),
            in_two_grace_periods: resolve(&in_two_grace_periods),
            third,
            first: first.reveal().as_bytes().to_vec(),
            timed,
            first_use,
            now,
            authority,
        }
    }
}
