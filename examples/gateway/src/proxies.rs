//! nginx, HAProxy and Caddy, with the configuration of the guide.

use std::{
    error::Error,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

const GUIDE: &str = include_str!("../../../src/guide/gateways.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Caddy];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
        }
    }

    pub fn package(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    /// Returns the path of the installed program.
    pub fn program(self) -> Option<String> {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let paths = folders.map(|folder| format!("{folder}/{}", self.package()));
        paths.into_iter().find(|path| Path::new(path).is_file())
    }
}

/// A running gateway. It ends when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    /// Returns the id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Starts a gateway that asks `check` and forwards to `application`. `without` is a line of the guide's
    /// configuration that is left out.
    pub fn start(
        kind: Kind,
        program: &str,
        check: SocketAddr,
        application: SocketAddr,
        without: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let write = |name: &str, text: String| -> Result<String, Box<dyn Error>> {
            let file = folder.path().join(name);
            fs::write(&file, text)?;
            Ok(file.display().to_string())
        };
        let lines = |language: &str| {
            let lines = of_the_guide(language)?;
            if !lines.contains(without) {
                return Err(format!("the guide has no `{without}`"));
            }
            let lines = if without.is_empty() { lines } else { lines.replacen(without, "", 1) };
            let lines = lines.replace("127.0.0.1:8080", &check.to_string());
            Ok(lines.replace("127.0.0.1:8081", &application.to_string()))
        };
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => {
                let text = nginx(folder.path(), address, &lines("nginx")?, check, application);
                command.args(["-c", &write("nginx.conf", text)?, "-e", "stderr"]);
            }
            Kind::Haproxy => {
                let script = write("forward_auth.lua", of_the_guide("lua")?)?;
                let text = lines("haproxy")?.replace("forward_auth.lua", &script);
                let text = text.replace("127.0.0.1:8000", &address.to_string());
                command.args(["-db", "-f", &write("haproxy.cfg", text)?]);
            }
            Kind::Caddy => {
                let site = format!("http://{address}");
                let text = lines("caddyfile")?
                    .replace("api.example.com", &format!("http://:{}", address.port()));
                let text = format!("{{\n    admin off\n    auto_https off\n}}\n# {site}\n{text}");
                command.args([
                    "run",
                    "--adapter",
                    "caddyfile",
                    "--config",
                    &write("Caddyfile", text)?,
                ]);
                command.env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
            }
        }
        let log = fs::File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut proxy = Self { address, process: command.spawn()?, _folder: folder };
        for _ in 0..400 {
            if TcpStream::connect(address).is_ok() {
                return Ok(proxy);
            }
            if proxy.process.try_wait()?.is_some() {
                break;
            }
            sleep(Duration::from_millis(25));
        }
        let log = fs::read_to_string(proxy._folder.path().join("log")).unwrap_or_default();
        Err(format!("{} does not start: {log}", kind.name()).into())
    }
}

/// Returns the first block of the guide in this language.
fn of_the_guide(language: &str) -> Result<String, String> {
    let start = GUIDE.split_once(&format!("```{language}\n"));
    let block = start.and_then(|(_, rest)| rest.split_once("```"));
    block.map(|(block, _)| block.to_owned()).ok_or(format!("the guide has no {language}"))
}

/// Returns the configuration around the guide's lines. Connections to the two services stay open, as they would in
/// a service with traffic.
fn nginx(
    folder: &Path,
    address: SocketAddr,
    lines: &str,
    check: SocketAddr,
    application: SocketAddr,
) -> String {
    let path = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {path}/{name};\n"))
        .concat();
    let upstream = |name: &str, to: SocketAddr| {
        format!("    upstream {name} {{ server {to}; keepalive 64; }}\n")
    };
    let upstreams = [upstream("check", check), upstream("application", application)].concat();
    let lines = lines
        .replace(&format!("proxy_pass http://{check}"), "proxy_pass http://check")
        .replace(&format!("proxy_pass http://{application}"), "proxy_pass http://application");
    format!(
        "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log stderr warn;\n\
         events {{}}\nhttp {{\n{temporary}{upstreams}    access_log off;\n    \
         keepalive_requests 1000000;\n    server {{\n    listen {address};\n{lines}}}\n}}\n"
    )
}
