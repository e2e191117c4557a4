//! Search: the keys whose name, hint or id contains a text, letter for letter. A to Z match in either
//! case, and nothing has a special meaning.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    expect::{made, same},
    issuer::at,
    stage::{Stage, ids_of, names_of},
};
use crate::{
    authority::NewKey,
    record::{Labels, TenantRecord},
    store::{KeyCursor, KeyQuery, KeyStore},
};

/// A search finds a part of the name, of the hint and of the id, at the start, in the middle and at
/// the end; an empty text is a part of everything.
pub async fn search_finds_parts_of_name_hint_and_id<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "ERP nightly sync").await;
    let id = key.id.to_string();
    let parts = [
        "ERP nightly sync",
        "ERP",
        "nightly",
        "ly sy",
        "sync",
        " ",
        "",
        &*id,
        id.get(5..).unwrap_or_default(),
        id.get(..5).unwrap_or_default(),
        id.get(5..9).unwrap_or_default(),
        &*key.hint,
        "conform_test_",
        key.hint.get(4..).unwrap_or_default(),
        "…",
    ];
    for text in parts {
        expect_found(&stage, &tenant, text, &["ERP nightly sync"]).await;
    }
    for text in ["ERP  nightly", "nightly  ", "sync ", " ERP", "ERP sync", "ERPnightly"] {
        expect_found(&stage, &tenant, text, &[]).await;
    }
}

/// The letters A to Z match in either case, in the text and in the key.
pub async fn search_folds_the_letters_a_to_z<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "The Quick bROWN fox JUMPS").await;
    let found = ["The Quick bROWN fox JUMPS"];
    for text in ["the quick brown fox jumps", "THE QUICK BROWN FOX JUMPS", "qUiCk", "JumpS"] {
        expect_found(&stage, &tenant, text, &found).await;
    }
    for text in [key.id.as_str(), &*key.hint] {
        expect_found(&stage, &tenant, &text.to_ascii_lowercase(), &found).await;
        expect_found(&stage, &tenant, &text.to_ascii_uppercase(), &found).await;
    }
}

/// No other letters match in either case, and none match what they are only equal to in some
/// language: accents, ligatures, the Kelvin sign, dotted and dotless i, both forms of é.
pub async fn search_folds_nothing_else<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    // What stands in one place is taken for one by somebody, and is not.
    let alike: [&[&str]; 12] = [
        &["<\u{e9}>", "<\u{c9}>", "<e\u{301}>", "<E\u{300}>", "<\u{e8}>", "<e>"],
        &["<İ>", "<I\u{307}>", "<ı>", "<i>"],
        &["<ß>", "<ẞ>", "<ss>", "<ſs>"],
        &["<\u{212a}>", "<k>"],
        &["<\u{212b}>", "<\u{c5}>", "<\u{e5}>", "<A\u{30a}>", "<a>"],
        &["<Σ>", "<σ>", "<ς>"],
        &["<ﬁ>", "<fi>"],
        &["<Я>", "<я>", "<R>"],
        &["<１>", "<1>", "<¹>", "<①>"],
        &["<æ>", "<Æ>", "<ae>"],
        &["<\u{a0}>", "< >", "<\u{3000}>", "<>"],
        &["<a\u{200d}b>", "<ab>", "<a-b>"],
    ];
    for names in alike {
        for name in names {
            stage.add_key(&tenant, name).await;
        }
    }
    for text in alike.into_iter().flatten() {
        expect_found(&stage, &tenant, text, &[text]).await;
    }
}

