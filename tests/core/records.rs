//! Records: their encoding, their seals, and the rules for texts that people enter.

use core::time::Duration;

use crate::support::{
    pure::{self, at, authority, authority_under, issue, pepper, tenant},
    random::Seeded,
};
use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    ChangeError, GracePeriod, KeyEdit, KeyRecord, NewKey, Pepper, Peppers, TenantId, Timestamp,
    allowance::Allowance,
    grant::Networks,
    lowlevel::Authority,
    rate::Rate,
    record::{
        Exceptions, InvalidField, Labels, RecordError, Suspension, TenantRecord, TextProblem,
    },
};
use proptest::{collection::btree_map, prelude::*};
use sha2::{Digest, Sha256};

/// Length of a seal in bytes: a slot and a MAC.
const SEAL_LEN: usize = 33;

fn plain_key() -> (Authority, TenantRecord, KeyRecord) {
    let authority = authority();
    let tenant = tenant(&authority, "acme", "advanced");
    let (key, _) = issue(&authority, &tenant, NewKey::named("ERP sync"), 1);
    (authority, tenant, key)
}

/// A key in which every property is set.
fn full_key() -> (Authority, TenantRecord, KeyRecord) {
    let authority = authority();
    let tenant = tenant(&authority, "acme", "advanced");
    let request = NewKey::named("ERP sync")
        .scopes(["operator", "reporting"])
        .labels(Labels::new([("team", "billing"), ("zone", "")]).unwrap())
        .not_before(at(10))
        .expires_at(at(1_000_000))
        .networks(Networks::only(["192.0.2.0/24", "2001:db8::/32"]).unwrap())
        .owner("team-7".parse().unwrap())
        .attributes(Labels::new([("plan", "gold"), ("region", "eu")]).unwrap())
        .created_by("Ada")
        .unwrap();
    let (key, _) = issue(&authority, &tenant, request, 1);
    let grace_period = GracePeriod::For(Duration::from_secs(60));
    let rng = &mut Seeded::new(2);
    let (key, _) = authority.rotate(&key, &tenant, grace_period, None, at(20), rng).unwrap();
    let (key, _) =
        authority.rotate(&key, &tenant, GracePeriod::default(), None, at(30), rng).unwrap();
    let suspension = Suspension::until(at(5_000), "unusual load").unwrap();
    let key = authority.suspend_key(&key, Some(suspension)).unwrap();
    let tenant =
        authority.suspend_tenant(&tenant, Some(Suspension::permanent("unpaid").unwrap())).unwrap();
    let tenant = authority.switch_owner(&tenant, &"ann".parse().unwrap(), false).unwrap();
    let tenant = authority.switch_owner(&tenant, &"team-7".parse().unwrap(), false).unwrap();
    let exceptions = Exceptions::new()
        .keys(7)
        .rate(Rate { requests: 100, per_seconds: 60 })
        .tenant_rate(None)
        .allowances([Allowance::per_seconds(600, 60), Allowance::per_month(100_000)])
        .max_lifetime(Duration::from_secs(86_400))
        .scopes(["reporting", "operator"]);
    let tenant = authority.set_exceptions(&tenant, exceptions).unwrap();
    (authority, tenant, key)
}

fn key_passes(authority: &Authority, bytes: &[u8]) -> bool {
    KeyRecord::decode(bytes).is_ok_and(|key| authority.seals().check_key(&key).is_ok())
}

fn tenant_passes(authority: &Authority, bytes: &[u8]) -> bool {
    TenantRecord::decode(bytes).is_ok_and(|tenant| authority.seals().check_tenant(&tenant).is_ok())
}

/// Returns `bytes` with `from` replaced by `to`, which has the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = bytes.windows(from.len()).position(|part| part == from);
    let place = place.expect("the record holds the text");
    bytes[place..place + from.len()].copy_from_slice(to);
    bytes
}

/// Returns variants of `bytes`: each bit of each byte flipped, and each byte replaced by its complement.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).flat_map(move |place| {
        [1, 2, 4, 8, 16, 32, 64, 128, 255].map(|mask| {
            let mut bytes = bytes.to_vec();
            bytes[place] ^= mask;
            (place, bytes)
        })
    })
}

// Encoding.

#[test]
fn a_key_reads_back_as_it_was_written() {
    for (_, _, key) in [plain_key(), full_key()] {
        assert_eq!(KeyRecord::decode(&key.encode()), Ok(key));
    }
}

