//! Recording for the search for secrets in text: the secrets, and everything that was logged.
//!
//! If `KEYWAY_OVERHEARD` names a folder, every token that a test reveals is written to the file `secrets` in
//! it, and every pepper to `peppers`. Everything that the process logs, in every crate and at every level, is
//! written to a separate file. Otherwise nothing is written. `tests/assurance/rows/14-secrets-in-text.sh`
//! searches the logs.

use std::{
    collections::BTreeSet,
    env, fmt,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    process,
    sync::{Mutex, OnceLock},
};

use keyway::OneTimeToken;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry,
};
use zeroize::Zeroizing;

/// Returns the folder for the records.
fn folder() -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| env::var_os("KEYWAY_OVERHEARD").map(PathBuf::from)).as_ref()
}

fn append(name: &str) -> Option<File> {
    let path = folder()?.join(name);
    Some(OpenOptions::new().append(true).create(true).open(path).expect("the folder is there"))
}

/// Reports a secret to the search: a token, or a secret that a test derived or invented.
pub(crate) fn known(secret: &str) {
    if let Some(mut file) = append("secrets") {
        // The line is written in one piece, since many processes write to this file.
        file.write_all(format!("{secret}\n").as_bytes()).expect("there is room");
    }
}

/// Reports a pepper to the search. From the peppers and tokens, the search computes what the stores keep of
/// each token.
pub(crate) fn known_pepper(secret: &[u8]) {
    static REPORTED: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
    let is_new = REPORTED.lock().is_ok_and(|mut reported| reported.insert(secret.to_vec()));
    if is_new && let Some(mut file) = append("peppers") {
        let digits: Vec<_> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        file.write_all(format!("{}\n", digits.concat()).as_bytes()).expect("there is room");
    }
}

pub(crate) trait RevealKnown {
    /// Returns the text of the token, and reports it to the search.
    fn reveal_known(self) -> Zeroizing<String>;
}

impl RevealKnown for OneTimeToken {
    fn reveal_known(self) -> Zeroizing<String> {
        let text = self.reveal();
        known(&text);
        text
    }
}

/// Starts to record everything that this process logs, if that is requested.
pub(crate) fn listen() {
    static EAR: OnceLock<Option<Ear<File>>> = OnceLock::new();
    // The test program `http` has its own subscriber, and passes on what it records.
    if env!("CARGO_CRATE_NAME") == "http" {
        return;
    }
    EAR.get_or_init(|| {
        let file = || append(&log_name());
        // Another module of this program may have set the subscriber already, with another copy of this file.
        tracing::subscriber::set_global_default(registry().with(Ear(file()?))).ok()?;
        Some(Ear(file()?))
    });
    if let Some(Some(ear)) = EAR.get()
        && log::set_logger(ear).is_ok()
    {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

/// Writes text that was recorded in another way.
pub(crate) fn heard(text: &str) {
    if let Some(mut file) = append(&log_name()) {
        file.write_all(text.as_bytes()).expect("there is room");
    }
}

fn log_name() -> String {
    format!("log-{}-{}", env!("CARGO_CRATE_NAME"), process::id())
}

/// Writes every event and every span, with all fields as they were given. Unlike a formatter for people, it
/// escapes nothing.
pub(crate) struct Ear<W>(pub(crate) W);

impl<W> Ear<W>
where
    for<'w> &'w W: Write,
{
    fn take_down(&self, target: &str, level: impl fmt::Display, fields: &str) {
        let line = format!("{target} {level}{fields}\n");
        (&self.0).write_all(line.as_bytes()).expect("there is room");
    }
}

impl<S: Subscriber, W: 'static> Layer<S> for Ear<W>
where
    for<'w> &'w W: Write,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields(format!(" {}", attributes.metadata().name()));
        attributes.record(&mut fields);
        self.take_down(attributes.metadata().target(), attributes.metadata().level(), &fields.0);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.take_down("span", "recorded", &fields.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.take_down(event.metadata().target(), event.metadata().level(), &fields.0);
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0 += &format!(" {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

/// Records crates that log through the `log` crate, as actix-web does.
impl<W: Send + Sync> log::Log for Ear<W>
where
    for<'w> &'w W: Write,
{
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.take_down(record.target(), record.level(), &format!(" {}", record.args()));
    }

    fn flush(&self) {}
}
