//! The declarations and the tools of the server are the same, or it does not start.

use keyway::{ConfigError, Keyring, operations::Needs};
use mcp::{
    guarded::{Declarations, WrongTools},
    server::{FactoryServer, declarations},
};
use rmcp::handler::server::router::tool::{CallToolHandlerExt as _, ToolRouter};

async fn keyring(folder: &tempfile::TempDir) -> Keyring {
    factory::open_keyring(folder.path()).await.unwrap()
}

/// Returns the message of the error.
fn stop(declarations: Declarations, tools: ToolRouter<FactoryServer>) -> String {
    declarations.build(tools).err().expect("the start stops").to_string()
}

fn planted(_: &FactoryServer) -> String {
    "planted".into()
}

#[tokio::test]
async fn tool_without_a_declaration_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder).await;
    let tools = || FactoryServer::tool_router().with_route(planted.name("planted"));
    let error = stop(declarations(keyring.policy()), tools());
    assert!(error.contains("missing, repeated or unknown: planted"), "{error}");
    // A tool that is disabled at the start can be enabled later.
    let mut disabled = tools();
    disabled.disable_route("planted");
    assert_eq!(stop(declarations(keyring.policy()), disabled), error);
    // With a declaration, the same server starts.
    let declared = declarations(keyring.policy()).tool("planted", Needs::nothing(), &[]);
    assert!(declared.build(tools()).is_ok());
}

#[tokio::test]
async fn declaration_without_a_tool_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder).await;
    let extra = declarations(keyring.policy()).tool("planted", Needs::nothing(), &[]);
    let error = stop(extra, FactoryServer::tool_router());
    assert!(error.contains("missing, repeated or unknown: planted"), "{error}");
    let mut fewer = FactoryServer::tool_router();
    fewer.remove_route("ping");
    let error = stop(declarations(keyring.policy()), fewer);
    assert!(error.contains("missing, repeated or unknown: ping"), "{error}");
}

#[tokio::test]
async fn tool_without_a_word_on_machines_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder).await;
    let silent = declarations(keyring.policy()).tool("planted", Needs::all(["reporting"]), &[]);
    let tools = FactoryServer::tool_router().with_route(planted.name("planted"));
    let error = silent.build(tools).err().unwrap();
    let WrongTools::Config(ConfigError::UndeclaredOperationResources(tools)) = error else {
        panic!("{error}")
    };
    assert_eq!(tools, ["planted (machine)"]);
}

#[tokio::test]
async fn argument_that_no_schema_has_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(&folder).await;
    let mut only_status = FactoryServer::tool_router();
    only_status.map.retain(|name, _| name == "machine_status");
    let declare = |argument| {
        let needs = Needs::all(["reporting"]).resource("machine");
        Declarations::new(keyring.policy()).tool("machine_status", needs, argument)
    };
    let error = stop(declare(&[("machine", "machineId")]), only_status.clone());
    assert_eq!(error, "the schema of the tool has no argument `machine_status(machineId)`");
    assert!(declare(&[("machine", "machine")]).build(only_status).is_ok());
}
