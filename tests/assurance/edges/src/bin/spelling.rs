//! Tries every other spelling of tokens and children: `spelling TOKENS CHILDREN`, with that many of each format.
//!
//! Each edit is presented to the check of tokens, to a guard with `Authorization: Bearer`, and to a guard
//! with another header. A guard ignores white space around the value of a header, as its documentation says.
//! Such edits are counted separately. No other edit may be accepted.

use std::{collections::BTreeMap, env, process::ExitCode, time::Duration};

use keyway::{
    Guard, Keyring, MemoryStore, NewKey, Pepper, Peppers, Policy, ScopeCatalog, Tier, Timestamp,
    children::{NewChild, Place},
    lowlevel::{InsecureSeededRng, TokenFormat, bearer_token},
    scope::ScopeDeclaration,
    time::{Clock as _, ManualClock},
    verifier::Freshness,
};

/// Issuers, environments and slots of the pepper. Among them are the shortest and the longest, and some that
/// look like another part of a token. The slot is the first character of the id.
const FORMATS: [(&str, &str, u8); 6] = [
    ("mm", "live", 0),
    ("a", "b", 61),
    ("abcdefghijklmnop", "abcdefgh", 25),
    ("a0", "x64", 26),
    ("s3cret", "test", 51),
    ("bearer", "live", 52),
];

const DAY: Duration = Duration::from_secs(86_400);

fn main() -> ExitCode {
    let number = |place: usize| env::args().nth(place).and_then(|number| number.parse().ok());
    let (Some(tokens), Some(children)) = (number(1), number(2)) else {
        eprintln!("spelling TOKENS CHILDREN");
        return ExitCode::from(2);
    };
    let mut tried = Tried::default();
    let mut kinds = BTreeMap::new();
    for (issuer, environment, slot) in FORMATS {
        let service = Service::new(issuer, environment, slot, tokens);
        for token in &service.tokens {
            service.check_itself(token);
            for (kind, edit) in edits(token.as_bytes()) {
                if edit != token.as_bytes() {
                    *kinds.entry(kind).or_insert(0_u64) += 1;
                    tried.add(&service, token.as_bytes(), &edit);
                }
            }
        }
    }
    let Tried { edits, by_check, by_verify, by_guard, by_field, spaces, lenient } = tried;
    let of = format!("of {edits} other spellings of {} tokens", tokens * FORMATS.len());
    println!("figure {by_check} = 0 {of} accepted as tokens");
    println!("figure {by_verify} = 0 of them accepted in the value of a field, in process");
    println!("figure {by_guard} = 0 of them accepted by a guard behind `Authorization: Bearer`");
    println!("figure {by_field} = 0 of them accepted by a guard in a field of its own");
    println!(
        "measured {spaces} of them are the token with white space around it, which is not of a field's value"
    );
    for (name, accepted) in LENIENT.iter().zip(lenient) {
        println!("control {accepted} > 0 accepted by a check that {}", name.0);
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, many)| format!("{many} {kind}")).collect();
    println!("{}", kinds.join(", "));
    try_children(children);
    ExitCode::SUCCESS
}