#[test]
fn a_tenant_reads_back_as_it_was_written() {
    for (_, tenant, _) in [plain_key(), full_key()] {
        assert_eq!(TenantRecord::decode(&tenant.encode()), Ok(tenant));
    }
}

#[test]
fn encoding_is_the_same_on_every_machine_and_in_every_release() {
    let (_, tenant, key) = full_key();
    let stored = [tenant.encode(), key.encode()].concat();
    let digest: [u8; 32] = Sha256::digest(stored).into();
    let expected = 0x28a6_c16e_64ea_8e51_2e35_6e37_be05_14d1_u128.to_be_bytes();
    assert_eq!(digest[..16], expected);
}

#[test]
fn last_use_is_not_part_of_the_encoding() {
    let (_, _, key) = plain_key();
    let used = key.clone().with_last_used(Some(at(5)));
    assert_eq!(used.encode(), key.encode());
    assert_ne!(used, key);
    assert_eq!(KeyRecord::decode(&used.encode()).unwrap().last_used(), None);
}

#[test]
fn truncated_record_does_not_decode() {
    let (_, tenant, key) = full_key();
    let (tenant, key) = (tenant.encode(), key.encode());
    assert!((0..key.len()).all(|len| KeyRecord::decode(&key[..len]).is_err()));
    assert!((0..tenant.len()).all(|len| TenantRecord::decode(&tenant[..len]).is_err()));
}

#[test]
fn record_with_trailing_bytes_does_not_decode() {
    let (_, tenant, key) = full_key();
    assert!(KeyRecord::decode(&[key.encode(), vec![0]].concat()).is_err());
    assert!(TenantRecord::decode(&[tenant.encode(), vec![0]].concat()).is_err());
}

#[test]
fn record_of_one_kind_does_not_decode_as_the_other() {
    let (_, tenant, key) = full_key();
    let error = KeyRecord::decode(&tenant.encode()).unwrap_err();
    assert!(error.to_string().contains("the record of a key"), "{error}");
    let error = TenantRecord::decode(&key.encode()).unwrap_err();
    assert!(error.to_string().contains("the record of a tenant"), "{error}");
}

#[test]
fn a_record_of_another_version_is_refused() {
    let (_, tenant, key) = full_key();
    assert!(KeyRecord::decode(&replaced(&key.encode(), b"KWK\x01", b"KWK\x02")).is_err());
    assert!(TenantRecord::decode(&replaced(&tenant.encode(), b"KWT\x01", b"KWT\x02")).is_err());
}

#[test]
fn record_has_exactly_one_encoding() {
    let (_, _, key) = full_key();
    // Both labels in the wrong order take as many bytes as in the right one.
    let text = |text: &[u8]| [&(text.len() as u64).to_be_bytes(), text].concat();
    let team = [text(b"team"), text(b"billing")].concat();
    let zone = [text(b"zone"), text(b"")].concat();
    let (sorted, turned) = ([&*team, &*zone].concat(), [&*zone, &*team].concat());
    assert!(KeyRecord::decode(&replaced(&key.encode(), &sorted, &sorted)).is_ok());
    assert!(KeyRecord::decode(&replaced(&key.encode(), &sorted, &turned)).is_err());

    // The disabled owners of a tenant, and the scopes of its exceptions.
    let (_, tenant, _) = full_key();
    for (first, second) in [("ann", "team-7"), ("operator", "reporting")] {
        let (first, second) = (text(first.as_bytes()), text(second.as_bytes()));
        let (sorted, turned) = ([&*first, &*second].concat(), [&*second, &*first].concat());
        assert!(TenantRecord::decode(&replaced(&tenant.encode(), &sorted, &sorted)).is_ok());
        assert!(TenantRecord::decode(&replaced(&tenant.encode(), &sorted, &turned)).is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_round_trip_if_they_decode(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        magic in prop::sample::select(vec![&b""[..], b"KWK\x01", b"KWT\x01"]),
    ) {
        let bytes = [magic, &bytes].concat();
        if let Ok(key) = KeyRecord::decode(&bytes) {
            prop_assert_eq!(key.encode(), bytes.clone());
        }
        if let Ok(tenant) = TenantRecord::decode(&bytes) {
            prop_assert_eq!(tenant.encode(), bytes);
        }
    }

    #[test]
    fn damaged_records_never_panic_and_round_trip_if_they_decode(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (_, tenant, key) = full_key();
        for mut bytes in [key.encode(), tenant.encode()] {
            for (place, byte) in &damage {
                *place.get_mut(&mut bytes) = *byte;
            }
            if let Some(cut) = cut {
                bytes.remove(cut.index(bytes.len()));
            }
            if let Ok(key) = KeyRecord::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes.clone());
            }
            if let Ok(tenant) = TenantRecord::decode(&bytes) {
                prop_assert_eq!(tenant.encode(), bytes);
            }
        }
    }
}

