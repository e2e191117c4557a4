//! The tools of the factory.

use std::{sync::Arc, time::Duration};

use factory::{Downtime, Factory};
use keyway::{Keyring, Policy, operations::Needs};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::wrapper::Parameters,
    model::{
        CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult,
        PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig,
    },
    schemars::{self, JsonSchema},
    service::RequestContext,
    tool, tool_router,
};
use serde::Deserialize;
use serde_json::json;

use crate::guarded::{Caller, Declarations, GuardedTools, WrongTools};

/// The MCP server of the factory. Clones share its tools.
#[derive(Clone)]
pub struct FactoryServer {
    factory: Factory,
    tools: Arc<GuardedTools<Self>>,
}

/// One machine.
#[derive(Deserialize, JsonSchema)]
pub struct OneMachine {
    /// The id of the machine, such as `mill-1`.
    machine: String,
}

/// A downtime.
#[derive(Deserialize, JsonSchema)]
pub struct NewDowntime {
    /// The id of the machine, such as `mill-1`.
    machine: String,
    /// The cause, such as `tool change`.
    reason: String,
}

/// One job.
#[derive(Deserialize, JsonSchema)]
pub struct OneJob {
    /// The id of the job, such as `job-7`.
    job: String,
}

/// The readings of a machine.
#[derive(Deserialize, JsonSchema)]
pub struct Watch {
    /// The id of the machine, such as `mill-1`.
    machine: String,
    /// The number of readings, from 1 to 3000. There are ten in a second.
    readings: u32,
}

/// Declares what each tool needs. A tool without a line here stops the start, and so does a line without a tool.
pub fn declarations(policy: &Policy) -> Declarations {
    let reads = || Needs::all(["reporting"]);
    Declarations::new(policy)
        .tool("list_jobs", Needs::all(["operator.read"]).touches_no("machine"), &[])
        .tool("list_machines", reads().handler_checks("machine"), &[])
        .tool("machine_status", reads().resource("machine"), &[("machine", "machine")])
        .tool("ping", Needs::nothing(), &[])
        .tool(
            "report_downtime",
            Needs::all(["operator.downtime"]).resource("machine"),
            &[("machine", "machine")],
        )
        .tool("start_job", Needs::all(["operator.jobs"]).touches_no("machine"), &[])
        .tool("watch_machine", reads().resource("machine"), &[("machine", "machine")])
}

impl FactoryServer {
    /// Creates the server.
    ///
    /// # Errors
    ///
    /// [`WrongTools`] names the tools that only have a handler or only a declaration.
    pub fn new(keyring: &Keyring, factory: &Factory) -> Result<Self, WrongTools> {
        Self::with(declarations(keyring.policy()), factory)
    }

    /// Creates the server with other declarations.
    ///
    /// # Errors
    ///
    /// The same as those of [`new`](Self::new).
    pub fn with(declarations: Declarations, factory: &Factory) -> Result<Self, WrongTools> {
        let tools = Arc::new(declarations.build(Self::tool_router())?);
        Ok(Self { factory: factory.clone(), tools })
    }

    /// Returns the tools with the access that each requires.
    pub fn tools(&self) -> &GuardedTools<Self> {
        &self.tools
    }
}

#[tool_router(vis = "pub")]
impl FactoryServer {
    /// Checks that the server responds.
    #[tool(annotations(read_only_hint = true))]
    async fn ping(&self) -> String {
        "pong".into()
    }

    /// Lists the machines of the company that the key may touch.
    #[tool(annotations(read_only_hint = true))]
    async fn list_machines(&self, Caller(caller): Caller) -> String {
        self.factory.machines(&caller).to_string()
    }

    /// Returns the utilization of a machine and its downtimes.
    #[tool(annotations(read_only_hint = true))]
    async fn machine_status(
        &self,
        Parameters(OneMachine { machine }): Parameters<OneMachine>,
    ) -> Result<String, String> {
        let status = self.factory.status(&machine);
        status.map(|status| status.to_string()).ok_or_else(|| "there is no such machine".into())
    }

    /// Writes the cause of a downtime of a machine.
    #[tool(annotations(destructive_hint = false))]
    async fn report_downtime(
        &self,
        Caller(caller): Caller,
        Parameters(NewDowntime { machine, reason }): Parameters<NewDowntime>,
    ) -> Result<String, String> {
        let downtime = json!({ "machine": machine, "reason": reason });
        let downtime: Downtime =
            serde_json::from_value(downtime).map_err(|error| error.to_string())?;
        let written = self.factory.write_downtime(&caller, downtime);
        written.map(|()| "written".into()).map_err(|refused| refused.into_body())
    }

    /// Lists the jobs that were started.
    #[tool(annotations(read_only_hint = true))]
    async fn list_jobs(&self) -> String {
        self.factory.jobs().to_string()
    }

    /// Starts a job.
    #[tool(annotations(destructive_hint = false))]
    async fn start_job(
        &self,
        Caller(caller): Caller,
        Parameters(OneJob { job }): Parameters<OneJob>,
    ) -> String {
        self.factory.start(&caller, job)
    }

    /// Reads a machine ten times a second, and reports each reading as progress.
    #[tool(annotations(read_only_hint = true))]
    async fn watch_machine(
        &self,
        context: RequestContext<RoleServer>,
        Parameters(Watch { machine, readings }): Parameters<Watch>,
    ) -> Result<String, String> {
        if !(1..=3_000).contains(&readings) {
            return Err("`readings` is not from 1 to 3000".into());
        }
        let token = context.meta.get_progress_token();
        for reading in 1..=readings {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let status = self.factory.status(&machine).ok_or("there is no such machine")?;
            let Some(token) = &token else { continue };
            let progress = ProgressNotificationParam::new(token.clone(), f64::from(reading))
                .with_total(f64::from(readings))
                .with_message(status.to_string());
            let sent = context.peer.notify_progress(progress).await;
            sent.map_err(|error| error.to_string())?;
        }
        Ok(format!("{readings} readings of {machine}"))
    }
}

impl ServerHandler for FactoryServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("factory", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Machines and jobs of a factory. The list has the tools of your key.",
            )
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(self.tools.list(&context))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.tools.call(self, request, context).await
    }
}