/// Tries every edit of this many children of each format. Each is presented in a second of its own, since few wrong
/// signatures of one parent are checked in a second.
fn try_children(number: usize) {
    let mut edits = 0_u64;
    let (mut by_verify, mut by_guard, mut by_field, mut spaces) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut lenient = [0_u64; LENIENT_CHILD.len()];
    for (issuer, environment, slot) in FORMATS {
        let service = Service::new(issuer, environment, slot, number);
        let begin = service.clock.moment().now;
        for child in &service.children {
            service.clock.set(begin);
            service.check_child(child);
            for (_, edit) in self::edits(child.as_bytes()) {
                if edit == child.as_bytes() {
                    continue;
                }
                edits += 1;
                by_verify += u64::from(service.verifies_child(&edit));
                let is_space = edit.trim_ascii() == child.as_bytes();
                spaces += u64::from(is_space);
                let bearer = [b"Bearer ", &*edit].concat();
                let is_admitted =
                    |name: &str, value: &[u8]| service.admits_child(name, value) && !is_space;
                by_guard += u64::from(is_admitted("authorization", &bearer));
                by_field += u64::from(is_admitted("x-api-key", &edit));
                for (accepted, (_, change)) in lenient.iter_mut().zip(LENIENT_CHILD) {
                    // Only a text that is changed back to the child is accepted.
                    *accepted += u64::from(change(&edit) == child.as_bytes());
                }
            }
            service.check_child(child);
        }
    }
    let children = number * FORMATS.len();
    println!("figure {by_verify} = 0 of {edits} other spellings of {children} children accepted");
    println!("figure {by_guard} = 0 of these accepted by a guard behind `Authorization: Bearer`");
    println!("figure {by_field} = 0 of these accepted by a guard in a field of its own");
    println!(
        "measured {spaces} of these are the child with white space around it, which is not of a field's value"
    );
    for (name, accepted) in LENIENT_CHILD.iter().zip(lenient) {
        println!("control {accepted} > 0 accepted by a check of children that {}", name.0);
    }
}

/// Changes a text as a less strict reader of children would, and a name for the difference.
type LenientChild = (&'static str, fn(&[u8]) -> Vec<u8>);

const LENIENT_CHILD: [LenientChild; 4] = [
    ("trims white space", |edit| edit.trim_ascii().to_vec()),
    ("ignores the high bit of a byte", |edit| edit.iter().map(|byte| byte & 0x7f).collect()),
    ("ignores padding and the standard alphabet", |edit| {
        let unpadded = edit.iter().filter(|byte| **byte != b'=');
        let url = unpadded.map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            byte => *byte,
        });
        url.collect()
    }),
    ("ignores the bits that encode nothing", |edit| {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = edit.to_vec();
        if let Some(last) = text.last_mut() {
            // The payloads leave four bits of their last character unused.
            let value = ALPHABET.iter().position(|letter| letter == last);
            *last = value.map_or(*last, |value| ALPHABET[value & !15]);
        }
        text
    }),
];

#[derive(Default)]
struct Tried {
    edits: u64,
    by_check: u64,
    by_verify: u64,
    by_guard: u64,
    by_field: u64,
    spaces: u64,
    lenient: [u64; 5],
}

impl Tried {
    fn add(&mut self, service: &Service, token: &[u8], edit: &[u8]) {
        self.edits += 1;
        self.by_check += u64::from(service.format.check(edit).is_ok());
        // White space around the value of a header is not part of the value (RFC 9110, section 5.5). Spaces
        // after the scheme belong to the scheme (RFC 6750, section 2.1).
        let is_space = edit.trim_ascii() == token;
        self.spaces += u64::from(is_space);
        let bearer = [b"Bearer ", edit].concat();
        let is_admitted = |name: &str, value: &[u8]| {
            pollster::block_on(service.guard.admit(&[(name, value)][..])).is_ok() && !is_space
        };
        let is_taken = bearer_token(&bearer).is_ok_and(|token| service.format.check(token).is_ok());
        self.by_verify += u64::from(is_taken && !is_space);
        self.by_guard += u64::from(is_admitted("authorization", &bearer));
        self.by_field += u64::from(is_admitted("x-api-key", edit));
        for (accepted, (_, check)) in self.lenient.iter_mut().zip(LENIENT) {
            *accepted += u64::from(check(&service.format, edit));
        }
    }
}

