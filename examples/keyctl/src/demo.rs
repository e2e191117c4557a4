//! A whole session in a temporary folder: each command with its output.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{failure::Failure, output::Output};

/// The peppers are examples. A service makes its own with `openssl rand -base64 32`.
const PEPPER: &str = "bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=";
const NEXT_PEPPER: &str = "YW5vdGhlciBvbmUsIG5vIG1vcmUgYSBzZWNyZXQgdGhhbiBpdA==";

const MANIFEST: &str = r#"{
  "tenants": [
    {
      "id": "acme",
      "tier": "advanced",
      "exceptions": { "keys": 7 },
      "keys": [
        { "name": "Dashboard", "scopes": ["reporting"], "resources": { "machine": ["mill-1", "mill-2"] } },
        { "name": "Edge gateway", "scopes": ["gateway"], "owner": "plant-2", "networks": ["192.0.2.0/24"] }
      ]
    },
    { "id": "globex", "tier": "lite", "keys": [{ "name": "ERP", "scopes": ["erp"] }] }
  ]
}
"#;

/// SHA-256 digests of tokens of another system.
const DIGESTS: &str = "\
tenant,name,digest,scopes,enabled
acme,Old dashboard,6b9ed9aad8383dd66f98add756273f7817c8ea3d49cfe2f042cee5d239c491a1,reporting,true
acme,Old export,6a34df15b6f2dd6f7da80b1506bae98c7e0d638645139639b09522f635a6ecdf,everything,false
";

/// Runs the session. It fails if a command ends with another exit code than it should.
pub fn run(out: Output) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("keyctl-demo-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let told = Demo { folder: folder.clone(), program: std::env::current_exe()?, out }.story();
    fs::remove_dir_all(folder)?;
    told
}

struct Demo {
    folder: PathBuf,
    program: PathBuf,
    out: Output,
}

impl Demo {
    fn story(&self) -> Result<(), Failure> {
        self.file("policy.json", include_str!("../../machinemetrics.json"))?;
        self.file("pepper", PEPPER)?;
        self.file("next-pepper", NEXT_PEPPER)?;
        self.file("manifest.json", MANIFEST)?;
        self.file("old-keys.csv", DIGESTS)?;

        self.chapter("A store, a tenant and its first key")?;
        self.show("init", 0)?;
        self.show("tiers list", 0)?;
        self.show("tenants create acme --tier lite", 0)?;
        let issued =
            self.show_issue("keys issue --tenant acme --name Nightly --scope reporting --json")?;
        let (id, token) = (text(&issued, "/key/id")?, text(&issued, "/token")?);
        self.show("keys issue --tenant acme --name Second", 1)?;

        self.chapter("A larger tier, with a preview")?;
        self.show("tenants set-tier acme advanced --dry-run", 0)?;
        self.show("tenants set-tier acme advanced", 0)?;
        self.show("keys list --tenant acme", 0)?;

        self.chapter("A leaked token, which is read from stdin")?;
        self.show_with("token verify", &token, 0)?;
        self.show_with("token report-leak --reason found-on-a-wiki", &token, 0)?;
        self.show_with("token verify", &token, 1)?;
        self.show_issue(&format!("keys rotate {id} --grace none --yes --json"))?;
        self.show(&format!("keys resume {id}"), 0)?;
        self.show_with("token verify", &token, 1)?;

        self.chapter("A manifest")?;
        self.show("apply manifest.json --dry-run", 0)?;
        self.show("apply manifest.json --token-file tokens.jsonl", 0)?;
        self.show("apply manifest.json", 0)?;

        self.chapter("A concurrent change is reported, and not overwritten")?;
        self.file(
            "manifest.json",
            &MANIFEST.replace("\"reporting\"", "\"reporting\", \"operator.read\""),
        )?;
        self.show("apply manifest.json --dry-run --save-plan plan.json", 0)?;
        let listed = self.capture("keys list --tenant acme --containing Dashboard --json")?;
        let dashboard = text(&serde_json::from_str(&listed).unwrap_or_default(), "/id")?;
        self.show(&format!("keys edit {dashboard} --scope operator.jobs"), 0)?;
        self.show("apply manifest.json --plan plan.json", 1)?;

        self.chapter("Digests of another system")?;
        self.show("import old-keys.csv --prefix old_ --lengths 12 --dry-run", 1)?;
        self.file("old-keys.csv", &DIGESTS.replace("everything", "operator.read"))?;
        self.show("import old-keys.csv --prefix old_ --lengths 12", 0)?;
        self.show("import old-keys.csv --prefix old_ --lengths 12", 0)?;

        self.chapter("A new pepper")?;
        let next = "--pepper-file next-pepper --pepper-slot 1 --retiring 0=pepper";
        self.show(&format!("reseal --progress always {next}"), 0)?;
        self.show(&format!("reseal {next}"), 0)?;

        self.chapter("Deletion needs consent")?;
        self.show(&format!("purge --expired-for 90d {next}"), 2)?;
        self.show(&format!("purge --expired-for 90d --yes {next}"), 0)?;
        self.show(&format!("tenants delete globex --yes {next}"), 0)?;
        self.show(&format!("tenants list {next}"), 0)
    }

