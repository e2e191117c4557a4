//! Search: finds the keys whose name, masked key or id contains a text. The match is literal, and A to Z
//! match in either case. No character has a special meaning.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    expect::{made, same},
    issuer::at,
    stage::{Stage, names_of},
};
use crate::{
    authority::NewKey,
    record::{Labels, TenantRecord},
    store::{KeyCursor, KeyQuery, KeyStore},
};

/// A search finds a part of the name, of the masked key and of the id, at the start, in the middle and at the
/// end. Every key contains the empty text.
pub(super) async fn search_finds_parts_of_name_masked_key_and_id<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "ERP nightly sync").await;
    let id = key.id.to_string();
    let parts = [id.get(5..), id.get(..5), id.get(5..9), key.masked.get(4..)].into_iter().flatten();
    let wholes = ["ERP nightly sync", &*id, &*key.masked];
    let texts = ["ERP", "nightly", "ly sy", "sync", " ", "", "conform_test_", "…"];
    for text in parts.chain(wholes).chain(texts) {
        expect_found(&stage, &tenant, text, &["ERP nightly sync"]).await;
    }
    for text in ["ERP  nightly", "nightly  ", "sync ", " ERP", "ERP sync", "ERPnightly"] {
        expect_found(&stage, &tenant, text, &[]).await;
    }
}

/// The letters A to Z match in either case, in the text and in the key.
pub(super) async fn search_folds_the_letters_a_to_z<S: KeyStore>(store: &S) {
    let found = ["The Quick bROWN fox JUMPS"];
    let (stage, tenant, key) = Stage::with_key(store, found[0]).await;
    for text in ["the quick brown fox jumps", "THE QUICK BROWN FOX JUMPS", "qUiCk", "JumpS"] {
        expect_found(&stage, &tenant, text, &found).await;
    }
    for text in [key.id.as_str(), &*key.masked] {
        expect_found(&stage, &tenant, &text.to_ascii_lowercase(), &found).await;
        expect_found(&stage, &tenant, &text.to_ascii_uppercase(), &found).await;
    }
}

/// No other letters match in either case. Texts that are equal only in some language do not match: accents,
/// ligatures, the Kelvin sign, dotted and dotless i, both forms of é.
pub(super) async fn search_folds_nothing_else<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    // Some collation treats the texts of each line as equal. The search must not.
    let alike = [
        "\u{e9}|\u{c9}|e\u{301}|E\u{300}|\u{e8}|e",
        "İ|I\u{307}|ı|i",
        "ß|ẞ|ss|ſs",
        "\u{212a}|k",
        "\u{212b}|\u{c5}|\u{e5}|A\u{30a}|a",
        "Σ|σ|ς",
        "ﬁ|fi",
        "Я|я|R",
        "１|1|¹|①",
        "æ|Æ|ae",
        "\u{a0}| |\u{3000}|",
        "\u{915}\u{94d}\u{200d}\u{937}|\u{915}\u{94d}\u{937}|\u{915}-\u{937}",
    ];
    let names = alike.into_iter().flat_map(|line| line.split('|'));
    let names: Vec<_> = names.map(|text| format!("<{text}>")).collect();
    for name in &names {
        stage.add_key(&tenant, name).await;
    }
    for name in &names {
        expect_found(&stage, &tenant, name, &[name]).await;
    }
}

/// Wildcards, escapes, quotes, expressions and parts of queries match only themselves.
pub(super) async fn search_takes_everything_literally<S: KeyStore>(store: &S) {
    let (stage, tenant, _) = Stage::with_key(store, "plain").await;
    let marks = r#"% _ \ ' " * ? [ ] ( ) { } ^ $ . | + & ! # ; : @ ` ~ / -- /* \% \_ %% '' .*"#;
    let words = r"[a-z] p%n p*n 🗝 $1 ?1 :text NULL \0 \x00 AND NEAR col:x";
    let marks = marks.split(' ').chain(words.split(' '));
    let marks: Vec<_> = marks.chain(["' OR '1'='1", "'; DROP TABLE keys; --"]).collect();
    let names: Vec<String> = marks.iter().map(|mark| format!("«{mark}»")).collect();
    for name in &names {
        stage.add_key(&tenant, name).await;
    }
    for (mark, name) in marks.into_iter().zip(&names) {
        expect_found(&stage, &tenant, name, &[name]).await;
        // Alone, such a mark is found in every name that contains it, and in no other name.
        if !mark.chars().all(char::is_alphanumeric) && mark != "_" {
            let found = names.iter().map(|name| &**name).filter(|name| name.contains(mark));
            expect_found(&stage, &tenant, mark, &found.collect::<Vec<_>>()).await;
        }
    }
    for text in r"pl%n pl__n pl* pl?in ^plain plain$ pl.in [p]lain pl\ain".split(' ') {
        expect_found(&stage, &tenant, text, &[]).await;
    }
}

/// Only the name, the masked key and the id are searched. Labels, scopes, the issuer of the key and the
/// tenant's id are not.
pub(super) async fn search_looks_at_nothing_else<S: KeyStore>(store: &S) {
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

/// A search finds only keys of its tenant.
pub(super) async fn search_stays_with_its_tenant<S: KeyStore>(store: &S) {
    let (stage, acme, ours) = Stage::with_key(store, "shared").await;
    let other = stage.add_tenant("other").await;
    let theirs = stage.add_key(&other, "shared").await;
    let shared = KeyQuery::all().containing("shared");
    for (tenant, key, foreign) in [(&acme, &ours, &theirs), (&other, &theirs, &ours)] {
        let found = stage.keys(&tenant.id, &shared).await;
        same(format!("a search of {:?}", tenant.id), &found, &[key.clone()].into());
        expect_found(&stage, tenant, foreign.id.as_str(), &[]).await;
    }
}

/// A search continues after a cursor, and its limit counts matches.
pub(super) async fn search_goes_on_behind_a_cursor<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut matching = Vec::new();
    for number in 0..8 {
        // Of the six keys of one creation time, every third one matches.
        matching.push(stage.add_key_at(&tenant, "needle", at(number / 2)).await);
        stage.add_keys_at(&tenant, [at(number / 2); 2]).await;
    }
    matching.sort_by_key(KeyCursor::of);
    for limit in [1, 2, 3, 8, 9] {
        let query = KeyQuery::all().containing("needle");
        stage.expect_pages_of_keys(&tenant, query, limit, &matching).await;
    }
}

/// Expects that a search for `text` returns the keys with these names, in any order.
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
