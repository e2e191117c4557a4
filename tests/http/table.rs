//! The table: requests that HTTP/1.1 and HTTP/2 carry alike, and the expected response to each.

use crate::{
    answers::{Expected::*, Lacks},
    row::{Row, get, request},
};

const READER: &str = "/report for acme/reader (reporting)";
const OPERATOR: &str = "/report for acme/operator (operator)";
const ANY: &str = "/any for acme/reader (reporting)";
const KEYED: &str = "/keyed for acme/reader (reporting)";
const ONLY: &str = "/only for acme/reader (reporting)";
const ONLY_FOREIGN: &str = "/only for acme/reader (reporting), sees authorization";
const NOBODY: &str = "/optional for nobody";

const NO_REPORTING: Lacks = Lacks {
    required: "reporting",
    scopes: r#"["reporting"]"#,
    r#match: "all",
    detail: "missing scope `reporting`",
};
pub const NO_JOBS: Lacks = Lacks {
    required: "operator.jobs",
    scopes: r#"["operator.jobs"]"#,
    r#match: "all",
    detail: "missing scope `operator.jobs`",
};
const NEITHER: Lacks = Lacks {
    required: "operator.read reporting",
    scopes: r#"["operator.read","reporting"]"#,
    r#match: "any",
    detail: "missing one of scopes `operator.read`, `reporting`",
};

pub fn rows() -> Vec<Row> {
    [
        outcomes(),
        limits(),
        children(),
        schemes(),
        tokens(),
        values(),
        several(),
        key_header(),
        key_header_only(),
        elsewhere(),
        methods(),
    ]
    .concat()
}

