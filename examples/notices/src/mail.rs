//! The e-mails.

use std::time::Duration;

use keyway::{Keyring, keyring::Notice, record::NoticeKind};

/// Returns the e-mail of a notice (RFC 5322).
///
/// The message id names the key, the kind and the date that the notice is about. So a mailbox recognizes an e-mail that is
/// sent a second time after a crash.
pub fn about(notice: &Notice, keyring: &Keyring, warning: Duration) -> String {
    let (kind, subject, text) = match notice.kind {
        NoticeKind::Expiring => (
            "expiring",
            "An API key ends soon",
            format!("It ends on {}. Issue a new one before.", notice.about),
        ),
        NoticeKind::Idle => {
            let limit = keyring.policy().terms(&notice.tenant).and_then(|terms| terms.max_idle);
            let days = limit.unwrap_or_default().as_secs() / 86_400;
            let left = warning.as_secs() / 86_400;
            (
                "idle",
                "An API key will be disabled",
                format!(
                    "It was last used or changed on {}. Your tier keeps keys that are used once in {days} days. Use it\r\n\
                     within {left} days, or it is disabled.",
                    notice.about
                ),
            )
        }
        NoticeKind::Unused => (
            "unused",
            "An API key is not used",
            format!("It was last used on {}. Delete it if nobody needs it.", notice.about),
        ),
    };
    // The application knows the address of its tenant. Names of keys are the tenant's text, and have no line breaks.
    let (key, tenant) = (&notice.key, notice.tenant.id());
    format!(
        "From: API keys <keys@example.com>\r\n\
         To: {tenant}@example.com\r\n\
         Message-ID: <{}.{kind}.{}@example.com>\r\n\
         Subject: {subject}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         \r\n\
         Key: {} ({})\r\n\
         {text}\r\n",
        key.id(),
        notice.about.as_millis(),
        key.name(),
        key.masked(),
    )
}
