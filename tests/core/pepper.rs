//! Peppers: the sources that they are read from, and the secrecy of their content.

use std::{env, process::Command};

use crate::support::overheard::RevealKnown as _;
use keyway::{ConfigError, Pepper, Peppers};

/// 33 bytes whose base64 has each of the characters in which the two alphabets differ.
const SECRET: [u8; 33] = *b"\xfb\xff\xbe not random, but long enough \xff";
const STANDARD: &str = "+/++IG5vdCByYW5kb20sIGJ1dCBsb25nIGVub3VnaCD/";
const URL: &str = "-_--IG5vdCByYW5kb20sIGJ1dCBsb25nIGVub3VnaCD_";

fn of_len(len: usize) -> Result<Pepper, ConfigError> {
    Pepper::from_bytes(&vec![7; len])
}

/// Returns whether `token` was minted under this pepper, which shows that the secret is the same.
fn accepts(pepper: Pepper, token: &str) -> bool {
    let format = keyway::lowlevel::TokenFormat::new("mm", "live", &pepper.into()).unwrap();
    format.check(token.as_bytes()).is_ok()
}

fn token_of(pepper: Pepper) -> String {
    let format = keyway::lowlevel::TokenFormat::new("mm", "live", &pepper.into()).unwrap();
    let minted = format.mint(&mut getrandom::SysRng).unwrap();
    minted.token.reveal_known().to_string()
}

#[test]
fn a_pepper_has_32_to_64_bytes() {
    assert!(of_len(32).is_ok());
    assert!(of_len(64).is_ok());
}

#[test]
fn other_lengths_are_reported_by_their_number() {
    for len in [0, 1, 31, 65, 1000] {
        let error = of_len(len).unwrap_err();
        assert_eq!(error, ConfigError::PepperLength(len));
        assert_eq!(
            error.to_string(),
            format!("a pepper has 32 to 64 bytes, and this one has {len}")
        );
    }
}

#[test]
fn every_byte_of_a_pepper_counts() {
    let token = token_of(of_len(64).unwrap());
    assert!(accepts(of_len(64).unwrap(), &token));
    let mut other = [7; 64];
    other[63] = 8;
    assert!(!accepts(Pepper::from_bytes(&other).unwrap(), &token));
}

#[test]
fn base64_of_both_alphabets_gives_the_same_pepper() {
    let token = token_of(Pepper::from_bytes(&SECRET).unwrap());
    assert!(accepts(Pepper::from_base64(STANDARD).unwrap(), &token));
    assert!(accepts(Pepper::from_base64(URL).unwrap(), &token));
}

#[test]
fn padding_may_be_left_out() {
    let token = token_of(of_len(32).unwrap());
    let padded = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    assert!(accepts(Pepper::from_base64(padded).unwrap(), &token));
    let unpadded = padded.trim_end_matches('=');
    assert!(accepts(Pepper::from_base64(unpadded).unwrap(), &token));
}

#[test]
fn text_that_is_not_base64_is_an_error() {
    let mixed = STANDARD.replacen('+', "-", 1);
    let hex = format!("0x{}", "07".repeat(32));
    let ending_in_set_bits = format!("{}d", &"BwcH".repeat(11)[..42]);
    for text in [
        &*mixed,
        &hex.replace('x', ":"),
        &ending_in_set_bits,
        "not a secret",
        &format!("{STANDARD}\n"),
        &format!(" {STANDARD}"),
        &format!("{STANDARD}="),
        "ключ",
    ] {
        let refused = Pepper::from_base64(text).unwrap_err();
        assert_eq!(refused, ConfigError::PepperBase64, "{text:?}");
    }
}

#[test]
fn base64_length_error_reports_the_secret_length() {
    let refused = |text| Pepper::from_base64(text).unwrap_err();
    assert_eq!(refused(""), ConfigError::PepperLength(0));
    assert_eq!(refused(&STANDARD[..40]), ConfigError::PepperLength(30));
}

