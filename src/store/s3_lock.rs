//! Object lock: what is put carries the time until which the store refuses to delete it. The client library has no words for
//! that, so they are added to its requests, which are signed anew; and what the store says of it is handed on.

use crate::sys::clock;
use crate::types::{time::Instant, when::show::exact_name};
use data_encoding::HEXLOWER;
use object_store::{
    ClientOptions, Result,
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
    },
};
use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
/// As what the library hands on the answer.
const HANDED_ON: &str = "x-amz-meta-bygone-locked-until";
/// The name of that without what all such names begin with.
pub(super) const LOCKED_UNTIL: &str = "bygone-locked-until";

/// How what is put is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// How long from the put on.
    pub keep: Duration,
    /// Whether nobody at all can lift it; else those who may.
    pub compliance: bool,
}

impl Lock {
    fn until(&self) -> String {
        let until = Instant(clock::now().0.saturating_add(i64::try_from(self.keep.as_nanos()).unwrap_or(i64::MAX)));
        // Whole seconds: `2025-09-20T12:30:05`.
        format!("{}Z", &exact_name(until)[..19])
    }
}

/// Makes clients that lock what they put.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) lock: Lock,
    pub(super) region: String,
    /// What the client signs with: known when it is made.
    pub(super) credentials: Arc<OnceLock<AwsCredentialProvider>>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Locking { client, connector: self.clone() }))
    }
}

#[derive(Debug)]
struct Locking {
    client: HttpClient,
    connector: Connector,
}

impl Locking {
    async fn pass(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // The service of identities is asked without a signature.
        if request.method().as_str() == "PUT" && request.headers().contains_key("authorization") {
            self.add(&mut request).await.map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
        }
        let mut answer = self.client.execute(request).await?;
        if let Some(until) = answer.headers().get(UNTIL).cloned() {
            answer.headers_mut().insert(HANDED_ON, until);
        }
        Ok(answer)
    }

    async fn add(&self, request: &mut HttpRequest) -> io::Result<()> {
        let Connector { lock, region, credentials } = &self.connector;
        let provider = credentials.get().ok_or_else(|| io::Error::other("the access key is not known yet"))?;
        let credential = provider.get_credential().await.map_err(io::Error::other)?;
        let mode = if lock.compliance { "COMPLIANCE" } else { "GOVERNANCE" };
        let headers = request.headers_mut();
        headers.insert(MODE, mode.parse().map_err(io::Error::other)?);
        headers.insert(UNTIL, lock.until().parse().map_err(io::Error::other)?);
        headers.remove("authorization");
        // It has been told already what the body is; a body in several parts would not be looked at again.
        let digest = headers.get("x-amz-content-sha256").map(|digest| HEXLOWER.decode(digest.as_bytes()));
        let digest = digest.transpose().map_err(io::Error::other)?;
        AwsAuthorizer::new(&credential, "s3", region)
            .try_authorize(request, digest.as_deref())
            .map_err(io::Error::other)
    }
}

impl HttpService for Locking {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.pass(request))
    }
}