/// Returns each state of a key with each kind of route.
fn outcomes() -> Vec<Row> {
    vec![
        get("no credential", "/report"),
        get("an active key", "/report").auth(b"Bearer {active}").is(Ran(READER)),
        get("the scope above the one required", "/any")
            .auth(b"Bearer {operator}")
            .is(Ran("/any for acme/operator (operator)")),
        request("a POST with its scope", "POST", "/report")
            .auth(b"Bearer {operator}")
            .is(Ran(OPERATOR)),
        request("a POST with its scope and a body", "POST", "/report")
            .auth(b"Bearer {operator}")
            .body(b"start")
            .is(Ran("/report for acme/operator (operator), body of 5")),
        request("a POST without its scope", "POST", "/report")
            .auth(b"Bearer {active}")
            .is(Forbidden(&NO_JOBS)),
        get("a GET without its scope", "/report")
            .auth(b"Bearer {operator}")
            .is(Forbidden(&NO_REPORTING)),
        get("a key without scopes", "/report")
            .auth(b"Bearer {powerless}")
            .is(Forbidden(&NO_REPORTING)),
        get("a key without scopes where any key does", "/any")
            .auth(b"Bearer {powerless}")
            .is(Ran("/any for acme/powerless ()")),
        get("one of two scopes", "/either")
            .auth(b"Bearer {active}")
            .is(Ran("/either for acme/reader (reporting)")),
        get("the other of two scopes", "/either")
            .auth(b"Bearer {operator}")
            .is(Ran("/either for acme/operator (operator)")),
        get("none of two scopes", "/either").auth(b"Bearer {powerless}").is(Forbidden(&NEITHER)),
        get("nothing on a route for any key", "/any"),
        get("nothing on a route of two scopes", "/either"),
        get("a disabled key", "/report")
            .auth(b"Bearer {disabled}")
            .is(Inactive("disabled", "disabled")),
        get("a suspended key", "/report")
            .auth(b"Bearer {suspended}")
            .is(Inactive("suspended", "suspended")),
        get("a key of a suspended tenant", "/report")
            .auth(b"Bearer {suspended-tenant}")
            .is(Inactive("tenant_suspended", "tenant suspended")),
        get("an expired key", "/report")
            .auth(b"Bearer {expired}")
            .is(Inactive("expired", "expired")),
        get("a key that is not yet valid", "/report")
            .auth(b"Bearer {early}")
            .is(Inactive("not_yet_valid", "not yet valid")),
        // The state is checked before the scope: a caller that may not use a key does not learn its
        // permissions.
        request("a disabled key without the scope", "POST", "/report")
            .auth(b"Bearer {disabled}")
            .is(Inactive("disabled", "disabled")),
        get("a deleted key", "/report").auth(b"Bearer {deleted}").is(Rejected),
        get("a secret that was rotated out", "/report").auth(b"Bearer {rotated-out}").is(Rejected),
        get("the secret that came after it", "/report")
            .auth(b"Bearer {successor}")
            .is(Ran("/report for beta/rotated (reporting)")),
        get("a previous secret in its grace period", "/report")
            .auth(b"Bearer {previous}")
            .is(Ran("/report for beta/overlapping (reporting)")),
        get("the current secret of the same key", "/report")
            .auth(b"Bearer {overlapping}")
            .is(Ran("/report for beta/overlapping (reporting)")),
        get("the previous secret once more", "/report")
            .auth(b"Bearer {previous}")
            .is(Ran("/report for beta/overlapping (reporting)")),
        get("an id that nobody issued, with a valid tag", "/report")
            .auth(b"Bearer {unknown}")
            .is(Rejected),
        get("optional, and nothing", "/optional").is(Ran(NOBODY)),
        get("optional, and a key", "/optional")
            .auth(b"Bearer {active}")
            .is(Ran("/optional for acme/reader (reporting)")),
        get("optional, and a disabled key", "/optional")
            .auth(b"Bearer {disabled}")
            .is(Inactive("disabled", "disabled")),
        get("optional, and a forged key", "/optional").auth(b"Bearer {flipped-tag}").is(Malformed),
        get("optional, and an unknown key", "/optional").auth(b"Bearer {unknown}").is(Rejected),
        get("optional, and only the scheme", "/optional").auth(b"Bearer").is(Unreadable),
        get("optional, and two fields", "/optional")
            .auth(b"Bearer {active}")
            .auth(b"Bearer {active}")
            .is(Several),
        get("optional, and another scheme", "/optional")
            .auth(b"Basic YTpi")
            .is(Ran("/optional for nobody, sees authorization")),
        get("public, and nothing", "/public").is(Ran("/public for nobody")),
        get("public, and a forged key", "/public")
            .auth(b"Bearer {flipped-tag}")
            .is(Ran("/public for nobody, sees authorization")),
        get("a credential that is kept", "/kept")
            .auth(b"Bearer {active}")
            .is(Ran("/kept for acme/reader (reporting), sees authorization")),
        get("nothing where it would be kept", "/kept"),
        get("a handler that panics", "/panic").auth(b"Bearer {active}").is(Panicked),
        get("a refusal before a handler that panics", "/panic"),
        get("a route after that panic", "/any").auth(b"Bearer {active}").is(Ran(ANY)),
    ]
}