/// A check that is less strict than keyway's, and a name for the difference.
type Lenient = (&'static str, fn(&TokenFormat, &[u8]) -> bool);

const LENIENT: [Lenient; 5] = [
    ("trims white space", |format, edit| format.check(edit.trim_ascii()).is_ok()),
    ("ignores the high bit of a byte", |format, edit| {
        format.check(&edit.iter().map(|byte| byte & 0x7f).collect::<Vec<_>>()).is_ok()
    }),
    ("ignores the case of the prefix", |format, edit| {
        let (prefix, body) = edit.split_at(format.prefix().len().min(edit.len()));
        format.check(&[&prefix.to_ascii_lowercase(), body].concat()).is_ok()
    }),
    ("reads no more than it needs", |format, edit| {
        edit.get(..format.token_len()).is_some_and(|token| format.check(token).is_ok())
    }),
    ("finds the token in what surrounds it", |format, edit| {
        str::from_utf8(edit).ok().and_then(|edit| format.find_in(edit)).is_some_and(|token| {
            token.len() == format.token_len() && format.check(token.as_bytes()).is_ok()
        })
    }),
];

struct Service {
    format: TokenFormat,
    keyring: Keyring,
    clock: ManualClock,
    guard: Guard,
    tokens: Vec<String>,
    /// One child of each key.
    children: Vec<String>,
}

impl Service {
    fn new(issuer: &str, environment: &str, slot: u8, tokens: usize) -> Self {
        let peppers = || {
            let pepper = |byte: u8, slot| Pepper::from_bytes(&[byte; 32])?.in_slot(slot);
            let other = u8::from(slot == 0);
            Peppers::new(pepper(7, slot)?).retired(pepper(9, other)?)
        };
        let peppers = || peppers().expect("32 bytes each, in slots that there are");
        let catalog = ScopeCatalog::new([ScopeDeclaration::new("read", "")]).expect("one scope");
        let tier = Tier::new("free", u32::MAX);
        let policy = Policy::new(issuer, catalog, [tier]).expect("an issuer and a tier");
        let policy = policy.with_children(31 * DAY).expect("not too long");
        let now = Timestamp::from_millis(1_800_000_000_000).expect("a time");
        let clock = ManualClock::at(now);
        let end = now.checked_add(30 * DAY).expect("a time");
        let request = NewChild::until(end).nonce(b"n").expect("one byte");
        let keyring = Keyring::builder(policy, peppers())
            .environment(environment)
            .store(MemoryStore::new())
            .clock(clock.clone())
            .rng(InsecureSeededRng::new(slot.into()))
            .build()
            .expect("an environment and a store");
        let minted = pollster::block_on(async {
            let tenant = "acme".parse().expect("an id");
            keyring.create_empty_tenant("acme", "free").await?;
            let (mut minted, mut children) = (Vec::new(), Vec::new());
            for _ in 0..tokens {
                let request_key = NewKey::named("k").children(true);
                let key = keyring.tenant(Clone::clone(&tenant)).issue(request_key).await?;
                let minter = keyring.child_minter(&key.token).expect("the policy allows children");
                let child = minter.mint_at(&request, now).expect("it is short");
                children.push(child.reveal().to_string());
                minted.push(key.token.reveal().to_string());
            }
            Ok::<_, keyway::KeyringError>((minted, children))
        });
        let (tokens, children) = minted.expect("a memory store takes keys");
        let guard = Guard::new(&keyring).key_header("x-api-key").expect("the name of a field");
        Self {
            format: TokenFormat::new(issuer, environment, &peppers()).expect("labels"),
            guard: guard.accepts_children(Place::new()),
            keyring,
            clock,
            tokens,
            children,
        }
    }

    /// Presents a child, in the next second.
    fn verifies_child(&self, text: &[u8]) -> bool {
        self.clock.advance(Duration::from_secs(1));
        let verifier = self.keyring.verifier();
        pollster::block_on(verifier.verify_at(text, Freshness::Cached, None, &Place::new())).is_ok()
    }

    /// Presents the value of a field to the guard, in the next second.
    fn admits_child(&self, name: &str, value: &[u8]) -> bool {
        self.clock.advance(Duration::from_secs(1));
        pollster::block_on(self.guard.admit(&[(name, value)][..])).is_ok()
    }

    /// Checks that the child itself is accepted on every path that its edits take.
    fn check_child(&self, child: &str) {
        assert!(self.verifies_child(child.as_bytes()));
        assert!(self.admits_child("authorization", format!("Bearer {child}").as_bytes()));
        assert!(self.admits_child("x-api-key", child.as_bytes()));
    }

    /// Checks that the token itself is accepted on every path that its edits take.
    fn check_itself(&self, token: &str) {
        let bearer = format!("Bearer {token}");
        assert!(self.format.check(token.as_bytes()).is_ok());
        for (name, value) in [("authorization", bearer.as_bytes()), ("x-api-key", token.as_bytes())]
        {
            assert!(pollster::block_on(self.guard.admit(&[(name, value)][..])).is_ok());
        }
    }
}

/// Returns every edit of `token`, each with its kind.
fn edits(token: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut edits = Vec::new();
    for place in 0..=token.len() {
        let (before, rest) = token.split_at(place);
        for byte in 0..=u8::MAX {
            edits.push(("insertions", [before, &[byte], rest].concat()));
            if let [_, behind @ ..] = rest {
                edits.push(("substitutions", [before, &[byte], behind].concat()));
            }
        }
        if let [byte, behind @ ..] = rest {
            edits.push(("deletions", [before, behind].concat()));
            let flipped = byte ^ 0x20;
            edits.push(("case flips", [before, &[flipped], behind].concat()));
        }
        for end in place + 1..=token.len() {
            let part = &token[place..end];
            edits.push(("parts", part.to_vec()));
            edits.push(("repetitions", [&token[..end], part, &token[end..]].concat()));
            edits.push(("omissions", [&token[..place], &token[end..]].concat()));
            let mut reversed = token.to_vec();
            reversed[place..end].reverse();
            edits.push(("reversals", reversed));
            if end < token.len() {
                let mut exchanged = token.to_vec();
                exchanged.swap(place, end);
                edits.push(("transpositions", exchanged));
            }
        }
    }
    edits.extend(encodings(token).into_iter().map(|edit| ("encodings", edit)));
    edits.extend(encoded_places(token).into_iter().map(|edit| ("encodings in place", edit)));
    edits
}

/// Returns the whole token in other encodings, and with other text around it.
fn encodings(token: &[u8]) -> Vec<Vec<u8>> {
    let hex = |upper: bool| {
        let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let digit = |value: u8| digits[usize::from(value)];
        token.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<Vec<u8>>()
    };
    let base64 = |alphabet: [u8; 2], pads: bool| base64(token, alphabet, pads);
    let wide = |bytes: fn(u16) -> [u8; 2]| {
        token.iter().flat_map(|byte| bytes(u16::from(*byte))).collect::<Vec<u8>>()
    };
    let full_width: String =
        token.iter().filter_map(|byte| char::from_u32(u32::from(*byte) + 0xfee0)).collect();
    let mut all = vec![
        hex(false),
        hex(true),
        [b"0x", &*hex(false)].concat(),
        base64(*b"+/", true),
        base64(*b"+/", false),
        base64(*b"-_", true),
        base64(*b"-_", false),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
        [b"\xff\xfe", &*wide(u16::to_le_bytes)].concat(),
        [b"\xfe\xff", &*wide(u16::to_be_bytes)].concat(),
        token.iter().flat_map(|byte| u32::from(*byte).to_le_bytes()).collect(),
        full_width.into_bytes(),
        token.iter().map(|byte| byte | 0x80).collect(),
        token.iter().rev().copied().collect(),
        token.to_ascii_uppercase(),
        token.to_ascii_lowercase(),
        token.iter().map(|byte| byte ^ 0x20).collect(),
        rot13(token),
        token.iter().flat_map(|byte| percent(*byte, true)).collect(),
        token.iter().flat_map(|byte| percent(*byte, false)).collect(),
        token.iter().flat_map(|byte| format!("\\u{byte:04x}").into_bytes()).collect(),
        token.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()).collect(),
        token.iter().flat_map(|byte| format!("&#{byte};").into_bytes()).collect(),
        token.iter().flat_map(|byte| [*byte, 0]).collect(),
        token.iter().flat_map(|byte| [*byte, b' ']).collect(),
        [token, token].concat(),
        [token, b",", token].concat(),
        [token, b", ", token].concat(),
        [token, b" ", token].concat(),
        [token, b":"].concat(),
        [b":", token].concat(),
        [token, b":x"].concat(),
        [b"secret-token:secret-token:", token].concat(),
        [b"SECRET-TOKEN:", token].concat(),
        [b"Bearer ", token].concat(),
        [b"\xef\xbb\xbf", token].concat(),
        [token, b"\xef\xbb\xbf"].concat(),
        [b"\xe2\x80\x8b", token].concat(),
        [token, b"\xe2\x80\x8b"].concat(),
        [b"\xc2\xa0", token].concat(),
        [token, b"\xc2\xa0"].concat(),
        [b"\xe2\x80\xaf", token].concat(),
        [b"token=", token].concat(),
        [b"key=", token, b"&x=y"].concat(),
        [b"=?utf-8?q?", token, b"?="].concat(),
        [b"UTF-8''", token].concat(),
        [token, b"%00"].concat(),
        [token, b"%0d%0a"].concat(),
        [token, b"#"].concat(),
        [token, b"?"].concat(),
        [token, b"/"].concat(),
        [token, b"/../", token].concat(),
        [token, b"\0", token].concat(),
        [token, b"=="].concat(),
        [token, b"..."].concat(),
    ];
    for (open, close) in [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("<", ">"),
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("\\\"", "\\\""),
        ("%22", "%22"),
        ("&quot;", "&quot;"),
        ("\u{201c}", "\u{201d}"),
        ("\u{ab}", "\u{bb}"),
        ("/*", "*/"),
        ("\u{202e}", "\u{202c}"),
        ("*", "*"),
        ("$", "$"),
    ] {
        all.push([open.as_bytes(), token, close.as_bytes()].concat());
        all.push([open.as_bytes(), token].concat());
        all.push([token, close.as_bytes()].concat());
    }
    for space in [" ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\0", "\u{85}", "\u{2028}"] {
        all.push([space.as_bytes(), token].concat());
        all.push([token, space.as_bytes()].concat());
        all.push([space.as_bytes(), token, space.as_bytes()].concat());
    }
    all
}

