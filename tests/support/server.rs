//! Throwaway PostgreSQL servers, each with its own folder and port.
//!
//! They use the PostgreSQL programs of the machine, and never a server that is already running. A server ends
//! with its test, however the test ends.

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

/// A server that runs until this value is dropped.
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
    /// The guard stops the server when this end of the pipe is closed, which also happens when this process
    /// ends.
    alive: ChildStdin,
}

/// Runs the server as a child process. When the script's input ends, it stops the server and removes its
/// folder. After the line `stop` it shuts the server down in order, and the folder stays. After the line
/// `kill` it kills all processes of the server at once, and the folder stays. The first process is stopped
/// before, so that it starts no more processes. The script also removes their shared memory, which the kernel
/// would keep forever.
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
    elif [ "$last" = stop ]; then
        kill -INT "$server"
        wait "$server"
    else
        kill -QUIT "$server"
        wait "$server"
        rm -rf "$FOLDER"
    fi 2>/dev/null
"#;

/// Returns one server for all tests of a file that have no special needs. Give each test a [`fresh_schema`].
///
/// Tests that call this or [`Server::start`] are marked with `#[ignore = "needs PostgreSQL"]`.
///
/// # Panics
///
/// Panics if PostgreSQL is not installed.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[]))
}

/// Returns `true` if PostgreSQL is installed.
pub fn is_installed() -> bool {
    programs().is_ok()
}

/// Returns a schema name that no other test of this process uses.
pub fn fresh_schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Server {
    /// Starts a new server with these settings, such as `fsync=off`.
    ///
    /// # Panics
    ///
    /// Panics if PostgreSQL is not installed.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(ground(), settings)
    }

    /// Like [`start`](Self::start), with the data on a disk. Measurements need this.
    pub fn start_on_disk(settings: &[&str]) -> Self {
        Self::start_in(&env::temp_dir(), settings)
    }

    fn start_in(ground: &Path, settings: &[&str]) -> Self {
        let programs = programs().unwrap_or_else(|missing| panic!("{missing}"));
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
        server
    }

    /// Starts a standby of this server, which streams its log. In `synchronous_standby_names` its name is
    /// `standby`.
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

    /// Starts a server that was stopped or killed.
    pub fn restart(&mut self) {
        // The file of a killed server would prevent the next start.
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

    /// Shuts the server down in order. Its standbys have then received everything.
    pub fn stop(&mut self) {
        self.end("stop\n");
    }

    /// Starts this server, which was stopped, as a standby of `primary`. A switchover does the same with the
    /// former primary. The port stays the same.
    pub fn restart_as_standby_of(&mut self, primary: &Self) {
        let data = self.folder.join("data");
        let conninfo = format!("{} application_name=former", primary.conninfo());
        let settings = format!("primary_conninfo = '{conninfo}'\nhot_standby = on\n");
        let auto = data.join("postgresql.auto.conf");
        let before = fs::read_to_string(&auto).unwrap();
        fs::write(&auto, format!("{before}\n{settings}")).unwrap();
        fs::write(data.join("standby.signal"), "").unwrap();
        if let Some((user, group)) = server_user() {
            chown(data.join("standby.signal"), Some(user), Some(group)).unwrap();
        }
        self.restart();
    }

    /// Starts one of PostgreSQL's own programs, with this server as the first argument, in `--dbname`. The
    /// program ends when the result is dropped.
    pub fn client(&self, program: &str, arguments: &[&str]) -> Client {
        let folder = new_folder(ground());
        let mut client = as_server(Command::new(programs().unwrap().join(program)));
        client.current_dir(&folder).arg("--dbname").arg(self.conninfo()).args(arguments);
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Client { child: client.spawn().unwrap(), folder }
    }

    /// Kills all processes of the server with SIGKILL. The server recovers when it starts again.
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

    /// Sends `signal`, which stops or continues all of the server's processes, to simulate a hanging machine.
    pub fn freeze(&self, signal: &str) {
        let processes = self.processes();
        run(Command::new("kill").arg(signal).args(processes.iter().map(u32::to_string)));
    }

    /// Returns the ids of the server's processes. The postmaster, which starts the others, is first.
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

    /// Changes a setting. At least new connections use it.
    pub fn set(&self, name: &str, value: &str) {
        self.sql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.sql("SELECT pg_reload_conf()");
    }

    /// Returns the output of `psql`.
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

    /// Returns whether the server accepts a client. It does not while it recovers.
    fn answers(&self) -> bool {
        /// A start-up message: its length, version 3.0 of the protocol, the user and the database.
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

    /// Returns what the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    child: Child,
    folder: PathBuf,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A `PgBouncer` in front of a server. It serves each transaction with another of its connections.
#[derive(Debug)]
pub struct Bouncer {
    client: Client,
    port: u16,
}

impl Bouncer {
    /// Starts a pooler with these lines in its configuration.
    ///
    /// # Panics
    ///
    /// Panics if `pgbouncer` is not installed.
    pub fn start(server: &Server, lines: &[&str]) -> Self {
        let places = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let Some(program) = places.iter().find(|place| Path::new(place).is_file()) else {
            panic!("this test needs PgBouncer (Debian: `pgbouncer`), which was not found");
        };
        let folder = new_folder(ground());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let users = folder.join("users");
        fs::write(&users, "\"keyway\" \"\"\n\"pooled\" \"\"\n").unwrap();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = 4\n{}\n",
            server.port,
            users.display(),
            lines.join("\n")
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, config).unwrap();
        // The pooler ends with this process, as the servers do.
        let mut guard = as_server(Command::new("sh"));
        guard
            .args([
                "-c",
                "\"$@\" & child=$!; read -r line; kill -KILL $child; wait $child",
                "guard",
            ])
            .arg(program)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap());
        let client = Client { child: guard.spawn().unwrap(), folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(client.folder.join("log"));
            assert!(Instant::now() < deadline, "{:?}", log());
            sleep(Duration::from_millis(20));
        }
        Self { client, port }
    }

    pub fn url(&self) -> String {
        format!("postgres://keyway@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // The guard stops the pooler when its input ends.
        drop(self.client.child.stdin.take());
        let _ = self.client.child.wait();
    }
}

/// Returns the folder with the programs of PostgreSQL: `KEYWAY_POSTGRES`, or if that is not set, the first on the
/// path, or the newest in `/usr/lib/postgresql`. The error is a message.
fn programs() -> Result<PathBuf, &'static str> {
    static PROGRAMS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let is_complete = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file())
    };
    let find = || {
        if let Some(folder) = env::var_os("KEYWAY_POSTGRES") {
            return Some(PathBuf::from(folder)).filter(is_complete);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        debian.sort();
        folders.extend(debian.into_iter().rev());
        folders.into_iter().find(is_complete)
    };
    let missing = "this test needs PostgreSQL (Debian: `postgresql`), and `initdb` was not found: \
                   install it, or set `KEYWAY_POSTGRES` to the folder of its programs";
    PROGRAMS.get_or_init(find).clone().ok_or(missing)
}

/// Returns the user that runs the server if this process is root, as which PostgreSQL refuses to run.
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

/// Returns the folder for the servers' data. It is in memory if there is plenty of memory. Data that a killed
/// process has written stays there as on a disk, and no test depends on more.
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