/// Returns keys that are limited to machines and networks. The client is on this machine.
fn limits() -> Vec<Row> {
    const PRESS: &str = "/machines for acme/limited (reporting)";
    const NEAR: &str = "/any for acme/near (reporting)";
    let disabled = Inactive("disabled", "disabled");
    vec![
        get("the machine of a key", "/machines/press-1").auth(b"Bearer {limited}").is(Ran(PRESS)),
        get("another machine", "/machines/press-2").auth(b"Bearer {limited}").is(OtherMachine),
        get("a machine, and a key of none", "/machines/press-1")
            .auth(b"Bearer {active}")
            .is(OtherMachine),
        get("a machine, and a key of all", "/machines/press-2")
            .auth(b"Bearer {near}")
            .is(Ran("/machines for acme/near (reporting)")),
        get("a machine without a key", "/machines/press-1"),
        get("a machine without the scope", "/machines/press-1")
            .auth(b"Bearer {operator}")
            .is(Forbidden(&NO_REPORTING)),
        get("a machine with a disabled key", "/machines/press-2")
            .auth(b"Bearer {disabled}")
            .is(disabled),
        get("a machine and a query", "/machines/press-2?id=press-1")
            .auth(b"Bearer {limited}")
            .is(OtherMachine),
        request("HEAD of the machine of a key", "HEAD", "/machines/press-1")
            .auth(b"Bearer {limited}")
            .is(RanForHead),
        get("a route without machines", "/any")
            .auth(b"Bearer {limited}")
            .is(Ran("/any for acme/limited (reporting)")),
        get("a key of this network", "/any").auth(b"Bearer {near}").is(Ran(NEAR)),
        get("a key of another network", "/any").auth(b"Bearer {far}").is(OtherNetwork),
        get("another network without the scope", "/either").auth(b"Bearer {far}").is(OtherNetwork),
        get("another network and another machine", "/machines/press-2")
            .auth(b"Bearer {far}")
            .is(OtherNetwork),
        // The guard asks the socket, so these headers are the client's own text.
        get("an address of the client's own making", "/any")
            .with("x-forwarded-for", b"192.0.2.7")
            .with("forwarded", b"for=192.0.2.7")
            .with("x-real-ip", b"192.0.2.7")
            .auth(b"Bearer {far}")
            .is(OtherNetwork),
        get("another network in its own header", "/keyed")
            .with("x-api-key", b"{far}")
            .is(Keyed(&OtherNetwork)),
        get("another network, and optional", "/optional").auth(b"Bearer {far}").is(OtherNetwork),
        get("a key of a disabled owner", "/any")
            .auth(b"Bearer {of-disabled-owner}")
            .is(Inactive("owner_disabled", "disabled with its owner")),
    ]
}

/// Returns children where none is accepted.
fn children() -> Vec<Row> {
    vec![
        get("the key of the children", "/any")
            .auth(b"Bearer {parent}")
            .is(Ran("/any for gamma/parent (reporting)")),
        get("a child", "/any").auth(b"Bearer {child}").is(OtherAudience),
        get("a child with the scope", "/report").auth(b"Bearer {child}").is(OtherAudience),
        // The audience comes first, so the child does not learn what else it lacks.
        request("a child without the scope", "POST", "/report")
            .auth(b"Bearer {child}")
            .is(OtherAudience),
        get("a child and a machine", "/machines/press-1").auth(b"Bearer {child}").is(OtherAudience),
        get("a child in its own header", "/keyed")
            .with("x-api-key", b"{child}")
            .is(Keyed(&OtherAudience)),
        get("optional, and a child", "/optional").auth(b"Bearer {child}").is(OtherAudience),
        get("a child where the credential is kept", "/kept")
            .auth(b"Bearer {child}")
            .is(OtherAudience),
        get("an expired child", "/any")
            .auth(b"Bearer {expired-child}")
            .is(Inactive("expired", "expired")),
        get("a made-up child", "/any").auth(b"Bearer {made-up-child}").is(Rejected),
        get("a child that is cut off", "/any").auth(b"Bearer {short-child}").is(Malformed),
        get("a child with another tag", "/any").auth(b"Bearer {foreign-child}").is(Malformed),
        get("a child with a comma", "/any").auth(b"Bearer {child},").is(Unreadable),
        get("a child that is too long", "/any").auth(b"Bearer {child}{1kB}").is(TooLong),
    ]
}

