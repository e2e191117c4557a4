//! Secrets outside the path of a request: the application's peppers and the keys derived from them, and the
//! HMAC key and the digests of another system.
//!
//! Minting is not measured here. It branches on random characters to discard those that are not letters or
//! digits. No discarded character is part of a token.

use std::mem;

use keyway::{
    Pepper,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    lowlevel::Authority,
    record::RecordError,
};

use super::{Report, World, count_in, exactly};

/// One branch on whether a MAC equals the one that it is compared with.
const MAC: usize = 1;

/// 33 bytes in base64, without padding.
const TEXT: &[u8; 44] = b"bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9m";
/// The last characters of [`TEXT`]. Where padding may be, the decoder checks for it.
const LAST: usize = 4;
/// One branch on whether all characters belong to base64.
const BASE64: usize = 1;

pub fn subjects(report: &mut Report) {
    let mut check =
        |function: &str, case: &str, secret: &[u8], expected, path: &dyn Fn(&[u8]) -> bool| {
            let (answer, reports) = count_in(0..secret.len(), secret, path);
            report.subject(function, case, reports, exactly(expected));
            report.require(answer, "the answer to the last subject is wrong");
        };

    let world = World::new("mm", "live");
    let authority = |pepper: &[u8]| {
        let pepper = Pepper::from_bytes(pepper).unwrap();
        let policy = world.authority.policy().clone();
        Authority::new(policy, "live", &pepper.into()).unwrap()
    };
    let tenant = || world.authority.create_tenant("acme".parse().unwrap(), "lite", world.now);
    let tenant = tenant().unwrap();
    // The pepper of `world`, which is secret here.
    let pepper = [7; 32];
    check("Pepper::from_bytes", "pepper", &pepper, 0, &|pepper| Pepper::from_bytes(pepper).is_ok());
    check("Authority::new", "pepper", &pepper, 0, &|pepper| {
        authority(pepper).format().token_len() > 0
    });
    check("Authority::check", "pepper", &pepper, MAC, &|pepper| {
        authority(pepper).check(&world.first).is_ok()
    });
    check("Authority::create_tenant", "pepper", &pepper, 0, &|pepper| {
        authority(pepper).create_tenant("acme".parse().unwrap(), "lite", world.now).is_ok()
    });
    check("Seals::check_tenant", "pepper", &pepper, MAC, &|pepper| {
        is_whole(authority(pepper).seals().check_tenant(&tenant))
    });
    check("Seals::check_key", "pepper", &pepper, MAC, &|pepper| {
        is_whole(authority(pepper).seals().check_key(&world.plain_record))
    });

    let format = |hash| ForeignFormat::whole_token(hash);
    for (case, key) in [("short_key", &[1; 20][..]), ("long_key", &[1; 200])] {
        check("ForeignFormat::keyed", case, key, 0, &|key| {
            [ForeignHash::Sha256, ForeignHash::Sha512]
                .into_iter()
                .all(|hash| format(hash).keyed(key).is_ok())
        });
    }
    check("ForeignDigest::from_bytes", "digest", &[1; 64], 0, &|digest| {
        ForeignDigest::from_bytes(digest).is_ok()
    });

    let (answer, reports) = count_in(0..TEXT.len() - LAST, TEXT, |text| {
        // SAFETY: all bytes are ASCII. A check would be a branch on each character.
        let text = unsafe { str::from_utf8_unchecked(text) };
        Pepper::from_base64(text).is_ok()
    });
    report.subject("Pepper::from_base64", "pepper", reports, exactly(BASE64));
    report.require(answer, "the answer to the last subject is wrong");
}

/// Returns the outcome of a check of a seal. The errors of records own text, so dropping a result branches on the
/// outcome once more. The second branch belongs to the caller and not to the check.
fn is_whole(checked: Result<(), RecordError>) -> bool {
    let is_whole = checked.is_ok();
    mem::forget(checked);
    is_whole
}
