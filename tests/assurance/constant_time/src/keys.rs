//! Secrets beside the way of a request: the host's peppers and what follows from them, and the key and
//! the digests of another system.
//!
//! Tokens are not made here. That takes branches on random characters, by which those that are no letters
//! and digits are thrown away: none of them is part of a token.

use keyway::{
    authority::Authority,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    pepper::Pepper,
};

use super::{Report, World, count_in, exactly};

/// One branch tells whether a MAC is the one that it is compared with.
const MAC: usize = 1;

/// 33 bytes in base64, without padding.
const TEXT: &[u8; 44] = b"bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9m";
/// The last characters of [`TEXT`]. Where padding may be, the decoder asks whether it is.
const LAST: usize = 4;
/// One branch tells whether all characters are of base64.
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
    // The pepper of the world, which is secret here.
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
        authority(pepper).seals().check_tenant(&tenant).is_ok()
    });
    check("Seals::check_key", "pepper", &pepper, MAC, &|pepper| {
        authority(pepper).seals().check_key(&world.plain_record).is_ok()
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
        // SAFETY: all of it is ASCII. Whether it is would be a branch on each character.
        let text = unsafe { str::from_utf8_unchecked(text) };
        Pepper::from_base64(text).is_ok()
    });
    report.subject("Pepper::from_base64", "pepper", reports, exactly(BASE64));
    report.require(answer, "the answer to the last subject is wrong");
}
