//! The tools of agents, over JSON-RPC: `tools/list` and `tools/call` of MCP. The example `mcp` has a whole server.

use keyway::{
    ConfigError, Policy, Principal,
    operations::{Needs, OperationError, OperationTable, Operations},
};
use serde_json::{Value, json};

use crate::MACHINES;

/// Declares what each tool needs.
pub fn declare(policy: &Policy) -> Result<OperationTable, ConfigError> {
    Operations::new(policy)
        .operation("list_machines", Needs::all(["reporting"]).touches_no("machine"))
        .operation("machine_status", Needs::all(["reporting"]).resource("machine"))
        .operation("start_job", Needs::all(["operator.jobs"]).touches_no("machine"))
        .build(["list_machines", "machine_status", "start_job"])
}

/// Returns the response to a call.
pub fn respond(tools: &OperationTable, caller: &Principal, call: &Value) -> Value {
    let outcome = match call["method"].as_str() {
        Some("tools/list") => {
            let tools = tools.permitted(Some(caller)).map(|name| json!({ "name": name }));
            Ok(json!({ "tools": tools.collect::<Vec<_>>() }))
        }
        Some("tools/call") => run(tools, caller, &call["params"])
            .map_err(|error| (error.mcp_code(), error.to_string())),
        _ => Err((-32601, "unknown method".into())),
    };
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
        Err((code, message)) => {
            let error = json!({ "code": code, "message": message });
            json!({ "jsonrpc": "2.0", "id": call["id"], "error": error })
        }
    }
}

/// Runs a tool, if the caller may.
fn run(
    tools: &OperationTable,
    caller: &Principal,
    params: &Value,
) -> Result<Value, OperationError> {
    let name = params["name"].as_str().unwrap_or_default();
    let machine = params["arguments"]["machine"].as_str();
    let touched: Vec<_> = machine.map(|id| ("machine", id)).into_iter().collect();
    // A child may be limited to some operations.
    tools.check(name, Some(caller), &touched)?;
    let text = match name {
        "list_machines" => MACHINES.map(|(id, _)| id).join(" "),
        "machine_status" => {
            let found = MACHINES.into_iter().find(|(id, _)| Some(*id) == machine);
            found.map_or("unknown".into(), |(_, rate)| format!("utilization {rate}"))
        }
        _ => "started".into(),
    };
    Ok(json!({ "content": [{ "type": "text", "text": text }] }))
}