/// Returns variants of the text before the token.
fn schemes() -> Vec<Row> {
    vec![
        get("lower case", "/any").auth(b"bearer {active}").is(Ran(ANY)),
        get("upper case", "/any").auth(b"BEARER {active}").is(Ran(ANY)),
        get("mixed case", "/any").auth(b"bEaReR {active}").is(Ran(ANY)),
        get("two spaces", "/any").auth(b"Bearer  {active}").is(Ran(ANY)),
        get("many spaces", "/any").auth(b"Bearer          {active}").is(Ran(ANY)),
        get("no space", "/any").auth(b"Bearer{active}"),
        get("a tab", "/any").auth(b"Bearer\t{active}").is(Unreadable),
        get("a space and a tab", "/any").auth(b"Bearer \t{active}").is(Unreadable),
        get("a colon", "/any").auth(b"Bearer:{active}").is(Unreadable),
        get("an equals sign", "/any").auth(b"Bearer={active}").is(Unreadable),
        get("a comma after the scheme", "/any").auth(b"Bearer, {active}").is(Unreadable),
        get("no scheme", "/any").auth(b"{active}"),
        get("an empty value", "/any").auth(b""),
        get("only the scheme", "/any").auth(b"Bearer").is(Unreadable),
        get("the scheme and trailing spaces", "/any").auth(b"Bearer   ").is(Unreadable),
        get("spaces around the value", "/any").auth(b"   Bearer {active}   ").is(Ran(ANY)),
        get("tabs around the value", "/any").auth(b"\tBearer {active}\t").is(Ran(ANY)),
        get("Basic", "/any").auth(b"Basic YTpi"),
        get("a key as the password of Basic", "/any").auth(b"Basic {active}"),
        get("Digest", "/any").auth(b"Digest username=\"a\", realm=\"mm\", response=\"b\""),
        get("DPoP", "/any").auth(b"DPoP {active}"),
        get("Token", "/any").auth(b"Token {active}"),
        get("ApiKey", "/any").auth(b"ApiKey {active}"),
        get("a longer scheme", "/any").auth(b"Bearers {active}"),
        get("the scheme twice", "/any").auth(b"Bearer Bearer {active}").is(Unreadable),
        get("a parameter of the scheme", "/any").auth(b"Bearer token=\"{active}\"").is(Malformed),
        get("secret-token:", "/any").auth(b"Bearer secret-token:{active}").is(Ran(ANY)),
        get("secret-token: twice", "/any")
            .auth(b"Bearer secret-token:secret-token:{active}")
            .is(Malformed),
        get("SECRET-TOKEN:", "/any").auth(b"Bearer SECRET-TOKEN:{active}").is(Malformed),
        get("secret-token: and nothing", "/any").auth(b"Bearer secret-token:").is(Unreadable),
    ]
}

/// Returns tokens that can be read but are not valid. All get the same response.
fn tokens() -> Vec<Row> {
    vec![
        get("another issuer's", "/any").auth(b"Bearer {other-issuer}").is(Malformed),
        get("another environment's", "/any").auth(b"Bearer {other-environment}").is(Malformed),
        get("too short", "/any").auth(b"Bearer {short}").is(Malformed),
        get("too long", "/any").auth(b"Bearer {long}").is(Malformed),
        get("another prefix", "/any").auth(b"Bearer {flipped-prefix}").is(Malformed),
        get("another id", "/any").auth(b"Bearer {flipped-id}").is(Malformed),
        get("another secret", "/any").auth(b"Bearer {flipped-secret}").is(Malformed),
        get("another tag", "/any").auth(b"Bearer {flipped-tag}").is(Malformed),
        get("in upper case", "/any").auth(b"Bearer {upper-cased}").is(Malformed),
        get("with a dot behind it", "/any").auth(b"Bearer {with-dot}").is(Malformed),
        get("percent-encoded", "/any").auth(b"Bearer {percent-encoded}").is(Malformed),
        get("quoted", "/any").auth(b"Bearer {quoted}").is(Malformed),
        get("the shortest", "/any").auth(b"Bearer x").is(Malformed),
        get("a JSON Web Token", "/any").auth(b"Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln").is(Malformed),
        get("only a prefix", "/any").auth(b"Bearer mm_live_").is(Malformed),
        // Tokens of the right length, which nothing examines before their tag is checked.
        get("as long as one, not ASCII", "/any").auth(b"Bearer {non-ascii-64}").is(Malformed),
        get("as long as one, with spaces", "/any").auth(b"Bearer {blank-64}").is(Malformed),
        get("as long as one, with a comma", "/any").auth(b"Bearer {comma-64}").is(Malformed),
    ]
}

