//! Operations: declared names, and the verdict on each call.

use crate::support::{World, block_on, catalog, overheard::RevealKnown as _};
use keyway::{
    ConfigError, NewKey, Policy, Principal, Tier,
    grant::{ResourceDeclaration, Resources},
    operations::{Needs, OperationError, OperationTable, Operations},
};

const NAMES: [&str; 6] = ["list", "move", "ping", "report", "start", "whoami"];

fn policy() -> Policy {
    let machine = ResourceDeclaration::new("machine", "for tests");
    let catalog = catalog().with_resources([machine]).unwrap();
    Policy::new("mm", catalog, [Tier::new("advanced", 9)]).unwrap()
}

fn operations() -> Operations {
    Operations::new(&policy())
        .operation("list", Needs::all(["reporting"]).handler_checks("machine"))
        .operation("move", Needs::all(["operator.jobs"]).resource("machine"))
        .operation("ping", Needs::nothing())
        .operation("report", Needs::any(["reporting", "manager"]).touches_no("machine"))
        .operation("start", Needs::all(["operator.jobs"]).resource("machine"))
        .operation("whoami", Needs::any_key().touches_no("machine"))
}

fn table() -> OperationTable {
    operations().build(NAMES).unwrap()
}

fn caller(world: &World, name: &str, scopes: &[&str], machines: Resources) -> Principal {
    let request = NewKey::named(name).scopes(scopes.iter().copied());
    let request = request.resources("machine", machines);
    let acme = block_on(world.keyring.create_empty_tenant(name, "advanced")).unwrap();
    let token = block_on(acme.issue(request)).unwrap().token.reveal_known().to_string();
    block_on(world.keyring.verify(token)).unwrap()
}

fn word(result: Result<(), OperationError>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "ok".into())
}

#[test]
fn operation_without_a_declaration_stops_the_start() {
    let wrong = |names: &[&str], operations: Operations| match operations.build(names) {
        Err(ConfigError::Operations(wrong)) => wrong.join(" "),
        built => panic!("{built:?}"),
    };
    let planted = [&NAMES[..], &["planted"]].concat();
    assert_eq!(wrong(&planted, operations()), "planted");
    assert_eq!(wrong(&NAMES[1..], operations()), "list");
    let twice = operations().operation("ping", Needs::any_key().touches_no("machine"));
    assert_eq!(wrong(&NAMES, twice), "ping");
    let case = operations().operation("Ping", Needs::nothing());
    assert_eq!(wrong(&NAMES, case), "Ping");
    assert_eq!(wrong(&["a", "b"], Operations::new(&policy())), "a b");
}

#[test]
fn incomplete_or_contradictory_needs_are_named() {
    let build = |needs| Operations::new(&policy()).operation("x", needs).build(["x"]);
    let error = |needs| build(needs).unwrap_err();
    let unstated = ConfigError::UndeclaredOperationResources(vec!["x (machine)".into()]);
    assert_eq!(error(Needs::all(["reporting"])), unstated);
    assert_eq!(error(Needs::any_key()), unstated);
    for needs in [
        Needs::any_key().touches_no("machine").resource("machine"),
        Needs::nothing().touches_no("machine"),
        Needs::any_key().resource("site"),
        Needs::all(["gone"]).touches_no("machine"),
        Needs::all([""; 0]).touches_no("machine"),
    ] {
        let text = error(needs).to_string();
        assert!(text.contains("operation `x`"), "{text}");
    }
}

