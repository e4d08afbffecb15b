//! By a request: POST with a JSON body, and perhaps a header with a secret.

use crate::daemon::{
    error::told,
    notices::{
        deliver::{DeliveryError, WAIT, advised, json},
        message::Message,
    },
};
use reqwest::{
    Certificate, Client,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    redirect::Policy,
};

pub(super) fn send(
    url: &str,
    header: Option<String>,
    authorities: Option<&[u8]>,
    message: &Message,
) -> Result<(), DeliveryError> {
    let wrong = |what: &str, why: String| DeliveryError::Setting { what: what.to_owned(), why };
    let header = header.map(|text| named(&text)).transpose()?;
    let body = json(message)?;
    // A second provider is as good as the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A redirection would take the secret elsewhere.
    let mut client = Client::builder().timeout(WAIT).redirect(Policy::none());
    if let Some(pem) = authorities {
        let certificates = Certificate::from_pem_bundle(pem);
        let cannot = |e| wrong("the certificates of ca-file can't be used", told(&e));
        client = client.tls_certs_merge(certificates.map_err(cannot)?);
    }
    let client = client.build().map_err(|e| wrong("no request can be made", told(&e)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| wrong("no request can be made", e.to_string()))?;
    runtime.block_on(async {
        let mut request = client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        // The URL may hold a secret itself, and is told without it.
        let refused = |why: String| DeliveryError::Refused { to: place(url), why: advised(why) };
        let answer = request.send().await.map_err(|e| refused(told(&e.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(refused(format!("it answered {status}"))),
        }
    })
}

/// A header written `Name: value`; a value alone is an authorization.
fn named(text: &str) -> Result<(HeaderName, HeaderValue), DeliveryError> {
    let (name, value) = text.split_once(':').unwrap_or(("Authorization", text));
    let wrong =
        || DeliveryError::Setting { what: "the secret header is none".into(), why: "write `Name: value`".into() };
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
    let mut value = HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The scheme and host of a URL.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_told() {
        assert_eq!(place("https://me:secret@x.example/hook/secret?token=secret"), "https://x.example");
        let (name, value) = named("X-Token:  secret").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-token", "secret"));
        assert!(!format!("{value:?}").contains("secret"));
        assert_eq!(named("Bearer abc").unwrap().0.as_str(), "authorization");
        assert!(!named("bad name: secret").unwrap_err().to_string().contains("secret:"));
    }
}