/// Returns values without a token.
fn values() -> Vec<Row> {
    vec![
        get("not ASCII", "/any").auth(b"Bearer {non-ascii-63}").is(Unreadable),
        get("not ASCII, and short", "/any").auth(b"Bearer \xff").is(Unreadable),
        get("UTF-8", "/any").auth("Bearer schlüssel".as_bytes()).is(Unreadable),
        get("two words", "/any").auth(b"Bearer {active} {active}").is(Unreadable),
        get("two tokens, joined by a comma", "/any")
            .auth(b"Bearer {active},{active}")
            .is(Unreadable),
        get("two credentials, joined by a comma", "/any")
            .auth(b"Bearer {active}, Bearer {operator}")
            .is(Unreadable),
        get("a key and Basic, joined by a comma", "/any")
            .auth(b"Bearer {active}, Basic YTpi")
            .is(Unreadable),
        get("Basic and a key, joined by a comma", "/any").auth(b"Basic YTpi, Bearer {active}"),
        get("only a comma", "/any").auth(b"Bearer ,").is(Unreadable),
        get("a comma behind it", "/any").auth(b"Bearer {active},").is(Unreadable),
        get("1 kB", "/any").auth(b"Bearer {1kB}").is(Malformed),
        get("1 kB and a byte", "/any").auth(b"Bearer {1kB}x").is(TooLong),
        get("2 kB", "/any").auth(b"Bearer {2kB}").is(TooLong),
        get("16 kB", "/any").auth(b"Bearer {16kB}").is(TooLong).over_http2(Server(431)),
        get("1 MB", "/any").auth(b"Bearer {1MB}").is(Cut(431)),
        get("16 kB of another scheme", "/any").auth(b"Basic {16kB}").over_http2(Server(431)),
    ]
}

/// Returns requests with more than one credential.
fn several() -> Vec<Row> {
    vec![
        get("the same field twice", "/any")
            .auth(b"Bearer {active}")
            .auth(b"Bearer {active}")
            .is(Several),
        get("two fields with different keys", "/any")
            .auth(b"Bearer {active}")
            .auth(b"Bearer {operator}")
            .is(Several),
        get("a forged key before a good one", "/any")
            .auth(b"Bearer {flipped-tag}")
            .auth(b"Bearer {active}")
            .is(Several),
        get("a key and Basic", "/any").auth(b"Bearer {active}").auth(b"Basic YTpi").is(Several),
        get("Basic and a key", "/any").auth(b"Basic YTpi").auth(b"Bearer {active}").is(Several),
        get("Basic twice", "/any").auth(b"Basic YTpi").auth(b"Basic YTpi").is(Several),
        get("an empty field and a key", "/any").auth(b"").auth(b"Bearer {active}").is(Several),
        get("three fields", "/any")
            .auth(b"Bearer {active}")
            .auth(b"Bearer {active}")
            .auth(b"Bearer {active}")
            .is(Several),
        get("another field between the two", "/any")
            .auth(b"Bearer {active}")
            .with("accept", b"*/*")
            .auth(b"Bearer {active}")
            .is(Several),
        get("a key, and one for the proxy", "/any")
            .auth(b"Bearer {active}")
            .with("proxy-authorization", b"Basic YTpi")
            .is(Ran(ANY)),
    ]
}