#[test]
fn each_call_gets_the_verdict_of_its_operation() {
    let (world, table) = (World::with(policy(), |builder| builder), table());
    let some = Resources::only(["press-1", "press-2"]).unwrap();
    let operator = caller(&world, "operator", &["operator.jobs"], some);
    let all = caller(&world, "all", &["operator.jobs"], Resources::All);
    let reader = caller(&world, "reader", &["reporting"], Resources::Nothing);
    let (own, other) = (("machine", "press-1"), ("machine", "press-3"));
    let resource = "the API key may not touch this resource of the kind `machine`";
    for (name, caller, ids, expected) in [
        ("start", Some(&operator), &[own][..], "ok"),
        ("start", Some(&operator), &[other], resource),
        ("start", Some(&operator), &[own, other], resource),
        ("move", Some(&operator), &[own, ("machine", "press-2")], "ok"),
        // A call without the id that its operation names may touch any machine.
        ("start", Some(&operator), &[], resource),
        ("start", Some(&all), &[], "ok"),
        ("start", Some(&all), &[other], "ok"),
        (
            "start",
            Some(&all),
            &[("site", "a")],
            "the API key may not touch this resource of the kind `site`",
        ),
        ("start", Some(&reader), &[own], "missing scope `operator.jobs`"),
        ("start", None, &[own], "an API key is required"),
        ("list", Some(&reader), &[], "ok"),
        ("list", Some(&reader), &[own], resource),
        ("report", Some(&operator), &[], "missing one of scopes `manager`, `reporting`"),
        ("whoami", Some(&reader), &[], "ok"),
        ("whoami", None, &[], "an API key is required"),
        ("ping", None, &[], "ok"),
        ("planted", Some(&all), &[], "there is no such operation"),
        ("START", Some(&all), &[own], "there is no such operation"),
    ] {
        assert_eq!(word(table.check(name, caller, ids)), expected, "{name} {ids:?}");
    }
}

#[test]
fn weights_of_operations_are_declared_once_for_keys() {
    let build =
        |needs: Needs| Operations::new(&policy()).operation("report", needs).build(["report"]);
    let any = || Needs::any_key().touches_no("machine");
    let weight = |needs| build(needs).unwrap().weight("report").unwrap().get();
    assert_eq!([weight(any()), weight(any().weight(1)), weight(any().weight(50))], [1, 1, 50]);
    assert_eq!(weight(Needs::nothing()), 1);
    assert_eq!(table().weight("planted"), None);
    assert_eq!(build(any().weight(50)).unwrap().to_string(), "report  any key, counts 50\n");
    for needs in [any().weight(0), any().weight(2).weight(2), Needs::nothing().weight(2)] {
        let text = "operation `report`: its weight is zero, is there twice, or belongs to an operation that needs no key";
        assert_eq!(build(needs).unwrap_err().to_string(), text);
    }
}

#[test]
fn list_has_only_what_the_caller_may_call() {
    let (world, table) = (World::with(policy(), |builder| builder), table());
    let names = |caller| table.permitted(caller).collect::<Vec<_>>().join(" ");
    assert_eq!(names(None), "ping");
    let some = Resources::only(["press-1"]).unwrap();
    let operator = caller(&world, "operator", &["operator.jobs"], some);
    assert_eq!(names(Some(&operator)), "move ping start whoami");
    let without = caller(&world, "without", &["operator.jobs", "reporting"], Resources::Nothing);
    assert_eq!(names(Some(&without)), "list ping report whoami");
    assert_eq!(table.names().collect::<Vec<_>>(), NAMES);
}

#[test]
fn caller_of_another_policy_is_refused() {
    let table = table();
    let other = World::new();
    let stranger = block_on(other.keyring.verify(&other.tenant_with_key("acme").token)).unwrap();
    assert!(table.check("whoami", Some(&stranger), &[]).is_err());
    assert_eq!(table.permitted(Some(&stranger)).collect::<Vec<_>>(), ["ping"]);
}

#[test]
fn refusals_have_the_codes_of_each_protocol() {
    let outside = OperationError::Outside(keyway::grant::OutsideGrant::Network);
    for (error, grpc, json_rpc, mcp, graphql) in [
        (OperationError::Unknown, 12, -32601, -32602, "GRAPHQL_VALIDATION_FAILED"),
        (OperationError::Missing, 16, 401, 401, "UNAUTHENTICATED"),
        (outside, 7, 403, 403, "FORBIDDEN"),
    ] {
        let codes =
            (error.grpc_code(), error.json_rpc_code(), error.mcp_code(), error.graphql_code());
        assert_eq!(codes, (grpc, json_rpc, mcp, graphql));
        // JSON-RPC reserves these numbers, and MCP allows no further ones among them.
        let is_reserved = |code: i32| (-32_768..=-32_000).contains(&code);
        let is_defined = |code: i32| (-32_602..=-32_601).contains(&code);
        for code in [codes.1, codes.2] {
            assert!(!is_reserved(code) || is_defined(code), "{code}");
        }
    }
}

#[test]
fn table_shows_each_operation_on_a_line() {
    let text = "\
list    reporting, on machine as the handler checks
move    operator.jobs, on machine
ping    public
report  manager or reporting
start   operator.jobs, on machine
whoami  any key
";
    assert_eq!(table().to_string(), text);
}
