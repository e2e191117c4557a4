//! What a search for secrets in text needs of a test: the secrets, and everything that was logged.
//!
//! Where `KEYWAY_OVERHEARD` names a folder, every token that a test reveals is written to the file
//! `secrets` in it, and all that the process logs, of every crate and at every level, to a file of its
//! own. Otherwise neither is. `tests/assurance/rows/14-secrets-in-text.sh` searches.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "each test file uses some of these, and a test that goes wrong stops"
)]

use std::{
    env, fmt,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    process,
    sync::OnceLock,
};

use keyway::token::OneTimeToken;
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

/// Where to write what is overheard.
fn folder() -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| env::var_os("KEYWAY_OVERHEARD").map(PathBuf::from)).as_ref()
}

fn append(name: &str) -> Option<File> {
    let path = folder()?.join(name);
    Some(OpenOptions::new().append(true).create(true).open(path).expect("the folder is there"))
}

/// Tells the search of a secret: a token, or what a test makes of one or up.
pub(crate) fn known(secret: &str) {
    if let Some(mut file) = append("secrets") {
        // In one piece, since many processes write to this file.
        file.write_all(format!("{secret}\n").as_bytes()).expect("there is room");
    }
}

pub(crate) trait RevealKnown {
    /// The text of the token, which the search is told of.
    fn reveal_known(self) -> Zeroizing<String>;
}

impl RevealKnown for OneTimeToken {
    fn reveal_known(self) -> Zeroizing<String> {
        let text = self.reveal();
        known(&text);
        text
    }
}

/// Takes down what this process logs from now on, if that is asked for.
pub(crate) fn listen() {
    static EAR: OnceLock<Option<Ear<File>>> = OnceLock::new();
    // That one has a subscriber of its own, and hands over what it has heard.
    if env!("CARGO_CRATE_NAME") == "http" {
        return;
    }
    EAR.get_or_init(|| {
        let file = || append(&log_name());
        // Another file of this program may have been here first, with another copy of this one.
        tracing::subscriber::set_global_default(registry().with(Ear(file()?))).ok()?;
        Some(Ear(file()?))
    });
    if let Some(Some(ear)) = EAR.get()
        && log::set_logger(ear).is_ok()
    {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

/// Hands over what was heard in another way.
pub(crate) fn heard(text: &str) {
    if let Some(mut file) = append(&log_name()) {
        file.write_all(text.as_bytes()).expect("there is room");
    }
}

fn log_name() -> String {
    format!("log-{}-{}", env!("CARGO_CRATE_NAME"), process::id())
}

/// Writes every event and every span, with all fields as they were given: unlike a formatter for people,
/// it escapes nothing.
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

/// What still speaks through the `log` crate, as actix-web does.
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