/// Returns requests with the key in a header of its own.
fn key_header() -> Vec<Row> {
    vec![
        get("in its field", "/keyed").with("x-api-key", b"{active}").is(Ran(KEYED)),
        get("in Authorization", "/keyed").auth(b"Bearer {active}").is(Ran(KEYED)),
        get("in neither", "/keyed"),
        get("in both", "/keyed")
            .auth(b"Bearer {active}")
            .with("x-api-key", b"{active}")
            .is(Keyed(&Several)),
        get("in both, one forged", "/keyed")
            .auth(b"Bearer {flipped-tag}")
            .with("x-api-key", b"{active}")
            .is(Keyed(&Several)),
        get("in its field, twice", "/keyed")
            .with("x-api-key", b"{active}")
            .with("x-api-key", b"{active}")
            .is(Keyed(&Several)),
        get("its field is empty", "/keyed").with("x-api-key", b""),
        get("its field is blank", "/keyed").with("x-api-key", b"  "),
        get("its field is empty, and a key", "/keyed")
            .auth(b"Bearer {active}")
            .with("x-api-key", b"")
            .is(Ran("/keyed for acme/reader (reporting), sees x-api-key")),
        get("its field, and Basic", "/keyed")
            .auth(b"Basic YTpi")
            .with("x-api-key", b"{active}")
            .is(Ran("/keyed for acme/reader (reporting), sees authorization")),
        get("its field, and an empty one", "/keyed")
            .auth(b"")
            .with("x-api-key", b"{active}")
            .is(Ran("/keyed for acme/reader (reporting), sees authorization")),
        get("its field, and only a scheme", "/keyed")
            .auth(b"Bearer")
            .with("x-api-key", b"{active}")
            .is(Keyed(&Unreadable)),
        get("secret-token: in its field", "/keyed")
            .with("x-api-key", b"secret-token:{active}")
            .is(Ran(KEYED)),
        get("secret-token: and nothing in its field", "/keyed")
            .with("x-api-key", b"secret-token:")
            .is(Keyed(&Unreadable)),
        get("a scheme in its field", "/keyed")
            .with("x-api-key", b"Bearer {active}")
            .is(Keyed(&Unreadable)),
        get("two in its field", "/keyed")
            .with("x-api-key", b"{active}, {active}")
            .is(Keyed(&Unreadable)),
        get("forged in its field", "/keyed")
            .with("x-api-key", b"{flipped-tag}")
            .is(Keyed(&Malformed)),
        get("unknown in its field", "/keyed").with("x-api-key", b"{unknown}").is(Keyed(&Rejected)),
        get("disabled in its field", "/keyed")
            .with("x-api-key", b"{disabled}")
            .is(Keyed(&Inactive("disabled", "disabled"))),
        get("2 kB in its field", "/keyed").with("x-api-key", b"{2kB}").is(Keyed(&TooLong)),
        get("a field that the route does not take", "/any").with("x-api-key", b"{active}"),
        // The header is not a credential for this guard, which leaves it unchanged.
        get("a key, and such a field", "/any")
            .auth(b"Bearer {active}")
            .with("x-api-key", b"something")
            .is(Ran("/any for acme/reader (reporting), sees x-api-key")),
        get("a field of a similar name", "/keyed").with("x-api-keys", b"{active}"),
        get("underscores in its name", "/keyed").with("x_api_key", b"{active}"),
    ]
}

/// Returns requests to a guard that leaves `Authorization` to another party.
fn key_header_only() -> Vec<Row> {
    vec![
        get("only: in its header", "/only").with("x-api-key", b"{active}").is(Ran(ONLY)),
        get("only: beside another party's token", "/only")
            .auth(b"Bearer eyJhbGciOiJub25lIn0.e30.another-party")
            .with("x-api-key", b"{active}")
            .is(Ran(ONLY_FOREIGN)),
        get("only: beside two of another party's", "/only")
            .auth(b"Bearer a")
            .auth(b"Basic YTpi")
            .with("x-api-key", b"{active}")
            .is(Ran(ONLY_FOREIGN)),
        get("only: beside what cannot be read", "/only")
            .auth(b"Bearer")
            .with("x-api-key", b"{active}")
            .is(Ran(ONLY_FOREIGN)),
        get("only: nothing", "/only"),
        get("only: a key in Authorization", "/only").auth(b"Bearer {active}"),
        get("only: an empty header", "/only").auth(b"Bearer {active}").with("x-api-key", b""),
        get("only: twice", "/only")
            .with("x-api-key", b"{active}")
            .with("x-api-key", b"{active}")
            .is(Only(&Several)),
        get("only: a scheme in it", "/only")
            .with("x-api-key", b"Bearer {active}")
            .is(Only(&Unreadable)),
        get("only: forged", "/only").with("x-api-key", b"{flipped-tag}").is(Only(&Malformed)),
        get("only: disabled", "/only")
            .with("x-api-key", b"{disabled}")
            .is(Only(&Inactive("disabled", "disabled"))),
    ]
}