#[test]
fn a_pepper_is_in_slot_0_until_it_is_moved() {
    assert_eq!(of_len(32).unwrap().slot(), 0);
    assert_eq!(of_len(32).unwrap().in_slot(61).unwrap().slot(), 61);
}

#[test]
fn slot_above_61_is_an_error() {
    for slot in [62, u8::MAX] {
        let error = of_len(32).unwrap().in_slot(slot).unwrap_err();
        assert_eq!(error, ConfigError::PepperSlot(slot));
        assert_eq!(error.to_string(), format!("slot {slot} does not exist: slots are 0 to 61"));
    }
}

#[test]
fn a_slot_holds_one_pepper() {
    let in_slot = |slot| of_len(32).unwrap().in_slot(slot).unwrap();
    let ring = || {
        Peppers::new(in_slot(2))
            .retiring(in_slot(1))
            .and_then(|ring| ring.retired(in_slot(0)))
            .unwrap()
    };
    for slot in 0..3 {
        let taken = ConfigError::PepperSlotTaken(slot);
        assert_eq!(ring().retiring(in_slot(slot)).unwrap_err(), taken);
        assert_eq!(ring().retired(in_slot(slot)).unwrap_err(), taken);
        assert!(taken.to_string().contains(&format!("slot {slot} ")));
    }
    assert!(ring().retired(in_slot(3)).is_ok());
}

#[test]
fn all_62_slots_can_be_filled() {
    let mut ring = Peppers::new(of_len(32).unwrap());
    for slot in 1..Pepper::SLOTS {
        let older = of_len(32).unwrap().in_slot(slot).unwrap();
        ring = ring.retired(older).unwrap();
    }
    assert_eq!(ring.current().slot(), 0);
}

#[test]
fn debug_text_shows_the_slot_and_nothing_of_the_secret() {
    let pepper = Pepper::from_bytes(&[b's'; 40]).unwrap().in_slot(9).unwrap();
    let expected = r#"Pepper { slot: 9, secret: "[redacted]", .. }"#;
    assert_eq!(format!("{pepper:?}"), expected);

    let older = Pepper::from_bytes(&[b's'; 40]).unwrap();
    let text = format!("{:#?}", Peppers::new(pepper).retiring(older).unwrap());
    // 115 is the byte `s`.
    assert!(!text.contains("sss") && !text.contains("115"), "{text}");
}

#[test]
fn public_pepper_reports_that_it_is_public() {
    let public = Pepper::public();
    assert!(public.is_public());
    assert_eq!(format!("{public:?}"), r#"Pepper { slot: 0, secret: "public", .. }"#);
    assert!(public.in_slot(5).unwrap().is_public());
    assert!(!of_len(32).unwrap().is_public());
}

#[test]
fn no_error_holds_any_part_of_the_secret() {
    let secret = "hunter2-hunter2";
    for error in [
        Pepper::from_bytes(secret.as_bytes()).unwrap_err(),
        Pepper::from_base64(secret).unwrap_err(),
        Pepper::from_base64(&secret.replace('-', "_")).unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
}

#[test]
fn unset_variable_is_named_with_the_remedy() {
    let error = Pepper::from_env("KEYWAY_TEST_NEVER_SET").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`KEYWAY_TEST_NEVER_SET`"), "{text}");
    assert!(text.contains("openssl rand -base64 32"), "{text}");
}

/// Returns the result of `from_env` for `value`. A child process reads it, since changing the environment of
/// a running process is unsafe.
fn from_env(value: &str) -> String {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "pepper::child", "--nocapture"])
        .env("KEYWAY_TEST_PEPPER", value)
        .output()
        .unwrap();
    let output = String::from_utf8(child.stdout).unwrap();
    let (_, answer) = output.split_once("answer: ").expect(&output);
    answer.lines().next().unwrap_or_default().into()
}

