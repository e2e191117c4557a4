//! Hostile requests for children get typed errors, which repeat no part of a token.

use core::time::Duration;

use keyway::{
    Timestamp,
    children::{ChildMinter, MintChildError, NewChild},
    grant::{Networks, Resources},
};

use crate::{
    child_parent::{Parent, present, world},
    support::{DAY, HOUR, chain, gives_away, overheard::known},
};

fn day() -> NewChild {
    NewChild::lasting(DAY)
}

#[test]
fn request_for_a_child_above_1024_bytes_is_too_long() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let numbered = |number: usize| format!("{number:04}");
    let ids = |of: usize| Resources::only((0..100).map(|id| format!("{of}-{id:061}"))).unwrap();
    let with_all_kinds = (0..60)
        .fold(day(), |request, kind| request.resources(&format!("kind{kind}"), ids(kind)).unwrap());
    let with_names = |many: usize, each: fn(NewChild, String) -> NewChild| {
        (0..many).fold(day(), |request, number| each(request, numbered(number)))
    };
    let requests = [
        day().scopes((0..1_000).map(numbered)).unwrap(),
        // The value of a caveat has at most 65,535 bytes.
        day().scopes((0..20_000).map(|number| format!("{number:099}"))).unwrap(),
        day().resources("machine", ids(0)).unwrap(),
        with_all_kinds,
        with_names(1_000, |request, name| request.host(&name).unwrap()),
        with_names(1_000, |request, name| request.operation(&name).unwrap()),
        with_names(1_000, |request, name| request.route(&format!("GET /{name}")).unwrap()),
        (0..5).fold(day(), |request, name| {
            request.host(&format!("{name}{}", "h".repeat(199))).unwrap()
        }),
    ];
    for request in requests {
        let error = parent.minter().mint_at(&request, world.now()).unwrap_err();
        let MintChildError::TooLong { len } = error else { panic!("{error:?}") };
        assert!(len > 1_024);
        assert!(error.to_string().contains(&len.to_string()));
    }
}