/// Returns the token with one of its characters written in another way.
fn encoded_places(token: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (place, byte) in token.iter().enumerate() {
        let wide = char::from_u32(u32::from(*byte) + 0xfee0).map(String::from);
        let ways = [
            percent(*byte, true).to_vec(),
            percent(*byte, false).to_vec(),
            format!("%25{byte:02x}").into_bytes(),
            format!("%u{byte:04x}").into_bytes(),
            format!("\\u{byte:04x}").into_bytes(),
            format!("\\x{byte:02x}").into_bytes(),
            format!("\\{byte:03o}").into_bytes(),
            format!("&#{byte};").into_bytes(),
            format!("&#x{byte:x};").into_bytes(),
            format!("={byte:02X}").into_bytes(),
            format!("\\{}", char::from(*byte)).into_bytes(),
            wide.unwrap_or_default().into_bytes(),
            // Longer than UTF-8 allows.
            vec![0xc0 | byte >> 6, 0x80 | byte & 0x3f],
            vec![0xe0, 0x80 | byte >> 6, 0x80 | byte & 0x3f],
            // With a combining accent, and with a zero-width joiner.
            [&[*byte], &b"\xcc\x81"[..]].concat(),
            [&[*byte], &b"\xe2\x80\x8d"[..]].concat(),
            // With a soft hyphen.
            [&[*byte], &b"\xc2\xad"[..]].concat(),
        ];
        let (before, behind) = (&token[..place], &token[place + 1..]);
        all.extend(ways.iter().map(|way| [before, way, behind].concat()));
    }
    all
}

fn percent(byte: u8, upper: bool) -> [u8; 3] {
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    [b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

fn rot13(token: &[u8]) -> Vec<u8> {
    let turn = |byte: &u8| match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        other => *other,
    };
    token.iter().map(turn).collect()
}

/// RFC 4648, sections 4 and 5.
fn base64(bytes: &[u8], last: [u8; 2], pads: bool) -> Vec<u8> {
    let letters = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last);
    let alphabet: Vec<u8> = letters.collect();
    let mut text = Vec::new();
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            let value = bits >> (18 - 6 * place) & 63;
            text.push(alphabet[usize::try_from(value).unwrap_or(0)]);
        }
        if pads {
            text.resize(text.len().next_multiple_of(4), b'=');
        }
    }
    text
}