#[test]
#[ignore = "only a child of the tests of `from_env`"]
fn child() {
    if env::var_os("KEYWAY_TEST_PEPPER").is_none() {
        return;
    }
    println!("answer: {:?}", Pepper::from_env("KEYWAY_TEST_PEPPER"));
}

#[test]
fn a_variable_holds_a_pepper_in_base64() {
    let expected = r#"Ok(Pepper { slot: 0, secret: "[redacted]", .. })"#;
    assert_eq!(from_env(STANDARD), expected);
    assert_eq!(from_env(&format!("{URL}\n")), expected);
}

#[test]
fn variable_without_a_pepper_is_an_error() {
    for (value, cause) in [("", "Empty"), (" \n", "Empty"), ("''", "Empty"), ("hunter2!", "Base64")]
    {
        let refused = from_env(value);
        let place = "the environment variable `KEYWAY_TEST_PEPPER` holds no pepper";
        assert_eq!(refused, format!(r#"Err(In {{ place: "{place}", cause: Pepper{cause} }})"#));
    }
}

/// A file with this content, which is removed on drop.
struct File(std::path::PathBuf);

impl File {
    fn of(name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = env::temp_dir().join(format!("keyway-pepper-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn file_is_read_like_a_variable() {
    let token = token_of(Pepper::from_base64(STANDARD).unwrap());
    for (number, content) in [
        STANDARD.to_owned(),
        format!("{STANDARD}\n"),
        format!("\u{feff}  {STANDARD}\r\n\r\n"),
        format!("\"{STANDARD}\"\n"),
        format!("'{URL}'"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = File::of(&format!("good-{number}"), &content);
        assert!(accepts(Pepper::from_file(&file.0).unwrap(), &token), "{content:?}");
        if !content.contains('\u{feff}') {
            assert!(from_env(&content).starts_with("Ok"), "{content:?}");
        }
    }
}

#[test]
fn pepper_on_several_lines_is_one_secret() {
    // The format is that of `openssl rand -base64 64`.
    let of_64_bytes = token_of(of_len(64).unwrap());
    let whole = format!("{}Bw==", "BwcH".repeat(21));
    assert!(accepts(Pepper::from_base64(&whole).unwrap(), &of_64_bytes));
    let (head, tail) = whole.split_at(64);
    for content in [format!("{head}\n{tail}\n"), format!("\"{head}\r\n{tail}\r\n\"")] {
        let file = File::of("lines", &content);
        assert!(accepts(Pepper::from_file(&file.0).unwrap(), &of_64_bytes), "{content:?}");
    }
    // No tool breaks a line with other white space, and two peppers are not one.
    for content in [format!("{head} {tail}"), format!("{STANDARD}\n{STANDARD}")] {
        let file = File::of("spaces", &content);
        assert!(Pepper::from_file(&file.0).is_err(), "{content:?}");
    }
}

#[test]
fn file_error_names_the_path_and_not_the_content() {
    let long = "hunter2".repeat(1_000);
    for (name, content, problem) in [
        ("empty", &b""[..], "it is empty"),
        ("blank", b" \n\n", "it is empty"),
        ("quotes", b"\"\"", "it is empty"),
        ("text", b"hunter2-hunter2!", "the pepper is not base64"),
        ("open", b"\"aHVudGVyMg==", "the pepper is not base64"),
        ("short", b"aHVudGVyMg==", "a pepper has 32 to 64 bytes, and this one has 7"),
        ("binary", b"hunter2\xff\xfe", "it is not text"),
        ("long", long.as_bytes(), "it is longer than 1024 bytes"),
    ] {
        let file = File::of(name, content);
        let error = Pepper::from_file(&file.0).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&file.0.display().to_string()) && text.contains(problem), "{text}");
        assert!(!format!("{text} {error:?}").contains("hunter"), "{text}");
    }
    let missing = Pepper::from_file("/nowhere/pepper").unwrap_err().to_string();
    assert!(missing.contains("`/nowhere/pepper` cannot be read: No such file"), "{missing}");
    assert!(Pepper::from_file(env::temp_dir()).is_err());
}