    fn file(&self, name: &str, text: &str) -> Result<(), Failure> {
        Ok(fs::write(self.folder.join(name), text)?)
    }

    fn chapter(&self, title: &str) -> Result<(), Failure> {
        self.out.write(&format!("\n{title}\n"))
    }

    fn show(&self, line: &str, code: i32) -> Result<(), Failure> {
        self.show_with(line, "", code)
    }

    /// Shows a command with this text on its stdin, and its output.
    fn show_with(&self, line: &str, stdin: &str, code: i32) -> Result<(), Failure> {
        let from = if stdin.is_empty() { "" } else { "  < token" };
        self.out.write(&format!("\n  $ keyctl {line}{from}\n"))?;
        let (printed, noted, ended) = self.call(line, stdin)?;
        for line in printed.lines().chain(noted.lines()) {
            self.out.write(&format!("  {line}\n"))?;
        }
        if ended != code {
            let message = format!("`keyctl {line}` ended with {ended}, and should end with {code}");
            return Err(Failure::refused(message));
        }
        if code != 0 {
            self.out.write(&format!("  exit code {code}\n"))?;
        }
        Ok(())
    }

    /// Shows a command that writes a token, and returns its result.
    fn show_issue(&self, line: &str) -> Result<Value, Failure> {
        self.out.write(&format!("\n  $ keyctl {line}\n"))?;
        let (printed, noted, _) = self.call(line, "")?;
        let issued: Value = serde_json::from_str(&printed)
            .map_err(|_| Failure::refused(format!("`keyctl {line}` failed: {noted}")))?;
        for name in ["id", "name", "masked", "scopes"] {
            let value = issued.pointer(&format!("/key/{name}")).unwrap_or(&Value::Null);
            self.out.write(&format!("  {name}: {value}\n"))?;
        }
        self.out
            .write(&format!("  token: {}\n", issued.pointer("/token").unwrap_or(&Value::Null)))?;
        Ok(issued)
    }

    fn capture(&self, line: &str) -> Result<String, Failure> {
        Ok(self.call(line, "")?.0)
    }

    /// Runs a command. Returns its stdout, its stderr and its exit code.
    fn call(&self, line: &str, stdin: &str) -> Result<(String, String, i32), Failure> {
        let mut child = Command::new(&self.program)
            .args(line.split(' '))
            .current_dir(&self.folder)
            .env("KEYCTL_POLICY", "policy.json")
            .env("KEYCTL_STORE", "keys.db")
            .env("KEYCTL_PEPPER_FILE", "pepper")
            .env("KEYCTL_ENVIRONMENT", "live")
            .env("KEYCTL_ACTOR", "demo")
            .env_remove("KEYCTL_PEPPER_SLOT")
            .env_remove("KEYCTL_AUDIT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that needs no token may have ended already.
            _ = pipe.write_all(stdin.as_bytes());
        }
        let ended = child.wait_with_output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((text(ended.stdout), text(ended.stderr), ended.status.code().unwrap_or(-1)))
    }
}

fn text(value: &Value, pointer: &str) -> Result<String, Failure> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::refused(format!("the output has no {pointer}")))
}
