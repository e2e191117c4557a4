//! Throwaway PostgreSQL servers, in a folder and on a port of their own.
//!
//! They are made from the programs of the machine and never are a server that runs already. A server
//! ends with its test, however that ends.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of these")]

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    port: u16,
    options: Vec<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    /// The guard ends the server when this end of the pipe is closed, as it is when this process ends.
    alive: ChildStdin,
}

/// Runs the server as its child. When its own input ends, it ends the server and removes its folder; or
/// it was told to kill it, and then all of its processes end at once and the folder stays. The first of
/// them is stopped before, and so starts no more. What they had of the kernel's shared memory would stay
/// for good.
const GUARD: &str = r#"
    "$@" >"$FOLDER/log" 2>&1 &
    server=$!
    while read -r line; do last=$line; done
    children() { cat "/proc/$server/task/$server/children" || pgrep -P "$server"; }
    if [ "$last" = kill ]; then
        kill -STOP "$server"
        kill -KILL $(children)
        all=$(children)
        kill -KILL $all "$server"
        wait "$server"
        for process in $all; do
            while grep -q "^State:.[^ZX]" "/proc/$process/status"; do sleep 0.01; done
        done
        ipcrm -m "$(sed -n '7s/.* //p' "$FOLDER/data/postmaster.pid")"
    else
        kill -QUIT "$server"
        wait "$server"
        rm -rf "$FOLDER"
    fi 2>/dev/null
"#;

/// One server for all tests of a file that need nothing special of it, if there can be one. Give each
/// of them a [`fresh_schema`].
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[])).as_ref()
}