// Round trips of every record that an authority creates.

fn text(max: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => prop::char::range(' ', '~'),
        1 => prop::sample::select(vec!['ä', 'ß', '漢', '🔑', 'é', '\u{301}']),
    ];
    // A visible character first, so that the text is not empty.
    prop::collection::vec(character, 0..max)
        .prop_map(|rest| core::iter::once('k').chain(rest).collect())
}

fn time() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
    prop_oneof![
        1 => Just(Timestamp::MIN),
        1 => Just(Timestamp::MAX),
        4 => (first..=last).prop_map(Timestamp::saturating_from_millis),
    ]
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(text(63), text(255), 0..=16).prop_map(|labels| Labels::new(labels).unwrap())
}

fn suspension() -> impl Strategy<Value = Option<Suspension>> {
    let one = (text(499), prop::option::of(time())).prop_map(|(reason, end)| match end {
        Some(end) => Suspension::until(end, reason).unwrap(),
        None => Suspension::permanent(reason).unwrap(),
    });
    prop::option::of(one)
}

#[derive(Clone, Debug)]
enum Change {
    Rename(String),
    Label(Labels),
    Enable(bool),
    Suspend(Option<Suspension>),
    Rotate(GracePeriod),
}

fn change() -> impl Strategy<Value = Change> {
    let grace_period = prop_oneof![
        Just(GracePeriod::None),
        Just(GracePeriod::UntilFirstUse),
        (0..=2_592_000_u64).prop_map(|seconds| GracePeriod::For(Duration::from_secs(seconds))),
    ];
    prop_oneof![
        text(99).prop_map(Change::Rename),
        labels().prop_map(Change::Label),
        any::<bool>().prop_map(Change::Enable),
        suspension().prop_map(Change::Suspend),
        grace_period.prop_map(Change::Rotate),
    ]
}

