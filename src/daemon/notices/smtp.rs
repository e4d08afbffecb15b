//! By mail: the one place that speaks SMTP.

use crate::config::watched::Smtp;
use crate::daemon::notices::{
    deliver::{DeliveryError, WAIT, advised},
    message::Message,
};
use lettre::{
    SmtpTransport, Transport as _,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

pub(super) fn send(
    settings: &Smtp,
    password: Option<String>,
    authorities: Option<&[u8]>,
    message: &Message,
) -> Result<(), DeliveryError> {
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
    if let Some(pem) = authorities {
        let cannot = |e| wrong("the certificates of ca-file can't be used", told(&e));
        let parameters = TlsParameters::builder(host(&settings.server).to_owned());
        let parameters = parameters.add_root_certificate(Certificate::from_pem(pem).map_err(cannot)?);
        let parameters = parameters.build().map_err(cannot)?;
        if settings.server.starts_with("smtps://") {
            transport = transport.tls(Tls::Wrapper(parameters));
        } else if settings.server.contains("tls=required") {
            transport = transport.tls(Tls::Required(parameters));
        } else if settings.server.contains("tls=opportunistic") {
            transport = transport.tls(Tls::Opportunistic(parameters));
        }
    }
    if let (Some(user), Some(password)) = (&settings.user, password) {
        if in_the_open(&settings.server) {
            let why = "write smtps://, or add ?tls=required for STARTTLS".to_owned();
            return Err(wrong(&format!("a password is not sent in the open to {}", settings.server), why));
        }
        transport = transport.credentials(Credentials::new(user.clone(), password));
    }
    let sent = transport.build().send(&mail);
    sent.map(drop).map_err(|e| DeliveryError::Refused { to: settings.server.clone(), why: advised(told(&e)) })
}

/// Whether what is sent there can be read on the way: without TLS, to another machine.
fn in_the_open(server: &str) -> bool {
    let Some(rest) = server.strip_prefix("smtp://") else { return false };
    let (_, query) = rest.split_once('?').unwrap_or((rest, ""));
    !query.contains("tls=required") && !matches!(host(server), "127.0.0.1" | "::1" | "localhost")
}

/// The host of a URL, without brackets.
fn host(server: &str) -> &str {
    let (_, rest) = server.split_once("://").unwrap_or(("", server));
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => place.split(':').next().unwrap_or_default(),
    }
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
