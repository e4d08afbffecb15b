//! By mail: the one place that speaks SMTP.

use crate::config::watched::Smtp;
use crate::daemon::notices::{
    deliver::{DeliveryError, WAIT},
    message::Message,
};
use lettre::{
    SmtpTransport, Transport as _,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
};

pub(super) fn send(settings: &Smtp, password: Option<String>, message: &Message) -> Result<(), DeliveryError> {
    let wrong = |what: &str, why: String| DeliveryError::Setting { what: what.to_owned(), why };
    let address = |text: &str| {
        text.parse::<Mailbox>().map_err(|e| wrong(&format!("{text:?} is no address of mail"), e.to_string()))
    };
    let mut mail = lettre::Message::builder().from(address(&settings.from)?).subject(&message.subject);
    for to in &settings.to {
        mail = mail.to(address(to)?);
    }
    let mail = mail.header(ContentType::TEXT_PLAIN).body(message.text.clone());
    let mail = mail.map_err(|e| wrong("the mail can't be made", e.to_string()))?;
    let mut transport = SmtpTransport::from_url(&settings.server)
        .map_err(|e| wrong(&format!("{:?} is no mail server", settings.server), e.to_string()))?
        .timeout(Some(WAIT));
    if let (Some(user), Some(password)) = (&settings.user, password) {
        if in_the_open(&settings.server) {
            let why = "write smtps://, or add ?tls=required for STARTTLS".to_owned();
            return Err(wrong(&format!("a password is not sent in the open to {}", settings.server), why));
        }
        transport = transport.credentials(Credentials::new(user.clone(), password));
    }
    let sent = transport.build().send(&mail);
    sent.map(drop).map_err(|e| DeliveryError::Refused { to: settings.server.clone(), why: told(&e) })
}

/// Whether what is sent there can be read on the way: without TLS, to another machine.
fn in_the_open(server: &str) -> bool {
    let Some(rest) = server.strip_prefix("smtp://") else { return false };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = place.split('/').next().unwrap_or_default();
    let host = host.strip_prefix("[::1]").map_or_else(|| host.split(':').next().unwrap_or_default(), |_| "::1");
    !query.contains("tls=required") && !matches!(host, "127.0.0.1" | "::1" | "localhost")
}

fn told(error: &dyn std::error::Error) -> String {
    crate::daemon::error::told(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_over_tls_or_stays_on_the_machine() {
        for open in
            ["smtp://mail.example.org", "smtp://mail.example.org:25?tls=opportunistic", "smtp://127.0.0.1.example.org"]
        {
            assert!(in_the_open(open), "{open}");
        }
        for good in ["smtps://mail.example.org", "smtp://x:587?tls=required", "smtp://127.0.0.1:25", "smtp://[::1]:25"]
        {
            assert!(!in_the_open(good), "{good}");
        }
    }
}
