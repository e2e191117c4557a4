//! The error of an invalid configuration.

#[cfg(feature = "std")]
use alloc::string::ToString as _;
use alloc::{boxed::Box, string::String, vec::Vec};
#[cfg(feature = "std")]
use core::fmt;
use core::time::Duration;

use crate::{
    text::{OneLine, TextProblem},
    tier::allowance::AllowanceProblem,
};

/// A part of the configuration is invalid. The message names the part and its value.
///
/// All parts of a service that are set up before its first request share this error: peppers, scopes, tiers,
/// verifier and keyring, guards, routes and the console. No message contains any part of a pepper or of
/// another secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A part is invalid because of something that it contains.
    #[error("{place}: {cause}")]
    In {
        /// The part, such as the ceiling of a tier, or the environment variable of a pepper.
        place: String,
        /// The problem.
        cause: Box<ConfigError>,
    },
    /// A file or document cannot be read.
    #[error("{what} cannot be read: {}", OneLine(problem))]
    Unreadable {
        /// The file or document.
        what: String,
        /// The message of the operating system or of the parser.
        problem: String,
    },

    /// The issuer is invalid.
    #[error(
        "`{}` is not an issuer: it has 1 to 16 lower-case letters and digits, a letter first",
        .0.escape_debug()
    )]
    Issuer(String),
    /// The environment is invalid.
    #[error(
        "`{}` is not an environment: it has 1 to 8 lower-case letters and digits, a letter first",
        .0.escape_debug()
    )]
    Environment(String),
    /// No environment was given.
    #[error("no environment was given, such as `live`")]
    NoEnvironment,
    /// No store was given.
    #[error("no store was given")]
    NoStore,
    /// The staleness bound is longer than a day.
    #[error("the staleness bound is {0:?}, and at most a day is allowed")]
    MaxStaleness(Duration),
    /// The replica may lag as far behind as the staleness bound or further, so no key that is read from it could
    /// be cached.
    #[error("the replica's lag of {lag:?} must be below the staleness bound of {bound:?}")]
    MaxLag {
        /// The lag that was given.
        lag: Duration,
        /// The staleness bound.
        bound: Duration,
    },

    /// The grace period for rotations is longer than [`GracePeriod::MAX`](crate::GracePeriod::MAX).
    #[error("the grace period is {0:?}, and at most 30 days are allowed")]
    GracePeriod(Duration),

    /// A pepper is too short to be a secret, or longer than one block.
    #[error("a pepper has 32 to 64 bytes, and this one has {0}")]
    PepperLength(usize),
    /// The text of a pepper is not base64.
    #[error("the pepper is not base64")]
    PepperBase64,
    /// The text of a pepper is empty.
    #[error("it is empty; `openssl rand -base64 32` makes a pepper")]
    PepperEmpty,
    /// The environment variable is not set, or is not valid Unicode.
    #[error(
        "the environment variable `{}` does not hold a pepper; `openssl rand -base64 32` makes one",
        .0.escape_debug()
    )]
    PepperVariable(String),
    /// There is no such slot.
    #[error("slot {0} does not exist: slots are 0 to 61")]
    PepperSlot(u8),
    /// The slot holds another pepper, so tokens of the two could not be distinguished.
    #[error("slot {0} holds another pepper already")]
    PepperSlotTaken(u8),

    /// There are more scopes than a catalog can hold.
    #[error("{0} scopes are declared, and a catalog holds at most 256")]
    TooManyScopes(usize),
    /// A name has characters that a scope cannot have.
    #[error("`{}` cannot be declared as a scope: it {problem}", name.escape_debug())]
    ScopeName {
        /// The invalid name.
        name: String,
        /// The problem of the name.
        problem: TextProblem,
    },
    /// The description of a scope cannot be displayed.
    #[error("the description of scope `{scope}` {problem}")]
    ScopeDescription {
        /// The scope.
        scope: String,
        /// The problem of the description.
        problem: TextProblem,
    },
    /// A scope is declared more than once.
    #[error("scope `{0}` is declared twice")]
    DuplicateScope(String),
    /// Each of two scopes implies the other.
    #[error("scopes `{0}` and `{1}` imply each other")]
    ScopeCycle(String, String),
    /// A scope is not declared.
    #[error("scope `{}` is not declared", .0.escape_debug())]
    UnknownScope(String),
    /// A catalog has more than 8 kinds of resources.
    #[error("the catalog has {0} kinds of resources, and at most 8 are allowed")]
    TooManyResources(usize),
    /// The name of a kind of resource is invalid.
    #[error(
        "`{}` cannot be the name of a kind of resource: it has 1 to 32 lower-case letters, digits, `-` and `_`, and \
         begins with a letter", .0.escape_debug()
    )]
    ResourceName(String),
    /// The description of a kind of resource is invalid.
    #[error("the description of the kind of resource `{name}` {problem}")]
    ResourceDescription {
        /// The name of the kind.
        name: String,
        /// The problem.
        problem: TextProblem,
    },
    /// A kind of resource is declared more than once.
    #[error("the kind of resource `{0}` is declared twice")]
    DuplicateResource(String),
    /// A kind of resource is not declared.
    #[error("the kind of resource `{}` is not declared", .0.escape_debug())]
    UnknownResource(String),
    /// A requirement has no scopes, so every caller would pass.
    #[error("a requirement names at least one scope; `require_none` is for routes without any")]
    EmptyRequirement,

    /// The policy has no tiers, or more than [`Policy::MAX_TIERS`](crate::Policy::MAX_TIERS).
    #[error("the policy has {0} tiers: it has at least one, and at most 256")]
    Tiers(usize),
    /// The name of a tier is invalid.
    #[error("the name of the tier `{}` {problem}", name.escape_debug())]
    TierName {
        /// The name of the tier.
        name: String,
        /// The problem of the name.
        problem: TextProblem,
    },
    /// Two tiers share a name.
    #[error("tier `{0}` is declared twice")]
    DuplicateTier(String),
    /// A rate has zero requests or zero seconds.
    #[error("the rate of tier `{0}` allows no request: both of its numbers are at least 1")]
    ZeroRate(String),
    /// The allowances of a tier cannot be counted.
    #[error("the allowances of tier `{tier}` are invalid: {problem}")]
    Allowances {
        /// The name of the tier.
        tier: String,
        /// The problem.
        problem: AllowanceProblem,
    },
    /// A tier has allowances, and nothing counts them.
    #[error(
        "tier `{0}` has allowances, and nothing counts them: give the builder a store with `shared_limits`"
    )]
    NoLimitStore(String),
    /// A longest lifetime is zero, so every key would be expired from the start.
    #[error("the longest lifetime of tier `{0}` is zero")]
    ZeroLifetime(String),
    /// The longest time without a use is zero, so every key would be disabled at once.
    #[error("the longest time without a use of tier `{0}` is zero")]
    ZeroIdle(String),
    /// The longest lifetime of [children](crate::children) is below a second or above 31 days.
    #[cfg(feature = "children")]
    #[error(
        "the longest lifetime of children is {0:?}; it must be at least a second and at most 31 days"
    )]
    ChildLifetime(Duration),
    /// An endpoint mints [children](crate::children), and the policy lets keys have none.
    #[cfg(feature = "children")]
    #[error("the policy does not let keys have children; set `max_child_lifetime_seconds`")]
    NoChildren,
    /// A higher tier allows less than a lower one.
    #[error("tier `{higher}` comes after `{lower}` but allows less: {what}")]
    Descending {
        /// The name of the lower tier.
        lower: String,
        /// The name of the higher tier.
        higher: String,
        /// The difference, as a clause of the message.
        what: String,
    },

    /// The prefix of foreign tokens is empty, too long or has other characters than visible ASCII.
    #[error("`{}` is not a prefix of tokens: it has 1 to 64 visible ASCII characters", .0.escape_debug())]
    ForeignPrefix(String),
    /// The separator of foreign tokens is not a visible ASCII character.
    #[error("U+{:04X} is not a separator: it is a visible ASCII character", u32::from(*.0))]
    ForeignSeparator(char),
    /// The count of separators is 0, which would mean the whole token.
    #[error("a secret part follows at least one separator")]
    NoForeignSeparator,
    /// The lengths of foreign tokens are empty or not within 1 to 1,024.
    #[error("tokens of {0} to {1} bytes are not a range within 1 to 1024")]
    ForeignLengths(usize, usize),
    /// The key of the HMAC is empty.
    #[error("the key of an HMAC is not empty")]
    ForeignKey,
    /// All tokens of the foreign format would be treated as keyway's own.
    #[error("`{}` begins like keyway's own tokens, which are never foreign", .0.escape_debug())]
    OwnPrefix(String),

    /// The thread that times the responses of introspection cannot be started. The text is the message of the
    /// operating system.
    #[cfg(feature = "http")]
    #[error("the thread that times responses cannot be started: {}", OneLine(.0))]
    Thread(String),
    /// The header of this name cannot hold keys.
    #[cfg(feature = "http")]
    #[error("`{}` cannot be the name of a header for API keys", .0.escape_debug())]
    KeyHeader(String),
    /// The name cannot be that of a cookie.
    #[cfg(feature = "http")]
    #[error("`{}` cannot be the name of a cookie", .0.escape_debug())]
    Alternative(String),
    /// A route names an alternative to the key that its guard does not check.
    #[cfg(feature = "http")]
    #[error(
        "{place} allows `{named}` besides a key, and its guard checks `{known}`: name that one"
    )]
    UnknownAlternative {
        /// The method and path.
        place: String,
        /// The alternative that the route names.
        named: String,
        /// The alternative that the guard checks.
        known: String,
    },
    /// Another verifier of the guard takes tokens with this prefix.
    #[cfg(feature = "http")]
    #[error("the guard has a verifier of tokens with `{}` already; give each its own environment", .0.escape_debug())]
    SamePrefix(String),
    /// Another verifier of the guard accepts imported tokens, and the prefix of a token does not lead to it.
    #[cfg(feature = "http")]
    #[error(
        "create the guard with the verifier of `{}`: the prefix of an imported token does not name its verifier",
        .0.escape_debug()
    )]
    ImportedElsewhere(String),
    /// The policies of two verifiers of one guard declare other scopes or kinds of resources.
    #[cfg(feature = "http")]
    #[error("verifiers of one guard need policies with the same scopes and kinds of resources")]
    OtherCatalog,
    /// The text cannot be a realm.
    #[cfg(feature = "http")]
    #[error("a realm is 1 to 128 visible ASCII characters and spaces, not `{}`", .0.escape_debug())]
    Realm(String),
    /// The text cannot be the base address of problem types.
    #[cfg(feature = "http")]
    #[error("problem types begin with 1 to 256 characters of a URI, not `{}`", .0.escape_debug())]
    ProblemTypes(String),
    /// These routes have no declaration of the access they require.
    #[cfg(feature = "http")]
    #[error("{} no declaration: {}", if .0.len() == 1 { "a route has" } else { "routes have" }, .0.join(", "))]
    UndeclaredRoutes(Vec<String>),
    /// Protected routes do not say which resources of each declared kind they touch.
    #[cfg(feature = "http")]
    #[error(
        "these routes do not say which resources they touch: {}; declare `resource`, `handler_checks` or `touches_no` \
         for each kind", .0.join(", ")
    )]
    UndeclaredResources(Vec<String>),
    /// A route says two different things about one kind of resource, or something about a route that needs no key.
    #[cfg(feature = "http")]
    #[error(
        "what {0} says about its resources does not follow a required key, or contradicts itself"
    )]
    ContradictoryResources(String),
    /// A route has a weight that is zero, or that does not follow a required key, or a second weight.
    #[cfg(feature = "http")]
    #[error("the weight of {0} is zero, is there twice, or does not follow a required key")]
    Weight(String),
    /// A route says something about children that does not follow a required key, that it has said before, or that needs
    /// [`accepts_children`](crate::http::Endpoint::accepts_children) before it.
    #[cfg(all(feature = "children", feature = "http"))]
    #[error(
        "what {0} says about children does not follow a required key, is there twice, or needs `accepts_children` before it"
    )]
    Children(String),
    /// A route of another method than `GET` accepts tickets.
    #[cfg(all(feature = "children", feature = "http"))]
    #[error("{0} cannot accept tickets: only routes of `GET` can")]
    TicketMethod(String),
    /// A route names a parameter for the id of a resource that its path does not have.
    #[cfg(feature = "http")]
    #[error("the path of {place} has no parameter `{{{parameter}}}`")]
    NoParameter {
        /// The method and path.
        place: String,
        /// The name of the parameter.
        parameter: String,
    },
    /// These operations are not declared, are declared twice, or are declared and do not exist.
    #[error(
        "declare each operation of the service once, and no other; these are missing, repeated or unknown: {}",
        .0.join(", ")
    )]
    Operations(Vec<String>),
    /// Operations that need a key do not say which resources of each declared kind they touch.
    #[error(
        "these operations do not say which resources they touch: {}; declare `resource`, `handler_checks` or \
         `touches_no` for each kind", .0.join(", ")
    )]
    UndeclaredOperationResources(Vec<String>),
    /// An operation says two things about this kind of resource, or something although it needs no key.
    #[error("what it says about `{}` contradicts itself, or it needs no key", .0.escape_debug())]
    ContradictoryNeeds(String),
    /// An operation has a weight that is zero, or a second one, or one although it needs no key.
    #[error("its weight is zero, is there twice, or belongs to an operation that needs no key")]
    OperationWeight,
    /// A guard takes operations by the path of the request, and these touch resources whose ids it cannot know.
    #[cfg(feature = "tower")]
    #[error(
        "no path names the resources of these operations: {}; declare `handler_checks`, and check the ids of each \
         message in the handler", .0.join(", ")
    )]
    OperationsWithoutIds(Vec<String>),
    /// Operations were built with another policy than that of the guard.
    #[cfg(feature = "tower")]
    #[error("the operation `{}` belongs to another policy than the guard", .0.escape_debug())]
    ForeignOperation(String),
    /// The address of a proxy is neither an address nor a network.
    #[cfg(feature = "http")]
    #[error("`{}` is neither the address nor the network of a proxy", .0.escape_debug())]
    Proxy(String),
    /// A declaration applies to no handler, because all earlier handlers are declared already.
    #[cfg(feature = "http")]
    #[error("{0} is declared twice")]
    DeclaredTwice(String),
    /// [`Endpoint::or`](crate::http::Endpoint::or) does not follow a requirement.
    #[cfg(feature = "http")]
    #[error(
        "{0} has an alternative to a key that it does not require: call `or` right after `require`, `require_any` or `any_key`"
    )]
    NoAlternative(String),
    /// Two handlers serve the same requests.
    #[cfg(feature = "http")]
    #[error("{0} has two handlers")]
    DuplicateRoute(String),
    /// The path of a route does not begin with a slash.
    #[cfg(feature = "http")]
    #[error("the path `{0}` does not begin with `/`")]
    RoutePath(String),
    /// Two paths match the same requests, so one of them would never be reached.
    #[cfg(feature = "http")]
    #[error("the paths `{0}` and `{1}` match the same requests")]
    AmbiguousPaths(String, String),
    /// The path of a route is not in the syntax that a [`Gateway`](crate::http::Gateway) takes.
    #[cfg(feature = "http")]
    #[error("a gateway cannot take the path `{}`: {problem}", path.escape_debug())]
    GatewayPath {
        /// The path.
        path: String,
        /// The problem of the path.
        problem: &'static str,
    },
    /// Two paths of a [`Gateway`](crate::http::Gateway) match the same requests, neither is more exact in each of
    /// its segments, and the path that both match is not declared.
    #[cfg(feature = "http")]
    #[error(
        "the paths `{first}` and `{second}` both match `{shared}`, which servers route in different ways: declare `{shared}` as well, with what it requires"
    )]
    OverlappingPaths {
        /// One of the paths.
        first: String,
        /// The other path.
        second: String,
        /// The path to declare.
        shared: String,
    },
    /// The header of this name cannot hold the method or target of an original request.
    #[cfg(feature = "http")]
    #[error("`{}` cannot be the name of a header for original requests", .0.escape_debug())]
    GatewayHeader(String),
    /// These operations of an OpenAPI document, each as `GET /path`, are declared by no route.
    #[cfg(feature = "openapi")]
    #[error("the document has operations that no route declares: {}", .0.join(", "))]
    UndeclaredOperations(Vec<String>),

    /// A current signing key is not a P-256 key in PEM.
    #[cfg(feature = "leak-reports")]
    #[error("the signing key `{}` is not a P-256 key in PEM", .0.escape_debug())]
    SigningKey(String),
    /// Two current signing keys have the same identifier.
    #[cfg(feature = "leak-reports")]
    #[error("the signing key `{}` is listed twice", .0.escape_debug())]
    DuplicateSigningKey(String),
    /// No signing key is current, so every report would be refused.
    #[cfg(feature = "leak-reports")]
    #[error("no signing key in the list is current")]
    NoSigningKey,

    /// The content type of the console's logo is not an image type.
    #[cfg(feature = "console")]
    #[error("a logo is of a type such as `image/png`, not `{}`", .0.escape_debug())]
    Logo(String),
    /// The console's accent is not a color of the form `#rrggbb`.
    #[cfg(feature = "console")]
    #[error("a color is written as `#rrggbb`, not `{}`", .0.escape_debug())]
    Accent(String),
    /// The console's command for new keys is not one line with exactly one `{token}`.
    #[cfg(feature = "console")]
    #[error("a line for new keys has one `{{token}}` and one line, unlike `{}`", .0.escape_debug())]
    Curl(String),
    /// The language is not a language tag with a script and a region at most.
    #[cfg(feature = "console")]
    #[error("a language is written as `de` or `pt-BR`, not `{}`", .0.escape_debug())]
    Language(String),
    /// The console's page has no text of this name.
    #[cfg(feature = "console")]
    #[error("the page has no text `{}`", .0.escape_debug())]
    PageText(String),
}

impl ConfigError {
    /// Adds the part that is invalid because of this error.
    pub(crate) fn within(self, place: impl Into<String>) -> Self {
        Self::In { place: place.into(), cause: Box::new(self) }
    }

    /// Creates the error of a file or document that cannot be read.
    #[cfg(feature = "std")]
    pub(crate) fn unreadable(what: impl Into<String>, problem: &dyn fmt::Display) -> Self {
        Self::Unreadable { what: what.into(), problem: problem.to_string() }
    }

    /// Returns how messages name a file.
    #[cfg(feature = "std")]
    pub(crate) fn file(path: &std::path::Path) -> String {
        alloc::format!("the file `{}`", path.display().to_string().escape_debug())
    }
}