/// A name that no other test of this process uses.
pub fn fresh_schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Server {
    /// A new server with these settings, such as `fsync=off`. Without PostgreSQL on the machine there
    /// is none, which is said, and which fails where `CI` is `true`.
    pub fn start(settings: &[&str]) -> Option<Self> {
        Self::start_in(ground(), settings)
    }

    /// As [`start`](Self::start), with its data on a disk, as what is measured has to be.
    pub fn start_on_disk(settings: &[&str]) -> Option<Self> {
        Self::start_in(&env::temp_dir(), settings)
    }

    fn start_in(ground: &Path, settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                env::var("CI").as_deref() != Ok("true"),
                "PostgreSQL is not installed (initdb was not found)"
            );
            println!("not run: PostgreSQL is not installed (initdb was not found)");
            return None;
        };
        let folder = new_folder(ground);
        let data = folder.join("data");
        let mut initdb = as_server(Command::new(programs.join("initdb")));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--username=keyway",
            "--encoding=UTF8",
            "--pgdata",
        ]);
        run(initdb.arg(&data));
        let mut server = Self::in_folder(folder, settings);
        server.restart();
        Some(server)
    }

    /// A standby of this server, which streams what this one writes. If it is the one that
    /// `synchronous_standby_names` names, its name there is `standby`.
    pub fn standby(&self) -> Self {
        let folder = new_folder(ground());
        let programs = programs().unwrap();
        let mut copy = as_server(Command::new(programs.join("pg_basebackup")));
        copy.args([
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        ])
        .arg("--dbname")
        .arg(format!("{} application_name=standby", self.conninfo()))
        .arg("--pgdata")
        .arg(folder.join("data"));
        run(&mut copy);
        let mut server = Self::in_folder(folder, &["hot_standby=on"]);
        server.restart();
        server
    }

    fn in_folder(folder: PathBuf, settings: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = settings.iter().flat_map(|setting| ["-c".into(), (*setting).into()]);
        Self { folder, port, options: options.collect(), running: None }
    }

    /// Starts the server, which has been stopped or killed.
    pub fn restart(&mut self) {
        // What a killed server leaves keeps the next one from starting.
        let _ = fs::remove_file(self.folder.join("data/postmaster.pid"));
        let mut guard = as_server(Command::new("sh"));
        guard
            .args(["-c", GUARD, "guard"])
            .arg(programs().unwrap().join("postgres"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=200"])
            .args(["-c", "dynamic_shared_memory_type=mmap"])
            .args(&self.options)
            .env("FOLDER", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut guard = guard.spawn().unwrap();
        let alive = guard.stdin.take().unwrap();
        self.running = Some(Running { guard, alive });
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            assert!(Instant::now() < deadline, "{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Kills all processes of the server with SIGKILL; it recovers when it starts again.
    pub fn kill(&mut self) {
        self.end("kill\n");
    }

    fn end(&mut self, last: &str) {
        if let Some(Running { mut guard, mut alive }) = self.running.take() {
            alive.write_all(last.as_bytes()).unwrap();
            drop(alive);
            guard.wait().unwrap();
        }
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        let mut promote = as_server(Command::new(programs().unwrap().join("pg_ctl")));
        run(promote.arg("promote").arg("--wait").arg("--pgdata").arg(self.folder.join("data")));
    }

    /// Stops or continues all of the server's processes, as if the machine hung.
    pub fn freeze(&self, signal: &str) {
        let processes = self.processes();
        run(Command::new("kill").arg(signal).args(processes.iter().map(u32::to_string)));
    }

    /// The ids of the server's processes, the one that starts the others first.
    pub fn processes(&self) -> Vec<u32> {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = fs::read_to_string(children).unwrap_or_else(|_| {
            let children = Command::new("pgrep").args(["-P", postmaster]).output().unwrap();
            String::from_utf8(children.stdout).unwrap()
        });
        let ids = [postmaster].into_iter().chain(children.split_whitespace());
        ids.map(|id| id.parse().unwrap()).collect()
    }

    /// Changes a setting, for new connections at least.
    pub fn set(&self, name: &str, value: &str) {
        self.sql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.sql("SELECT pg_reload_conf()");
    }

    /// What `psql` answers.
    pub fn sql(&self, statement: &str) -> String {
        let mut psql = Command::new(programs().unwrap().join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.conninfo())
            .args(["-c", statement]);
        let output = psql.output().unwrap();
        assert!(
            output.status.success(),
            "{statement}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().into()
    }

    pub fn url(&self) -> String {
        format!("postgres://keyway@127.0.0.1:{}/postgres", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=keyway dbname=postgres", self.port)
    }

    /// Whether it lets a client in, which it does not yet while it recovers.
    fn answers(&self) -> bool {
        /// Its length, version 3.0 of the protocol, and who wants to go where.
        const HELLO: &[u8; 39] = b"\0\0\0\x27\0\x03\0\0user\0keyway\0database\0postgres\0\0";
        let mut said = [0];
        let mut hello = || {
            let mut server = TcpStream::connect(("127.0.0.1", self.port))?;
            server.set_read_timeout(Some(Duration::from_secs(5)))?;
            server.write_all(HELLO)?;
            server.read_exact(&mut said)
        };
        let is_told: io::Result<()> = hello();
        is_told.is_ok() && said == *b"R"
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where the programs of the newest PostgreSQL on the machine are.
fn programs() -> Option<PathBuf> {
    static PROGRAMS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        debian.sort();
        folders.extend(debian.into_iter().rev());
        folders.into_iter().find(|folder| {
            ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file())
        })
    };
    PROGRAMS.get_or_init(find).clone()
}

/// The user that the server runs as, if this process is the superuser, which it refuses to run as.
fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let user = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = user.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn as_server(mut command: Command) -> Command {
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

/// Where the servers are: in memory, if there is plenty of it. What a killed process has written stays
/// there as it does on a disk, and no test depends on more.
fn ground() -> &'static Path {
    static GROUND: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let mut free = Command::new("df");
        let free = free.args(["--output=avail", "--block-size=1G", "/dev/shm"]).output().ok()?;
        let free = String::from_utf8(free.stdout).ok()?;
        let free: u64 = free.lines().nth(1)?.trim().parse().ok()?;
        (free >= 4).then(|| PathBuf::from("/dev/shm"))
    };
    GROUND.get_or_init(|| find().unwrap_or_else(env::temp_dir))
}

fn new_folder(ground: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = ground.join(format!("keyway-postgres-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    if let Some((user, group)) = server_user() {
        chown(&folder, Some(user), Some(group)).unwrap();
    }
    folder
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