/// Returns requests with the key in a place where a guard does not look.
fn elsewhere() -> Vec<Row> {
    vec![
        get("in a cookie", "/any").with("cookie", b"access_token={active}"),
        get("in the query", "/any?access_token={active}").with_key_in_address(),
        get("in the query as a key", "/keyed?x-api-key={active}").with_key_in_address(),
        get("in the path", "/any/{active}").with_key_in_address().is(NotFound),
        request("in the body", "POST", "/report")
            .body(b"access_token=mm_live_in_a_form")
            .with("content-type", b"application/x-www-form-urlencoded"),
        get("for the proxy", "/any").with("proxy-authorization", b"Bearer {active}"),
        get("in a field for users", "/any").with("x-forwarded-authorization", b"Bearer {active}"),
        get("a caller of one's own making", "/optional")
            .with("principal", b"acme")
            .with("x-principal", b"tenant=acme; key=reader")
            .with("x-forwarded-user", b"acme")
            .is(Ran(NOBODY)),
    ]
}

/// Returns variants of methods and paths.
fn methods() -> Vec<Row> {
    vec![
        request("HEAD with a key", "HEAD", "/report").auth(b"Bearer {active}").is(RanForHead),
        request("HEAD without a key", "HEAD", "/report").is(MissingForHead),
        request("OPTIONS without a key", "OPTIONS", "/report").is(NotAllowed("GET,HEAD,POST")),
        request("OPTIONS with a key", "OPTIONS", "/report")
            .auth(b"Bearer {active}")
            .is(NotAllowed("GET,HEAD,POST")),
        request("a preflight", "OPTIONS", "/report")
            .with("origin", b"https://page.test")
            .with("access-control-request-method", b"GET")
            .with("access-control-request-headers", b"authorization")
            .is(NotAllowed("GET,HEAD,POST")),
        request("a preflight that a guard sees", "OPTIONS", "/every")
            .with("origin", b"https://page.test")
            .with("access-control-request-method", b"GET"),
        request("OPTIONS that a guard admits", "OPTIONS", "/every")
            .auth(b"Bearer {active}")
            .is(Ran("/every for acme/reader (reporting)")),
        request("DELETE where every method goes", "DELETE", "/every")
            .auth(b"Bearer {active}")
            .is(Ran("/every for acme/reader (reporting)")),
        request("an unknown method where every one goes", "BREW", "/every")
            .auth(b"Bearer {active}")
            .is(Ran("/every for acme/reader (reporting)")),
        request("an unknown method without a key", "BREW", "/every"),
        request("an unknown method", "BREW", "/report")
            .auth(b"Bearer {active}")
            .is(NotAllowed("GET,HEAD,POST")),
        request("a method in lower case", "get", "/report")
            .auth(b"Bearer {active}")
            .is(NotAllowed("GET,HEAD,POST")),
        request("another method", "DELETE", "/report")
            .auth(b"Bearer {active}")
            .is(NotAllowed("GET,HEAD,POST")),
        request("TRACE", "TRACE", "/any").auth(b"Bearer {active}").is(NotAllowed("GET,HEAD")),
        get("another path", "/reports").auth(b"Bearer {active}").is(NotFound),
        get("another path without a key", "/reports").is(NotFound),
        get("a slash behind the path", "/report/").auth(b"Bearer {active}").is(NotFound),
        get("two slashes", "//report").auth(b"Bearer {active}").is(NotFound),
        get("another case of the path", "/Report").auth(b"Bearer {active}").is(NotFound),
        get("the path, percent-encoded", "/%72eport").auth(b"Bearer {active}").is(NotFound),
        get("dots in the path", "/public/../report").is(NotFound),
        get("a query", "/report?from=1").auth(b"Bearer {active}").is(Ran(READER)),
        request("a method in a field", "GET", "/report")
            .with("x-http-method-override", b"POST")
            .auth(b"Bearer {active}")
            .is(Ran(READER)),
    ]
}