/// Wildcards, escapes, quotes, expressions and parts of queries stand for themselves.
pub async fn search_takes_everything_literally<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    stage.add_key(&tenant, "plain").await;
    let marks = [
        "%",
        "_",
        "\\",
        "'",
        "\"",
        "*",
        "?",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "^",
        "$",
        ".",
        "|",
        "+",
        "&",
        "!",
        "#",
        ";",
        ":",
        "@",
        "`",
        "~",
        "/",
        "--",
        "/*",
        "\\%",
        "\\_",
        "%%",
        "''",
        ".*",
        "[a-z]",
        "p%n",
        "p*n",
        "🗝",
        "$1",
        "?1",
        ":text",
        "' OR '1'='1",
        "'; DROP TABLE keys; --",
        "NULL",
        "\\0",
        "\\x00",
        "AND",
        "NEAR",
        "col:x",
    ];
    let names: Vec<String> = marks.iter().map(|mark| format!("«{mark}»")).collect();
    for name in &names {
        stage.add_key(&tenant, name).await;
    }
    for (mark, name) in marks.into_iter().zip(&names) {
        expect_found(&stage, &tenant, &format!("«{mark}»"), &[name]).await;
        // Alone it is in every name that holds it, and in no other one.
        if !mark.chars().all(char::is_alphanumeric) && mark != "_" {
            let found: Vec<_> =
                names.iter().map(|name| &**name).filter(|name| name.contains(mark)).collect();
            expect_found(&stage, &tenant, mark, &found).await;
        }
    }
    for text in ["pl%n", "pl__n", "pl*", "pl?in", "^plain", "plain$", "pl.in", "[p]lain", "pl\\ain"]
    {
        expect_found(&stage, &tenant, text, &[]).await;
    }
}

/// Nothing but name, hint and id is searched: not labels, scopes, who issued it, or the tenant's id.
pub async fn search_looks_at_nothing_else<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("needle-tenant").await;
    let labels = made(Labels::new([("needle-label", "needle-value")]));
    let request = NewKey::named("hay").scopes(["reporting"]).labels(labels);
    let key = stage.issuer.issue(&tenant, made(request.created_by("needle-actor")), at(0));
    stage.insert_key(&key, &tenant).await;
    for text in ["needle", "reporting", "KWK", "advanced", "2026"] {
        expect_found(&stage, &tenant, text, &[]).await;
    }
}

/// A search finds the keys of its tenant and no others.
pub async fn search_stays_with_its_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let acme = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let ours = stage.add_key(&acme, "shared").await;
    let theirs = stage.add_key(&other, "shared").await;
    let shared = KeyQuery::all().containing("shared");
    for (tenant, key, foreign) in [(&acme, &ours, &theirs), (&other, &theirs, &ours)] {
        let found = stage.keys(&tenant.id, &shared).await;
        same(format!("a search of {:?}", tenant.id), &found, &[key.clone()].into());
        let query = KeyQuery::all().containing(foreign.id.as_str());
        let found = stage.keys(&tenant.id, &query).await;
        same("a search for another tenant's key", &found, &Vec::new());
    }
}

/// A search goes on behind a cursor, and its limit counts what was found.
pub async fn search_goes_on_behind_a_cursor<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut matching = Vec::new();
    for number in 0..24 {
        let name = if number % 3 == 0 { "needle" } else { "hay" };
        let key = stage.add_key_at(&tenant, name, at(number / 6)).await;
        if number % 3 == 0 {
            matching.push(key);
        }
    }
    matching.sort_by_key(KeyCursor::of);
    for limit in [1, 2, 3, 8, 9] {
        let query = KeyQuery::all().containing("needle").limit(limit);
        let mut page = stage.keys(&tenant.id, &query).await;
        for expected in matching.chunks(limit) {
            same(format!("a page of {limit} of a search"), &ids_of(&page), &ids_of(expected));
            let last = expected.last().map(KeyCursor::of);
            page = match last {
                Some(cursor) => stage.keys(&tenant.id, &query.clone().after(cursor)).await,
                None => Vec::new(),
            };
        }
        same("the page of a search behind the last", &page, &Vec::new());
    }
}

/// A search for `text` gives the keys of these names, in whatever order.
async fn expect_found<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    text: &str,
    names: &[&str],
) {
    let found = stage.keys(&tenant.id, &KeyQuery::all().containing(text)).await;
    let mut found = names_of(&found);
    found.sort_unstable();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    same(format!("a search for {text:?}"), &found, &expected);
}