/// The control: the longest child that a minter makes is accepted, and one byte more is too long.
#[test]
fn child_of_1024_bytes_is_minted_and_accepted() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let with_host = |len: usize| {
        // Twelve names of 50 characters, of which the last is shortened.
        let scopes = (0..6).map(|number| format!("{number}{}", "s".repeat(99)));
        let last = format!("9{}", "s".repeat(len));
        NewChild::until(world.after(DAY)).scopes(scopes.chain([last])).unwrap()
    };
    let outcomes = (1..99).map(|len| parent.minter().mint_at(&with_host(len), world.now()));
    let mut longest = 0;
    let mut shortest = usize::MAX;
    for (len, outcome) in (1..99).zip(outcomes) {
        match outcome {
            Ok(_) => {
                let child = parent.mint_as(with_host(len));
                assert!(present(&world, &child).is_ok(), "{}", child.len());
                longest = longest.max(child.len());
            }
            Err(MintChildError::TooLong { len }) => shortest = shortest.min(len),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(longest, 1_024);
    assert_eq!(shortest, 1_025);
}

#[test]
fn names_that_cannot_be_shown_on_one_line_are_refused() {
    let names = [
        "",
        " ",
        "\n",
        "a\nb",
        "a\n",
        "\na",
        "a\r\nb",
        "a\tb",
        "\t",
        "a\0",
        "\x1b[31ma",
        "a\x7f",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{2029}b",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{200b}b",
        "a\u{feff}b",
        "\u{a0}",
    ];
    for name in names {
        assert!(day().host(name).is_err(), "{name:?}");
        assert!(day().operation(name).is_err(), "{name:?}");
        assert!(day().route(name).is_err(), "{name:?}");
        assert!(day().scopes([name]).is_err(), "{name:?}");
        assert!(day().scopes(["reporting", name]).is_err(), "{name:?}");
        assert!(day().resources(name, Resources::All).is_err(), "{name:?}");
        assert!(Resources::only([name]).is_err(), "{name:?}");
        assert!(Networks::only([name]).is_err(), "{name:?}");
        // No error writes such a character out.
        let errors = [
            day().host(name).unwrap_err().to_string(),
            day().scopes([name]).unwrap_err().to_string(),
            day().resources(name, Resources::All).unwrap_err().to_string(),
        ];
        for error in errors {
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
    }
    // The controls.
    assert!(day().host("a b:c").and_then(|day| day.scopes(["reporting"])).is_ok());
    assert!(day().resources("machine", Resources::only(["press 1"]).unwrap()).is_ok());
}

#[test]
fn request_for_a_child_out_of_bounds_is_refused() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let long = "n".repeat(201);
    assert!(day().host(&long).is_err());
    assert!(day().host(&long[..200]).is_ok());
    assert!(day().scopes(["s".repeat(101)]).is_err());
    assert!(day().scopes([""; 0]).is_err());
    assert!(day().resources("machine", Resources::Nothing).is_err());
    assert!(day().resources("Machine", Resources::All).is_err());
    assert!(day().resources(&"k".repeat(33), Resources::All).is_err());
    assert!(Resources::only((0..101).map(|id| id.to_string())).is_err());
    assert!(day().nonce(&[]).is_err());
    assert!(day().nonce(&[0; 33]).is_err());
    assert!(day().nonce(&[0; 32]).is_ok());
    let mint = |request: NewChild, now| parent.minter().mint_at(&request, now).map(drop);
    let now = world.now();
    let forever = NewChild::lasting(Duration::MAX);
    assert!(matches!(mint(forever, now), Err(MintChildError::Field(_))));
    let beyond = NewChild::lasting(HOUR);
    assert!(matches!(mint(beyond, Timestamp::MAX), Err(MintChildError::Field(_))));
    for begin in [now, world.after(HOUR), Timestamp::MAX] {
        let request = NewChild::until(now).not_before(begin);
        assert!(matches!(mint(request, now), Err(MintChildError::Field(_))), "{begin:?}");
    }
    assert_eq!(mint(NewChild::until(now).not_before(Timestamp::MIN), now), Ok(()));
    assert_eq!(mint(NewChild::until(Timestamp::MAX), now), Ok(()));
}

/// Returns whether `text` contains eight consecutive characters of the secret part of `token`, or 16 of a child.
fn tells(text: &str, credential: &str) -> bool {
    let is_child = credential.contains('~');
    let parts = |from: usize, len: usize| {
        credential.as_bytes().get(from..).unwrap_or_default().windows(len)
    };
    let (from, len) = if is_child { (33, 16) } else { (24, 8) };
    parts(from, len).any(|part| str::from_utf8(part).is_ok_and(|part| text.contains(part)))
}

#[test]
fn minter_of_something_else_is_refused_without_a_word_of_it() {
    let world = world();
    let (parent, other) = (Parent::of(&world, "acme"), Parent::of(&world, "globex"));
    let child = parent.mint(world.after(DAY));
    let token = &*parent.token;
    let (public, secret) = parent.parts();
    let tag = parent.prefix.strip_prefix(public).unwrap();
    let foreign = "ghp_5Rk8Vn1pLh6Js0YgUe3Wa9Bx7Dt2Qq5EwXyZ";
    known(foreign);
    let no_token = [
        child.clone(),
        foreign.into(),
        String::new(),
        "é".repeat(40),
        "~".into(),
        secret.into(),
        public.into(),
        token[1..].into(),
        token[8..].into(),
        token[..token.len() - 1].into(),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("Bearer {token}"),
        token.replacen("mm", "MM", 1),
        token.replacen('_', "-", 1),
        token.replacen("mm_", "mm_x_", 1),
        [&token[..30], "é", &token[32..]].concat(),
        format!("{token}{token}"),
    ];
    for text in no_token {
        let error = ChildMinter::new(&text, &parent.prefix).unwrap_err();
        assert!(
            matches!(error, MintChildError::Token | MintChildError::Prefix),
            "{error:?} to {text:?}"
        );
        let shown = format!("{error:?} {:?}", chain(&error));
        assert!(!tells(&shown, token) && !tells(&shown, &text), "{shown}");
    }
    assert_eq!(ChildMinter::new(&child, &parent.prefix).unwrap_err(), MintChildError::Token);
    assert_eq!(ChildMinter::new(foreign, &parent.prefix).unwrap_err(), MintChildError::Token);
    let no_prefix = [
        other.prefix.clone(),
        String::new(),
        "~".into(),
        public.into(),
        format!("{public}~"),
        format!("{public}{tag}~"),
        parent.prefix[..32].into(),
        format!("{} ", parent.prefix),
        format!(" {}", parent.prefix),
        format!("{public}1234567~"),
        format!("{public}123456789~"),
        format!("{public}1234567.~"),
        format!("{public}1234567\n~"),
        format!("{public}éabcdef~"),
        parent.prefix.to_uppercase(),
        child.clone(),
        token.into(),
    ];
    for prefix in no_prefix {
        let error = ChildMinter::new(token, &prefix).unwrap_err();
        assert_eq!(error, MintChildError::Prefix, "{prefix:?}");
        let shown = format!("{error:?} {:?}", chain(&error));
        assert!(!tells(&shown, token), "{shown}");
    }
    // The control: the search finds the secret where it is, and the right pair is accepted.
    assert!(tells(token, token) && tells(&child, &child) && gives_away(token, token));
    let minter = ChildMinter::new(token, &parent.prefix).unwrap();
    assert_eq!(minter.prefix(), parent.prefix);
}

#[test]
fn nothing_of_children_is_shown_that_is_secret() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let minter = parent.minter();
    let request = NewChild::until(world.after(DAY)).nonce(b"of this test alone").unwrap();
    let text = parent.mint_as(request.clone());
    let caller = present(&world, &text).unwrap();
    let rejected = present(&world, text.replace('~', "~~")).unwrap_err();
    let shown = [
        format!("{minter:?}"),
        format!("{:?}", minter.mint_at(&request, world.now()).unwrap()),
        format!("{caller:?} {:?}", caller.child()),
        format!("{rejected:?} {rejected}"),
        format!("{:?}", world.keyring),
        format!("{:?}", world.keyring.verifier()),
        format!("{:?}", world.audit.events()),
    ];
    let seed = parent.signing_key().to_bytes();
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{seed:?}");
    for shown in shown {
        assert!(!tells(&shown, &text), "{shown}");
        assert!(!tells(&shown, &parent.token), "{shown}");
        assert!(!shown.contains(&hex) && !shown.contains(list.trim_matches(['[', ']'])), "{shown}");
    }
}