/// The times at which a key is issued, begins and ends, in this order.
fn times() -> impl Strategy<Value = (Timestamp, Option<Timestamp>, Option<Timestamp>)> {
    let later = (any::<bool>(), any::<bool>());
    ([time(), time(), time()], later).prop_map(|(mut times, (begins, ends))| {
        times.sort();
        let [now, start, end] = times;
        let end = (ends && now < end && start < end).then_some(end);
        (now, begins.then_some(start), end)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn key_made_by_an_authority_round_trips_with_its_seal(
        name in text(99),
        (now, start, end) in times(),
        (labels, actor) in (labels(), text(199)),
        changes in prop::collection::vec(change(), 0..5),
    ) {
        let authority = authority();
        let tenant = tenant(&authority, "acme", "advanced");
        let mut request = NewKey::named(name.clone()).labels(labels).created_by(actor).unwrap();
        if let Some(start) = start {
            request = request.not_before(start);
        }
        if let Some(end) = end {
            request = request.expires_at(end);
        }
        let mut rng = Seeded::new(1);
        let (mut key, _) = authority.issue(&tenant, request, now, &mut rng).unwrap();
        prop_assert_eq!((key.name(), key.created_at()), (&*name, now));
        prop_assert_eq!((key.not_before(), key.expires_at()), (start, end));

        for (replaces, change) in (1..).zip(changes) {
            key = match change {
                Change::Rename(name) => {
                    authority.edit(&key, &tenant, KeyEdit::new().name(name), now).unwrap()
                }
                Change::Label(labels) => {
                    authority.edit(&key, &tenant, KeyEdit::new().labels(labels), now).unwrap()
                }
                Change::Enable(enabled) => {
                    authority.edit(&key, &tenant, KeyEdit::new().enabled(enabled), now).unwrap()
                }
                Change::Suspend(suspension) => authority.suspend_key(&key, suspension).unwrap(),
                Change::Rotate(grace_period) => {
                    match authority.rotate(&key, &tenant, grace_period, None, now, &mut rng) {
                        Ok((key, _)) => key,
                        Err(ChangeError::TooManySecrets { .. }) => {
                            let none = GracePeriod::None;
                            authority.rotate(&key, &tenant, none, None, now, &mut rng).unwrap().0
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            prop_assert_eq!(key.version(), replaces + 1);
            let read = KeyRecord::decode(&key.encode()).unwrap();
            prop_assert!(authority.seals().check_key(&read).is_ok());
            prop_assert_eq!(&read, &key);
        }
    }

    #[test]
    fn tenant_made_by_an_authority_round_trips_with_its_seal(
        id in text(30).prop_map(|id| id.replace(['/', '\\', '%', '?', '#'], "_").trim_end().to_string()),
        now in time(),
        suspensions in prop::collection::vec(suspension(), 0..3),
    ) {
        let authority = authority();
        let mut tenant = authority.create_tenant(id.parse().unwrap(), "lite", now).unwrap();
        for suspension in suspensions {
            tenant = authority.suspend_tenant(&tenant, suspension.clone()).unwrap();
            prop_assert_eq!(tenant.suspension(), suspension.as_ref());
        }
        let read = TenantRecord::decode(&tenant.encode()).unwrap();
        prop_assert!(authority.seals().check_tenant(&read).is_ok());
        prop_assert_eq!((read.id().as_str(), read.created_at()), (&*id, now));
        prop_assert_eq!(read, tenant);
    }
}

// Seals.

#[test]
fn unchanged_records_pass_their_seals() {
    for (authority, tenant, key) in [plain_key(), full_key()] {
        assert!(key_passes(&authority, &key.encode()));
        assert!(tenant_passes(&authority, &tenant.encode()));
    }
}

#[test]
fn flipped_bit_of_a_key_is_detected() {
    for (authority, _, key) in [plain_key(), full_key()] {
        for (place, bytes) in flipped(&key.encode()) {
            assert!(!key_passes(&authority, &bytes), "byte {place}");
        }
    }
}

#[test]
fn flipped_bit_of_a_tenant_is_detected() {
    for (authority, tenant, _) in [plain_key(), full_key()] {
        for (place, bytes) in flipped(&tenant.encode()) {
            assert!(!tenant_passes(&authority, &bytes), "byte {place}");
        }
    }
}

#[test]
fn many_damaged_records_are_caught_by_their_seals_alone() {
    // Without this, the two tests above would not test the seals.
    let (_, tenant, key) = full_key();
    let bytes = key.encode();
    let decoded = flipped(&bytes).filter(|(_, bytes)| KeyRecord::decode(bytes).is_ok());
    assert!(decoded.count() > 1_000);
    let bytes = tenant.encode();
    let decoded = flipped(&bytes).filter(|(_, bytes)| TenantRecord::decode(bytes).is_ok());
    assert!(decoded.count() > 500);
}

#[test]
fn each_exception_and_disabled_owner_is_under_the_seal() {
    let (authority, tenant, _) = full_key();
    let bytes = tenant.encode();
    let number = |number: u32| number.to_be_bytes();
    let day = 86_400_000_u64.to_be_bytes();
    for (from, to) in [
        ([&[1][..], &number(7)].concat(), [&[1][..], &number(8)].concat()),
        ([number(100), number(60)].concat(), [number(101), number(60)].concat()),
        ([number(100), number(60)].concat(), [number(100), number(59)].concat()),
        (day.to_vec(), 86_400_001_u64.to_be_bytes().to_vec()),
        (b"reporting".to_vec(), b"reportinh".to_vec()),
        (b"ann".to_vec(), b"anm".to_vec()),
        (b"team-7".to_vec(), b"team-8".to_vec()),
    ] {
        let changed = replaced(&bytes, &from, &to);
        // The record is well formed, so that the seal alone finds the change.
        assert!(TenantRecord::decode(&changed).is_ok(), "{to:?}");
        assert!(!tenant_passes(&authority, &changed), "{to:?}");
    }
}

#[test]
fn more_disabled_owners_than_allowed_do_not_decode() {
    let (_, tenant, _) = plain_key();
    let bytes = tenant.encode();
    // No exception is set, and no suspension. The number of owners follows, then the time and the version.
    let end = bytes.len() - SEAL_LEN - 2 * size_of::<u64>();
    let before = end - size_of::<u64>();
    assert_eq!(bytes[before..end], [0; 8]);
    let with_owners = |count: u64| {
        let owners = (0..count).flat_map(|number| {
            [&4_u64.to_be_bytes()[..], format!("{number:04}").as_bytes()].concat()
        });
        let head = bytes[..before].iter().copied().chain(count.to_be_bytes());
        head.chain(owners).chain(bytes[end..].iter().copied()).collect::<Vec<_>>()
    };
    assert_eq!(with_owners(0), bytes);
    let most = TenantRecord::decode(&with_owners(1_000)).unwrap();
    assert_eq!(most.disabled_owners().len(), TenantRecord::MAX_DISABLED_OWNERS);
    assert!(TenantRecord::decode(&with_owners(1_001)).is_err());
}

/// Computes the MAC over a record's bytes without its seal, with the `hmac` crate alone.
fn seal_of(kind: &[u8], record: &[u8]) -> Vec<u8> {
    let hmac = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    };
    let key = hmac(&[7; 32], &[b"keyway/v1/seal\0mm\0live"]);
    hmac(&key, &[kind, &record[..record.len() - SEAL_LEN]])
}

#[test]
fn a_seal_is_an_hmac_over_the_kind_and_the_bytes() {
    let (_, tenant, key) = full_key();
    let (tenant, key) = (tenant.encode(), key.encode());
    assert_eq!(key[key.len() - 32..], seal_of(b"key\0", &key));
    assert_eq!(tenant[tenant.len() - 32..], seal_of(b"tenant\0", &tenant));
}

#[test]
fn a_seal_of_one_kind_does_not_pass_for_the_other() {
    let (authority, _, key) = full_key();
    let bytes = key.encode();
    let (body, _) = bytes.split_at(bytes.len() - 32);
    let with = |seal: Vec<u8>| [body, &seal].concat();
    assert!(key_passes(&authority, &with(seal_of(b"key\0", &bytes))));
    assert!(!key_passes(&authority, &with(seal_of(b"tenant\0", &bytes))));
}

#[test]
fn key_with_the_seal_of_another_record_is_refused() {
    let (authority, tenant, key) = full_key();
    let (_, _, other) = plain_key();
    let body = key.encode();
    let (body, _) = body.split_at(body.len() - SEAL_LEN);
    for donor in [tenant.encode(), other.encode()] {
        let (_, seal) = donor.split_at(donor.len() - SEAL_LEN);
        assert!(!key_passes(&authority, &[body, seal].concat()));
    }
}

#[test]
fn a_key_cannot_be_moved_to_another_tenant() {
    let (authority, _, key) = plain_key();
    let evil = tenant(&authority, "evil", "advanced");
    let moved = KeyRecord::decode(&replaced(&key.encode(), b"acme", b"evil")).unwrap();
    assert_eq!(moved.tenant(), evil.id());
    let error = authority.resolve(&moved, &evil).unwrap_err();
    assert!(matches!(error, RecordError::Tampered), "{error}");
}

#[test]
fn a_key_is_not_resolved_with_another_tenant() {
    let (authority, acme, key) = plain_key();
    let evil = tenant(&authority, "evil", "advanced");
    let error = authority.resolve(&key, &evil).unwrap_err();
    assert_eq!(error, RecordError::Misplaced);
    assert!(authority.resolve(&key, &acme).is_ok());
}

#[test]
fn a_key_is_not_resolved_with_a_forged_tenant() {
    let (authority, tenant, key) = plain_key();
    // A tier of the same length, so that the record still decodes.
    let bytes = replaced(&tenant.encode(), b"advanced", b"enormous");
    let forged = TenantRecord::decode(&bytes).unwrap();
    let error = authority.resolve(&key, &forged).unwrap_err();
    assert!(matches!(error, RecordError::Tampered), "{error}");
}

#[test]
fn tier_missing_from_the_policy_is_named() {
    let (_, tenant, key) = plain_key();
    let lite = keyway::Tier::new("lite", 1);
    let policy = keyway::Policy::new("mm", pure::catalog(&pure::SCOPES), [lite]).unwrap();
    let authority = Authority::new(policy, "live", &pepper(7).into()).unwrap();
    let error = authority.resolve(&key, &tenant).unwrap_err();
    assert_eq!(error.to_string(), "the policy has no tier `advanced`");
}

/// A key that was renamed without the pepper.
fn forged_key() -> (Authority, TenantRecord, KeyRecord) {
    let (authority, tenant, key) = plain_key();
    let bytes = replaced(&key.encode(), b"ERP sync", b"ERP sinc");
    (authority, tenant, KeyRecord::decode(&bytes).unwrap())
}

#[test]
fn edit_does_not_reseal_a_forged_key() {
    let (authority, tenant, key) = forged_key();
    let edited = authority.edit(&key, &tenant, KeyEdit::new().enabled(false), at(1));
    assert!(matches!(edited, Err(ChangeError::Record(RecordError::Tampered))));
}

#[test]
fn rotation_does_not_reseal_a_forged_key() {
    let (authority, tenant, key) = forged_key();
    let rng = &mut Seeded::new(2);
    let rotated = authority.rotate(&key, &tenant, GracePeriod::None, None, at(1), rng);
    assert!(matches!(rotated, Err(ChangeError::Record(RecordError::Tampered))));
}

#[test]
fn suspension_does_not_reseal_a_forged_key() {
    let (authority, _, key) = forged_key();
    let suspended = authority.suspend_key(&key, None);
    assert!(matches!(suspended, Err(ChangeError::Record(RecordError::Tampered))));
}

#[test]
fn changes_do_not_reseal_a_forged_tenant() {
    let (authority, tenant, key) = plain_key();
    let bytes = replaced(&tenant.encode(), b"advanced", b"enormous");
    let forged = TenantRecord::decode(&bytes).unwrap();
    let rng = &mut Seeded::new(2);
    for changed in [
        authority.set_tier(&forged, "lite").err(),
        authority.suspend_tenant(&forged, None).err(),
        authority.issue(&forged, NewKey::named("k"), at(1), rng).err(),
        authority.edit(&key, &forged, KeyEdit::new().name("n"), at(1)).err(),
    ] {
        assert!(matches!(changed, Some(ChangeError::Record(RecordError::Tampered))), "{changed:?}");
    }
}

#[test]
fn a_tenants_key_is_not_edited_for_another_tenant() {
    let (authority, acme, key) = plain_key();
    let evil = tenant(&authority, "evil", "advanced");
    let edit = || KeyEdit::new().name("stolen");
    let refused = authority.edit(&key, &evil, edit(), at(1));
    assert!(matches!(refused, Err(ChangeError::Record(RecordError::Misplaced))));
    assert!(authority.edit(&key, &acme, edit(), at(1)).is_ok());
}

// Seals and peppers.

/// Returns whether these peppers accept the rows of the first pepper, in slot 0.
fn accept(peppers: impl Into<Peppers>) -> bool {
    let (_, tenant, key) = plain_key();
    let seals = authority_under(peppers);
    let (key, tenant) = (seals.seals().check_key(&key), seals.seals().check_tenant(&tenant));
    assert_eq!(key.is_ok(), tenant.is_ok());
    key.is_ok()
}

fn new_pepper() -> Pepper {
    pepper(8).in_slot(1).unwrap()
}

#[test]
fn rows_of_the_current_pepper_are_accepted() {
    assert!(accept(pepper(7)));
}

#[test]
fn rows_of_another_pepper_are_refused_in_any_slot() {
    assert!(!accept(pepper(8)));
    assert!(!accept(new_pepper()));
    assert!(!accept(pepper(7).in_slot(1).unwrap()));
}

#[test]
fn rows_of_a_retiring_pepper_pass_and_of_a_retired_one_fail() {
    assert!(accept(Peppers::new(new_pepper()).retiring(pepper(7)).unwrap()));
    assert!(!accept(Peppers::new(new_pepper()).retired(pepper(7)).unwrap()));
}

#[test]
fn a_change_seals_with_the_current_pepper() {
    let (_, tenant, key) = plain_key();
    let ring = Peppers::new(new_pepper()).retiring(pepper(7)).unwrap();
    let edit = KeyEdit::new().name("renamed");
    let key = authority_under(ring).edit(&key, &tenant, edit, at(1)).unwrap();
    assert!(authority_under(new_pepper()).seals().check_key(&key).is_ok());
    assert!(authority().seals().check_key(&key).is_err());
}

#[test]
fn retired_pepper_still_checks_tokens_of_resealed_rows() {
    let old = authority();
    let tenant = tenant(&old, "acme", "lite");
    let (key, token) = issue(&old, &tenant, NewKey::named("k"), 1);
    let between = authority_under(Peppers::new(new_pepper()).retiring(pepper(7)).unwrap());
    let key = between.suspend_key(&key, None).unwrap();
    let tenant = between.suspend_tenant(&tenant, None).unwrap();

    let after = authority_under(Peppers::new(new_pepper()).retired(pepper(7)).unwrap());
    assert!(pure::present(&after, &tenant, &key, &token, at(1)).is_ok());
}

#[test]
fn rows_of_another_issuer_or_environment_are_refused() {
    let (_, _, key) = plain_key();
    let passes = |issuer, environment| {
        let seals = keyway::lowlevel::Seals::new(issuer, environment, &pepper(7).into());
        seals.check_key(&key).is_ok()
    };
    assert!(passes("mm", "live"));
    assert!(!passes("mx", "live"));
    assert!(!passes("mm", "test"));
    assert!(!passes("mml", "ive"));
}

// Texts that people enter.

/// Texts that cannot be shown unchanged on one line, with the character at fault.
fn unprintable() -> [(&'static str, char); 16] {
    [
        ("a\u{3164}", '\u{3164}'),
        ("\u{115f}a", '\u{115f}'),
        ("a\u{ad}b", '\u{ad}'),
        ("a\u{34f}b", '\u{34f}'),
        ("a\u{180e}b", '\u{180e}'),
        ("acme\u{e0061}", '\u{e0061}'),
        ("a\u{e000}b", '\u{e000}'),
        ("a\0b", '\0'),
        ("a\nb", '\n'),
        ("a\tb", '\t'),
        ("a\u{7f}b", '\u{7f}'),
        ("a\u{85}b", '\u{85}'),
        ("a\u{2028}b", '\u{2028}'),
        ("a\u{202e}b", '\u{202e}'),
        ("a\u{2066}b", '\u{2066}'),
        ("\u{feff}ab", '\u{feff}'),
    ]
}

/// Checks that `make` enforces the rules for a text of 1 to `max` characters.
#[track_caller]
fn assert_filled<T>(field: &str, max: usize, make: impl Fn(String) -> Result<T, InvalidField>) {
    assert_line(field, max, &make);
    for empty in ["", " ", "\t\n", "\u{a0}\u{2003}"] {
        let error = make(empty.into()).err().expect(empty);
        assert_eq!(error.problem(), TextProblem::Empty);
        assert_eq!(error.to_string(), format!("{field} is empty"));
    }
    let error = make("\u{2800}".into()).err().expect("blank");
    assert!(
        [TextProblem::Invisible, TextProblem::Unprintable('\u{2800}')].contains(&error.problem())
    );
}

/// Checks that `make` enforces the rules for a line of at most `max` characters.
#[track_caller]
fn assert_line<T>(field: &str, max: usize, make: impl Fn(String) -> Result<T, InvalidField>) {
    assert!(make("k".repeat(max)).is_ok());
    assert!(make("Zoë’s 漢字 🔑".into()).is_ok());

    let len = max + 1;
    let error = make("k".repeat(len)).err().expect("too long");
    assert_eq!(error.problem(), TextProblem::TooLong { len, max });
    let expected = format!("{field} has {len} characters, and at most {max} are allowed");
    assert_eq!(error.to_string(), expected);

    for (text, character) in unprintable() {
        let error = make(text.into()).err().expect(text);
        assert_eq!(error.problem(), TextProblem::Unprintable(character));
        let code = format!("U+{:04X}", u32::from(character));
        let expected = format!("{field} holds the character {code}, which cannot be shown");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_name_of_a_new_key_is_one_line_of_1_to_100_characters() {
    let (authority, tenant, _) = plain_key();
    assert_filled("the name of the key", 100, |name| {
        let rng = &mut Seeded::new(1);
        match authority.issue(&tenant, NewKey::named(name), at(0), rng) {
            Err(ChangeError::Invalid(error)) => Err(error),
            other => Ok(other.unwrap()),
        }
    });
}

#[test]
fn a_key_is_renamed_by_the_same_rules() {
    let (authority, tenant, key) = plain_key();
    assert_filled("the name of the key", 100, |name| {
        match authority.edit(&key, &tenant, KeyEdit::new().name(name), at(1)) {
            Err(ChangeError::Invalid(error)) => Err(error),
            other => Ok(other.unwrap()),
        }
    });
}

#[test]
fn the_name_of_a_label_is_one_line_of_1_to_64_characters() {
    assert_filled("the name of a label", 64, |name| Labels::new([(name, "")]));
}

#[test]
fn the_value_of_a_label_is_a_line_of_up_to_256_characters() {
    assert_line("the value of a label", 256, |value| Labels::new([("a", value)]));
    assert!(Labels::new([("a", "")]).is_ok());
}

#[test]
fn reason_of_a_suspension_is_one_line_of_1_to_500_characters() {
    assert_filled("the reason of the suspension", 500, Suspension::permanent);
    assert_filled("the reason of the suspension", 500, |reason| Suspension::until(at(1), reason));
}

#[test]
fn actor_of_a_key_is_a_line_of_up_to_200_characters() {
    let field = "the name of the issuer of the key";
    assert_line(field, 200, |actor| NewKey::named("k").created_by(actor));
    assert!(NewKey::named("k").created_by("").is_ok());
}

#[test]
fn the_id_of_a_tenant_is_one_line_of_1_to_128_bytes() {
    assert_filled("the id of the tenant", 128, |id| TenantId::try_from(&*id));
    assert!("é".repeat(64).parse::<TenantId>().is_ok());
    assert!("é".repeat(65).parse::<TenantId>().is_err());
}

#[test]
fn ids_of_tenants_differ_by_every_byte() {
    let id = |text: &str| text.parse::<TenantId>().unwrap();
    assert_eq!(id("acme"), id("acme"));
    for other in ["Acme", "ac me", "acme-", "acme\u{301}"] {
        assert_ne!(id("acme"), id(other));
        assert_eq!(id(other).to_string(), other);
    }
    assert_ne!(id("\u{e9}"), id("e\u{301}"));
}

#[test]
fn a_key_has_at_most_16_labels() {
    let labels = |count: usize| Labels::new((0..count).map(|number| (number.to_string(), "")));
    assert_eq!(labels(16).unwrap().iter().len(), 16);
    let error = labels(17).unwrap_err();
    assert_eq!(error.problem(), TextProblem::TooLong { len: 17, max: 16 });
    assert!(error.to_string().starts_with("the list of labels "));
}

#[test]
fn a_later_label_replaces_an_earlier_one_of_its_name() {
    let labels = Labels::new([("a", "1"), ("b", "2"), ("a", "3")]).unwrap();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    assert_eq!(labels.get("a"), Some("3"));
    assert_eq!(labels.get("A"), None);
    assert!(!labels.is_empty() && Labels::default().is_empty());
}

// Output of records.

#[test]
fn debug_text_of_a_record_depends_on_neither_digest_nor_seal() {
    let shown = |byte| {
        let authority = authority_under(pepper(byte));
        let tenant = tenant(&authority, "acme", "lite");
        let (key, _) = issue(&authority, &tenant, NewKey::named("k"), 1);
        let rng = &mut Seeded::new(2);
        let grace_period = GracePeriod::UntilFirstUse;
        let (key, _) = authority.rotate(&key, &tenant, grace_period, None, at(1), rng).unwrap();
        let key_text = format!("{key:?}").replace(key.masked(), "");
        (key_text, format!("{tenant:?}"), key.encode(), tenant.encode())
    };
    let (one, other) = (shown(7), shown(8));
    assert_eq!((one.0, one.1), (other.0, other.1));
    // Only digests, masked key and seals differ, and they do.
    assert!(one.2 != other.2 && one.3 != other.3);
}

#[test]
fn masked_key_shows_the_start_of_the_id_and_end_of_the_tag() {
    let authority = authority();
    let tenant = tenant(&authority, "acme", "lite");
    let (key, token) = issue(&authority, &tenant, NewKey::named("k"), 1);
    assert_eq!(key.masked(), format!("{}…{}", &token[..12], &token[60..]));
}

#[test]
fn the_json_of_a_key_holds_neither_digest_nor_seal() {
    let (_, _, key) = full_key();
    let json = serde_json::to_value(&key).unwrap();
    let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = "created_at created_by enabled expires_at id imported labels last_used \
                    masked name networks not_before owner resources rotated_at scopes suspension \
                    tenant version";
    let children = cfg!(feature = "children").then_some("children");
    assert_eq!(fields, children.into_iter().chain(expected.split(' ')).collect::<Vec<_>>());
}
