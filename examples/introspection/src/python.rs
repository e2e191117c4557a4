//! The resource server in Python, as a process of its own.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// Starts the resource server, and returns it with its address. It ends when it is dropped.
pub async fn start(service: &str, key: &str) -> Result<(Child, String), Box<dyn Error>> {
    let script = env::var_os("RESOURCE_SERVER")
        .map_or_else(|| Path::new(FOLDER).join("resource_server.py"), PathBuf::from);
    let mut server = Command::new(interpreter().await?)
        .arg(script)
        .env("AUTHORIZATION_SERVICE", service)
        // Not an argument, since every user of a machine sees the arguments of all processes.
        .env("SERVICE_KEY", key)
        .stdout(Stdio::piped())
        .stderr(if env::var_os("VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() })
        .kill_on_drop(true)
        .spawn()?;
    let output = server.stdout.take().ok_or("the resource server has no output")?;
    let address = BufReader::new(output).lines().next_line().await?;
    Ok((server, address.ok_or("the resource server does not start; VERBOSE=1 shows its errors")?))
}

/// Returns the interpreter of a virtual environment with the libraries, which is made at the first start.
async fn interpreter() -> Result<PathBuf, Box<dyn Error>> {
    let venv = Path::new(FOLDER).join("../../target/introspection-venv");
    let (python, ready) = (venv.join("bin/python"), venv.join("ready"));
    if !ready.exists() {
        println!("installs Authlib and Flask in target/introspection-venv");
        let requirements = Path::new(FOLDER).join("requirements.txt");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(&python).args(install).arg(requirements)).await?;
        std::fs::write(ready, "")?;
    }
    Ok(python)
}

async fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{:?}: {status}", command.as_std()).into()),
        Err(error) => Err(format!("{:?}: {error}", command.as_std()).into()),
    }
}
